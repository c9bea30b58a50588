package gatehouse

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

const corsOptions = `
	cors {
		origins https://app.example.com https://*.partner.example http://localhost:5173
		credentials
		max_age 10m
	}
	public /status
	require /admin/* role admin
	require /office/* ip 198.51.100.0/24
	hide /internal/*
	token header Authorization Bearer
	token cookie panel`

func preflight(origin string) http.Header {
	return http.Header{"Origin": {origin}, requestMethod: {"PUT"}, requestHeaders: {"authorization, x-csrf"}}
}

// Browsers send preflights without any credential: one that is asked for a token
// keeps every script out, with or without one.
func TestPreflightIsAnsweredForListedOrigins(t *testing.T) {
	s := newSite(t, corsOptions)
	for _, target := range []string{"/", "/admin/users", "/status", "/internal/x"} {
		for _, origin := range []string{"https://app.example.com", "https://a.b.partner.example", "http://localhost:5173"} {
			w := s.do(ask{method: "OPTIONS", target: target, header: preflight(origin)})
			h := w.Header()
			if w.Code != http.StatusNoContent || h.Get(reachedHeader) != "" {
				t.Fatalf("%s from %s: status %d, headers %v", target, origin, w.Code, h)
			}
			want := map[string]string{
				allowOrigin: origin, allowCredentials: "true", corsMaxAge: "600",
				allowMethods: "GET, HEAD, POST, PUT, PATCH, DELETE", allowHeaders: "Authorization, Content-Type",
				"Vary": "Origin, " + requestMethod + ", " + requestHeaders, "Www-Authenticate": "",
			}
			for name, value := range want {
				if got := strings.Join(h[http.CanonicalHeaderKey(name)], ", "); got != value {
					t.Errorf("%s from %s: %s is %q, want %q", target, origin, name, got, value)
				}
			}
		}
	}
}

// Origins are compared whole: a suffix, a prefix, another scheme or port, and
// what only looks like a subdomain are other sites.
func TestPreflightFromAnOriginThatLooksListed(t *testing.T) {
	s := newSite(t, corsOptions)
	for _, origin := range []string{
		"https://app.example.com.evil.example", "https://evilapp.example.com", "http://app.example.com", "https://app.example.com:8443",
		"https://partner.example", "https://evilpartner.example", "https://x.partner.example.evil.example", "https://evil.example/.partner.example",
		"https://evil.example?.partner.example", "https://evil.example#.partner.example", "https://u@.partner.example", "https://evil.example\\.partner.example",
		"null", "HTTPS://APP.EXAMPLE.COM", "https://app.example.com ", "https://.partner.example/",
	} {
		w := s.expect(refusedWith(403, codeOriginDenied), ask{method: "OPTIONS", target: "/", header: preflight(origin)})
		for name := range w.Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s is sent", origin, name)
			}
		}
	}
	two := preflight("https://app.example.com")
	two["Origin"] = append(two["Origin"], "https://evil.example")
	s.expect(refusedWith(403, codeOriginDenied), ask{method: "OPTIONS", target: "/", header: two})
}

// A script that may not read a refusal cannot tell an expired token from a
// network that is down.
func TestRefusalsCanBeReadByListedOrigins(t *testing.T) {
	s := newSite(t, corsOptions)
	for _, c := range []struct {
		want verdict
		ask  ask
	}{
		{refusedWith(401, codeCredentialsMissing), ask{target: "/"}},
		{refusedWith(401, codeTokenExpired), ask{target: "/", token: s.token(t, claims{"exp": 1})}},
		{refusedWith(403, codeRoleMissing), ask{target: "/admin/x", token: s.token(t, nil)}},
		{refusedWith(403, codeAddressDenied), ask{target: "/office/x"}},
		{refusedWith(400, codeRequestAmbiguous), ask{target: "/a%2fb"}},
	} {
		c.ask.header = http.Header{"Origin": {"https://app.example.com"}}
		h := s.expect(c.want, c.ask).Header()
		if h.Get(allowOrigin) != "https://app.example.com" || h.Get(allowCredentials) != "true" ||
			h.Get(exposeHeaders) != "WWW-Authenticate, Retry-After" || !strings.HasSuffix(strings.Join(h["Vary"], ", "), ", Origin") {
			t.Errorf("%v: headers %v", c.want, h)
		}
		c.ask.header = http.Header{"Origin": {"https://evil.example"}}
		h = s.expect(c.want, c.ask).Header()
		if h.Get(allowOrigin) != "" || !strings.Contains(strings.Join(h["Vary"], ", "), "Origin") {
			t.Errorf("%v for another origin: headers %v", c.want, h)
		}
	}
}

// What passes can be read too, and is no other origin's in a cache.
func TestAnswersCanBeReadByListedOrigins(t *testing.T) {
	s := newSite(t, corsOptions)
	for _, target := range []string{"/", "/status"} {
		h := s.expect(pass(), ask{target: target, token: s.token(t, nil), header: http.Header{"Origin": {"https://app.example.com"}}}).Header()
		if h.Get(allowOrigin) != "https://app.example.com" || !slices.Contains(h["Vary"], "Origin") {
			t.Errorf("%s: headers %v", target, h)
		}
	}
	h := s.expect(pass(), ask{target: "/", token: s.token(t, nil)}).Header()
	if h.Get(allowOrigin) != "" || !slices.Contains(h["Vary"], "Origin") {
		t.Errorf("without Origin: headers %v", h)
	}
}

// A listed origin may spend a visitor's cookie, another one may not: also not
// where every origin may read what needs no cookie.
func TestCookieFromAListedOrigin(t *testing.T) {
	post := func(s *site, origin string) ask {
		h := http.Header{"Origin": {origin}, "Cookie": {"panel=" + s.token(t, nil)}, "Sec-Fetch-Site": {"cross-site"}}
		return ask{method: "POST", target: "/", header: h}
	}
	s := newSite(t, corsOptions)
	s.expect(pass(), post(s, "https://app.example.com"))
	w := s.expect(refusedWith(403, codeOriginDenied), post(s, "https://evil.example"))
	if w.Header().Get(allowOrigin) != "" {
		t.Error("the refusal can be read")
	}
	open := newSite(t, "cors {\norigins *\n}\ntoken cookie panel")
	w = open.expect(refusedWith(403, codeOriginDenied), post(open, "https://evil.example"))
	if w.Header().Get(allowOrigin) != "" {
		t.Error("the refusal can be read")
	}
	bare := newSite(t, "cors {\norigins https://app.example.com\n}\ntoken cookie panel")
	bare.expect(refusedWith(403, codeOriginDenied), post(bare, "https://app.example.com"))
}

// With * the origin is not echoed: an answer that a cache keeps is everybody's.
func TestEveryOrigin(t *testing.T) {
	s := newSite(t, "cors {\norigins *\nmethods GET\nheaders X-Api\n}")
	h := s.do(ask{method: "OPTIONS", target: "/", header: preflight("https://any.example")}).Header()
	if h.Get(allowOrigin) != "*" || h.Get(allowCredentials) != "" || h.Get(allowMethods) != "GET" || h.Get(allowHeaders) != "X-Api" || h.Get(corsMaxAge) != "" {
		t.Errorf("headers %v", h)
	}
}

// Preflights say nothing of what is hidden: they are answered alike.
func TestPreflightOfSomethingHidden(t *testing.T) {
	s := newSite(t, corsOptions)
	a := s.do(ask{method: "OPTIONS", target: "/internal/x", header: preflight("https://app.example.com")})
	b := s.do(ask{method: "OPTIONS", target: "/missing/x", header: preflight("https://app.example.com")})
	if a.Code != b.Code || a.Body.String() != b.Body.String() || len(a.Header()) != len(b.Header()) {
		t.Errorf("hidden: %d %v; missing: %d %v", a.Code, a.Header(), b.Code, b.Header())
	}
}

// The origin may come from the environment, whole or in part, and is checked
// once it is known.
func TestOriginFromTheEnvironment(t *testing.T) {
	t.Setenv("GATEHOUSE_TEST_HOST", "app.example.com")
	t.Setenv("GATEHOUSE_TEST_ORIGIN", "https://b.example.com")
	s := newSite(t, "cors {\norigins https://{env.GATEHOUSE_TEST_HOST} {env.GATEHOUSE_TEST_ORIGIN}\n}")
	for _, origin := range []string{"https://app.example.com", "https://b.example.com"} {
		if got := s.do(ask{method: "OPTIONS", target: "/", header: preflight(origin)}).Header().Get(allowOrigin); got != origin {
			t.Errorf("%s: allowed is %q", origin, got)
		}
	}
	for _, bad := range []string{"*", "https://App.example.com", "https://a.example/x", "null"} {
		if _, err := (&CORS{Origins: []string{bad}, Credentials: true}).compile(); err == nil {
			t.Errorf("%q with credentials is taken", bad)
		}
	}
}

// A refusal that others decided, or that went through error routes, can be read
// by the listed origin and is no other origin's in a cache.
func TestRefusalsOfOthersCanBeReadByListedOrigins(t *testing.T) {
	for name, c := range map[string]struct{ options, target string }{
		"a firewall's":       {"", "/blocked"},
		"the gate's own":     {"on_refusal error\nrequire /admin/* role admin", "/admin/x"},
		"a page of its own":  {"", "/own/x"},
		"something missing":  {"", "/gone"},
		"something hidden":   {"hide /plan", "/plan"},
		"an address refused": {"on_refusal error\nrequire /office ip 203.0.113.9", "/office"},
	} {
		s := siteWithErrors(t, c.options+"\ncors {\norigins https://app.example.com\ncredentials\n}",
			"error /gone 404\nerror 403", "gatehouse_page /own/* {\nbrand {\nname Own\n}\n}\ngatehouse_page")
		for origin, allowed := range map[string]string{"https://app.example.com": "https://app.example.com", "https://evil.example": ""} {
			h := s.do(ask{target: c.target, token: s.token(t, nil), header: http.Header{"Origin": {origin}}}).Header()
			vary := strings.Join(h["Vary"], ", ")
			if h.Get(allowOrigin) != allowed || allowed != "" && !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Accept") || len(h[allowOrigin]) > 1 {
				t.Errorf("%s, from %s: headers %v", name, origin, h)
			}
		}
	}
}

// Two gates on one request: what the first one allowed must not be handed to
// another origin by a cache when the second one refuses, and no header comes
// twice, which browsers refuse.
func TestTwoGatesAndTheOrigin(t *testing.T) {
	signer := newSigner(t, testIssuer)
	gate := func(options string) string {
		return "gatehouse {\nissuer " + testIssuer + " {\nkeys " + signer.keyFile + "\naudience " + testAudience + "\n}\n" + options + "\n}\n"
	}
	const cors = "cors {\norigins https://app.example.com\n}"
	for name, second := range map[string]string{"without cors": "require role admin", "with cors": "require role admin\n" + cors} {
		s := newSiteFrom(t, signer, ":80 {\nroute {\n"+gate(cors)+gate(second)+"respond next\n}\n}")
		w := s.do(ask{target: "/", token: s.token(t, nil), header: http.Header{"Origin": {"https://app.example.com"}}})
		h := w.Header()
		if w.Code != 403 || strings.Join(h[allowOrigin], ",") != "https://app.example.com" || !strings.Contains(strings.Join(h["Vary"], ", "), "HX-Request, Origin") {
			t.Errorf("%s: %d %v", name, w.Code, h)
		}
		w = s.do(ask{target: "/", token: s.token(t, nil), header: http.Header{"Origin": {"https://evil.example"}}})
		if w.Code != 403 || w.Header().Get(allowOrigin) != "" {
			t.Errorf("%s, another origin: %d %v", name, w.Code, w.Header())
		}
	}
}

// HEAD is a GET to a script: the same headers, no body.
func TestOriginsAndHead(t *testing.T) {
	s := newSite(t, corsOptions)
	a := ask{target: "/", header: http.Header{"Origin": {"https://app.example.com"}}}
	assertSameForHead(t, s, a, s.do(a).Header())
}

// An origin holds no line break, but a header that is set by hand may hold
// anything: none of it comes back.
func TestOriginIsNeverEchoedUnlisted(t *testing.T) {
	s := newSite(t, corsOptions)
	for _, origin := range []string{
		"https://evil.example\r\nX-Evil: 1", "https://app.example.com\r\nX-Evil: 1", "<script>", "{env.HOME}", "https://x\n.partner.example", "https://x\u202e.partner.example",
		"https://x%0a.partner.example", "https://\x00.partner.example", "https://a.example,https://app.example.com", "https://app.example.com https://evil.example",
	} {
		for _, method := range []string{"GET", "OPTIONS"} {
			h := preflight(origin)
			w := s.do(ask{method: method, target: "/", header: h})
			if got := w.Header().Get(allowOrigin); got != "" || strings.Contains(w.Body.String(), "evil") {
				t.Errorf("%s from %q: allowed is %q, body %s", method, origin, got, w.Body)
			}
		}
	}
}
