package gatehouse

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/page"
)

// App is what the gates of one configuration share, and what must start and
// stop with it: key sets that are fetched, the built-in issuer's key, and the
// pages of refusals. It is
// loaded by the first gate and needs no configuration of its own.
type App struct {
	log     *zap.Logger
	storage certmagic.Storage

	acquired []poolKey
	remotes  []*keyset.Remote
	builtin  *internalKey
	files    map[string]*addressFile

	libraries map[page.Sources]*page.Library
	buffers   *sync.Pool // of *[]byte, for bodies

	stop    context.CancelFunc
	polling chan struct{} // closed when files are no longer looked at
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
	a.buffers = new(sync.Pool)
	return nil
}

// Start begins to fetch keys. It does not wait for them: an issuer that is out
// of reach must not keep a server from starting.
func (a *App) Start() error {
	for _, remote := range a.remotes {
		remote.Start(keyStore{a.storage})
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.stop = cancel
	if a.builtin != nil {
		a.builtin.start(ctx, a.storage, a.log)
	}
	if len(a.files) > 0 {
		a.polling = make(chan struct{})
		go func() {
			defer close(a.polling)
			pollAddressFiles(ctx, a.files, a.log)
		}()
	}
	return nil
}

// Stop ends what Start began for this configuration alone. Key sets go on as
// long as another configuration uses them.
func (a *App) Stop() error {
	if a.stop == nil {
		return nil
	}
	a.stop()
	if a.builtin != nil {
		a.builtin.wait()
	}
	if a.polling != nil {
		<-a.polling
	}
	return nil
}

// Cleanup releases the key sets that this configuration acquired.
func (a *App) Cleanup() error {
	errs := make([]error, 0, len(a.acquired))
	for _, key := range a.acquired {
		_, err := keyPool.Delete(key)
		errs = append(errs, err)
	}
	a.acquired = nil
	return errors.Join(errs...)
}

// remote returns the shared key set for the options. No network is used before
// Start.
func (a *App) remote(o keyset.Options) (readyKeys, error) {
	o.Log = a.log
	if err := o.Check(); err != nil {
		return readyKeys{}, err
	}
	key, remote, err := acquireKeys(o)
	if err != nil {
		return readyKeys{}, err
	}
	a.acquired = append(a.acquired, key)
	a.remotes = append(a.remotes, remote)
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

// addressFile returns the file of addresses of that name, which all gates share.
func (a *App) addressFile(name string) (*addressFile, error) {
	key := filepath.Clean(name)
	if f, opened := a.files[key]; opened {
		return f, nil
	}
	f, err := openAddressFile(name)
	if err != nil {
		return nil, err
	}
	if a.files == nil {
		a.files = make(map[string]*addressFile)
	}
	a.files[key] = f
	return f, nil
}

// pages returns the templates and catalogues from these folders, which gates
// share: a thousand sites read and try them out once.
func (a *App) pages(from page.Sources) (*page.Library, error) {
	key := page.Sources{Templates: from.Templates, Locales: from.Locales}
	if library, ok := a.libraries[key]; ok {
		return library, nil
	}
	library, err := page.Load(from)
	if err != nil {
		return nil, err
	}
	if a.libraries == nil {
		a.libraries = map[page.Sources]*page.Library{}
	}
	a.libraries[key] = library
	return library, nil
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
