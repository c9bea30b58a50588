package keyset

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// An issuer rotates its key while we cannot reach it. A token with the new kid is good, and to call it wrong would sign
// its visitor out; all we know is that our keys may be outdated. Once the issuer has answered, we know.
func TestUnknownKidDuringAnOutageIsUnavailable(t *testing.T) {
	for name, outage := range map[string]handler{"down": down, "hanging": hangs, "hanging in its body": hangsInBody, "broken": replies(500, "")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				one, two := edJWK("one"), edJWK("two")
				i.answer(jwksURL, replies(200, setOf(one)))
				r := start(t, i, nil)
				wantKey(t, r, "one")
				time.Sleep(time.Minute)
				wantNone(t, r, "two") // the issuer has just said so
				i.answer(jwksURL, outage)
				time.Sleep(time.Minute)
				wantUnavailable(t, r, "two") // its refresh fails, or is not over in time
				wantUnavailable(t, r, "two") // there is none to wait for, or the same one
				wantKey(t, r, "one")
				time.Sleep(fetchTimeout)
				synctest.Wait()
				if next := time.Until(r.Status().NextAttempt); next > 3*time.Second {
					t.Fatalf("the next attempt is in %s", next)
				}
				i.answer(jwksURL, replies(200, setOf(one, two)))
				time.Sleep(10 * time.Second)
				wantKey(t, r, "two")
				wantNone(t, r, "three")
			})
		})
	}
}

// The last good set is read back from the store, from before a rotation perhaps, and the issuer is out of reach.
func TestUnknownKidAfterARestartDuringAnOutageIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
		s, _ := stored(t, i)
		time.Sleep(time.Hour)
		i.answer(jwksURL, down)
		r := start(t, i, s)
		wantKey(t, r, "a")
		wantUnavailable(t, r, "b")
	})
}

// "Come back later" must not cost more than "no": a flood of random kids during an outage makes no attempt beyond
// those of the back-off and one in thirty seconds, and no request of it waits once the issuer was found down.
func TestAttackRandomKidsDuringAnOutageCostNothing(t *testing.T) {
	attempts := func(t *testing.T, flood int) (n int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer()
			i.answer(jwksURL, replies(200, setOf(edJWK("a")), "Cache-Control", "max-age=86400"))
			r := start(t, i, nil)
			wantKey(t, r, "a")
			i.answer(jwksURL, down)
			time.Sleep(time.Minute)
			wantUnavailable(t, r, "new")
			begun, waited := time.Now(), time.Duration(0)
			for n := range flood {
				before := time.Now()
				wantUnavailable(t, r, fmt.Sprint("random", n))
				waited += time.Since(before)
				time.Sleep(10 * time.Millisecond)
			}
			if waited != 0 {
				t.Errorf("the flood waited %s", waited)
			}
			time.Sleep(100*time.Second - time.Since(begun))
			wantKey(t, r, "a")
			n = i.asked(jwksURL)
		})
		return n
	}
	quiet, flooded := attempts(t, 0), attempts(t, 10_000)
	if most := quiet + int(100*time.Second/askInterval) + 1; flooded > most {
		t.Errorf("%d attempts under the flood, %d without; want at most %d", flooded, quiet, most)
	}
}

// While an issuer hangs, each request with an unknown kid waits two seconds, and whoever sends a hundred thousand of
// them would have us hold them all. Beyond a number they are told at once to come back, and known kids never wait.
func TestAttackWaitingRequestsAreBounded(t *testing.T) {
	for name, first := range map[string]handler{"at start": hangs, "with keys at hand": replies(200, setOf(edJWK("a")))} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.answer(jwksURL, first)
				r := start(t, i, nil)
				synctest.Wait()
				i.answer(jwksURL, hangs)
				time.Sleep(time.Second)
				begun := time.Now()
				var waited atomic.Int64
				var wg sync.WaitGroup
				for n := range 2 * maxWaiting {
					wg.Go(func() {
						wantUnavailable(t, r, fmt.Sprint("random", n))
						if time.Since(begun) > 0 {
							waited.Add(1)
						}
					})
				}
				synctest.Wait()
				if r.Ready() {
					wantKey(t, r, "a")
				}
				wg.Wait()
				if waited.Load() != maxWaiting || r.waiting.Load() != 0 {
					t.Errorf("%d waited, %d still do", waited.Load(), r.waiting.Load())
				}
			})
		})
	}
}

// A set that outlives the configuration that started it would write to a log that is closed, and its troubles would be
// seen by nobody; so would one whose new configuration failed to load.
func TestTheLogAndTheStoreAreTheRunningConfigurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
		r := remote(t, i)
		type config struct {
			*Host
			store *memory
			logs  *observer.ObservedLogs
		}
		configuration := func() config {
			core, logs := observer.New(zap.InfoLevel)
			store := newMemory()
			return config{&Host{Store: store, Log: zap.New(core)}, store, logs}
		}
		speaks := func(want config, others ...config) {
			t.Helper()
			synctest.Wait()
			for _, c := range append(others, want) {
				c.logs.TakeAll()
			}
			saves := want.store.saves
			i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			if want.logs.Len() == 0 || want.store.saves == saves {
				t.Errorf("%d lines and %d saves go to the running configuration", want.logs.Len(), want.store.saves-saves)
			}
			for _, c := range others {
				if c.logs.Len() != 0 {
					t.Errorf("a configuration that is gone is written to: %v", c.logs.All())
				}
			}
		}
		first, second, failed := configuration(), configuration(), configuration()
		r.Start(first.Host)
		speaks(first, second, failed)
		r.Start(second.Host)
		r.Leave(first.Host)
		speaks(second, first, failed)
		r.Start(failed.Host)
		r.Leave(failed.Host)
		speaks(second, first, failed)
		r.Leave(second.Host)
		time.Sleep(2 * time.Hour) // nobody's log and store: nothing to fail on
		wantKey(t, r, "a")
	})
}
