package gatehouse

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Events that Caddy's events app is told.
const (
	eventRefused            = "gatehouse.refused"
	eventCredentialRejected = "gatehouse.credential_rejected"
	eventLockedOut          = "gatehouse.locked_out"
	eventKeysStale          = "gatehouse.keys_stale"
)

const (
	// eventQueue is how many events wait for their handlers at most.
	eventQueue = 1024

	// eventsDrain is how long a configuration that ends waits for handlers.
	eventsDrain = 2 * time.Second
)

// emitter emits the events of one configuration, one after the other. Caddy runs
// handlers within Emit, and lets them abort what they are told of. Here they do
// neither in a request: a handler that is slow, hangs or panics must not keep a
// refusal from being sent, nor make a flood of them expensive. A nil emitter emits
// nothing.
type emitter struct {
	app *caddyevents.App
	// ctx names no module: that of Provision names, once that is over, whatever
	// module Caddy loaded next.
	ctx   caddy.Context
	log   *zap.Logger
	queue chan event
	// live is set once the whole configuration runs. Before that the events app
	// may still be taking in its subscriptions, without a lock.
	live atomic.Bool
	lost atomic.Uint64 // since the log was told

	quit      chan struct{} // closed when no more events will come
	abandoned chan struct{} // closed when nobody waits for handlers any more
	ended     chan struct{} // closed when the last handler has returned
}

// event waits for its handlers.
type event struct {
	name string
	data map[string]any
}

func newEmitter(ctx caddy.Context, log *zap.Logger) (*emitter, error) {
	module, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting the events app: %w", err)
	}
	e := &emitter{
		app: module.(*caddyevents.App), ctx: caddy.Context{Context: ctx.Context}, log: log, queue: make(chan event, eventQueue),
		quit: make(chan struct{}), abandoned: make(chan struct{}), ended: make(chan struct{}),
	}
	return e, e.app.On("started", e)
}

// Handle implements caddyevents.Handler.
func (e *emitter) Handle(context.Context, caddy.Event) error {
	e.live.Store(true)
	return nil
}

func (e *emitter) start() {
	if e != nil {
		go e.run()
	}
}

// stop lets handlers finish what they were told, for a while.
func (e *emitter) stop() {
	if e == nil {
		return
	}
	close(e.quit)
	timer := time.NewTimer(eventsDrain)
	defer timer.Stop()
	select {
	case <-e.ended:
	case <-timer.C:
		close(e.abandoned)
		e.log.Warn("event handlers take too long to end; what they were still to be told is lost", zap.Int("lost", len(e.queue)))
	}
}

func (e *emitter) run() {
	defer close(e.ended)
	for !e.isAbandoned() {
		select {
		case ev := <-e.queue:
			e.deliver(ev)
		case <-e.quit:
			e.drain()
			return
		}
	}
}

func (e *emitter) drain() {
	for !e.isAbandoned() {
		select {
		case ev := <-e.queue:
			e.deliver(ev)
		default:
			return
		}
	}
}

func (e *emitter) isAbandoned() bool {
	select {
	case <-e.abandoned:
		return true
	default:
		return false
	}
}

// deliver runs the handlers. That one aborts the event changes nothing: what it
// tells of has happened.
func (e *emitter) deliver(ev event) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("panic in an event handler", zap.String("event", ev.name), zap.String("panic", fmt.Sprintf("%T", p)), zap.ByteString("stack", debug.Stack()))
		}
	}()
	if lost := e.lost.Swap(0); lost > 0 {
		e.log.Warn("events were lost: their handlers are too slow", zap.Uint64("lost", lost))
	}
	e.app.Emit(e.ctx, ev.name, ev.data)
}

// wants says whether anybody would notice the event: ask before its data is
// gathered.
func (e *emitter) wants(name string) bool {
	return e != nil && e.live.Load() && e.app.ShouldEmit(name)
}

// emit never waits. Handlers may change the data.
func (e *emitter) emit(name string, data map[string]any) {
	select {
	case e.queue <- event{name, data}:
	default:
		e.lost.Add(1)
	}
}

// emit tells events of a refusal.
func (t *teller) emit(r *http.Request, no *refusal) {
	t.emitOne(eventRefused, r, no)
	if no.code.rejectsCredential() || no.code == codeLockedOut {
		t.emitOne(eventCredentialRejected, r, no)
	}
	if no.locksOut {
		t.emitOne(eventLockedOut, r, no)
	}
}

func (t *teller) emitOne(name string, r *http.Request, no *refusal) {
	if !t.events.wants(name) {
		return
	}
	// The same facts as in the log, so that privacy holds here too.
	data := zapcore.NewMapObjectEncoder()
	for _, field := range t.fields(r, no) {
		field.AddTo(data)
	}
	if no.locksOut {
		zap.Int("ban_seconds", seconds(no.retryAfter)).AddTo(data)
	}
	t.events.emit(name, data.Fields)
}

// Interface guard
var _ caddyevents.Handler = (*emitter)(nil)
