package gatehouse

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/limit"
)

// gauges are what is looked at when somebody asks for the metrics. That may be
// while gates are still being compiled.
type gauges struct {
	mu       sync.Mutex // guards what follows
	memories []*memory
	keys     []*keyset.Remote
	limits   limit.Store // nil: no gate counts
}

// addMemory makes the gauges count the tokens that a gate remembers.
func (g *gauges) addMemory(m *memory) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m != nil {
		g.memories = append(g.memories, m)
	}
}

// addKeys makes the gauges look at a key set.
func (g *gauges) addKeys(r *keyset.Remote) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys = append(g.keys, r)
}

// setLimits makes the gauges count who is locked out.
func (g *gauges) setLimits(store limit.Store) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limits = store
}

// look returns what there is. The lists are only ever appended to.
func (g *gauges) look() ([]*memory, []*keyset.Remote, limit.Store) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.memories, g.keys, g.limits
}

// Describe implements prometheus.Collector.
func (*gauges) Describe(to chan<- *prometheus.Desc) {
	of := gaugeDescs()
	for _, desc := range []*prometheus.Desc{of.entries, of.age, of.fetches, of.stale, of.locked} {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	memories, keys, limits := g.look()
	of := gaugeDescs()
	entries := 0
	for _, m := range memories {
		entries += m.size()
	}
	to <- prometheus.MustNewConstMetric(of.entries, prometheus.GaugeValue, float64(entries))
	locked := 0
	if limits != nil {
		locked = limits.Banned(time.Now())
	}
	to <- prometheus.MustNewConstMetric(of.locked, prometheus.GaugeValue, float64(locked))
	for issuer, k := range byIssuer(keys) {
		if k.fetched {
			to <- prometheus.MustNewConstMetric(of.age, prometheus.GaugeValue, k.age.Seconds(), issuer)
		}
		to <- prometheus.MustNewConstMetric(of.fetches, prometheus.CounterValue, float64(k.ok), issuer, "ok")
		to <- prometheus.MustNewConstMetric(of.fetches, prometheus.CounterValue, float64(k.failed), issuer, "error")
		to <- prometheus.MustNewConstMetric(of.stale, prometheus.GaugeValue, k.stale, issuer)
	}
}

// issuerState is what the metrics tell of one issuer.
type issuerState struct {
	fetched    bool
	age        time.Duration // of the oldest of its sets
	ok, failed uint64
	stale      float64 // 1: some set has no keys that may be used
}

// byIssuer joins the sets of each issuer, which may have several URLs or, at
// several gates, several max_stale: two series of one name and one issuer would
// end the scrape.
func byIssuer(sets []*keyset.Remote) map[string]issuerState {
	out := make(map[string]issuerState, len(sets))
	for _, set := range sets {
		status := set.Status()
		issuer := label(status.Issuer)
		k := out[issuer]
		k.ok += status.Fetches
		k.failed += status.Failures
		if !status.FetchedAt.IsZero() {
			k.fetched = true
			k.age = max(k.age, time.Since(status.FetchedAt))
		}
		if status.FetchedAt.IsZero() || status.Stale {
			k.stale = 1
		}
		out[issuer] = k
	}
	return out
}

type gaugeDesc struct{ entries, age, fetches, stale, locked *prometheus.Desc }

func gaugeDescs() gaugeDesc {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(metricPrefix+name, help, labels, nil)
	}
	return gaugeDesc{
		entries: desc("cache_entries", "Tokens that are remembered."),
		age:     desc("keys_age_seconds", "Time since the issuer's keys were last fetched.", "issuer"),
		fetches: desc("keys_fetches_total", "Attempts to fetch the issuer's keys.", "issuer", "result"),
		stale:   desc("keys_stale", "1 while the issuer's keys cannot be used: never fetched, or older than max_stale.", "issuer"),
		locked:  desc("lockouts_active", "Networks that are locked out now."),
	}
}

// Interface guard
var _ prometheus.Collector = (*gauges)(nil)
