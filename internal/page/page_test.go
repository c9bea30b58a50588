package page

import (
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

const templatesDir = "../../templates"

// newPages makes pages of the built-in templates.
func newPages(t testing.TB, o Options) *Pages {
	t.Helper()
	return pagesOf(t, Sources{Builtin: os.DirFS(templatesDir)}, o)
}

func pagesOf(t testing.TB, s Sources, o Options) *Pages {
	t.Helper()
	l, err := Load(s)
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Pages(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// folderOf writes an operator's folder.
func folderOf(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func acme() Brand {
	return Brand{
		Name: "Acme Hosting", Color: "#0b57d0",
		Login:         "https://login.example.com/start?rd={return_to}&ui_locales={lang}",
		Logout:        "/logout?rd={return_to}",
		Home:          "/",
		Support:       "mailto:help@example.com?subject=Request%20{request_id}",
		RequestAccess: "https://help.example.com/access?request={request_id}",
		Links:         []Link{{"Status", "https://status.example.com/"}, {"Privacy", "/privacy"}},
	}
}

func sample(status int, code string) Refusal {
	return Refusal{
		Status: status, Code: code, Method: "GET", ReturnTo: "/domains?tab=dns&q=a b",
		RequestID: "3f2b8c1e-9d54-4a7b-8f60-2c1d5e7a9b34",
		Time:      time.Date(2026, 11, 24, 10, 31, 7, 500, time.FixedZone("CET", 3600)),
	}
}

// overlay is the real templates folder with some files replaced or added.
func overlay(t testing.TB, files map[string]string) fs.FS {
	t.Helper()
	m := fstest.MapFS{}
	dir := os.DirFS(templatesDir)
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(dir, name)
		m[name] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if text == "" {
			delete(m, name)
			continue
		}
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func designCodes() map[string]int {
	return map[string]int{
		"credentials_missing": 401, "credentials_malformed": 401, "credentials_ambiguous": 400, "token_invalid": 401,
		"token_expired": 401, "token_not_yet_valid": 401, "role_missing": 403, "claim_missing": 403, "scope_missing": 403,
		"address_denied": 403, "path_denied": 403, "origin_denied": 403, "request_ambiguous": 400, "too_early": 425,
		"keys_unavailable": 503, "internal_error": 500, "step_up_required": 401, "locked_out": 403, "throttled": 403,
	}
}

func TestEveryCodeHasWordsThatAreKind(t *testing.T) {
	p := newPages(t, Options{})
	l := p.locale("en")
	for code, status := range designCodes() {
		if _, ok := l.codes[code]; !ok {
			t.Errorf("%s has no words of its own", code)
		}
		w := l.say(&Refusal{Status: status, Code: code})
		for _, s := range []string{w.title, w.heading, w.detail} {
			if s == "" {
				t.Errorf("%s has an empty text", code)
			}
			for _, harsh := range []string{"forbidden", "denied", "unauthorized", "illegal", "error", "invalid"} {
				if strings.Contains(strings.ToLower(s), harsh) {
					t.Errorf("%s says %q: %s", code, harsh, s)
				}
			}
		}
	}
	if h := l.codes["credentials_missing"].heading; h != "Sign in to continue" {
		t.Errorf("heading of credentials_missing: %q", h)
	}
	if h := l.codes["token_expired"].heading; h != "Your session has ended" {
		t.Errorf("heading of token_expired: %q", h)
	}
}

func TestTemplateErrorsNameFileAndLine(t *testing.T) {
	content := func(s string) string { return "{{define \"content\"}}\n\n" + s + "\n{{end}}" }
	for name, c := range map[string]struct{ file, text, want string }{
		"a syntax error":                {"403.html", content("{{if}}"), "403.html:3: "},
		"a comparison with a value":     {"403.html", content(`{{if eq .RequestID "x"}}y{{end}}`), "403.html:3:5: executing \"content\" at <eq .RequestID \"x\">: error calling eq: incompatible types"},
		"an unknown field":              {"403.html", content("{{.Nothing}}"), "403.html:3:"},
		"an unknown key":                {"403.html", content(`{{.T "nothing"}}`), `has no key "nothing"`},
		"a key with parameter":          {"403.html", content(`{{.T "retry_minutes"}}`), "needs parameters"},
		"an unsafe context":             {"403.html", content(`<a href={{if .Home}}"{{end}}>`), "403.html:3"},
		"no content":                    {"403.html", "text", `403.html: found text outside of a {{define "…"}}; expected blocks alone`},
		"a block of another name":       {"blocks.html", `{{define "fotter"}}x{{end}}`, `blocks.html: no page includes the block "fotter"; did you mean "footer"?`},
		"a file of another name":        {"401.htm.html", content(""), `401.htm.html: no refusal has this page; did you mean `},
		"a file for a good status":      {"200.html", content(""), `200.html: no refusal has this page`},
		"a script":                      {"403.html", content("<SCRIPT>x()</SCRIPT>"), "403.html: found a script element"},
		"a style attribute":             {"403.html", content(`<p style="color:red">x</p>`), "403.html: found a style attribute"},
		"a URL html/template must drop": {"403.html", content(`<a href="{{printf "x:%s" .Code}}">x</a>`), "ZgotmplZ"},
		"an outside style sheet":        {"403.html", content(`<link rel="stylesheet" href="/x.css">`), "outside style sheet"},
		"double braces in a style":      {"403.html", content(`<style>@media print{ {{- /* join */ -}} {a{}}</style>`), `"{{" in the output`},
		"no error page":                 {"error.html", "", "error.html is missing"},
		"no base":                       {"base.html", "", "base.html"},
		"a base that is no document":    {"base.html", `{{define "heading"}}{{end}}{{define "icon"}}{{end}}{{define "next"}}{{end}}{{define "ask"}}{{end}}{{define "button"}}{{end}}{{template "content" .}}`, "expected a whole document"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Sources{Builtin: os.DirFS(templatesDir), Templates: folderOf(t, map[string]string{c.file: c.text})}
			if c.text == "" {
				s = Sources{Builtin: overlay(t, map[string]string{c.file: ""})}
			}
			_, err := Load(s)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
			if s.Templates != "" && !strings.HasPrefix(err.Error(), s.Templates+"/") {
				t.Errorf("the folder is not named: %v", err)
			}
		})
	}
}

func TestOptionErrorsSayWhatWasExpected(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"a language not there":    {Options{Language: "tlh"}, `language "tlh": there is no locales/tlh.json; expected the tag of a catalogue`},
		"a bad problem base":      {Options{ProblemBase: "javascript:x"}, `problem_base "javascript:x": expected https://`},
		"a bad login":             {Options{Brands: []Brand{{Name: "A", Login: "//evil.example"}}}, `brand "A": login "//evil.example"`},
		"a logo from outside":     {Options{Brands: []Brand{{Logo: "https://x.example/a.png"}}}, "expected a data: URI"},
		"a color that is none":    {Options{Brands: []Brand{{Color: "red"}}}, `color "red": expected rrggbb`},
		"a link without a label":  {Options{Brands: []Brand{{Links: []Link{{" ", "/x"}}}}}, "has no label"},
		"a label that turns text": {Options{Brands: []Brand{{Links: []Link{{"a\u202eb", "/x"}}}}}, "direction character"},
		"two default brands":      {Options{Brands: []Brand{{Name: "A"}, {Name: "B"}}}, `brand "B": there is a brand without hosts already`},
		"a host twice":            {Options{Brands: []Brand{{Hosts: []string{"a.example"}}, {Hosts: []string{"A.example."}}}}, "belongs to another brand"},
		"a host with a port":      {Options{Brands: []Brand{{Hosts: []string{"a.example:8443"}}}}, "without port"},
		"a host in Unicode":       {Options{Brands: []Brand{{Hosts: []string{"müller.example"}}}}, "xn--"},
		"a wildcard inside":       {Options{Brands: []Brand{{Hosts: []string{"a.*.example"}}}}, "expected a name"},
		"a name that turns text":  {Options{Brands: []Brand{{Name: "a\u202eb"}}}, "direction character"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newPages(t, Options{}).library.Pages(c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestALocaleIsAddedWithoutCode(t *testing.T) {
	p := pagesOf(t, Sources{Builtin: overlay(t, map[string]string{
		"locales/de.json":    `{"token_expired.heading": "Ihre Sitzung ist beendet", "role_missing.detail": "Nur allgemein."}`,
		"locales/ar.json":    `{"sign_in": "تسجيل الدخول"}`,
		"token_expired.html": `{{define "content"}}<h1 class="own">{{.Heading}}</h1>{{end}}`,
	})}, Options{})
	if got := p.Language("de-AT"); got != "de" {
		t.Errorf("language %q", got)
	}
	out, _, _ := p.Render(nil, HTML, "de", "", sample(401, "token_expired"))
	if s := string(out); !strings.Contains(s, `<h1 class="own">Ihre Sitzung ist beendet</h1>`) || !strings.Contains(s, `lang="de" dir="ltr"`) {
		t.Errorf("own page for a code: %s", s)
	}
	out, _, _ = p.Render(nil, HTML, "ar", "", sample(401, "token_invalid"))
	if s := string(out); !strings.Contains(s, `lang="ar" dir="rtl"`) || !strings.Contains(s, "Sign in to continue") {
		t.Error("a missing key falls back to English, the direction does not")
	}
	r := sample(403, "role_missing")
	r.Params = map[string]string{"roles": "admin"}
	if got := p.Detail("de", r); got != "Nur allgemein." {
		t.Errorf("an English named sentence beside a translated general one: %q", got)
	}
}

func TestAnUnknownCodeIsToldByItsStatus(t *testing.T) {
	p := newPages(t, Options{})
	for status, heading := range map[int]string{401: "Sign in to continue", 403: "You don’t have access to this page", 404: "This page could not be found", 409: "This could not be completed",
		429: "Please wait a moment", 500: "Something went wrong on our side", 503: "We’ll be right back"} {
		out, _, _ := p.Render(nil, HTML, "en", "", sample(status, "made_up"))
		if !strings.Contains(string(out), heading) {
			t.Errorf("%d: no %q", status, heading)
		}
	}
}

func TestWarningsAreNotShared(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{{Color: "#ffcc00"}}})
	w := p.Warnings()
	if len(w) != 1 || !strings.Contains(w[0], "#ffcc00") || !strings.Contains(w[0], "outline #") {
		t.Fatalf("warnings %q", w)
	}
	if again, err := p.library.Pages(Options{Brands: []Brand{{Color: "#ffcc00"}}}); err != nil || len(again.Warnings()) != 0 {
		t.Errorf("another site of the same brand warns again: %q %v", again.Warnings(), err)
	}
	w[0] = ""
	if p.Warnings()[0] == "" {
		t.Error("a caller can change the warnings")
	}
	if w := newPages(t, Options{Brands: []Brand{{Color: "#2f6fde"}, {Hosts: []string{"a.example"}}}}).Warnings(); len(w) != 0 {
		t.Errorf("a colour that is readable as it is: %q", w)
	}
}

func TestDesignCodesRehearseWithTheirOwnPage(t *testing.T) {
	for _, code := range slices.Sorted(maps.Keys(designCodes())) {
		if got, want := sampleStatus(code), designCodes()[code]; (want == 401 || want == 403) && got != want {
			t.Errorf("%s is rehearsed as %d", code, got)
		}
	}
}
