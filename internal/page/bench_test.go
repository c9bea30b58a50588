package page

import (
	"net/http"
	"testing"
)

func benchmarkRender(b *testing.B, body Body) {
	p := newPages(b, Options{Brands: []Brand{acme()}})
	r := sample(401, "token_expired")
	buf := make([]byte, 0, 32<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := p.Render(buf[:0], body, "en", "panel.example.com", r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRenderHTML(b *testing.B)    { benchmarkRender(b, HTML) }
func BenchmarkRenderProblem(b *testing.B) { benchmarkRender(b, Problem) }
func BenchmarkRenderText(b *testing.B)    { benchmarkRender(b, Text) }

func BenchmarkChoose(b *testing.B) {
	h := http.Header{"Accept": {chromeAccept}}
	b.ReportAllocs()
	for b.Loop() {
		if Choose(h, false, Auto) != HTML {
			b.Fatal("a browser gets a page")
		}
	}
}

func BenchmarkLanguage(b *testing.B) {
	p := newPages(b, Options{})
	b.ReportAllocs()
	for b.Loop() {
		p.Language("de-CH,de;q=0.9,en-GB;q=0.8,en;q=0.7,fr;q=0.5")
	}
}

func BenchmarkReturnTo(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ReturnTo("GET", "/domains/example.com/dns?tab=records&page=2", nil)
	}
}

// BenchmarkCopy is what copying the bytes of such a page takes.
func BenchmarkCopy(b *testing.B) {
	p := newPages(b, Options{Brands: []Brand{acme()}})
	page, _, err := p.Render(nil, HTML, "en", "panel.example.com", sample(401, "token_expired"))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 32<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf = append(buf[:0], page...)
	}
}

// BenchmarkLoad is what a configuration pays once, BenchmarkPages what each of
// its gates pays.
func BenchmarkLoad(b *testing.B) {
	files := map[string]string{}
	for _, tag := range all() {
		files["locales/"+tag+".json"] = readFile(b, templatesDir+"/locales/en.json")
	}
	root := overlay(b, files)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(Sources{Builtin: root}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPages(b *testing.B) {
	l := newPages(b, Options{}).library
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Pages(Options{Brands: []Brand{acme()}}); err != nil {
			b.Fatal(err)
		}
	}
}
