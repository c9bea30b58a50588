package gatehouse

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// administered is a running Caddy with its admin endpoint.
type administered struct {
	*running
	admin string // host and port
}

func runAdministered(t testing.TB, s *signer, caddyfile string) *administered {
	t.Helper()
	c := &administered{
		running: &running{site: &site{signer: s, t: t}, port: freePort(t), storage: t.TempDir()},
		admin:   fmt.Sprintf("127.0.0.1:%d", freePort(t)),
	}
	t.Cleanup(c.end)
	if err := c.load(caddyfile); err != nil {
		t.Fatal(err)
	}
	return c
}

// load hides that of running, which turns the admin endpoint off.
func (c *administered) load(caddyfile string) error {
	c.t.Helper()
	cfg := c.config(caddyfile)
	cfg.Admin.Disabled, cfg.Admin.Listen = false, c.admin
	return c.loadConfig(cfg)
}

// end closes the admin endpoint too, which Caddy keeps when it stops.
func (c *administered) end() {
	if err := caddy.Load([]byte(`{"admin":{"disabled":true,"config":{"persist":false}}}`), true); err != nil {
		c.t.Error(err)
	}
	c.stop()
}

// ask sends a request to the admin endpoint.
func (c *administered) ask(method, path string, header http.Header) (*http.Response, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.admin+path, http.NoBody)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(body)
}

// told returns what the admin endpoint says under a name.
func (c *administered) told(name string) string {
	c.t.Helper()
	resp, body := c.ask(http.MethodGet, "/gatehouse/"+name, nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" {
		c.t.Fatalf("%s: %s %v %s", name, resp.Status, resp.Header, body)
	}
	return body
}

func (c *administered) status() statusReport {
	c.t.Helper()
	var out statusReport
	if err := json.Unmarshal([]byte(c.told("status")), &out); err != nil {
		c.t.Fatal(err)
	}
	return out
}

func (c *administered) refusals() []map[string]any {
	c.t.Helper()
	var out []map[string]any
	if err := json.Unmarshal([]byte(c.told("refusals")), &out); err != nil {
		c.t.Fatal(err)
	}
	return out
}

// everything is all that the admin endpoint says of gates.
func (c *administered) everything() string {
	var out strings.Builder
	for _, name := range []string{"status", "issuers", "cache", "lockouts", "refusals"} {
		out.WriteString(c.told(name))
	}
	return out.String()
}
