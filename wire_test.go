package gatehouse

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// listen starts the site's server on a free loopback port, as Caddy does, for
// HTTP/1.1 and HTTP/2 without TLS.
func (s *site) listen() string {
	s.t.Helper()
	s.server.Listen = []string{"127.0.0.1:0"}
	s.server.Protocols = []string{"h1", "h2c"}
	if err := s.http.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.http.Stop() })
	return s.server.Listeners()[0].Addr().String()
}

// arrival is a request as an upstream got it, byte for byte.
type arrival struct {
	method string
	target string
	host   string
	header http.Header
}

// recorder is an HTTP/1.1 upstream that writes down what arrives and says yes.
type recorder struct {
	t       testing.TB
	address string

	mu       sync.Mutex
	arrivals map[string][]arrival // by case
}

// caseHeader tells the recorder which case of the test a request belongs to.
const caseHeader = "X-Case"

func newRecorder(t testing.TB) *recorder {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &recorder{t: t, address: listener.Addr().String(), arrivals: make(map[string][]arrival)}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			open.Go(func() { u.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = listener.Close() })
	return u
}

// serve reads requests without net/http's server, which would answer some of
// them by itself.
func (u *recorder) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) {
				u.t.Errorf("the upstream cannot read a request: %v", err)
			}
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		u.note(r)
		if r.Header.Get("Upgrade") != "" {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

func (u *recorder) note(r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	header := r.Header.Clone()
	for name, values := range r.Trailer {
		header["Trailer "+name] = values
	}
	name := r.Header.Get(caseHeader)
	u.arrivals[name] = append(u.arrivals[name], arrival{method: r.Method, target: r.RequestURI, host: r.Host, header: header})
}

// arrived returns what arrived of a case.
func (u *recorder) arrived(name string) []arrival {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.arrivals[name]
}

// wire is a client that sends bytes as they are, one request after the other
// over one connection, and dials anew where the server has closed it.
type wire struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
}

// rawAnswer is a response as it came, head and body.
type rawAnswer struct {
	status int
	head   string
	body   string
}

// send writes a whole request and reads the response to it.
func (c *wire) send(method, request string) (rawAnswer, error) {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.address)
		if err != nil {
			return rawAnswer{}, err
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	_ = c.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c.conn, request); err != nil {
		c.close()
		return rawAnswer{}, err
	}
	got, last, err := c.read(method)
	if err != nil || last {
		c.close()
	}
	return got, err
}

func (c *wire) read(method string) (got rawAnswer, last bool, err error) {
	var head strings.Builder
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return got, true, err
		}
		head.WriteString(line)
		if line == "\r\n" {
			break
		}
	}
	got.head = head.String()
	in := bufio.NewReader(io.MultiReader(strings.NewReader(got.head), c.in))
	response, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return got, true, err
	}
	body, err := io.ReadAll(response.Body)
	got.status, got.body = response.StatusCode, string(body)
	// What the second reader has taken beyond this response is not there: the
	// server has no further request to answer.
	return got, response.Close, err
}

func (c *wire) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// rawRequest is a request as it goes over the wire. Lines are header lines.
func rawRequest(method, target string, lines ...string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: panel.test\r\n%s\r\n", method, target, headerLines(lines))
}

func headerLines(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	return b.String()
}
