package keyset

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

func TestARequestThatIsGoneWaitsNoLonger(t *testing.T) {
	for name, first := range map[string]handler{
		"for the first keys": hangs,
		"for an unknown kid": replies(200, setOf(edJWK("a"))),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.answer(jwksURL, first)
				r := start(t, i, nil)
				synctest.Wait()
				i.answer(jwksURL, hangs)
				time.Sleep(time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				begun := time.Now()
				_, err := r.Key(ctx, byKid("unknown"))
				var unavailable *token.UnavailableError
				if !errors.As(err, &unavailable) || !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 300*time.Millisecond {
					t.Fatalf("got %v after %s", err, time.Since(begun))
				}
			})
		})
	}
}

func TestCloseEndsEverything(t *testing.T) {
	for name, before := range map[string]func(*Remote){
		"before Start":           func(*Remote) {},
		"right after Start":      func(r *Remote) { r.Start(nil) },
		"while it fetches":       func(r *Remote) { r.Start(nil); synctest.Wait() },
		"after a second Start":   func(r *Remote) { r.Start(nil); r.Start(&Host{Store: newMemory()}); r.Start(nil) },
		"after the first Close":  func(r *Remote) { r.Start(nil); _ = r.Close() },
		"between two attempts":   func(r *Remote) { r.Start(nil); time.Sleep(fetchTimeout); synctest.Wait() },
		"with requests that ask": func(r *Remote) { r.Start(nil); go func() { _, _ = r.Key(context.Background(), byKid("b")) }() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.answer(jwksURL, hangs)
				r := remote(t, i)
				before(r)
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				begun, asked := time.Now(), i.asked(jwksURL)
				wantUnavailable(t, r, "a")
				if time.Since(begun) != 0 {
					t.Fatal("a request waits for what was closed")
				}
				r.Start(&Host{Store: newMemory()})
				time.Sleep(time.Hour)
				if i.asked(jwksURL) != asked {
					t.Fatal("it fetches after Close")
				}
			})
		})
	}
}

func TestCloseLeavesKeysToRequestsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
		r := start(t, i, nil)
		wantKey(t, r, "a")
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		wantKey(t, r, "a")
		time.Sleep(time.Minute)
		begun := time.Now()
		wantNone(t, r, "b")
		if i.asked(jwksURL) != 1 || time.Since(begun) != 0 {
			t.Fatal("it fetches, or waits for it, after Close")
		}
	})
}

// A panic in the goroutine would end the whole web server with all its sites.
func TestAttackPanicWhileFetchingIsAFailureOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, func(*http.Request) (*http.Response, error) { panic("boom") })
		r := start(t, i, panicking{})
		wantUnavailable(t, r, "a")
		i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
		time.Sleep(5 * time.Second)
		wantKey(t, r, "a")
	})
}

type panicking struct{}

func (panicking) Load(context.Context, string) ([]byte, error) { panic("boom") }
func (panicking) Save(context.Context, string, []byte) error   { panic("boom") }

func TestAWarningIsLoggedOnceNotAtEachRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a"), edJWK("b", "use", "enc"))))
		r := remote(t, i)
		r.Start(&Host{Log: zap.New(core)})
		time.Sleep(12 * time.Hour)
		if logs.Len() != 1 || i.asked(jwksURL) < 10 {
			t.Fatalf("%d warnings in %d fetches: %v", logs.Len(), i.asked(jwksURL), logs.All())
		}
		i.answer(jwksURL, replies(200, setOf(edJWK("a"), edJWK("b", "use", "enc"), edJWK("c", "use", "enc"))))
		time.Sleep(2 * time.Hour)
		if logs.Len() != 2 {
			t.Fatalf("another warning was not logged: %v", logs.All())
		}
		wantKey(t, r, "a")
	})
}
