package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-gatehouse/gatehouse"
)

// tokenCookie is where the gates under test look for a browser's token.
const tokenCookie = "panel_token"

// gate is a running Caddy with a gate before an upstream, over TLS and in
// plain. Caddy is one per process: a second gate ends the first.
type gate struct {
	secure, plain string // base URLs
	roots         *x509.CertPool
	upstream      *upstream
	logFile       string
	config        []byte
}

// startGate loads testdata/Caddyfile. Certificates and fetched keys are kept in
// dir.
func startGate(t *testing.T, issuer, dir string) *gate {
	t.Helper()
	return startGateFrom(t, "Caddyfile", issuer, dir)
}

// startGateFrom takes another file of testdata, and more words to fill in.
func startGateFrom(t *testing.T, file, issuer, dir string, more ...string) *gate {
	t.Helper()
	g := &gate{
		secure: fmt.Sprintf("https://localhost:%d", freePort(t)),
		plain:  fmt.Sprintf("http://localhost:%d", freePort(t)),
	}
	g.start(t, file, append([]string{"STORAGE", dir, "SECURE", g.secure, "PLAIN", g.plain, "ISSUER", issuer}, more...)...)
	g.trust(t, dir)
	return g
}

// start loads a configuration as an operator writes it, with words in capitals
// filled in.
func (g *gate) start(t *testing.T, file string, words ...string) {
	t.Helper()
	g.upstream, g.logFile = startUpstream(t), filepath.Join(t.TempDir(), "caddy.log")
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer(append(words, "LOG", g.logFile, "UPSTREAM", g.upstream.address)...).Replace(string(text))
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(filled), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("adapting the Caddyfile: %v", err)
	}
	for _, w := range warnings {
		t.Errorf("%s:%d: %s", file, w.Line, w.Message)
	}
	g.config = config
	g.load(t)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
		g.showLog(t)
	})
}

// load makes Caddy take the configuration, anew if it has it already.
func (g *gate) load(t *testing.T) {
	t.Helper()
	if err := caddy.Load(g.config, true); err != nil {
		t.Fatalf("loading the configuration: %v", err)
	}
}

// trust waits for the certificate and takes the local authority's root.
func (g *gate) trust(t *testing.T, dir string) {
	t.Helper()
	root := filepath.Join(dir, "pki", "authorities", "local", "root.crt")
	eventually(t, 20*time.Second, "Caddy's certificate", func() bool {
		pem, err := os.ReadFile(root)
		if err != nil {
			return false
		}
		g.roots = x509.NewCertPool()
		g.roots.AppendCertsFromPEM(pem)
		dialer := &tls.Dialer{Config: &tls.Config{RootCAs: g.roots}}
		conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(g.secure, "https://"))
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// log is everything that Caddy and the gate have logged so far.
func (g *gate) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(g.logFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (g *gate) showLog(t *testing.T) {
	if t.Failed() {
		if text, err := os.ReadFile(g.logFile); err == nil {
			t.Logf("Caddy's log:\n%s", text)
		}
	}
}

// upstream is a real server behind the gate that tells what reached it.
type upstream struct {
	address string
	calls   atomic.Int64
}

type echo struct {
	Method  string
	URI     string
	Header  http.Header
	Trailer http.Header
}

func startUpstream(t *testing.T) *upstream {
	t.Helper()
	u := new(upstream)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.calls.Add(1)
		// Trailers are known once the body has been read. Errors here mean that the
		// client is gone, and the test has failed there.
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(echo{r.Method, r.RequestURI, r.Header, r.Trailer})
	}))
	t.Cleanup(server.Close)
	u.address = server.Listener.Addr().String()
	return u
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain for %s", within, what)
		}
	}
}
