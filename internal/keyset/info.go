package keyset

import "github.com/caddy-gatehouse/gatehouse/internal/token"

// KeyInfo is what may be told of a key: nothing that it is made of.
type KeyInfo struct {
	ID         string // kid; may be empty
	Thumbprint string // RFC 7638; empty for a secret
	Type       string // kty
	Algorithms []string
}

// Info tells of the keys in their order.
func (s *Static) Info() []KeyInfo { return InfoOf(s.keys...) }

// InfoOf tells of keys.
func InfoOf(keys ...token.Key) []KeyInfo {
	out := make([]KeyInfo, 0, len(keys))
	for _, k := range keys {
		out = append(out, KeyInfo{ID: k.ID(), Thumbprint: k.Thumbprint(), Type: k.Type(), Algorithms: k.Algorithms()})
	}
	return out
}
