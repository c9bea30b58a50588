package gatehouse

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

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
