package gatehouse

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/net/websocket"
)

func until(d time.Duration) *identity { return &identity{until: time.Now().Add(d)} }

func newStreamRequest(t *testing.T) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
}

func numericDate(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }

// mustEndWith checks that a client has just noticed the end, for the token's sake.
func mustEndWith(t *testing.T, exp time.Time, err error) {
	t.Helper()
	after := time.Since(exp)
	if err == nil {
		t.Errorf("no end was noticed, %s after exp", after)
	}
	if after < 0 || after > time.Second {
		t.Errorf("ended %s after exp with %v, want within a second", after, err)
	}
}

func mustBeLogged(t *testing.T, logs *observer.ObservedLogs, proto string) {
	t.Helper()
	eventuallyTrue(t, "a line in the log", func() bool { return logs.Len() > 0 })
	line := logs.All()[0]
	fields := line.ContextMap()
	id, _ := fields["request_id"].(string)
	if logs.Len() != 1 || line.Level != zapcore.InfoLevel || !uuidPattern.MatchString(id) || len(fields) != 3 {
		t.Errorf("logged %v", logs.All())
	}
	if got, _ := fields["proto"].(string); !strings.HasPrefix(got, proto) {
		t.Errorf("logged %q, want %s", got, proto)
	}
}

func eventuallyTrue(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// streamUpstream is a panel with long answers. It goes on until it is released.
type streamUpstream struct {
	*httptest.Server
	active atomic.Int64
}

func newStreamUpstream(t *testing.T) *streamUpstream {
	t.Helper()
	up := new(streamUpstream)
	greet := websocket.Server{Handler: func(ws *websocket.Conn) {
		if websocket.Message.Send(ws, "hello") == nil {
			_, _ = io.Copy(ws, ws)
		}
	}}
	up.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up.active.Add(1)
		defer up.active.Add(-1)
		switch path.Base(r.URL.Path) {
		case "ws":
			greet.ServeHTTP(w, r)
		case "idle":
			flush(w, "data: begun\n\n")
			<-r.Context().Done()
		case "ticks":
			n, err := strconv.Atoi(r.URL.Query().Get("n"))
			for i := 0; (err != nil || i < n) && r.Context().Err() == nil; i++ {
				flush(w, "data: tick\n\n")
				time.Sleep(50 * time.Millisecond)
			}
		case "download":
			for chunk := make([]byte, 64<<10); r.Context().Err() == nil; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}
	}))
	t.Cleanup(up.Close)
	return up
}

func flush(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, text)
	_ = http.NewResponseController(w).Flush()
}

// tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p[max(0, len(p)-16):]...)
	*t = (*t)[max(0, len(*t)-16):]
	return len(p), nil
}

func (u *streamUpstream) mustBeReleased(t *testing.T) {
	t.Helper()
	eventuallyTrue(t, "the upstream's release", func() bool { return u.active.Load() == 0 })
}

func runStreams(t *testing.T, up *streamUpstream, options string) *running {
	t.Helper()
	s := newSigner(t, testIssuer)
	return run(t, s, hosted("panel", `
		gatehouse {
			issuer `+testIssuer+` {
				keys `+s.keyFile+`
				audience `+testAudience+`
				leeway 0s
			}
			`+options+`
			token header Authorization Bearer
		}
		reverse_proxy `+strings.TrimPrefix(up.URL, "http://")+`
	`))
}

// listen returns what is logged of streams from now on.
func (c *running) listen() *observer.ObservedLogs {
	core, logs := observer.New(zapcore.DebugLevel)
	c.gate.gate.streams.log = zap.New(core)
	return logs
}

func (c *running) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", c.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

func (c *running) dialWebSocket(t *testing.T, token string) *websocket.Conn {
	t.Helper()
	address := url.URL{Scheme: "ws", Host: "panel.test", Path: "/ws"}
	ws, err := websocket.NewClient(&websocket.Config{
		Location: &address, Origin: &address, Protocol: []string{"bearer", token}, Version: websocket.ProtocolVersionHybi13,
	}, c.dial(t))
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// keptConnection sends one request after the other.
type keptConnection struct {
	t      *testing.T
	conn   net.Conn
	reader *bufio.Reader
}

func (c *keptConnection) get(path, token string) *http.Response {
	c.t.Helper()
	if c.reader == nil {
		c.reader = bufio.NewReader(c.conn)
	}
	head := "GET " + path + " HTTP/1.1\r\nHost: panel.test\r\n"
	if token != "" {
		head += "Authorization: Bearer " + token + "\r\n"
	}
	send(c.t, c.conn, head+"\r\n")
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}

func (c *keptConnection) mustAnswer(path, token string, status int) {
	c.t.Helper()
	resp := c.get(path, token)
	if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != status {
		c.t.Fatalf("%s: %d, %v; want %d", path, resp.StatusCode, err, status)
	}
}
