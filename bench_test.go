package gatehouse

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BenchmarkRoute sends requests through whole provisioned servers, all in one
// process. Beside each case stand what it is to be held against: `bare` is the
// same request to the same route without the gate, `respond` the same to one
// that answers 401 by itself, and `signature` what the standard library alone
// takes to check the token. Run it with -cpu 1: the garbage collector then
// shows in the figures, and other work on the machine less.
func BenchmarkRoute(b *testing.B) {
	const rules = `
		public /login
		require /admin/* role admin`
	ed := newBenchSigner(b, "EdDSA")
	gated := ed.site(b, rules)
	bare, respond := bareServer(b, "gatehouse_test_spy none"), bareServer(b, "respond 401")
	token := ed.token(b)
	// Forged at the start of the signature, so that it is refused only when all of it was computed.
	cut := strings.LastIndexByte(token, '.') + 1
	forged := func(i int) string { return token[:cut] + strconv.Itoa(10_000_000+i%90_000_000) + token[cut+8:] }
	always := func(raw string) func(int) string { return func(int) string { return raw } }

	cases := []routeCase{
		{name: "public", server: gated, path: "/login"},
		{name: "public_with_token", server: gated, path: "/login", token: always(token), signer: ed},
		{name: "hit", server: gated, token: always(token), signer: ed},
	}
	for _, alg := range []string{"RS256", "ES256", "EdDSA", "HS256"} {
		s := newBenchSigner(b, alg)
		cases = append(cases, routeCase{name: "miss_" + alg, server: s.site(b, "cache off"), token: always(s.token(b)), signer: s})
	}
	cases = append(cases,
		routeCase{name: "no_token", server: gated, refused: true},
		routeCase{name: "no_token_page", server: gated, header: browser, refused: true},
		routeCase{name: "role_missing", server: gated, path: "/admin/x", token: always(token), signer: ed, refused: true},
		routeCase{name: "no_token_in_it", server: gated, token: always("nothing"), refused: true},
		routeCase{name: "forged_again", server: gated, token: always(forged(0)), signer: ed, refused: true},
		routeCase{name: "forged_anew", server: gated, token: forged, signer: ed, refused: true},
	)
	for _, c := range cases {
		b.Run(c.name+"/gate", func(b *testing.B) { c.run(b, c.server, !c.refused) })
		b.Run(c.name+"/bare", func(b *testing.B) { c.run(b, bare, true) })
		if c.refused {
			b.Run(c.name+"/respond", func(b *testing.B) { c.run(b, respond, false) })
		}
		if c.signer != nil {
			b.Run(c.name+"/signature", c.signer.benchmark)
		}
	}
}

// routeCase is one kind of request.
type routeCase struct {
	name    string
	server  *caddyhttp.Server
	path    string             // default: /x
	header  http.Header        // beside the token
	token   func(i int) string // of the i-th request; nil: none
	signer  *benchSigner       // nil: there is no signature to check
	refused bool
}

// run sends the request to a server, and makes sure that it answers as expected.
func (c *routeCase) run(b *testing.B, server *caddyhttp.Server, passes bool) {
	path := c.path
	if path == "" {
		path = "/x"
	}
	template := httptest.NewRequest(http.MethodGet, path, nil)
	maps.Copy(template.Header, c.header)
	var w nowhere
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r := *template
		r.Header = maps.Clone(template.Header)
		if c.token != nil {
			r.Header["Authorization"] = []string{"Bearer " + c.token(i)}
		}
		w = nowhere{header: http.Header{}}
		server.ServeHTTP(&w, &r)
	}
	if passed := w.status < 400; passed != passes {
		b.Fatalf("passed: %t, want %t", passed, passes)
	}
}

// nowhere is a response writer that costs nothing itself.
type nowhere struct {
	header http.Header
	status int
}

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(status int)      { n.status = status }

// bareServer is a route without the gate.
func bareServer(b *testing.B, handler string) *caddyhttp.Server {
	b.Helper()
	ctx, err := caddy.ProvisionContext(adapted(b, ":80 {\n\troute {\n\t\t"+handler+"\n\t}\n}"))
	if err != nil {
		b.Fatal(err)
	}
	app, err := ctx.App("http")
	if err != nil {
		b.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		return server
	}
	b.Fatal("no server")
	return nil
}
