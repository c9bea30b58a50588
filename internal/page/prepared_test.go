package page

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// direct renders without any preparation.
func direct(t testing.TB, p *Pages, lang, host string, r Refusal) string {
	t.Helper()
	r.RequestID = clean(r.RequestID)
	l := p.locale(lang)
	out, err := p.library.templates.execute(p.brands.find(host), l, &r, shapeOf(l, &r), actual{&r, l})
	if err != nil {
		t.Fatal(err)
	}
	body, _ := guard(nil, out)
	return string(body)
}

func prepared(p *Pages) int {
	n := 0
	for s := range p.library.rendered.pages.Values() {
		if s.pieces != nil {
			n++
		}
	}
	return n
}

// A prepared page is the page that the template makes of the same request, to
// the byte: html/template stays the judge of how a value is escaped.
func TestPreparedPagesAreWhatTheTemplateMakes(t *testing.T) {
	bare := Brand{Hosts: []string{"bare.example"}}
	logo := acme()
	logo.Hosts = []string{"logo.example"}
	logo.Logo = "data:image/png;base64,iVBORw0KGgo="
	p := newPages(t, Options{Brands: []Brand{acme(), bare, logo}})
	pages := 0
	for _, code := range p.Codes() {
		for _, r := range Samples(code) {
			pages++
			for _, host := range []string{"", "bare.example", "logo.example"} {
				for round := range 2 {
					got, _, err := p.Render(nil, HTML, "en", host, r)
					if err != nil {
						t.Fatal(err)
					}
					if want := direct(t, p, "en", host, r); string(got) != want {
						t.Fatalf("%s on %q, round %d: got\n%s\nwant\n%s", code, host, round, got, want)
					}
				}
			}
		}
	}
	// Every page of every brand, and none that could not be prepared.
	if n := prepared(p); n != 3*pages {
		t.Errorf("%d of %d pages are prepared", n, 3*pages)
	}
}

// An attacker chooses what stands in the slots.
func FuzzPrepared(f *testing.F) {
	f.Add("3f2b8c1e", "/a?b=c&d='\"<>", "say {{this}}", "admin, o'hara", int64(600), "300")
	f.Add("</code><script>", "/%2g%", "\x00\xff\u202e", "{", int64(1), "%")
	f.Add("Zq7kBz7Q", "/Zq7mm", "Zq7kA", "z7Q", int64(0), "")
	p := newPages(f, Options{Brands: []Brand{sampleBrand()}})
	f.Fuzz(func(t *testing.T, id, returnTo, message, roles string, seconds int64, maxAge string) {
		r := Refusal{
			Code: "role_missing", Status: 403, Method: "GET", RequestID: id, ReturnTo: returnTo, Address: roles,
			Time: time.Unix(seconds%(1<<37), 0), RetryAfter: time.Duration(seconds%1e6) * time.Second,
			Params: map[string]string{"roles": roles}, MaxAge: maxAge, ACRValues: message,
		}
		for _, code := range []string{"role_missing", "step_up_required", "address_denied", "keys_unavailable"} {
			r.Code, r.Status = code, sampleStatus(code)
			for _, words := range []string{"", message} {
				r.Message = words
				got, _, _ := p.Render(nil, HTML, "en", "", r)
				if want := direct(t, p, "en", "", r); string(got) != want {
					t.Fatalf("%s: got\n%s\nwant\n%s", code, got, want)
				}
			}
		}
	})
}

// A template that does more with a value than print it cannot be prepared, and
// must not show one visitor's value, or a mark, to another.
func TestTemplatesThatCutValuesAreNotPrepared(t *testing.T) {
	for name, c := range map[string]struct{ template, want string }{
		"a part of a value":  {`<b>{{printf "%.4s" .RequestID}}</b>`, "<b>3f2b</b>"},
		"its length":         {`<b>{{len (print .RequestID)}}</b>`, "<b>36</b>"},
		"an unquoted value":  {`<b title={{.Detail}}>x</b>`, "x"},
		"a URL inside a URL": {`<a href="/go?to={{.Login}}" target="_top">x</a>`, "/go?to=https%3a%2f%2flogin.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			own := folderOf(t, map[string]string{"401.html": `{{define "content"}}` + c.template + `{{end}}`})
			p := pagesOf(t, Sources{Builtin: os.DirFS(templatesDir), Templates: own}, Options{Brands: []Brand{acme()}})
			r := sample(401, "token_expired")
			for range 2 {
				got, _, _ := p.Render(nil, HTML, "en", "", r)
				if !strings.Contains(string(got), c.want) || strings.Contains(string(got), markStart) {
					t.Errorf("%s", got)
				}
				r.RequestID = "3f2b8c1e-0000-4000-8000-000000000000"
			}
		})
	}
}

// What stands in the query of a link is escaped for that, prepared or not.
func TestValuesInAnOperatorsLinks(t *testing.T) {
	own := folderOf(t, map[string]string{
		"blocks.html": `{{define "facts"}}<a href="https://help.example.com/?id={{.RequestID}}&amp;at={{.ISOTime}}" title="{{.RequestID}}" target="_top">x</a>{{end}}`,
	})
	p := pagesOf(t, Sources{Builtin: os.DirFS(templatesDir), Templates: own}, Options{})
	r := sample(403, "role_missing")
	r.RequestID = `a"b&c=d {e}`
	want := `<a href="https://help.example.com/?id=a%22b%26c%3dd%20%7be%7d&amp;at=2026-11-24T09%3a31%3a07Z" title="a&#34;b&amp;c=d &#123;e&#125;" target="_top">`
	if got, _, _ := p.Render(nil, HTML, "en", "", r); !strings.Contains(string(got), want) {
		t.Errorf("got %s", got)
	}
	if got := direct(t, p, "en", "", r); !strings.Contains(got, want) {
		t.Errorf("html/template makes %s", got)
	}
}

func TestPreparedPagesAreBounded(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{acme()}})
	r := sample(403, "role_missing")
	p.library.rendered.pages.SetMaximum(64 << 10)
	for status := 400; status < 600; status++ {
		for _, code := range p.Codes() {
			r.Status, r.Code = status, code
			if _, _, err := p.Render(nil, HTML, "en", "", r); err != nil {
				t.Fatal(err)
			}
		}
		p.library.rendered.pages.CleanUp()
		if w := p.library.rendered.pages.WeightedSize(); w > 64<<10 {
			t.Fatalf("%d bytes are kept", w)
		}
	}
	for range 100 { // codes that nobody listed are not kept at all
		r.Code += "x"
		if _, _, err := p.Render(nil, HTML, "en", "", r); err != nil {
			t.Fatal(err)
		}
	}
	for k := range p.library.rendered.pages.Keys() {
		if k.kind>>32 == 0 {
			t.Error("a page for a code that nobody listed is kept")
		}
	}
}

func TestPagesAreSafeForConcurrentUse(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{acme()}})
	want := direct(t, p, "en", "", sample(401, "token_expired"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				for _, code := range []string{"token_expired", "role_missing", "keys_unavailable"} {
					got, _, _ := p.Render(nil, HTML, p.Language("en"), "", sample(sampleStatus(code), code))
					if code == "token_expired" && string(got) != want {
						t.Error("another page")
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestRenderingAPageDoesNotAllocate(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{acme()}})
	buf := make([]byte, 0, 16<<10)
	r := sample(403, "role_missing")
	r.Params = map[string]string{"roles": "admin"}
	if n := testing.AllocsPerRun(100, func() { _, _, _ = p.Render(buf, HTML, p.Language("en-GB,en;q=0.5"), "panel.example.com", r) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// A thousand sites of one brand keep one brand's pages.
func TestBrandsThatLookTheSameAreShared(t *testing.T) {
	l := newPages(t, Options{}).library
	find := func(o Options) *brand {
		p, err := l.Pages(o)
		if err != nil {
			t.Fatal(err)
		}
		return p.brands.find("panel.example.com")
	}
	other := acme()
	other.Support = "/help"
	hosts := acme()
	hosts.Hosts = []string{"panel.example.com"}
	first := find(Options{Brands: []Brand{acme()}})
	if first != find(Options{Brands: []Brand{acme()}, Language: "en"}) || first != find(Options{Brands: []Brand{hosts}}) {
		t.Error("the same look twice")
	}
	for name, o := range map[string]Options{
		"another link":      {Brands: []Brand{other}},
		"another name":      {Realm: "Panel"},
		"another ancestors": {Brands: []Brand{acme()}, FrameAncestors: []string{"'self'"}},
	} {
		if find(o) == first {
			t.Error(name)
		}
	}
}

// A page in another code's words is that code's page, to the byte: neither the
// code nor what else the refusal brings may show, nor get into what is kept.
func TestWordsOfAnotherCode(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{acme()}})
	plain := Refusal{Status: 403, Code: "access_denied", RequestID: "id", Method: "GET"}
	want, _, _ := p.Render(nil, HTML, "de", "", plain)
	for _, code := range []string{"role_missing", "address_denied", "path_denied", "locked_out", "unheard_of"} {
		r := plain
		r.Code, r.Words = code, "access_denied"
		for range 2 {
			if got, _, _ := p.Render(nil, HTML, "de", "", r); string(got) != string(want) {
				t.Errorf("%s: got\n%s\nwant\n%s", code, got, want)
			}
		}
		body, _, _ := p.Render(nil, Problem, "de", "", r)
		if !strings.Contains(string(body), `"title":"Zugriff verweigert","status":403,"detail":"Zugriff verweigert."`) || !strings.Contains(string(body), `"code":"`+code+`"`) {
			t.Errorf("%s: %s", code, body)
		}
	}
}
