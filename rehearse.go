package gatehouse

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// rehearsal makes a copy of a gate judge as it would serve, with an assumed
// visitor or a token, and tells what it saw. The gate that serves has none.
type rehearsal struct {
	visitor *AssumedVisitor
	token   string // a real one, in place of an assumed visitor
	// seen is told of each request that was judged, before it goes on.
	seen func(g *gate, r *http.Request, v views, let admission, no *refusal)

	err error // the gate cannot have such a visitor
}

// rehearse is a copy of the gate that neither logs, nor keeps refusals, nor
// counts: no throttle and no lockout speaks in a rehearsal.
func (g *gate) rehearse(with *rehearsal) *gate {
	out, told := *g, *g.teller
	nothing := zap.NewNop()
	told.log, told.events, told.recent = nothing, nil, nil
	out.teller, out.log, out.headers.log = &told, nothing, nothing
	out.rules.observed = make([]*requirement, 0, len(g.rules.observed))
	for _, q := range g.rules.observed {
		counted := *q
		counted.observed = new(observation)
		out.rules.observed = append(out.rules.observed, &counted)
	}
	out.forwarded = new(forwardedWatch)
	out.forwarded.off.Store(true)
	out.limits, out.tally, out.authn.meters = nil, nil, nil
	out.rehearsal, out.observe = with, nil
	if with.visitor != nil {
		out.authn.assumed, with.err = g.authn.assume(with.visitor)
	}
	return &out
}

// begin puts the visitor's token into the request.
func (h *rehearsal) begin(g *gate, r *http.Request) {
	switch {
	case h == nil:
	case h.token != "":
		g.authn.sources.carry(r, h.token)
	case g.authn.assumed != nil:
		g.authn.sources.carry(r, assumedToken)
	}
}

// end tells what came of it.
func (h *rehearsal) end(g *gate, r *http.Request, v views, let admission, no *refusal) {
	if h != nil {
		h.seen(g, r, v, let, no)
	}
}

// carry puts a token where the first source looks for it, unless the request
// carries one.
func (t tokenSources) carry(r *http.Request, raw string) {
	if found, no := t.find(r); no != nil || !found.missing() {
		return
	}
	s := &t[0]
	switch s.From {
	case fromHeader:
		if s.Scheme != "" {
			raw = s.Scheme + " " + raw
		}
		r.Header[s.Name] = []string{raw}
	case fromCookie:
		r.Header.Add("Cookie", s.Name+"="+raw)
		if r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" {
			// As the site's own pages do.
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
	case fromQuery:
		carryInQuery(r, s.Name, raw)
	case fromWebSocket:
		r.Header[protocolHeader] = append(r.Header[protocolHeader], bearerProtocol+", "+raw)
	}
}

// carryInQuery changes the original request too, as if it had come so.
func carryInQuery(r *http.Request, name, raw string) {
	pair := url.QueryEscape(name) + "=" + url.QueryEscape(raw)
	add := func(u *url.URL) {
		u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+pair, "&")
	}
	add(r.URL)
	r.RequestURI = r.URL.RequestURI()
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && orig.URL != nil {
		add(orig.URL)
	}
}

// recorded is what a rehearsal was answered.
type recorded struct {
	header http.Header
	sent   http.Header // nil until a status was written
	status int
	body   bytes.Buffer
}

func newRecorded() *recorded { return &recorded{header: make(http.Header)} }

// Header implements http.ResponseWriter.
func (a *recorded) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *recorded) WriteHeader(status int) {
	if a.sent == nil && status >= http.StatusOK {
		a.status, a.sent = status, a.header.Clone()
	}
}

// Write implements http.ResponseWriter.
func (a *recorded) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// tried is how one gate judged one request.
type tried struct {
	explanation

	status int // 200: the next handler was reached
}

// told words the answer.
func (t *tried) told() string {
	if t.no == nil && t.status != http.StatusOK {
		return fmt.Sprintf("%d, as the gate itself failed", t.status)
	}
	return t.verdict()
}

// try sends a request through a rehearsal of the gate, and nothing else.
func (g *Gatehouse) try(r *http.Request, who *AssumedVisitor) (tried, error) {
	var out tried
	with := &rehearsal{visitor: who, seen: func(gate *gate, r *http.Request, v views, let admission, no *refusal) {
		out.explanation = g.explain(gate, r, v, let, no)
		out.noteIgnored(who)
		out.outside = g.restsOn(&out.explanation, v, who)
	}}
	probe := &Gatehouse{gate: g.gate.rehearse(with)}
	if with.err != nil {
		return out, with.err
	}
	w := newRecorded()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, new(caddyhttp.Server))
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusOK)
		return nil
	})
	err := probe.ServeHTTP(w, r, next)
	out.status = w.status
	if failure := (caddyhttp.HandlerError{}); errors.As(err, &failure) {
		out.status = failure.StatusCode
	}
	return out, nil
}
