package token_test

import (
	"context"
	"crypto/ed25519"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// renewing is a key set whose keys were replaced meanwhile, and counts how often it is asked about that.
type renewing struct {
	keySet
	newer token.Key
	asked *int
}

func (r renewing) Renew(context.Context, token.Query, token.Key) (token.Key, bool) {
	*r.asked++
	return r.newer, len(r.newer.Algorithms()) > 0
}

// A new key took the place of the old one under its kid. What the new one signed is good; a look at it must open
// nothing else, and a signature that holds asks for none.
func TestAttackReplacedKeyVerifiesNothingElse(t *testing.T) {
	newer := ed25519.NewKeyFromSeed([]byte("another seed of 32 bytes exactly"))
	signed := func(header, claims string, key ed25519.PrivateKey) string {
		input := enc(header) + "." + enc(claims)
		return input + "." + enc(ed25519.Sign(key, []byte(input)))
	}
	const header = `{"alg":"EdDSA","kid":"ed"}`
	forger := ed25519.NewKeyFromSeed(secret()[:32])
	asked := 0
	replaced := verifier(policy(), renewing{publicKeys(), newKey("ed", newer.Public()), &asked})
	accept(t, replaced, signed(header, goodClaims, newer))
	accept(t, replaced, edToken(goodClaims))
	if asked != 1 {
		t.Errorf("asked for a new key %d times, want for the one signature that did not match", asked)
	}
	refuse(t, replaced, signed(header, goodClaims, forger), token.Invalid)
	refuse(t, replaced, signed(header, claimsWith("aud", `"other"`), newer), token.Invalid)
	refuse(t, replaced, signed(header, claimsWith("exp", "1700000000"), newer), token.Expired)
	refuse(t, replaced, signed(header, claimsWith("exp", "1700000000"), forger), token.Invalid)
	asked = 0
	refuse(t, replaced, signed(`{"alg":"none","kid":"ed"}`, goodClaims, newer), token.Invalid)
	refuse(t, replaced, signed(`{"alg":"EdDSA","kid":"other"}`, goodClaims, newer), token.Invalid)
	if asked != 0 {
		t.Error("asked for the successor of a key that there is not")
	}
	for name, wrong := range map[string]token.Key{"another type": rsaKey(), "a secret": hmacKey(), "none": {}} {
		t.Run(name, func(t *testing.T) {
			v := verifier(policy(), renewing{publicKeys(), wrong, &asked})
			refuse(t, v, signed(header, goodClaims, newer), token.Invalid)
		})
	}
}
