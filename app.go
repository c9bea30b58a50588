package gatehouse

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
)

// App is what the gates of one configuration share, and what must start and
// stop with it: key sets that are fetched, and the built-in issuer's key. It is
// loaded by the first gate and needs no configuration of its own.
type App struct {
	log       *zap.Logger
	storage   certmagic.Storage
	transport http.RoundTripper // nil: each key set has its own

	remotes map[poolKey]*keyset.Remote // acquired
	host    *keyset.Host               // lent to them from Start on
	builtin *internalKey

	stop context.CancelFunc
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "gatehouse",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision sets up the app.
func (a *App) Provision(ctx caddy.Context) error {
	a.log = ctx.Logger()
	a.storage = ctx.Storage()
	return nil
}

// Start begins to fetch keys. It does not wait for them: an issuer that is out
// of reach must not keep a server from starting.
func (a *App) Start() error {
	a.host = &keyset.Host{Store: keyStore{a.storage}, Log: a.log}
	for _, remote := range a.remotes {
		remote.Start(a.host)
	}
	if a.builtin != nil {
		ctx, cancel := context.WithCancel(context.Background())
		a.stop = cancel
		a.builtin.start(ctx, a.storage, a.log)
	}
	return nil
}

// Stop ends what Start began for this configuration alone. Key sets go on as
// long as another configuration uses them, with its storage and its log.
func (a *App) Stop() error {
	for _, remote := range a.remotes {
		remote.Leave(a.host)
	}
	if a.stop != nil {
		a.stop()
		a.builtin.wait()
	}
	return nil
}

// Cleanup releases the key sets that this configuration acquired.
func (a *App) Cleanup() error {
	errs := make([]error, 0, len(a.remotes))
	for key := range a.remotes {
		_, err := keyPool.Delete(key)
		errs = append(errs, err)
	}
	a.remotes = nil
	return errors.Join(errs...)
}

// remote returns the shared key set for the options: acquired once, whatever
// number of gates asks for it. No network is used before Start.
func (a *App) remote(o keyset.Options) (readyKeys, error) {
	if err := o.Check(); err != nil {
		return readyKeys{}, err
	}
	key := poolKeyOf(o)
	if remote, acquired := a.remotes[key]; acquired {
		return readyKeys{remote}, nil
	}
	o.Transport = a.transport
	remote, err := acquireKeys(key, o)
	if err != nil {
		return readyKeys{}, err
	}
	if a.remotes == nil {
		a.remotes = make(map[poolKey]*keyset.Remote)
	}
	a.remotes[key] = remote
	return readyKeys{remote}, nil
}

// readyKeys is a fetched key set as an issuer uses it.
type readyKeys struct{ *keyset.Remote }

// internal returns the key of the built-in issuer.
func (a *App) internal() *internalKey {
	if a.builtin == nil {
		a.builtin = newInternalKey()
	}
	return a.builtin
}

func (a *App) warn(message, file string) {
	a.log.Warn(message, zap.String("file", file))
}

// keyStore keeps last good key sets in Caddy's storage.
type keyStore struct{ certmagic.Storage }

// Save implements keyset.Store. Load is the storage's own.
func (s keyStore) Save(ctx context.Context, name string, data []byte) error {
	return s.Store(ctx, name, data)
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
	_ keyset.Store       = keyStore{}
)
