package gatehouse

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// A token of a discovered issuer is verified with the key that it publishes.
func TestDiscovery(t *testing.T) {
	f := newFakeIssuer(t)
	s := newSiteFrom(t, f.signer, f.caddyfile(1))
	s.expect(pass(), ask{target: "/", token: f.token(t, nil)})
	s.expect(refusedWith(401, codeTokenInvalid), ask{target: "/", token: newSigner(t, f.issuer).token(t, nil)})
}

// "I cannot check" is not "you are wrong": 503, with a time to come back; and
// who needs no key is not made to wait for one.
func TestIssuerOutOfReach(t *testing.T) {
	f := newFakeIssuer(t)
	f.fail(status(http.StatusInternalServerError, ""))
	s := newSiteFrom(t, f.signer, f.caddyfile(1))
	w := s.expect(refusedWith(503, codeKeysUnavailable), ask{target: "/", token: f.token(t, nil)})
	retryAfter := w.Header().Get("Retry-After")
	if n, err := strconv.Atoi(retryAfter); err != nil || n < 1 {
		t.Errorf("Retry-After is %q", retryAfter)
	}
	assertRefusalHeaders(t, w, "", retryAfter)
	if !strings.Contains(w.Body.String(), `"retry_after":`+retryAfter) {
		t.Errorf("body is %s", w.Body)
	}
	s.expect(pass(), ask{target: "/login", token: f.token(t, nil)})
	s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/"})
}

// A thousand sites would be a thousand fetches; a reload again as many.
func TestSitesShareOneFetch(t *testing.T) {
	f := newFakeIssuer(t)
	first := newSiteFrom(t, f.signer, f.caddyfile(20))
	first.expect(pass(), ask{target: "/", token: f.token(t, nil)})
	reload := newSiteFrom(t, f.signer, f.caddyfile(20))
	reload.expect(pass(), ask{target: "/", token: f.token(t, nil)})
	if n := f.fetches.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
	if err := first.app.Cleanup(); err != nil {
		t.Fatal(err)
	}
	reload.expect(pass(), ask{target: "/", token: f.token(t, nil)})
}

// A configuration that fails to load releases what it acquired, once, and
// leaves its neighbour's key set alone.
func TestFailedReloadKeepsTheOldKeys(t *testing.T) {
	f := newFakeIssuer(t)
	s := newSiteFrom(t, f.signer, f.caddyfile(1))
	s.expect(pass(), ask{target: "/", token: f.token(t, nil)})
	bad := adapted(t, strings.Replace(f.caddyfile(1), "public /login", "public /login\nrequire /x ip ./no-such-file", 1))
	for range 3 {
		if err := caddy.Validate(bad); err == nil {
			t.Fatal("loaded a file that is not there")
		}
	}
	key := poolKey{issuer: f.issuer}
	if refs, found := keyPool.References(key); !found || refs != 1 {
		t.Errorf("%d references, want the running site's", refs)
	}
	s.expect(pass(), ask{target: "/", token: f.token(t, nil)})
}

// Validating a configuration asks nobody and leaves nothing behind.
func TestValidateTouchesNoNetwork(t *testing.T) {
	f := newFakeIssuer(t)
	if err := caddy.Validate(adapted(t, f.caddyfile(3))); err != nil {
		t.Fatal(err)
	}
	if n := f.fetches.Load(); n != 0 {
		t.Errorf("%d fetches while validating", n)
	}
	if _, found := keyPool.References(poolKey{issuer: f.issuer}); found {
		t.Error("the key set is still in the pool")
	}
}

// Start and stop leave no goroutine, started or not.
func TestAppLeaksNoGoroutine(t *testing.T) {
	f := newFakeIssuer(t)
	before := goleak.IgnoreCurrent()
	for _, start := range []bool{true, false} {
		a := &App{log: zap.NewNop(), storage: &certmagic.FileStorage{Path: t.TempDir()}}
		if _, err := a.remote(keyset.Options{Issuer: f.issuer}); err != nil {
			t.Fatal(err)
		}
		a.internal()
		if start {
			if err := a.Start(); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := errors.Join(a.Stop(), a.Cleanup()); err != nil {
				t.Fatal(err)
			}
		}
	}
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("net/http.(*Server).Serve"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		// The storage's own: it ends within seconds of the lock's release.
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

// failingStorage cannot be reached for a while.
type failingStorage struct {
	certmagic.Storage
	failures atomic.Int64
}

func (s *failingStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if s.failures.Add(-1) >= 0 {
		return nil, errTest
	}
	return s.Storage.Load(ctx, key)
}

// A storage out of reach is 503 for tokens of issuer internal, until it is back.
func TestInternalKeyWaitsForTheStorage(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		storage := &failingStorage{Storage: &certmagic.FileStorage{Path: dir}}
		storage.failures.Store(3)
		k := newInternalKey()
		k.start(t.Context(), storage, zap.NewNop())

		var unavailable *token.UnavailableError
		if _, err := k.Key(t.Context(), token.Query{Algorithm: "EdDSA"}); !errors.As(err, &unavailable) || k.Ready() {
			t.Fatalf("got %v before there is a key", err)
		}
		k.wait()
		if _, err := k.Key(t.Context(), token.Query{Algorithm: "EdDSA"}); err != nil || !k.Ready() {
			t.Errorf("got %v with a key", err)
		}
		if _, err := k.Key(t.Context(), token.Query{Algorithm: "EdDSA", KeyID: "other", HasKeyID: true}); !errors.Is(err, token.ErrNoSuchKey) {
			t.Errorf("got %v for another kid", err)
		}
		time.Sleep(time.Minute) // the storage's lock keeper ends
	})
}
