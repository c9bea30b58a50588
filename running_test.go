package gatehouse

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// running is a Caddy that runs as `caddy run` makes it. There is one in a
// process, so no test that has one may be parallel.
type running struct {
	*site
	port    int
	storage string
}

// run starts Caddy with sites on a free port. Each %[1]d in the Caddyfile
// becomes the port.
func run(t testing.TB, s *signer, caddyfile string) *running {
	t.Helper()
	return runIn(t, t.TempDir(), s, caddyfile)
}

// runIn is run with the storage of an earlier one.
func runIn(t testing.TB, storage string, s *signer, caddyfile string) *running {
	t.Helper()
	c := &running{site: &site{signer: s, t: t}, port: freePort(t), storage: storage}
	t.Cleanup(c.stop)
	if err := c.load(caddyfile); err != nil {
		t.Fatalf("starting Caddy: %v", err)
	}
	return c
}

// load makes the running Caddy take another configuration.
func (c *running) load(caddyfile string) error {
	c.t.Helper()
	return c.loadConfig(c.config(caddyfile))
}

// loadConfig is load for a whole configuration.
func (c *running) loadConfig(cfg *caddy.Config) error {
	c.t.Helper()
	raw, err := json.Marshal(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := caddy.Load(raw, true); err != nil {
		return err
	}
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		return err
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		c.server = server
	}
	c.gate = findGate(c.server.Routes)
	return nil
}

func (c *running) config(caddyfile string) *caddy.Config {
	c.t.Helper()
	cfg := adaptedWith(c.t, "{\n\tdefault_bind 127.0.0.1\n}\n"+strings.ReplaceAll(caddyfile, "%[1]d", fmt.Sprint(c.port)), c.storage)
	cfg.Admin.Config = &caddy.ConfigSettings{Persist: new(bool)}
	cfg.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}
	return cfg
}

func (c *running) stop() {
	if err := caddy.Stop(); err != nil {
		c.t.Errorf("stopping Caddy: %v", err)
	}
}

// hosted is a site of that name.
func hosted(name, body string) string { return "http://" + name + ".test:%[1]d {" + body + "}\n" }

// urlOf is the URL of a path on the site of that name.
func urlOf(name, path string) string { return "http://" + name + ".test" + path }

// freePort is one that nobody listens on just now.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually asks until the answer is the wanted one. Until then it may only be
// the one that is given.
func (s *site) eventually(want, meanwhile verdict, a ask) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		w := s.do(a)
		switch got := verdictOf(s.t, w); {
		case got == want:
			return
		case got != meanwhile || time.Now().After(deadline):
			s.t.Fatalf("%s: got %v, want %v and until then %v; body: %s", a.target, got, want, meanwhile, w.Body)
		}
	}
}

// overTheNetwork sends one request to the listener.
func (c *running) overTheNetwork(name, path, token string) int {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", c.port, path), http.NoBody)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Host = name + ".test"
	r.Header.Set("Authorization", "Bearer "+token)
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
