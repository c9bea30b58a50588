package gatehouse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// readiness tells whether keys are at hand without waiting for them, and
// whether they are still the same.
type readiness interface {
	Ready() bool
	Generation() uint64
}

// fetchedKeys tell the time of their last good fetch; zero before it.
type fetchedKeys interface{ FetchedAt() time.Time }

// issuerKeys are the keys of one issuer, wherever they come from.
type issuerKeys interface {
	token.Keys
	readiness
}

func (is *Issuer) compileKeys(name string, app *App) (issuerKeys, error) {
	switch {
	case is.Internal:
		return app.internal(), nil
	case is.Secret != nil:
		key, err := is.Secret.key(is.Algorithms)
		if err != nil {
			return nil, err
		}
		keys := keyset.NewStatic([]token.Key{key})
		app.fixed.add(name, kindSecret, "", keys)
		return keySources{fixedKeys{keys}}, nil
	case len(is.Keys) == 0:
		remote, err := app.remote(keyset.Options{Issuer: name, MaxStale: time.Duration(is.MaxStale)})
		if err != nil {
			return nil, err
		}
		return keySources{remote}, nil
	}
	var sources keySources
	for _, where := range is.Keys {
		where, err := resolve("keys", where)
		if err != nil {
			return nil, err
		}
		source, err := openKeys(name, where, time.Duration(is.MaxStale), app)
		if err != nil {
			return nil, err
		}
		sources = append(sources, source)
	}
	return sources, nil
}

func openKeys(issuer, where string, maxStale time.Duration, app *App) (keySource, error) {
	if isURL(where) {
		return app.remote(keyset.Options{Issuer: issuer, URL: where, MaxStale: maxStale})
	}
	data, err := os.ReadFile(where)
	if err != nil {
		return nil, fmt.Errorf("keys: %w; expected a JWKS URL or a file with a JWK, a JWKS, PEM public keys or certificates", err)
	}
	keys, warnings, err := keyset.ParseFile(data)
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w", where, err)
	}
	for _, w := range warnings {
		app.warn("key file: "+w, where)
	}
	static := keyset.NewStatic(keys)
	app.fixed.add(issuer, kindFile, where, static)
	return fixedKeys{static}, nil
}

// fixedKeys are at hand from the start.
type fixedKeys struct{ *keyset.Static }

func (fixedKeys) Ready() bool { return true }

func (fixedKeys) Generation() uint64 { return 1 }

// Renew implements token.Renewer: there is never another key.
func (fixedKeys) Renew(context.Context, token.Query, token.Key) (token.Key, bool) {
	return token.Key{}, false
}

// keySource is one place where an issuer's keys are.
type keySource interface {
	issuerKeys
	token.Renewer
	// Find returns a key that is at hand, and waits for none.
	Find(token.Query) (token.Key, bool)
}

// keySources asks several places for one key, and takes the first that fits. A
// place out of reach matters only if no other has the key.
type keySources []keySource

// Key implements token.Keys. Nobody waits for a place that hangs where another
// has the key, nor for each of several in turn.
func (s keySources) Key(ctx context.Context, q token.Query) (token.Key, error) {
	for _, source := range s {
		if key, found := source.Find(q); found {
			return key, nil
		}
	}
	if len(s) > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, keyset.MaxWait)
		defer cancel()
	}
	failure := token.ErrNoSuchKey
	for _, source := range s {
		key, err := source.Key(ctx, q)
		if err == nil {
			return key, nil
		}
		if !errors.Is(err, token.ErrNoSuchKey) {
			failure = err
		}
	}
	return token.Key{}, failure
}

// Renew implements token.Renewer: each place looks again for its own key.
func (s keySources) Renew(ctx context.Context, q token.Query, old token.Key) (token.Key, bool) {
	for _, source := range s {
		if key, found := source.Renew(ctx, q, old); found {
			return key, true
		}
	}
	return token.Key{}, false
}

// Ready reports whether none has to be waited for.
func (s keySources) Ready() bool {
	return !slices.ContainsFunc(s, func(k keySource) bool { return !k.Ready() })
}

// FetchedAt is that of the source that was fetched the longest time ago.
func (s keySources) FetchedAt() time.Time {
	var oldest time.Time
	for _, source := range s {
		if keys, ok := source.(fetchedKeys); ok {
			if at := keys.FetchedAt(); oldest.IsZero() || !at.IsZero() && at.Before(oldest) {
				oldest = at
			}
		}
	}
	return oldest
}

// Generation changes when any of the sources does, since none ever goes back.
func (s keySources) Generation() uint64 {
	var sum uint64
	for _, source := range s {
		sum += source.Generation()
	}
	return sum
}
