package gatehouse

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

const (
	// injectionMark stands in every payload.
	injectionMark = "zzq9"
	// injectionLoot is what a payload that is executed or resolved gives away.
	injectionLoot = "sesame-street"
)

// injections are what an attacker puts wherever something might be shown. Line
// breaks are not in all of them: few places let them arrive.
func injections() []string {
	return []string{
		injectionMark + `<script>alert(1)</script>`,
		injectionMark + `"><img src=x onerror=alert(1)>`,
		injectionMark + `' onmouseover='alert(1)`,
		injectionMark + `</title></style><script>x</script>`,
		injectionMark + `javascript:alert(1)//--><svg/onload=x>`,
		injectionMark + `{{env "GATEHOUSE_TEST_LOOT"}}{{.Req.Header}}`,
		injectionMark + `{{/*`,
		injectionMark + `[[env "GATEHOUSE_TEST_LOOT"]][[.Req.Host]]`,
		injectionMark + `{env.GATEHOUSE_TEST_LOOT}{http.request.header.X-Loot}{http.request.host}{system.os}`,
		injectionMark + `{$GATEHOUSE_TEST_LOOT}`,
		injectionMark + "\r\nX-Zzq9: 1\r\n\r\n<script>x</script>",
		injectionMark + "\x00\x1b[31m\u202e\u2028<b>",
		injectionMark + "\xff\xfe<script>x</script>",
		injectionMark + "\\u003cscript>\\\"}",
	}
}

// injectionSites are three sites that differ in the templates handler around
// everything: none, one that executes all our bodies, one with other delimiters.
func injectionSites(t *testing.T, signer *signer, onRefusal string) map[string]*site {
	t.Helper()
	sites := make(map[string]*site)
	for name, around := range map[string]string{
		"bare":      "",
		"templates": "templates {\nmime text/html application/problem+json application/json text/plain\n}",
		"brackets":  "templates {\nmime text/html application/problem+json application/json text/plain\nbetween [[ ]]\n}",
	} {
		sites[name] = newSiteFrom(t, signer, `
{
	servers {
		trusted_proxies static 192.0.2.0/24
	}
}
:80 {
	route {
		`+around+`
		gatehouse {
			issuer `+testIssuer+` {
				keys `+signer.keyFile+`
				audience `+testAudience+`
			}
			token header Authorization Bearer
			token cookie panel
			token query ticket
			public /pass/*
			deny /closed/*
			require /role/* role admin
			require /claim/* claim {env.GATEHOUSE_TEST_NAME} gold
			require /scope/* scope write
			require /user/* user root
			require /office/* ip 203.0.113.0/24
			require /said/* {
				role admin
				message {env.GATEHOUSE_TEST_TEXT}
			}
			brand {
				name {env.GATEHOUSE_TEST_TEXT}
				login /login?to={return_to}&lang={lang}
				logout /logout?to={return_to}
				support https://help.example.com/?id={request_id}&from={return_to}
				request_access mailto:help@example.com?subject={request_id}
				link {env.GATEHOUSE_TEST_TEXT} /imprint
			}
			pages {
				detail full
			}
			challenge {
				realm {env.GATEHOUSE_TEST_REALM}
			}
			cors {
				origins https://app.example.com
			}
			on_refusal `+onRefusal+`
		}
		error /pass/* 403
		respond "next"
	}
	handle_errors {
		`+around+`
		gatehouse_page
	}
}`)
	}
	return sites
}

// bodyKinds ask for each body that there is.
func bodyKinds() map[string]http.Header {
	return map[string]http.Header{
		"page": browser, "problem": {"Accept": {"*/*"}}, "json": {"Accept": {"application/json"}}, "text": {"Accept": {"text/plain"}},
		"empty": {"Sec-Fetch-Dest": {"image"}}, "upgrade": {"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}, "grpc": {"Content-Type": {"application/grpc"}},
	}
}

// injectionPoints put a payload into each part of a request.
func injectionPoints(t *testing.T, s *signer) map[string]func(r *http.Request, payload string) {
	points := map[string]func(r *http.Request, payload string){
		"the path":               func(r *http.Request, p string) { aimAt(r, r.URL.Path+escapeTarget(p)) },
		"the query":              func(r *http.Request, p string) { aimAt(r, r.URL.Path+"?q="+escapeTarget(p)) },
		"the query, encoded":     func(r *http.Request, p string) { aimAt(r, r.URL.Path+"?q="+url.QueryEscape(p)) },
		"the token in the query": func(r *http.Request, p string) { aimAt(r, r.URL.Path+"?ticket="+escapeTarget(p)) },
		"the host":               func(r *http.Request, p string) { r.Host = p },
		"the token":              func(r *http.Request, p string) { r.Header.Set("Authorization", "Bearer "+p) },
		"the cookie":             func(r *http.Request, p string) { r.Header.Set("Cookie", "panel="+p) },
		"another cookie":         func(r *http.Request, p string) { r.Header.Set("Cookie", returnCookie+"="+p) },
		"the address":            func(r *http.Request, p string) { r.Header.Set("X-Forwarded-For", "fe80::1%"+p) },
		"the subject":            func(r *http.Request, p string) { bear(r, s.token(t, claims{"sub": p})) },
		"the roles":              func(r *http.Request, p string) { bear(r, s.token(t, claims{"roles": []string{p}})) },
		"the scopes":             func(r *http.Request, p string) { bear(r, s.token(t, claims{"scope": p})) },
		"a claim":                func(r *http.Request, p string) { bear(r, s.token(t, claims{"plan": p, p: p})) },
		"the expired subject":    func(r *http.Request, p string) { bear(r, s.token(t, claims{"sub": p, "exp": 1})) },
		"the issuer":             func(r *http.Request, p string) { bear(r, s.token(t, claims{"iss": p})) },
	}
	for _, name := range []string{
		"Referer", "User-Agent", "Origin", "Accept", "Accept-Language", "Accept-Encoding", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Uri", "X-Forwarded-Prefix", "Forwarded",
		"X-Original-Url", "X-Rewrite-Url", "X-Request-Id", "X-Real-Ip", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-Site", "X-Requested-With", "Hx-Request", "Content-Type",
		"Sec-Websocket-Protocol", "Access-Control-Request-Method", "Access-Control-Request-Headers", "X-Http-Method-Override", "Via", "Range", "If-None-Match", "Authorization",
	} {
		points[name] = func(r *http.Request, p string) { r.Header.Set(name, p) }
	}
	return points
}

// Whatever a visitor sends and whatever an operator writes: nothing of it runs,
// is resolved, breaks out of its place or reaches a header, in no body, neither
// of the gate nor of gatehouse_page, and a templates handler around them makes
// of them what they are.
func TestInjectionThroughAWholeSite(t *testing.T) {
	t.Setenv("GATEHOUSE_TEST_LOOT", injectionLoot)
	t.Setenv("GATEHOUSE_TEST_TEXT", strings.Join([]string{`zzq"><script>x</script>`, `{{env "GATEHOUSE_TEST_LOOT"}}`, `[[env "GATEHOUSE_TEST_LOOT"]]`, "{env.GATEHOUSE_TEST_LOOT}", `' onload='x`}, " "))
	t.Setenv("GATEHOUSE_TEST_NAME", `zzq"><script>x</script>{{env "GATEHOUSE_TEST_LOOT"}}[[env "GATEHOUSE_TEST_LOOT"]]`)
	t.Setenv("GATEHOUSE_TEST_REALM", `zzq"><script>{{env "GATEHOUSE_TEST_LOOT"}}{env.GATEHOUSE_TEST_LOOT}`)
	signer := newSigner(t, testIssuer)
	sites := injectionSites(t, signer, "respond")
	token := signer.token(t, nil)
	points, kinds := injectionPoints(t, signer), bodyKinds()
	asked, reflected := 0, 0
	for _, point := range slices.Sorted(maps.Keys(points)) {
		for _, payload := range injections() {
			for i, path := range []string{"/open/", "/role/", "/claim/", "/scope/", "/user/", "/office/", "/said/", "/closed/", "/pass/", "/early/"} {
				kind := slices.Sorted(maps.Keys(kinds))[(asked+i)%len(kinds)] // each body meets each payload, point and path
				asked++
				reflected += injectInto(t, sites, point+" on "+path+" as "+kind+": "+strconv.Quote(payload), ask{target: path, header: kinds[kind].Clone(), change: func(r *http.Request) {
					if path != "/open/" {
						bear(r, token)
					}
					if path == "/early/" { // told with a link to try again, where the path is shown
						aimAt(r, "/office/")
						r.TLS = &tls.ConnectionState{}
					}
					points[point](r, payload)
				}})
				if t.Failed() {
					return
				}
			}
		}
	}
	if reflected == 0 {
		t.Error("no payload was reflected, so nothing was tested")
	}
}

// injectInto sends one request to each site.
func injectInto(t *testing.T, sites map[string]*site, where string, a ask) (reflected int) {
	t.Helper()
	bare := sites["bare"].do(a)
	reflected = checkInjection(t, where, bare)
	if bare.Body.String() == "next" {
		return 0 // who passes has none of our bodies
	}
	for name, s := range sites {
		if got, want := onTheWire(s.do(a), ""), onTheWire(bare, ""); got != want {
			t.Errorf("%s: %s around the gate changes it: %s", where, name, difference(got, want))
		}
	}
	return reflected
}

// checkInjection returns 1 if the answer holds something of the payload.
func checkInjection(t *testing.T, where string, w *httptest.ResponseRecorder) int {
	t.Helper()
	body := w.Body.String()
	if w.Code == 200 && w.Header().Get("Grpc-Status") == "" && body != "next" || w.Code >= 500 {
		t.Fatalf("%s: status %d %s", where, w.Code, body)
	}
	for name, values := range w.Header() {
		for _, value := range append(values, name) {
			if strings.ContainsAny(value, "\r\n\x00") || strings.Contains(value, injectionMark) || strings.Contains(value, injectionLoot) {
				t.Errorf("%s: header %s is %q", where, name, value)
			}
		}
	}
	for _, bad := range []string{injectionLoot, "{{", "[[", "\r", "\x00", "\x1b", "\u202e", "\u2028"} {
		if strings.Contains(body, bad) {
			t.Errorf("%s: the body holds %q", where, bad)
		}
	}
	switch kind := w.Header().Get("Content-Type"); {
	case strings.HasPrefix(kind, "text/html"):
		checkElements(t, where, body)
	case strings.HasPrefix(kind, "application/"):
		if strings.ContainsAny(body, "<>") {
			t.Errorf("%s: markup in %s", where, body)
		}
	case strings.HasPrefix(kind, "text/plain"):
		// What a visitor sent is in no text at all; the operator's is.
		if strings.Contains(body, injectionMark) {
			t.Errorf("%s: told in %q", where, body)
		}
	}
	if strings.Contains(body, injectionMark) {
		return 1
	}
	return 0
}

// checkElements looks for what a browser would make of a page.
func checkElements(t *testing.T, where, body string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type == html.CommentNode {
			t.Errorf("%s: a comment got in: %s", where, n.Data)
		}
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script", "img", "iframe", "object", "embed", "base", "form":
			t.Errorf("%s: an element got in: %s", where, n.Data)
		}
		for _, attr := range n.Attr {
			if strings.HasPrefix(attr.Key, "on") || strings.Contains(attr.Key, injectionMark) {
				t.Errorf("%s: an attribute got in: %s", where, attr.Key)
			}
			if attr.Key == "href" && !isExpectedLink(attr.Val) {
				t.Errorf("%s: a link leads to %q", where, attr.Val)
			}
		}
	}
}

// isExpectedLink knows the links of injectionSites.
func isExpectedLink(href string) bool {
	for _, start := range []string{"/login?to=", "/logout?to=", "https://help.example.com/?id=", "mailto:help@example.com?subject=", "data:,"} {
		if strings.HasPrefix(href, start) {
			return true
		}
	}
	return href == "/imprint" || strings.HasPrefix(href, "/office/") || strings.HasPrefix(href, "/early/") // to try again
}

// With on_refusal redirect the payload travels on in Location, as one value of
// one parameter; with error the error routes get the code and nothing else.
func TestInjectionThroughRedirectsAndErrors(t *testing.T) {
	t.Setenv("GATEHOUSE_TEST_LOOT", injectionLoot)
	for _, name := range []string{"TEXT", "NAME", "REALM"} {
		t.Setenv("GATEHOUSE_TEST_"+name, "plain")
	}
	signer := newSigner(t, testIssuer)
	redirecting, failing := injectionSites(t, signer, "redirect"), injectionSites(t, signer, "error")
	redirects := 0
	kinds := bodyKinds()
	for point, inject := range injectionPoints(t, signer) {
		for i, payload := range injections() {
			a := ask{target: "/open/", header: document(), change: func(r *http.Request) { inject(r, payload) }}
			for name, s := range redirecting {
				where := fmt.Sprintf("%s, redirect, %s: %q", point, name, payload)
				w := s.do(a)
				location := w.Header().Get("Location")
				w.Header().Del("Location")
				checkInjection(t, where, w)
				if location == "" {
					continue
				}
				redirects++
				to, err := url.Parse(location)
				if err != nil || w.Code != 303 || to.Path != "/login" || len(to.Query()) != 2 || strings.Trim(location, unreservedInURLs) != "" {
					t.Errorf("%s: %d to %q", where, w.Code, location)
				}
			}
			kind := slices.Sorted(maps.Keys(kinds))[i%len(kinds)]
			a.header = kinds[kind].Clone()
			injectInto(t, failing, point+", error, as "+kind+": "+strconv.Quote(payload), a)
			if t.Failed() {
				return
			}
		}
	}
	if redirects == 0 {
		t.Error("nothing was redirected")
	}
}

const unreservedInURLs = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/?=&%"

// A line break in the realm would be a header of the attacker's; other signs
// would not arrive as they are.
func TestRealmFromTheEnvironmentIsChecked(t *testing.T) {
	for _, realm := range []string{"a\r\nSet-Cookie: x=1", "a\nb", "a\x00b", "é", "a\x7fb"} {
		t.Setenv("GATEHOUSE_TEST_REALM", "x")
		g := &Gatehouse{Challenge: &Challenge{Realm: realm}}
		if _, err := g.compileChallenge(); err == nil {
			t.Errorf("realm %q is taken", realm)
		}
	}
}

func bear(r *http.Request, token string) { r.Header.Set("Authorization", "Bearer "+token) }

// aimAt sets a target that net/http would take from the wire, whatever it
// holds.
func aimAt(r *http.Request, target string) {
	parsed, err := url.ParseRequestURI(target)
	if err != nil {
		return // it would have answered 400 itself
	}
	r.URL, r.RequestURI = parsed, target
}

// escapeTarget encodes what ends a target on the wire, and leaves the rest raw.
func escapeTarget(s string) string {
	return strings.NewReplacer(" ", "%20", "\r", "%0D", "\n", "%0A", "\x00", "%00", "\x1b", "%1B", "%", "%25").Replace(s)
}
