package keyset

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// Issuers that were set up by hand give every key the same kid, or none, and a new key takes the place of the old one.
// Their new tokens would be called forged until the next refresh, up to a day later.
func TestANewKeyInTheSamePlaceIsFoundAtOnce(t *testing.T) {
	for name, kid := range map[string]string{"same kid": "main", "no kid": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := token.Query{KeyID: kid, HasKeyID: kid != "", Algorithm: "EdDSA"}
				i := newIssuer()
				i.answer(jwksURL, replies(200, setOf(inPlace(kid)), "Cache-Control", "max-age=86400"))
				r := start(t, i, nil)
				old := must(r.Key(t.Context(), q))
				time.Sleep(time.Minute)
				i.answer(jwksURL, slowly(time.Second, replies(200, setOf(inPlace(kid)))))
				var wg sync.WaitGroup
				for range 100 {
					wg.Go(func() {
						if k, found := r.Renew(t.Context(), q, old); !found || k.Thumbprint() == old.Thumbprint() {
							t.Errorf("got %v, %v", k, found)
						}
					})
				}
				wg.Wait()
				if i.asked(jwksURL) != 2 || r.Generation() != 2 {
					t.Errorf("%d fetches, generation %d", i.asked(jwksURL), r.Generation())
				}
			})
		})
	}
}

// inPlace is a key with a kid, or without one.
func inPlace(kid string) string {
	if kid == "" {
		return edJWK("", "alg", "EdDSA")
	}
	return edJWK(kid)
}

func TestRenewFindsNoKeyThatIsNotAnother(t *testing.T) {
	same := edJWK("a")
	for name, c := range map[string]struct {
		then handler
		kid  string
		ctx  func(context.Context) context.Context
		wait time.Duration
	}{
		"the issuer has the same key": {then: replies(200, setOf(same)), kid: "a"},
		"the key was withdrawn":       {then: replies(200, setOf(edJWK("b"))), kid: "a"},
		"the key is not of this set":  {then: replies(200, setOf(edJWK("b"))), kid: "b"},
		"the issuer is down":          {then: down, kid: "a"},
		"the issuer hangs":            {then: hangs, kid: "a", wait: MaxWait},
		"the request does not want to wait": {then: hangs, kid: "a", ctx: func(ctx context.Context) context.Context {
			over, cancel := context.WithCancel(ctx)
			cancel()
			return over
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.answer(jwksURL, replies(200, setOf(same)))
				r := start(t, i, nil)
				old := must(r.Key(t.Context(), byKid("a")))
				time.Sleep(time.Minute)
				i.answer(jwksURL, c.then)
				ctx := t.Context()
				if c.ctx != nil {
					ctx = c.ctx(ctx)
				}
				begun := time.Now()
				if k, found := r.Renew(ctx, byKid(c.kid), old); found {
					t.Errorf("got %v", k)
				}
				if waited := time.Since(begun); waited != c.wait {
					t.Errorf("waited %s, want %s", waited, c.wait)
				}
			})
		})
	}
}

// Anybody can put any signature under a kid that exists. With random kids between them, forged signatures share one
// fetch in thirty seconds, and none of them waits in between.
func TestAttackForgedSignaturesMakeAtMostOneFetchInThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a")), "Cache-Control", "max-age=86400"))
		r := start(t, i, nil)
		old := must(r.Key(t.Context(), byKid("a")))
		time.Sleep(time.Minute)
		begun := time.Now()
		for n := range 10_000 {
			if _, found := r.Renew(t.Context(), byKid("a"), old); found {
				t.Fatal("another key")
			}
			wantNone(t, r, fmt.Sprint("random", n))
			time.Sleep(10 * time.Millisecond)
		}
		if got, most := i.asked(jwksURL), 1+int(time.Since(begun)/askInterval)+1; got > most || got < 3 {
			t.Errorf("%d fetches in %s, want 3 to %d", got, time.Since(begun), most)
		}
		if spent := time.Since(begun); spent != 100*time.Second {
			t.Errorf("the flood waited %s", spent-100*time.Second)
		}
	})
}

// The issuer changes its key while an attempt is under way that has had its answer
// already. Whoever joins it must not be told that their token is forged.
func TestAnAttemptUnderWayMayBringYesterdaysKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, slowly(time.Second, replies(200, setOf(edJWK("a")))))
		r := start(t, i, nil)
		time.Sleep(500 * time.Millisecond)
		i.answer(jwksURL, replies(200, setOf(edJWK("b"))))
		wantKey(t, r, "b")
		if n := i.asked(jwksURL); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}
