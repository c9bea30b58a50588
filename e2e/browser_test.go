package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestPagesInChromium opens the 401 and the 403 page as the gate serves them,
// in every look, and leaves pictures in screenshots/.
func TestPagesInChromium(t *testing.T) {
	browser := startChromium(t)
	p := startProvider(t)
	g := startGate(t, p.issuer(), t.TempDir())
	member := p.signIn(t, panelClient, memberName)
	if err := os.MkdirAll("screenshots", 0o750); err != nil {
		t.Fatal(err)
	}
	const area = "/admin/users?page=2&sort=name"
	for _, l := range looks() {
		t.Run("401 "+l.name, func(t *testing.T) {
			b := openTab(t, browser, l)
			v := b.view(t, g, wantedPage, 401, l)
			v.mustOfferSignIn(t, l)
			b.picture(t, "401-"+l.name)
		})
		t.Run("403 "+l.name, func(t *testing.T) {
			b := openTab(t, browser, l)
			call(t, b, network.SetCookie, network.SetCookieParams{Name: tokenCookie, Value: member.access, URL: g.plain})
			v := b.view(t, g, area, 403, l)
			v.mustOfferHelp(t, area, l)
			b.picture(t, "403-"+l.name)
			call(t, b, network.ClearBrowserCookies, cdp.Empty{})
		})
	}
	t.Run("the policy is enforced", func(t *testing.T) {
		b := openTab(t, browser, looks()[0])
		b.open(t, g.plain+"/domains")
		b.mustEnforcePolicy(t)
	})
}

// view is a page as it is on the screen.
type view struct {
	Lang, Dir, Title, Text, Style, RequestID string
	Headings                                 []element
	Links                                    []element
	Texts                                    []element // whatever holds words of its own
	Card                                     element
	Inner, Scroll                            float64 // widths of the viewport and of what is in it
	Scripts, Forms                           int
}

type element struct {
	Text, Href, Target string
	X, Y, W, H         float64
	Color, Background  string
	Visible            bool
}

const readView = `(() => {
	const box = e => {
		const b = e.getBoundingClientRect(), s = getComputedStyle(e);
		const fill = e => e ? getComputedStyle(e).backgroundColor : "rgb(255, 255, 255)";
		let ground = e;
		while (fill(ground) == "rgba(0, 0, 0, 0)") ground = ground.parentElement;
		return {Text: e.innerText.trim(), Href: e.getAttribute("href") || "", Target: e.href || "", X: b.x, Y: b.y, W: b.width, H: b.height,
			Color: s.color, Background: fill(ground), Visible: e.checkVisibility({opacityProperty: true, visibilityProperty: true})};
	};
	const root = document.documentElement;
	return {
		Lang: root.lang, Dir: root.dir, Title: document.title, Text: document.body.innerText,
		Style: [...document.querySelectorAll("style")].map(e => e.textContent).join("\u0000"),
		RequestID: document.querySelector("main code")?.innerText || "",
		Headings: [...document.querySelectorAll("h1")].map(box),
		Links: [...document.links].map(box),
		Texts: [...document.body.querySelectorAll("*")].filter(e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())).map(box),
		Card: box(document.querySelector("main")),
		Inner: root.clientWidth, Scroll: root.scrollWidth,
		Scripts: document.scripts.length, Forms: document.forms.length,
	};
})()`

// view opens a page and checks what holds for both pages in every look.
func (b *tab) view(t *testing.T, g *gate, path string, status int64, l look) view {
	t.Helper()
	served := strings.Count(g.log(t), `"logger":"http.log.access`)
	resp := b.open(t, g.plain+path)
	if resp.Status != status {
		t.Fatalf("the browser got %d, want %d", resp.Status, status)
	}
	v := run(t, b, chromedp.Evaluate[view](readView))

	requests, complaints := b.seen()
	if len(requests) != 1 || requests[0] != "GET "+g.plain+path {
		t.Errorf("the browser sent %q, want the document alone", requests)
	}
	// The server's own count has what DevTools may leave out, such as an icon.
	if n := strings.Count(g.log(t), `"logger":"http.log.access`) - served; n != 1 {
		t.Errorf("Caddy served %d requests, want the document alone", n)
	}
	// Chromium itself notes every document with an error status. Nothing else
	// may be there: no exception, no message, no violation of the policy.
	note := fmt.Sprintf("network error: Failed to load resource: the server responded with a status of %d (%s) %s", status, http.StatusText(int(status)), g.plain+path)
	if !slices.Equal(complaints, []string{note}) {
		t.Errorf("the console says %q, want only %q", complaints, note)
	}
	if v.RequestID == "" || v.RequestID != header(resp, "X-Request-Id") {
		t.Errorf("the page's request id is %q, Caddy's %q", v.RequestID, header(resp, "X-Request-Id"))
	}
	v.mustHavePolicy(t, resp)
	v.mustBeLegible(t, l)
	b.mustTabInOrder(t, len(v.Links))
	return v
}

func (v view) mustHavePolicy(t *testing.T, resp *network.Response) {
	t.Helper()
	sum := sha256.Sum256([]byte(v.Style))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := header(resp, "Content-Security-Policy"); got != want {
		t.Errorf("the policy is\n%s, want\n%s", got, want)
	}
	for name, want := range map[string]string{
		"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8",
	} {
		if got := header(resp, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if v.Scripts != 0 || v.Forms != 0 {
		t.Errorf("found %d scripts and %d forms", v.Scripts, v.Forms)
	}
}

func (v view) mustBeLegible(t *testing.T, l look) {
	t.Helper()
	if v.Lang != "en" || v.Dir != "ltr" {
		t.Errorf("lang %q, dir %q", v.Lang, v.Dir)
	}
	if len(v.Headings) != 1 || !v.Headings[0].Visible || !strings.Contains(v.Title, v.Headings[0].Text) {
		t.Fatalf("headings %+v under the title %q, want one, visible, and in the title", v.Headings, v.Title)
	}
	if !strings.Contains(v.Text, "Harbour Panel") {
		t.Error("the brand's name is not on the page")
	}
	if v.Scroll > v.Inner {
		t.Errorf("the page is %.0f px wide in a window of %.0f px", v.Scroll, v.Inner)
	}
	if light := luminance(t, v.Card.Background) > 0.5; light != (l.scheme == "light") {
		t.Errorf("the card is %s for a visitor who prefers %s", v.Card.Background, l.scheme)
	}
	for _, text := range v.Texts {
		// WCAG 2.2, 1.4.3.
		if c := contrast(t, text.Color, text.Background); c < 4.5 {
			t.Errorf("%q has a contrast of %.2f", text.Text, c)
		}
	}
	for _, link := range v.Links {
		if !link.Visible || link.Text == "" || link.X < 0 || link.X+link.W > v.Inner {
			t.Errorf("a link cannot be seen: %+v", link)
		}
		// WCAG 2.2, 2.5.8.
		if link.H < 24 {
			t.Errorf("%q is %.0f px high, too little to hit", link.Text, link.H)
		}
	}
}

// focus is what has the focus, and how that shows.
type focus struct {
	All, At         int
	Style           string
	Width           float64
	Outline, Ground string
	Seen            bool
	Box             string
}

const readFocus = `(() => {
	const all = [...document.querySelectorAll("a,button,input,select,textarea,summary,[tabindex]")], now = document.activeElement;
	const s = getComputedStyle(now), box = now.getBoundingClientRect();
	let ground = now.parentElement;
	while (ground.parentElement && getComputedStyle(ground).backgroundColor == "rgba(0, 0, 0, 0)") ground = ground.parentElement;
	return {All: all.length, At: all.indexOf(now), Style: s.outlineStyle, Width: parseFloat(s.outlineWidth), Outline: s.outlineColor,
		Ground: getComputedStyle(ground).backgroundColor, Seen: box.top > -1 && box.bottom < innerHeight + 1 && box.left > -1 && box.right < innerWidth + 1, Box: JSON.stringify([box, innerHeight])};
})()`

// mustTabInOrder walks through the page with the Tab key.
func (b *tab) mustTabInOrder(t *testing.T, links int) {
	t.Helper()
	for i := range links {
		run(t, b, chromedp.KeyEvent(kb.Tab))
		f := run(t, b, chromedp.Evaluate[focus](readFocus))
		if f.All != links || f.At != i {
			t.Fatalf("Tab %d went to element %d of %d", i+1, f.At+1, f.All)
		}
		if f.Style == "none" || f.Width < 2 || !f.Seen {
			t.Errorf("element %d does not show that it has the focus: %+v", i+1, f)
		}
		// WCAG 2.2, 1.4.11.
		if c := contrast(t, f.Outline, f.Ground); c < 3 {
			t.Errorf("the focus of element %d has a contrast of %.2f", i+1, c)
		}
	}
	run(t, b, chromedp.Evaluate[chromedp.Void](`document.activeElement.blur()`))
}

// mustOfferSignIn is for the 401 page: one button, in the middle, that leads to
// the login page and from there back to here.
func (v view) mustOfferSignIn(t *testing.T, l look) {
	t.Helper()
	if v.Headings[0].Text != "Sign in to continue" {
		t.Errorf("the heading is %q", v.Headings[0].Text)
	}
	v.mustHaveLinks(t, [][2]string{
		{"Sign in", "https://login.example.test/sign-in?return_to=%2Fdomains%2Flist%3Fpage%3D2%26sort%3D%25C3%25A9%26x%3Da%2526b%253D1&lang=en"},
		{"Contact support", "mailto:help@example.test?subject=Request%20" + v.RequestID},
		{"Go to the start page", "/"},
		{"Imprint", "https://example.test/imprint"},
		{"Privacy", "https://example.test/privacy"},
	})
	mustLeadToLogin(t, v.Links[0].Target, wantedPage)
	v.mustStandOut(t, v.Links[0], l)
}

// mustOfferHelp is for the 403 page: ways on, and none of them is to sign in
// again for what the same account still may not have.
func (v view) mustOfferHelp(t *testing.T, path string, l look) {
	t.Helper()
	if v.Headings[0].Text != "You don’t have access to this page" {
		t.Errorf("the heading is %q", v.Headings[0].Text)
	}
	for _, word := range []string{"Sign in", "admin"} {
		if strings.Contains(v.Text, word) {
			t.Errorf("the page says %q", word)
		}
	}
	first := func(s string) string { head, _, _ := strings.Cut(s, "\n"); return head }
	for i := range v.Links {
		v.Links[i].Text = first(v.Links[i].Text)
	}
	escaped := strings.NewReplacer("/", "%2F", "?", "%3F", "=", "%3D", "&", "%26").Replace(path)
	v.mustHaveLinks(t, [][2]string{
		{"Request access", "https://login.example.test/access?request=" + v.RequestID},
		{"Use another account", "https://login.example.test/sign-out?return_to=" + escaped},
		{"Contact support", "mailto:help@example.test?subject=Request%20" + v.RequestID},
		{"Go to the start page", "/"},
		{"Imprint", "https://example.test/imprint"},
		{"Privacy", "https://example.test/privacy"},
	})
	v.mustStandOut(t, v.Links[0], l)
}

func (v view) mustHaveLinks(t *testing.T, want [][2]string) {
	t.Helper()
	var got [][2]string
	for _, link := range v.Links {
		got = append(got, [2]string{link.Text, link.Href})
	}
	if !slices.Equal(got, want) {
		t.Errorf("the links are\n%q, want\n%q", got, want)
	}
}

// mustStandOut is for a page's main button.
func (v view) mustStandOut(t *testing.T, button element, l look) {
	t.Helper()
	if button.H < 44 || button.W < 200 {
		t.Errorf("%q is %.0f by %.0f px, want 44 px or more in height", button.Text, button.W, button.H)
	}
	if off := math.Abs(button.X + button.W/2 - v.Inner/2); off > 1 {
		t.Errorf("%q is %.1f px beside the middle", button.Text, off)
	}
	if button.Y+button.H > float64(l.height) {
		t.Errorf("%q ends at %.0f px, below the window's %d px", button.Text, button.Y+button.H, l.height)
	}
	if c := contrast(t, button.Background, v.Card.Background); c < 3 {
		t.Errorf("%q stands out from the card with a contrast of %.2f only", button.Text, c)
	}
}

// mustEnforcePolicy does to the page what somebody would who got markup into it.
func (b *tab) mustEnforcePolicy(t *testing.T) {
	t.Helper()
	const attack = `new Promise(done => {
		const violated = [];
		document.addEventListener("securitypolicyviolation", e => violated.push(e.effectiveDirective));
		const add = (tag, set) => { const e = document.createElement(tag); Object.assign(e, set); document.body.append(e); };
		add("script", {textContent: "window.ran = true"});
		add("style", {textContent: "body { color: red }"});
		add("img", {src: "/probe.png"});
		add("iframe", {src: "/probe"});
		setTimeout(() => done({Violated: violated, Ran: !!window.ran}), 500);
	})`
	type outcome struct {
		Violated []string
		Ran      bool
	}
	got := run(t, b, chromedp.Evaluate[outcome](attack, chromedp.EvalAwaitPromise))
	slices.Sort(got.Violated)
	if want := []string{"frame-src", "img-src", "script-src-elem", "style-src-elem"}; got.Ran || !slices.Equal(slices.Compact(got.Violated), want) {
		t.Errorf("script ran: %t; violations %q, want %q", got.Ran, got.Violated, want)
	}
}

func (b *tab) picture(t *testing.T, name string) {
	t.Helper()
	png := run(t, b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join("screenshots", name+".png"), png, 0o600); err != nil {
		t.Fatal(err)
	}
}

func header(resp *network.Response, name string) string {
	for key, value := range resp.Headers {
		if strings.EqualFold(key, name) {
			return fmt.Sprint(value)
		}
	}
	return ""
}

// contrast is the ratio of WCAG 2.2 for two opaque colours.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	la, lb := luminance(t, a), luminance(t, b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

// luminance reads a computed colour, rgb(r, g, b).
func luminance(t *testing.T, color string) float64 {
	t.Helper()
	inner, ok := strings.CutPrefix(color, "rgb(")
	parts := strings.Split(strings.TrimSuffix(inner, ")"), ", ")
	if !ok || len(parts) != 3 {
		t.Fatalf("found the colour %q, want an opaque one", color)
	}
	var linear [3]float64
	for i, part := range parts {
		n, err := strconv.ParseFloat(part, 64)
		if err != nil {
			t.Fatal(err)
		}
		if n /= 255; n <= 0.04045 {
			linear[i] = n / 12.92
		} else {
			linear[i] = math.Pow((n+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}
