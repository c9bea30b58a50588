package e2e

import (
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// Somebody prints a page, or saves it as PDF for a ticket, from a desktop that
// is dark: black on white, one sheet, and every address in letters.
func TestPrint(t *testing.T) {
	browser := startChromium(t)
	preview := startPreview(t)
	b := openTab(t, browser, looks()[0])
	for _, name := range []string{"1-harbour-panel/en/credentials_missing", "1-harbour-panel/en/role_missing", "1-harbour-panel/ar/role_missing", "2-quay/de/locked_out"} {
		b.show(t, look{width: 700, height: 1000, scheme: "dark", media: "print"})
		run(t, b, chromedp.Navigate(preview.url+"/"+name+".html"))
		v := run(t, b, chromedp.Evaluate[view](readView))
		for _, text := range v.Texts {
			if c := contrast(t, text.Color, "rgb(255, 255, 255)"); c < 4.5 || strings.HasPrefix(text.Background, "rgb(0") {
				t.Errorf("%s: %q is printed in %s on %s", name, text.Text, text.Color, text.Background)
			}
		}
		if light := luminance(t, v.Card.Background); light < 0.9 {
			t.Errorf("%s: the card is printed in %s", name, v.Card.Background)
		}
		if missing := run(t, b, chromedp.Evaluate[[]string](`[...document.links].filter(e => /^(https?|mailto):/.test(e.getAttribute("href")) &&
			!getComputedStyle(e, "::after").content.includes(e.getAttribute("href"))).map(e => e.innerText)`)); len(missing) > 0 {
			t.Errorf("%s: no address is printed for %q", name, missing)
		}
		pdf := call(t, b, page.PrintToPDF, page.PrintToPDFParams{PaperWidth: 8.27, PaperHeight: 11.69}).Data
		if n := len(regexp.MustCompile(`/Type\s*/Page\b`).FindAll(pdf, -1)); n != 1 {
			t.Errorf("%s: printed on %d sheets", name, n)
		}
	}
}

// In Arabic everything but addresses runs from right to left, arrows included.
func TestRightToLeft(t *testing.T) {
	browser := startChromium(t)
	preview := startPreview(t)
	b := openTab(t, browser, looks()[0])
	type mirror struct {
		Dir            string
		Start, End     float64 // room before the words of the first way on, and behind them
		Arrow          string
		First, Second  float64 // places of the footer's links
		ID             string
		Forward, Naked bool // the clock time reads from left to right; and without <bdi>
	}
	read := func(name string) mirror {
		run(t, b, chromedp.Navigate(preview.url+"/1-harbour-panel/"+name+".html"))
		return run(t, b, chromedp.Evaluate[mirror](`(() => {
			const way = document.querySelector(".ways a"), a = way?.getBoundingClientRect(), s = way?.querySelector("span").getBoundingClientRect();
			const rtl = document.documentElement.dir == "rtl", feet = [...document.querySelectorAll("footer a")].map(e => e.getBoundingClientRect().x);
			const forward = n => {
				const at = i => { const r = document.createRange(); r.setStart(n, i); r.setEnd(n, i + 1); return r.getBoundingClientRect().left; };
				const from = n.data.search(/\d\d:\d\d\sUTC/);
				return at(from) < at(from + 6);
			};
			const time = document.querySelector(".when bdi");
			const out = {Dir: document.documentElement.dir, Start: way ? (rtl ? a.right - s.right : s.left - a.left) : 0, End: way ? (rtl ? s.left - a.left : a.right - s.right) : 0,
				Arrow: way ? getComputedStyle(way, "::after").transform : "", First: feet[0], Second: feet[1],
				ID: getComputedStyle(document.querySelector(".facts code")).direction};
			if (time) {
				out.Forward = forward(time.firstChild);
				time.replaceWith(time.firstChild);
				const p = document.querySelector(".when");
				p.normalize();
				out.Naked = forward(p.firstChild);
			}
			return out;
		})()`))
	}
	for _, code := range []string{"role_missing", "scope_missing"} {
		en, ar := read("en/"+code), read("ar/"+code)
		if ar.Dir != "rtl" || en.Dir != "ltr" || ar.ID != "ltr" {
			t.Errorf("%s: %q in Arabic, %q in English; request id %q", code, ar.Dir, en.Dir, ar.ID)
		}
		if ar.Start != en.Start || ar.Start > 24 || ar.End < 24 {
			t.Errorf("%s: words start %.0f px from the edge in Arabic (%.0f px behind), %.0f px in English", code, ar.Start, ar.End, en.Start)
		}
		if ar.Arrow == en.Arrow || !strings.HasPrefix(ar.Arrow, "matrix(-0.7") || !strings.HasPrefix(en.Arrow, "matrix(0.7") {
			t.Errorf("%s: the arrow is turned by %s in Arabic, %s in English", code, ar.Arrow, en.Arrow)
		}
		if ar.First < ar.Second || en.First > en.Second {
			t.Errorf("%s: the footer's links do not follow the script", code)
		}
	}
	ar := read("ar/keys_unavailable")
	if !ar.Forward {
		t.Error("the clock time is turned around in Arabic")
	}
	if ar.Naked {
		t.Error("the clock time reads forward without <bdi> too, so this test shows nothing")
	}
}
