package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// fetched is what a page's own script could read.
type fetched struct {
	Status                int
	Code, Challenge, Wait string
	Failed                string
}

// fetch lets the page's script ask another origin.
func (b *tab) fetch(t *testing.T, url, options string) fetched {
	t.Helper()
	return run(t, b, chromedp.Evaluate[fetched](fmt.Sprintf(`fetch(%q, %s).then(
		async r => {
			const body = await r.json();
			return {Status: r.status, Code: body.code || body.URI, Challenge: r.headers.get("WWW-Authenticate") || "", Wait: r.headers.get("Retry-After") || ""};
		},
		e => ({Failed: e.name}))`, url, options), chromedp.EvalAwaitPromise))
}

// A script of a listed origin can tell its visitor why it was refused, and when
// to come back; one of any other cannot even tell that there is a gate.
func TestScriptsOfOtherOrigins(t *testing.T) {
	browser := startChromium(t)
	p := startPanel(t)
	signed := fmt.Sprintf(`{headers: {Authorization: %q, "X-Panel": "1"}}`, "Bearer "+p.member.access)
	const challenge = `Bearer realm="gatehouse"`

	t.Run("listed", func(t *testing.T) {
		b := openTab(t, browser, looks()[0])
		b.open(t, p.listed)
		if got, want := b.fetch(t, p.respond+"/domains", "{}"), (fetched{Status: 401, Code: "credentials_missing", Challenge: challenge}); got != want {
			t.Errorf("without a token: %+v, want %+v", got, want)
		}
		// A header of one's own makes the browser ask first.
		if got, want := b.fetch(t, p.respond+"/domains", signed), (fetched{Status: 200, Code: "/domains"}); got != want {
			t.Errorf("with a token: %+v, want %+v", got, want)
		}
		if !strings.Contains(p.log(t), `"method":"OPTIONS"`) {
			t.Error("the browser did not ask first")
		}
		if got := b.fetch(t, p.respond+"/limited", "{}"); got.Status != 401 || got.Challenge != challenge {
			t.Errorf("the first of too many: %+v", got)
		}
		got := b.fetch(t, p.respond+"/limited", "{}")
		if got.Status != 403 || got.Code != "throttled" || got.Wait == "" || got.Challenge != "" {
			t.Errorf("one of too many: %+v, want 403, throttled, and when to come back", got)
		}
	})
	t.Run("not listed", func(t *testing.T) {
		b := openTab(t, browser, looks()[0])
		b.open(t, p.other)
		calls := p.upstream.calls.Load()
		for name, options := range map[string]string{"without a token": "{}", "with a token": signed, "with cookies": `{credentials: "include"}`} {
			if got, want := b.fetch(t, p.respond+"/domains", options), (fetched{Failed: "TypeError"}); got != want {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
		if n := p.upstream.calls.Load() - calls; n != 0 {
			t.Errorf("the upstream was called %d times", n)
		}
	})
}
