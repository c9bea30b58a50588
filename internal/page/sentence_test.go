package page

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func withoutIsolates(s string) string {
	return strings.NewReplacer("<bdi>", "", "</bdi>", "").Replace(s)
}

// In a sentence that runs from right to left, 2001:db8::1 is shown as
// db8::1:2001, and a date with its year at the other end: somebody who asks for
// access would give away a wrong address. What comes with the request is
// therefore isolated from the sentence around it, in every language.
func TestValuesKeepTheirDirection(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{acme()}})
	long := sample(503, "keys_unavailable")
	long.RetryAfter = 20 * time.Hour
	short := long
	short.RetryAfter = 5 * time.Minute
	lead := regexp.MustCompile(`(?s)<p class="lead.*?</p>`)
	for _, tag := range p.Locales() {
		for _, c := range []struct {
			refusal Refusal
			values  []string
		}{
			{told("role_missing", "roles", "2fa-admin, o'hara"), []string{"2fa-admin, o&#39;hara"}},
			{told("scope_missing", "scopes", "2:read"), []string{"2:read"}},
			{told("claim_missing", "claim", "3d.unit"), []string{"3d.unit"}},
			{told("address_denied", "address", "2001:db8::1"), []string{"2001:db8::1"}},
			{long, []string{"2026-11-25 05:32\u00a0UTC"}},
			{short, []string{"09:37\u00a0UTC", "5"}},
		} {
			for round := range 2 { // rendered, and prepared
				out, _, err := p.Render(nil, HTML, tag, "", c.refusal)
				if err != nil {
					t.Fatal(err)
				}
				s := strings.Join(lead.FindAllString(string(out), -1), "\n")
				for _, value := range c.values {
					if !strings.Contains(s, "<bdi>"+value+"</bdi>") {
						t.Errorf("%s in %s, round %d: %q is not isolated in\n%s", c.refusal.Code, tag, round, value, s)
					}
				}
				if n := strings.Count(s, "<bdi>"); n != len(c.values) {
					t.Errorf("%s in %s: %d isolated parts, want %d", c.refusal.Code, tag, n, len(c.values))
				}
				if id := `<code dir="ltr">` + c.refusal.RequestID + "</code>"; !strings.Contains(string(out), id) {
					t.Errorf("%s in %s: the request id has no direction of its own", c.refusal.Code, tag)
				}
			}
		}
	}
}

// An operator's template that prints a sentence keeps working.
func TestSentencesAreTextToTemplates(t *testing.T) {
	own := folderOf(t, map[string]string{"403.html": `{{define "content"}}<i>{{.Detail}}</i>{{with .Ask}}{{len .Parts}}{{end}}{{end}}`})
	p := pagesOf(t, Sources{Builtin: os.DirFS(templatesDir), Templates: own}, Options{})
	for range 2 {
		s, _, err := p.Render(nil, HTML, "en", "", told("role_missing", "roles", "a<b"))
		if err != nil {
			t.Fatal(err)
		}
		if want := "<i>You are signed in, but this area is for accounts with one of these roles: a&lt;b.</i>1"; !strings.Contains(string(s), want) {
			t.Errorf("no %s in %s", want, s)
		}
	}
	if prepared(p) != 1 {
		t.Error("the page is not prepared")
	}
}

func told(code, parameter, value string) Refusal {
	r := sample(403, code)
	r.Params = map[string]string{parameter: value}
	return r
}
