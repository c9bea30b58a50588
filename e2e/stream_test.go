package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// TestStreamsEndWithTheirToken has long responses of every kind over every
// version of HTTP, and beside each one with a token that goes on: on HTTP/2 and
// HTTP/3 they share a connection.
func TestStreamsEndWithTheirToken(t *testing.T) {
	up := startStreams(t)
	g := startStreamGate(t, up)
	for version, c := range g.clients(t) {
		for name, s := range map[string]longResponse{
			"events, idle":                 {path: "/idle"},
			"events, one after the other":  {path: "/ticks"},
			"a download":                   {path: "/download"},
			"a download that nobody reads": {path: "/download?fast", unread: true},
			"a file":                       {path: "/files/large", buffered: true},
			"a file that nobody reads":     {path: "/files/large", unread: true},
		} {
			t.Run(version+"/"+name, func(t *testing.T) {
				exp := time.Now().Add(time.Second)
				neighbour := make(chan error, 1)
				go func() {
					neighbour <- c.drain(t, "/ticks?n=35", streamToken(t, exp.Add(time.Hour)))
				}()
				s.mustEnd(t, c, exp)
				if err := <-neighbour; err != nil {
					t.Errorf("a stream with another token ended too: %v", err)
				}
				up.mustBeReleased(t)
			})
		}
	}
}

// longResponse is one that the token cuts short. What a client has buffered it
// reads before it notices; where that is much, the log tells the time.
type longResponse struct {
	path     string
	buffered bool
	unread   bool // until the end
}

func (s longResponse) mustEnd(t *testing.T, c *client, exp time.Time) {
	t.Helper()
	before := strings.Count(c.gate.log(t), streamLine)
	logged := func() {
		eventually(t, 5*time.Second, "the line in the log", func() bool {
			return strings.Count(c.gate.log(t), streamLine) == before+1
		})
	}
	resp := c.open(t, s.path, streamToken(t, exp))
	if s.unread {
		logged()
	}
	after := time.Since(exp)
	read := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, resp.Body)
		read <- err
	}()
	if s.buffered {
		logged()
		after = time.Since(exp)
	}
	err := <-read
	if !s.buffered && !s.unread {
		after = time.Since(exp)
	}
	if err == nil {
		t.Error("the response looks complete")
	}
	if after < 0 || after > time.Second {
		t.Errorf("ended %s after exp with %v, want within a second", after, err)
	}
	logged()
}

const streamLine = `"logger":"http.handlers.gatehouse","msg":"stream ended with its token"`

// TestWebSocketOverTLSEndsWithItsToken is the usual WebSocket of a browser.
func TestWebSocketOverTLSEndsWithItsToken(t *testing.T) {
	up := startStreams(t)
	g := startStreamGate(t, up)
	conn, err := tls.Dial("tcp", strings.TrimPrefix(g.secure, "https://"), &tls.Config{RootCAs: g.roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	exp := time.Now().Add(time.Second)
	address, err := url.Parse(g.secure + "/ws")
	if err != nil {
		t.Fatal(err)
	}
	ws, err := websocket.NewClient(&websocket.Config{
		Location: address, Origin: address, Protocol: []string{"bearer", streamToken(t, exp)}, Version: websocket.ProtocolVersionHybi13,
	}, conn)
	if err != nil {
		t.Fatal(err)
	}
	mustGreetAndEnd(t, ws, exp, "hello")
	up.mustBeReleased(t)
}

// TestWebSocketOverHTTP3EndsWithItsToken opens one by extended CONNECT (RFC 9220).
func TestWebSocketOverHTTP3EndsWithItsToken(t *testing.T) {
	up := startStreams(t)
	g := startStreamGate(t, up)
	c := g.clients(t)["HTTP/3"]
	for name, talk := range map[string]bool{"an idle one": false, "one that talks without end": true} {
		t.Run(name, func(t *testing.T) {
			exp := time.Now().Add(time.Second)
			out, in := io.Pipe()
			defer in.Close()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, g.secure+"/ws", out)
			if err != nil {
				t.Fatal(err)
			}
			req.Proto = "websocket"
			req.Header.Set("Sec-WebSocket-Version", "13")
			req.Header.Set("Sec-WebSocket-Protocol", "bearer, "+streamToken(t, exp))
			resp, err := c.http.Transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK || resp.Proto != "HTTP/3.0" {
				t.Fatalf("%s %s", resp.Proto, resp.Status)
			}
			if talk {
				go func() {
					for frame := []byte("\x81\x85\x00\x00\x00\x00again"); ; time.Sleep(time.Millisecond) {
						if _, err := in.Write(frame); err != nil {
							return
						}
					}
				}()
			}
			mustGreetAndEnd(t, resp.Body, exp, "\x81\x05hello")
			up.mustBeReleased(t)
		})
	}
}

// mustGreetAndEnd reads what the upstream says first, and waits for the end.
func mustGreetAndEnd(t *testing.T, stream io.Reader, exp time.Time, greeting string) {
	t.Helper()
	got := make([]byte, len(greeting))
	if _, err := io.ReadFull(stream, got); err != nil || string(got) != greeting {
		t.Fatalf("greeted with %q, %v", got, err)
	}
	_, err := io.Copy(io.Discard, stream)
	if after := time.Since(exp); after < 0 || after > time.Second {
		t.Errorf("ended %s after exp with %v, want within a second", after, err)
	}
}

// open begins a response and leaves its body to be read.
func (c *client) open(t *testing.T, path, token string) *http.Response {
	t.Helper()
	resp, err := c.begin(t, path, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Proto != c.version {
		t.Fatalf("%s %s", resp.Proto, resp.Status)
	}
	return resp
}

func (c *client) begin(t *testing.T, path, token string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return c.http.Do(req)
}

// drain reads a whole response.
func (c *client) drain(t *testing.T, path, token string) error {
	resp, err := c.begin(t, path, token)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

const (
	streamIssuer = "https://streams.example.test"
	streamSecret = "a secret of thirty-two bytes, here"
)

// streamToken is a token that ends at a moment, to the millisecond.
func streamToken(t *testing.T, exp time.Time) string {
	payload, err := json.Marshal(map[string]any{
		"iss": streamIssuer, "aud": "panel", "sub": "ada", "exp": float64(exp.UnixMilli()) / 1000,
	})
	if err != nil {
		t.Error(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	input := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(payload)
	mac := hmac.New(sha256.New, []byte(streamSecret))
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

func startStreamGate(t *testing.T, up *streams) *gate {
	t.Helper()
	dir := t.TempDir()
	large := filepath.Join(dir, "files", "large")
	if err := errors.Join(os.Mkdir(filepath.Dir(large), 0o700), os.WriteFile(large, nil, 0o600), os.Truncate(large, 1<<40)); err != nil {
		t.Fatal(err)
	}
	return startGateFrom(t, "streams.Caddyfile", streamIssuer, dir, "STREAMS", up.address)
}

// streams is an upstream with long answers. It goes on until it is released.
type streams struct {
	address string
	active  atomic.Int64
}

func startStreams(t *testing.T) *streams {
	t.Helper()
	u := new(streams)
	greet := websocket.Server{Handler: func(ws *websocket.Conn) {
		if websocket.Message.Send(ws, "hello") == nil {
			_, _ = io.Copy(ws, ws)
		}
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.active.Add(1)
		defer u.active.Add(-1)
		flush := func() {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: event\n\n")
			_ = http.NewResponseController(w).Flush()
		}
		switch r.URL.Path {
		case "/ws":
			greet.ServeHTTP(w, r)
		case "/idle":
			flush()
			<-r.Context().Done()
		case "/ticks":
			n, err := strconv.Atoi(r.URL.Query().Get("n"))
			for i := 0; (err != nil || i < n) && r.Context().Err() == nil; i++ {
				flush()
				time.Sleep(50 * time.Millisecond)
			}
		case "/download":
			for chunk := make([]byte, 64<<10); r.Context().Err() == nil; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
				if r.URL.RawQuery != "fast" {
					time.Sleep(2 * time.Millisecond)
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	u.address = server.Listener.Addr().String()
	return u
}

func (u *streams) mustBeReleased(t *testing.T) {
	t.Helper()
	eventually(t, 10*time.Second, "the upstream's release", func() bool { return u.active.Load() == 0 })
}
