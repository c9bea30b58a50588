package keyset

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	jwksURL = "https://id.example/keys"
	rfcX    = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" // RFC 8037 appendix A.2
)

var (
	rsa2048 = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsa1024 = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 1024)) })
	p256    = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwkOf renders a JWK from name, value pairs; a value that starts with [ or { is written as it is.
func jwkOf(pairs ...string) string {
	var out []string
	for i := 0; i < len(pairs); i += 2 {
		value := pairs[i+1]
		if value == "" || !strings.ContainsAny(value[:1], "[{") {
			value = fmt.Sprintf("%q", value)
		}
		out = append(out, fmt.Sprintf("%q:%s", pairs[i], value))
	}
	return "{" + strings.Join(out, ",") + "}"
}

func edJWK(kid string, more ...string) string {
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return jwkOf(append([]string{"kty", "OKP", "crv", "Ed25519", "x", b64(pub), "kid", kid}, more...)...)
}

func rsaJWK(kid string, key *rsa.PrivateKey, e int64, more ...string) string {
	return jwkOf(append([]string{"kty", "RSA", "n", b64(key.N.Bytes()), "e", b64(big.NewInt(e).Bytes()), "kid", kid}, more...)...)
}

func ecXY() (x, y []byte) {
	point := must(p256().PublicKey.Bytes())
	return point[1:33], point[33:]
}

func ecJWK(kid string, more ...string) string {
	x, y := ecXY()
	return jwkOf(append([]string{"kty", "EC", "crv", "P-256", "x", b64(x), "y", b64(y), "kid", kid}, more...)...)
}

func setOf(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

func byKid(kid string) token.Query {
	return token.Query{KeyID: kid, HasKeyID: true, Algorithm: "EdDSA"}
}

// issuer is an HTTP server without a network: the answers of each URL, and a count of the questions.
type issuer struct {
	mu    sync.Mutex
	on    map[string]handler
	count map[string]int
	last  *http.Request
}

type handler func(*http.Request) (*http.Response, error)

func newIssuer() *issuer { return &issuer{on: map[string]handler{}, count: map[string]int{}} }

func (i *issuer) RoundTrip(req *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.count[req.URL.String()]++
	i.last = req
	h := i.on[req.URL.String()]
	i.mu.Unlock()
	if h == nil {
		h = replies(404, "not here")
	}
	return h(req)
}

func (i *issuer) answer(url string, h handler) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.on[url] = h
}

func (i *issuer) asked(url string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.count[url]
}

func replies(status int, body string, header ...string) handler {
	return func(req *http.Request) (*http.Response, error) {
		return respond(req, status, io.NopCloser(strings.NewReader(body)), header...), nil
	}
}

func respond(req *http.Request, status int, body io.ReadCloser, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: body, Request: req, ContentLength: -1, ProtoMajor: 1, ProtoMinor: 1}
}

func down(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

func hangs(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// hangingBody sends its first byte and then nothing until the client gives up.
type hangingBody struct{ ctx context.Context }

func (b hangingBody) Read(p []byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func (hangingBody) Close() error { return nil }

func hangsInBody(req *http.Request) (*http.Response, error) {
	return respond(req, 200, hangingBody{req.Context()}), nil
}

// start makes a Remote for jwksURL and starts it.
func start(t *testing.T, i *issuer, s Store, change ...func(*Options)) *Remote {
	t.Helper()
	r := remote(t, i, change...)
	r.Start(&Host{Store: s})
	return r
}

func remote(t *testing.T, i *issuer, change ...func(*Options)) *Remote {
	t.Helper()
	o := Options{Issuer: "https://id.example", URL: jwksURL, Transport: i}
	for _, f := range change {
		f(&o)
	}
	r, err := NewRemote(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func wantKey(t *testing.T, r token.Keys, kid string) {
	t.Helper()
	k, err := r.Key(t.Context(), byKid(kid))
	if err != nil || k.ID() != kid {
		t.Fatalf("key %q: got %v, %v", kid, k, err)
	}
}

func wantNone(t *testing.T, r token.Keys, kid string) {
	t.Helper()
	if k, err := r.Key(t.Context(), byKid(kid)); !errors.Is(err, token.ErrNoSuchKey) {
		t.Fatalf("key %q: got %v, %v, want no such key", kid, k, err)
	}
}

func wantUnavailable(t *testing.T, r token.Keys, kid string) *token.UnavailableError {
	t.Helper()
	k, err := r.Key(t.Context(), byKid(kid))
	var unavailable *token.UnavailableError
	if !errors.As(err, &unavailable) {
		t.Fatalf("key %q: got %v, %v, want unavailable", kid, k, err)
	}
	if unavailable.RetryAfter < minRetry || unavailable.RetryAfter > maxRetry {
		t.Fatalf("retry after %s, want 1 s to 30 s", unavailable.RetryAfter)
	}
	return unavailable
}

// memory is a Store that keeps what it is given.
type memory struct {
	mu    sync.Mutex
	data  map[string][]byte
	saves int
}

func newMemory() *memory { return &memory{data: map[string][]byte{}} }

func (m *memory) Load(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, there := m.data[name]
	if !there {
		return nil, fmt.Errorf("load %s: %w", name, fs.ErrNotExist)
	}
	return data, nil
}

func (m *memory) Save(_ context.Context, name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data[name] = data
	m.saves++
	return nil
}
