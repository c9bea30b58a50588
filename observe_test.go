package gatehouse

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// What the log tells of a rule that only observes.
func TestObserveTells(t *testing.T) {
	s := newSite(t, `
		public /open/*
		deny /denied/*
		require /x/* {
			name trial
			role admin
			observe
		}
		require /both/* {
			scope w
			observe
		}
		require /both/* role reseller
		require /office/* {
			ip 192.0.2.0/24
			role admin
			hide
			observe
		}
		require /open/* {
			ip 192.0.2.0/24
			role admin
			observe
		}
		require /denied/* {
			role admin
			observe
		}
		require /when/* {
			when role reseller
			fresh 5m
			observe
		}`)
	plain, reseller, admin := s.token(t, nil), s.token(t, claims{"roles": "reseller"}), s.token(t, claims{"roles": "admin"})
	for name, c := range map[string]struct {
		ask
		want verdict
		told code // "": nothing
	}{
		"what it would refuse":        {ask{target: "/x/y", token: plain}, pass(), codeRoleMissing},
		"what it would let in":        {ask{target: "/x/y", token: admin}, pass(), ""},
		"what is refused before it":   {ask{target: "/x/y"}, refusedWith(401, codeCredentialsMissing), ""},
		"what another rule refuses":   {ask{target: "/both/y", token: plain}, refusedWith(403, codeRoleMissing), ""},
		"what another rule lets in":   {ask{target: "/both/y", token: reseller}, pass(), codeScopeMissing},
		"an address":                  {ask{target: "/office/y", token: admin, from: elsewhere}, pass(), codeAddressDenied},
		"an address, then a role":     {ask{target: "/office/y", token: plain, from: office}, pass(), codeRoleMissing},
		"an address on a public path": {ask{target: "/open/y", from: elsewhere}, pass(), codeAddressDenied},
		"a role on a public path":     {ask{target: "/open/y", from: office}, pass(), ""},
		"a denied path":               {ask{target: "/denied/y", token: plain}, refusedWith(403, codePathDenied), ""},
		"whom it speaks to":           {ask{target: "/when/y", token: reseller}, pass(), codeStepUpRequired},
		"whom it does not speak to":   {ask{target: "/when/y", token: admin}, pass(), ""},
		"a path it does not speak of": {ask{target: "/y", token: plain}, pass(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			_ = s.logs.TakeAll()
			s.expect(c.want, c.ask)
			lines := s.logs.FilterMessage("would be refused").All()
			if c.told == "" {
				if len(lines) != 0 {
					t.Errorf("told %v", lines)
				}
				return
			}
			if len(lines) != 1 || lines[0].ContextMap()["code"] != string(c.told) {
				t.Fatalf("told %v, want %s", lines, c.told)
			}
		})
	}
}

// The count is the rule's own, and the line names the rule.
func TestObserveCounts(t *testing.T) {
	s := newSite(t, "require /x {\nname trial\nrole admin\nobserve\n}\nrequire {\nrole admin\nobserve\n}")
	for range 3 {
		s.expect(pass(), ask{target: "/x", token: s.token(t, nil)})
	}
	s.expect(pass(), ask{target: "/y", token: s.token(t, nil)})
	lines := s.logs.FilterMessage("would be refused").All()
	last := make(map[any]any)
	for _, line := range lines {
		last[line.ContextMap()["rule"]] = line.ContextMap()["count"]
	}
	if len(lines) != 7 || last["trial"] != uint64(3) || last["Caddyfile:15"] != uint64(4) {
		t.Errorf("%d lines, counts %v", len(lines), last)
	}
}

// A rule on trial that breaks must not take the site with it.
func TestObservedRuleThatFailsPasses(t *testing.T) {
	s := newSite(t, "require @m {\nrole admin\nobserve\n}", "@m header X-Any *")
	token := s.token(t, nil)
	s.gate.gate.rules.observed[0].sets = caddyhttp.MatcherSets{{failingMatcher{}}}
	s.expect(pass(), ask{target: "/x", token: token})
	s.gate.gate.rules.observed[0].sets = caddyhttp.MatcherSets{{panickingMatcher{}}}
	s.expect(pass(), ask{target: "/x", token: token})
	if s.logs.FilterMessageSnippet("panic").Len() != 1 {
		t.Error("the panic is not in the log")
	}
}

type panickingMatcher struct{}

func (panickingMatcher) MatchWithError(*http.Request) (bool, error) { panic("broken") }

// A trial is no reason to treat 404s of the site in another way.
func TestObservedHideLeaves404sAlone(t *testing.T) {
	s := newSite(t, "require /x {\nrole admin\nhide\nobserve\n}")
	if s.gate.gate.rules.hides {
		t.Error("an observed rule hides")
	}
}
