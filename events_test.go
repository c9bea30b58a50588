package gatehouse

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
)

// Each refusal is told as it happened, in the very words of the log, and nothing
// that passes is told.
func TestEventsOfARequest(t *testing.T) {
	s, heard := eventSite(t, "*", `
		token header Authorization Bearer
		token cookie session
		deny /private/*
		hide /internal/*
		public /login
		cors {
			origins https://app.example.com
		}
		require /admin/* {
			name admins
			role admin
		}
		require /watched {
			role admin
			observe
		}`)
	forger, stranger := newSigner(t, testIssuer), newSigner(t, "https://evil.example.com")
	past, future := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	refusedOnly, rejected := []string{eventRefused}, []string{eventRefused, eventCredentialRejected}
	for _, c := range []struct {
		name string
		ask
		want []string
	}{
		{"no credential", ask{target: "/x"}, refusedOnly},
		{"a forged token", ask{target: "/x", token: forger.token(t, nil)}, rejected},
		{"the same forged token again", ask{target: "/x", token: forger.token(t, nil)}, rejected},
		{"a foreign token", ask{target: "/x", token: stranger.token(t, nil)}, rejected},
		{"a token for somebody else", ask{target: "/x", token: s.token(t, claims{"aud": "other"})}, rejected},
		{"garbage", ask{target: "/x", token: "garbage"}, rejected},
		{"an expired token", ask{target: "/x", token: s.token(t, claims{"exp": past})}, refusedOnly},
		{"a token that is not valid yet", ask{target: "/x", token: s.token(t, claims{"nbf": future})}, refusedOnly},
		{"two tokens", ask{target: "/x", header: http.Header{"Cookie": {"session=a; session=b"}}}, refusedOnly},
		{"a role that is missing", ask{target: "/admin/x", token: s.token(t, nil)}, refusedOnly},
		{"a path that is denied", ask{target: "/private/x", token: s.token(t, nil)}, refusedOnly},
		{"a hidden path", ask{target: "/internal/x", token: s.token(t, nil)}, refusedOnly},
		{"a forged token for a hidden path", ask{target: "/internal/x", token: forger.token(t, nil)}, rejected},
		{"a pass", ask{target: "/x", token: s.token(t, nil)}, nil},
		{"the same again, remembered", ask{target: "/x", token: s.token(t, nil)}, nil},
		{"a public path", ask{target: "/login"}, nil},
		{"a public path with a forged token", ask{target: "/login", token: forger.token(t, nil)}, nil},
		{"a rule that only observes", ask{target: "/watched", token: s.token(t, nil)}, nil},
		{"a preflight", ask{method: http.MethodOptions, target: "/x", header: http.Header{
			"Origin": {"https://app.example.com"}, "Access-Control-Request-Method": {"GET"},
		}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_ = s.logs.TakeAll()
			s.do(c.ask)
			events := heard()
			if got := namesOf(events); !slices.Equal(got, c.want) {
				t.Fatalf("events %v, want %v", got, c.want)
			}
			if len(events) == 0 {
				return
			}
			lines := s.logs.FilterMessage("refused").All()
			if len(lines) != 1 {
				t.Fatalf("%d records", len(lines))
			}
			for _, e := range events {
				if id := e.Origin(); id != nil {
					t.Errorf("%s comes from %s", e.Name(), id)
				}
				if want := lines[0].ContextMap(); !reflect.DeepEqual(e.Data, want) {
					t.Errorf("%s says\n%v\nthe log says\n%v", e.Name(), e.Data, want)
				}
			}
		})
	}
}

// Only what is subscribed to is told.
func TestEventsAreSubscribedToByName(t *testing.T) {
	s, heard := eventSite(t, eventCredentialRejected, "")
	s.do(ask{target: "/x"})
	s.do(ask{target: "/x", token: "garbage"})
	if got := namesOf(heard()); !slices.Equal(got, []string{eventCredentialRejected}) {
		t.Errorf("got %v", got)
	}
}

// A firewall that is told of a lock-out needs to know it once, and for how long.
func TestLockedOutIsToldWhenItBegins(t *testing.T) {
	s, heard := eventSite(t, eventLockedOut, "lockout {\nfailures 2\nwindow 1m\nban 15m\n}")
	now := time.Now()
	s.gate.gate.authn.now = func() time.Time { return now }
	forged := newSigner(t, testIssuer).token(t, nil)
	count := func(tries int) (told []caddy.Event) {
		for range tries {
			now = now.Add(time.Second)
			s.do(ask{target: "/x", token: forged, from: "198.51.100.7:1"})
		}
		return heard()
	}
	if told := count(2); len(told) != 0 {
		t.Fatalf("told too early: %v", told)
	}
	told := count(5)
	if len(told) != 1 || told[0].Data["client_ip"] != "198.51.100.7" || told[0].Data["ban_seconds"] != int64(900) || told[0].Data["code"] != "locked_out" {
		t.Fatalf("told %v", told)
	}
	s.do(ask{target: "/x", token: s.token(t, nil), from: "198.51.100.7:1"}) // a good one passes
	now = now.Add(16 * time.Minute)
	if told := count(2); len(told) != 0 {
		t.Errorf("told of a lock-out that is over: %v", told)
	}
	if told := count(3); len(told) != 1 {
		t.Errorf("the next one: told %v", told)
	}
}

// Bad credentials are bad while a network is locked out, too.
func TestBadCredentialsAreToldDuringALockOut(t *testing.T) {
	s, heard := eventSite(t, eventCredentialRejected, "lockout {\nfailures 1\n}")
	for range 4 {
		s.do(ask{target: "/x", token: "garbage", from: "198.51.100.8:1"})
	}
	told := heard()
	if len(told) != 4 || told[3].Data["code"] != "locked_out" {
		t.Errorf("told %v", told)
	}
}

// Handlers send events to other machines, to chats, to command lines. What must
// not get about must not get there: a stolen event signs nobody in, and privacy
// holds as in the log.
func TestAttackSecretsFromEvents(t *testing.T) {
	always := []string{"top-secret"}
	persons := []string{plantedAddress, plantedSubject, plantedRole, plantedIssuer, plantedKey}
	resources := []string{"oncology", "Caddyfile:", "ward.example.com"}
	for level, hidden := range map[string][]string{privacyNone: nil, privacyGDPR: persons, privacyHIPAA: slices.Concat(persons, resources)} {
		t.Run(level, func(t *testing.T) {
			s, heard := eventSite(t, "*", `
				privacy `+level+`
				token header Authorization Bearer
				token cookie session
				token query key
				lockout {
					failures 3
				}
				deny /oncology-denied/*
				hide /oncology-hidden/*
				require /oncology/* {
					name oncology-staff
					role oncologist
				}`)
			stranger, forger := newSigner(t, plantedIssuer), newSigner(t, testIssuer)
			stranger.kid, forger.kid = plantedKey, plantedKey
			good := s.token(t, claims{"sub": plantedSubject, "roles": []string{plantedRole}})
			tokens := []string{
				good, s.token(t, claims{"sub": plantedSubject, "exp": time.Now().Add(-time.Hour).Unix()}),
				stranger.token(t, nil), forger.token(t, nil), "top-secret", "a.b.top-secret",
			}
			for _, token := range tokens {
				for _, path := range []string{"/oncology/top-secret", "/oncology-denied/top-secret", "/oncology-hidden/top-secret"} {
					for _, a := range []ask{
						{target: path + "?q=top-secret", token: token},
						{target: path, header: http.Header{"Cookie": {"session=" + token + "; other=top-secret"}, "X-Api-Key": {"top-secret"}}},
						{target: path + "?key=" + token},
					} {
						a.from = plantedAddress + ":4711"
						a.change = func(r *http.Request) { r.Host = "ward.example.com" }
						s.do(a)
					}
				}
			}
			events := heard()
			text := eventText(t, events)
			for _, name := range []string{eventRefused, eventCredentialRejected, eventLockedOut} {
				if !slices.Contains(namesOf(events), name) {
					t.Fatalf("%s was not told", name)
				}
			}
			for _, token := range tokens[:4] {
				for part := range strings.SplitSeq(token, ".") {
					if strings.Contains(text, part) {
						t.Errorf("part of a token is told: %s", part)
					}
				}
			}
			for _, secret := range slices.Concat(always, hidden) {
				if strings.Contains(text, secret) {
					t.Errorf("%s is told", secret)
				}
			}
			// What is not hidden here is there to be hidden.
			for _, open := range slices.Concat(persons, resources) {
				if !slices.Contains(hidden, open) && !strings.Contains(text, open) {
					t.Errorf("%s is not told", open)
				}
			}
			if network := strings.Contains(text, `"client_network":"203.0.113.0/24"`); network != (level != privacyNone) {
				t.Errorf("client_network is told: %t", network)
			}
		})
	}
}

// What refuses nobody tells of no refusal.
func TestGateThatObservesEmitsNothing(t *testing.T) {
	s, heard := eventSite(t, "*", "observe\nlockout {\nfailures 1\n}")
	for range 3 {
		s.expect(pass(), ask{target: "/x", token: "garbage", from: "198.51.100.9:1"})
	}
	if told := heard(); len(told) != 0 {
		t.Errorf("told %v", told)
	}
}

// Examples are tried at each load: nobody has been refused by them.
func TestRehearsalsEmitNothing(t *testing.T) {
	s, heard := eventSite(t, "*", "require /x role admin\nexpect 403 GET /x role=user\nexpect 401 GET /y")
	if err := s.gate.meetExpectations(false); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	if got, err := s.gate.try(r, new(AssumedVisitor)); err != nil || got.no == nil {
		t.Fatal(got, err)
	}
	if told := heard(); len(told) != 0 {
		t.Fatalf("told %v", told)
	}
	s.do(ask{target: "/y"})
	if told := heard(); len(told) != 1 {
		t.Errorf("a real request: told %v", told)
	}
}

// A handler belongs to somebody else. Whatever it does, clients get their
// refusal, and the next event is told.
func TestEventHandlersCannotHarm(t *testing.T) {
	for name, harm := range map[string]func() error{
		"it panics": func() error { panic("handler") },
		"it aborts": func() error { return caddy.ErrEventAborted },
		"it fails":  func() error { return errTest },
		"it changes what it is told": func() error {
			return nil // see hear, which empties the data of every event
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, heard := eventSite(t, eventRefused, "")
			s.harm(harm)
			for range 3 {
				s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/x"})
			}
			s.harm(nil)
			if n := len(heard()); n != 3 {
				t.Errorf("%d events were told", n)
			}
			s.expect(pass(), ask{target: "/x", token: s.token(t, nil)})
		})
	}
}

// A handler that hangs holds up neither requests nor the end of the
// configuration, and takes a bounded amount of memory.
func TestAttackFloodWhileAHandlerHangs(t *testing.T) {
	s, _ := eventSite(t, eventRefused, "")
	core, logs := observer.New(zapcore.DebugLevel)
	s.app.events.log = zap.New(core)
	hanging, release := make(chan struct{}), make(chan struct{})
	s.harm(func() error {
		hanging <- struct{}{}
		<-release
		return nil
	})
	s.do(ask{target: "/x"})
	<-hanging
	const lost = 7
	for range eventQueue + lost {
		s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/x"})
	}
	if got := s.app.events.lost.Load(); got != lost {
		t.Errorf("%d events were lost, want %d", got, lost)
	}
	if err := s.app.Stop(); err != nil { // comes back although the handler does not
		t.Fatal(err)
	}
	s.app.stop = nil
	if logs.FilterMessageSnippet("take too long").Len() != 1 {
		t.Errorf("logged %v", logs.All())
	}
	close(release)
	<-s.app.events.ended
}

// What could not be told is said in the log.
func TestLostEventsAreLogged(t *testing.T) {
	s, heard := eventSite(t, eventRefused, "")
	core, logs := observer.New(zapcore.DebugLevel)
	s.app.events.log = zap.New(core)
	s.app.events.lost.Store(5)
	s.do(ask{target: "/x"})
	heard()
	lines := logs.FilterMessageSnippet("were lost").All()
	if len(lines) != 1 || lines[0].ContextMap()["lost"] != uint64(5) {
		t.Errorf("logged %v", logs.All())
	}
}

// Where nobody listens, a refusal costs what it cost before.
func TestEventsNobodyHearsCostNothing(t *testing.T) {
	s := newSite(t, "")
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	no := &refusal{code: codeLockedOut, locksOut: true, retryAfter: time.Minute}
	teller := s.gate.gate.teller
	if n := testing.AllocsPerRun(1000, func() { teller.emit(r, no) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if len(s.app.events.queue) != 0 {
		t.Error("events are queued")
	}
}

// fakeKeys are a key set that fails and recovers as a test says.
type fakeKeys struct{ is keyset.Status }

func (k *fakeKeys) Ready() bool           { return !k.is.FetchedAt.IsZero() && !k.is.Stale }
func (k *fakeKeys) Status() keyset.Status { return k.is }

// An issuer's outage is told once, by the issuer, and again only after its keys
// could be used.
func TestKeysStaleIsToldOnce(t *testing.T) {
	s, heard := eventSite(t, eventKeysStale, "")
	first, second := &fakeKeys{keyset.Status{Issuer: testIssuer}}, &fakeKeys{keyset.Status{Issuer: testIssuer}}
	one, other := &first.is, &second.is
	watch := &staleWatch{sets: []keyState{first, second}, told: map[string]bool{}, events: s.app.events}
	step := func(name string, want int, change func()) []caddy.Event {
		t.Helper()
		change()
		watch.look()
		watch.look()
		told := heard()
		if len(told) != want {
			t.Fatalf("%s: told %v, want %d", name, told, want)
		}
		return told
	}
	fetched := func(k *keyset.Status) { k.FetchedAt, k.Stale, k.LastError = time.Now(), false, "" }

	step("before the first attempt", 0, func() {})
	told := step("never obtained", 1, func() { one.Failures, one.LastError = 1, "https://id.example.com/keys?top-secret" })
	if want := map[string]any{"issuer": testIssuer, "failures": uint64(1)}; !reflect.DeepEqual(told[0].Data, want) {
		t.Errorf("data is %v", told[0].Data)
	}
	if id := told[0].Origin(); id != nil {
		t.Errorf("it comes from %s", id)
	}
	step("more failures, and another set of the issuer", 0, func() { one.Failures, other.Failures = 9, 3 })
	step("one of its sets is back", 0, func() { fetched(one) })
	step("both are", 0, func() { fetched(other) })
	step("a failure while keys are at hand", 0, func() { one.Failures++ })
	told = step("too old", 1, func() { one.FetchedAt, one.Stale = time.Now().Add(-25*time.Hour), true })
	if age, _ := told[0].Data["keys_age_seconds"].(int64); age < 25*3600 || age > 26*3600 {
		t.Errorf("data is %v", told[0].Data)
	}
	step("back again", 0, func() { fetched(one) })
}

// The running app looks by itself.
func TestKeysStaleOfARunningCaddy(t *testing.T) {
	f := newFakeIssuer(t)
	f.fail(status(http.StatusBadGateway, "top-secret"))
	c, heard := runWithEvents(t, f.signer, hosted("panel", f.gated("")))
	e := <-heard
	if e.Name() != eventKeysStale || e.Data["issuer"] != f.issuer {
		t.Fatalf("told %s %v", e.Name(), e.Data)
	}
	if text := eventText(t, []caddy.Event{e}); strings.Contains(text, "top-secret") {
		t.Errorf("told %s", text)
	}
	c.expect(refusedWith(503, codeKeysUnavailable), ask{target: urlOf("panel", "/x"), token: f.token(t, nil)})
	if e := <-heard; e.Name() != eventRefused || e.Data["code"] != "keys_unavailable" {
		t.Errorf("told %s %v", e.Name(), e.Data)
	}
}

// A configuration that ends tells what it has seen before it is gone, and the
// next one has listeners of its own.
func TestEventsOverAReload(t *testing.T) {
	s := newSigner(t, testIssuer)
	body := "\n\tgatehouse {\n\t\tissuer " + testIssuer + " {\n\t\t\tkeys " + s.keyFile + "\n\t\t\taudience panel\n\t\t}\n\t}\n"
	c, heard := runWithEvents(t, s, hosted("panel", body))
	for range 5 {
		c.do(ask{target: urlOf("panel", "/x"), token: "garbage"})
	}
	if err := c.load(hosted("panel", body) + hosted("other", body)); err != nil {
		t.Fatal(err)
	}
	c.do(ask{target: urlOf("other", "/x")}) // nobody listens in the second one
	c.stop()
	close(heard)
	var told []caddy.Event
	for e := range heard {
		told = append(told, e)
	}
	if len(told) != 10 {
		t.Errorf("%d events, want 10: %v", len(told), namesOf(told))
	}
}
