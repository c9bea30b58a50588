package gatehouse

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// recentEach is how many refusals of each kind are kept.
	recentEach = 256

	// maxRecent bounds one of them, in bytes: all together take 3 MiB at most.
	maxRecent = 4 << 10

	// recentFor is how long one stays at least. What comes faster is left out:
	// it would be gone before anybody could ask, and a flood would pay for each.
	recentFor = time.Second
)

// recentKind is what may not push out refusals of another kind.
type recentKind int

const (
	// recentRefused is what somebody may ask about.
	recentRefused recentKind = iota
	// recentMissing has no credential: each visitor's first request, and any flood.
	recentMissing
	// recentObserved was let pass. With an observed rule that may be every request.
	recentObserved
	recentKinds
)

// recentRefusals are the last refusals of one configuration, as its log tells
// them or would: a more private configuration does not inherit what an earlier
// one could tell. What is kept is text. No request, no token, and nothing that
// they are made of, stays in memory by it.
type recentRefusals struct {
	refused, observed zapcore.Encoder
	order, leftOut    atomic.Uint64
	rings             [recentKinds]recentRing
}

type recentRing struct {
	mu      sync.Mutex
	entries [recentEach]recentEntry
	added   uint64
}

type recentEntry struct {
	order uint64
	at    time.Time
	data  []byte // JSON; its memory is used again
}

func newRecentRefusals() *recentRefusals {
	k := &recentRefusals{refused: zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey:          "time",
		EncodeTime:       zapcore.TimeEncoderOfLayout("2006-01-02T15:04:05.000Z07:00"),
		EncodeDuration:   zapcore.StringDurationEncoder,
		SkipLineEnding:   true,
		ConsoleSeparator: " ",
	})}
	k.observed = k.refused.Clone()
	k.observed.AddBool("observed", true)
	return k
}

// due reports that the refusal is to be kept. A nil *recentRefusals keeps none.
func (k *recentRefusals) due(no *refusal, now time.Time) bool {
	return k != nil && k.roomFor(kindOf(no, recentRefused), now)
}

// add keeps a refusal that is due.
func (k *recentRefusals) add(no *refusal, now time.Time, fields []zap.Field) {
	k.keep(kindOf(no, recentRefused), k.refused, now, fields)
}

// addObserved keeps what would have been a refusal, if it is due.
func (k *recentRefusals) addObserved(no *refusal, now time.Time, fields []zap.Field) {
	if kind := kindOf(no, recentObserved); k != nil && k.roomFor(kind, now) {
		k.keep(kind, k.observed, now, fields)
	}
}

func (k *recentRefusals) roomFor(kind recentKind, now time.Time) bool {
	ring := &k.rings[kind]
	ring.mu.Lock()
	defer ring.mu.Unlock()
	oldest := &ring.entries[ring.added%recentEach]
	if age := now.Sub(oldest.at); ring.added >= recentEach && age >= 0 && age < recentFor {
		k.leftOut.Add(1)
		return false
	}
	return true
}

func kindOf(no *refusal, otherwise recentKind) recentKind {
	if no.code == codeCredentialsMissing {
		return recentMissing
	}
	return otherwise
}

// keep cuts off the last fields of what is too long.
func (k *recentRefusals) keep(kind recentKind, encoder zapcore.Encoder, now time.Time, fields []zap.Field) {
	for n := len(fields); ; n /= 2 {
		part := fields[:n]
		if n < len(fields) {
			part = append(slices.Clip(part), zap.Bool("cut", true))
		}
		text, err := encoder.EncodeEntry(zapcore.Entry{Time: now.UTC()}, part)
		if err != nil {
			return
		}
		fits := text.Len() <= maxRecent
		if fits {
			k.rings[kind].put(k.order.Add(1), now, text.Bytes())
		}
		text.Free()
		if fits || n == 0 {
			return
		}
	}
}

func (g *recentRing) put(order uint64, now time.Time, text []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := &g.entries[g.added%recentEach]
	g.added++
	e.order, e.at = order, now
	if cap(e.data) < len(text) {
		e.data = make([]byte, 0, len(text)) // append would take more
	}
	e.data = append(e.data[:0], text...)
}

// count is how many are kept.
func (k *recentRefusals) count() int {
	n := 0
	for i := range k.rings {
		ring := &k.rings[i]
		ring.mu.Lock()
		n += int(min(ring.added, recentEach))
		ring.mu.Unlock()
	}
	return n
}

// list is a copy of what is kept, newest first.
func (k *recentRefusals) list() []json.RawMessage {
	var all []recentEntry
	for i := range k.rings {
		ring := &k.rings[i]
		ring.mu.Lock()
		for _, e := range ring.entries[:min(ring.added, recentEach)] {
			all = append(all, recentEntry{order: e.order, data: slices.Clone(e.data)})
		}
		ring.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b recentEntry) int { return cmp.Compare(b.order, a.order) })
	out := make([]json.RawMessage, 0, len(all))
	for _, e := range all {
		out = append(out, e.data)
	}
	return out
}

// find returns the refusal that a visitor was told this id with. Several gates
// may have refused one request, as observed ones do: the newest counts.
func (k *recentRefusals) find(id string) json.RawMessage {
	for _, text := range k.list() {
		var entry struct {
			RequestID string `json:"request_id"`
		}
		if json.Unmarshal(text, &entry) == nil && entry.RequestID == id {
			return text
		}
	}
	return nil
}
