package gatehouse

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

const (
	testIssuer   = "https://id.example.com"
	testAudience = "panel"
)

// signer is an identity provider as far as tokens are concerned.
type signer struct {
	issuer  string
	kid     string // left out of tokens when empty
	private ed25519.PrivateKey
	keyFile string
}

func newSigner(t testing.TB, issuer string) *signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return &signer{issuer: issuer, private: private, keyFile: file}
}

type claims map[string]any

// token signs claims over sound defaults; nil removes one.
func (s *signer) token(t testing.TB, overrides claims) string {
	t.Helper()
	all := claims{
		"iss": s.issuer, "aud": testAudience, "sub": "ada",
		"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
	}
	maps.Copy(all, overrides)
	for name, value := range all {
		if value == nil {
			delete(all, name)
		}
	}
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]string{"alg": "EdDSA", "typ": "JWT"}
	if s.kid != "" {
		header["kid"] = s.kid
	}
	head, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return s.sign(string(head), string(payload))
}

func (s *signer) sign(header, payload string) string {
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	input := encode(header) + "." + encode(payload)
	return input + "." + encode(string(ed25519.Sign(s.private, []byte(input))))
}

// site is a provisioned server with one gate, and a next handler that tells
// what reached it. It has no listener.
type site struct {
	*signer
	t      testing.TB
	http   *caddyhttp.App
	server *caddyhttp.Server
	app    *App
	gate   *Gatehouse
	logs   *observer.ObservedLogs
}

// reachedHeader is set by the next handler of every test site.
const reachedHeader = "X-Next"

// newSite provisions a site whose gate has the given options beside an issuer.
// What comes before the gate, such as named matchers, can be given too.
func newSite(t testing.TB, options string, before ...string) *site {
	t.Helper()
	s := newSigner(t, testIssuer)
	return newSiteFrom(t, s, `
:80 {
	route {
		`+strings.Join(before, "\n")+`
		gatehouse {
			issuer `+testIssuer+` {
				keys `+s.keyFile+`
				audience `+testAudience+`
			}
			`+options+`
		}
		gatehouse_test_spy id:`+s.keyFile+`
	}
}`)
}

// newSiteFrom provisions a whole Caddyfile.
func newSiteFrom(t testing.TB, s *signer, caddyfile string) *site {
	t.Helper()
	cfg := adapted(t, caddyfile)
	ctx, err := caddy.ProvisionContext(cfg)
	if err != nil {
		t.Fatalf("provisioning: %v", err)
	}
	httpApp, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	gatehouseApp, err := ctx.App("gatehouse")
	if err != nil {
		t.Fatal(err)
	}
	out := &site{signer: s, t: t, http: httpApp.(*caddyhttp.App), app: gatehouseApp.(*App)}
	for _, srv := range out.http.Servers {
		out.server = srv
	}
	if out.gate = findGate(out.server.Routes); out.gate == nil {
		t.Fatal("the site has no gate")
	}
	core, logs := observer.New(zapcore.DebugLevel)
	out.logs = logs
	out.gate.gate.log = zap.New(core)
	out.gate.gate.teller.log = zap.New(core)
	out.gate.gate.headers.log = zap.New(core)
	out.gate.gate.forwarded.log = zap.New(core)
	if err := out.app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = out.app.Stop()
		_ = out.app.Cleanup()
	})
	return out
}

func adapted(t testing.TB, caddyfile string) *caddy.Config {
	t.Helper()
	return adaptedWith(t, caddyfile, t.TempDir())
}

// adaptedWith keeps Caddy's storage in the given folder.
func adaptedWith(t testing.TB, caddyfile, storage string) *caddy.Config {
	t.Helper()
	adapter := caddyconfig.GetAdapter("caddyfile")
	raw, _, err := adapter.Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("adapting: %v", err)
	}
	cfg := new(caddy.Config)
	if err := json.Unmarshal(raw, cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Admin = &caddy.AdminConfig{Disabled: true}
	root, err := json.Marshal(storage)
	if err != nil {
		t.Fatal(err)
	}
	cfg.StorageRaw = json.RawMessage(`{"module":"file_system","root":` + string(root) + `}`)
	return cfg
}

func findGate(routes caddyhttp.RouteList) *Gatehouse {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *Gatehouse:
				return h
			case *caddyhttp.Subroute:
				if found := findGate(h.Routes); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

// ask is one request in a test.
type ask struct {
	method, target string
	header         http.Header
	token          string // as Authorization: Bearer
	from           string // client address
	change         func(*http.Request)
}

// do sends a request through the whole server.
func (s *site) do(a ask) *httptest.ResponseRecorder {
	s.t.Helper()
	if a.method == "" {
		a.method = http.MethodGet
	}
	r := httptest.NewRequest(a.method, a.target, nil)
	for name, values := range a.header {
		r.Header[name] = values
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	r.RemoteAddr = "192.0.2.1:4711"
	if a.from != "" {
		r.RemoteAddr = a.from
	}
	if a.change != nil {
		a.change(r)
	}
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	return w
}

// verdict is what a test asserts of most answers.
type verdict struct {
	status int
	code   string
}

func pass() verdict { return verdict{status: 200} }

func refusedWith(status int, c code) verdict { return verdict{status, string(c)} }

// verdictOf reads status and code, and fails if the next handler ran beside a
// refusal or did not run for a pass.
func verdictOf(t testing.TB, w *httptest.ResponseRecorder) verdict {
	t.Helper()
	got := verdict{status: w.Code}
	reached := w.Header().Get(reachedHeader) != ""
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/problem+json") {
		var body struct{ Code string }
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("body is no JSON: %v: %s", err, w.Body)
		}
		got.code = body.Code
	}
	if reached != (w.Code == http.StatusOK) {
		t.Fatalf("status %d, and the next handler ran: %t", w.Code, reached)
	}
	return got
}

// expect asserts the verdict on a request.
func (s *site) expect(want verdict, a ask) *httptest.ResponseRecorder {
	s.t.Helper()
	w := s.do(a)
	if got := verdictOf(s.t, w); got != want {
		s.t.Fatalf("%s %s: got %v, want %v; body: %s", a.method, a.target, got, want, w.Body)
	}
	return w
}

var errTest = errors.New("test failure")

var (
	uuidPattern = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	// what hide.go makes up in place of a hidden path
	madeUpPattern = regexp.MustCompile(`[qxzjkvw]{24,}`)
	timePattern   = regexp.MustCompile(`\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ| \d\d:\d\d:\d\d UTC)`)
)

func writeFile(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// spy makes see look at every request that passes the gate of newSite.
func (s *site) spy(see func(*http.Request)) {
	spies.Store("id:"+s.keyFile, see)
	s.t.Cleanup(func() { spies.Delete("id:" + s.keyFile) })
}

// spies holds what test sites look at requests with, by key file.
var spies sync.Map

// spyHandler is the last handler of newSite.
type spyHandler struct {
	ID string `json:"id"`
}

func (spyHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.gatehouse_test_spy", New: func() caddy.Module { return new(spyHandler) }}
}

func (h *spyHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if see, ok := spies.Load(h.ID); ok {
		see.(func(*http.Request))(r)
	}
	w.Header().Set(reachedHeader, "ran")
	_, err := w.Write([]byte("next"))
	return err
}

func init() {
	caddy.RegisterModule(spyHandler{})
	httpcaddyfile.RegisterHandlerDirective("gatehouse_test_spy", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return &spyHandler{ID: h.RemainingArgs()[0]}, nil
	})
}

func osDir(path string) fs.FS { return os.DirFS(path) }

func publicX(private ed25519.PrivateKey) string {
	return base64.RawURLEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
}

func decodeSegment(t testing.TB, raw string, i int) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[i])
	if err != nil {
		t.Fatal(err)
	}
	return data
}
