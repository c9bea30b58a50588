package gatehouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// listener hears the events of one test.
type listener struct {
	mu   sync.Mutex
	all  []caddy.Event
	harm func() error
	to   chan caddy.Event // nil: kept in all
}

// barrier is an event that tests put behind all others, to wait for them.
const barrier = "gatehouse.test_barrier"

func (l *listener) hear(e caddy.Event) error {
	if e.Name() == barrier {
		close(e.Data["heard"].(chan struct{}))
		return nil
	}
	if l.to != nil {
		l.to <- e
		return nil
	}
	l.mu.Lock()
	kept := e
	kept.Data = make(map[string]any, len(e.Data))
	for key, value := range e.Data {
		kept.Data[key] = value
	}
	clear(e.Data) // Caddy lets handlers change it
	l.all = append(l.all, kept)
	harm := l.harm
	l.mu.Unlock()
	if harm == nil {
		return nil
	}
	return harm()
}

// listeners are those of running tests, by id.
var listeners sync.Map

// eventHandler is an event handler as others write them.
type eventHandler struct {
	ID string `json:"id"`
}

func (eventHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.gatehouse_test", New: func() caddy.Module { return new(eventHandler) }}
}

func (h *eventHandler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.Args(&h.ID) {
		return d.ArgErr()
	}
	return nil
}

func (h *eventHandler) Handle(_ context.Context, e caddy.Event) error {
	l, listening := listeners.Load(h.ID)
	if !listening {
		return errors.New("nobody listens any more")
	}
	return l.(*listener).hear(e)
}

func init() { caddy.RegisterModule(eventHandler{}) }

func listen(t testing.TB, l *listener) (id string) {
	t.Helper()
	id = strings.ReplaceAll(t.Name(), " ", "_") + fmt.Sprint(time.Now().UnixNano())
	listeners.Store(id, l)
	t.Cleanup(func() { listeners.Delete(id) })
	return id
}

// eventfulSite is a site whose events are heard.
type eventfulSite struct {
	*site
	*listener
}

// harm makes the handler do something after it has heard an event.
func (s *eventfulSite) harm(f func() error) {
	s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener.harm = f
}

// settle waits until all events so far are heard.
func (s *eventfulSite) settle() {
	heard := make(chan struct{})
	s.app.events.emit(barrier, map[string]any{"heard": heard})
	<-heard
}

// eventSite is newSite with a subscription as the Caddyfile has it. heard returns
// what was told since it was last called.
func eventSite(t *testing.T, event, options string) (site *eventfulSite, heard func() []caddy.Event) {
	t.Helper()
	l := new(listener)
	id := listen(t, l)
	barriers := ""
	if event != "*" {
		barriers = "on " + barrier + " gatehouse_test " + id
	}
	signer := newSigner(t, testIssuer)
	s := &eventfulSite{listener: l, site: newSiteFrom(t, signer, `{
	events {
		on `+event+` gatehouse_test `+id+`
		`+barriers+`
	}
}
:80 {
	route {
		gatehouse {
			issuer `+testIssuer+` {
				keys `+signer.keyFile+`
				audience `+testAudience+`
			}
			`+options+`
		}
		gatehouse_test_spy id:`+signer.keyFile+`
	}
}`)}
	if err := s.app.events.app.Start(); err != nil {
		t.Fatal(err)
	}
	s.app.events.live.Store(true) // as when all apps run
	return s, func() []caddy.Event {
		t.Helper()
		s.settle()
		l.mu.Lock()
		defer l.mu.Unlock()
		out := l.all
		l.all = nil
		return out
	}
}

// runWithEvents is run with a listener for all of the gate's events.
func runWithEvents(t *testing.T, s *signer, text string) (c *running, heard chan caddy.Event) {
	t.Helper()
	heard = make(chan caddy.Event, 100)
	id := listen(t, &listener{to: heard})
	c = &running{site: &site{signer: s, t: t}, port: freePort(t), storage: t.TempDir()}
	t.Cleanup(c.stop)
	cfg := c.config(text)
	events, err := json.Marshal(map[string]any{"subscriptions": []any{map[string]any{
		"events":   []string{eventRefused, eventCredentialRejected, eventLockedOut, eventKeysStale},
		"handlers": []any{map[string]string{"handler": "gatehouse_test", "id": id}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.AppsRaw["events"] = events
	if err := c.loadConfig(cfg); err != nil {
		t.Fatalf("starting Caddy: %v", err)
	}
	return c, heard
}

func namesOf(events []caddy.Event) []string {
	var names []string
	for i := range events {
		names = append(names, events[i].Name())
	}
	return names
}

// eventText is what a handler that sends events on would send.
func eventText(t *testing.T, events []caddy.Event) string {
	t.Helper()
	var out strings.Builder
	for i := range events {
		raw, err := json.Marshal(events[i].CloudEvent())
		if err != nil {
			t.Fatal(err)
		}
		out.Write(raw)
		out.WriteByte('\n')
	}
	return out.String()
}
