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
	k, found := r.Find(q)
	if !found {
		return token.Key{}, false // it was another set's key
	}
	if fingerprint(k) != fingerprint(old) {
		return k, true // a refresh has ended since it was looked for
	}
	if !r.enter() {
		return token.Key{}, false
	}
	defer r.waiting.Add(-1)
	timer := time.NewTimer(MaxWait)
	defer timer.Stop()
	begun := time.Now()
	for asked, late := 0, false; asked < maxAsks && !late; asked++ {
		wait := r.ask()
		if wait == nil {
			break
		}
		select {
		case <-wait:
		case <-timer.C:
			late = true
		case <-ctx.Done():
			late = true
		}
		if s := r.current(); s == nil || !s.askedAt.Before(begun) {
			break
		}
	}
	k, found = r.Find(q)
	if !found || fingerprint(k) == fingerprint(old) {
		return token.Key{}, false
	}
	return k, true
}
