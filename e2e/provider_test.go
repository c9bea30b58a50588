package e2e

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// What the example provider knows from the start. Only the first is an
// administrator; the second has no roles at all.
const (
	adminName, adminID   = "test-user@127.0.0.1", "id1"
	memberName, memberID = "test-user2", "id2"
	password             = "verysecure"

	panelClient = "panel"
	otherClient = "another-app"
)

// provider is zitadel's example OpenID provider on loopback, changed in three
// ways: its access tokens are JWTs, their lifetime is the test's choice, and
// its signing key can be replaced.
type provider struct {
	*storage.Storage
	server    *httptest.Server
	callbacks *httptest.Server
	codes     chan codeAnswer
	down      atomic.Bool
	keyFetch  atomic.Int64

	mu       sync.Mutex
	lifetime time.Duration
	key      *providerKey
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{lifetime: 5 * time.Minute, codes: make(chan codeAnswer, 1)}
	p.callbacks = httptest.NewServer(http.HandlerFunc(p.receiveCode))
	t.Cleanup(p.callbacks.Close)
	p.server = httptest.NewUnstartedServer(nil)
	issuer := "http://" + p.server.Listener.Addr().String()
	p.rotateKey(t)

	clients := make(map[string]*storage.Client)
	for _, id := range []string{panelClient, otherClient} {
		clients[id] = storage.NativeClient(id, p.callbackURL())
	}
	p.Storage = storage.NewStorageWithClients(storage.NewUserStore(issuer), clients)
	p.server.Config.Handler = p.breakable(exampleop.SetupServer(issuer, p, nil, false))
	p.server.Start()
	t.Cleanup(p.server.Close)
	return p
}

func (p *provider) issuer() string      { return p.server.URL }
func (p *provider) callbackURL() string { return p.callbacks.URL + "/callback" }

// breakable cuts connections without an answer while the provider is down.
func (p *provider) breakable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.down.Load() {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == "/keys" {
			p.keyFetch.Add(1)
		}
		next.ServeHTTP(w, r)
	})
}

func (p *provider) setLifetime(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lifetime = d
}

// rotateKey replaces the signing key. The old one leaves the published set at
// once, as after a leak.
func (p *provider) rotateKey(t *testing.T) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key = &providerKey{id: rand.Text(), key: key}
}

// CreateAccessToken is called for every access token.
func (p *provider) CreateAccessToken(ctx context.Context, request op.TokenRequest) (string, time.Time, error) {
	id, _, err := p.Storage.CreateAccessToken(ctx, request)
	p.mu.Lock()
	defer p.mu.Unlock()
	return id, time.Now().Add(p.lifetime), err
}

// GetPrivateClaimsFromScopes adds what real providers put into access tokens
// (RFC 9068, section 2.2.3) and the example does not.
func (p *provider) GetPrivateClaimsFromScopes(_ context.Context, userID, _ string, scopes []string) (map[string]any, error) {
	claims := map[string]any{"scope": strings.Join(scopes, " ")}
	if userID == adminID {
		claims["roles"] = []string{"admin", "billing"}
	}
	return claims, nil
}

// GetClientByClientID makes every client one that is given JWTs.
func (p *provider) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	client, err := p.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return jwtClient{client}, nil
}

type jwtClient struct{ op.Client }

func (jwtClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

// SigningKey is asked for at every token.
func (p *provider) SigningKey(context.Context) (op.SigningKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.key, nil
}

// SignatureAlgorithms is for the discovery document.
func (p *provider) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// KeySet is what the keys endpoint publishes.
func (p *provider) KeySet(context.Context) ([]op.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return []op.Key{publicKey{p.key}}, nil
}

type providerKey struct {
	id  string
	key *rsa.PrivateKey
}

func (k *providerKey) ID() string                                  { return k.id }
func (k *providerKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k *providerKey) Key() any                                    { return k.key }

type publicKey struct{ *providerKey }

func (publicKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                         { return &k.key.PublicKey }
