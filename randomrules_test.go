package gatehouse

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// workshop makes gates out of lines, many of them in one context, and sends
// them requests.
type workshop struct {
	*signer
	t      testing.TB
	ctx    caddy.Context
	server *caddyhttp.Server
	tokens []string // "" and what a visitor may bring
	base   *gate
}

func newWorkshop(t testing.TB) *workshop {
	t.Helper()
	ctx, err := caddy.ProvisionContext(adapted(t, ":80 {\n\trespond ok\n}"))
	if err != nil {
		t.Fatal(err)
	}
	s := newSigner(t, testIssuer)
	now := time.Now()
	forged := s.token(t, nil)
	return &workshop{signer: s, t: t, ctx: ctx, server: new(caddyhttp.Server), tokens: []string{
		"",
		s.token(t, nil),
		s.token(t, claims{"roles": []string{"user"}, "scope": "read"}),
		s.token(t, claims{"roles": []string{"reseller"}, "scope": "read write", "plan": "gold", "acr": "silver", "auth_time": now.Add(-time.Hour).Unix()}),
		s.token(t, claims{"roles": []string{"admin"}, "sub": "bob", "scope": "write", "acr": "gold", "auth_time": now.Unix()}),
		forged[:len(forged)-4] + "AAAA",
	}}
}

// gate provisions a gate of these lines.
func (w *workshop) gate(lines ...string) *Gatehouse {
	w.t.Helper()
	g, err := w.tryGate(lines...)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	return g
}

// tryGate compiles what is new in these lines: pages take longer than all the
// rest, and are the same in all gates.
func (w *workshop) tryGate(lines ...string) (*Gatehouse, error) {
	g, err := parseGate("cache off\nissuer " + w.issuer + " {\nkeys " + w.keyFile + "\naudience " + testAudience + "\n}\n" + strings.Join(lines, "\n"))
	if err != nil {
		return nil, err
	}
	if w.base == nil {
		if err := g.Provision(w.ctx); err != nil {
			return nil, err
		}
		w.base = g.gate
		w.base.log, w.base.teller.log, w.base.headers.log = zap.NewNop(), zap.NewNop(), zap.NewNop()
		started := time.Now()
		w.base.teller.now = func() time.Time { return started } // pages tell it
	}
	made := *w.base
	if made.authn.order, err = newRoleOrder(g.RoleOrders); err != nil {
		return nil, err
	}
	if made.rules, err = g.compileRules(w.ctx, noFiles{}); err != nil {
		return nil, err
	}
	g.gate = &made
	return g, nil
}

// parseGate reads the lines of a gate's block. Named matchers are not there.
func parseGate(lines string) (*Gatehouse, error) {
	g := new(Gatehouse)
	tokens, err := caddyfile.Tokenize([]byte("gatehouse {\n"+lines+"\n}"), "Caddyfile")
	if err != nil {
		return nil, err
	}
	if err := g.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
		return nil, err
	}
	return g, g.check()
}

// visit is a request that can be made again.
type visit struct {
	method, target, rewritten string
	header                    http.Header
	token                     string
	from                      string
}

func (v visit) String() string {
	return fmt.Sprintf("%s %s (rewritten to %q) from %s with %v and token %.24s...", v.method, v.target, v.rewritten, v.from, v.header, v.token)
}

// answer is what came of a visit: who was let in has reached set.
type answer struct {
	verdict
	reached bool
	bytes   string // status, headers and body, without what is new each time
}

// send judges a visit. What the server would do with an error of the gate is
// told by the error's status.
func (w *workshop) send(g *Gatehouse, v visit) answer {
	r := httptest.NewRequest(v.method, v.target, nil)
	for name, values := range v.header {
		r.Header[name] = values
	}
	if v.token != "" {
		r.Header.Set("Authorization", "Bearer "+v.token)
	}
	r.RemoteAddr = v.from
	rec := httptest.NewRecorder()
	repl := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, rec, w.server)
	if v.rewritten != "" {
		r.URL.Path = v.rewritten
	}
	var out answer
	err := g.ServeHTTP(rec, r, caddyhttp.HandlerFunc(func(rec http.ResponseWriter, r *http.Request) error {
		out.reached = true
		repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		// What the next handler can see of the gate's work.
		_, err := rec.Write([]byte(repl.ReplaceAll("{http.auth.user.id} {http.auth.user.roles} {http.regexp.1} {http.vars.x}", "-") + r.URL.Path + fmt.Sprint(r.Header)))
		return err
	}))
	out.status = rec.Code
	var failure caddyhttp.HandlerError
	if errors.As(err, &failure) {
		out.status = failure.StatusCode
	} else if err != nil {
		w.t.Fatal(err)
	}
	code, _ := repl.GetString("http.gatehouse.code")
	out.code = code
	header := rec.Header().Clone()
	text := fmt.Sprintf("%d %v %v", out.status, header, rec.Body)
	out.bytes = timePattern.ReplaceAllString(uuidPattern.ReplaceAllString(text, "ID"), "TIME")
	return out
}

// dice makes rule sets and visits that often meet.
type dice struct{ *rand.Rand }

func newDice(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 0x6761746568))} }

func (d dice) of(from ...string) string { return from[d.IntN(len(from))] }

func (d dice) oneIn(n int) bool { return d.IntN(n) == 0 }

func (d dice) path() string {
	return d.of("/a", "/a/b", "/a/b/c.sql", "/b", "/b/.env", "/c/x", "/c/x/y/z", "/", "/a/", "//a//b", "/A/b", "/b;v=1/x", "//b/a/c", "/a/b;x")
}

func (d dice) visit(w *workshop) visit {
	v := visit{
		method: d.of("GET", "GET", "HEAD", "POST", "DELETE", "OPTIONS"), target: d.path(), header: http.Header{},
		token: d.of(w.tokens...), from: d.of("192.0.2.1:1", "198.51.100.7:1", "10.1.2.3:1", "[2001:db8::1]:1", "@"),
	}
	if strings.HasPrefix(v.target, "//") { // a path, not a host
		v.target = "http://example.com" + v.target
	}
	if d.oneIn(5) {
		v.rewritten = d.of("/a/b", "/b", "/c/x", "/front.php")
	}
	if d.oneIn(6) {
		v.header.Set("X-Http-Method-Override", d.of("DELETE", "GET", "POST"))
	}
	if d.oneIn(6) {
		v.header.Set("Accept", d.of("text/html", "application/json", "text/plain", "application/grpc"))
	}
	if d.oneIn(10) {
		v.header.Set("Origin", "https://a.example")
		v.header.Set("Access-Control-Request-Method", "PUT")
	}
	if d.oneIn(3) {
		v.header.Set("X-Flag", d.of("on", "off"))
	}
	return v
}

func (d dice) selector() string {
	return d.of("", "", "GET ", "POST ", "GET DELETE ", "OPTIONS ") +
		d.of("/a/*", "/a", "/a/b", "/b", "/b/*", "*.sql", "/c/*", "/a/* /b", "*x/y*")
}

func (d dice) pathRule(option string) string {
	if option != "public" && d.oneIn(4) {
		return option + " " + d.of("sensitive_files", "ip 198.51.100.0/24", "ip 2001:db8::/32 10.1.2.3")
	}
	if option == "public" && d.oneIn(8) {
		return "public *"
	}
	return option + " " + d.selector()
}

func (d dice) kind(stepUp bool) string {
	kinds := []string{
		"role admin", "role user admin", "role reseller", "scope read", "scope read write", "user ada", "user bob cyd", "claim plan gold",
		"issuer " + testIssuer, "ip 192.0.2.0/24", "ip 10.0.0.0/8 2001:db8::/32",
	}
	if stepUp {
		kinds = append(kinds, "fresh 10m", "fresh 2h", "acr gold", "acr silver gold")
	}
	return d.of(kinds...)
}

// requireParts is a require that can be written as one rule or as several.
type requireParts struct {
	selector            string
	options, conditions []string
}

// require makes a rule; extra are options for it, such as observe.
func (d dice) require(extra ...string) requireParts {
	q := requireParts{selector: d.selector(), options: append([]string{}, extra...)}
	for range 1 + d.IntN(3) {
		if d.oneIn(4) {
			q.conditions = append(q.conditions, "any {\n"+d.kind(true)+"\n"+d.kind(true)+"\n}")
			continue
		}
		q.conditions = append(q.conditions, d.kind(true))
	}
	if d.oneIn(3) {
		q.options = append(q.options, "when "+d.kind(false))
	}
	if d.oneIn(5) {
		q.options = append(q.options, "match {\n"+d.of("header X-Flag on", `path_regexp ^/(.)`, "not header X-Flag on")+"\n}")
	}
	if d.oneIn(4) {
		q.selector = d.of("", "POST")
	}
	return q
}

func (q requireParts) String() string {
	return "require " + q.selector + " {\n" + strings.Join(append(append([]string{}, q.options...), q.conditions...), "\n") + "\n}"
}

// apart is one rule for each condition.
func (q requireParts) apart() []string {
	var out []string
	for _, c := range q.conditions {
		out = append(out, requireParts{q.selector, q.options, []string{c}}.String())
	}
	return out
}

// rules makes a rule set, one line or block each.
func (d dice) rules() []string {
	var lines []string
	for _, option := range []string{"deny", "hide", "public"} {
		for range d.IntN(3) {
			lines = append(lines, d.pathRule(option))
		}
	}
	for range d.IntN(5) {
		var extra []string
		if d.oneIn(5) {
			extra = append(extra, "hide")
		}
		if d.oneIn(8) {
			extra = append(extra, "observe")
		}
		lines = append(lines, d.require(extra...).String())
	}
	if d.oneIn(2) {
		lines = append(lines, "role_order admin > reseller", "role_order reseller > user")
	}
	return lines
}

// permuted is the same lines in another order.
func (d dice) permuted(lines []string) []string {
	out := append([]string{}, lines...)
	d.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
