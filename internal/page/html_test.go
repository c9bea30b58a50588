package page

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestPagesAreOneSmallFileThatLoadsNothing(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{acme()}})
	outside := regexp.MustCompile(`(?i)<script|<iframe|<form|<object|<embed|@import|url\(|\son[a-z]+=|http-equiv`)
	for code, status := range designCodes() {
		for _, method := range []string{"GET", "POST"} {
			r := sample(status, code)
			r.Method, r.RetryAfter = method, 20*time.Second
			s, _ := render(t, p, HTML, r)
			if len(s) > 8<<10 {
				t.Errorf("%s: %d bytes", code, len(s))
			}
			if m := outside.FindString(s); m != "" {
				t.Errorf("%s holds %q", code, m)
			}
			count := map[string]int{}
			for _, e := range elements(t, s) {
				count[e.Data]++
				a := attributes(e)
				if e.Data == "a" && a["target"] != "_top" {
					t.Errorf("%s: a link would open inside a frame: %s", code, a["href"])
				}
				if e.Data == "link" && a["href"] != "data:," || e.Data == "img" {
					t.Errorf("%s: %s loads something", code, e.Data)
				}
			}
			if count["h1"] != 1 || count["main"] != 1 || count["title"] != 1 || count["style"] != 1 {
				t.Errorf("%s: %v", code, count)
			}
			if !strings.Contains(s, r.RequestID) || !strings.Contains(s, "2026-11-24 09:31:07 UTC") {
				t.Errorf("%s: no request id or time", code)
			}
		}
	}
}

// Letters of three bytes are no excuse.
func TestPagesAreSmallInEveryLanguage(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{acme()}})
	for _, tag := range p.Locales() {
		for _, code := range p.Codes() {
			for _, r := range Samples(code) {
				out, _, err := p.Render(nil, HTML, tag, "", r)
				if err != nil {
					t.Fatal(err)
				}
				if len(out) > 8<<10 {
					t.Errorf("%s in %s: %d bytes", code, tag, len(out))
				}
			}
		}
	}
}

func TestSignInPage(t *testing.T) {
	r := sample(401, "credentials_missing")
	s, _ := render(t, newPages(t, Options{Brands: []Brand{acme()}}), HTML, r)
	if !strings.Contains(s, `<p class="main"><a class="button" href="https://login.example.com/start?rd=%2Fdomains%3Ftab%3Ddns%26q%3Da%20b&amp;ui_locales=en" target="_top">Sign in</a></p>`) {
		t.Errorf("the button: %s", s)
	}
	if strings.Contains(s, "not saved") {
		t.Error("nothing is lost with a GET")
	}
	r.Method = "POST"
	s, _ = render(t, newPages(t, Options{Brands: []Brand{acme()}}), HTML, r)
	if !strings.Contains(s, "What you just sent was not saved.") {
		t.Error("a lost POST is said")
	}
	s, _ = render(t, newPages(t, Options{}), HTML, r)
	if strings.Contains(s, `class="button"`) || !strings.Contains(s, "Open the sign-in page you normally use") {
		t.Error("without a login page there is a sentence instead of a button")
	}
}

func TestNoPageIsADeadEnd(t *testing.T) {
	full, bare := newPages(t, Options{Brands: []Brand{acme()}}), newPages(t, Options{})
	for code, status := range designCodes() {
		s, _ := render(t, full, HTML, sample(status, code))
		if strings.Count(s, "<a ") < 4 {
			t.Errorf("%s: too few ways on", code)
		}
		s, _ = render(t, bare, HTML, sample(status, code))
		if !strings.Contains(s, "The request ID below helps") && !strings.Contains(s, "Open the sign-in page") {
			t.Errorf("%s: a dead end where nothing is configured", code)
		}
	}
	for code, want := range map[string]string{
		"role_missing": "Request access|Use another account|Contact support|Go to the start page", "scope_missing": "Request access|Use another account",
		"address_denied": "Connect from an approved network|Try again|Contact support", "path_denied": "Contact support|Go to the start page", "origin_denied": "Contact support|Go to the start page",
	} {
		s, _ := render(t, full, HTML, sample(403, code))
		for _, w := range strings.Split(want, "|") {
			if !strings.Contains(s, w) {
				t.Errorf("%s does not offer %q", code, w)
			}
		}
		if account := strings.HasSuffix(code, "_missing"); strings.Contains(s, "Use another account") != account {
			t.Errorf("%s: another account", code)
		}
	}
}

func TestRetryInWords(t *testing.T) {
	p := newPages(t, Options{})
	for d, want := range map[time.Duration]string{
		time.Second: "in a few seconds.", 16 * time.Second: "in about a minute.", 91 * time.Second: "after 09:33\u00a0UTC (in about 2 min).", time.Hour: "after 10:32\u00a0UTC (in about 60 min).",
		3 * time.Hour: "after 12:32\u00a0UTC.", 20 * time.Hour: "after 2026-11-25 05:32\u00a0UTC.",
	} {
		r := sample(503, "keys_unavailable")
		r.RetryAfter = d
		s, _ := render(t, p, HTML, r)
		if words := withoutIsolates(s); !strings.Contains(words, want) || !strings.Contains(s, `href="/domains?tab=dns&amp;q=a%20b" target="_top">Try again`) {
			t.Errorf("%s: no %q", d, want)
		}
		r.Method = "POST"
		if s, _ = render(t, p, HTML, r); strings.Contains(s, "Try again</a>") {
			t.Error("a link cannot repeat a POST")
		}
	}
}

// An operator's template works with the samples at load and fails with a real
// brand. The visitor must still be refused, on the built-in page.
func TestTemplateThatFailsAtRunTime(t *testing.T) {
	own := folderOf(t, map[string]string{"403.html": `{{define "content"}}<i>own</i>{{if eq .Name "Acme Hosting"}}{{.T "no such key"}}{{end}}{{end}}`})
	var reports []string
	p := pagesOf(t, Sources{Builtin: os.DirFS(templatesDir), Templates: own}, Options{
		Brands: []Brand{acme(), {Name: "Other", Hosts: []string{"other.example"}}},
		Report: func(err error) { reports = append(reports, err.Error()) },
	})
	r := sample(403, "role_missing")
	r.Message = "<b>{{x}}"
	for range 3 {
		s, csp := render(t, p, HTML, r)
		if !strings.Contains(s, "<h1>You don’t have access to this page</h1>") || !strings.Contains(s, "&lt;b&gt;&#123;&#123;x&#125;&#125;") || !strings.Contains(s, "Request access") {
			t.Errorf("not the built-in page: %s", s)
		}
		if !strings.Contains(csp, "style-src 'sha256-") {
			t.Errorf("policy %s", csp)
		}
	}
	if len(reports) != 1 || !strings.Contains(reports[0], own+"/403.html:1:") {
		t.Errorf("the operator is told %q", reports)
	}
	if out, _, _ := p.Render(nil, HTML, "en", "other.example", r); !strings.Contains(string(out), "<i>own</i>") {
		t.Error("another brand keeps the operator's page")
	}
}

func TestLogoIsEmbedded(t *testing.T) {
	logo, err := LoadLogo("x", []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`))
	if err != nil {
		t.Fatal(err)
	}
	p := newPages(t, Options{Brands: []Brand{{Name: `A "B"`, Logo: logo}}})
	s, _ := render(t, p, HTML, sample(401, "token_invalid"))
	for _, e := range elements(t, s) {
		if e.Data == "img" {
			if a := attributes(e); a["src"] != string(logo) || a["alt"] != `A "B"` {
				t.Errorf("%v", a)
			}
			return
		}
	}
	t.Error("no logo")
}
