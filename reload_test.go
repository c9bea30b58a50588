package gatehouse

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

// Panels and orchestrators reload on every change of a site, some every minute.
// Each reload would ask the issuer anew, or leave a fetcher behind.
func TestHundredReloadsKeepOneFetcher(t *testing.T) {
	f, stranger := newFakeIssuer(t), newFakeIssuer(t)
	before := goleak.IgnoreCurrent()
	config := func(n int, more string) string {
		return hosted("panel", strings.Replace(f.gated(""), "public /login", fmt.Sprintf("public /login\nrequire /only-%d role admin", n), 1)) + more
	}
	s := run(t, f.signer, config(0, ""))
	token := f.token(t, nil)
	s.expect(pass(), ask{target: urlOf("panel", "/"), token: token})
	remote := s.remote(t, f.issuer)
	for n := range 100 {
		if n%25 == 13 {
			s.failToLoad(config(n, hosted("stranger", stranger.gated("keys ./no-such-file"))))
			s.failToStart(config(n, hosted("stranger", stranger.gated(""))))
		}
		if err := s.load(config(n, "")); err != nil {
			t.Fatal(err)
		}
		s.expect(pass(), ask{target: urlOf("panel", "/"), token: token})
		s.expect(refusedWith(403, codeRoleMissing), ask{target: urlOf("panel", fmt.Sprintf("/only-%d", n)), token: token})
		s.expect(pass(), ask{target: urlOf("panel", fmt.Sprintf("/only-%d", n+1)), token: token})
	}
	if n := f.fetches.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
	if s.remote(t, f.issuer) != remote {
		t.Error("the key set is another one")
	}
	if refs, _ := keyPool.References(poolKey{issuer: f.issuer}); refs != 1 {
		t.Errorf("%d references to the key set, want the running configuration's", refs)
	}
	s.stop()
	for _, is := range []*fakeIssuer{f, stranger} {
		if _, found := keyPool.References(poolKey{issuer: is.issuer}); found {
			t.Errorf("%s is still in the pool", is.issuer)
		}
	}
	goleak.VerifyNone(t, before,
		// The issuers' own side of connections that are being closed.
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		// The storage's own: it ends within seconds of the lock's release.
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

// A reload comes while the keys are on their way, slowly. Who waits for them gets
// them, from the one fetch that was under way.
func TestReloadDoesNotCancelAFetchUnderWay(t *testing.T) {
	f := newFakeIssuer(t)
	asked, answer, canceled := make(chan struct{}, 100), make(chan struct{}), make(chan struct{}, 100)
	f.fail(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-answer:
			status(http.StatusOK, jwks(f.signer))(w, r)
		case <-r.Context().Done():
			canceled <- struct{}{}
		}
	})
	site := hosted("panel", f.gated("keys "+f.issuer+"/keys"))
	s := run(t, f.signer, site)
	<-asked
	for n := range 3 {
		if err := s.load(site + hosted(fmt.Sprint("more", n), f.gated("keys "+f.issuer+"/keys"))); err != nil {
			t.Fatal(err)
		}
		s.failToLoad(site + hosted("bad", f.gated("keys ./no-such-file")))
		s.failToStart(site)
	}
	close(answer)
	s.eventually(pass(), refusedWith(503, codeKeysUnavailable), ask{target: urlOf("panel", "/"), token: f.token(t, nil)})
	if n := f.fetches.Load(); n != 1 || len(canceled) != 0 {
		t.Errorf("%d fetches, of which %d were cancelled; want 1 and 0", n, len(canceled))
	}
}

// A thousand sites would be a thousand fetches, and a reload again as many. This
// is all that gates of one issuer share; BenchmarkThousandSites has them whole.
func TestThousandSitesMakeOneFetch(t *testing.T) {
	f := newFakeIssuer(t)
	token := f.token(t, nil)
	load := func() *App {
		app := &App{log: zap.NewNop(), storage: &certmagic.FileStorage{Path: t.TempDir()}}
		is := &Issuer{Issuer: f.issuer, Audiences: []string{testAudience}}
		sites := make([]*trustedIssuer, 1000)
		for i := range sites {
			var err error
			if sites[i], err = is.compile(app, time.Now); err != nil {
				t.Fatal(err)
			}
		}
		if err := app.Start(); err != nil {
			t.Fatal(err)
		}
		for _, issuer := range sites {
			expectCode(t, &authenticator{limit: defaultTokenLimit, issuers: map[string]*trustedIssuer{f.issuer: issuer}, now: time.Now}, token, "")
		}
		return app
	}
	app := load()
	for range 3 {
		reloaded := load()
		if err := errors.Join(app.Stop(), app.Cleanup()); err != nil {
			t.Fatal(err)
		}
		app = reloaded
	}
	if n := f.fetches.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
	if refs, _ := keyPool.References(poolKey{issuer: f.issuer}); refs != 1 {
		t.Errorf("%d references, want one for the configuration", refs)
	}
	if err := errors.Join(app.Stop(), app.Cleanup()); err != nil {
		t.Fatal(err)
	}
}

// The same with whole sites that run, of which none has a goroutine of its own.
func TestManySitesOnOneIssuer(t *testing.T) {
	const sites = 50
	f := newFakeIssuer(t)
	var text strings.Builder
	for i := range sites {
		text.WriteString(hosted(fmt.Sprint("s", i), f.gated("")))
	}
	s := run(t, f.signer, hosted("s0", f.gated("")))
	s.expect(pass(), ask{target: urlOf("s0", "/"), token: f.token(t, nil)})
	few := runtime.NumGoroutine()
	for range 2 {
		if err := s.load(text.String()); err != nil {
			t.Fatal(err)
		}
		for i := range sites {
			s.expect(pass(), ask{target: urlOf(fmt.Sprint("s", i), "/"), token: f.token(t, nil)})
		}
	}
	if n := f.fetches.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
	// Caddy's come and go, and the memory tidies up after a first token.
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > few+sites/2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d with one site", runtime.NumGoroutine(), few)
		}
	}
}

// remote is the key set of an issuer that is found by discovery.
func (c *running) remote(t *testing.T, issuer string) any {
	t.Helper()
	keys, ok := c.gate.gate.authn.issuers[issuer].keys.(keySources)
	if !ok || len(keys) != 1 {
		t.Fatalf("its keys are %v", keys)
	}
	return keys[0].(readyKeys).Remote
}

// failToLoad expects that a configuration is refused.
func (c *running) failToLoad(caddyfile string) {
	c.t.Helper()
	if err := c.load(caddyfile); err == nil {
		c.t.Fatal("a broken configuration was loaded")
	}
}

// failToStart makes a configuration fail after it was provisioned, when some of
// its apps have started: one of its ports is taken.
func (c *running) failToStart(caddyfile string) {
	c.t.Helper()
	taken, err := (&net.ListenConfig{}).Listen(c.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	err = c.load(caddyfile + fmt.Sprintf("http://busy.test:%d {\n}\n", taken.Addr().(*net.TCPAddr).Port))
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		c.t.Fatalf("got %v, want a port that is taken", err)
	}
}
