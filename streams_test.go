package gatehouse

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"golang.org/x/net/websocket"
)

// A visitor is dismissed, and the console that is open in a tab goes on for days:
// the token was looked at once, when the WebSocket was opened.
func TestWebSocketEndsWithItsToken(t *testing.T) {
	before := goleak.IgnoreCurrent()
	up := newStreamUpstream(t)
	s := runStreams(t, up, "streams close_at_expiry\ntoken websocket")
	for name, use := range map[string]func(*websocket.Conn) error{
		"an idle one": func(ws *websocket.Conn) error {
			_, err := ws.Read(make([]byte, 8))
			return err
		},
		"one that talks without end": func(ws *websocket.Conn) error {
			for {
				if err := websocket.Message.Send(ws, "again"); err != nil {
					return err
				}
				var echoed string
				if err := websocket.Message.Receive(ws, &echoed); err != nil {
					return err
				}
			}
		},
		"one that sends and never reads": func(ws *websocket.Conn) error {
			for flood := make([]byte, 64<<10); ; {
				if err := websocket.Message.Send(ws, flood); err != nil {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			logs := s.listen()
			exp := time.Now().Add(time.Second)
			ws := s.dialWebSocket(t, s.token(t, claims{"exp": numericDate(exp)}))
			var greeting string
			if err := websocket.Message.Receive(ws, &greeting); err != nil || greeting != "hello" {
				t.Fatalf("%q, %v", greeting, err)
			}
			err := use(ws)
			mustEndWith(t, exp, err)
			up.mustBeReleased(t)
			mustBeLogged(t, logs, "HTTP/1.1")
		})
	}
	s.stop()
	up.Close()
	goleak.VerifyNone(t, before,
		// The storage's own: it ends within seconds of the lock's release.
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

// The same with a stream of events, and with a download that would last.
func TestResponseEndsWithItsToken(t *testing.T) {
	up := newStreamUpstream(t)
	s := runStreams(t, up, "streams close_at_expiry")
	for name, c := range map[string]struct {
		request string // on the wire, without its end
		behind  string
		read    bool
	}{
		"events, idle":                 {request: "GET /idle HTTP/1.1", read: true},
		"events, one after the other":  {request: "GET /ticks HTTP/1.1", read: true},
		"a download":                   {request: "GET /download HTTP/1.1", read: true},
		"a download that nobody reads": {request: "GET /download HTTP/1.1"},
		"a response to HTTP/1.0":       {request: "GET /ticks HTTP/1.0", read: true},
		// net/http watches for a client that leaves by reading ahead. With something
		// to read it is blind, and would keep the upstream for ever.
		"a request behind it": {request: "GET /idle HTTP/1.1", behind: "GET /idle HTTP/1.1\r\nHost: panel.test\r\n\r\n", read: true},
		// The server waits for the rest of it before it answers.
		"an upload under way": {request: "POST /idle HTTP/1.1\r\nContent-Length: 1000", behind: "begun"},
	} {
		t.Run(name, func(t *testing.T) {
			logs := s.listen()
			exp := time.Now().Add(time.Second)
			conn := s.dial(t)
			send(t, conn, c.request+"\r\nHost: panel.test\r\nAuthorization: Bearer "+s.token(t, claims{"exp": numericDate(exp)})+"\r\n\r\n"+c.behind)
			if !c.read {
				time.Sleep(time.Until(exp.Add(streamGrace / 2)))
				if up.active.Load() != 1 {
					t.Error("it ended before its token")
				}
				up.mustBeReleased(t)
				mustBeLogged(t, logs, "HTTP/1.")
				return
			}
			response := bufio.NewReader(conn)
			if line, err := response.ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
				t.Fatalf("%q, %v", line, err)
			}
			var end tail
			_, err := io.Copy(&end, response)
			if err == nil {
				err = io.EOF // the connection's end, which io.Copy does not tell
			}
			mustEndWith(t, exp, err)
			if strings.HasSuffix(string(end), "\r\n0\r\n\r\n") {
				t.Error("the response looks complete")
			}
			up.mustBeReleased(t)
			mustBeLogged(t, logs, "HTTP/1.")
		})
	}
}

// A timer or a deadline that outlives its request would end whatever the connection
// serves next: another visitor's request, behind a proxy that keeps connections.
func TestConnectionOutlivesTheToken(t *testing.T) {
	up := newStreamUpstream(t)
	s := runStreams(t, up, "streams close_at_expiry\npublic /open/*")
	for name, next := range map[string]struct{ path, token string }{
		"a public request meanwhile":            {"/open/ticks?n=30", ""},
		"a request with another token":          {"/ticks?n=30", s.token(t, nil)},
		"a request without an end known before": {"/ticks?n=30", s.token(t, claims{"exp": 1e300})},
		"nothing":                               {},
	} {
		t.Run(name, func(t *testing.T) {
			logs := s.listen()
			exp := time.Now().Add(time.Second)
			short, long := s.token(t, claims{"exp": numericDate(exp)}), s.token(t, nil)
			c := &keptConnection{t: t, conn: s.dial(t)}
			c.mustAnswer("/", short, 200)
			c.mustAnswer("/", short, 200) // from memory
			c.mustAnswer("/open/ticks?n=1", short, 200)
			if next.path != "" {
				c.mustAnswer(next.path, next.token, 200)
			}
			time.Sleep(time.Until(exp.Add(2 * streamGrace)))
			c.mustAnswer("/", short, 401)
			c.mustAnswer("/", long, 200)
			c.mustAnswer("/ticks?n=3", long, 200)
			if logs.Len() > 0 {
				t.Errorf("logged %v", logs.All())
			}
		})
	}
}

// A request that comes at the last moment is answered, though it takes a while.
func TestRequestAtTheLastMomentIsAnswered(t *testing.T) {
	s := runStreams(t, newStreamUpstream(t), "streams close_at_expiry")
	exp := time.Now().Add(150 * time.Millisecond)
	c := &keptConnection{t: t, conn: s.dial(t)}
	c.mustAnswer("/ticks?n=5", s.token(t, claims{"exp": numericDate(exp)}), 200) // 250 ms
	if time.Now().Before(exp) {
		t.Fatal("the token has not ended yet")
	}
	c.mustAnswer("/", s.token(t, nil), 200)
}

// What comes back with a token is limited, also where none is needed: the
// upstream is told whose it is. Nothing else is, nor anything by default.
func TestWhatIsLimited(t *testing.T) {
	for name, c := range map[string]struct {
		options, path string
		token, ends   bool
	}{
		"by default nothing":              {"", "/ticks?n=40", true, false},
		"not while observing":             {"streams close_at_expiry\nobserve", "/ticks?n=40", true, false},
		"public and anonymous":            {"streams close_at_expiry\npublic /open/*", "/open/ticks?n=40", false, false},
		"public and recognised":           {"streams close_at_expiry\npublic /open/*", "/open/ticks?n=40", true, true},
		"with a token from memory":        {"streams close_at_expiry", "/ticks?n=40", true, true},
		"with a token that is not cached": {"streams close_at_expiry\ncache off", "/ticks?n=40", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			up := newStreamUpstream(t)
			s := runStreams(t, up, c.options)
			exp := time.Now().Add(time.Second)
			token := s.token(t, claims{"exp": numericDate(exp)})
			(&keptConnection{t: t, conn: s.dial(t)}).mustAnswer("/", token, 200)
			if !c.token {
				token = ""
			}
			resp := (&keptConnection{t: t, conn: s.dial(t)}).get(c.path, token)
			_, err := io.ReadAll(resp.Body)
			switch {
			case c.ends:
				mustEndWith(t, exp, err)
			case err != nil || time.Now().Before(exp.Add(2*streamGrace)):
				t.Errorf("it ended %s after exp: %v", time.Since(exp), err)
			}
		})
	}
}

// A stream may go on as long as a new request with its token would be let in.
func TestUntil(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for name, c := range map[string]struct {
		options string
		claims  claims
		want    time.Duration
	}{
		"exp and the usual leeway":        {"", claims{"exp": at(time.Minute)}, 90 * time.Second},
		"without leeway":                  {"leeway 0s", claims{"exp": at(time.Minute)}, time.Minute},
		"exp before max_age":              {"max_age 10m", claims{"exp": at(time.Minute)}, 90 * time.Second},
		"max_age before exp":              {"max_age 10m", claims{"exp": at(time.Hour), "iat": at(-time.Minute)}, 9 * time.Minute},
		"max_age before the leeway's end": {"max_age 70s", claims{"exp": at(time.Minute), "iat": at(0)}, 70 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			signer := newSigner(t, testIssuer)
			s := newSiteFrom(t, signer, `:80 {
				route {
					gatehouse {
						issuer `+testIssuer+` {
							keys `+signer.keyFile+`
							audience panel
							`+c.options+`
						}
					}
					gatehouse_test_spy id:`+signer.keyFile+`
				}
			}`)
			var seen *identity
			s.spy(func(r *http.Request) { seen, _ = visitorFrom(r) })
			s.expect(pass(), ask{target: "/", token: s.token(t, c.claims)})
			if got := seen.until.Sub(now); got != c.want {
				t.Errorf("until %s from now, want %s", got, c.want)
			}
		})
	}
}

// What later handlers change about the request stays; the end does not.
func TestRequestIsGivenBack(t *testing.T) {
	for name, end := range map[string]error{"returned": nil, "with an error": errTest} {
		t.Run(name, func(t *testing.T) {
			e := &streamEnder{log: zap.NewNop(), now: time.Now}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			before := r.Context()
			var during context.Context
			err := e.serve(httptest.NewRecorder(), r, until(time.Hour), caddyhttp.HandlerFunc(func(_ http.ResponseWriter, inner *http.Request) error {
				during = inner.Context()
				inner.Method = http.MethodPost
				return end
			}))
			if err != end || r.Context() != before || during == before || during.Err() == nil || r.Method != http.MethodPost { //nolint:errorlint // bare
				t.Errorf("got %v, %v, the context during it %v, %s", err, r.Context(), during.Err(), r.Method)
			}
		})
	}
}

// reverse_proxy panics on purpose, and the request is used after it.
func TestPanicOfALaterHandlerPasses(t *testing.T) {
	e := &streamEnder{log: zap.NewNop(), now: time.Now}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	before := r.Context()
	defer func() {
		if p := recover(); p != http.ErrAbortHandler || r.Context() != before { //nolint:errorlint // bare
			t.Errorf("panic %v, context %v", p, r.Context())
		}
	}()
	_ = e.serve(httptest.NewRecorder(), r, until(time.Hour), caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		panic(http.ErrAbortHandler)
	}))
}

// A response cut short that is closed in good order looks complete: half a list of
// bans, half a backup. Where the client cannot be cut off, the server must abort.
func TestResponseCutShortIsAborted(t *testing.T) {
	e := &streamEnder{log: zap.NewNop(), now: time.Now}
	c := newStreamRequest(t)
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // bare
			t.Errorf("panic %v", p)
		}
	}()
	_ = e.serve(httptest.NewRecorder(), c, until(-streamGrace), caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		<-r.Context().Done()
		return nil
	}))
	t.Error("returned")
}

// The clock is set back while a stream goes on: a new request would still pass.
func TestStreamDoesNotEndBeforeItsTokenByTheClock(t *testing.T) {
	var clock atomic.Pointer[time.Time]
	set := func(at time.Time) { clock.Store(&at) }
	began := time.Now()
	set(began)
	e := &streamEnder{log: zap.NewNop(), now: func() time.Time { return *clock.Load() }}
	defer func() { _ = recover() }()
	_ = e.serve(httptest.NewRecorder(), newStreamRequest(t), &identity{until: began.Add(-streamGrace + 20*time.Millisecond)},
		caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			time.Sleep(200 * time.Millisecond)
			if r.Context().Err() != nil {
				t.Error("ended by a clock that says otherwise")
			}
			set(began.Add(time.Second))
			<-r.Context().Done()
			return nil
		}))
}

// A thousand gates on one server look at a connection once.
func TestConnectionIsRememberedOnce(t *testing.T) {
	first, second := net.Pipe()
	ctx := rememberConn(t.Context(), first)
	if rememberConn(ctx, second) != ctx || ctx.Value(connKey{}) != first {
		t.Error("remembered again")
	}
}

// BenchmarkStreams is a request with a remembered token, by what the option adds.
func BenchmarkStreams(b *testing.B) {
	ed := newBenchSigner(b, "EdDSA")
	for name, options := range map[string]string{"off": "", "on": "streams close_at_expiry"} {
		token := ed.token(b)
		c := routeCase{server: ed.site(b, options), token: func(int) string { return token }}
		b.Run(name, func(b *testing.B) { c.run(b, c.server, true) })
	}
}
