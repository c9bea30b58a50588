// Package keyset obtains verification keys and keeps them: from files the operator gave, or from an issuer's JWKS
// over HTTP, which is fetched in the background, survives outages, and never gets worse by a bad answer.
//
// It knows nothing of Caddy. Whatever comes from outside, whether a file, an HTTP body or the last good set read back
// from the store, goes through the same parser, which takes each key alone and refuses what must not verify a token.
package keyset

import (
	"context"
	"slices"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// Static is a fixed set of keys, as read from a file or made from a shared secret.
type Static struct {
	keys []token.Key
}

// NewStatic makes a set that holds exactly the given keys for ever.
func NewStatic(keys []token.Key) *Static {
	return &Static{keys: slices.Clone(keys)}
}

// Find returns the one key that fits the query.
func (s *Static) Find(q token.Query) (token.Key, bool) { return choose(s.keys, q) }

// Key returns the one key that fits the query, or token.ErrNoSuchKey.
func (s *Static) Key(_ context.Context, q token.Query) (token.Key, error) {
	if k, found := s.Find(q); found {
		return k, nil
	}
	return token.Key{}, token.ErrNoSuchKey
}

// choose picks the key for a query. A kid is only a hint which key to try (RFC 7515 section 4.1.4), and a PEM file has
// nowhere to write one: in a set where no key has a kid, the token's kid says nothing, and the key must be the only one
// that fits, as for a token without kid. An empty kid is left to token.Select, which refuses it.
func choose(keys []token.Key, q token.Query) (token.Key, bool) {
	if q.HasKeyID && q.KeyID != "" && !slices.ContainsFunc(keys, func(k token.Key) bool { return k.ID() != "" }) {
		q.HasKeyID, q.KeyID = false, ""
	}
	return token.Select(keys, q)
}
