package gatehouse

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// BenchmarkThousandSites states what a gate adds to the start of a server and
// to its memory, for each site: a thousand with a gate each, and a thousand
// without, in one run.
func BenchmarkThousandSites(b *testing.B) {
	const sites = 1000
	f := newFakeIssuer(b)
	for _, c := range []struct{ name, body string }{
		{"without", "\n\troute {\n\t\t" + nextHandler + "\n\t}\n"},
		{"with", f.gated("")},
	} {
		b.Run(c.name, func(b *testing.B) {
			var text strings.Builder
			for i := range sites {
				text.WriteString(hosted(fmt.Sprint("s", i), c.body))
			}
			r := &running{site: &site{t: b}, storage: b.TempDir(), port: freePort(b)}
			var took time.Duration
			var heap, goroutines int64
			for range b.N {
				f.fetches.Store(0)
				cfg := r.config(text.String())
				before, running := heapInUse(), runtime.NumGoroutine()
				began := time.Now()
				if err := caddy.Run(cfg); err != nil {
					b.Fatal(err)
				}
				took += time.Since(began)
				heap += heapInUse() - before
				if n := f.fetches.Load(); n > 1 {
					b.Fatalf("%d fetches", n)
				}
				goroutines += int64(runtime.NumGoroutine() - running)
				r.stop()
			}
			per := float64(b.N) * sites
			b.ReportMetric(float64(took.Nanoseconds())/per, "ns/site")
			b.ReportMetric(float64(heap)/per, "B/site")
			b.ReportMetric(float64(goroutines)/float64(b.N), "goroutines")
			b.ReportMetric(0, "ns/op") // it would count the adapter
		})
	}
}

// heapInUse is what is still reachable.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
