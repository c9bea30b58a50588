package gatehouse

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// siteWithErrors has a gate, what comes after and perhaps before it, and error
// routes.
func siteWithErrors(t *testing.T, options, routes, errorRoutes string, before ...string) *site {
	t.Helper()
	signer := newSigner(t, testIssuer)
	return newSiteFrom(t, signer, `
:80 {
	route {
		`+strings.Join(before, "\n")+`
		gatehouse {
			issuer `+testIssuer+` {
				keys `+signer.keyFile+`
				audience `+testAudience+`
			}
			`+options+`
		}
		`+routes+`
	}
	handle_errors {
		`+errorRoutes+`
	}
}`)
}

// onTheWire is an answer to the byte, without what is new each time and without
// the path, if both sides of a comparison differ in it.
func onTheWire(w *httptest.ResponseRecorder, path string) string {
	var b strings.Builder
	b.WriteString(http.StatusText(w.Code) + "\n")
	_ = w.Header().Write(&b)
	b.WriteString(w.Body.String())
	text := uuidPattern.ReplaceAllString(b.String(), "ID")
	text = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d`).ReplaceAllString(text, "TIME")
	if path == "" {
		return text
	}
	return strings.NewReplacer(path, "PATH", strings.ReplaceAll(path, "/", "%2F"), "PATH").Replace(text)
}

// difference is the first line in which two answers differ.
func difference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return fmt.Sprintf("%q and %q", as[i], bs[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(as), len(bs))
}

// A scanner compares what is hidden with what is missing, in every body and
// language, with HEAD, from another site, and through a page that tells both.
func TestHiddenAndMissingAreAlikeOnThePage(t *testing.T) {
	root := t.TempDir()
	writeFile(t, root+"/internal/plan.txt", "the plan")
	s := siteWithErrors(t, `
		hide /internal/* /api/hidden/*
		cors {
			origins https://app.example.com
		}
		brand {
			support https://help.example.com/?from={return_to}
		}
		pages {
			format /api/* json
		}`, "file_server {\nroot "+root+"\n}", "gatehouse_page")
	token := s.token(t, nil)
	for name, header := range map[string]http.Header{
		"a browser": browser, "curl": nil, "a JSON client": {"Accept": {"application/json"}}, "text": {"Accept": {"text/plain"}},
		"an image": {"Sec-Fetch-Dest": {"image"}}, "German": {"Accept-Language": {"de"}, "Accept": {"text/html"}},
		"a listed origin": {"Origin": {"https://app.example.com"}}, "another origin": {"Origin": {"https://evil.example"}},
		"a WebSocket": {"Upgrade": {"websocket"}}, "conditional": {"If-None-Match": {"*"}}, "a range": {"Range": {"bytes=0-1"}},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			for hidden, missing := range map[string]string{"/internal/plan.txt": "/elsewhere/its.txt", "/api/hidden/x": "/api/absent/x"} {
				a := s.do(ask{method: method, target: hidden, token: token, header: header})
				b := s.do(ask{method: method, target: missing, token: token, header: header})
				if a.Code != 404 || onTheWire(a, hidden) != onTheWire(b, missing) {
					t.Errorf("%s %s, %s: %d; it and what is missing differ: %s", method, hidden, name, a.Code, difference(onTheWire(a, hidden), onTheWire(b, missing)))
				}
			}
		}
	}
}

// Error routes that go by path or print placeholders would tell what is hidden
// from what is missing in the same folder.
func TestErrorRoutesCannotTellWhatIsHidden(t *testing.T) {
	s := siteWithErrors(t, `
		hide /api/internal/* *.bak
		public /shop/*`, "error 404", `
		@api path /api/*
		respond @api "api {err.status_code} [{http.gatehouse.code}] [{http.gatehouse.rule}] [{http.gatehouse.request_id}]"
		@shop path /shop/*
		respond @shop "shop {err.status_code} [{http.gatehouse.code}]"
		@text path *.txt
		respond @text "text {err.status_code}"
		respond "other {err.status_code} [{http.gatehouse.code}]"`)
	token := s.token(t, nil)
	for hidden, missing := range map[string]string{
		"/api/internal/x":     "/api/missing",
		"/api/internal/x.txt": "/api/missing.txt",
		"/api/old.bak":        "/api/old",
		"/shop/old.bak":       "/shop/old",
		"/old.bak":            "/old",
	} {
		a, b := s.do(ask{target: hidden, token: token}), s.do(ask{target: missing, token: token})
		if a.Code != 404 || onTheWire(a, hidden) != onTheWire(b, missing) {
			t.Errorf("%s is %d %s\n%s is %d %s", hidden, a.Code, a.Body, missing, b.Code, b.Body)
		}
	}
}
