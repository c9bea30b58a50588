package gatehouse

import (
	"net"
	"net/http"
	"net/http/fcgi"
	"slices"
	"strings"
	"testing"
)

// newFastCGIRecorder is an upstream that speaks FastCGI and turns HTTP_*
// variables into headers, as PHP does.
func newFastCGIRecorder(t testing.TB) *recorder {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	u := &recorder{t: t, address: listener.Addr().String(), arrivals: make(map[string][]arrival)}
	go func() {
		_ = fcgi.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u.note(r)
			w.WriteHeader(http.StatusOK)
		}))
	}()
	return u
}

// forgingSite is a gate with identity headers before an upstream, which answers
// errors too.
func forgingSite(t *testing.T, upstream, serverOptions string) (*site, string) {
	t.Helper()
	s := newSigner(t, testIssuer)
	site := newSiteFrom(t, s, `
{
	servers {
		protocols h1
		`+serverOptions+`
	}
}
:80 {
	handle_errors {
		reverse_proxy `+upstream+`
	}
	route {
		gatehouse {
			issuer `+testIssuer+` {
				keys `+s.keyFile+`
				audience `+testAudience+`
			}
			public /public/*
			hide /internal/*
			identity_headers {
				X-User id
				X-Roles roles
			}
		}
		error /broken 502
		reverse_proxy `+upstream+`
	}
}`)
	return site, site.listen()
}

// A client that sends X-User itself must not become that user: in whatever
// spelling the upstream takes for it, on whatever way a request goes past the
// gate, and though it asks by Connection that the proxy remove ours.
func TestForgedIdentityHeadersOverTheWire(t *testing.T) {
	spellings := []string{"X-User", "x-user", "X_User", "x.user", "X-USER", "X~User", "X!User", "x-uSeR", "X_USER", "x-roles", "X_Roles", "X.Roles", "x~rOLES", "X.User", "x_user"}
	for kind, upstream := range map[string]func(testing.TB) (*recorder, string){
		"HTTP": func(t testing.TB) (*recorder, string) { u := newRecorder(t); return u, u.address },
		"FastCGI": func(t testing.TB) (*recorder, string) {
			u := newFastCGIRecorder(t)
			return u, u.address + " {\ntransport fastcgi\n}"
		},
	} {
		for keeps, options := range map[string]string{
			"as Caddy is": "", "with names kept": "expected_underscore_headers X_User X_Roles\nexpected_dot_headers X.User X.Roles",
		} {
			t.Run(kind+" "+keeps, func(t *testing.T) {
				u, directive := upstream(t)
				s, address := forgingSite(t, directive, options)
				for _, spelling := range spellings {
					for _, way := range waysPast(s.token(t, claims{"roles": "viewer"})) {
						way.forge(t, u, address, spelling)
					}
				}
			})
		}
	}
}

// wayPast is a kind of request that reaches the upstream.
type wayPast struct {
	name, method, path string
	known              bool // the visitor is recognised
	lines              []string
}

func waysPast(token string) []wayPast {
	bearer := "Authorization: Bearer " + token
	const keep = "Connection: keep-alive, X-User, x_roles, X-Roles"
	return []wayPast{
		{"allowed", "GET", "/x", true, []string{bearer, keep}},
		{"public", "GET", "/public/x", false, []string{keep}},
		{"public, recognised", "GET", "/public/x", true, []string{bearer, keep}},
		{"preflight", "OPTIONS", "/x", false, []string{keep, "Origin: https://a.example", "Access-Control-Request-Method: PUT"}},
		{"hidden", "GET", "/internal/x", true, []string{bearer, keep}},
		{"WebSocket", "GET", "/ws", true, []string{
			bearer, "Connection: Upgrade, X-User", "Connection: x-ROLES", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
		}},
		{"error", "GET", "/broken", true, []string{bearer, keep}},
	}
}

func (way wayPast) forge(t *testing.T, u *recorder, address, spelling string) {
	t.Helper()
	name := way.name + " " + spelling
	c := &wire{address: address}
	defer c.close()
	_, err := c.send(way.method, rawRequest(way.method, way.path, append([]string{spelling + ": root", "X-Other: guest", caseHeader + ": " + name, spelling + ": root"}, way.lines...)...))
	arrivals := u.arrived(name)
	if err != nil || len(arrivals) != 1 {
		t.Fatalf("%s: %v, %d arrived", name, err, len(arrivals))
	}
	header := arrivals[0].header
	for key, values := range header {
		if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, "root") }) {
			t.Errorf("%s: %s: %q arrived", name, key, values)
		}
	}
	if header.Get("X-Other") != "guest" {
		t.Errorf("%s: no header of the client arrived, so nothing is proven", name)
	}
	want := []string{"", ""}
	if way.known {
		want = []string{"ada", "viewer"}
	}
	if got := []string{header.Get("X-User"), header.Get("X-Roles")}; !slices.Equal(got, want) {
		t.Errorf("%s: the upstream was told %q, want %q", name, got, want)
	}
}

// A trailer is filled in at the end of the body, when all headers have been
// judged.
func TestForgedTrailersOverTheWire(t *testing.T) {
	for kind, upstream := range map[string]func(testing.TB) (*recorder, string){
		"HTTP": func(t testing.TB) (*recorder, string) { u := newRecorder(t); return u, u.address },
		"FastCGI": func(t testing.TB) (*recorder, string) {
			u := newFastCGIRecorder(t)
			return u, u.address + " {\ntransport fastcgi\n}"
		},
	} {
		u, directive := upstream(t)
		s, address := forgingSite(t, directive, "")
		for _, announced := range []string{"Trailer: X-User, X-Roles", "Trailer: x_user", "X-Nothing: announced"} {
			name := kind + " " + announced
			c := &wire{address: address}
			request := rawRequest("POST", "/x", "Authorization: Bearer "+s.token(t, nil), caseHeader+": "+name, "Transfer-Encoding: chunked", announced, "TE: trailers") +
				"4\r\nbody\r\n0\r\nX-User: root\r\nX-Roles: root\r\nx_user: root\r\n\r\n"
			_, err := c.send("POST", request)
			c.close()
			arrivals := u.arrived(name)
			if err != nil || len(arrivals) != 1 {
				t.Errorf("%s: %v, %d arrived", name, err, len(arrivals))
				continue
			}
			for key, values := range arrivals[0].header {
				if strings.Contains(strings.Join(values, ","), "root") {
					t.Errorf("%s: %s: %q arrived", name, key, values)
				}
			}
		}
	}
}
