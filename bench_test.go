package gatehouse

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// nowhere is a response writer that costs nothing itself.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

// BenchmarkRoute compares whole routes of a provisioned server with and without
// the gate, in one process.
func BenchmarkRoute(b *testing.B) {
	gated := newSite(b, `
		public /login
		require /admin/* role admin`)
	uncached := newSite(b, `cache off`)
	bare := bareServer(b)
	token := gated.token(b, nil)
	own := uncached.token(b, nil)
	forged := token[:len(token)-8] + "AAAAAAAA"
	for _, c := range []struct {
		name   string
		server *caddyhttp.Server
		path   string
		token  func(i int) string
	}{
		{"bare", bare, "/x", func(int) string { return "" }},
		{"bare_with_token", bare, "/x", func(int) string { return token }},
		{"public", gated.server, "/login", func(int) string { return "" }},
		{"hit", gated.server, "/x", func(int) string { return token }},
		{"miss", uncached.server, "/x", func(int) string { return own }},
		{"refusal_no_token", gated.server, "/x", func(int) string { return "" }},
		{"refusal_role", gated.server, "/admin/x", func(int) string { return token }},
		{"refusal_forged_again", gated.server, "/x", func(int) string { return forged }},
		{"refusal_forged_new", gated.server, "/x", func(i int) string { return forged[:len(forged)-7] + strconv.Itoa(1000000+i%9000000) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				r := httptest.NewRequest(http.MethodGet, c.path, nil)
				if t := c.token(i); t != "" {
					r.Header.Set("Authorization", "Bearer "+t)
				}
				c.server.ServeHTTP(&nowhere{http.Header{}}, r)
			}
		})
	}
	b.Run("refusal_page", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := httptest.NewRequest(http.MethodGet, "/x?tab=dns", nil)
			r.Header["Accept"], r.Header["Accept-Language"] = browser["Accept"], []string{"en-GB,en;q=0.9"}
			r.Header["Sec-Fetch-Mode"], r.Header["Sec-Fetch-Dest"] = browser["Sec-Fetch-Mode"], browser["Sec-Fetch-Dest"]
			gated.server.ServeHTTP(&nowhere{http.Header{}}, r)
		}
	})
}

// bareServer is the same route without the gate.
func bareServer(b *testing.B) *caddyhttp.Server {
	b.Helper()
	ctx, err := caddy.ProvisionContext(adapted(b, ":80 {\n\troute {\n\t\tgatehouse_test_spy none\n\t}\n}"))
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
