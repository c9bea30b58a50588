package gatehouse

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// troubled is a configuration in which every issuer but one is broken in a way
// of its own, each asked at its JWKS URL by one site and by discovery by another.
type troubled struct {
	broken    map[string]*fakeIssuer
	sites     map[string]*fakeIssuer // the same, by site
	evil      *signer
	elsewhere atomic.Int64 // requests that were led away to another host
	late      *lateIssuer
	well      *fakeIssuer
	caddyfile string
}

func newTroubled(t *testing.T) *troubled {
	t.Helper()
	c := &troubled{
		broken: map[string]*fakeIssuer{}, sites: map[string]*fakeIssuer{}, well: newFakeIssuer(t),
		evil: newSigner(t, testIssuer),
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.elsewhere.Add(1)
		_, _ = w.Write([]byte(jwks(c.evil)))
	}))
	t.Cleanup(elsewhere.Close)
	var text strings.Builder
	add := func(name string, f *fakeIssuer) {
		c.sites[name], c.sites[name+"-discovered"] = f, f
		text.WriteString(hosted(name, f.gated("keys "+f.issuer+"/keys")) + hosted(name+"-discovered", f.gated("")))
	}
	for name, fault := range faults(c.evil, elsewhere.URL) {
		f := newFakeIssuer(t)
		f.fail(fault)
		c.broken[name] = f
		add(name, f)
	}
	c.late = newLateIssuer(t)
	add("refused", c.late.fakeIssuer)
	text.WriteString(hosted("well", c.well.gated("")) + hosted("plain", "\n\troute {\n\t\t"+nextHandler+"\n\t}\n"))
	c.caddyfile = text.String()
	return c
}

func (c *troubled) heal(t *testing.T) {
	t.Helper()
	c.late.arrive(t)
	for _, f := range c.broken {
		f.heal()
	}
}

// Somebody else's outage must not become ours. Whatever an issuer does instead of
// answering, the server starts, the other sites serve, and what needs no keys
// works. "I cannot check" is 503 with a time to come back, and is over without a
// reload.
func TestStartWhileEveryIssuerIsBroken(t *testing.T) {
	c := newTroubled(t)
	s := run(t, c.well.signer, c.caddyfile)

	s.expect(pass(), ask{target: urlOf("well", "/"), token: c.well.token(t, nil)})
	s.expect(pass(), ask{target: urlOf("plain", "/")})
	var wg sync.WaitGroup
	for name, f := range c.sites {
		wg.Go(func() {
			token := f.token(t, nil)
			answersWithoutKeys(s.site, name, token)
			expectUnavailable(s.site, ask{target: urlOf(name, "/"), token: token})
			forged := *c.evil // signed by the keys that the bad answers hold
			forged.issuer = f.issuer
			expectUnavailable(s.site, ask{target: urlOf(name, "/"), token: forged.token(t, nil)})
		})
	}
	wg.Wait()
	s.expect(pass(), ask{target: urlOf("well", "/"), token: c.well.token(t, nil)})
	if status := s.overTheNetwork("well", "/", c.well.token(t, nil)); status != http.StatusOK {
		t.Errorf("over the network: %d", status)
	}
	if n := c.elsewhere.Load(); n != 0 {
		t.Errorf("a redirect to another host was followed %d times", n)
	}

	c.heal(t)
	for name, f := range c.sites {
		wg.Go(func() {
			token := f.token(t, nil)
			s.eventually(pass(), refusedWith(503, codeKeysUnavailable), ask{target: urlOf(name, "/"), token: token})
			s.expect(refusedWith(401, codeTokenInvalid), ask{target: urlOf(name, "/"), token: newSigner(t, f.issuer).token(t, nil)})
		})
	}
	wg.Wait()
}

// The first keys are there, and then the issuer breaks, in every way. Its tokens
// pass as before, forged ones are refused as before, and a kid that may be the
// issuer's next one is not called wrong.
func TestEveryIssuerBreaksWhileServing(t *testing.T) {
	c := newTroubled(t)
	faults := map[string]*http.HandlerFunc{}
	for name, f := range c.broken {
		faults[name] = f.fault.Load()
		f.heal()
	}
	c.late.arrive(t)
	s := run(t, c.well.signer, c.caddyfile)
	for name, f := range c.sites {
		s.eventually(pass(), refusedWith(503, codeKeysUnavailable), ask{target: urlOf(name, "/"), token: f.token(t, nil)})
	}
	for name, f := range c.broken {
		f.fault.Store(faults[name])
	}
	var wg sync.WaitGroup
	for name, f := range c.broken {
		wg.Go(func() {
			for _, site := range []string{name, name + "-discovered"} {
				next := f.newKey(t, "next")
				expectUnavailable(s.site, ask{target: urlOf(site, "/"), token: next.token(t, nil)})
				s.expect(pass(), ask{target: urlOf(site, "/"), token: f.token(t, claims{"sub": "bob"})})
				s.expect(refusedWith(401, codeTokenInvalid), ask{target: urlOf(site, "/"), token: newSigner(t, f.issuer).token(t, nil)})
				answersWithoutKeys(s.site, site, next.token(t, nil))
			}
		})
	}
	wg.Wait()
	if n := c.elsewhere.Load(); n != 0 {
		t.Errorf("a redirect to another host was followed %d times", n)
	}
}

// `caddy validate` runs on a laptop, in a pipeline, or while all is down.
func TestValidateWhileEveryIssuerIsBroken(t *testing.T) {
	c := newTroubled(t)
	storage := t.TempDir()
	s := &running{site: &site{t: t}, storage: storage, port: freePort(t)}
	if err := caddy.Validate(s.config(c.caddyfile)); err != nil {
		t.Fatal(err)
	}
	for name, f := range c.sites {
		if n := f.fetches.Load(); n != 0 {
			t.Errorf("%s: %d fetches", name, n)
		}
		for _, url := range []string{"", f.issuer + "/keys"} {
			if _, found := keyPool.References(poolKey{issuer: f.issuer, url: url}); found {
				t.Errorf("%s: the key set is still in the pool", name)
			}
		}
	}
	if kept, err := filepath.Glob(filepath.Join(storage, "gatehouse", "*")); err != nil || len(kept) > 0 {
		t.Errorf("the storage holds %v, %v", kept, err)
	}
}

// A second place for an issuer's keys is there so that one may be down. A request
// whose key the other one has does not even wait.
func TestSecondKeySourceServesWhileOneHangs(t *testing.T) {
	f, mirror := newFakeIssuer(t), newFakeIssuer(t)
	asked := make(chan struct{}, 100)
	f.fail(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	mirror.publish(f.signer)
	s := run(t, f.signer, hosted("panel", f.gated(fmt.Sprintf("keys %s/keys %s/keys", f.issuer, mirror.issuer))))
	<-asked
	s.eventually(pass(), refusedWith(503, codeKeysUnavailable), ask{target: urlOf("panel", "/"), token: f.token(t, nil)})
	// One that cannot wait, since its client is gone, is served all the same.
	over, cancel := context.WithCancel(t.Context())
	cancel()
	gone := func(r *http.Request) { *r = *r.WithContext(over) }
	for i := range 100 {
		s.expect(pass(), ask{target: urlOf("panel", "/"), token: f.token(t, claims{"n": i}), change: gone})
	}
	expectUnavailable(s.site, ask{target: urlOf("panel", "/"), token: f.newKey(t, "next").token(t, nil)})
}

// answersWithoutKeys asks what must work although there are no keys.
func answersWithoutKeys(s *site, name, token string) {
	s.t.Helper()
	s.expect(pass(), ask{target: urlOf(name, "/login")})
	s.expect(pass(), ask{target: urlOf(name, "/login"), token: token})
	s.expect(refusedWith(401, codeCredentialsMissing), ask{target: urlOf(name, "/")})
	s.expect(refusedWith(401, codeCredentialsMalformed), ask{target: urlOf(name, "/"), token: "no.token"})
}

// expectUnavailable expects a 503 that says when to come back.
func expectUnavailable(s *site, a ask) {
	s.t.Helper()
	w := s.expect(refusedWith(503, codeKeysUnavailable), a)
	if after, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || after < 1 || after > 30 {
		s.t.Errorf("%s: Retry-After is %q", a.target, w.Header().Get("Retry-After"))
	}
	if challenge := w.Header().Get("WWW-Authenticate"); challenge != "" {
		s.t.Errorf("%s: a challenge, %q", a.target, challenge)
	}
}

// lateIssuer is one that nobody answers for until it arrives.
type lateIssuer struct {
	*fakeIssuer
	address string
}

func newLateIssuer(t *testing.T) *lateIssuer {
	t.Helper()
	address := fmt.Sprint("127.0.0.1:", freePort(t))
	f := &fakeIssuer{signer: newSigner(t, "http://"+address)}
	f.kid = "first"
	f.publish(f.signer)
	return &lateIssuer{fakeIssuer: f, address: address}
}

func (l *lateIssuer) arrive(t *testing.T) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", l.address)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: listener, Config: &http.Server{Handler: l.fakeIssuer}}
	srv.Start()
	t.Cleanup(srv.Close)
}
