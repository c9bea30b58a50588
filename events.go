package gatehouse

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
)

// Events for Caddy's `events` app. docs/events.md says what each one holds.
const (
	eventRefused            = "gatehouse.refused"
	eventCredentialRejected = "gatehouse.credential_rejected"
	eventLockedOut          = "gatehouse.locked_out"
	eventKeysStale          = "gatehouse.keys_stale"
)

// keysLookInterval is how often the gates' app looks for keys that went stale.
const keysLookInterval = time.Second

// emitter hands events to Caddy's events app, for all gates of a configuration.
// It lets them out once the whole configuration runs: before that the events app
// may still be taking in its subscriptions, without a lock. One that is only
// tried out never runs, and emits nothing.
type emitter struct {
	app  *caddyevents.App
	ctx  caddy.Context //nolint:containedctx // events are emitted by one
	log  *zap.Logger
	live atomic.Bool
}

// newEmitter is for Provision.
func newEmitter(ctx caddy.Context, log *zap.Logger) (*emitter, error) {
	module, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting the events app: %w", err)
	}
	// A context that names no module: once Provision is over its own names
	// whatever module Caddy loaded next.
	e := &emitter{app: module.(*caddyevents.App), ctx: caddy.Context{Context: ctx.Context}, log: log}
	return e, e.app.On("started", e)
}

// Handle implements caddyevents.Handler.
func (e *emitter) Handle(context.Context, caddy.Event) error {
	e.live.Store(true)
	return nil
}

// wants reports that somebody would see the event. Nothing is built for one that
// nobody wants. A nil *emitter emits nothing.
func (e *emitter) wants(name string) bool {
	return e != nil && e.live.Load() && e.app.ShouldEmit(name)
}

// emit returns when all handlers have. What they do, even a panic, changes
// nothing of what the gate does.
func (e *emitter) emit(name string, data map[string]any) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("panic in a handler of events", zap.String("event", name), zap.String("panic", fmt.Sprintf("%T", p)), zap.ByteString("stack", debug.Stack()))
		}
	}()
	e.app.Emit(e.ctx, name, data)
}

// announce readies the events of a refusal, and returns what emits them: the
// request is looked at now, and handlers run when the client has its answer.
func (t *teller) announce(r *http.Request, no *refusal) func() {
	var names []string
	for _, name := range [...]string{eventRefused, eventCredentialRejected, eventLockedOut} {
		if no.is(name) && t.events.wants(name) {
			names = append(names, name)
		}
	}
	if names == nil {
		return func() {}
	}
	data := fieldMap(t.fields(r, no))
	if no.retryAfter > 0 {
		data["retry_after"] = seconds(no.retryAfter)
	}
	return func() {
		for _, name := range names {
			t.events.emit(name, maps.Clone(data))
		}
	}
}

// is reports that the refusal is an event of that name.
func (f *refusal) is(event string) bool {
	switch event {
	case eventRefused:
		return true
	case eventCredentialRejected:
		return f.code == codeTokenInvalid || f.code == codeCredentialsMalformed || f.code == codeLockedOut
	case eventLockedOut:
		return f.locks
	}
	return false
}

// fieldMap has the fields of a record by name.
func fieldMap(fields []zap.Field) map[string]any {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	return enc.Fields
}

// keysWatch tells once of keys that cannot be used any more, and anew after
// they could.
type keysWatch struct {
	sets   []*keyset.Remote
	told   map[*keyset.Remote]bool
	events *emitter
}

func (w *keysWatch) run(ctx context.Context) {
	ticker := time.NewTicker(keysLookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if w.events.wants(eventKeysStale) {
			w.look()
		}
	}
}

func (w *keysWatch) look() {
	for _, set := range w.sets {
		status := set.Status()
		unusable := status.Stale || status.FetchedAt.IsZero() && status.Failures > 0
		if unusable && !w.told[set] {
			data := map[string]any{"issuer": status.Issuer}
			if !status.FetchedAt.IsZero() {
				data["keys_age_seconds"] = int64(time.Since(status.FetchedAt) / time.Second)
			}
			w.events.emit(eventKeysStale, data)
		}
		w.told[set] = unusable
	}
}

// Interface guard
var _ caddyevents.Handler = (*emitter)(nil)
