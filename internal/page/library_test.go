package page

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

func htmlOf(t *testing.T, p *Pages, lang string, status int, code string) string {
	t.Helper()
	out, _, err := p.Render(nil, HTML, lang, "", sample(status, code))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Whatever the operator's folder does not define stays as it was.
func TestOperatorReplacesFilesAndBlocks(t *testing.T) {
	builtin := os.DirFS(templatesDir)
	own := folderOf(t, map[string]string{
		"blocks.html":        `{{define "footer"}}<footer>our foot</footer>{{end}}{{define "ask"}}<p>our help</p>{{end}}`,
		"role_missing.html":  `{{define "ask"}}<p>our role help</p>{{end}}`,
		"429.html":           `{{define "content"}}<h1>{{.Heading}}</h1><p>our pace</p>{{end}}`,
		"token_expired.html": `{{define "content"}}<h1>our session</h1>{{template "button" .}}{{end}}`,
		"notes.txt":          "not a template",
	})
	p := pagesOf(t, Sources{Builtin: builtin, Templates: own}, Options{Brands: []Brand{acme()}})
	for _, c := range []struct {
		status      int
		code        string
		want, never string
	}{
		{403, "role_missing", "<h1>You don’t have|What you can do|our role help|our foot|Request ID", "our help"},
		{403, "scope_missing", "<h1>This needs one more|What you can do|our help|our foot", "our role help"},
		{429, "status_429", "<h1>Please wait a moment|our pace|our foot", "our help"},
		{401, "token_expired", "<h1>our session|Sign in again|our foot", "Your session has ended</h1>"},
		{401, "token_invalid", "<h1>Sign in to continue|Sign in</a>|our foot", "our session"},
		{503, "keys_unavailable", "<h1>We’ll be right back|our help|our foot", "our pace"},
	} {
		got := htmlOf(t, p, "en", c.status, c.code)
		for want := range strings.SplitSeq(c.want, "|") {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in %s", c.code, want, got)
			}
		}
		if strings.Contains(got, c.never) {
			t.Errorf("%s: found %q", c.code, c.never)
		}
	}

	own = folderOf(t, map[string]string{"base.html": `<!doctype html><html lang="{{.Lang}}"><title>{{.Title}}</title><body class="ours">{{template "content" .}}{{template "facts" .}}`})
	p = pagesOf(t, Sources{Builtin: builtin, Templates: own}, Options{})
	got, csp, _ := p.Render(nil, HTML, "en", "", sample(403, "role_missing"))
	if s := string(got); !strings.Contains(s, `<body class="ours">`) || !strings.Contains(s, "<h1>You don’t have") || !strings.Contains(s, "Request ID") || strings.Contains(s, "<style") {
		t.Errorf("the operator's document: %s", s)
	}
	if !strings.Contains(csp, "style-src 'none'") {
		t.Errorf("policy %s", csp)
	}
}

func TestOperatorReplacesSentences(t *testing.T) {
	own := folderOf(t, map[string]string{
		"en.json": `{"sign_in": "Log in", "role_missing.detail_named": "Only {roles}, sorry."}`,
		"sw.json": `{"token_invalid.heading": "Ingia ili kuendelea"}`,
	})
	p := pagesOf(t, Sources{Builtin: os.DirFS(templatesDir), Locales: own}, Options{Brands: []Brand{acme()}})
	if got := htmlOf(t, p, "en", 401, "token_invalid"); !strings.Contains(got, ">Log in</a>") || !strings.Contains(got, "Contact support") {
		t.Errorf("English: %s", got)
	}
	if got := htmlOf(t, p, p.Language("sw-KE"), 401, "token_invalid"); !strings.Contains(got, "<h1>Ingia ili kuendelea</h1>") || !strings.Contains(got, ">Log in</a>") {
		t.Errorf("a new language, filled up with the operator's English: %s", got)
	}
	r := sample(403, "role_missing")
	r.Params = map[string]string{"roles": "admin"}
	if got := p.Detail("en", r); got != "Only admin, sorry." {
		t.Errorf("got %q", got)
	}
}

func TestFoldersThatAreNone(t *testing.T) {
	builtin := os.DirFS(templatesDir)
	file := folderOf(t, map[string]string{"a": ""}) + "/a"
	for name, c := range map[string]struct {
		s    Sources
		want string
	}{
		"no built-in templates":      {Sources{}, "no templates were given"},
		"a templates folder missing": {Sources{Builtin: builtin, Templates: "/no/such"}, "templates: stat /no/such"},
		"a locales folder missing":   {Sources{Builtin: builtin, Locales: "/no/such"}, "locales: stat /no/such"},
		"a file":                     {Sources{Builtin: builtin, Templates: file}, "is a file; expected a folder"},
		"no templates in it":         {Sources{Builtin: builtin, Templates: t.TempDir()}, "found no *.html file"},
		"no catalogues in it":        {Sources{Builtin: builtin, Locales: t.TempDir()}, "found no <tag>.json file"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Load(c.s); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestFrameAncestorsAreSources(t *testing.T) {
	for _, s := range []string{"'self'", "'none'", "https:", "http:", "https://a.example", "http://localhost:3000", "*.example.com", "https://*.example.com:*", "a.example:8443"} {
		if err := CheckAncestors([]string{s}); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", "*", "self", "none", "'unsafe-inline'", "javascript:", "data:", "ftp://a.example", "https://", "https://a.example/path", "a.example; script-src *", "a,b", "https://a.example:x", "https://a.example:", "a b", "*.*.example", "\"", "https://é.example"} {
		if err := CheckAncestors([]string{s}); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	if err := CheckAncestors([]string{"'self'", "'none'"}); err == nil {
		t.Error("'none' stands beside another")
	}
}

// A login page must not be asked for an age or a strength that nobody needs.
func TestStepUpFillsInTheLoginURL(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{{Login: "https://id.example.com/a?rd={return_to}&max_age={max_age}&acr_values={acr_values}&x=1#f"}}})
	for _, c := range []struct{ maxAge, acr, want string }{
		{"", "", "https://id.example.com/a?rd=%2F&amp;x=1#f"},
		{"300", "", "https://id.example.com/a?rd=%2F&amp;max_age=300&amp;x=1#f"},
		{"", "urn:a b", "https://id.example.com/a?rd=%2F&amp;acr_values=urn%3Aa%20b&amp;x=1#f"},
		{"0", "silver", "https://id.example.com/a?rd=%2F&amp;max_age=0&amp;acr_values=silver&amp;x=1#f"},
	} {
		r := Refusal{Status: 401, Code: "step_up_required", MaxAge: c.maxAge, ACRValues: c.acr}
		got, _, _ := p.Render(nil, HTML, "en", "", r)
		if !strings.Contains(string(got), `href="`+c.want+`" target="_top">Confirm and continue</a>`) {
			t.Errorf("%q %q: %s", c.maxAge, c.acr, got)
		}
		body, _, _ := p.Render(nil, JSON, "en", "", r)
		if want := `"login_url":"` + strings.ReplaceAll(c.want, "&amp;", "&") + `"`; !strings.Contains(string(body), want) {
			t.Errorf("%q %q: no %s in %s", c.maxAge, c.acr, want, body)
		}
	}
	for raw, want := range map[string]string{"/a?m={max_age}": "/a", "/a?m={max_age}#f": "/a#f", "/a?b=1&m={max_age}": "/a?b=1", "/{max_age}": "/{max_age}", "/a?m=x{max_age}": "/a?m=x{max_age}"} {
		if got := without(raw, "max_age", "acr_values"); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
}

func TestReadmeNamesWhatTemplatesSee(t *testing.T) {
	readme := readFile(t, "../../README.md")
	for _, v := range []any{view{}, part{}, way{}, footLink{}, shades{}} {
		for field := range reflect.TypeOf(v).Fields() {
			if field.IsExported() && !strings.Contains(readme, "`."+field.Name+"`") {
				t.Errorf("the README does not name .%s", field.Name)
			}
		}
	}
	for _, block := range newPages(t, Options{}).library.builtin.kinds["403"].Templates() {
		if name := block.Name(); !strings.Contains(readme, "`"+name+"`") {
			t.Errorf("the README does not name the block %s", name)
		}
	}
}
