package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// previewed are all pages, written by `caddy gatehouse preview` and served with
// the policy that the gate sends.
type previewed struct {
	url   string
	pages []string // brand/language/code.html
}

// previewLanguages have words of every length, direction and kind of letters.
var previewLanguages = []string{"en", "ar", "ja", "de"}

func startPreview(t *testing.T) *previewed {
	t.Helper()
	dir := t.TempDir()
	args := []string{"gatehouse", "preview", dir, "--config", filepath.Join("testdata", "Preview.Caddyfile")}
	for _, tag := range previewLanguages {
		args = append(args, "--language", tag)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), beCaddy+"=1", "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := &previewed{}
	found, err := filepath.Glob(filepath.Join(dir, "*", "*", "*.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		name, err := filepath.Rel(dir, file)
		if err != nil {
			t.Fatal(err)
		}
		p.pages = append(p.pages, filepath.ToSlash(name))
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		if !slices.Contains(p.pages, name) {
			http.NotFound(w, r)
			return
		}
		page, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Security-Policy", policyOf(page))
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	}))
	t.Cleanup(server.Close)
	p.url = asLocalhost(server)
	return p
}

// asLocalhost is a server's URL by the one name that the browser may reach.
func asLocalhost(s *httptest.Server) string {
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
}

// policyOf is what TestPagesInChromium sees the gate send.
func policyOf(page []byte) string {
	_, rest, _ := bytes.Cut(page, []byte("<style>"))
	style, _, _ := bytes.Cut(rest, []byte("</style>"))
	sum := sha256.Sum256(style)
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// of are a language's pages, which must be as many as the catalogue has codes.
func (p *previewed) of(t *testing.T, tag string) []string {
	t.Helper()
	catalogue, err := os.ReadFile(filepath.Join("..", "templates", "locales", tag+".json"))
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`"([a-z_0-9]+)\.title"`).FindAllSubmatch(catalogue, -1)
	var found []string
	for _, name := range p.pages {
		if strings.Contains(name, "/"+tag+"/") {
			found = append(found, name)
		}
	}
	for _, code := range codes {
		suffix := "/" + tag + "/" + string(code[1]) + ".html"
		n := 0
		for _, name := range found {
			if strings.HasSuffix(name, suffix) {
				n++
			}
		}
		if n != 2 {
			t.Fatalf("%d brands have a page for %s in %s, want 2", n, code[1], tag)
		}
	}
	if len(codes) == 0 {
		t.Fatalf("%s has no codes", tag)
	}
	return found
}

func pageLooks() []look {
	return []look{
		{name: "forced colours", width: 1280, height: 900, scheme: "dark", forced: true},
		{name: "light", width: 1280, height: 900, scheme: "light"},
		{name: "dark", width: 1280, height: 900, scheme: "dark"},
		{name: "320 px", width: 320, height: 640, mobile: true, scheme: "light"},
	}
}

// zoomed is a window of 1280 by 1024 pixels at 400 % (WCAG 2.2, 1.4.10).
var zoomed = look{name: "400 %", width: 320, height: 256, zoom: 4, scheme: "light"}

// TestEveryPage looks at every page as people with all kinds of eyes and hands
// do.
func TestEveryPage(t *testing.T) {
	browser := startChromium(t)
	preview := startPreview(t)
	axe := readAxe(t)
	for _, tag := range previewLanguages {
		t.Run(tag, func(t *testing.T) {
			t.Parallel() // no Caddy runs here
			b := openTab(t, browser, pageLooks()[0])
			pages := preview.of(t, tag)
			for _, name := range pages {
				b.mustBeGood(t, axe, preview.url+"/"+name)
			}
			b.settle(t)
			requests, complaints := b.seen()
			if len(requests) != loads*len(pages) {
				t.Errorf("the browser sent %d requests for %d pages: %q", len(requests), len(pages), requests)
			}
			if len(complaints) > 0 {
				t.Errorf("the console says %q", complaints)
			}
		})
	}
}

// mustBeGood opens a page and tries it in every look.
func (b *tab) mustBeGood(t *testing.T, axe, url string) {
	t.Helper()
	var w *world
	for _, l := range append(pageLooks(), zoomed) {
		w = b.showPage(t, w, axe, url, l)
		for _, problem := range w.layout(t) {
			t.Errorf("%s, %s: %s", url, l.name, problem)
		}
		if l.name != zoomed.name {
			w.mustBeAccessible(t, url+", "+l.name)
		}
	}
	b.mustTabInOrder(t, evalIn[int](t, w, "document.links.length"))
	evalIn[int](t, w, readScript(t, "spacing.js"))
	for _, l := range append(pageLooks()[1:], zoomed) {
		b.show(t, l)
		for _, problem := range w.layout(t) {
			t.Errorf("%s, %s, wide text: %s", url, l.name, problem)
		}
	}
}

// showPage opens a page where it must: Chromium leaves some colours as they were
// when forced ones are turned on or off under a page.
func (b *tab) showPage(t *testing.T, shown *world, axe, url string, l look) *world {
	t.Helper()
	b.show(t, l)
	if shown != nil && shown.forced == l.forced {
		return shown
	}
	run(t, b, chromedp.Navigate(url))
	w := b.newWorld(t)
	w.forced = l.forced
	w.load(t, axe)
	return w
}

// loads is how often mustBeGood opens a page.
const loads = 2

// What must be found in pages that are wrong in one thing each: a test that
// finds nothing proves nothing unless it can.
func TestWrongPagesAreFound(t *testing.T) {
	browser := startChromium(t)
	axe := readAxe(t)
	const whole = `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>x</title><body><main><h1>Heading</h1>`
	for name, c := range map[string]struct {
		page, rule, layout string
		only               string // the look in which it shows
	}{
		"letters that are hardly there":    {page: whole + `<p style="color:#bbb">Text</p>`, rule: "color-contrast", only: "light,dark,320 px"},
		"the same in the dark":             {page: whole + `<style>@media(prefers-color-scheme:dark){p{color:#bbb}}</style><p>Text</p>`, rule: "color-contrast", only: "dark"},
		"the same in colours of one's own": {page: whole + `<style>@media(forced-colors:active){p{forced-color-adjust:none;color:#bbb;background:#fff}}</style><p>Text</p>`, rule: "color-contrast", only: "forced colours"},
		"the same in a narrow window":      {page: whole + `<style>@media(max-width:20rem){p{color:#bbb}}</style><p>Text</p>`, rule: "color-contrast", only: "320 px"},
		"a button without a name":          {page: whole + `<button style="width:3rem;height:3rem"></button>`, rule: "button-name"},
		"a link without a name":            {page: whole + `<a href="/" style="display:block;width:3rem;height:3rem"></a>`, rule: "link-name"},
		"no language":                      {page: strings.Replace(whole, ` lang="en"`, "", 1), rule: "html-has-lang"},
		"no zoom":                          {page: strings.Replace(whole, "device-width", "device-width,user-scalable=no", 1), rule: "meta-viewport"},
		"links too close": {
			page: whole + `<div style="font-size:10px;line-height:1"><a href="/a">One</a><br><a href="/b">Two</a><br><a href="/c">Three</a></div>`,
			rule: "target-size", layout: "too small to hit",
		},
		"a fixed width":         {page: whole + `<p style="width:600px">Text</p>`, layout: "the page scrolls sideways", only: "320 px"},
		"text that is cut off":  {page: whole + `<p style="height:1em;width:10em;overflow:hidden">Many words that do not all find room here</p>`, layout: "cut off"},
		"text on text":          {page: whole + `<p style="margin-top:-3rem">Text on the heading</p>`, layout: "lies on"},
		"an order of its own":   {page: whole + `<p><button tabindex="2">One</button>`, layout: "has an order of its own"},
		"seen in another order": {page: whole + `<div style="display:flex;flex-direction:column-reverse"><a class="button" href="/a" style="height:44px">One</a><a href="/b" style="height:44px">Two</a></div>`, layout: "comes after what it is seen before"},
		"a low button":          {page: whole + `<p><a class="button" href="/a" style="display:block;height:30px">One</a>`, layout: "the main button is"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(c.page))
			}))
			t.Cleanup(server.Close)
			b := openTab(t, browser, pageLooks()[0])
			var w *world
			for _, l := range pageLooks() {
				w = b.showPage(t, w, axe, asLocalhost(server), l)
				want := c.only == "" || slices.Contains(strings.Split(c.only, ","), l.name)
				if got := has(w.check(t).Violations, c.rule+": "); c.rule != "" && got != want {
					t.Errorf("%s: %s was found: %t, want %t", l.name, c.rule, got, want)
				}
				if problems := w.layout(t); c.layout != "" && has(problems, c.layout) != want {
					t.Errorf("%s: found %q, want one of %q: %t", l.name, problems, c.layout, want)
				}
			}
		})
	}
}

func has(list []string, start string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, start) })
}

// readAxe is axe-core as npm installed it.
func readAxe(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("node_modules", "axe-core", "axe.min.js"))
	if err == nil {
		return string(source)
	}
	const lack = "NO AXE-CORE: run npm ci in e2e/ to let it look at the pages"
	if os.Getenv("CI") == "true" {
		t.Fatal(lack)
	}
	t.Skip(lack) // only outside of CI, where a machine may have no npm
	return ""
}

func readScript(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
