package gatehouse

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const observingOptions = `
	observe
	identity_headers {
		X-User id
	}
	cors {
		origins https://app.example.com
	}
	lockout {
		failures 1
	}
	deny /private/*
	hide /internal/*
	require /admin/* role admin
	require /office/* ip 198.51.100.0/24
	require /danger/* fresh 5m`

// A gate on trial must not turn anybody away, whatever it thinks; the log says
// what it would have done, and who came is known only where that was verified.
func TestObservingGateLetsEverythingPass(t *testing.T) {
	s := newSite(t, observingOptions)
	forged := newSigner(t, testIssuer).token(t, nil)
	var user []string
	s.spy(func(r *http.Request) { user = r.Header["X-User"] })
	for name, c := range map[string]struct {
		ask  ask
		code code
		user string
	}{
		"no token":          {ask{target: "/"}, codeCredentialsMissing, ""},
		"a forged token":    {ask{target: "/", token: forged}, codeTokenInvalid, ""},
		"the next one":      {ask{target: "/x", token: forged, from: "203.0.113.9:1"}, codeLockedOut, ""},
		"an expired token":  {ask{target: "/", token: s.token(t, claims{"exp": 1})}, codeTokenExpired, ""},
		"no role":           {ask{target: "/admin/x", token: s.token(t, nil)}, codeRoleMissing, "ada"},
		"an old sign-in":    {ask{target: "/danger/x", token: s.token(t, nil)}, codeStepUpRequired, "ada"},
		"another network":   {ask{target: "/office/x", token: s.token(t, nil)}, codeAddressDenied, ""},
		"a denied path":     {ask{target: "/private/x", token: s.token(t, nil)}, codePathDenied, ""},
		"a hidden path":     {ask{target: "/internal/x", token: s.token(t, nil)}, codeHidden, "ada"},
		"an ambiguous path": {ask{target: "/a%2fb"}, codeRequestAmbiguous, ""},
		"a preflight":       {ask{method: "OPTIONS", target: "/", header: preflight("https://evil.example")}, "", ""},
		"two tokens": {ask{target: "/", header: http.Header{"Authorization": {"Bearer a", "Bearer b"}}},
			codeCredentialsAmbiguous, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "the next one" {
				s.do(ask{target: "/", token: forged, from: "203.0.113.9:1"})
			}
			_ = s.logs.TakeAll()
			c.ask.change = func(r *http.Request) { r.Header["X-User"] = []string{"root"} }
			w := s.do(c.ask)
			if w.Code != http.StatusOK || w.Header().Get(reachedHeader) == "" || len(w.Header()) != 3 {
				t.Errorf("got %d %v", w.Code, w.Header())
			}
			if c.user == "" && len(user) > 0 || c.user != "" && (len(user) != 1 || user[0] != c.user) {
				t.Errorf("the next handler sees the user %q, want %q", user, c.user)
			}
			told := s.logs.FilterMessage("would be refused")
			if c.code == "" {
				if told.Len() != 0 {
					t.Errorf("logged %v", told.All())
				}
			} else if told.FilterField(zap.String("code", string(c.code))).Len() != 1 {
				t.Errorf("logged %v, want one line of %s", s.logs.All(), c.code)
			}
		})
	}
}

// Not even our own failure turns anybody away while a gate is on trial.
func TestPanicOfAnObservingGate(t *testing.T) {
	s := newSite(t, "observe")
	s.gate.gate.authn.issuers = nil
	s.gate.gate.authn.memory = nil
	s.gate.gate.rules.deny = []*pathRule{nil}
	s.expect(pass(), ask{target: "/"})
	if s.logs.FilterMessage("panic while deciding").Len() != 1 {
		t.Errorf("logged %v", s.logs.All())
	}
}

// A gate that was left on trial says so, at load and for as long as it runs.
func TestObservingGateReminds(t *testing.T) {
	g := &Gatehouse{Observe: true, place: "Caddyfile:2"}
	if found := g.lintObserve(); len(found) != 1 || found[0].source != "Caddyfile:2" {
		t.Errorf("at load: %v", found)
	}
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.WarnLevel)
		gate := &observedGate{new(observation), "Caddyfile:2"}
		gate.refused.Store(7)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			remindOfObserving(ctx, []*observedGate{gate}, zap.New(core))
		}()
		time.Sleep(3*time.Hour + time.Minute)
		if n := logs.FilterField(zap.Uint64("would_be_refused", 7)).FilterField(zap.String("source", "Caddyfile:2")).Len(); n != 3 {
			t.Errorf("%d lines after three hours", n)
		}
		cancel()
		<-ended
	})
}
