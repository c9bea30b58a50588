package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

const sharedSecret = "0123456789abcdef0123456789abcdef"

// TestFail2ban lets the shipped filters read what a real run wrote. Exactly those
// who forge are found, by the address that the proxy in front names: not who is
// not signed in, whose session ended or who lacks a role, and nobody whose
// address a forger puts into a header or a token.
func TestFail2ban(t *testing.T) {
	tool, err := exec.LookPath("fail2ban-regex")
	if err != nil {
		t.Fatalf("%v; on Debian it is in the package fail2ban, whose service is not needed", err)
	}
	for _, c := range []struct{ privacy, filter string }{
		{"none", "gatehouse"}, {"none", "gatehouse-access"}, {"gdpr", "gatehouse-access"}, {"hipaa", "gatehouse-access"},
	} {
		t.Run(c.filter+" with privacy "+c.privacy, func(t *testing.T) {
			records, access := attackedRun(t, c.privacy)
			file := records
			if c.filter == "gatehouse-access" {
				file = access
			}
			if got := bans(t, tool, file, c.filter); !maps.Equal(got, forgers()) {
				t.Errorf("found %v\nwant  %v", got, forgers())
			}
			if c.privacy == "none" {
				return
			}
			// A network's address is somebody else's.
			if got := bans(t, tool, records, "gatehouse"); len(got) != 0 {
				t.Errorf("in records without addresses it found %v", got)
			}
		})
	}
}

// forgers are who must be found, and how often.
func forgers() map[string]int {
	return map[string]int{"203.0.113.3": 3, "203.0.113.4": 8, "203.0.113.7": 1, "2001:db8::8": 1, "203.0.113.9": 1}
}

// bans counts the addresses that a filter finds.
func bans(t *testing.T, tool, file, filter string) map[string]int {
	t.Helper()
	filters, err := filepath.Abs(filepath.Join("..", "examples", "fail2ban", "filter.d", filter+".conf"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tool, "--out", "ip", file, filters).Output()
	// The exit code is 1 where nothing matches.
	if code, failed := errors.AsType[*exec.ExitError](err); err != nil && (!failed || code.ExitCode() > 1 || len(code.Stderr) > 0) {
		t.Fatalf("%v: %s", err, out)
	}
	found := map[string]int{}
	for _, address := range strings.Fields(string(out)) {
		found[address]++
	}
	return found
}

// attackedRun is a server that was asked by everybody, and its two logs.
func attackedRun(t *testing.T, privacy string) (records, access string) {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	records, access = filepath.Join(dir, "records.log"), filepath.Join(dir, "access.log")
	text, err := os.ReadFile(filepath.Join("testdata", "fail2ban.caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("STORAGE", dir, "RECORDS", records, "ACCESS", access, "PORT", fmt.Sprint(port), "PRIVACY", privacy).Replace(string(text))
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(filled), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	ask := func(client string, times, want int, path, token string, header http.Header) {
		t.Helper()
		for range times {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(r.Header, header)
			r.Header.Set("X-Forwarded-For", client)
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("%s: %s gets %d, want %d", client, path, res.StatusCode, want)
			}
		}
	}
	good, expired := token(t, sharedSecret, nil), token(t, sharedSecret, map[string]any{"exp": 1})
	forged := token(t, strings.Repeat("x", 32), nil)
	const lie = `x","logger":"http.handlers.gatehouse","msg":"refused","code":"token_invalid","status":401,"client_ip":"198.51.100.99","gatehouse_code":"token_invalid"`
	pretend := http.Header{"User-Agent": {lie}, "Gatehouse_code": {"token_invalid"}, "Referer": {"http://x/?" + lie}}
	ask("203.0.113.1", 3, 401, "/", "", nil)
	ask("203.0.113.2", 9, 401, "/", expired, nil)
	ask("203.0.113.3", 3, 401, "/", forged, nil)
	ask("203.0.113.4", 5, 401, "/", forged, nil)
	ask("203.0.113.4", 3, 403, "/", forged, nil) // locked out
	ask("203.0.113.5", 2, 401, "/", "garbage", nil)
	ask("203.0.113.6", 2, 403, "/admin/x", good, nil)
	ask("203.0.113.7", 1, 401, "/?"+strings.ReplaceAll(lie, `"`, "%22"), token(t, strings.Repeat("y", 32), map[string]any{"kid": lie}), pretend)
	ask("2001:db8::8", 1, 401, "/", forged, nil)
	ask("203.0.113.9", 1, 401, "/", token(t, sharedSecret, map[string]any{"iss": lie}), nil)
	ask("203.0.113.10", 2, 401, "/", "", pretend)
	ask("203.0.113.11", 2, 200, "/", good, pretend)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	return records, access
}

// token is signed with a secret. A kid goes into the header.
func token(t *testing.T, secret string, overrides map[string]any) string {
	t.Helper()
	head := map[string]any{"alg": "HS256"}
	body := map[string]any{"iss": "https://id.example.com", "aud": "panel", "sub": "ada", "exp": time.Now().Add(time.Hour).Unix()}
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		if name == "kid" {
			head[name] = overrides[name]
		} else {
			body[name] = overrides[name]
		}
	}
	var segments []string
	for _, part := range []map[string]any{head, body} {
		data, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		segments = append(segments, base64.RawURLEncoding.EncodeToString(data))
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(strings.Join(segments, ".")))
	return strings.Join(append(segments, base64.RawURLEncoding.EncodeToString(mac.Sum(nil))), ".")
}
