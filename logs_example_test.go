package gatehouse

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
)

// runExample starts the shipped configuration with its logs in a file, and
// without its filter where unfiltered.
func runExample(t *testing.T, text, file string, unfiltered bool) *running {
	t.Helper()
	storage, port := t.TempDir(), freePort(t)
	text = strings.Replace(text, "panel.example.com", fmt.Sprintf("http://panel.example.com:%d", port), 1)
	// That a place for the log can be put in is the test's alone.
	if n := strings.Count(text, "log {\n"); n == 0 {
		t.Fatal("no log in the example")
	}
	text = strings.ReplaceAll(text, "log {\n", "log {\noutput file "+file+"\n")
	cfg := adaptedWith(t, text, storage)
	cfg.Admin.Config = &caddy.ConfigSettings{Persist: new(bool)}
	if unfiltered {
		for _, log := range cfg.Logging.Logs {
			log.EncoderRaw = json.RawMessage(`{"format":"json"}`)
		}
	}
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &running{site: &site{t: t}, port: port, storage: storage}
	t.Cleanup(c.stop)
	if err := caddy.Load(raw, true); err != nil {
		t.Fatal(err)
	}
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		c.server = server
	}
	c.gate = findGate(c.server.Routes)
	return c
}

// builtinToken is signed by the key of `issuer internal` in a storage.
func builtinToken(t *testing.T, storage string, overrides claims) string {
	t.Helper()
	private, err := loadOrMakeInternalKey(t.Context(), &certmagic.FileStorage{Path: storage})
	if err != nil {
		t.Fatal(err)
	}
	all := claims{"iss": internalIssuer, "aud": "panel", "sub": plantedSubject, "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range overrides {
		all[name] = value
	}
	raw, err := mint(private, all)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The shipped filter takes tokens and persons out of all that Caddy and the gate
// log. Without it they are there, or this would prove nothing.
func TestAttackTokensFromTheFilteredLog(t *testing.T) {
	example := readDoc(t, "examples/private-logs.caddyfile")
	_, snippet, found := strings.Cut(readDoc(t, "docs/logs.md"), "```caddyfile\n")
	snippet, _, closed := strings.Cut(snippet, "```")
	if !found || !closed {
		t.Fatal("docs/logs.md has no snippet")
	}
	for name, text := range map[string]string{"the example": example, "the snippet of the page": snippet} {
		for _, unfiltered := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, unfiltered: %t", name, unfiltered), func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "caddy.log")
				c := runExample(t, text, file, unfiltered)
				good, forged := builtinToken(t, c.storage, nil), builtinToken(t, t.TempDir(), nil)
				askEverywhere(c, good, forged)
				c.stop()
				log := strings.Join(logLines(t, file), "")
				if n := strings.Count(log, `"handled request"`); n != 12 {
					t.Fatalf("%d requests are logged", n)
				}
				for what, word := range map[string]string{
					"a token that passes": good, "a forged token": forged, "its signature": forged[len(forged)-20:],
					"an address": plantedAddress, "a subject": plantedSubject,
				} {
					if there := strings.Contains(log, word); there != unfiltered {
						t.Errorf("the log holds %s: %t", what, there)
					}
				}
				if !unfiltered && !strings.Contains(log, "203.0.113.0") {
					t.Error("the filtered log does not hold the network either")
				}
			})
		}
	}
}

// askEverywhere sends tokens in every place that the example reads.
func askEverywhere(c *running, tokens ...string) {
	upgrade := func(token string) http.Header {
		return http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Protocol": {"bearer, " + token}, "Origin": {"http://panel.example.com"}}
	}
	for _, token := range tokens {
		for _, a := range []ask{
			{target: "/x", token: token, header: http.Header{"X-Forwarded-For": {plantedAddress}}},
			{target: "/x?a=b&access_token=" + token},
			{target: "/internal/x?access_token=" + token},
			{target: "/x", header: http.Header{"X-Api-Token": {token}}},
			{target: "/x", header: http.Header{"Referer": {"http://panel.example.com/y?access_token=" + token}}},
			{target: "/x", header: upgrade(token)},
		} {
			a.target, a.from = fmt.Sprintf("http://panel.example.com:%d%s", c.port, a.target), plantedAddress+":4711"
			c.do(a)
		}
	}
}
