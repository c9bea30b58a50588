package gatehouse

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
)

const eventRules = `
	public /open
	deny /denied
	hide /secret
	require /named/* {
		name admins
		role admin
	}
	expect 401 GET /named/x
	expect 403 GET /denied`

// Each refusal is one event, what was forged or malformed a second one, and what
// passes is none. Examples that are tried at load are none either.
func TestEvents(t *testing.T) {
	c, ear := eavesdropped(t, eventRules)
	if got := ear.names(); len(got) != 0 {
		t.Fatalf("loading emitted %v", got)
	}
	token := c.token(t, nil)
	forged := newSigner(t, testIssuer).token(t, nil)
	for name, tc := range map[string]struct {
		ask
		want []string
		code code
	}{
		"a pass":                            {ask: ask{target: "/x", token: token}},
		"a public path":                     {ask: ask{target: "/open"}},
		"a public path with a forged token": {ask: ask{target: "/open", token: forged}},
		"a preflight": {ask: ask{method: "OPTIONS", target: "/x",
			header: http.Header{"Origin": {"https://a.example.com"}, "Access-Control-Request-Method": {"PUT"}}}},
		"no token":        {ask{target: "/x"}, []string{eventRefused}, codeCredentialsMissing},
		"an expired one":  {ask{target: "/x", token: c.token(t, claims{"exp": 1})}, []string{eventRefused}, codeTokenExpired},
		"one too early":   {ask{target: "/x", token: c.token(t, claims{"nbf": 4e9, "exp": 5e9})}, []string{eventRefused}, codeTokenNotYetValid},
		"a forged one":    {ask{target: "/x", token: forged}, []string{eventRefused, eventCredentialRejected}, codeTokenInvalid},
		"a malformed one": {ask{target: "/x", token: "nothing"}, []string{eventRefused, eventCredentialRejected}, codeCredentialsMalformed},
		"a missing role":  {ask{target: "/named/x", token: token}, []string{eventRefused}, codeRoleMissing},
		"a denied path":   {ask{target: "/denied", token: token}, []string{eventRefused}, codePathDenied},
		"a hidden path":   {ask{target: "/secret", token: token}, []string{eventRefused}, codeHidden},
	} {
		t.Run(name, func(t *testing.T) {
			ear.forget()
			tc.target = urlOf("a", tc.target)
			c.do(tc.ask)
			if got := ear.names(); !slices.Equal(got, tc.want) {
				t.Errorf("emitted %v, want %v", got, tc.want)
			}
			for _, e := range ear.heard() {
				if e.data["code"] != string(tc.code) || e.data["client_ip"] != "192.0.2.1" || e.module {
					t.Errorf("%s of some module: %t, holds %v", e.name, e.module, e.data)
				}
			}
		})
	}
}

// The event is for whoever bans addresses elsewhere: one for each lock-out, not
// one for each request of a flood.
func TestEventOfALockout(t *testing.T) {
	c, ear := eavesdropped(t, "lockout {\n failures 2\n window 1h\n ban 1h\n}")
	for range 6 {
		c.do(ask{target: urlOf("a", "/x"), token: newSigner(t, testIssuer).token(t, nil)})
	}
	var locked []overheard
	rejected := 0
	for _, e := range ear.heard() {
		switch e.name {
		case eventLockedOut:
			locked = append(locked, e)
		case eventCredentialRejected:
			rejected++
		}
	}
	if len(locked) != 1 || locked[0].data["retry_after"] != 3600.0 || locked[0].data["code"] != string(codeLockedOut) {
		t.Errorf("locked out: %v", locked)
	}
	if rejected != 6 {
		t.Errorf("%d rejected credentials", rejected)
	}
}

// A gate that only observes refuses nothing.
func TestObserveEmitsNothing(t *testing.T) {
	c, ear := eavesdropped(t, "observe\ndeny /denied")
	c.do(ask{target: urlOf("a", "/denied")})
	if got := ear.names(); len(got) != 0 {
		t.Errorf("emitted %v", got)
	}
}

// What an operator hangs on an event may be of any quality. The answer, and the
// verdict, are the gate's.
func TestFaultyHandlersOfEvents(t *testing.T) {
	for name, react := range map[string]func() error{
		"one that panics": func() error { panic("in a handler") },
		"one that aborts": func() error { return caddy.ErrEventAborted },
	} {
		t.Run(name, func(t *testing.T) {
			c, ear := eavesdropped(t, eventRules)
			ear.react = react
			c.expect(refusedWith(403, codeRoleMissing), ask{target: urlOf("a", "/named/x"), token: c.token(t, nil)})
			if len(ear.heard()) == 0 {
				t.Error("nothing was emitted")
			}
		})
	}
}

// Keys that cannot be had are told once, not once a second.
func TestEventOfStaleKeys(t *testing.T) {
	c := &running{site: &site{signer: newSigner(t, testIssuer), t: t}, port: freePort(t), storage: t.TempDir()}
	ear := c.listenIn(hosted("a", `
		gatehouse {
			issuer https://id.example.com {
				keys http://127.0.0.1:1/jwks.json
				audience panel
			}
		}
		respond next
`))
	for deadline := time.Now().Add(time.Minute); len(ear.heard()) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no event")
		}
	}
	time.Sleep(2*keysLookInterval + keysLookInterval/2)
	got := ear.heard()
	if len(got) != 1 || got[0].name != eventKeysStale || !maps.Equal(got[0].data, map[string]any{"issuer": "https://id.example.com"}) {
		t.Errorf("emitted %v", got)
	}
}

// Keys that come back are forgotten, so that the next outage is told.
func TestStaleKeysAreToldAnew(t *testing.T) {
	set, err := keyset.NewRemote(keyset.Options{Issuer: testIssuer, URL: "https://id.example.com/jwks.json"})
	if err != nil {
		t.Fatal(err)
	}
	w := &keysWatch{sets: []*keyset.Remote{set}, told: map[*keyset.Remote]bool{set: true}}
	w.look() // no attempt has failed: there is nothing to tell
	if w.told[set] {
		t.Error("an outage that is over keeps the next one from being told")
	}
}

func TestUnwantedEventsCostNothing(t *testing.T) {
	s := newSite(t, "")
	s.app.events.live.Store(true)
	no, r := refused(codeTokenInvalid, "test"), httptest.NewRequest(http.MethodGet, "/", nil)
	if s.gate.gate.teller.events.wants(eventRefused) {
		t.Fatal("somebody listens")
	}
	if n := testing.AllocsPerRun(100, func() { s.gate.gate.teller.announce(r, no)() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// eavesdropped runs a site named a whose events are all heard.
func eavesdropped(t *testing.T, options string) (*running, *eventEar) {
	t.Helper()
	s := newSigner(t, testIssuer)
	c := &running{site: &site{signer: s, t: t}, port: freePort(t), storage: t.TempDir()}
	ear := c.listenIn(hosted("a", `
		route {
			gatehouse {
				issuer `+testIssuer+` {
					keys `+s.keyFile+`
					audience `+testAudience+`
				}
				`+options+`
			}
			gatehouse_test_spy id:`+s.keyFile+`
		}
`))
	return c, ear
}

// listenIn is run with an ear for all events.
func (c *running) listenIn(caddyfile string) *eventEar {
	c.t.Helper()
	c.t.Cleanup(c.stop)
	cfg := c.config(caddyfile)
	ear := earFor(c.t, cfg)
	raw, err := json.Marshal(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.loadJSON(raw); err != nil {
		c.t.Fatal(err)
	}
	return ear
}

// earFor subscribes to all events of a configuration.
func earFor(t testing.TB, cfg *caddy.Config) *eventEar {
	t.Helper()
	id := t.Name()
	ear := new(eventEar)
	ears.Store(id, ear)
	t.Cleanup(func() { ears.Delete(id) })
	raw, err := json.Marshal(map[string]any{"subscriptions": []any{map[string]any{
		"handlers": []any{map[string]string{"handler": "gatehouse_test_ear", "id": id}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.AppsRaw["events"] = raw
	return ear
}

// ears are who listens, by the test's name.
var ears sync.Map

type eventEar struct {
	mu     sync.Mutex
	events []overheard
	react  func() error
}

// overheard is an event as its handlers see it, in JSON and back.
type overheard struct {
	name   string
	module bool // it names one that it comes from
	data   map[string]any
}

func (e *eventEar) heard() []overheard {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.events)
}

func (e *eventEar) names() []string {
	var out []string
	for _, event := range e.heard() {
		out = append(out, event.name)
	}
	return out
}

func (e *eventEar) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = nil
}

type earHandler struct {
	ID string `json:"id"`
}

func (earHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.gatehouse_test_ear", New: func() caddy.Module { return new(earHandler) }}
}

func (h *earHandler) Handle(_ context.Context, event caddy.Event) error {
	found, ok := ears.Load(h.ID)
	if !ok || !strings.HasPrefix(event.Name(), "gatehouse.") {
		return nil
	}
	ear := found.(*eventEar)
	heard := overheard{name: event.Name(), module: event.Origin() != nil}
	raw, err := json.Marshal(event.Data)
	if err == nil {
		err = json.Unmarshal(raw, &heard.data)
	}
	ear.mu.Lock()
	defer ear.mu.Unlock()
	ear.events = append(ear.events, heard)
	if ear.react != nil {
		return ear.react()
	}
	return err
}

func init() { caddy.RegisterModule(earHandler{}) }

var _ caddyevents.Handler = (*earHandler)(nil)
