package gatehouse

import (
	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/limit"
)

// keyPool holds the key sets of this process, one for each (issuer, URL,
// max_stale): a thousand sites with one issuer make one fetch, and a reload
// makes none.
var keyPool = caddy.NewUsagePool()

// poolKey is what two gates must agree on to share a key set.
type poolKey struct {
	issuer, url string
	maxStale    int64
}

// pooledKeys is a key set that stops when nobody uses it any more.
type pooledKeys struct{ *keyset.Remote }

// Destruct implements caddy.Destructor.
func (p pooledKeys) Destruct() error { return p.Close() }

func poolKeyOf(o keyset.Options) poolKey { return poolKey{o.Issuer, o.URL, int64(o.MaxStale)} }

func acquireKeys(key poolKey, o keyset.Options) (*keyset.Remote, error) {
	value, _, err := keyPool.LoadOrNew(key, func() (caddy.Destructor, error) {
		remote, err := keyset.NewRemote(o)
		if err != nil {
			return nil, err
		}
		return pooledKeys{remote}, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(pooledKeys).Remote, nil
}

// limitPool holds the one set of records by which the process locks out and
// throttles. It outlives reloads as long as some configuration needs it, and its
// size does not depend on how many do.
var limitPool = caddy.NewUsagePool()

const limitPoolKey = "records"

// limitRecords never have anything to close.
type limitRecords struct {
	store limit.Store
	keys  *limit.Keys
}

// Destruct implements caddy.Destructor.
func (limitRecords) Destruct() error { return nil }

func acquireLimits() limitRecords {
	value, _, _ := limitPool.LoadOrNew(limitPoolKey, func() (caddy.Destructor, error) {
		return limitRecords{limit.NewTable(), limit.NewKeys()}, nil
	})
	return value.(limitRecords)
}
