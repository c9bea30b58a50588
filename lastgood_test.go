package gatehouse

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// The machine is rebooted while the identity provider is down. Everybody who is
// signed in stays so, from the keys in Caddy's storage, and nobody else gets in.
func TestRestartDuringAnOutage(t *testing.T) {
	f := newFakeIssuer(t)
	storage := t.TempDir()
	caddyfile := hosted("panel", f.gated("")) + hosted("other", f.gated("keys "+f.issuer+"/keys"))
	t.Run("before", func(t *testing.T) {
		s := runIn(t, storage, f.signer, caddyfile)
		for _, name := range []string{"panel", "other"} {
			s.expect(pass(), ask{target: urlOf(name, "/"), token: f.token(t, nil)})
		}
		waitForFiles(t, filepath.Join(storage, "gatehouse", "keys", "*.json"), 2)
	})
	f.fail(status(http.StatusBadGateway, ""))
	s := runIn(t, storage, f.signer, caddyfile)
	for _, name := range []string{"panel", "other"} {
		s.expect(pass(), ask{target: urlOf(name, "/"), token: f.token(t, nil)})
		s.expect(refusedWith(401, codeTokenInvalid), ask{target: urlOf(name, "/"), token: newSigner(t, f.issuer).token(t, nil)})
		expectUnavailable(s.site, ask{target: urlOf(name, "/"), token: f.newKey(t, "next").token(t, nil)})
	}
}

func waitForFiles(t *testing.T, pattern string, want int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		found, err := filepath.Glob(pattern)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		if len(found) == want {
			return
		}
	}
}

// Whoever can keep us from the issuer could keep a withdrawn key alive for ever,
// so there is an end, to the nanosecond: for tokens that are remembered too, and
// counted from the last fetch, not from the restart in between.
func TestLastGoodKeysServeUntilMaxStale(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeIssuer{signer: newSigner(t, testIssuer)}
		f.publish(f.signer)
		const maxStale = 6 * time.Hour
		raw := f.token(t, claims{"exp": time.Now().Add(48 * time.Hour).Unix()})

		authn, end := f.authenticator(t, dir, maxStale)
		expectCode(t, authn, raw, "")
		fetched := time.Now()
		f.fail(status(http.StatusInternalServerError, ""))
		time.Sleep(3 * time.Hour)
		expectCode(t, authn, raw, "")
		end()

		authn, end = f.authenticator(t, dir, maxStale) // restarted
		defer func() { end() }()
		expectCode(t, authn, raw, "")
		time.Sleep(time.Until(fetched.Add(maxStale)))
		expectCode(t, authn, raw, "")
		if authn.memory.recall(raw, time.Now()) == nil {
			t.Fatal("the token is not remembered")
		}
		time.Sleep(time.Nanosecond)
		expectCode(t, authn, raw, codeKeysUnavailable)
		f.heal()
		time.Sleep(10 * time.Minute)
		expectCode(t, authn, raw, "")
	})
}

// authenticator trusts the issuer, which it reaches without a network.
func (f *fakeIssuer) authenticator(t *testing.T, dir string, maxStale time.Duration) (a *authenticator, end func()) {
	t.Helper()
	app := &App{log: zap.NewNop(), storage: &certmagic.FileStorage{Path: dir}, transport: inProcess{f}}
	is := &Issuer{Issuer: f.issuer, Keys: []string{f.issuer + "/keys"}, Audiences: []string{testAudience}, MaxStale: caddy.Duration(maxStale)}
	issuer, err := is.compile(app, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return &authenticator{
			limit: defaultTokenLimit, issuers: map[string]*trustedIssuer{f.issuer: issuer}, memory: newMemory(10), now: time.Now,
		}, func() {
			if err := errors.Join(app.Stop(), app.Cleanup()); err != nil {
				t.Error(err)
			}
		}
}

func expectCode(t *testing.T, a *authenticator, raw string, want code) {
	t.Helper()
	_, no := a.identify(t.Context(), credential{raw: raw, from: fromHeader})
	if no == nil && want != "" || no != nil && no.code != want {
		t.Fatalf("got %v, want %q", no, want)
	}
}

// inProcess is a server without a network.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result(), nil
}

// The same with a server that runs: old keys serve, end, and are followed by new
// ones, without a reload.
func TestMaxStaleEndsAndIsOver(t *testing.T) {
	f := newFakeIssuer(t)
	s := run(t, f.signer, hosted("panel", f.gated("max_stale 2s")))
	token := f.token(t, nil)
	s.eventually(pass(), refusedWith(503, codeKeysUnavailable), ask{target: urlOf("panel", "/"), token: token})
	f.fail(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	s.eventually(refusedWith(503, codeKeysUnavailable), pass(), ask{target: urlOf("panel", "/"), token: token})
	expectUnavailable(s.site, ask{target: urlOf("panel", "/"), token: token})
	f.heal()
	s.eventually(pass(), refusedWith(503, codeKeysUnavailable), ask{target: urlOf("panel", "/"), token: token})
}
