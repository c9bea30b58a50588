// Package gatehouse is an access gate for Caddy: it decides who may come in to
// what stands behind it, and refuses well. Verified JWTs say who is asking;
// role, scope, claim, user and address rules say what they may do. Nobody
// recognised gets 401 with a way to sign in, somebody without the right gets
// 403 with a way to get help: a page for people, JSON for programs.
package gatehouse

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(Gatehouse{})
	caddy.RegisterModule(App{})
	httpcaddyfile.RegisterHandlerDirective("gatehouse", parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder("gatehouse", httpcaddyfile.Before, "basic_auth")
}

// Gatehouse is an HTTP handler that lets requests pass to the next handler, or
// refuses them.
//
// A request that matches a `deny` or `hide` rule is refused; else one that
// matches a `public` rule passes; else the visitor must be recognised by a
// token, and every `require` rule that matches must hold. The order of rules
// never changes a verdict.
//
// Who is not recognised is answered 401, who may not is answered 403, and where
// keys cannot be had the answer is 503: never 401, and never a pass.
//
// After a pass with a token these placeholders are set:
//
//   - `{http.auth.user.id}` the subject
//   - `{http.auth.user.roles}` roles, joined by commas
//   - `{http.auth.user.scopes}` scopes, joined by spaces
//   - `{http.auth.user.issuer}` the issuer
//   - `{http.auth.user.claims.<path>}` any claim
//
// After a refusal these are, but for what is hidden:
//
//   - `{http.gatehouse.code}` the reason, as in the response's `code`
//   - `{http.gatehouse.rule}` name or file:line of the rule, if one refused;
//     empty with `privacy hipaa`
//   - `{http.gatehouse.request_id}` the id that the visitor was told
type Gatehouse struct {
	// Who may sign tokens.
	Issuers []*Issuer `json:"issuers,omitempty"`

	// Where requests carry tokens, in order: the first that is found decides.
	// Default: the header `Authorization` with scheme `Bearer`.
	Tokens []*TokenSource `json:"tokens,omitempty"`

	// The longest token that is looked at, in bytes. Default: 8192.
	TokenLimit int `json:"token_limit,omitempty"`

	// How many verified tokens are remembered, so that their signature is not
	// checked again: until they expire, for five minutes at most, and only as
	// long as the issuer's keys do not change. Each takes 5 KiB of memory at
	// most. 0 turns it off. Default: 10000.
	Cache *int `json:"cache,omitempty"`

	// Requests that are refused with 403, whoever asks.
	Deny []*PathRule `json:"deny,omitempty"`

	// Requests that are answered as if there were nothing: what this visitor
	// would get for a path that does not exist.
	Hide []*PathRule `json:"hide,omitempty"`

	// Requests that need no token. One that comes with a valid token is
	// recognised all the same. Address rules hold here too.
	Public []*PathRule `json:"public,omitempty"`

	// What must hold for the requests that each rule speaks of.
	Require []*Require `json:"require,omitempty"`

	// Stop who tries many bad credentials. Default: nobody is.
	Lockout *Lockout `json:"lockout,omitempty"`

	// How many requests may pass, of one visitor or from one network. Default:
	// no limit.
	Throttle *Throttle `json:"throttle,omitempty"`

	// Which roles come with another one: each list names the greatest first.
	RoleOrders []*RoleOrder `json:"role_orders,omitempty"`

	// Where an encoded slash in the path is let through.
	AmbiguousPaths *AmbiguousPaths `json:"ambiguous_paths,omitempty"`

	// Log and count what the gate would refuse, and let everything pass: for
	// trying a gate before it is live. Forged identity headers are deleted and
	// verified identities published all the same; `cors` is silent. A warning is
	// logged at load and every hour.
	Observe bool `json:"observe,omitempty"`

	// Names, colours and links on the pages, by host.
	Brands []*Brand `json:"brands,omitempty"`

	// How refusals are worded.
	Pages *Pages `json:"pages,omitempty"`

	// What is done with a refusal: `respond` (default) answers it; `redirect`
	// sends people who open a page, and are not recognised, to their brand's
	// `login` with 303, and answers everybody else; `error` hands it to the
	// server's error routes with `{http.gatehouse.code}` set. With `error` an
	// error route with a file server would serve the very file that was refused.
	OnRefusal string `json:"on_refusal,omitempty"`

	// What refusals say in WWW-Authenticate.
	Challenge *Challenge `json:"challenge,omitempty"`

	// `default`, or `rfc`: statuses as the RFCs have them where these are less
	// kind. A malformed Authorization header is 400 (RFC 6750), and a missing
	// scope is told in a challenge on the 403.
	Profile string `json:"profile,omitempty"`

	// Which other sites' scripts may read what is answered here. Default: that
	// is left to the upstream.
	CORS *CORS `json:"cors,omitempty"`

	// Headers that tell the upstream who is asking.
	IdentityHeaders []*IdentityHeader `json:"identity_headers,omitempty"`

	// Take the token out of the request before the next handler. Tokens in the
	// query and in the WebSocket protocol are always taken out.
	StripToken bool `json:"strip_token,omitempty"`

	// What our own records and pages keep to themselves. `none` (default): all
	// is told. `gdpr`: records have the client's network (/24, /48) in place of
	// its address, and a pseudonym in place of the subject, made with a key that
	// is replaced each day and kept in Caddy's storage; they list no roles and
	// scopes of visitors, and no page shows a visitor's address. `hipaa`:
	// besides, neither records nor clients are told of rules, routes, hosts and
	// what a rule asks for; a 403 says `Access denied`, whatever `message` and
	// `detail` say, and after signing in visitors come to `/`.
	//
	// Caddy's access log is not ours and holds address, URL and user as ever:
	// filter it, as docs/logs.md shows.
	Privacy string `json:"privacy,omitempty"`
	// `close_at_expiry` ends WebSockets, event streams and whatever else is still
	// going on half a second after its token would be refused: after `exp` with the
	// issuer's leeway, or `max_age`. Each is logged. It holds for requests that came
	// with a valid token, also on public paths, and not while `observe` is on.
	// Default: what has begun may go on.
	Streams string `json:"streams,omitempty"`

	// What requests must be answered, in examples. `caddy validate` tries them, and
	// so does the server at each load, by the code that serves: one that is not met
	// is an error. Where it rests on a file of addresses or on a matcher that looks
	// further than the request, the server only warns, and starts.
	Expectations []*Expectation `json:"expectations,omitempty"`

	// Where the directive stands, as file:line; empty without a Caddyfile.
	place string

	// Rules and matchers that the Caddyfile's named matchers fill in.
	pending []pendingMatcher

	gate *gate
}

// CaddyModule returns the Caddy module information.
func (Gatehouse) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.gatehouse",
		New: func() caddy.Module { return new(Gatehouse) },
	}
}

// Provision compiles the configuration. It reads the files that are named in
// it, and touches neither network nor storage.
func (g *Gatehouse) Provision(ctx caddy.Context) error {
	g.nameRules()
	if err := g.check(); err != nil {
		return err
	}
	module, err := ctx.App("gatehouse")
	if err != nil {
		return fmt.Errorf("getting the gatehouse app: %w", err)
	}
	g.gate, err = g.compile(ctx, module.(*App))
	return err
}

// Validate refuses to serve a gate that was not compiled, or that answers
// otherwise than its expectations say.
func (g *Gatehouse) Validate() error {
	if g.gate == nil {
		return errors.New("gatehouse: not provisioned")
	}
	return g.meetExpectations(neverServes(os.Args))
}

// gate is a compiled Gatehouse. Immutable.
type gate struct {
	log     *zap.Logger
	authn   authenticator
	rules   ruleset
	paths   pathReading
	headers headerPlan
	teller  *teller
	cors    *crossOrigin // nil: no cors
	limits  *limiter     // nil: nothing is counted
	streams *streamEnder // nil: streams may outlast their tokens
	strip   bool
	observe *observation // nil: refusals are refused

	rehearsal *rehearsal // nil where requests are served
	forwarded *forwardedWatch
	tally     *tally
}

// ServeHTTP lets r pass to next, or answers it.
func (g *Gatehouse) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	caddyhttp.SetVar(r.Context(), tellerVar, g.gate.teller)
	let, no := g.gate.decide(r)
	g.gate.tally.count(let, no)
	g.gate.trace(r, let, no)
	if no != nil {
		return g.gate.teller.refuse(w, r, no)
	}
	if let.preflight && g.gate.cors != nil {
		g.gate.cors.answerPreflight(w, r)
		return nil
	}
	g.gate.cors.allow(w.Header(), r)
	err := g.gate.streams.serve(w, r, let.identity, next)
	if g.gate.rules.hides && isNotFound(err) {
		// What is hidden and what is missing must look alike.
		keepFromCaches(w.Header())
	}
	return err
}

// decide judges the request, and readies one that goes on. A panic in the gate's
// own work is a refusal; the next handler runs outside of it, since
// reverse_proxy panics on purpose.
func (g *gate) decide(r *http.Request) (let admission, no *refusal) {
	defer func() {
		if p := recover(); p != nil {
			let, no = g.overlook(r, admission{}, refused(codeInternalError, fmt.Sprintf("panic: %v", p)))
			g.log.Error("panic while deciding", g.teller.privacy.panicked(p), zap.Bool("refused", no != nil), zap.ByteString("stack", debug.Stack()))
		}
	}()
	g.rehearsal.begin(g, r)
	g.forwarded.look(r)
	g.headers.strip(r)
	v := newViews(r)
	let, no = g.judge(r, v)
	g.rehearsal.end(g, r, v, let, no)
	let, no = g.overlook(r, let, no)
	switch {
	case no == nil:
		g.prepare(r, let.identity)
		g.teller.recordPass(r, let)
	case no.code == codeHidden:
		g.prepare(r, no.visitor) // the site's own 404 may greet them
	case g.teller.onRefusal == onRefusalError:
		g.authn.sources.conceal(r, g.strip) // error routes are next
	}
	return let, no
}

// admission is a request that passes.
type admission struct {
	identity  *identity // nil: anonymous
	open      bool      // a public rule or a preflight: no credential was needed
	preflight bool
}

// judge goes through the questions in the one order that fixes the status.
func (g *gate) judge(r *http.Request, v views) (admission, *refusal) {
	if no := g.paths.check(v); no != nil {
		return admission{}, no
	}
	who := g.visitor(r)
	hidden, no := findEither(g.rules.hide, v, who)
	if no != nil {
		return admission{}, no
	}
	if hidden != nil {
		return g.hide(r, who, hidden.ruleID, "hide")
	}
	let, no := g.judgeListed(r, v, who, false)
	if no != nil && no.hiddenBy != nil {
		return g.hide(r, who, no.hiddenBy.ruleID, no.cause)
	}
	if no == nil && len(g.rules.observed) > 0 {
		g.watch(r, v, let)
	}
	return let, no
}

// visitor is who sends the request, as far as is known before a credential.
func (g *gate) visitor(r *http.Request) *visitor {
	return &visitor{address: clientAddress(r), now: g.authn.now}
}

// judgeListed judges a request that no `hide` hides. For one that stands in for
// something hidden, rules that hide are passed over.
func (g *gate) judgeListed(r *http.Request, v views, who *visitor, passOver bool) (admission, *refusal) {
	if no := g.rules.denied(v, who); no != nil {
		return admission{}, no
	}
	var buf [8]*requirement
	requirements, no := g.rules.matching(buf[:0], v, passOver)
	if no != nil {
		return admission{}, no
	}
	byAddress, no := admitAddress(requirements, who)
	if no != nil {
		return admission{}, no
	}
	byAddress = byAddress || g.rules.deniesByAddress
	if isEarlyData(r) && (byAddress || !v.safe() || g.limits.throttles(requirements)) {
		return admission{}, refused(codeTooEarly, "early data can be replayed, and its address is not proven")
	}
	if g.isPreflight(r, v) {
		if g.cors != nil && g.cors.origin(r) == "" {
			return admission{}, refused(codeOriginDenied, "preflight from an origin that is not listed")
		}
		return admission{open: true, preflight: true}, nil
	}
	public, no := g.rules.opens(v)
	if no != nil {
		return admission{}, no
	}
	if public {
		return admission{identity: g.recognise(r, v), open: true}, nil
	}
	if no := g.limits.spendByAddress(requirements, who); no != nil {
		return admission{}, no
	}
	if no := g.identify(r, v, who); no != nil {
		return admission{}, g.limits.rejected(no, who)
	}
	if no = admit(requirements, who); no == nil {
		no = g.limits.spendByUser(requirements, who)
	}
	if no != nil {
		return admission{}, no.of(who)
	}
	return admission{identity: who.identity}, nil
}

// identify is the part that needs a credential.
func (g *gate) identify(r *http.Request, v views, who *visitor) *refusal {
	cred, no := g.findCredential(r, v)
	if no == nil {
		who.identity, no = g.authn.identify(r.Context(), cred)
	}
	who.from = cred.from
	return no.in(cred)
}

// recognise is identify on a public path: whoever sends a bad credential, or
// spends another site's cookie, is anonymous there.
func (g *gate) recognise(r *http.Request, v views) *identity {
	cred, no := g.findCredential(r, v)
	if no != nil {
		return nil
	}
	return g.authn.recognise(r.Context(), cred)
}

func (g *gate) findCredential(r *http.Request, v views) (credential, *refusal) {
	cred, no := g.authn.sources.find(r)
	if no == nil && cred.from == fromCookie && !v.safe() && !g.cors.trusts(r) {
		no = checkOrigin(r)
	}
	return cred, no
}

// prepare readies a request that passes for the next handler.
func (g *gate) prepare(r *http.Request, id *identity) {
	g.authn.sources.conceal(r, g.strip)
	if id == nil {
		// Matchers after us must know that a gate has looked.
		caddyhttp.SetVar(r.Context(), identityVar, id)
		return
	}
	id.publish(r)
	g.headers.set(r, id)
}

// isPreflight reports a CORS preflight, which browsers send without any
// credential (Fetch standard, "CORS-preflight fetch"). What carries more than a
// preflight does is judged like any other request.
func (g *gate) isPreflight(r *http.Request, v views) bool {
	asked := r.Method == http.MethodOptions
	for _, other := range v.others {
		asked = asked && other.Method == http.MethodOptions
	}
	if !asked {
		return false
	}
	if r.Header.Get("Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 || isUpgrade(r) {
		return false
	}
	for name := range r.Header {
		if isMethodOverride(name) || sameHeader(name, "Cookie") || sameHeader(name, "Authorization") {
			return false
		}
	}
	cred, no := g.authn.sources.find(r)
	return cred.missing() && no == nil
}

// isEarlyData reports a request that came before the TLS handshake was done
// (RFC 8470), over HTTP/3's 0-RTT.
func isEarlyData(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete
}

func isNotFound(err error) bool {
	var failure caddyhttp.HandlerError
	return errors.As(err, &failure) && failure.StatusCode == http.StatusNotFound
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Gatehouse)(nil)
	_ caddy.Validator             = (*Gatehouse)(nil)
	_ caddyhttp.MiddlewareHandler = (*Gatehouse)(nil)
)
