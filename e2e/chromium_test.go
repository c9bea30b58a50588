package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is the one browser of all tests, which takes a second to start. Each
// tab has a profile of its own.
var chromium sharedBrowser

type sharedBrowser struct {
	once  sync.Once
	ctx   context.Context
	close []func()
	err   error
}

// startChromium gives a browser without a profile that reaches nothing but
// localhost.
func startChromium(t *testing.T) context.Context {
	t.Helper()
	path := findChromium(t)
	chromium.once.Do(func() { chromium.start(path) })
	if chromium.err != nil {
		t.Fatalf("starting %s: %v", path, chromium.err)
	}
	return chromium.ctx
}

func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	const lack = "NO BROWSER: found none of chromium, chromium-browser, google-chrome on the PATH, so nothing has looked at the pages"
	if os.Getenv("CI") == "true" {
		t.Fatal(lack)
	}
	t.Skip(lack) // only outside of CI, where a machine may have no browser
	return ""
}

// start has no test's context: the first test's ends before the last test.
func (s *sharedBrowser) start(path string) {
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path),
		chromedp.Flag("headless", true),
		chromedp.Flag("no-sandbox", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("no-first-run", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("lang", "en-US"),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE localhost"),
		chromedp.WSURLReadTimeout(60*time.Second),
	)
	browser, stopBrowser := chromedp.NewContext(allocator)
	s.ctx, s.close = browser, []func(){stopBrowser, stopAllocator}
	s.err = chromedp.Do(browser)
}

// stop waits for the process to end, and removes its profile.
func (s *sharedBrowser) stop() error {
	if s.ctx == nil {
		return nil
	}
	err := chromedp.Cancel(s.ctx)
	for _, stop := range s.close {
		stop()
	}
	return err
}

// tab is one page, and everything that the browser asked for and complained of
// while showing it.
type tab struct {
	ctx context.Context

	mu         sync.Mutex
	requests   []string
	complaints []string
}

func openTab(t *testing.T, browser context.Context, l look) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(closeTab)
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as this context
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancel)
	b := &tab{ctx: ctx}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatal(err)
	}
	call(t, b, network.Enable, network.EnableParams{})
	call(t, b, runtime.Enable, cdp.Empty{})
	call(t, b, log.Enable, cdp.Empty{})
	b.show(t, l)
	call(t, b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	return b
}

// show makes the tab look as a visitor's.
func (b *tab) show(t *testing.T, l look) {
	t.Helper()
	forced := "none"
	if l.forced {
		forced = "active"
	}
	call(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: l.width, Height: l.height, DeviceScaleFactor: max(l.zoom, 1), Mobile: l.mobile,
	})
	call(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: l.media,
		Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: l.scheme}, {Name: "forced-colors", Value: forced},
		},
	})
}

func (b *tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		// A data: URL is part of the document; nothing is sent for it.
		if !strings.HasPrefix(e.Request.URL, "data:") {
			b.requests = append(b.requests, e.Request.Method+" "+e.Request.URL)
		}
	case *runtime.EventConsoleAPICalled:
		b.complaints = append(b.complaints, fmt.Sprintf("console.%s, %d arguments", e.Type, len(e.Args)))
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, "exception: "+e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.complaints = append(b.complaints, fmt.Sprintf("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL))
	}
}

// run does one thing in the tab.
func run[T any](t *testing.T, b *tab, action chromedp.Action[T]) T {
	t.Helper()
	out, err := chromedp.Run(b.ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// call sends one command of the DevTools protocol.
func call[P, R any](t *testing.T, b *tab, command cdp.Command[P, R], params P) R {
	t.Helper()
	out, err := chromedp.Call(b.ctx, command, params)
	if err != nil {
		t.Fatalf("%s: %v", command.Method, err)
	}
	return out
}

// open navigates as from the address bar and gives the document's response.
func (b *tab) open(t *testing.T, url string) *network.Response {
	t.Helper()
	resp := run(t, b, chromedp.NavigateResponse(url))
	if resp == nil {
		t.Fatalf("%s: no response", url)
	}
	b.settle(t)
	return resp
}

// settle waits for what a page starts late.
func (b *tab) settle(t *testing.T) {
	t.Helper()
	run(t, b, chromedp.Sleep(300*time.Millisecond))
}

func (b *tab) seen() (requests, complaints []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests), slices.Clone(b.complaints)
}

// look is how a visitor looks at a page.
type look struct {
	name          string
	width, height int64
	mobile        bool
	scheme        string
	forced        bool    // colours are the visitor's
	zoom          float64 // device pixels for each of CSS; 0 is 1
	media         string  // print, or the screen
}

func looks() []look {
	return []look{
		{name: "light", width: 1280, height: 900, scheme: "light"},
		{name: "dark", width: 1280, height: 900, scheme: "dark"},
		{name: "mobile", width: 390, height: 844, mobile: true, scheme: "light"},
		{name: "mobile-dark", width: 390, height: 844, mobile: true, scheme: "dark"},
		// WCAG 2.2, 1.4.10: 320 pixels must do without scrolling sideways.
		{name: "narrow", width: 320, height: 640, mobile: true, scheme: "light"},
	}
}
