package gatehouse

import (
	"context"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
)

// keysInterval is how often keys are looked at: they grow stale by doing nothing.
const keysInterval = time.Second

// keyState is what is looked at of a key set.
type keyState interface {
	Ready() bool
	Status() keyset.Status
}

// staleWatch tells of each issuer whose keys cannot be used: once, and again only
// after they could be used.
type staleWatch struct {
	sets   []keyState
	told   map[string]bool // by issuer
	events *emitter
}

func newStaleWatch(sets map[poolKey]*keyset.Remote, events *emitter) *staleWatch {
	w := &staleWatch{told: make(map[string]bool), events: events}
	for _, set := range sets {
		w.sets = append(w.sets, set)
	}
	return w
}

// run looks until ctx ends.
func (w *staleWatch) run(ctx context.Context) {
	every(ctx, keysInterval, w.look)
}

func (w *staleWatch) look() {
	unusable := w.unusable()
	for issuer := range w.told {
		if _, still := unusable[issuer]; !still {
			delete(w.told, issuer)
		}
	}
	for issuer, status := range unusable {
		if w.told[issuer] {
			continue
		}
		w.told[issuer] = true
		if w.events.wants(eventKeysStale) {
			w.events.emit(eventKeysStale, staleData(status))
		}
	}
}

// unusable is, by issuer, a set that has no keys to use. One that has not been
// asked for yet is not among them.
func (w *staleWatch) unusable() map[string]keyset.Status {
	var out map[string]keyset.Status
	for _, set := range w.sets {
		if set.Ready() {
			continue
		}
		status := set.Status()
		if status.Failures == 0 || !status.FetchedAt.IsZero() && !status.Stale {
			continue
		}
		if out == nil {
			out = make(map[string]keyset.Status)
		}
		out[status.Issuer] = status
	}
	return out
}

// staleData leaves out the last error, which may repeat what a URL or an answer
// holds: the log has it.
func staleData(status keyset.Status) map[string]any {
	data := zapcore.NewMapObjectEncoder()
	data.AddString("issuer", status.Issuer)
	data.AddUint64("failures", status.Failures)
	if !status.FetchedAt.IsZero() {
		data.AddInt64("keys_age_seconds", int64(time.Since(status.FetchedAt)/time.Second))
	}
	return data.Fields
}
