package gatehouse

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

const redirectOptions = `
	on_refusal redirect
	brand {
		login https://id.example.com/login?to={return_to}&max_age={max_age}
	}
	require /admin/* role admin
	require /danger/* fresh 5m`

func document() http.Header {
	return http.Header{
		"Accept": {"text/html,application/xhtml+xml"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {"none"},
	}
}

// A person who opens a page is sent to sign in, and told where to come back to.
func TestRedirectToSignIn(t *testing.T) {
	s := newSite(t, redirectOptions)
	for _, method := range []string{"GET", "HEAD"} {
		w := s.do(ask{method: method, target: "/sites/7?tab=dns", header: document()})
		location, err := url.Parse(w.Header().Get("Location"))
		if err != nil || w.Code != http.StatusSeeOther || location.Host != "id.example.com" || location.Query().Get("to") != "/sites/7?tab=dns" {
			t.Errorf("%s: %d to %v", method, w.Code, location)
		}
		h := w.Header()
		if h.Get("Cache-Control") != "no-store" || h.Get("WWW-Authenticate") != "" || w.Body.Len() != 0 || h.Get("Content-Length") != "0" {
			t.Errorf("%s: headers %v, body %q", method, h, w.Body)
		}
	}
	stale := s.token(t, claims{"auth_time": 1})
	w := s.do(ask{target: "/danger/x", header: document(), token: stale})
	if location := w.Header().Get("Location"); w.Code != 303 || !strings.Contains(location, "max_age=300") {
		t.Errorf("a stale sign-in: %d to %s", w.Code, location)
	}
}

// What is not the opening of a page gets its answer: a script would follow the
// redirect into another site, and a POST would come back as a GET.
func TestWhatIsNeverRedirected(t *testing.T) {
	s := newSite(t, redirectOptions)
	with := func(name, value string) http.Header {
		h := document()
		h.Set(name, value)
		return h
	}
	for name, c := range map[string]struct {
		ask    ask
		status int
	}{
		"a POST":                   {ask{method: "POST", target: "/", header: document()}, 401},
		"a PUT":                    {ask{method: "PUT", target: "/", header: document()}, 401},
		"a frame":                  {ask{target: "/", header: with("Sec-Fetch-Dest", "iframe")}, 401},
		"a fetch":                  {ask{target: "/", header: with("Sec-Fetch-Mode", "cors")}, 401},
		"an image":                 {ask{target: "/", header: http.Header{"Sec-Fetch-Dest": {"image"}, "Accept": {"text/html"}}}, 401},
		"jQuery":                   {ask{target: "/", header: http.Header{"X-Requested-With": {"XMLHttpRequest"}, "Accept": {"*/*"}}}, 401},
		"jQuery asks for a page":   {ask{target: "/", header: http.Header{"X-Requested-With": {"XMLHttpRequest"}, "Accept": {"text/html"}}}, 401},
		"htmx asks for a page":     {ask{target: "/", header: http.Header{"Hx-Request": {"true"}, "Accept": {"text/html"}}}, 401},
		"htmx boosts":              {ask{target: "/", header: with("Hx-Request", "true")}, 401},
		"a prefetch":               {ask{target: "/", header: with("Sec-Purpose", "prefetch;prerender")}, 401},
		"an older prefetch":        {ask{target: "/", header: with("Purpose", "prefetch")}, 401},
		"a fetch of a document":    {ask{target: "/", header: http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"same-origin"}, "Sec-Fetch-Dest": {"empty"}}}, 401},
		"an embedded object":       {ask{target: "/", header: with("Sec-Fetch-Dest", "object")}, 401},
		"OPTIONS":                  {ask{method: "OPTIONS", target: "/", header: document()}, 401},
		"a method that was wanted": {ask{method: "POST", target: "/", header: with("X-Http-Method-Override", "GET")}, 401},
		"curl":                     {ask{target: "/", header: http.Header{"Accept": {"*/*"}}}, 401},
		"a program":                {ask{target: "/", header: http.Header{"Accept": {"application/json"}}}, 401},
		"a WebSocket":              {ask{target: "/", header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}}, 401},
		"gRPC":                     {ask{method: "POST", target: "/", header: http.Header{"Content-Type": {"application/grpc"}}}, 200},
		"a 403":                    {ask{target: "/admin/x", header: document(), token: s.token(t, nil)}, 403},
		"no safe way to come back": {ask{target: "//evil.example/x", header: document()}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.do(c.ask)
			if w.Code != c.status || w.Header().Get("Location") != "" || w.Header().Get(reachedHeader) != "" {
				t.Errorf("got %d, Location %q, want %d and none", w.Code, w.Header().Get("Location"), c.status)
			}
		})
	}
}

// `format html` is what a program is told, and no sign that it is a browser.
func TestFormatDoesNotMakeProgramsFollow(t *testing.T) {
	s := newSite(t, redirectOptions+"\npages {\nformat html\n}")
	for _, accept := range []string{"", "*/*", "application/json", "text/plain"} {
		w := s.do(ask{target: "/x", header: http.Header{"Accept": {accept}}})
		if w.Code != 401 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%q: %d %v", accept, w.Code, w.Header())
		}
	}
	if w := s.do(ask{target: "/x", header: http.Header{"Accept": {"text/html"}}}); w.Code != 303 {
		t.Errorf("a browser on plain HTTP: %d", w.Code)
	}
}

// An app that shows the panel in a WebView names itself where scripts do.
func TestRedirectInAWebView(t *testing.T) {
	h := document()
	h.Set("X-Requested-With", "com.example.app")
	if w := newSite(t, redirectOptions).do(ask{target: "/x", header: h}); w.Code != 303 {
		t.Errorf("got %d", w.Code)
	}
}

// The cookie must be of no use to a script, to another site or on a connection
// that others read, and a cache must not hand it on.
func TestReturnCookieFlags(t *testing.T) {
	s := newSite(t, redirectOptions)
	for name, secure := range map[string]bool{"over TLS": true, "in the clear": false} {
		w := s.do(ask{target: "/x", header: document(), change: func(r *http.Request) {
			if r.TLS = nil; secure {
				r.TLS = &tls.ConnectionState{HandshakeComplete: true}
			}
		}})
		cookies := w.Result().Cookies()
		if len(cookies) != 1 {
			t.Fatalf("%s: cookies %v", name, cookies)
		}
		c := cookies[0]
		if c.Name != returnCookie || !c.HttpOnly || c.Secure != secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != returnAge {
			t.Errorf("%s: %s", name, c)
		}
		h := w.Header()
		if h.Get("Cache-Control") != "no-store" || h.Get("Vary") != varyOn || h.Get("Referrer-Policy") != "same-origin" || h.Get("Content-Type") != "" {
			t.Errorf("%s: headers %v", name, h)
		}
	}
}

// A browser's own guess at the next page must not count as coming back.
func TestPrefetchIsNoReturn(t *testing.T) {
	s := newSite(t, redirectOptions)
	h := document()
	h.Set("Sec-Purpose", "prefetch")
	w := s.do(ask{target: "/x", header: h})
	if cookies := w.Result().Cookies(); w.Code != 401 || len(cookies) != 0 {
		t.Errorf("the guess: %d %v", w.Code, cookies)
	}
	if w = s.do(ask{target: "/x", header: document()}); w.Code != 303 {
		t.Errorf("the visit: %d", w.Code)
	}
}

// Somebody whose browser blocks the cookie, or whose token is for another
// audience, signs in, comes back, and is sent to sign in again, without end and
// too fast to read why.
func TestRedirectLoopEnds(t *testing.T) {
	s := newSite(t, redirectOptions)
	open := func(target string, jar []*http.Cookie) *httptest.ResponseRecorder {
		h := document()
		for _, c := range jar {
			h.Add("Cookie", c.String())
		}
		return s.do(ask{target: target, header: h})
	}
	w := open("/sites/7", nil)
	jar := w.Result().Cookies()
	if len(jar) != 1 || !jar[0].HttpOnly || jar[0].SameSite != http.SameSiteLaxMode || strings.Contains(jar[0].Value, "sites") {
		t.Fatalf("cookies %v", jar)
	}
	w = open("/sites/7", jar)
	if w.Code != 401 || !strings.Contains(w.Body.String(), "Allow cookies for this site") {
		t.Fatalf("back again: %d %s", w.Code, w.Body)
	}
	gone := w.Result().Cookies()
	if len(gone) != 1 || gone[0].MaxAge >= 0 {
		t.Errorf("the cookie stays: %v", gone)
	}
	if w = open("/other", jar); w.Code != http.StatusSeeOther {
		t.Errorf("another page at once: %d, want 303", w.Code)
	}

	// A sign-in that comes back to another address each time ends too.
	jar = nil
	for i := range 10 {
		w = open("/back?n="+strings.Repeat("x", i), jar)
		if w.Code == 401 {
			if i != maxRedirects {
				t.Errorf("ended after %d redirects, want %d", i, maxRedirects)
			}
			return
		}
		jar = w.Result().Cookies()
	}
	t.Error("no end after ten redirects")
}

// A forged cookie gains nothing but a page in place of the redirect.
func TestForgedReturnCookie(t *testing.T) {
	s := newSite(t, redirectOptions)
	for _, value := range []string{"", ".", "x", "x.-1", "x.99999999999999999999", strings.Repeat("x", 4000), returnMark("/x")} {
		h := document()
		h.Add("Cookie", returnCookie+"="+value)
		w := s.do(ask{target: "/x", header: h})
		if w.Code != 401 && w.Code != 303 || w.Header().Get(reachedHeader) != "" {
			t.Errorf("%.20q: %d", value, w.Code)
		}
	}
}

// With on_refusal error the site's error routes answer; they know the code, and
// the challenge is there.
func TestRefusalAsAnError(t *testing.T) {
	signer := newSigner(t, testIssuer)
	s := newSiteFrom(t, signer, `
:80 {
	gatehouse {
		issuer `+testIssuer+` {
			keys `+signer.keyFile+`
			audience `+testAudience+`
		}
		on_refusal error
		require /admin/* role admin
		hide /internal/*
	}
	header `+reachedHeader+` ran
	respond "next"
	handle_errors {
		respond "{err.status_code} {http.gatehouse.code} {http.gatehouse.request_id} {err.message}"
	}
}`)
	w := s.do(ask{target: "/"})
	h := w.Header()
	if w.Code != 401 || !strings.HasPrefix(w.Body.String(), "401 credentials_missing ") || h.Get("WWW-Authenticate") == "" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %s %v", w.Code, w.Body, h)
	}
	w = s.do(ask{target: "/admin/x", token: s.token(t, nil)})
	if w.Code != 403 || !strings.HasPrefix(w.Body.String(), "403 role_missing ") || strings.Contains(w.Body.String(), "admin") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	w = s.do(ask{target: "/internal/x", token: s.token(t, nil)})
	if w.Code != 404 || !strings.HasPrefix(w.Body.String(), "404 ") {
		t.Errorf("hidden: got %d %s", w.Code, w.Body)
	}
}
