package gatehouse

import (
	"crypto/tls"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// echoSite has a next handler that tells which headers and which URI reached it.
func echoSite(t *testing.T, options string, headers ...string) *site {
	t.Helper()
	s := newSigner(t, testIssuer)
	var echoed strings.Builder
	for _, name := range headers {
		echoed.WriteString("header >Got-" + name + " {http.request.header." + name + "}\n")
	}
	return newSiteFrom(t, s, `
:80 {
	route {
		gatehouse {
			issuer `+testIssuer+` {
				keys `+s.keyFile+`
				audience `+testAudience+`
			}
			`+options+`
		}
		header `+reachedHeader+` ran
		header Got-Uri {http.request.uri}
		header Got-User {http.auth.user.id}|{http.auth.user.roles}|{http.auth.user.scopes}|{http.auth.user.issuer}|{http.auth.user.claims.org.name}
		`+echoed.String()+`
		respond "next"
	}
}`)
}

// A client that sets X-User itself must not become that user upstream, however
// it spells the header and whatever path it takes: CGI-like upstreams read
// X_User and x.user as X-User.
func TestForgedIdentityHeaders(t *testing.T) {
	s := newSite(t, `
		public /login
		identity_headers {
			X-User id
			X-Roles roles
		}`)
	var reached http.Header
	s.spy(func(r *http.Request) { reached = r.Header.Clone() })
	token := s.token(t, claims{"roles": []string{"a", "b"}})
	for _, spelling := range []string{"X-User", "x-user", "X_User", "x_user", "X.User", "x.user", "X!User", "X-USER", "x~roles"} {
		forged := http.Header{spelling: {"root"}, "Connection": {"keep-alive, X-User, x_roles"}}
		for name, a := range map[string]ask{
			"recognised": {target: "/", token: token, header: forged},
			"public":     {target: "/login", header: forged},
			"preflight": {method: "OPTIONS", target: "/", header: join(forged, http.Header{
				"Origin": {"https://a.example"}, "Access-Control-Request-Method": {"PUT"},
			})},
			"websocket": {target: "/", token: token, header: join(forged, http.Header{"Upgrade": {"websocket"}})},
		} {
			t.Run(spelling+" "+name, func(t *testing.T) {
				s.t = t
				s.expect(pass(), a)
				for key, values := range reached {
					if strings.Contains(strings.Join(values, ","), "root") {
						t.Errorf("%s: %q reached the next handler", key, values)
					}
				}
				if got := reached.Get("Connection"); got != "keep-alive" {
					t.Errorf("Connection is %q, want keep-alive alone", got)
				}
				want := ""
				if a.token != "" {
					want = "ada"
				}
				if got := reached.Get("X-User"); got != want {
					t.Errorf("X-User is %q, want %q", got, want)
				}
			})
		}
	}
}

func join(a, b http.Header) http.Header {
	out := a.Clone()
	maps.Copy(out, b)
	return out
}

// A claim of `admin,root` must not read as two roles, and one with a line break
// must not become a header of its own.
func TestIdentityHeaderInjection(t *testing.T) {
	s := newSite(t, `
		identity_headers {
			X-Roles roles
			X-Scopes scopes
			X-Name claim name
			X-Groups claim groups
			X-Number claim number
			X-None claim nothing
		}`)
	var reached http.Header
	s.spy(func(r *http.Request) { reached = r.Header.Clone() })
	s.expect(pass(), ask{target: "/", token: s.token(t, claims{
		"roles": []string{"admin,root", "viewer", "line\nbreak", "trailing "}, "scp": []string{"read all", "write"},
		"name": "Ada\r\nX-Admin: yes", "groups": []any{"a", 7, true, nil, "b,c"}, "number": 9007199254740993,
	})})
	for name, want := range map[string]string{
		"X-Roles": "viewer", "X-Scopes": "write", "X-Name": "", "X-Groups": "a,7,true", "X-Number": "9007199254740993", "X-None": "", "X-Admin": "",
	} {
		if got := reached.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if s.logs.FilterMessageSnippet("identity header left").Len() == 0 {
		t.Error("nothing in the log says that a header was left out")
	}
}

// Panels believe CF-Connecting-IP and its kin, whoever sent them.
func TestForgedAddressHeaders(t *testing.T) {
	s := newSite(t, ``)
	var reached http.Header
	s.spy(func(r *http.Request) { reached = r.Header.Clone() })
	s.expect(pass(), ask{target: "/", token: s.token(t, nil), header: http.Header{
		"Cf-Connecting-Ip": {"127.0.0.1"}, "True-Client-Ip": {"127.0.0.1"}, "X_real_ip": {"127.0.0.1"}, "X-Real-Ip": {"127.0.0.1"},
	}})
	for name, values := range reached {
		if strings.Contains(strings.Join(values, ""), "127.0.0.1") {
			t.Errorf("%s reached the next handler from an untrusted peer", name)
		}
	}
}

// A trailer named like an identity header is filled in at the end of the body,
// when all headers have been deleted already.
func TestTrailersAreDropped(t *testing.T) {
	s := newSite(t, ``)
	trailer := http.Header{"X-User": {"root"}}
	s.spy(func(r *http.Request) { trailer = r.Trailer })
	s.expect(pass(), ask{target: "/", token: s.token(t, nil), change: func(r *http.Request) { r.Trailer = trailer }})
	if trailer != nil {
		t.Errorf("trailer %v reached the next handler", trailer)
	}
}

// try_files turns /secret into /index.php before the gate runs; a public
// /index.php must not open the whole site.
func TestRewriteDoesNotOpenThePublicPath(t *testing.T) {
	s := newSite(t, `
		public /index.php
		require /admin/* role admin
	`, "rewrite /secret /index.php", "uri strip_prefix /app", "method /override/* GET")
	viewer := s.token(t, nil)
	s.expect(pass(), ask{target: "/index.php"})
	s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/secret"})
	s.expect(refusedWith(403, codeRoleMissing), ask{target: "/app/admin/x", token: viewer})
	s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/app/index.php"})
}

// A rewrite away from a protected path must not lift its rule.
func TestRewriteDoesNotLiftARule(t *testing.T) {
	s := newSite(t, `
		deny /private/*
		require /admin/* role admin
	`, "rewrite /admin/* /front.php", "rewrite /private/* /front.php")
	s.expect(refusedWith(403, codeRoleMissing), ask{target: "/admin/x", token: s.token(t, nil)})
	s.expect(refusedWith(403, codePathDenied), ask{target: "/private/x", token: s.token(t, nil)})
}

// Two readers, two paths: what a matcher takes for /public the upstream may
// take for /admin.
func TestAmbiguousPaths(t *testing.T) {
	s := newSite(t, `public /public/*`)
	for _, target := range []string{
		"/admin%2f..%2fpublic", "/admin%2F..%2Fpublic/x", "/public%5c..%5cadmin", "/public\\..\\admin", "/public/%00", "/public/%2e%2e/admin",
		"/public/.%2e/admin", "/public/../admin", "/public/./x", "/public/..;/admin", "/public/..;a=b/admin", "/public/.;/x", "/..", "/.",
	} {
		t.Run(target, func(t *testing.T) {
			s.t = t
			s.expect(refusedWith(400, codeRequestAmbiguous), ask{target: "/", change: func(r *http.Request) {
				setTarget(t, r, target)
			}})
		})
	}
	for _, target := range []string{"/public/a%20b", "/public/.well-known/x", "/public/a..b", "/public/...", "/public/%252f", "/public/%61"} {
		s.expect(pass(), ask{target: target})
	}
}

// setTarget parses a request target as the server does.
func setTarget(t *testing.T, r *http.Request, target string) {
	t.Helper()
	parsed, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatal(err)
	}
	r.URL, r.RequestURI = parsed, target
}

// RabbitMQ's default virtual host is %2F: allowed where the operator says so,
// and dot segments behind it stay refused.
func TestAmbiguousPathsAllow(t *testing.T) {
	s := newSite(t, `ambiguous_paths allow /api/vhosts/*`)
	token := s.token(t, nil)
	s.expect(pass(), ask{target: "/api/vhosts/%2F/queues", token: token})
	s.expect(refusedWith(400, codeRequestAmbiguous), ask{target: "/api/vhosts/%2F..%2Fadmin", token: token})
	s.expect(refusedWith(400, codeRequestAmbiguous), ask{target: "/api/users/%2F", token: token})
}

// Another site's form or socket spends the visitor's cookie.
func TestCrossSiteRequestWithCookie(t *testing.T) {
	s := newSite(t, `
		token cookie session
		public /login`)
	cookie := "session=" + s.token(t, nil)
	for name, c := range map[string]struct {
		ask
		want verdict
	}{
		"a GET needs no origin":                     {ask{target: "/"}, pass()},
		"a POST without an origin":                  {ask{method: "POST", target: "/"}, refusedWith(403, codeOriginDenied)},
		"a POST from elsewhere":                     {ask{method: "POST", target: "/", header: http.Header{"Origin": {"https://evil.example"}}}, refusedWith(403, codeOriginDenied)},
		"a POST from the null origin":               {ask{method: "POST", target: "/", header: http.Header{"Origin": {"null"}}}, refusedWith(403, codeOriginDenied)},
		"a POST from the same host with https":      {ask{method: "POST", target: "/", header: http.Header{"Origin": {"https://example.com"}}}, pass()},
		"a POST from a subdomain":                   {ask{method: "POST", target: "/", header: http.Header{"Origin": {"https://a.example.com"}}}, refusedWith(403, codeOriginDenied)},
		"a POST from another port":                  {ask{method: "POST", target: "/", header: http.Header{"Origin": {"https://example.com:8443"}}}, refusedWith(403, codeOriginDenied)},
		"a POST that fetch calls same-origin":       {ask{method: "POST", target: "/", header: http.Header{"Sec-Fetch-Site": {"same-origin"}}}, pass()},
		"a POST that fetch calls same-site":         {ask{method: "POST", target: "/", header: http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://example.com"}}}, refusedWith(403, codeOriginDenied)},
		"a POST with two origins":                   {ask{method: "POST", target: "/", header: http.Header{"Origin": {"https://example.com", "https://evil.example"}}}, refusedWith(403, codeOriginDenied)},
		"a WebSocket from elsewhere":                {ask{target: "/", header: http.Header{"Upgrade": {"websocket"}, "Origin": {"https://evil.example"}}}, verdict{status: 403}},
		"a WebSocket from the same host":            {ask{target: "/", header: http.Header{"Upgrade": {"websocket"}, "Origin": {"http://example.com"}}}, pass()},
		"a public POST from elsewhere is anonymous": {ask{method: "POST", target: "/login", header: http.Header{"Origin": {"https://evil.example"}}}, pass()},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			c.header = join(http.Header{"Cookie": {cookie}}, c.header)
			s.expect(c.want, c.ask)
		})
	}
}

// On a public path a cookie that another site spends makes nobody.
func TestCrossSiteCookieOnPublicPathIsAnonymous(t *testing.T) {
	s := newSite(t, `
		token cookie session
		public /login
		identity_headers {
			X-User id
		}`)
	var user string
	s.spy(func(r *http.Request) { user = r.Header.Get("X-User") })
	h := http.Header{"Cookie": {"session=" + s.token(t, nil)}, "Origin": {"https://evil.example"}}
	s.expect(pass(), ask{method: "POST", target: "/login", header: h})
	if user != "" {
		t.Errorf("X-User is %q, want nobody", user)
	}
	h.Set("Origin", "http://example.com")
	s.expect(pass(), ask{method: "POST", target: "/login", header: h})
	if user != "ada" {
		t.Errorf("X-User is %q: a valid cookie is recognised on public paths", user)
	}
}

// Browsers send preflights without credentials; what smuggles one in, or a
// body, or another method is no preflight.
func TestPreflight(t *testing.T) {
	s := newSite(t, `
		deny /private/*
		require /office/* ip 198.51.100.7
		token header Authorization Bearer
		token header X-Token`)
	preflight := http.Header{"Origin": {"https://a.example"}, "Access-Control-Request-Method": {"PUT"}}
	with := func(name, value string) http.Header { return join(preflight, http.Header{name: {value}}) }
	for name, c := range map[string]struct {
		ask
		want verdict
	}{
		"passes without a credential":      {ask{method: "OPTIONS", target: "/x", header: preflight}, pass()},
		"is no way around deny":            {ask{method: "OPTIONS", target: "/private/x", header: preflight}, refusedWith(403, codePathDenied)},
		"is no way around an address rule": {ask{method: "OPTIONS", target: "/office/x", header: preflight}, refusedWith(403, codeAddressDenied)},
		"is not a plain OPTIONS":           {ask{method: "OPTIONS", target: "/x"}, refusedWith(401, codeCredentialsMissing)},
		"is not a GET with its headers":    {ask{target: "/x", header: preflight}, refusedWith(401, codeCredentialsMissing)},
		"carries no cookie":                {ask{method: "OPTIONS", target: "/x", header: with("Cookie", "a=b")}, refusedWith(401, codeCredentialsMissing)},
		"carries no token":                 {ask{method: "OPTIONS", target: "/x", header: with("X-Token", "abc")}, refusedWith(401, codeCredentialsMalformed)},
		"carries no basic credential":      {ask{method: "OPTIONS", target: "/x", header: with("Authorization", "Basic YTpi")}, refusedWith(401, codeCredentialsMissing)},
		"carries no method override":       {ask{method: "OPTIONS", target: "/x", header: with("X-Http-Method-Override", "DELETE")}, refusedWith(401, codeCredentialsMissing)},
		"carries no body":                  {ask{method: "OPTIONS", target: "/x", header: preflight, change: func(r *http.Request) { r.ContentLength = 5 }}, refusedWith(401, codeCredentialsMissing)},
		"carries no body of an unknown length": {ask{method: "OPTIONS", target: "/x", header: preflight, change: func(r *http.Request) {
			r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
		}}, refusedWith(401, codeCredentialsMissing)},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.expect(c.want, c.ask)
		})
	}
}

// CONNECT opens a tunnel. As a WebSocket over HTTP/2 or 3 it is judged as the
// GET that it replaces; any other is refused.
func TestConnect(t *testing.T) {
	s := newSite(t, `require GET /ws role admin`)
	over := func(major int, protocol string) func(*http.Request) {
		return func(r *http.Request) {
			r.ProtoMajor = major
			if major == 3 {
				r.Proto = protocol
			} else {
				r.Header[":protocol"] = []string{protocol}
			}
			r.URL.Path, r.RequestURI = "/ws", "/ws"
		}
	}
	admin, viewer := s.token(t, claims{"roles": "admin"}), s.token(t, nil)
	s.expect(refusedWith(400, codeRequestAmbiguous), ask{method: "CONNECT", target: "example.com:443", token: admin})
	s.expect(pass(), ask{method: "CONNECT", target: "example.com:443", token: admin, change: over(2, "websocket")})
	s.expect(pass(), ask{method: "CONNECT", target: "example.com:443", token: admin, change: over(3, "websocket")})
	w := s.do(ask{method: "CONNECT", target: "example.com:443", token: viewer, change: over(2, "websocket")})
	if w.Code != 403 || strings.Count(w.Body.String(), "\n") > 1 {
		t.Errorf("got %d with body %q, want 403 and one line", w.Code, w.Body)
	}
	s.expect(refusedWith(400, codeRequestAmbiguous), ask{method: "CONNECT", target: "example.com:443", token: admin, change: over(2, "connect-udp")})
}

// 0-RTT data can be replayed and its source address is not proven.
func TestEarlyData(t *testing.T) {
	s := newSite(t, `require /office/* ip 192.0.2.0/24`)
	early := func(r *http.Request) { r.TLS = &tls.ConnectionState{} }
	token := s.token(t, nil)
	s.expect(pass(), ask{target: "/", token: token, change: early})
	s.expect(refusedWith(425, codeTooEarly), ask{target: "/office/x", token: token, change: early})
	s.expect(refusedWith(425, codeTooEarly), ask{method: "DELETE", target: "/", token: token, change: early})
}

// Without an address no address rule can hold.
func TestNoClientAddress(t *testing.T) {
	s := newSite(t, `require /office/* ip 0.0.0.0/0 ::/0`)
	unix := func(r *http.Request) { r.RemoteAddr = "@" }
	s.expect(refusedWith(403, codeAddressDenied), ask{target: "/office/x", token: s.token(t, nil), change: unix})
	s.expect(pass(), ask{target: "/", token: s.token(t, nil), change: unix})
	denied := newSite(t, `deny ip 203.0.113.0/24`)
	denied.expect(refusedWith(403, codeAddressDenied), ask{target: "/", token: denied.token(t, nil), change: unix})
}

// X-Forwarded-For from a peer that is no trusted proxy is only a claim.
func TestForgedForwardedFor(t *testing.T) {
	s := newSite(t, `require /office/* ip 198.51.100.7`)
	s.expect(refusedWith(403, codeAddressDenied), ask{target: "/office/x", token: s.token(t, nil), header: http.Header{"X-Forwarded-For": {"198.51.100.7"}}})
}

// A scan must not tell a hidden path from one that is not there: what differs
// is that it does not exist for this visitor.
func TestHiddenLooksUnlisted(t *testing.T) {
	s := newSigner(t, testIssuer)
	site := newSiteFrom(t, s, `
:80 {
	handle_errors {
		respond "missing" {err.status_code}
	}
	route {
		gatehouse {
			issuer `+testIssuer+` {
				keys `+s.keyFile+`
				audience panel
			}
			hide /internal/*
			require /internal/* role nobody
			require /internal/* ip 203.0.113.1
		}
		error /missing 404
		header `+reachedHeader+` ran
		respond "next"
	}
}`)
	scrub := func(w *httptest.ResponseRecorder) string {
		var b strings.Builder
		_ = w.Header().Write(&b)
		text := b.String() + w.Body.String()
		for _, id := range uuidPattern.FindAllString(text, -1) {
			text = strings.ReplaceAll(text, id, "ID")
		}
		return timePattern.ReplaceAllString(text, "TIME")
	}
	for name, token := range map[string]string{"anonymous": "", "recognised": s.token(t, nil), "forged": "a.b.c", "expired": s.token(t, claims{"exp": 1})} {
		hidden := site.do(ask{target: "/internal/x", token: token})
		unlisted := site.do(ask{target: "/missing", token: token})
		if hidden.Code != unlisted.Code || scrub(hidden) != scrub(unlisted) {
			t.Errorf("%s: hidden is %d\n%s\nunlisted is %d\n%s", name, hidden.Code, scrub(hidden), unlisted.Code, scrub(unlisted))
		}
	}
	if w := site.do(ask{target: "/internal/x", token: s.token(t, nil)}); w.Code != http.StatusNotFound || w.Body.String() != "missing" {
		t.Errorf("got %d %q, want the site's own 404", w.Code, w.Body)
	}
}

// handle_errors with a file server would serve the hidden file itself.
func TestHiddenFileIsNotServedByTheErrorRoute(t *testing.T) {
	s := newSigner(t, testIssuer)
	root := t.TempDir()
	writeFile(t, root+"/internal/plan.txt", "the plan")
	site := newSiteFrom(t, s, `
:80 {
	root * `+root+`
	handle_errors {
		file_server
	}
	gatehouse {
		issuer `+testIssuer+` {
			keys `+s.keyFile+`
			audience panel
		}
		hide /internal/*
	}
	file_server
}`)
	w := site.do(ask{target: "/internal/plan.txt", token: s.token(t, nil)})
	if w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), "plan") {
		t.Fatalf("got %d %q", w.Code, w.Body)
	}
}

// A refusal written by Caddy's error routes would come with the protected file
// in its body: ours is written here.
func TestRefusalDoesNotGoThroughErrorRoutes(t *testing.T) {
	s := newSigner(t, testIssuer)
	site := newSiteFrom(t, s, `
:80 {
	handle_errors {
		respond "error route"
	}
	gatehouse {
		issuer `+testIssuer+` {
			keys `+s.keyFile+`
			audience panel
		}
	}
	respond "next"
}`)
	w := site.do(ask{target: "/"})
	if w.Code != 401 || strings.Contains(w.Body.String(), "error route") {
		t.Fatalf("got %d %q", w.Code, w.Body)
	}
}

// An inner gate's visitor is the one that later handlers see, and what an
// earlier handler said of the visitor is gone.
func TestPlaceholders(t *testing.T) {
	s := echoSite(t, `public /login`)
	w := s.do(ask{target: "/", token: s.token(t, claims{
		"roles": []string{"a", "b"}, "scope": "x y", "org": claims{"name": "{http.request.uri}"},
	})})
	if got := w.Header().Get("Got-User"); got != "ada|a,b|x y|"+testIssuer+"|{http.request.uri}" {
		t.Errorf("placeholders are %q", got)
	}
	// Caddy leaves a placeholder that nobody provides as it is written.
	const unset = "{http.auth.user.id}|{http.auth.user.roles}|{http.auth.user.scopes}|{http.auth.user.issuer}|{http.auth.user.claims.org.name}"
	if got := s.do(ask{target: "/login"}).Header().Get("Got-User"); got != unset {
		t.Errorf("an anonymous visitor has placeholders %q", got)
	}
	w = s.do(ask{target: "/login", token: s.token(t, claims{"exp": time.Now().Add(-time.Hour).Unix()})})
	if got := w.Header().Get("Got-User"); got != unset {
		t.Errorf("an expired token has placeholders %q", got)
	}
}
