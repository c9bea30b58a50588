package gatehouse

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
)

// Where an issuer's keys come from.
const (
	kindURL      = "url"
	kindFile     = "file"
	kindSecret   = "secret"
	kindInternal = "internal"
)

// statusReport is what the admin API tells, and what `caddy gatehouse status`
// reads.
type statusReport struct {
	Issuers  []issuerReport `json:"issuers"`
	Cache    cacheReport    `json:"cache"`
	Lockouts lockoutReport  `json:"lockouts"`
	Refusals refusalsReport `json:"refusals"`
}

// issuerReport is one place where an issuer's keys are.
type issuerReport struct {
	Issuer      string      `json:"issuer"`
	Kind        string      `json:"kind"`
	Location    string      `json:"location,omitempty"`
	Keys        []keyReport `json:"keys"`
	FetchedAt   time.Time   `json:"fetched_at,omitzero"`
	AgeSeconds  *int64      `json:"age_seconds,omitempty"`
	Stale       bool        `json:"stale"` // no keys that may be used
	Fetches     uint64      `json:"fetches"`
	Failures    uint64      `json:"failures"`
	NextAttempt time.Time   `json:"next_attempt,omitzero"`
	Failing     bool        `json:"failing"` // the last attempt was not good
	LastError   string      `json:"last_error,omitempty"`
	LastErrorAt time.Time   `json:"last_error_at,omitzero"`
}

type keyReport struct {
	KeyID      string   `json:"kid,omitempty"`
	Thumbprint string   `json:"thumbprint,omitempty"`
	Type       string   `json:"type"`
	Algorithms []string `json:"algorithms"`
}

// cacheReport counts remembered tokens, of all gates together.
type cacheReport struct {
	Entries  int `json:"entries"`
	Capacity int `json:"capacity"`
}

// lockoutReport counts networks, and the records of lock-outs and throttles.
type lockoutReport struct {
	Active   int `json:"active"`
	Records  int `json:"records"`
	Capacity int `json:"capacity"`
}

// refusalsReport counts refusals that are kept, and those that were left out
// because they came too fast.
type refusalsReport struct {
	Entries  int    `json:"entries"`
	Capacity int    `json:"capacity"`
	LeftOut  uint64 `json:"left_out"`
}

// report tells the state of a configuration; without one, that there is nothing.
func (a *App) report(now time.Time) statusReport {
	if a == nil {
		return statusReport{Issuers: []issuerReport{}}
	}
	return statusReport{
		Issuers:  a.reportIssuers(now),
		Cache:    a.reportCache(),
		Lockouts: a.reportLockouts(now),
		Refusals: refusalsReport{a.recent.count(), recentEach * int(recentKinds), a.recent.leftOut.Load()},
	}
}

func (a *App) reportIssuers(now time.Time) []issuerReport {
	_, remotes, _ := a.meters.gauges.look()
	out := a.fixed.reports()
	for _, remote := range remotes {
		out = append(out, reportRemote(remote.Status(), now))
	}
	if a.builtin != nil {
		out = append(out, a.builtin.report())
	}
	slices.SortStableFunc(out, func(x, y issuerReport) int {
		return cmp.Or(strings.Compare(x.Issuer, y.Issuer), strings.Compare(x.Kind, y.Kind), strings.Compare(x.Location, y.Location))
	})
	return out
}

func reportRemote(s keyset.Status, now time.Time) issuerReport {
	r := issuerReport{
		Issuer: s.Issuer, Kind: kindURL, Location: s.URL, Keys: reportKeys(s.Keys),
		FetchedAt: s.FetchedAt, Stale: s.Stale || s.FetchedAt.IsZero(), Fetches: s.Fetches, Failures: s.Failures,
		NextAttempt: s.NextAttempt, Failing: s.LastError != "", LastError: s.LastFailure, LastErrorAt: s.LastFailureAt,
	}
	if !s.FetchedAt.IsZero() {
		age := int64(max(now.Sub(s.FetchedAt), 0) / time.Second)
		r.AgeSeconds = &age
	}
	return r
}

func (k *internalKey) report() issuerReport {
	r := issuerReport{Issuer: internalIssuer, Kind: kindInternal, Location: internalKeyName, Keys: []keyReport{}, Stale: true}
	if key := k.key.Load(); key != nil {
		r.Keys, r.Stale = reportKeys(keyset.InfoOf(*key)), false
	}
	if failed := k.failed.Load(); failed != nil {
		r.Failing, r.LastError, r.LastErrorAt = r.Stale, keyset.Redact(failed.err.Error()), failed.at
	}
	return r
}

func reportKeys(keys []keyset.KeyInfo) []keyReport {
	out := make([]keyReport, 0, len(keys))
	for _, k := range keys {
		out = append(out, keyReport{k.ID, k.Thumbprint, k.Type, k.Algorithms})
	}
	return out
}

func (a *App) reportCache() cacheReport {
	var out cacheReport
	memories, _, _ := a.meters.gauges.look()
	for _, m := range memories {
		out.Entries += m.size()
		out.Capacity += m.capacity
	}
	return out
}

func (a *App) reportLockouts(now time.Time) lockoutReport {
	_, _, limits := a.meters.gauges.look()
	if limits == nil {
		return lockoutReport{}
	}
	return lockoutReport{limits.Banned(now), limits.Used(now), limits.Size()}
}

// fixedIssuers are those whose keys are at hand from the start: from a file, or
// made from a secret. Gates that say the same are told as one.
type fixedIssuers struct {
	mu   sync.Mutex
	list []issuerReport
}

// add notes an issuer. A nil *fixedIssuers notes none.
func (f *fixedIssuers) add(issuer, kind, location string, keys *keyset.Static) {
	if f == nil {
		return
	}
	r := issuerReport{Issuer: issuer, Kind: kind, Location: location, Keys: reportKeys(keys.Info())}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.ContainsFunc(f.list, r.same) {
		f.list = append(f.list, r)
	}
}

// same does not look at when and how often keys were fetched.
func (r issuerReport) same(other issuerReport) bool {
	return r.Issuer == other.Issuer && r.Kind == other.Kind && r.Location == other.Location && slices.EqualFunc(r.Keys, other.Keys, keyReport.same)
}

func (k keyReport) same(other keyReport) bool {
	return k.KeyID == other.KeyID && k.Thumbprint == other.Thumbprint && k.Type == other.Type && slices.Equal(k.Algorithms, other.Algorithms)
}

func (f *fixedIssuers) reports() []issuerReport {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append(make([]issuerReport, 0, len(f.list)+2), f.list...)
}
