package gatehouse

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is an HTTP/2 client without TLS that sends header fields as they are.
type frames struct {
	t      testing.TB
	conn   net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	stream uint32
}

func newFrames(t testing.TB, address string) *frames {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	f := &frames{t: t, conn: conn, framer: http2.NewFramer(conn, conn), stream: 1}
	f.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

// h2answer is a response over HTTP/2. A stream that the server resets has
// status 0.
type h2answer struct {
	status int
	fields []hpack.HeaderField
	body   []byte
}

// send opens a stream with the given fields (name, value, ...) and waits for
// its end.
func (f *frames) send(fields ...string) h2answer {
	f.t.Helper()
	f.block.Reset()
	encoder := hpack.NewEncoder(&f.block)
	for i := 0; i < len(fields); i += 2 {
		if err := encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			f.t.Fatal(err)
		}
	}
	stream := f.stream
	f.stream += 2
	if err := f.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		f.t.Fatal(err)
	}
	var got h2answer
	for {
		frame, err := f.framer.ReadFrame()
		if err != nil {
			f.t.Fatalf("waiting for stream %d: %v", stream, err)
		}
		if frame.Header().StreamID != stream {
			if settings, ok := frame.(*http2.SettingsFrame); ok && !settings.IsAck() {
				_ = f.framer.WriteSettingsAck()
			}
			if away, ok := frame.(*http2.GoAwayFrame); ok {
				f.t.Fatalf("the server ends the connection: %v", away.ErrCode)
			}
			continue
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			got.status, _ = strconv.Atoi(frame.PseudoValue("status"))
			got.fields = slices.Clone(frame.Fields)
		case *http2.DataFrame:
			got.body = append(got.body, frame.Data()...)
			if n := uint32(len(frame.Data())); n > 0 {
				_ = f.framer.WriteWindowUpdate(0, n)
			}
		case *http2.RSTStreamFrame:
			return got
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return got
		}
	}
}

// HTTP/2 has no request line: each part of it comes as a field of its own, and
// may hold what a line could not.
func TestPseudoHeadersOverHTTP2(t *testing.T) {
	s, u, address := trickSite(t, trickRules)
	bearer := "Bearer " + s.token(t, nil)
	for _, c := range []struct{ name, method, scheme, authority, path, more string }{
		{"admin path", "GET", "http", "panel.test", "/admin", ""},
		{"no slash", "GET", "http", "panel.test", "admin", ""},
		{"absolute", "GET", "http", "panel.test", "http://panel.test/admin", ""},
		{"absolute without a host", "GET", "http", "panel.test", "http:///admin", ""},
		{"opaque", "GET", "http", "panel.test", "http:admin", ""},
		{"network path", "GET", "http", "panel.test", "//panel.test/admin", ""},
		{"spaces", "GET", "http", "panel.test", "/ /../admin", ""},
		{"a second request line", "GET", "http", "panel.test", "/public/x HTTP/1.1\r\nHost: x\r\n\r\nGET /admin", ""},
		{"a space and a version", "GET", "http", "panel.test", "/admin HTTP/1.1", ""},
		{"a fragment", "GET", "http", "panel.test", "/admin#/public/x", ""},
		{"raw letters", "GET", "http", "panel.test", "/public/\u2025/admin", ""},
		{"backslash", "GET", "http", "panel.test", `/public\..\admin`, ""},
		{"star", "GET", "http", "panel.test", "*", ""},
		{"empty path", "GET", "http", "panel.test", "", ""},
		{"method with a line", "GET /admin HTTP/1.1\r\nX: y", "http", "panel.test", "/public/x", ""},
		{"method with a space", "GET /admin", "http", "panel.test", "/public/x", ""},
		{"authority with a path", "GET", "http", "panel.test/admin?", "/public/x", ""},
		{"authority with a user", "GET", "http", "panel.test/admin#@x", "/public/x", ""},
		{"authority with a backslash", "GET", "http", `panel.test\admin\`, "/public/x", ""},
		{"scheme with a path", "GET", "http://panel.test/admin?", "panel.test", "/public/x", ""},
		{"a WebSocket", "CONNECT", "http", "panel.test", "/admin/socket", ":protocol websocket"},
		{"a tunnel of another protocol", "CONNECT", "http", "panel.test", "/public/x", ":protocol connect-udp"},
		{"a protocol without CONNECT", "GET", "http", "panel.test", "/admin", ":protocol websocket"},
		{"a second path", "GET", "http", "panel.test", "/public/x", ":path /admin"},
		{"a path in the headers", "GET", "http", "panel.test", "/public/x", "x-original-url /admin"},
		{"a method override", "POST", "http", "panel.test", "/admin", "x-http-method-override GET"},
		{"a connection header", "GET", "http", "panel.test", "/admin", "connection upgrade"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fields := []string{":method", c.method, ":scheme", c.scheme, ":authority", c.authority, ":path", c.path, "authorization", bearer, "x-case", c.name}
			if c.more != "" {
				var name, value string
				if _, err := fmt.Sscan(c.more, &name, &value); err != nil {
					t.Fatal(err)
				}
				at := len(fields)
				if name[0] == ':' {
					at = 8 // with its like, or the server looks no further
				}
				fields = slices.Insert(fields, at, name, value)
			}
			got := newFrames(t, address).send(fields...)
			for _, a := range u.arrived(c.name) {
				if a.header.Get("X-Original-Url") != "" || a.method != "GET" {
					t.Errorf("it arrived as %s %s %v", a.method, a.target, a.header)
				}
				for model, paths := range readings(a.target) {
					if slices.ContainsFunc(paths, adminPath) {
						t.Errorf("it arrived as %s, an admin path to an upstream that reads it as %q", a.target, model)
					}
				}
				if whole, err := url.Parse("http://" + a.host + a.target); err != nil || adminPath(whole.Path) || a.host != "panel.test" {
					t.Errorf("it arrived for host %q", a.host)
				}
			}
			if got.status == 200 != (len(u.arrived(c.name)) > 0) {
				t.Errorf("got %d, %d arrived", got.status, len(u.arrived(c.name)))
			}
		})
	}
	// The other way round: what is no trick arrives, so the client works.
	for _, path := range []string{"/public/x", "/sites?x=1"} {
		got := newFrames(t, address).send(":method", "GET", ":scheme", "http", ":authority", "panel.test", ":path", path, "authorization", bearer, "x-case", "plain "+path)
		if a := u.arrived("plain " + path); got.status != 200 || len(a) != 1 || a[0].target != path {
			t.Errorf("%s: got %d, arrived %+v", path, got.status, a)
		}
	}
}
