package gatehouse

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

const (
	office    = "192.0.2.10:1"
	elsewhere = "198.51.100.7:1"
)

// ruleCase is a request and the verdict that a rule set must give on it.
type ruleCase struct {
	ask
	want verdict
}

func (s *site) expectAll(t *testing.T, cases map[string]ruleCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.expect(c.want, c.ask)
		})
	}
}

// Administrators from the office alone, everybody else from anywhere.
func TestWhenRoleAdminFromTheOffice(t *testing.T) {
	s := newSite(t, `
		require {
			when role admin
			ip 192.0.2.0/24
		}`)
	admin, reseller := s.token(t, claims{"roles": "admin"}), s.token(t, claims{"roles": "reseller"})
	s.expectAll(t, map[string]ruleCase{
		"an administrator in the office":      {ask{target: "/x", token: admin, from: office}, pass()},
		"an administrator elsewhere":          {ask{target: "/x", token: admin, from: elsewhere}, refusedWith(403, codeAddressDenied)},
		"a reseller elsewhere":                {ask{target: "/x", token: reseller, from: elsewhere}, pass()},
		"nobody elsewhere is asked who":       {ask{target: "/x", from: elsewhere}, refusedWith(401, codeCredentialsMissing)},
		"a bad token elsewhere is told so":    {ask{target: "/x", token: admin[:len(admin)-4] + "AAAA", from: elsewhere}, refusedWith(401, codeTokenInvalid)},
		"an administrator without an address": {ask{target: "/x", token: admin, change: func(r *http.Request) { r.RemoteAddr = "@" }}, refusedWith(403, codeAddressDenied)},
	})
}

// Each kind may stand in `when`, and the rule speaks to whom all of them name.
func TestWhen(t *testing.T) {
	s := newSite(t, `
		role_order admin > reseller
		require /role/*   { 
			when role reseller
			scope x
		}
		require /scope/*  {
			when scope a b
			scope x
		}
		require /user/*   {
			when user ada bob
			scope x
		}
		require /claim/*  {
			when claim org.plan trial
			scope x
		}
		require /issuer/* {
			when issuer `+testIssuer+`
			scope x
		}
		require /ip/*     {
			when ip 192.0.2.0/24
			scope x
		}
		require /both/*   {
			when role admin
			when ip 192.0.2.0/24
			scope x
		}`)
	plain := s.token(t, claims{"sub": "cyd"})
	trial := s.token(t, claims{"org": map[string]any{"plan": "trial"}})
	admin := s.token(t, claims{"roles": "admin", "sub": "cyd"})
	missing := refusedWith(403, codeScopeMissing)
	s.expectAll(t, map[string]ruleCase{
		"role passes others":             {ask{target: "/role/x", token: plain}, pass()},
		"role knows the order of roles":  {ask{target: "/role/x", token: admin}, missing},
		"scope needs all":                {ask{target: "/scope/x", token: s.token(t, claims{"scope": "a"})}, pass()},
		"scope speaks to who has all":    {ask{target: "/scope/x", token: s.token(t, claims{"scope": "b a"})}, missing},
		"user passes others":             {ask{target: "/user/x", token: plain}, pass()},
		"user speaks to any of its list": {ask{target: "/user/x", token: s.token(t, claims{"sub": "bob"})}, missing},
		"claim passes who lacks it":      {ask{target: "/claim/x", token: plain}, pass()},
		"claim speaks to its value":      {ask{target: "/claim/x", token: trial}, missing},
		"issuer speaks to its visitors":  {ask{target: "/issuer/x", token: plain}, missing},
		"ip passes other networks":       {ask{target: "/ip/x", token: plain, from: elsewhere}, pass()},
		"ip speaks to its network":       {ask{target: "/ip/x", token: plain, from: office}, missing},
		"both must hold: role alone":     {ask{target: "/both/x", token: admin, from: elsewhere}, pass()},
		"both must hold: ip alone":       {ask{target: "/both/x", token: plain, from: office}, pass()},
		"both hold":                      {ask{target: "/both/x", token: admin, from: office}, missing},
		"ip of who has no address":       {ask{target: "/ip/x", token: plain, from: "@"}, missing},
		"no address, and the scope":      {ask{target: "/ip/x", token: s.token(t, claims{"scope": "x"}), from: "@"}, refusedWith(403, codeAddressDenied)},
		"no address, and another role":   {ask{target: "/both/x", token: plain, from: "@"}, pass()},
		"when never spares the sign-in":  {ask{target: "/role/x"}, refusedWith(401, codeCredentialsMissing)},
	})
}

func TestAny(t *testing.T) {
	s := newSite(t, `
		require /a/* {
			any {
				role admin
				ip 192.0.2.0/24
				claim plan gold
			}
		}
		require /two/* {
			any {
				role admin
				scope a b
			}
			any {
				user ada
				user bob
			}
		}
		require /stepup/* {
			any {
				role admin
				fresh 10m
			}
		}
		public /open/*
		require /open/* {
			any {
				role admin
				ip 192.0.2.0/24
			}
		}`)
	admin, plain := s.token(t, claims{"roles": "admin"}), s.token(t, nil)
	s.expectAll(t, map[string]ruleCase{
		"one line is enough: role":                     {ask{target: "/a/x", token: admin, from: elsewhere}, pass()},
		"one line is enough: ip":                       {ask{target: "/a/x", token: plain, from: office}, pass()},
		"one line is enough: claim":                    {ask{target: "/a/x", token: s.token(t, claims{"plan": "gold"}), from: elsewhere}, pass()},
		"none holds: told as the role":                 {ask{target: "/a/x", token: plain, from: elsewhere}, refusedWith(403, codeRoleMissing)},
		"ip within any is judged with the identity":    {ask{target: "/a/x", from: elsewhere}, refusedWith(401, codeCredentialsMissing)},
		"ip within any is no sign-in":                  {ask{target: "/a/x", from: office}, refusedWith(401, codeCredentialsMissing)},
		"two any must both hold":                       {ask{target: "/two/x", token: admin}, pass()},
		"two any: the second fails":                    {ask{target: "/two/x", token: s.token(t, claims{"roles": "admin", "sub": "cyd"})}, refusedWith(403, codeClaimMissing)},
		"two any: the first fails, told as the scope":  {ask{target: "/two/x", token: plain}, refusedWith(403, codeScopeMissing)},
		"where a new sign-in would do it is asked for": {ask{target: "/stepup/x", token: plain}, refusedWith(401, codeStepUpRequired)},
		"where a new sign-in is not needed it is not":  {ask{target: "/stepup/x", token: admin}, pass()},
		"on a public path ip within any is not asked":  {ask{target: "/open/x", from: elsewhere}, pass()},
	})
}

// A rule of each option, and what it says to whom.
func TestOptionsOfRequire(t *testing.T) {
	s := newSite(t, `
		require /named/* {
			role admin
			name admins-only
			message "Ask the front desk."
		}
		require /hidden/* {
			role admin
			hide
		}
		require /narrow/* {
			match {
				header X-Api yes
				not method DELETE
			}
			role admin
		}
		require @marked role admin
		require POST /upper/* /lower @marked {
			scope w
		}`, "@marked header X-Mark *")
	plain, admin := s.token(t, nil), s.token(t, claims{"roles": "admin"})
	api, mark := http.Header{"X-Api": {"yes"}}, http.Header{"X-Mark": {"1"}}
	s.expectAll(t, map[string]ruleCase{
		"hidden from who may not":                  {ask{target: "/hidden/x", token: plain}, verdict{status: 404}},
		"hidden: who may passes":                   {ask{target: "/hidden/x", token: admin}, pass()},
		"hidden: the anonymous sees the usual 401": {ask{target: "/hidden/x"}, refusedWith(401, codeCredentialsMissing)},
		"match narrows: all of it holds":           {ask{target: "/narrow/x", token: plain, header: api}, refusedWith(403, codeRoleMissing)},
		"match narrows: one matcher does not":      {ask{method: "DELETE", target: "/narrow/x", token: plain, header: api}, pass()},
		"match narrows: none does":                 {ask{target: "/narrow/x", token: plain}, pass()},
		"a named matcher selects":                  {ask{target: "/x", token: plain, header: mark}, refusedWith(403, codeRoleMissing)},
		"methods hold for paths":                   {ask{method: "POST", target: "/lower", token: admin}, refusedWith(403, codeScopeMissing)},
		"methods hold for matchers":                {ask{method: "POST", target: "/x", token: admin, header: mark}, refusedWith(403, codeScopeMissing)},
		"other methods pass":                       {ask{method: "PUT", target: "/upper/x", token: admin, header: mark}, pass()},
	})
	s.t = t
	w := s.expect(refusedWith(403, codeRoleMissing), ask{target: "/named/x", token: plain})
	if detail := bodyOf(t, w)["detail"]; detail != "Ask the front desk." {
		t.Errorf("the visitor is told %q", detail)
	}
	if line := s.logs.FilterMessage("refused").FilterField(zap.String("rule", "admins-only")); line.Len() != 1 {
		t.Errorf("the log does not name the rule: %v", s.logs.All())
	}
}

// Among rules of one kind that refuse, the first in file order gives the words;
// among kinds the order of questions decides.
func TestWordingAmongRulesThatRefuse(t *testing.T) {
	s := newSite(t, `
		require /x/* {
			fresh 1m
			message fresh
		}
		require /x/* {
			claim plan gold
			message claim
		}
		require /x/* {
			user bob
			message user
		}
		require /x/* {
			role admin
			message first
		}
		require /x/y {
			role owner
			message second
		}
		require /x/z {
			scope w
			message scope
		}`)
	for name, c := range map[string]struct {
		target, says string
		claims       claims
		want         verdict
	}{
		"a scope before all":             {"/x/z", "scope", nil, refusedWith(403, codeScopeMissing)},
		"the first of two roles":         {"/x/y", "first", nil, refusedWith(403, codeRoleMissing)},
		"the second where the first has": {"/x/y", "second", claims{"roles": "admin"}, refusedWith(403, codeRoleMissing)},
		"a user before a claim":          {"/x/a", "user", claims{"roles": "admin"}, refusedWith(403, codeClaimMissing)},
		"a claim before the sign-in":     {"/x/a", "claim", claims{"roles": "admin", "sub": "bob"}, refusedWith(403, codeClaimMissing)},
		"the sign-in at last":            {"/x/a", "fresh", claims{"roles": "admin", "sub": "bob", "plan": "gold"}, refusedWith(401, codeStepUpRequired)},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			w := s.expect(c.want, ask{target: c.target, token: s.token(t, c.claims)})
			if detail := bodyOf(t, w)["detail"]; detail != c.says {
				t.Errorf("the words are those of %v, want %s", detail, c.says)
			}
		})
	}
}

// The order of questions: address and path, then who, then may they, then the
// sign-in. Each row lacks what its name says and everything that comes later.
func TestOrderOfQuestions(t *testing.T) {
	s := newSite(t, `
		deny /x/denied
		require /x/* {
			ip 192.0.2.0/24
			fresh 5m
			claim plan gold
			role admin
			scope w
		}`)
	s.expectAll(t, map[string]ruleCase{
		"path":       {ask{target: "/x/denied", token: "junk", from: elsewhere}, refusedWith(403, codePathDenied)},
		"address":    {ask{target: "/x/y", token: "junk", from: elsewhere}, refusedWith(403, codeAddressDenied)},
		"credential": {ask{target: "/x/y", from: office}, refusedWith(401, codeCredentialsMissing)},
		"scope":      {ask{target: "/x/y", token: s.token(t, nil), from: office}, refusedWith(403, codeScopeMissing)},
		"role":       {ask{target: "/x/y", token: s.token(t, claims{"scope": "w"}), from: office}, refusedWith(403, codeRoleMissing)},
		"claim":      {ask{target: "/x/y", token: s.token(t, claims{"scope": "w", "roles": "admin"}), from: office}, refusedWith(403, codeClaimMissing)},
		"sign-in":    {ask{target: "/x/y", token: s.token(t, claims{"scope": "w", "roles": "admin", "plan": "gold"}), from: office}, refusedWith(401, codeStepUpRequired)},
	})
}

// A line that cannot be judged must not outvote one that can, or the order of
// the two would decide.
func TestMatcherErrorsInAnyOrder(t *testing.T) {
	for name, options := range map[string]string{
		"the failing lines first": "deny @fails\ndeny /denied/*\npublic @fails\npublic /open/*",
		"the failing lines last":  "public /open/*\npublic @fails\ndeny /denied/*\ndeny @fails",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, options, "@fails header X-Never *")
			for _, rule := range append(s.gate.gate.rules.deny, s.gate.gate.rules.public...) {
				if rule.sets != nil {
					rule.sets = caddyhttp.MatcherSets{{failingMatcher{}}}
				}
			}
			s.expect(refusedWith(403, codePathDenied), ask{target: "/denied/x"})
			s.expect(refusedWith(500, codeInternalError), ask{target: "/open/x"}) // the deny may mean it
			s.gate.gate.rules.deny = nil
			s.expect(pass(), ask{target: "/open/x"})
			s.expect(refusedWith(500, codeInternalError), ask{target: "/other"})
		})
	}
}
