package gatehouse

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/page"
)

// strangeTargets are request targets that some reader could take for another
// host, as far as net/http lets them in.
func strangeTargets() []string {
	var all []string
	for _, start := range []string{"/", "//", "/.", "/..", "/a/..", "/%2e", "/;", "/x;", "/@", "/:", "/+", "http://example.com", "http://example.com/", "http://evil.example", "https://evil.example/", "//u:p@"} {
		for _, join := range []string{
			"", "/", "//", "%2f", "%2F%2f", "%252f", "%25252f", "%5c", "%255c", "\\", "%09/", "%0a/", "%0d%0a", "%00/", "%20/", "%7f/", ";/", "%3b/", "#", "%23/", "?", "?//", "@", "%40", ".//", "..//", "%2e%2e//",
			"%c2%a0/", "%c2%ad/", "%e2%80%8b/", "%e2%80%a8/", "%ef%bb%bf/", "%ef%bc%8f", "%ef%bc%bc", "%ef%bc%852f", "%ef%bc%8e%ef%bc%8e/", "%e2%88%95", "%ff/", "%c0%af", "%u2215", "&#47;", "\t/", "{}/",
		} {
			for _, host := range []string{"evil.example", "/evil.example/%2f..", "evil.example?a=//evil.example&b=%0d%0aX:y"} {
				all = append(all, start+join+host)
			}
		}
	}
	return all
}

// However the address of a refused visit is written, every way by which the
// login page learns of it is either a safe path of this host or the root: the
// button, the link to try again, the redirect, and what programs are told.
func TestOpenRedirectThroughASite(t *testing.T) {
	const brand = `
		brand {
			login https://id.example.com/login?to={return_to}
			logout /logout?to={return_to}
			support https://help.example.com/?from={return_to}
		}`
	answering := newSite(t, brand+"\nrequire /office/* ip 203.0.113.9")
	redirecting := newSite(t, brand+"\non_refusal redirect")
	shapes, deep := 0, 0
	for _, target := range strangeTargets() {
		parsed, err := url.ParseRequestURI(target)
		if err != nil {
			continue // net/http answers 400 itself
		}
		shapes++
		aim := func(r *http.Request) { r.URL, r.RequestURI = parsed, target }
		want := page.ReturnTo("GET", target, nil)
		if want == "" {
			want = "/"
		} else {
			deep++
		}
		w := answering.do(ask{target: "/", header: browser, change: aim})
		for name, got := range addressesIn(t, w) {
			if got != want && got != "/" || !isSafeAddress(got) {
				t.Errorf("%q: the %s leads back to %q, want %q", target, name, got, want)
			}
		}
		for _, accept := range []string{"application/json", "*/*"} {
			w = answering.do(ask{target: "/", header: http.Header{"Accept": {accept}}, change: aim})
			var body struct {
				Login   string `json:"login_url"`
				Support string `json:"support_url"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Support != "https://help.example.com/?from=%2F" {
				t.Errorf("%q: programs are told %s", target, w.Body)
			}
			if w.Code == 401 && body.Login != "https://id.example.com/login?to=%2F" {
				t.Errorf("%q: programs are told %s", target, w.Body)
			}
		}
		w = redirecting.do(ask{target: "/", header: document(), change: aim})
		location, err := url.Parse(w.Header().Get("Location"))
		switch {
		case w.Code == http.StatusSeeOther:
			if err != nil || location.Host != "id.example.com" || location.Path != "/login" || len(location.Query()) != 1 || location.Query().Get("to") != want {
				t.Errorf("%q: redirected to %v, want back to %q", target, location, want)
			}
		case w.Code == 401 && want == "/", w.Code == 400:
			if w.Header().Get("Location") != "" {
				t.Errorf("%q: %d with a Location", target, w.Code)
			}
		default:
			t.Errorf("%q: %d", target, w.Code)
		}
	}
	if shapes < 800 || deep < 100 {
		t.Errorf("%d shapes, %d of which have an address of their own", shapes, deep)
	}
}

// addressesIn finds what the links of a page lead back to.
func addressesIn(t *testing.T, w *httptest.ResponseRecorder) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(w.Body.String(), -1) {
		link, err := url.Parse(strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#91;", "[", "&#93;", "]", "&#123;", "{", "&#125;", "}", "&#39;", "'").Replace(m[1]))
		if err != nil {
			t.Fatalf("link %q: %v", m[1], err)
		}
		switch {
		case link.Host == "id.example.com":
			found["button"] = link.Query().Get("to")
		case link.Host == "help.example.com":
			found["support link"] = link.Query().Get("from")
		case link.Path == "/logout":
			found["logout link"] = link.Query().Get("to")
		case link.Scheme == "data":
		default:
			found[fmt.Sprintf("link %q", m[1])] = link.String()
		}
	}
	return found
}

// isSafeAddress reports a path of this host, at every level of encoding.
func isSafeAddress(s string) bool {
	base := &url.URL{Scheme: "https", Host: "panel.example.com", Path: "/login"}
	for range 6 {
		u, err := base.Parse(s)
		if err == nil && u.Host != base.Host || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") ||
			strings.ContainsFunc(s, func(r rune) bool { return r == '\\' || r < ' ' || r == 0x7f }) {
			return false
		}
		if s, err = url.PathUnescape(s); err != nil {
			return true
		}
	}
	return true
}

// The body of a POST is gone after signing in: who comes back would open
// something that answers to GET alone.
func TestReturnToOfWhatCannotBeRepeated(t *testing.T) {
	s := newSite(t, "brand {\nlogin /login?to={return_to}\n}", "method /override/* GET", "rewrite /override/* /deep/path")
	for _, c := range []struct {
		method, target string
		header         http.Header
		want           string
	}{
		{"POST", "/deep/path", nil, "%2F"},
		{"DELETE", "/deep/path", nil, "%2F"},
		{"POST", "/override/x", nil, "%2F"},
		{"GET", "/override/x", nil, "%2Foverride%2Fx"},
		{"HEAD", "/deep/path", nil, ""},
		{"GET", "/deep/path?a=1&access_token=eyJhbGciOiJub25lIn0.e30.c2ln&b=2", nil, "%2Fdeep%2Fpath%3Fa%3D1%26b%3D2"},
		{"GET", "/deep/path", http.Header{"X-Forwarded-Uri": {"//evil.example"}, "X-Original-Url": {"//evil.example"}, "Referer": {"https://evil.example"}, "X-Forwarded-Host": {"evil.example"}}, "%2Fdeep%2Fpath"},
	} {
		w := s.do(ask{method: c.method, target: c.target, header: join(browser, c.header)})
		if body := w.Body.String(); w.Code != 401 || c.want != "" && !strings.Contains(body, `href="/login?to=`+c.want+`"`) || strings.Contains(body, "evil") {
			t.Errorf("%s %s: %d\n%s", c.method, c.target, w.Code, body)
		}
	}
}
