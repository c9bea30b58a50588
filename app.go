package gatehouse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/page"
)

// App is what the gates of one configuration share, and what must start and
// stop with it: key sets that are fetched, the built-in issuer's key, files of
// addresses, pseudonyms for logs, and the pages of refusals. It is loaded by the first gate and needs
// no configuration of its own.
type App struct {
	log       *zap.Logger
	storage   certmagic.Storage
	transport http.RoundTripper // nil: each key set has its own

	remotes map[poolKey]*keyset.Remote // acquired
	host    *keyset.Host               // lent to them from Start on
	builtin *internalKey
	files   map[string]*addressFile

	observing []*observedGate
	records   *limitRecords // nil: nothing is counted
	names     *pseudonyms   // nil: nobody needs any
	outages   *outages
	libraries map[page.Sources]*page.Library
	buffers   *sync.Pool // of *[]byte, for bodies
	meters    *meters
	events    *emitter // nil: nobody is told
	recent    *recentRefusals
	fixed     *fixedIssuers

	stop    context.CancelFunc
	running []chan struct{} // closed when what Start began has ended
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
	var err error
	if a.meters, err = newMeters(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	a.outages, a.recent, a.fixed = new(outages), newRecentRefusals(), new(fixedIssuers)
	a.events, err = newEmitter(ctx, a.log)
	return err
}

// Start begins to fetch keys. It does not wait for them: an issuer that is out
// of reach must not keep a server from starting.
func (a *App) Start() error {
	a.host = &keyset.Host{Store: keyStore{a.storage}, Log: a.log}
	for _, remote := range a.remotes {
		remote.Start(a.host)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.stop = cancel
	a.events.start()
	if len(a.remotes) > 0 {
		watch := newStaleWatch(a.remotes, a.events)
		a.run(func() { watch.run(ctx) })
	}
	if a.builtin != nil {
		a.builtin.start(ctx, a.storage, a.log)
	}
	if a.names != nil {
		a.names.start(ctx, a.storage, a.log)
	}
	if len(a.files) > 0 {
		a.run(func() { pollAddressFiles(ctx, a.files, a.log) })
	}
	if len(a.observing) > 0 {
		a.run(func() { remindOfObserving(ctx, a.observing, a.log) })
	}
	return nil
}

// run begins something that ends with the context of Start; Stop waits for it.
func (a *App) run(f func()) {
	ended := make(chan struct{})
	a.running = append(a.running, ended)
	go func() {
		defer close(ended)
		f()
	}()
}

// every calls f at each interval until ctx ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f()
		}
	}
}

// Stop ends what Start began for this configuration alone. Key sets go on as
// long as another configuration uses them, with its storage and its log.
func (a *App) Stop() error {
	if a.stop == nil {
		return nil
	}
	for _, remote := range a.remotes {
		remote.Leave(a.host)
	}
	a.stop()
	if a.builtin != nil {
		a.builtin.wait()
	}
	if a.names != nil {
		a.names.wait()
	}
	for _, ended := range a.running {
		<-ended
	}
	a.events.stop()
	return nil
}

// Cleanup releases what this configuration acquired of what the process shares.
func (a *App) Cleanup() error {
	errs := make([]error, 0, len(a.remotes)+1)
	for key := range a.remotes {
		_, err := keyPool.Delete(key)
		errs = append(errs, err)
	}
	a.remotes = nil
	if a.records != nil {
		a.records = nil
		_, err := limitPool.Delete(limitPoolKey)
		errs = append(errs, err)
	}
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
	if a.meters != nil {
		a.meters.gauges.addKeys(remote)
	}
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

// pseudonyms returns what stands for persons in logs.
func (a *App) pseudonyms() *pseudonyms {
	if a.names == nil {
		a.names = newPseudonyms(time.Now)
	}
	return a.names
}

// limits returns what lock-outs and throttles are counted in.
func (a *App) limits() *limitRecords {
	if a.records == nil {
		records := acquireLimits()
		a.records = &records
		a.meters.gauges.setLimits(records.store)
	}
	return a.records
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
