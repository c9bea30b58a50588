package gatehouse

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the operator insists on goes before what the client asks for. The first
// line that matches counts, in the path that was asked for or the one served.
func TestFormats(t *testing.T) {
	s := newSite(t, `
		pages {
			format json
			format /api/* problem
			format @feed text
			format POST /pages/* auto
			format /pages/* /api/docs html
		}`, "@feed header X-Feed *", "rewrite /moved/* /new")
	const html, problem = "text/html; charset=utf-8", "application/problem+json"
	for name, c := range map[string]struct {
		method, target string
		header         http.Header
		want           string
	}{
		"a browser where all is JSON":     {"GET", "/x", browser, "application/json"},
		"a browser at the API":            {"GET", "/api/x", browser, problem},
		"the first of two that match":     {"GET", "/api/docs", browser, problem},
		"a named matcher":                 {"GET", "/x", http.Header{"X-Feed": {"1"}}, "text/plain; charset=utf-8"},
		"curl at the pages":               {"GET", "/pages/x", nil, html},
		"auto, by method":                 {"POST", "/pages/x", nil, problem},
		"a HEAD of the pages":             {"HEAD", "/pages/x", nil, html},
		"gRPC, whatever the operator has": {"POST", "/pages/x", http.Header{"Content-Type": {"application/grpc"}}, "application/grpc"},
		"a WebSocket, likewise":           {"GET", "/pages/x", http.Header{"Upgrade": {"websocket"}}, "text/plain; charset=utf-8"},
		"a path that was rewritten":       {"GET", "/moved/x", browser, "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.do(ask{method: c.method, target: c.target, header: c.header})
			if got := w.Header().Get("Content-Type"); got != c.want {
				t.Errorf("got %d %q, want %q", w.Code, got, c.want)
			}
		})
	}
}

// A path that a rewrite hid still has its own format.
func TestFormatsSeeThePathThatWasAskedFor(t *testing.T) {
	s := newSite(t, "pages {\nformat /moved/* text\n}", "rewrite /moved/* /new")
	if got := s.do(ask{target: "/moved/x", header: browser}).Header().Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("got %q", got)
	}
}

func TestFrameAncestors(t *testing.T) {
	s := newSite(t, "pages {\nframe_ancestors 'self' https://panel.example.com\n}")
	h := s.do(ask{target: "/", header: browser}).Header()
	if csp := h.Get("Content-Security-Policy"); !strings.HasSuffix(csp, "; frame-ancestors 'self' https://panel.example.com") {
		t.Errorf("policy %s", csp)
	}
	if got, there := h["X-Frame-Options"]; there {
		t.Errorf("X-Frame-Options %q would forbid what the policy allows", got)
	}
}

func TestProblemBase(t *testing.T) {
	s := newSite(t, "pages {\nproblem_base https://docs.example.com/problems/\n}")
	if body := s.do(ask{target: "/"}).Body.String(); !strings.HasPrefix(body, `{"type":"https://docs.example.com/problems/credentials_missing",`) {
		t.Errorf("got %s", body)
	}
}

// The operator's words and templates, and the built-in ones for the rest.
func TestOperatorsPages(t *testing.T) {
	s := newSite(t, `
		pages {
			templates testdata/files/pages
			locales testdata/files/locales
			language de
		}`)
	html := http.Header{"Accept": {"text/html"}, "Accept-Language": {"sw"}}
	w := s.do(ask{target: "/", header: html})
	if body := w.Body.String(); !strings.Contains(body, `<html lang="sw"`) || !strings.Contains(body, "Our own foot.") || !strings.Contains(body, "<h1>") {
		t.Errorf("got %s", body)
	}
	if got := s.do(ask{target: "/"}).Header().Get("Content-Language"); got != "de" {
		t.Errorf("the language is %q", got)
	}
}

// Who is refused by address learns which address that is: it is what the
// administrator will ask for. Programs are told in full detail only.
func TestVisitorsSeeTheirOwnAddress(t *testing.T) {
	s := newSite(t, "require ip 203.0.113.7\ndeny /closed")
	body := s.do(ask{target: "/x", header: browser}).Body.String()
	if !strings.Contains(body, `<dt>Your IP address</dt> <dd><code dir="ltr">192.0.2.1</code></dd>`) || strings.Contains(body, "203.0.113.7") {
		t.Errorf("the page says %s", body)
	}
	if body := s.do(ask{target: "/x"}).Body.String(); strings.Contains(body, "192.0.2.1") {
		t.Errorf("a program is told %s", body)
	}
	if body := s.do(ask{target: "/closed", header: browser}).Body.String(); strings.Contains(body, "192.0.2.1") {
		t.Error("the address explains nothing here")
	}
}

// What each detail tells, to the byte: quiet names no role, scope, claim, path,
// network or issuer.
func TestDetailGolden(t *testing.T) {
	var got strings.Builder
	varying := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d`)
	text := regexp.MustCompile(`<p class="lead"[^>]*>.*?</p>|<dd>.*?</dd>`)
	for _, detail := range []string{"quiet", "role", "full"} {
		s := newSite(t, `
			require /role/* role superuser owner
			require /scope/* scope write:all read:all
			require /claim/* claim plan_of_theirs gold
			require /user/* user somebody_else
			require /address/* ip 203.0.113.0/24
			deny /path/*
			pages {
				detail `+detail+`
			}`)
		token := s.token(t, nil)
		for _, rule := range []string{"role", "scope", "claim", "user", "address", "path"} {
			fmt.Fprintf(&got, "== %s: %s\n", detail, rule)
			for _, accept := range []string{"application/json", "text/plain", "text/html"} {
				w := s.do(ask{target: "/" + rule + "/x", token: token, header: http.Header{"Accept": {accept}}})
				body := w.Body.String()
				if accept == "text/html" {
					body = strings.Join(text.FindAllString(body, -1), "\n")
				}
				body = varying.ReplaceAllString(body, "…")
				fmt.Fprintf(&got, "%d %s\n%s\n", w.Code, accept, strings.TrimSpace(body))
			}
		}
	}
	golden := filepath.Join("testdata", "detail.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want := readDoc(t, golden); got.String() != want {
		t.Errorf("got\n%s", got.String())
	}
	quiet, _, _ := strings.Cut(got.String(), "== role:")
	for _, secret := range []string{"superuser", "write:all", "plan_of_theirs", "gold", "somebody_else", "203.0.113", testIssuer, "/path"} {
		if strings.Contains(quiet, secret) {
			t.Errorf("quiet names %q", secret)
		}
	}
}

// By default nobody who is refused learns what would have let them in: in no
// body, no header, and no placeholder that an error route would print.
func TestQuietNamesNothingAnywhere(t *testing.T) {
	const options = `
		require /theirs/role/* {
			role superuser
			name rule-of-theirs
		}
		require /theirs/scope/* scope write:all
		require /theirs/claim/* claim plan_of_theirs gold
		require /theirs/user/* user somebody_else
		require /theirs/issuer/* issuer ` + testIssuer + `
		require /theirs/address/* ip 203.0.113.0/24
		require /theirs/any/* {
			any {
				role superuser
				ip 203.0.113.0/24
				claim plan_of_theirs gold
			}
		}
		deny /theirs/path/*
		on_refusal `
	secrets := []string{
		"superuser", "rule-of-theirs", "write:all", "plan_of_theirs", "gold\"", "somebody_else", "203.0.113", testIssuer, "id.example", "theirs", "Caddyfile", "192.0.2.1", `"sub"`, "audience", testAudience + `"`,
	}
	for _, c := range []struct{ onRefusal, errorRoutes string }{
		{"respond", "respond {err.message}"},
		{"error", `respond "{err.status_code} {err.message} {err.trace} {http.gatehouse.code} {http.gatehouse.request_id}"`},
		{"error", "gatehouse_page"},
	} {
		s := siteWithErrors(t, options+c.onRefusal, "respond next", c.errorRoutes)
		for who, token := range map[string]string{
			"anonymous": "", "recognised": s.token(t, nil), "of another issuer": s.token(t, claims{"iss": "https://other.example"}), "for another audience": s.token(t, claims{"aud": "other"}), "forged": s.token(t, nil) + "x",
		} {
			for _, rule := range []string{"role", "scope", "claim", "user", "issuer", "address", "any", "path"} {
				for kind, header := range bodyKinds() {
					w := s.do(ask{target: "/theirs/" + rule + "/x", token: token, header: header.Clone()})
					text := onTheWire(w, "")
					if kind == "page" { // which shows visitors their own address and where they were
						text = strings.NewReplacer(`<code dir="ltr">192.0.2.1</code>`, "", `href="/theirs/`, "").Replace(text)
					}
					for _, secret := range secrets {
						if strings.Contains(text, secret) && w.Body.String() != "next" {
							t.Errorf("%s, %s at %s as %s: told %q in\n%s", c.onRefusal, who, rule, kind, secret, text)
						}
					}
				}
			}
		}
	}
}

// A thousand sites share templates, catalogues and prepared pages.
func TestGatesShareTheirPages(t *testing.T) {
	gate := "gatehouse {\nissuer internal {\naudience panel\n}\n"
	s := newSiteFrom(t, newSigner(t, internalIssuer), `
		:80 {
			route /a/* {
				`+gate+`}
			}
			route /b/* {
				`+gate+`pages {
					language en
				}
			}
			}
			route /c/* {
				`+gate+`pages {
					templates testdata/files/pages
				}
			}
			}
		}`)
	if n := len(s.app.libraries); n != 2 {
		t.Errorf("%d libraries for two pairs of folders", n)
	}
}
