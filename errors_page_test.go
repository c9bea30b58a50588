package gatehouse

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

var browser = http.Header{
	"Accept":         {"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"},
	"Sec-Fetch-Mode": {"navigate"},
	"Sec-Fetch-Dest": {"document"},
}

// A page must not be framed, run a script or ask for anything else.
func TestPageHeaders(t *testing.T) {
	s := newSite(t, `
		require /admin/* role admin
		brand {
			login /login?to={return_to}
		}`)
	for target, status := range map[string]int{"/x": 401, "/admin/x": 403} {
		a := ask{target: target, header: browser}
		if status == 403 {
			a.token = s.token(t, nil)
		}
		w := s.do(a)
		h, body := w.Header(), w.Body.String()
		if w.Code != status || h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %d %v", target, w.Code, h)
		}
		style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(body)
		if style == nil {
			t.Fatal("the page has no style")
		}
		sum := sha256.Sum256([]byte(style[1]))
		want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
		if got := h.Get("Content-Security-Policy"); got != want {
			t.Errorf("policy is\n%s, want\n%s", got, want)
		}
		if strings.Contains(body, "<script") || strings.Contains(strings.ToLower(body), "forbidden") {
			t.Error("the page has a script, or says forbidden")
		}
		if strings.Contains(body, "/login?to=") != (status == 401) {
			t.Errorf("%s: a sign-in button belongs on the 401 page alone", target)
		}
	}
}

// The status never depends on the body, but for gRPC.
func TestBodies(t *testing.T) {
	s := newSite(t, ``)
	for name, c := range map[string]struct {
		header      http.Header
		contentType string
		status      int
	}{
		"curl":           {http.Header{"Accept": {"*/*"}}, "application/problem+json", 401},
		"nothing":        {nil, "application/problem+json", 401},
		"a JSON client":  {http.Header{"Accept": {"application/json"}}, "application/json", 401},
		"a text client":  {http.Header{"Accept": {"text/plain"}}, "text/plain; charset=utf-8", 401},
		"a browser":      {browser, "text/html; charset=utf-8", 401},
		"an image":       {http.Header{"Sec-Fetch-Dest": {"image"}, "Accept": {"image/*"}}, "", 401},
		"a WebSocket":    {http.Header{"Upgrade": {"websocket"}}, "text/plain; charset=utf-8", 401},
		"a gRPC client":  {http.Header{"Content-Type": {"application/grpc+proto"}}, "application/grpc", 200},
		"an XHR in a UI": {http.Header{"X-Requested-With": {"XMLHttpRequest"}, "Accept": {"application/json, text/html;q=0.5"}}, "application/json", 401},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			w := s.do(ask{target: "/", header: c.header})
			if w.Code != c.status || w.Header().Get("Content-Type") != c.contentType {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Header().Get("Content-Type"), c.status, c.contentType)
			}
			if c.status == 200 && (w.Header().Get("Grpc-Status") != "16" || w.Header().Get(reachedHeader) != "" || w.Body.Len() != 0) {
				t.Errorf("gRPC headers are %v", w.Header())
			}
		})
	}
}

// Caddy's templates handler, around the gate, would execute braces from the
// request or the environment as a program.
func TestTemplateInjection(t *testing.T) {
	t.Setenv("GATEHOUSE_TEST_NAME", `{{env "GATEHOUSE_TEST_SECRET"}}`)
	t.Setenv("GATEHOUSE_TEST_SECRET", "sesame")
	s := newSite(t, `
		require /named/* {
			role admin
			message {env.GATEHOUSE_TEST_NAME}
		}
		brand {
			name {env.GATEHOUSE_TEST_NAME}
			login /login?to={return_to}
			support mailto:help@example.com
		}`, "templates {\nmime text/html application/problem+json text/plain\n}")
	token := s.token(t, nil)
	for _, accept := range []string{"text/html", "application/json", "text/plain", "*/*"} {
		for _, target := range []string{`/x?{{env%20"GATEHOUSE_TEST_SECRET"}}`, "/named/x"} {
			a := ask{target: "/", header: http.Header{"Accept": {accept}}, change: func(r *http.Request) {
				r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
				r.RequestURI = target
			}}
			if target == "/named/x" {
				a.token = token
			}
			w := s.do(a)
			if (w.Code != 401 && w.Code != 403) || strings.Contains(w.Body.String(), "sesame") || strings.Contains(w.Body.String(), "{{") {
				t.Errorf("%s, %s: %d %s", accept, target, w.Code, w.Body)
			}
		}
	}
}

// What an earlier handler set for the panel's own responses is not ours.
func TestEarlierHeadersAreReplaced(t *testing.T) {
	s := newSite(t, ``, `header {
		ETag abc
		Cache-Control "public, max-age=3600"
		WWW-Authenticate Basic
		Content-Type text/css
	}`)
	w := s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/"})
	assertRefusalHeaders(t, w, `Bearer realm="gatehouse"`, "")
}

// detail decides how much a 403 tells: an attacker with any account must not
// learn the panel's roles by default.
func TestDetail(t *testing.T) {
	for detail, want := range map[string]map[string]bool{
		"quiet": {},
		"role":  {"superuser": true},
		"full":  {"superuser": true, "write:all": true, "plan_of_theirs": true, "192.0.2.1": true},
	} {
		s := newSite(t, `
			require /role/* role superuser
			require /scope/* scope write:all
			require /claim/* claim plan_of_theirs gold
			require /address/* ip 203.0.113.7
			require /said/* {
				role superuser
				message "Ask Eve."
			}
			pages {
				detail `+detail+`
			}`)
		token := s.token(t, nil)
		for target, secret := range map[string]string{"/role/x": "superuser", "/scope/x": "write:all", "/claim/x": "plan_of_theirs", "/address/x": "192.0.2.1"} {
			w := s.do(ask{target: target, token: token})
			if w.Code != 403 || strings.Contains(w.Body.String(), secret) != want[secret] {
				t.Errorf("detail %s, %s: %d %s", detail, target, w.Code, w.Body)
			}
		}
		if w := s.do(ask{target: "/said/x", token: token}); !strings.Contains(w.Body.String(), `"detail":"Ask Eve."`) {
			t.Errorf("detail %s: the operator's message is not told: %s", detail, w.Body)
		}
	}
}

// return_to leads back to where the visitor was, and nowhere else.
func TestReturnTo(t *testing.T) {
	s := newSite(t, `
		token header Authorization Bearer
		token query ticket
		brand {
			login https://id.example.com/login?to={return_to}&lang={lang}
		}`, "rewrite /old/* /new")
	href := regexp.MustCompile(`href="(https://id\.example\.com/[^"]*)"`)
	for target, want := range map[string]string{
		"/sites/7?tab=a b":    "%2Fsites%2F7%3Ftab%3Da%20b",
		"/old/x":              "%2Fold%2Fx",
		"//evil.example/x":    "%2F",
		"/x?ticket=abc&y=1":   "%2Fx%3Fy%3D1",
		"/x?access_token=abc": "%2Fx",
		"/%09/evil.example":   "%2F",
	} {
		target = strings.ReplaceAll(target, " ", "%20")
		want = strings.ReplaceAll(want, "%20b", "%2520b")
		w := s.do(ask{target: "/", header: browser, change: func(r *http.Request) { setTarget(t, r, target) }})
		found := href.FindStringSubmatch(w.Body.String())
		if found == nil || found[1] != "https://id.example.com/login?to="+want+"&amp;lang=en" {
			t.Errorf("%s: button leads to %v, want %s; %d", target, found, want, w.Code)
		}
	}
}
