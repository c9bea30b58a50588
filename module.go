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

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(Gatehouse{})
	caddy.RegisterModule(App{})
	caddy.RegisterModule(adminAPI{})
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

// Interface guards
var (
	_ caddy.Provisioner           = (*Gatehouse)(nil)
	_ caddy.Validator             = (*Gatehouse)(nil)
	_ caddyhttp.MiddlewareHandler = (*Gatehouse)(nil)
)
