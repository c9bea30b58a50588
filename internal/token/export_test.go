package token

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"
)

// JWS judges a compact JWS up to its payload, which need not be claims, by the functions that Parse and Verify use.
func (v *Verifier) JWS(ctx context.Context, raw string, limit int) ([]byte, error) {
	u, fault := parseJWS(new(jsontext.Decoder), raw, limit)
	if fault == nil {
		fault = v.checkSignature(ctx, u)
	}
	if fault != nil {
		return nil, fault
	}
	return u.payload, nil
}

// Match is checkMatch: one algorithm, one key, one signature.
func (v *Verifier) Match(alg string, key Key, signingInput, signature []byte) error {
	if fault := v.checkMatch(alg, key, signingInput, signature); fault != nil {
		return fault
	}
	return nil
}

// Node is what claims are made of.
type Node = node

// DecodesClaims reports whether the claims decoder reads a payload.
func DecodesClaims(payload []byte) bool {
	_, ok := decodeClaims(new(jsontext.Decoder), payload)
	return ok
}

// DecodedClaims is what the claims decoder makes of a payload.
func DecodedClaims(payload []byte) (any, bool) {
	v, ok := decodeClaims(new(jsontext.Decoder), payload)
	if !ok {
		return nil, false
	}
	return v.copied(), true
}
