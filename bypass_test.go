package gatehouse

import (
	"crypto/tls"
	"net/http"
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
	f.broken.Store(true)
	s := newSiteFrom(t, f.signer, f.caddyfile(1))
	s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/"})
	s.expect(refusedWith(503, codeKeysUnavailable), ask{target: "/", token: f.token(t, nil)})
	if !strings.Contains(readDoc(t, "README.md"), "| the issuer's keys cannot be had | 401 without a token, else 503 | 503 | 503 |") {
		t.Error("the README says something else")
	}
}
