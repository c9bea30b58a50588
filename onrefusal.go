package gatehouse

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-gatehouse/gatehouse/internal/page"
)

// What is done with a refusal.
const (
	onRefusalRespond  = "respond"
	onRefusalRedirect = "redirect"
	onRefusalError    = "error"
)

func (g *Gatehouse) checkOnRefusal() error {
	if !slices.Contains([]string{"", onRefusalRespond, onRefusalRedirect, onRefusalError}, g.OnRefusal) {
		return fmt.Errorf("on_refusal: found %q; expected respond, redirect or error", g.OnRefusal)
	}
	return nil
}

// checkRedirect needs the whole configuration.
func (g *Gatehouse) checkRedirect() error {
	if g.OnRefusal == onRefusalRedirect && !slices.ContainsFunc(g.Brands, func(b *Brand) bool { return b.Login != "" }) {
		return at(g.place, errors.New("on_refusal: found redirect, but no brand says where to; expected `brand { login <url> }`"))
	}
	return nil
}

const (
	// returnCookie remembers for which address a visitor was sent to sign in. It
	// says nothing of the visitor, and is read for nothing but to end loops.
	returnCookie = "gatehouse_return"

	// returnAge is how long signing in may take.
	returnAge = 600

	// maxRedirects ends loops whose address changes each time.
	maxRedirects = 3
)

// redirect sends a person who opens a page to sign in. It reports false where
// the refusal has to be told: to programs, to parts of a page, for anything that
// would not be repeated by opening the address, and to somebody who comes back
// from signing in and is still nobody.
func (t *teller) redirect(w http.ResponseWriter, r *http.Request, told *page.Refusal, lang string) bool {
	if t.onRefusal != onRefusalRedirect || told.Status != http.StatusUnauthorized || !isDocument(r) || told.ReturnTo == "" {
		return false
	}
	mark, tries := returnMark(originalURI(r)), 0
	if c, err := r.Cookie(returnCookie); err == nil {
		seen, count, _ := strings.Cut(c.Value, ".")
		if tries, _ = strconv.Atoi(count); seen == mark || tries < 0 || tries >= maxRedirects {
			told.Returned = true
			setReturnCookie(w, r, "", -1)
			return false
		}
	}
	location := t.pages.LoginURL(lang, r.Host, *told)
	if location == "" {
		return false
	}
	h := w.Header()
	h.Del("WWW-Authenticate") // it belongs to a 401
	h.Del("Content-Type")
	setReturnCookie(w, r, mark+"."+strconv.Itoa(tries+1), returnAge)
	h.Set("Location", location)
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusSeeOther)
	return true
}

// isDocument reports the opening of a page by a person. Browsers leave the
// Sec-Fetch headers out towards plain HTTP; that a page is wanted is known then
// from Accept, whatever the operator's format is, and no script says so.
func isDocument(r *http.Request) bool {
	for _, method := range []string{r.Method, originalMethod(r)} {
		if method != http.MethodGet && method != http.MethodHead {
			return false
		}
	}
	if isAhead(r.Header) || len(r.Header["Hx-Request"]) > 0 {
		return false
	}
	dest := r.Header.Get("Sec-Fetch-Dest")
	switch r.Header.Get("Sec-Fetch-Mode") {
	case "navigate":
		return dest == "" || dest == "document"
	case "":
		return (dest == "" || dest == "document") && len(r.Header["X-Requested-With"]) == 0 &&
			page.Choose(r.Header, isUpgrade(r), page.Auto) == page.HTML
	default:
		return false
	}
}

// isAhead reports a page that is fetched before anybody asked for it. The visit
// itself would look like the way back from signing in.
func isAhead(h http.Header) bool {
	return strings.HasPrefix(h.Get("Sec-Purpose"), "prefetch") || h.Get("Purpose") == "prefetch" || h.Get("X-Moz") == "prefetch"
}

func returnMark(uri string) string {
	sum := sha256.Sum256([]byte(uri))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func setReturnCookie(w http.ResponseWriter, r *http.Request, value string, age int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // G124: without TLS a Secure cookie would be dropped, and the loop would not end
		Name: returnCookie, Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
}

// fail hands the refusal to the server's error routes. What it says is public
// there, so it is the code and nothing else. It is returned bare: wrapped, it
// would become a 500.
func (t *teller) fail(w http.ResponseWriter, r *http.Request, no *refusal) error {
	e := t.challenge.effect(no.code)
	t.setHeaders(&headerBlock{header: w.Header()}, r, no, e)
	return caddyhttp.Error(e.status, errors.New(string(no.code)))
}
