package e2e

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// client speaks one version of HTTP, and fails the test where another is used.
type client struct {
	http    *http.Client
	gate    *gate
	base    string
	version string
}

// clients are one for each way in.
func (g *gate) clients(t *testing.T) map[string]*client {
	t.Helper()
	overTLS := &tls.Config{RootCAs: g.roots}
	h1 := &http.Transport{TLSClientConfig: overTLS.Clone(), Protocols: new(http.Protocols)}
	h1.Protocols.SetHTTP1(true)
	h2 := &http.Transport{TLSClientConfig: overTLS.Clone(), Protocols: new(http.Protocols)}
	h2.Protocols.SetHTTP2(true)
	h2c := &http.Transport{Protocols: new(http.Protocols)}
	h2c.Protocols.SetUnencryptedHTTP2(true)
	h3 := &http3.Transport{TLSClientConfig: overTLS.Clone()}
	t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		h2c.CloseIdleConnections()
		_ = h3.Close()
	})
	all := make(map[string]*client)
	for name, c := range map[string]client{
		"HTTP/1.1 over TLS": {http: &http.Client{Transport: h1}, base: g.secure, version: "HTTP/1.1"},
		"HTTP/1.1 in plain": {http: &http.Client{Transport: h1}, base: g.plain, version: "HTTP/1.1"},
		"HTTP/2 over TLS":   {http: &http.Client{Transport: h2}, base: g.secure, version: "HTTP/2.0"},
		"HTTP/2 in plain":   {http: &http.Client{Transport: h2c}, base: g.plain, version: "HTTP/2.0"},
		"HTTP/3":            {http: &http.Client{Transport: h3}, base: g.secure, version: "HTTP/3.0"},
	} {
		c.gate = g
		c.http.Timeout = 20 * time.Second
		all[name] = &c
	}
	return all
}

// api is the client for tests that have no need of all versions.
func (g *gate) api(t *testing.T) *client {
	t.Helper()
	return g.clients(t)["HTTP/2 over TLS"]
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body []byte
	// passed is whether the upstream was called meanwhile.
	passed bool
}

// send makes a request. Header lines are given as "Name: value".
func (c *client) send(t *testing.T, method, path string, lines ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		// Not Add: it would hide the spelling that is sent.
		req.Header[name] = append(req.Header[name], value)
	}
	return c.do(t, req)
}

func (c *client) do(t *testing.T, req *http.Request) answer {
	t.Helper()
	before := c.gate.upstream.calls.Load()
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Proto != c.version {
		t.Fatalf("answered over %s, want %s", resp.Proto, c.version)
	}
	return answer{resp, body, c.gate.upstream.calls.Load() != before}
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// mustPass checks that the upstream answered, and gives what it was told.
func (a answer) mustPass(t *testing.T) echo {
	t.Helper()
	if a.StatusCode != http.StatusOK || !a.passed {
		t.Fatalf("got %d %s (upstream called: %t), want the upstream's 200", a.StatusCode, a.body, a.passed)
	}
	var told echo
	if err := json.Unmarshal(a.body, &told); err != nil {
		t.Fatal(err)
	}
	return told
}

// problem is the body of RFC 9457, with the members of the product.
type problem struct {
	Type, Title, Detail, Instance, Code, Error string
	Status                                     int
	RequestID                                  string `json:"request_id"`
	LoginURL                                   string `json:"login_url"`
	RetryAfter                                 int    `json:"retry_after"`
}

// mustRefuse checks everything that holds for each refusal told to a program.
func (a answer) mustRefuse(t *testing.T, status int, code string) problem {
	t.Helper()
	if a.passed {
		t.Fatal("the upstream was called")
	}
	var told problem
	if err := json.Unmarshal(a.body, &told); err != nil {
		t.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
	}
	if a.StatusCode != status || told.Status != status || told.Code != code {
		t.Fatalf("got %d with body %s, want %d %s", a.StatusCode, a.body, status, code)
	}
	id := a.Header.Get("X-Request-Id")
	if id == "" || told.RequestID != id || told.Instance != "urn:uuid:"+id {
		t.Errorf("request id %q and instance %q in the body, want Caddy's own %q", told.RequestID, told.Instance, id)
	}
	if told.Title == "" || told.Detail == "" {
		t.Errorf("title %q, detail %q: something to read is missing", told.Title, told.Detail)
	}
	a.mustHaveRefusalHeaders(t, "application/problem+json")
	return told
}

// mustHaveRefusalHeaders are those of every refusal, whatever its body.
func (a answer) mustHaveRefusalHeaders(t *testing.T, contentType string) {
	t.Helper()
	want := map[string]string{
		"Content-Type":           contentType,
		"Content-Language":       "en",
		"Cache-Control":          "no-store",
		"Vary":                   "Accept, Accept-Language, Sec-Fetch-Mode, Sec-Fetch-Dest, X-Requested-With, HX-Request",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "same-origin",
		"X-Robots-Tag":           "noindex, nofollow",
		"Etag":                   "",
		"Last-Modified":          "",
		"Content-Encoding":       "",
	}
	if a.Request.Method != http.MethodHead {
		want["Content-Length"] = strconv.Itoa(len(a.body))
	}
	for name, value := range want {
		if got := strings.Join(a.Header[http.CanonicalHeaderKey(name)], " | "); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}

// mustChallenge checks the challenge of a 401: one field line, the realm first,
// and an error only where a token came.
func (a answer) mustChallenge(t *testing.T, oauthError string) string {
	t.Helper()
	lines := a.Header["Www-Authenticate"]
	if len(lines) != 1 {
		t.Fatalf("WWW-Authenticate: %q, want one line", lines)
	}
	if oauthError == "" {
		if lines[0] != `Bearer realm="panel"` {
			t.Errorf("WWW-Authenticate: %s, want the realm alone", lines[0])
		}
	} else if !strings.HasPrefix(lines[0], `Bearer realm="panel", error="`+oauthError+`"`) {
		t.Errorf("WWW-Authenticate: %s, want the realm and error %s", lines[0], oauthError)
	}
	return lines[0]
}

// mustNotChallenge is for whoever need not sign in again.
func (a answer) mustNotChallenge(t *testing.T) {
	t.Helper()
	if lines := a.Header["Www-Authenticate"]; lines != nil {
		t.Errorf("WWW-Authenticate: %q, want none", lines)
	}
}
