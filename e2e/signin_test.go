package e2e

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// panel is a Caddy with two gates before one upstream, a login page that both
// lead to, and a site that may do with them what others may not.
type panel struct {
	*gate
	respond, redirect string // base URLs of the gates, by on_refusal
	login             *loginPage
	listed, other     string // origins
	member            tokens
}

func startPanel(t *testing.T) *panel {
	t.Helper()
	provider := startProvider(t)
	p := &panel{
		gate:     &gate{},
		respond:  fmt.Sprintf("http://localhost:%d", freePort(t)),
		redirect: fmt.Sprintf("http://localhost:%d", freePort(t)),
		listed:   startSite(t), other: startSite(t),
		member: provider.signIn(t, panelClient, memberName),
	}
	p.login = startLogin(t, p.member.access, map[string]string{"respond": p.respond, "redirect": p.redirect})
	p.start(t, "Browser.Caddyfile", "STORAGE", t.TempDir(), "LOGIN", p.login.url, "LISTED", p.listed,
		"RESPOND", p.respond, "REDIRECT", p.redirect, "ISSUER", provider.issuer())
	return p
}

// loginPage signs a browser in with one button, sets the cookie that the gates
// look for, and leads back to where the visitor came from.
type loginPage struct {
	url     string
	blocked atomic.Bool // the cookie is one that browsers do not take
	visits  atomic.Int64
}

// startLogin takes the gates by the first part of the path that leads here.
func startLogin(t *testing.T, token string, gates map[string]string) *loginPage {
	t.Helper()
	l := new(loginPage)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{gate}", func(w http.ResponseWriter, r *http.Request) {
		if gates[r.PathValue("gate")] == "" { // an icon
			http.NotFound(w, r)
			return
		}
		l.visits.Add(1)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Login</title><form method="post"><button name="to" value="%s">Enter</button></form>`,
			html.EscapeString(r.URL.Query().Get("return_to")))
	})
	mux.HandleFunc("POST /{gate}", func(w http.ResponseWriter, r *http.Request) {
		to, base := r.PostFormValue("to"), gates[r.PathValue("gate")]
		if base == "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") {
			http.Error(w, "not back to "+to, http.StatusBadRequest)
			return
		}
		cookie := &http.Cookie{Name: tokenCookie, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
		if l.blocked.Load() {
			cookie.SameSite = http.SameSiteNoneMode // which needs Secure
		}
		http.SetCookie(w, cookie)
		http.Redirect(w, r, base+to, http.StatusSeeOther)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	l.url = asLocalhost(server)
	return l
}

// startSite is another origin with a page of its own. What its query holds is
// the page's body.
func startSite(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>Site</title><body>%s`, r.URL.Query().Get("body"))
	}))
	t.Cleanup(server.Close)
	return asLocalhost(server)
}

func siteWith(origin, body string) string { return origin + "/?body=" + url.QueryEscape(body) }

// Somebody follows a deep link, is refused, signs in, and is where they wanted
// to go: with every parameter, and without having been asked twice.
func TestReturnToDeepLink(t *testing.T) {
	browser := startChromium(t)
	p := startPanel(t)
	t.Run("respond: by the button", func(t *testing.T) {
		b := openTab(t, browser, looks()[0])
		if resp := b.open(t, p.respond+wantedPage); resp.Status != 401 {
			t.Fatalf("status %d", resp.Status)
		}
		b.pressFirst(t)
		b.mustArrive(t, p.login.url+"/respond?")
		b.pressFirst(t)
		p.mustBeIn(t, b, p.respond)
	})
	t.Run("redirect: by itself", func(t *testing.T) {
		b := openTab(t, browser, looks()[0])
		run(t, b, chromedp.Navigate(p.redirect+wantedPage))
		b.mustArrive(t, p.login.url+"/redirect?")
		b.pressFirst(t)
		p.mustBeIn(t, b, p.redirect)
	})
}

// A login page whose cookie the browser does not take would send the visitor
// round in circles. They are told after the first round, and once the cookie is
// taken the button leads in.
func TestSignInThatIsNotSeen(t *testing.T) {
	browser := startChromium(t)
	p := startPanel(t)
	axe := readAxe(t)
	b := openTab(t, browser, looks()[0])
	p.login.blocked.Store(true)
	run(t, b, chromedp.Navigate(p.redirect+wantedPage))
	b.mustArrive(t, p.login.url+"/redirect?")
	b.pressFirst(t)
	b.mustArrive(t, p.redirect+wantedPage)
	w := b.newWorld(t)
	if text := evalIn[string](t, w, "document.body.innerText"); !strings.Contains(text, "You seem to have signed in, but this site cannot see it.") {
		t.Errorf("the page says %q", text)
	}
	if n := p.login.visits.Load(); n != 1 {
		t.Errorf("the visitor was sent to the login page %d times", n)
	}
	w.load(t, axe)
	w.mustBeAccessible(t, "sign-in not seen")
	for _, problem := range w.layout(t) {
		t.Error(problem)
	}

	p.login.blocked.Store(false)
	b.pressFirst(t)
	b.mustArrive(t, p.login.url+"/redirect?")
	b.pressFirst(t)
	p.mustBeIn(t, b, p.redirect)
}

// A form that was filled in while the session ended: the page says that it is
// lost, and is never answered with a redirect, which would say that it was not.
func TestLostForm(t *testing.T) {
	browser := startChromium(t)
	p := startPanel(t)
	axe := readAxe(t)
	for name, gate := range map[string]string{"respond": p.respond, "redirect": p.redirect} {
		t.Run(name, func(t *testing.T) {
			b := openTab(t, browser, looks()[0])
			b.open(t, siteWith(p.listed, `<form method="post" action="`+gate+`/domains"><button name="a" value="b">Save</button></form>`))
			b.pressFirst(t)
			b.mustArrive(t, gate+"/domains")
			w := b.newWorld(t)
			if text := evalIn[string](t, w, "document.body.innerText"); !strings.Contains(text, "What you just sent was not saved. Please send it again after signing in.") {
				t.Errorf("the page says %q", text)
			}
			w.load(t, axe)
			w.mustBeAccessible(t, "lost form")
		})
	}
}

// Inside a frame a link opens the login page in the whole window: login pages
// forbid frames.
func TestPagesInFrames(t *testing.T) {
	browser := startChromium(t)
	p := startPanel(t)
	frame := `<iframe title="panel" style="border:0;margin:40px" width="600" height="700" src="` + p.respond + wantedPage + `"></iframe>`

	t.Run("of a site that is listed", func(t *testing.T) {
		b := openTab(t, browser, looks()[0])
		b.open(t, siteWith(p.listed, frame))
		button := evalIn[element](t, b.newWorldIn(t, b.childFrame(t)), `(() => {
			const e = document.querySelector(".button"), b = e.getBoundingClientRect();
			return {Text: e.innerText, X: b.x, Y: b.y, W: b.width, H: b.height};
		})()`)
		at := run(t, b, chromedp.Evaluate[element](`(() => { const b = document.querySelector("iframe").getBoundingClientRect(); return {X: b.x, Y: b.y}; })()`))
		if button.Text != "Sign in" {
			t.Fatalf("the frame's button is %+v", button)
		}
		run(t, b, chromedp.MouseClickXY(at.X+button.X+button.W/2, at.Y+button.Y+button.H/2))
		b.mustArrive(t, p.login.url+"/respond?")
	})
	t.Run("of any other", func(t *testing.T) {
		b := openTab(t, browser, looks()[0])
		b.open(t, siteWith(p.other, frame))
		if text := evalIn[string](t, b.newWorldIn(t, b.childFrame(t)), "document.body.innerText"); strings.Contains(text, "Sign in") {
			t.Errorf("the frame shows %q", text)
		}
		if _, complaints := b.seen(); !has(complaints, "frame-ancestors") {
			t.Errorf("the console says %q, want that the page's policy forbids it", complaints)
		}
	})
}

// pressFirst does it by keyboard.
func (b *tab) pressFirst(t *testing.T) {
	t.Helper()
	run(t, b, chromedp.KeyEvent(kb.Tab))
	run(t, b, chromedp.KeyEvent(kb.Enter))
}

// mustArrive waits for a page whose address starts like this.
func (b *tab) mustArrive(t *testing.T, start string) {
	t.Helper()
	var at string
	arrived := func() bool {
		// Fails while one document takes another's place.
		at, _ = chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.readyState == "complete" ? location.href : ""`))
		return strings.HasPrefix(at, start)
	}
	for end := time.Now().Add(10 * time.Second); !arrived(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the browser is at %s, want %s", at, start)
		}
	}
}

// mustBeIn is for a visitor who has signed in and is where they wanted to go.
func (p *panel) mustBeIn(t *testing.T, b *tab, gate string) {
	t.Helper()
	b.mustArrive(t, gate+wantedPage)
	if at := run(t, b, chromedp.Location()); at != gate+wantedPage {
		t.Errorf("the browser is at %s, want %s", at, gate+wantedPage)
	}
	text := run(t, b, chromedp.Evaluate[string]("document.body.innerText"))
	if !strings.Contains(text, `"Method":"GET","URI":"/domains/list?page=2\u0026sort=%C3%A9\u0026x=a%26b%3D1"`) {
		t.Errorf("the upstream did not answer, or not what was wanted: %s", text)
	}
}
