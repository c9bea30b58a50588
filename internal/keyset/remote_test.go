package keyset

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slowly answers after a while.
func slowly(d time.Duration, h handler) handler {
	return func(req *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return h(req)
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

func TestRequestsWaitForTheFirstFetch(t *testing.T) {
	for name, c := range map[string]struct {
		startAfter, answerAfter time.Duration
		ok                      bool
	}{
		"started before, answered at once":              {0, 0, true},
		"answered after a second":                       {0, time.Second, true},
		"started after a second, as Caddy may do":       {time.Second, 0, true},
		"answered after three seconds: told to retry":   {0, 3 * time.Second, false},
		"started after a second, answered in one and a": {time.Second, 1500 * time.Millisecond, false},
		"never started":                                 {time.Hour, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.answer(jwksURL, slowly(c.answerAfter, replies(200, setOf(edJWK("a")))))
				r := remote(t, i)
				time.AfterFunc(c.startAfter, func() { r.Start(nil) })
				begun := time.Now()
				if c.ok {
					wantKey(t, r, "a")
					if waited := time.Since(begun); waited != c.startAfter+c.answerAfter {
						t.Fatalf("waited %s", waited)
					}
					return
				}
				wantUnavailable(t, r, "a")
				if waited := time.Since(begun); waited != MaxWait {
					t.Fatalf("waited %s", waited)
				}
				time.Sleep(2 * time.Hour) // what was begun goes on without the request
				wantKey(t, r, "a")
			})
		})
	}
}

func TestOutOfReachAtStartThenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, down)
		r := start(t, i, nil)
		synctest.Wait()
		for range 5 { // between two attempts there is nothing to wait for
			begun := time.Now()
			wantUnavailable(t, r, "a")
			if time.Since(begun) != 0 {
				t.Fatal("the request waited though nothing was under way")
			}
		}
		time.Sleep(10 * time.Minute)
		next := time.Until(r.Status().NextAttempt)
		if err := wantUnavailable(t, r, "a"); err.RetryAfter < min(next, maxRetry) || err.RetryAfter > max(next, 0)+time.Second {
			t.Fatalf("retry after %s, next attempt in %s", err.RetryAfter, next)
		}
		i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
		time.Sleep(6 * time.Minute)
		wantKey(t, r, "a")
	})
}

func TestAHundredRequestsAtStartMakeOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, slowly(time.Second, replies(200, setOf(edJWK("a")))))
		r := start(t, i, nil)
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() {
				if n%2 == 0 {
					wantKey(t, r, "a")
				} else {
					wantNone(t, r, "unknown") // the set is as fresh as can be: no second fetch
				}
			})
		}
		wg.Wait()
		if i.asked(jwksURL) != 1 {
			t.Fatalf("%d fetches", i.asked(jwksURL))
		}
	})
}

func TestRotationIsOneRefreshForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		one, two := edJWK("one"), edJWK("two")
		i.answer(jwksURL, replies(200, setOf(one)))
		r := start(t, i, nil)
		wantKey(t, r, "one")
		time.Sleep(time.Minute)
		i.answer(jwksURL, slowly(time.Second, replies(200, setOf(one, two))))
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { wantKey(t, r, "two") })
		}
		wg.Wait()
		if i.asked(jwksURL) != 2 || r.Generation() != 2 {
			t.Fatalf("%d fetches, generation %d", i.asked(jwksURL), r.Generation())
		}
	})
}

// Anybody can send tokens with a new random kid each. If every one of them made a fetch, a visitor could make us take
// the issuer down, or get us banned there.
func TestAttackRandomKidsMakeAtMostOneFetchInThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a")), "Cache-Control", "max-age=86400"))
		r := start(t, i, nil)
		wantKey(t, r, "a")
		time.Sleep(time.Minute)
		begun := time.Now()
		for n := range 10_000 {
			wantNone(t, r, fmt.Sprint("random", n))
			time.Sleep(10 * time.Millisecond)
		}
		most := 1 + int(time.Since(begun)/askInterval) + 1
		if got := i.asked(jwksURL); got > most || got < 3 {
			t.Fatalf("%d fetches in %s, want 3 to %d", got, time.Since(begun), most)
		}
	})
}

// The same flood while the issuer hangs must not hold requests either: within the thirty seconds they are answered at
// once, and the first two seconds at most.
func TestAttackRandomKidsDoNotWaitForAHangingIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
		r := start(t, i, nil)
		wantKey(t, r, "a")
		time.Sleep(time.Minute)
		i.answer(jwksURL, hangs)
		begun := time.Now()
		wantUnavailable(t, r, "new")
		if waited := time.Since(begun); waited != MaxWait {
			t.Fatalf("waited %s", waited)
		}
		wantKey(t, r, "a")
		time.Sleep(4 * time.Second) // the attempt is over, the next one some seconds away
		i.answer(jwksURL, down)
		time.Sleep(10 * time.Second)
		begun = time.Now()
		wantUnavailable(t, r, "newer")
		if waited := time.Since(begun); waited != 0 {
			t.Fatalf("waited %s within the thirty seconds", waited)
		}
	})
}

// An issuer withdraws a key because it was stolen. From the refresh on it verifies nothing, and the generation tells
// whoever remembers tokens to forget those it signed.
func TestAttackWithdrawnKeyStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		keep, stolen := edJWK("keep"), edJWK("stolen")
		i.answer(jwksURL, replies(200, setOf(keep, stolen)))
		r := start(t, i, newMemory())
		wantKey(t, r, "stolen")
		i.answer(jwksURL, replies(200, setOf(keep)))
		time.Sleep(time.Hour)
		wantNone(t, r, "stolen")
		wantKey(t, r, "keep")
		if r.Generation() != 2 {
			t.Fatalf("generation %d", r.Generation())
		}
	})
}

func TestTheGenerationFollowsTheKeyMaterial(t *testing.T) {
	one, two := edJWK("one"), edJWK("two")
	for name, c := range map[string]struct {
		after string
		want  uint64
	}{
		"the same set":             {setOf(one, two), 1},
		"in another order":         {setOf(two, one), 1},
		"with an unusable key":     {setOf(one, two, `{"kty":"oct"}`), 1},
		"one key less":             {setOf(one), 2},
		"one key more":             {setOf(one, two, edJWK("three")), 2},
		"other material, same kid": {setOf(one, edJWK("two")), 2},
		"another kid":              {setOf(one, jwkOf("kty", "OKP", "crv", "Ed25519", "x", rfcX, "kid", "x")), 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.answer(jwksURL, replies(200, setOf(one, two)))
				r := start(t, i, nil)
				wantKey(t, r, "one")
				i.answer(jwksURL, replies(200, c.after))
				time.Sleep(time.Hour)
				if r.Generation() != c.want {
					t.Fatalf("generation %d, want %d", r.Generation(), c.want)
				}
			})
		})
	}
}

// Whoever can keep us from reaching the issuer could keep a withdrawn key alive. After max_stale the answer is "come
// back later", for every kid alike.
func TestAttackKeysDoNotOutliveMaxStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a")), "ETag", `"1"`))
		r := start(t, i, nil)
		wantKey(t, r, "a")
		i.answer(jwksURL, replies(304, ""))
		time.Sleep(time.Hour)
		last := r.Status().FetchedAt
		i.answer(jwksURL, down)
		time.Sleep(time.Until(last.Add(defaultMaxStale)))
		synctest.Wait()
		wantKey(t, r, "a")
		if r.Status().Stale {
			t.Fatal("stale too early")
		}
		time.Sleep(time.Nanosecond)
		wantUnavailable(t, r, "a")
		wantUnavailable(t, r, "unknown")
		if r.Ready() || !r.Status().Stale {
			t.Fatal("stale keys are called ready")
		}
		i.answer(jwksURL, replies(200, setOf(edJWK("b"))))
		time.Sleep(6 * time.Minute)
		wantKey(t, r, "b")
	})
}

func TestAShortMaxStaleRefreshesMoreOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a")), "Cache-Control", "max-age=86400"))
		r := start(t, i, nil, func(o *Options) { o.MaxStale = 4 * time.Second })
		for range 100 {
			wantKey(t, r, "a")
			time.Sleep(time.Second)
		}
	})
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a"), ecJWK("b"))))
		r := remote(t, i)
		if got := r.Status(); got.URL != jwksURL || got.Generation != 0 || got.Stale || len(got.Keys) != 0 {
			t.Fatalf("before Start: %+v", got)
		}
		r.Start(nil)
		synctest.Wait()
		got := r.Status()
		if len(got.Keys) != 2 || got.Keys[0].ID != "a" || got.Keys[1].ID != "b" || !got.FetchedAt.Equal(time.Now()) || got.Generation != 1 || got.Stale || got.LastError != "" || !r.Ready() {
			t.Fatalf("after the first fetch: %+v", got)
		}
		if got.Issuer == "" || got.Issuer != r.opts.Issuer || got.Fetches != 1 || got.Failures != 0 {
			t.Fatalf("after the first fetch: %+v", got)
		}
		i.answer(jwksURL, down)
		time.Sleep(defaultMaxAge + time.Second)
		synctest.Wait()
		if got := r.Status(); got.Fetches != 1 || got.Failures == 0 || i.asked(jwksURL) != int(got.Fetches+got.Failures) {
			t.Fatalf("in an outage: %+v after %d questions", got, i.asked(jwksURL))
		}
	})
}

func TestReadersAndRefreshesDoNotRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		i := newIssuer()
		keep := edJWK("keep")
		i.answer(jwksURL, func(req *http.Request) (*http.Response, error) {
			return replies(200, setOf(keep, edJWK(fmt.Sprint(n.Add(1)))))(req)
		})
		r := start(t, i, newMemory(), func(o *Options) { o.MaxStale = 4 * time.Second })
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					wantKey(t, r, "keep")
					wantNone(t, r, "never")
					_, _, _ = r.Ready(), r.Generation(), r.Status()
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		for range 50 {
			r.Start(&Host{Store: newMemory()})
			time.Sleep(200 * time.Millisecond)
		}
		wg.Wait()
	})
}
