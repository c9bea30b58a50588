package gatehouse

import (
	"crypto/sha256"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	defaultRemembered = 10_000
	maxRemembered     = 10_000_000

	// A verified token is remembered no longer than this, so that whatever is
	// changed elsewhere takes effect soon.
	rememberFor = 5 * time.Minute

	// bytesPerEntry bounds the memory: entries times this much, at most.
	bytesPerEntry = 5 << 10

	// Bad tokens have a memory of their own, small and short: it spares the
	// signature check of a client that repeats itself, and never displaces a
	// good token.
	rejectedEntries = 1024
	rejectFor       = 10 * time.Second
)

// memory remembers tokens that were verified, by their exact bytes. What it
// returns has skipped the signature, never the clock, the keys or the rules. It
// keeps no goroutine: time is looked at when an entry is used. Its tables are
// made for the first token, since most of a thousand sites see none for long.
type memory struct {
	capacity int
	tables   func() tables
	good     atomic.Pointer[goodTokens] // of tables; nil before the first token
}

type tables struct {
	good *goodTokens
	bad  *otter.Cache[[sha256.Size]byte, rejected]
}

type goodTokens = otter.Cache[string, remembered]

// remembered is a verified token, as long as its keys are the issuer's.
type remembered struct {
	identity   *identity
	issuer     *trustedIssuer
	until      time.Time
	generation uint64
}

type rejected struct {
	refusal    *refusal
	issuer     *trustedIssuer
	until      time.Time
	generation uint64
}

// newMemory makes a memory for at most so many tokens; none at all for 0.
func newMemory(entries int) *memory {
	if entries == 0 {
		return nil
	}
	m := &memory{capacity: entries}
	m.tables = sync.OnceValue(func() tables {
		t := newTables(entries)
		m.good.Store(t.good)
		return t
	})
	return m
}

// newTables needs a number of entries between 1 and maxRemembered.
func newTables(entries int) tables {
	unit := uint64(bytesPerEntry)
	return tables{
		good: otter.Must(&otter.Options[string, remembered]{
			// Every entry weighs its share at least: the weight bounds both the
			// number of entries and their bytes.
			MaximumWeight: uint64(entries) * unit, //nolint:gosec // checked to be positive
			Weigher: func(raw string, e remembered) uint32 {
				return uint32(min(max(footprint(raw, e.identity), unit), math.MaxUint32))
			},
		}),
		bad: otter.Must(&otter.Options[[sha256.Size]byte, rejected]{MaximumSize: rejectedEntries}),
	}
}

// footprint is what a remembered token takes: itself, the text of its claims,
// which is no longer, the values found in it, and the lists made of those.
func footprint(raw string, id *identity) uint64 {
	lists := (cap(id.roles) + cap(id.scopes)) * 16
	return uint64(1024 + 2*len(raw) + id.claims.Size() + lists) //nolint:gosec // a sum of sizes
}

// size is how many verified tokens are remembered.
func (m *memory) size() int {
	if good := m.good.Load(); good != nil {
		return good.EstimatedSize()
	}
	return 0
}

// recall returns whom a token was verified for, if that still holds.
func (m *memory) recall(raw string, now time.Time) *identity {
	if m == nil {
		return nil
	}
	e, found := m.tables().good.GetIfPresent(raw)
	if !found {
		return nil
	}
	if !now.Before(e.until) || e.generation != e.issuer.keys.Generation() || !e.issuer.keys.Ready() {
		m.tables().good.Invalidate(raw)
		return nil
	}
	return e.identity
}

// keep remembers a verified token. generation is that of the keys before they
// were asked: a key that left meanwhile must not be remembered as current.
func (m *memory) keep(raw string, id *identity, issuer *trustedIssuer, generation uint64, now time.Time) {
	if m == nil {
		return
	}
	until := now.Add(rememberFor)
	if exp := id.claims.Expiry(); exp.Before(until) {
		until = exp
	}
	if issued, has := id.claims.IssuedAt(); issuer.maxAge > 0 && has && issued.Add(issuer.maxAge).Before(until) {
		until = issued.Add(issuer.maxAge)
	}
	if !now.Before(until) {
		return
	}
	m.tables().good.Set(strings.Clone(raw), remembered{identity: id, issuer: issuer, until: until, generation: generation})
}

// recallRejected returns the refusal of a token that was bad a moment ago.
func (m *memory) recallRejected(sum [sha256.Size]byte, now time.Time) *refusal {
	e, found := m.tables().bad.GetIfPresent(sum)
	if !found || !now.Before(e.until) || e.generation != e.issuer.keys.Generation() {
		return nil
	}
	return e.refusal
}

// reject remembers a bad token. Only what cannot change with time is kept: what
// is not valid yet will be, and keys out of reach come back.
func (m *memory) reject(sum [sha256.Size]byte, no *refusal, issuer *trustedIssuer, generation uint64, now time.Time) {
	if no.code == codeTokenInvalid || no.code == codeTokenExpired {
		m.tables().bad.Set(sum, rejected{refusal: no, issuer: issuer, until: now.Add(rejectFor), generation: generation})
	}
}
