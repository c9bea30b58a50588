package gatehouse

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// expression, vars and file read the path through placeholders. After a rewrite
// these must not show the served path for the original one: the whole site would
// be open by way of its front controller.
func TestRewriteAndMatchersWithPlaceholders(t *testing.T) {
	root := t.TempDir()
	writeFile(t, root+"/index.php", "x")
	writeFile(t, root+"/style.css", "x")
	for name, matcher := range map[string]string{
		"vars":        `@pub vars {http.request.uri.path} /index.php`,
		"expression":  `@pub expression {http.request.uri.path} == "/index.php"`,
		"vars_regexp": `@pub vars_regexp {http.request.uri} ^/index\.php$`,
		"file":        "root * " + root + "\n@pub file",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, `public @pub`, matcher, "rewrite /secret /index.php")
			s.expect(pass(), ask{target: "/index.php"})
			s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/secret"})
		})
	}
	s := newSite(t, "require @adm role admin\ndeny @prv",
		`@adm expression {http.request.uri.path}.startsWith("/admin")`, `@prv expression {http.request.uri.path}.startsWith("/private")`,
		"rewrite /admin/* /front.php", "rewrite /private/* /front.php")
	s.expect(refusedWith(403, codeRoleMissing), ask{target: "/admin/x", token: s.token(t, nil)})
	s.expect(refusedWith(403, codePathDenied), ask{target: "/private/x", token: s.token(t, nil)})
}

// An error route with a file server would answer a matcher's 425 with the file
// that the rule protects.
func TestEarlyDataDoesNotReachTheErrorRoute(t *testing.T) {
	s := newSigner(t, testIssuer)
	root := t.TempDir()
	writeFile(t, root+"/plan.txt", "the plan")
	site := newSiteFrom(t, s, `
:80 {
	root * `+root+`
	handle_errors {
		file_server
	}
	@office remote_ip 10.0.0.0/8
	gatehouse {
		issuer `+testIssuer+` {
			keys `+s.keyFile+`
			audience panel
		}
		require @office role admin
	}
	file_server
}`)
	w := site.do(ask{target: "/plan.txt", change: func(r *http.Request) { r.TLS = &tls.ConnectionState{} }})
	if w.Code != http.StatusTooEarly || strings.Contains(w.Body.String(), "plan") {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

// Upstreams fold `delete` to DELETE; the rule for DELETE would not have.
func TestMethodInLowerCase(t *testing.T) {
	s := newSite(t, "require DELETE /sites/* role admin\nrequire GET /x role admin")
	token := s.token(t, nil)
	s.expect(refusedWith(403, codeRoleMissing), ask{method: "DELETE", target: "/sites/7", token: token})
	s.expect(refusedWith(400, codeRequestAmbiguous), ask{method: "delete", target: "/sites/7", token: token})
	s.expect(refusedWith(400, codeRequestAmbiguous), ask{method: "Delete", target: "/sites/7", token: token})
	s.expect(refusedWith(403, codeRoleMissing), ask{method: "OPTIONS", target: "/x", token: token})
}

// `GET http://example.com` has an empty path, which every upstream takes for /.
func TestEmptyPathIsTheRoot(t *testing.T) {
	s := newSite(t, `deny /`)
	for _, target := range []string{"/", "http://example.com", "http://example.com?x=1"} {
		s.expect(refusedWith(403, codePathDenied), ask{target: "/", token: s.token(t, nil), change: func(r *http.Request) { setTarget(t, r, target) }})
	}
}

// After an upgrade to h2c the connection carries requests that no gate sees.
func TestUpgradeToHTTPIsTakenOut(t *testing.T) {
	s := newSite(t, `public /login`)
	var upgrade string
	s.spy(func(r *http.Request) { upgrade = r.Header.Get("Upgrade") })
	for _, protocol := range []string{"h2c", "H2C", "websocket, h2c", "TLS/1.0", "HTTP/2.0"} {
		h := http.Header{"Connection": {"Upgrade, HTTP2-Settings"}, "Upgrade": {protocol}, "Http2-Settings": {"AAMAAABkAAQAAP__"}}
		s.expect(pass(), ask{target: "/login", header: h})
		if upgrade != "" {
			t.Errorf("upgrade to %q reached the next handler", upgrade)
		}
	}
	preflight := http.Header{"Origin": {"https://a.example"}, "Access-Control-Request-Method": {"PUT"}, "Upgrade": {"websocket"}}
	if w := s.do(ask{method: "OPTIONS", target: "/x", header: preflight}); w.Code != 401 {
		t.Errorf("a preflight that upgrades: %d", w.Code)
	}
}

// A FastCGI upstream gets the URI as the client sent it: without the token.
func TestQueryTokenIsTakenOutOfTheOriginal(t *testing.T) {
	s := newSite(t, `token query access_token`, "rewrite /old /new?{query}")
	token := s.token(t, nil)
	var seen string
	s.spy(func(r *http.Request) {
		seen = originalURI(r) + " " + r.RequestURI
	})
	s.expect(pass(), ask{target: "/old?a=1&access_token=" + token})
	if strings.Contains(seen, token) || !strings.HasPrefix(seen, "/old?a=1 ") {
		t.Errorf("the next handler sees %s", seen)
	}
}

// Two offers of `bearer` must not leave the second token in the header.
func TestWebSocketTokensAreAllTakenOut(t *testing.T) {
	s := newSite(t, "token websocket\npublic /ws")
	var got string
	s.spy(func(r *http.Request) { got = r.Header.Get("Sec-WebSocket-Protocol") })
	s.expect(pass(), ask{target: "/ws", header: http.Header{"Sec-Websocket-Protocol": {"bearer, t1, Bearer, t2, chat"}}})
	if got != "bearer, Bearer, chat" {
		t.Errorf("protocol is %q", got)
	}
}

// A role of `viewer,admin` must not read as two in a header that the operator
// makes of the placeholder.
func TestPlaceholderOfARoleWithAComma(t *testing.T) {
	s := echoSite(t, ``)
	w := s.do(ask{target: "/", token: s.token(t, claims{"roles": []string{"viewer,admin", "user"}, "scp": []string{"read write", "x"}})})
	if got := w.Header().Get("Got-User"); !strings.HasPrefix(got, "ada|user|x|") {
		t.Errorf("placeholders are %q", got)
	}
}

// Hidden and unlisted are alike over WebSockets too.
func TestHiddenWebSocketLooksUnlisted(t *testing.T) {
	s := newSite(t, "hide /internal/*\nrequire GET /* role admin")
	var codes []int
	for _, path := range []string{"/internal/x", "/missing"} {
		w := s.do(ask{method: "CONNECT", target: "example.com:443", token: s.token(t, nil), change: func(r *http.Request) {
			r.ProtoMajor = 2
			r.Header[":protocol"] = []string{"websocket"}
			r.URL.Path, r.RequestURI = path, path
		}})
		codes = append(codes, w.Code)
	}
	if codes[0] != 403 || codes[1] != 403 {
		t.Errorf("hidden and unlisted are %v", codes)
	}
}

// A realm from the environment is held to the same rule as a written one.
func TestRealmFromTheEnvironment(t *testing.T) {
	t.Setenv("GATEHOUSE_TEST_REALM", "a\r\nX-Injected: yes")
	if got := outcome(t, ":80 {\n\tgatehouse {\n\t\tissuer internal {\n\t\t\taudience a\n\t\t}\n\t\tchallenge {\n\t\t\trealm {env.GATEHOUSE_TEST_REALM}\n\t\t}\n\t}\n}"); !strings.Contains(got, "expected printable ASCII") {
		t.Errorf("got %s", got)
	}
}

// The README's advice for upstreams that strip path parameters.
func TestPathParametersCanBeDenied(t *testing.T) {
	s := newSite(t, "deny *;*\nrequire /admin/* role admin")
	token := s.token(t, nil)
	for _, target := range []string{"/admin;x/users", "/;x/admin/users", "/admin%3Bx/users", "/admin/users;x"} {
		s.expect(refusedWith(403, codePathDenied), ask{target: target, token: token})
	}
	s.expect(pass(), ask{target: "/sites/7", token: token})
}

// The last row of the README's truth table: who brings nothing to check needs no keys.
func TestKeysOutOfReachInTheTruthTable(t *testing.T) {
	f := newFakeIssuer(t)
	f.fail(status(http.StatusInternalServerError, ""))
	s := newSiteFrom(t, f.signer, f.caddyfile(1))
	s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/"})
	s.expect(refusedWith(503, codeKeysUnavailable), ask{target: "/", token: f.token(t, nil)})
	if !strings.Contains(readDoc(t, "README.md"), "| the issuer's keys cannot be had | 401 without a token, else 503 | 503 | 503 |") {
		t.Error("the README says something else")
	}
}

// A rule that reads the path through a placeholder must not answer for a hidden
// path what it would not for one that is not there.
func TestHiddenFromMatchersWithPlaceholders(t *testing.T) {
	for name, matcher := range map[string]string{
		"the path":         `@in expression {http.request.uri.path}.startsWith("/internal")`,
		"the original URI": `@in vars_regexp {http.request.orig_uri} ^/internal`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "hide /internal/*\nrequire @in role nobody", matcher)
			if w := s.do(ask{target: "/internal/x", token: s.token(t, nil)}); w.Code != http.StatusNotFound {
				t.Errorf("a hidden path is answered %d, which tells that a rule knows it", w.Code)
			}
		})
	}
}

// A WebSocket over HTTP/2 is judged as a GET, also by rules that read the method
// through a placeholder.
func TestConnectMeetsMatchersWithPlaceholders(t *testing.T) {
	s := newSite(t, "require @get role admin", `@get expression {http.request.method} == "GET"`)
	w := s.do(ask{method: "CONNECT", target: "example.com:443", token: s.token(t, nil), change: func(r *http.Request) {
		r.ProtoMajor, r.Header[":protocol"] = 2, []string{"websocket"}
		r.URL.Path, r.RequestURI = "/ws", "/ws"
	}})
	if w.Code != http.StatusForbidden {
		t.Errorf("got %d, want 403", w.Code)
	}
}

// A panic after the verdict is a refusal too: the next handler must not get a
// request that is half readied.
func TestPanicWhileReadyingIsARefusal(t *testing.T) {
	s := newSite(t, "identity_headers {\nX-User id\n}")
	s.gate.gate.headers.headers = append(s.gate.gate.headers.headers, plannedHeader{name: "X-Bad", value: "roles"})
	s.gate.gate.headers.log = nil // a member with a comma is warned of
	s.expect(refusedWith(500, codeInternalError), ask{target: "/", token: s.token(t, claims{"roles": []string{"a,b"}})})
}

// Not even a refusal that cannot be told may become something else; and it must
// not go through error routes, where a file server has the protected file.
func TestPanicWhileRefusingIsARefusal(t *testing.T) {
	s := newSite(t, ``)
	s.gate.gate.teller.pages = nil
	w := s.do(ask{target: "/"})
	if w.Code != http.StatusInternalServerError || w.Body.Len() != 0 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %q %v", w.Code, w.Body, w.Header())
	}
	if s.logs.FilterMessageSnippet("panic").Len() == 0 {
		t.Error("the panic is not in the log")
	}
}

// CGI-like upstreams read X_HTTP_Method_Override as X-HTTP-Method-Override: an
// anonymous preflight would become a DELETE. Caddy drops names with _ and . by
// itself, unless its expected_underscore_headers or expected_dot_headers keep them.
func TestPreflightWithAMethodOverrideInAnotherSpelling(t *testing.T) {
	s := newSite(t, ``)
	for _, name := range []string{"x-http-method-override", "X!HTTP!Method!Override", "X-Method~Override"} {
		h := http.Header{"Origin": {"https://a.example"}, "Access-Control-Request-Method": {"PUT"}, name: {"DELETE"}}
		s.expect(refusedWith(401, codeCredentialsMissing), ask{method: "OPTIONS", target: "/x", header: h})
	}
	for _, name := range []string{"X_http_method_override", "X.HTTP.Method.Override", "X_HTTP_Method", "X_Method.Override"} {
		if !isMethodOverride(name) {
			t.Errorf("%s is let into a preflight", name)
		}
	}
}

// What Caddy drops by itself an operator can keep: the gate deletes it then.
func TestForgedHeadersThatCaddyWasToldToKeep(t *testing.T) {
	s := newSite(t, "identity_headers {\nX-User id\n}")
	for _, name := range []string{"X_User", "X.User", "x_user", "x.USER", "Cf_Connecting.Ip", "X_Real_Ip", "True.Client_Ip"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header[name] = []string{"root"}
		s.gate.gate.headers.strip(r)
		if len(r.Header[name]) > 0 {
			t.Errorf("%s is still there", name)
		}
	}
}

// A rewrite that drops the query leaves the token in the URI that FastCGI gets.
func TestQueryTokenIsTakenOutOfTheOriginalAlone(t *testing.T) {
	s := newSite(t, "token query access_token\npublic *", "rewrite /old /new?")
	var seen string
	s.spy(func(r *http.Request) { seen = originalURI(r) })
	s.expect(pass(), ask{target: "/old?access_token=" + s.token(t, nil) + "&a=1"})
	if strings.Contains(seen, "access_token") || seen != "/old?a=1" {
		t.Errorf("the next handler sees %.60s", seen)
	}
}

// PHP serves /admin.php for /admin.php/anything: a rule for the script must hold
// for that too, and a public script opens nothing below another one's name.
func TestScriptWithPathInfo(t *testing.T) {
	s := newSite(t, "require /admin.php role admin\npublic /status.php")
	token := s.token(t, nil)
	for _, target := range []string{"/admin.php", "/admin.php/", "/admin.php/x", "/ADMIN.PHP/x.css", "/admin.php/x;a=b", "/admin.php;a/x", "//host/admin.php/x"} {
		s.expect(refusedWith(403, codeRoleMissing), ask{target: target, token: token})
	}
	s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/admin.php/status.php"})
	s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/status.php/admin.php"})
	s.expect(pass(), ask{target: "/docs.php/x", token: token})
}

// Reading a path again and again comes to an end.
func TestOtherPathsAreFew(t *testing.T) {
	for _, path := range []string{"//a;b//c.php/d;e/f.php/g", strings.Repeat("//;.php/", 500)} {
		if n := len(otherPaths(path)); n > 15 {
			t.Errorf("%.40q: %d readings", path, n)
		}
	}
}
