package limit

import (
	"encoding/binary"
	"sync"
	"time"
)

const (
	ways    = 8
	buckets = 1 << 14

	// Entries is how many records a Table holds.
	Entries = ways * buckets

	// Bytes is what a Table takes, whatever happens.
	Bytes = buckets * (ways + 1) * 32
)

// record is what is known of one key. Its times are nanoseconds since 1970.
type record struct {
	key    Key
	arrive int64 // theoretical arrival time; in the past: nothing is known
	until  int64 // of the ban; in the past: none
}

func (e *record) live(now int64) bool { return e.arrive > now || e.until > now }

// Table is a Store in memory of a fixed size. Each key has a few places where it may be. Where all of them are taken,
// the record that would be forgotten first gives way; a ban never does, so that nobody can flood their own ban away:
// keys that find nothing but bans share one record.
type Table struct {
	buckets []bucket
}

type bucket struct {
	mu      sync.Mutex
	records [ways]record
	shared  record
}

// NewTable makes an empty table.
func NewTable() *Table { return &Table{buckets: make([]bucket, buckets)} }

// Spend implements Store.
func (t *Table) Spend(k Key, r Rate, now time.Time) time.Duration {
	b, at := t.bucket(k), now.UnixNano()
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.find(k, at)
	arrive := max(e.arrive, at) + r.interval()
	if over := arrive - at - r.burst(); over > 0 {
		return time.Duration(over)
	}
	e.arrive = arrive
	return 0
}

// Fail implements Store.
func (t *Table) Fail(k Key, l Lock, now time.Time) time.Duration {
	b, at := t.bucket(k), now.UnixNano()
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.find(k, at)
	if e.until > at {
		return time.Duration(e.until - at)
	}
	e.arrive = max(e.arrive, at) + l.Failures.interval()
	if e.arrive-at <= l.Failures.burst() {
		return 0
	}
	// Who comes back after the ban begins anew.
	e.arrive, e.until = 0, at+int64(l.Ban)
	return l.Ban
}

// Banned implements Store. It looks at every record.
func (t *Table) Banned(now time.Time) int {
	at, n := now.UnixNano(), 0
	for i := range t.buckets {
		b := &t.buckets[i]
		b.mu.Lock()
		for j := range b.records {
			if b.records[j].until > at {
				n++
			}
		}
		if b.shared.until > at {
			n++
		}
		b.mu.Unlock()
	}
	return n
}

// Used implements Store. It looks at every record.
func (t *Table) Used(now time.Time) int {
	at, n := now.UnixNano(), 0
	for i := range t.buckets {
		b := &t.buckets[i]
		b.mu.Lock()
		for j := range b.records {
			if b.records[j].live(at) {
				n++
			}
		}
		if b.shared.live(at) {
			n++
		}
		b.mu.Unlock()
	}
	return n
}

// Size implements Store: with the record that each bucket shares.
func (*Table) Size() int { return Entries + buckets }

func (t *Table) bucket(k Key) *bucket {
	return &t.buckets[binary.LittleEndian.Uint64(k[:])%buckets]
}

// find returns the record of a key, or makes room for one.
func (b *bucket) find(k Key, now int64) *record {
	var room *record
	for i := range b.records {
		e := &b.records[i]
		if e.key == k && e.live(now) {
			return e
		}
		switch {
		case e.until > now:
		case room == nil, e.arrive < room.arrive:
			room = e
		}
	}
	if room == nil {
		return &b.shared
	}
	*room = record{key: k}
	return room
}
