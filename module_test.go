package gatehouse

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"
)

// The truth table of section "How a request is decided" in the README.
func TestDecisions(t *testing.T) {
	s := newSite(t, `
		deny /private/* @secret
		deny ip 203.0.113.0/24
		public /login
		public GET /status
		public POST /webhook
		require /admin/* role admin owner
		require POST /users scope write:users read:users
		require /office/* {
			ip 198.51.100.7
			role admin
		}
		require /billing/* claim plan gold 7
		require /me/* user ada
		require /sso/* issuer `+testIssuer+`
		require /narrow/* {
			match {
				header X-Danger yes
			}
			role admin
		}
	`, "@secret path /secret/*")
	admin := s.token(t, claims{"roles": []string{"admin"}})
	viewer := s.token(t, claims{"roles": []string{"viewer"}})
	writer := s.token(t, claims{"scope": "write:users read:users"})
	reader := s.token(t, claims{"scope": "read:users"})
	office := "198.51.100.7:1234"

	for name, c := range map[string]struct {
		ask
		want verdict
	}{
		"a path nobody listed needs a visitor":            {ask{target: "/"}, refusedWith(401, codeCredentialsMissing)},
		"a path nobody listed needs only a visitor":       {ask{target: "/", token: viewer}, pass()},
		"a public path needs nobody":                      {ask{target: "/login"}, pass()},
		"a public path covers its trailing slash":         {ask{target: "/login/"}, pass()},
		"a public path passes with a bad token":           {ask{target: "/login", token: "x"}, pass()},
		"a public GET covers HEAD":                        {ask{method: "HEAD", target: "/status"}, pass()},
		"a public GET does not cover POST":                {ask{method: "POST", target: "/status"}, refusedWith(401, codeCredentialsMissing)},
		"a public POST does not cover GET":                {ask{target: "/webhook"}, refusedWith(401, codeCredentialsMissing)},
		"deny refuses anybody":                            {ask{target: "/private/x", token: admin}, refusedWith(403, codePathDenied)},
		"deny covers the folder itself":                   {ask{target: "/private"}, refusedWith(403, codePathDenied)},
		"deny takes a named matcher":                      {ask{target: "/secret/x", token: admin}, refusedWith(403, codePathDenied)},
		"deny ip refuses an address before anything else": {ask{target: "/login", from: "203.0.113.9:1"}, refusedWith(403, codeAddressDenied)},
		"deny ip sees IPv4 in IPv6":                       {ask{target: "/login", from: "[::ffff:203.0.113.9]:1"}, refusedWith(403, codeAddressDenied)},
		"a role rule asks who it is first":                {ask{target: "/admin/x"}, refusedWith(401, codeCredentialsMissing)},
		"a role rule refuses another role":                {ask{target: "/admin/x", token: viewer}, refusedWith(403, codeRoleMissing)},
		"a role rule admits any of its roles":             {ask{target: "/admin/x", token: admin}, pass()},
		"a role rule covers the folder itself":            {ask{target: "/admin", token: viewer}, refusedWith(403, codeRoleMissing)},
		"a role rule covers the folder with a slash":      {ask{target: "/admin/", token: viewer}, refusedWith(403, codeRoleMissing)},
		"a role rule does not care for case in the path":  {ask{target: "/ADMIN/x", token: viewer}, refusedWith(403, codeRoleMissing)},
		"a role rule does not care for doubled slashes":   {ask{target: "//admin//x", token: viewer}, refusedWith(403, codeRoleMissing)},
		"a scope rule speaks of its method":               {ask{method: "POST", target: "/users", token: viewer}, refusedWith(403, codeScopeMissing)},
		"a scope rule covers a trailing slash":            {ask{method: "POST", target: "/users/", token: viewer}, refusedWith(403, codeScopeMissing)},
		"a scope rule leaves other methods alone":         {ask{target: "/users", token: viewer}, pass()},
		"a scope rule wants all scopes":                   {ask{method: "POST", target: "/users", token: reader}, refusedWith(403, codeScopeMissing)},
		"a scope rule admits all scopes":                  {ask{method: "POST", target: "/users", token: writer}, pass()},
		"an address rule comes before the sign-in":        {ask{target: "/office/x"}, refusedWith(403, codeAddressDenied)},
		"an address rule comes before the token":          {ask{target: "/office/x", token: "junk"}, refusedWith(403, codeAddressDenied)},
		"an address rule leaves the role to be judged":    {ask{target: "/office/x", token: viewer, from: office}, refusedWith(403, codeRoleMissing)},
		"address and role together admit":                 {ask{target: "/office/x", token: admin, from: office}, pass()},
		"an absent claim never matches":                   {ask{target: "/billing/x", token: admin}, refusedWith(403, codeClaimMissing)},
		"a claim matches one of its values": {ask{
			target: "/billing/x", token: s.token(t, claims{"plan": "gold"}),
		}, pass()},
		"a claim that is a number matches as it is written": {ask{
			target: "/billing/x", token: s.token(t, claims{"plan": 7}),
		}, pass()},
		"a claim that is a list matches by a member": {ask{
			target: "/billing/x", token: s.token(t, claims{"plan": []string{"tin", "gold"}}),
		}, pass()},
		"a user rule admits the user":   {ask{target: "/me/x", token: viewer}, pass()},
		"a user rule refuses others":    {ask{target: "/me/x", token: s.token(t, claims{"sub": "bob"})}, refusedWith(403, codeClaimMissing)},
		"an issuer rule admits it":      {ask{target: "/sso/x", token: viewer}, pass()},
		"a match block narrows":         {ask{target: "/narrow/x", token: viewer}, pass()},
		"a match block still lets hold": {ask{target: "/narrow/x", token: viewer, header: http.Header{"X-Danger": {"yes"}}}, refusedWith(403, codeRoleMissing)},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.expect(c.want, c.ask)
		})
	}
}

// Every refusal that this grammar can produce, with all that a client sees.
func TestRefusalsOnTheWire(t *testing.T) {
	s := newSite(t, `
		deny /private/*
		require /admin/* role admin
		require /scoped/* scope write
		require /plan/* claim plan gold
		require /office/* ip 198.51.100.7
		token header Authorization Bearer
		token cookie session
		challenge {
			realm "Panel \"one\""
		}`)
	const (
		bare    = `Bearer realm="Panel \"one\""`
		invalid = bare + `, error="invalid_token", error_description=`
	)
	good := s.token(t, nil)
	forged := good[:len(good)-4] + "AAAA"
	for name, c := range map[string]struct {
		ask
		want      verdict
		challenge string
		oauth     string
	}{
		"credentials_missing": {ask{target: "/"}, refusedWith(401, codeCredentialsMissing), bare, ""},
		"credentials_missing for another scheme": {
			ask{target: "/", header: http.Header{"Authorization": {"Basic YTpi"}}},
			refusedWith(401, codeCredentialsMissing), bare, "",
		},
		"credentials_malformed": {ask{target: "/", token: "not.a.token!"}, refusedWith(401, codeCredentialsMalformed), invalid + `"The access token is malformed"`, "invalid_token"},
		"credentials_malformed without a token": {
			ask{target: "/", header: http.Header{"Authorization": {"Bearer "}}},
			refusedWith(401, codeCredentialsMalformed), invalid + `"The access token is malformed"`, "invalid_token",
		},
		"credentials_malformed over the limit": {
			ask{target: "/", token: strings.Repeat("a", 9000)},
			refusedWith(401, codeCredentialsMalformed), invalid + `"The access token is malformed"`, "invalid_token",
		},
		"credentials_ambiguous": {
			ask{target: "/", header: http.Header{"Authorization": {"Bearer " + good, "Bearer " + good}}},
			refusedWith(400, codeCredentialsAmbiguous), bare + `, error="invalid_request", error_description="The request carries more than one access token"`, "invalid_request",
		},
		"token_invalid":       {ask{target: "/", token: forged}, refusedWith(401, codeTokenInvalid), invalid + `"The access token is not valid"`, "invalid_token"},
		"token_expired":       {ask{target: "/", token: s.token(t, claims{"exp": 1})}, refusedWith(401, codeTokenExpired), invalid + `"The access token expired"`, "invalid_token"},
		"token_not_yet_valid": {ask{target: "/", token: s.token(t, claims{"nbf": time.Now().Add(time.Hour).Unix()})}, refusedWith(401, codeTokenNotYetValid), invalid + `"The access token is not valid yet"`, "invalid_token"},
		"role_missing":        {ask{target: "/admin/x", token: good}, refusedWith(403, codeRoleMissing), "", ""},
		"claim_missing":       {ask{target: "/plan/x", token: good}, refusedWith(403, codeClaimMissing), "", ""},
		"scope_missing":       {ask{target: "/scoped/x", token: good}, refusedWith(403, codeScopeMissing), "", "insufficient_scope"},
		"address_denied":      {ask{target: "/office/x", token: good}, refusedWith(403, codeAddressDenied), "", ""},
		"path_denied":         {ask{target: "/private/x", token: good}, refusedWith(403, codePathDenied), "", ""},
		"origin_denied": {
			ask{method: "POST", target: "/", header: http.Header{"Cookie": {"session=" + good}, "Origin": {"https://evil.example"}}},
			refusedWith(403, codeOriginDenied), "", "",
		},
		"request_ambiguous": {ask{target: "/admin%2f..%2fpublic"}, refusedWith(400, codeRequestAmbiguous), "", ""},
		"too_early": {
			ask{method: "POST", target: "/", token: good, change: func(r *http.Request) { r.TLS = &tls.ConnectionState{} }},
			refusedWith(425, codeTooEarly), "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			w := s.expect(c.want, c.ask)
			assertRefusalHeaders(t, w, c.challenge, "")
			var body map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			if got, _ := body["error"].(string); got != c.oauth {
				t.Errorf("error is %q, want %q", got, c.oauth)
			}
			if body["instance"] != "urn:uuid:"+body["request_id"].(string) {
				t.Errorf("instance %v does not name request_id %v", body["instance"], body["request_id"])
			}
			if body["status"] != float64(c.want.status) || body["title"] == "" || body["detail"] == "" {
				t.Errorf("body lacks status, title or detail: %s", w.Body)
			}
			assertSameForHead(t, s, c.ask, w.Header())
		})
	}
}

func assertRefusalHeaders(t *testing.T, w *httptest.ResponseRecorder, challenge, retryAfter string) {
	t.Helper()
	h := w.Header()
	want := map[string]string{
		"Cache-Control":          "no-store",
		"Vary":                   "Accept, Accept-Language, Sec-Fetch-Mode, Sec-Fetch-Dest, X-Requested-With, HX-Request",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "same-origin",
		"X-Robots-Tag":           "noindex, nofollow",
		"Content-Language":       "en",
		"Content-Length":         strconv.Itoa(w.Body.Len()),
		"Content-Type":           "application/problem+json",
		"Www-Authenticate":       challenge,
		"Retry-After":            retryAfter,
		"Etag":                   "",
	}
	for name, value := range want {
		if got := strings.Join(h.Values(name), " | "); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

// assertSameForHead repeats a GET as HEAD: same headers, no body.
func assertSameForHead(t *testing.T, s *site, a ask, want http.Header) {
	t.Helper()
	if a.method != "" && a.method != http.MethodGet {
		return
	}
	a.method = http.MethodHead
	w := s.do(a)
	if w.Body.Len() != 0 {
		t.Errorf("HEAD has a body of %d bytes", w.Body.Len())
	}
	for name := range want {
		if name != "Date" && w.Header().Get(name) != want.Get(name) {
			t.Errorf("HEAD: %s is %q, GET says %q", name, w.Header().Get(name), want.Get(name))
		}
	}
}

// A panic anywhere in the gate's own work is a 500, never a pass.
func TestPanicIsARefusal(t *testing.T) {
	s := newSite(t, `require /admin/* role admin`)
	s.gate.gate.rules.require = append(s.gate.gate.rules.require, nil)
	w := s.expect(refusedWith(500, codeInternalError), ask{target: "/admin/x", token: s.token(t, claims{"roles": "admin"})})
	assertRefusalHeaders(t, w, "", "")
	if strings.Contains(w.Body.String(), "panic") || strings.Contains(w.Body.String(), "nil pointer") {
		t.Errorf("the body tells what happened inside: %s", w.Body)
	}
	if s.logs.FilterMessage("panic while deciding").Len() != 1 {
		t.Error("the panic is not in the log")
	}
}

// An unknown condition, a compiled rule of kind zero, must refuse too.
func TestUnknownConditionRefuses(t *testing.T) {
	s := newSite(t, `require /admin/* role admin`)
	s.gate.gate.rules.require[0].conditions[0].kind = 0
	s.expect(refusedWith(403, codeClaimMissing), ask{target: "/admin/x", token: s.token(t, claims{"roles": "admin"})})
}

// A matcher that fails refuses. Caddy's own 425 becomes ours.
func TestMatcherErrorRefuses(t *testing.T) {
	s := newSite(t, `require @office role admin`, "@office client_ip 192.0.2.0/24")
	early := func(r *http.Request) { r.TLS = &tls.ConnectionState{} }
	s.expect(refusedWith(425, codeTooEarly), ask{target: "/x", token: s.token(t, nil), change: early})
	s.gate.gate.rules.require[0].sets = caddyhttp.MatcherSets{{failingMatcher{}}}
	s.expect(refusedWith(500, codeInternalError), ask{target: "/x", token: s.token(t, nil)})
}

type failingMatcher struct{}

func (failingMatcher) MatchWithError(*http.Request) (bool, error) {
	return false, errTest
}

// The success path tells nobody anything who does not ask for it.
func TestPassLogsNothing(t *testing.T) {
	s := newSite(t, `require /admin/* role admin`)
	s.expect(pass(), ask{target: "/admin/x", token: s.token(t, claims{"roles": "admin"})})
	for _, line := range s.logs.All() {
		if line.Level > zapcore.DebugLevel {
			t.Errorf("logged %v", line)
		}
	}
}

// A refusal is one line, without anything secret in it.
func TestRefusalLog(t *testing.T) {
	s := newSite(t, `require /admin/* role admin`)
	good := s.token(t, nil)
	s.expect(refusedWith(403, codeRoleMissing), ask{target: "/admin/x?key=sesame", token: good})
	lines := s.logs.FilterMessage("refused").All()
	if len(lines) != 1 {
		t.Fatalf("got %d lines, want 1", len(lines))
	}
	fields := lines[0].ContextMap()
	if fields["code"] != "role_missing" || fields["rule"] != "Caddyfile:10" || fields["route"] != "/admin/*" || fields["client_ip"] != "192.0.2.1" {
		t.Errorf("fields are %v", fields)
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{good, good[len(good)-20:], "sesame"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// A mistake elsewhere that recognises nobody and refuses nothing must not open a
// path that no rule speaks of.
func TestNobodyIsNotAdmitted(t *testing.T) {
	if no := admit(nil, &visitor{}); no == nil || no.code != codeInternalError {
		t.Errorf("got %v", no)
	}
}
