package gatehouse

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every file holds what the admin endpoint tells, and what is printed of it.
func TestStatusGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/status/*.txt")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %d goldens: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			told, want, _ := strings.Cut(readDoc(t, file), goldenSeparator)
			status, refusals, _ := strings.Cut(told, "\n\n")
			admin := fakeAdmin(t, map[string]string{"status": status, "refusals": refusals})
			var talk strings.Builder
			var out strings.Builder
			well, err := (&statusRequest{address: admin}).run(&out, &talk)
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%s\nstderr: %s\nwell: %t\n", out.String(), talk.String(), well)
			if *update {
				if err := os.WriteFile(file, []byte(told+goldenSeparator+got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// fakeAdmin is an admin endpoint with these answers.
func fakeAdmin(t *testing.T, answers map[string]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, known := answers[strings.TrimPrefix(r.URL.Path, "/gatehouse/")]
		if !known {
			w.WriteHeader(http.StatusNotFound)
			answer = answers["error"]
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// The command as it is run, against a Caddy that runs.
func TestStatusCommand(t *testing.T) {
	s := newSigner(t, testIssuer)
	site := func(keys string) string {
		return hosted("a", "\n\tgatehouse {\n\t\tissuer "+testIssuer+" {\n\t\t\tkeys "+keys+"\n\t\t\taudience panel\n\t\t}\n\t\trequire /x {\n\t\t\tname admins\n\t\t\trole admin\n\t\t}\n\t}\n")
	}
	c := runAdministered(t, s, site(s.keyFile))
	c.expect(refusedWith(403, codeRoleMissing), ask{target: urlOf("a", "/x"), token: s.token(t, nil)})
	id := c.refusals()[0]["request_id"].(string)
	config := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, config, "{\n\tadmin "+c.admin+"\n}\n")
	other := fmt.Sprintf("127.0.0.1:%d", freePort(t))

	cases := []struct {
		name string
		args []string
		out  []string
		talk string
		code int
	}{
		{"an address", []string{"--address", c.admin}, []string{testIssuer + "  file  ok", "role_missing", "admins", id, "refusals  1 kept"}, "", 0},
		{"the address of a configuration", []string{"--config", config}, []string{testIssuer}, "", 0},
		{"one refusal", []string{"--address", c.admin, "--request", id}, []string{`"code": "role_missing"`, `"subject": "ada"`}, "", 0},
		{"JSON", []string{"--address", c.admin, "--json"}, []string{`"issuers": [`, `"lockouts": {`}, "", 0},
		{"a refusal that is not there", []string{"--address", c.admin, "--request", "no such/id?"}, nil, "no such refusal is kept any more", 1},
		{"an address where nobody listens", []string{"--address", other}, nil, "connection refused", 1},
		{"an address that is none", []string{"--address", "tcp/:1-9"}, nil, "invalid admin address", 1},
		{"a configuration that is not there", []string{"--config", "/no/such/Caddyfile"}, nil, "no such file", 1},
	}
	check := func(name string, args, want []string, talk string, code int) {
		t.Helper()
		out, said, got := runCaddy(t, append([]string{"gatehouse", "status"}, args...)...)
		if got != code || !strings.Contains(said, talk) || code == 1 && out != "" {
			t.Errorf("%s: exit code %d, want %d; said %q; printed %q", name, got, code, said, out)
		}
		for _, word := range want {
			if !strings.Contains(out, word) {
				t.Errorf("%s: %q is not in\n%s", name, word, out)
			}
		}
	}
	for _, c := range cases {
		check(c.name, c.args, c.out, c.talk, c.code)
	}
	if err := c.load(site("http://127.0.0.1:1/keys")); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{nil, {"--json"}} {
		check("keys that were never fetched", append([]string{"--address", c.admin}, flags...), []string{"stale"}, "no keys that can be used: issuer "+testIssuer, exitStale)
	}
}

// Key ids come from an issuer, and the whole answer from whoever listens on the
// port. Nothing of it may reach the terminal as a command, or forge a line.
func TestAttackTerminalFromStatus(t *testing.T) {
	const evil = "\x1b]0;evil\a\x1b[2J\u009b31m\u202eevil\r\n\tok"
	quoted, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	text := string(quoted)
	admin := fakeAdmin(t, map[string]string{
		"status":   `{"issuers":[{"issuer":` + text + `,"kind":` + text + `,"stale":true,"keys":[{"kid":` + text + `,"type":` + text + `}],"last_error":` + text + `}]}`,
		"refusals": `[{"time":` + text + `,"code":` + text + `,"rule":` + text + `,"request_id":` + text + `}]`,
		// Controls of the second set, and those that turn text around, need no escape in JSON.
		"refusals/x": `{"cause":"` + "\u009b31m\u202eevil" + `"}`,
		"error":      evil,
	})
	for name, q := range map[string]*statusRequest{
		"a table":      {address: admin},
		"JSON":         {address: admin, json: true},
		"one refusal":  {address: admin, request: "x"},
		"an error":     {address: admin, request: "y"},
		"no such host": {address: "127.0.0.1\x1b[2J:1"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, talk strings.Builder
			_, err := q.run(&out, &talk)
			all := out.String() + talk.String()
			if err != nil {
				all += err.Error()
			}
			if strings.ContainsAny(all, "\x1b\a\r\t\u009b\u202e") || !strings.Contains(all, "evil") && name != "no such host" {
				t.Errorf("%q", all)
			}
		})
	}
}

// What listens there may be something else than Caddy.
func TestStatusOfSomethingElse(t *testing.T) {
	for name, answer := range map[string]string{
		"a page":        "<html>",
		"other JSON":    `["a"]`,
		"no answer":     "",
		"a long answer": `"` + strings.Repeat("x", maxStatus+1) + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			admin := fakeAdmin(t, map[string]string{"status": answer, "refusals": answer})
			var out, talk strings.Builder
			if _, err := (&statusRequest{address: admin}).run(&out, &talk); err == nil || out.Len() > 0 || len(err.Error()) > 300 {
				t.Errorf("%v, printed %d bytes", err, out.Len())
			}
		})
	}
}
