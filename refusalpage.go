package gatehouse

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-gatehouse/gatehouse/internal/page"
)

func init() {
	caddy.RegisterModule(RefusalPage{})
	httpcaddyfile.RegisterHandlerDirective("gatehouse_page", parseRefusalPage)
	httpcaddyfile.RegisterDirectiveOrder("gatehouse_page", httpcaddyfile.Before, "error")
}

// RefusalPage is an HTTP handler that tells refusals which others have decided
// the way the gate tells its own: same brand, language and choice of body. It is
// for `handle_errors`, `intercept` and `reverse_proxy`'s `handle_response`.
//
// The status stays, and so do WWW-Authenticate and Retry-After. In a body for
// programs the `code` is `status_` and the status, unless the gate has refused:
// then it is the gate's code.
//
// A response whose body is JSON goes on to the next handler, unless
// `replace_json` is set: programs know their own API's errors. So does every
// other status, gRPC, and what the gate itself has answered.
type RefusalPage struct {
	// Which statuses it tells: some of 401, 403, 404 and 429. Default: these.
	Statuses []int `json:"statuses,omitempty"`

	// Replace bodies that are JSON too.
	ReplaceJSON bool `json:"replace_json,omitempty"`

	// Names, colours and links on the pages, by host. Default: with neither
	// `brands` nor `pages`, those of the gate that has seen the request.
	Brands []*Brand `json:"brands,omitempty"`

	// How refusals are worded. Default: as for `brands`.
	Pages *Pages `json:"pages,omitempty"`

	teller *teller
	own    bool // whatever the gate says
}

// tellerVar is where the gate leaves what tells refusals on this request.
const tellerVar = "gatehouse.teller"

// CaddyModule returns the Caddy module information.
func (RefusalPage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.gatehouse_page",
		New: func() caddy.Module { return new(RefusalPage) },
	}
}

func parseRefusalPage(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	p := new(RefusalPage)
	if err := p.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return p, nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	gatehouse_page [<matcher>] [<status>...] {
//		replace_json
//		brand [<host>...] { ... }
//		pages { ... }
//	}
//
// `brand` and `pages` are those of `gatehouse`, without matchers in `format`.
func (p *RefusalPage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	for d.NextArg() {
		status, err := strconv.Atoi(d.Val())
		if err != nil {
			return d.Errf("gatehouse_page: found %q; expected statuses, some of %s, or a block", d.Val(), toldStatuses())
		}
		p.Statuses = append(p.Statuses, status)
	}
	g := new(Gatehouse)
	if err := optionalBlock(d, "gatehouse_page", words{
		"replace_json": {given(&p.ReplaceJSON), once},
		"brand":        {g.parseBrand, many},
		"pages":        {g.parsePages, once},
	}); err != nil {
		return err
	}
	p.Brands, p.Pages = g.Brands, g.Pages
	if len(g.pending) > 0 {
		return d.Errf("gatehouse_page: found matcher %s in pages; expected paths", g.pending[0].token.Text)
	}
	return wrap(d, p.check())
}

func toldStatuses() string { return "401, 403, 404 and 429" }

func (p *RefusalPage) check() error {
	for _, status := range p.Statuses {
		if !tellsStatus(status) {
			return fmt.Errorf("gatehouse_page: found status %d; expected some of %s", status, toldStatuses())
		}
	}
	g := &Gatehouse{Brands: p.Brands}
	if err := g.checkBrands(); err != nil {
		return err
	}
	return p.Pages.check()
}

func tellsStatus(status int) bool {
	return slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests}, status)
}

// Provision prepares the pages.
func (p *RefusalPage) Provision(ctx caddy.Context) error {
	if err := p.check(); err != nil {
		return err
	}
	module, err := ctx.App("gatehouse")
	if err != nil {
		return fmt.Errorf("getting the gatehouse app: %w", err)
	}
	p.own = len(p.Brands) > 0 || p.Pages != nil
	g := &Gatehouse{Brands: p.Brands, Pages: p.Pages}
	p.teller, err = g.compileTeller(ctx, module.(*App), nil)
	return err
}

// ServeHTTP tells the refusal that the route was invoked for, or calls next.
func (p *RefusalPage) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	given := givenResponse(r)
	if !p.tells(given.status) || given.isTold() || given.isJSON(w, r) && !p.ReplaceJSON {
		return next.ServeHTTP(w, r)
	}
	t := p.teller
	if gate, ok := caddyhttp.GetVar(r.Context(), tellerVar).(*teller); ok && !p.own {
		t = gate
	}
	kind := page.Choose(r.Header, isUpgrade(r), t.formats.find(r))
	if kind == page.GRPC || kind == page.Empty && given.by == interceptPrefix {
		// gRPC's status is its own; and intercept sends the body it holds where
		// there is no other.
		return next.ServeHTTP(w, r)
	}
	t.tellGiven(w, r, given, kind)
	return nil
}

func (p *RefusalPage) tells(status int) bool {
	if len(p.Statuses) == 0 {
		return tellsStatus(status)
	}
	return slices.Contains(p.Statuses, status)
}

const (
	interceptPrefix = "http.intercept."
	proxyPrefix     = "http.reverse_proxy."
)

// response is what another handler has answered, or an error that it returned.
type response struct {
	status int
	by     string // whose placeholders tell of it; empty for an error
	code   code   // the gate's, if it was the gate
}

// givenResponse finds out what a route was invoked for. An error comes before
// responses, of which placeholders may still speak.
func givenResponse(r *http.Request) response {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	out := response{}
	if err, ok := r.Context().Value(caddyhttp.ErrorCtxKey).(error); ok {
		if failure, ok := err.(caddyhttp.HandlerError); ok { //nolint:errorlint // the server, too, looks at what is not wrapped
			out.status = failure.StatusCode
		}
	} else {
		for _, by := range []string{interceptPrefix, proxyPrefix} {
			text, told := repl.GetString(by + "status_code")
			if status, err := strconv.Atoi(text); told && err == nil {
				out.status, out.by = status, by
				break
			}
		}
	}
	if why, told := repl.GetString("http.gatehouse.code"); told && code(why).effect().status == out.status {
		out.code = code(why)
	}
	return out
}

// isTold reports a response that is the gate's own: intercept, around the gate,
// sees that too.
func (g response) isTold() bool { return g.by == interceptPrefix && g.code != "" }

// header is a field of a response, which only intercept has put into w already.
func (g response) header(h http.Header, r *http.Request, name string) string {
	if g.by == "" {
		return strings.Join(h[name], ", ")
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	text, _ := repl.GetString(g.by + "header." + name)
	return text
}

func (g response) isJSON(w http.ResponseWriter, r *http.Request) bool {
	if g.by == "" {
		return false // an error has no body
	}
	mediaType, _, _ := strings.Cut(strings.ToLower(g.header(w.Header(), r, "Content-Type")), ";")
	mediaType = strings.TrimSpace(mediaType)
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}

// tellGiven answers a refusal that was decided elsewhere.
func (t *teller) tellGiven(w http.ResponseWriter, r *http.Request, given response, kind page.Body) {
	id := requestID(r)
	h := &headerBlock{header: w.Header()}
	challenge, retryAfter := given.header(h.header, r, "Www-Authenticate"), given.header(h.header, r, "Retry-After")
	t.setCommon(h)
	t.cors.tellRefusal(h.header, r, given.code)
	if challenge != "" {
		h.set("Www-Authenticate", challenge)
	}
	if retryAfter != "" {
		h.set("Retry-After", retryAfter)
	}
	told := page.Refusal{
		Status: given.status, Code: "status_" + strconv.Itoa(given.status), RequestID: id, Time: t.now(), Method: originalMethod(r),
		RetryAfter: parseRetryAfter(retryAfter, t.now()),
	}
	if given.code != "" {
		told.Code = string(given.code)
	}
	if kind == page.HTML {
		told.ReturnTo = page.ReturnTo(originalMethod(r), originalURI(r), t.queries)
	}
	t.privacy.restrain(&told)
	t.send(w, r, h, told, kind, t.pages.Language(r.Header.Get("Accept-Language")))
}

// parseRetryAfter reads both forms of RFC 9110, section 10.2.3. What is neither
// says nothing.
func parseRetryAfter(text string, now time.Time) time.Duration {
	const longest = 31 * 24 * time.Hour
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return min(time.Duration(min(n, int(longest/time.Second)))*time.Second, longest)
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return min(at.Sub(now), longest)
	}
	return 0
}

// Interface guards
var (
	_ caddy.Provisioner           = (*RefusalPage)(nil)
	_ caddyfile.Unmarshaler       = (*RefusalPage)(nil)
	_ caddyhttp.MiddlewareHandler = (*RefusalPage)(nil)
)
