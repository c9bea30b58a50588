package gatehouse

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkFlood states what a good token costs while somebody sends random kids
// without a pause, beside the same without. Both share the machine: what the
// flood takes in cores is lost to either, so have two or more, and look at the
// difference between the remembered and the unremembered token too.
func BenchmarkFlood(b *testing.B) {
	f := newFakeIssuer(b)
	uncached := strings.Replace(f.gated(""), "public /login", "cache off", 1)
	s := run(b, f.signer, hosted("remembered", f.gated(""))+hosted("uncached", uncached))
	good := f.token(b, nil)
	send := func(name, token string) int {
		r := httptest.NewRequest(http.MethodGet, urlOf(name, "/x"), nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := &nowhere{header: http.Header{}}
		s.server.ServeHTTP(w, r)
		return w.status
	}
	for _, name := range []string{"remembered", "uncached"} {
		s.eventually(pass(), refusedWith(503, codeKeysUnavailable), ask{target: urlOf(name, "/"), token: good})
		for _, flood := range []bool{false, true} {
			b.Run(name+"/flood="+strconv.FormatBool(flood), func(b *testing.B) {
				end := func() int { return 0 }
				if flood {
					end = keepSending(randomKids(f), func(token string) { send(name, token) })
				}
				before, began := f.fetches.Load(), time.Now()
				for b.Loop() {
					if status := send(name, good); status != http.StatusOK {
						b.Fatalf("a good token: %d", status)
					}
				}
				took := time.Since(began)
				b.ReportMetric(float64(end())/took.Seconds(), "refused/s")
				if n, most := f.fetches.Load()-before, 2+int64(took/(30*time.Second)); n > most {
					b.Fatalf("%d fetches, want at most %d", n, most)
				}
			})
		}
	}
}

// keepSending sends tokens of random kids until it is ended, and then tells how
// many.
func keepSending(random func(size int) string, send func(token string)) (end func() int) {
	stop, sent := make(chan struct{}), 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				send(random(32))
				sent++
			}
		}
	})
	return func() int {
		close(stop)
		wg.Wait()
		return sent
	}
}
