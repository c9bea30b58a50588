package keyset

import (
	"context"
	"time"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// Renew looks again for a key that did not match a signature. Issuers should give a new key a new kid, but some do not,
// and some have no kids: their new tokens would be refused until the next refresh. It shares refreshes, thirty seconds
// and two seconds with unknown kids, so that forged signatures make no more fetches than random kids do. A signature
// that matches neither key is forged, whether or not the issuer could be asked.
func (r *Remote) Renew(ctx context.Context, q token.Query, old token.Key) (token.Key, bool) {
	if _, found := r.Find(q); !found {
		return token.Key{}, false // it was another set's key
	}
	wait := r.ask()
	if wait == nil {
		return token.Key{}, false
	}
	if !r.enter() {
		return token.Key{}, false
	}
	defer r.waiting.Add(-1)
	timer := time.NewTimer(MaxWait)
	defer timer.Stop()
	select {
	case <-wait:
	case <-timer.C:
	case <-ctx.Done():
	}
	k, found := r.Find(q)
	if !found || fingerprint(k) == fingerprint(old) {
		return token.Key{}, false
	}
	return k, true
}
