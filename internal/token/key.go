package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Key is one verification key, checked once when it is made. The zero Key verifies nothing.
type Key struct {
	id         string
	algorithms []string
	material   any // what jwx is given: *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey or []byte
	thumbprint string
}

// KeySpec is what [NewKey] makes a [Key] from.
type KeySpec struct {
	ID         string   // the JWK's kid; may be empty
	Algorithms []string // the JWK's alg if it had one; empty: every algorithm the material can do
	Material   any      // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, or []byte (HMAC secret)
}

// NewKey checks key material and copies it, so that a weak or broken key is an error at load and not a hole at run time.
func NewKey(spec KeySpec) (Key, error) {
	k := Key{id: spec.ID}
	var able []string
	var err error
	switch m := spec.Material.(type) {
	case *rsa.PublicKey:
		able = DefaultAlgorithms()[:6]
		k.material, k.thumbprint, err = checkRSA(m)
	case *ecdsa.PublicKey:
		k.material, k.thumbprint, able, err = checkECDSA(m)
	case ed25519.PublicKey:
		able = []string{algEdDSA}
		k.material, k.thumbprint, err = checkEd25519(m)
	case []byte:
		able = secretAlgorithms(len(m))
		k.material, err = checkSecret(m)
	default:
		err = fmt.Errorf("found key material of type %T, expected an RSA, ECDSA or Ed25519 public key or a secret", m)
	}
	if err != nil {
		return Key{}, err
	}
	k.algorithms, err = narrow(able, spec.Algorithms)
	if err != nil {
		return Key{}, err
	}
	return k, nil
}

// narrow keeps those algorithms that were asked for, and refuses one the material cannot do: a JWK that contradicts
// itself is a mistake worth hearing about, and following either half would be a guess.
func narrow(able, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return able, nil
	}
	out := make([]string, 0, len(asked))
	for _, name := range asked {
		alg := canonicalAlgorithm(name)
		if !slices.Contains(able, alg) {
			return nil, fmt.Errorf("found alg %.32q, expected one this key can do: %s", name, strings.Join(able, " "))
		}
		if !slices.Contains(out, alg) {
			out = append(out, alg)
		}
	}
	return out, nil
}

// ID returns the key's kid, or "" if it has none.
func (k Key) ID() string { return k.id }

// Algorithms returns what the key can verify.
func (k Key) Algorithms() []string { return slices.Clone(k.algorithms) }

// Fits reports whether the key may verify a signature made with this algorithm.
func (k Key) Fits(alg string) bool {
	return slices.Contains(k.algorithms, canonicalAlgorithm(alg))
}

// Type returns the key's kty (RFC 7518 section 6.1, RFC 8037 section 2); "" for the zero Key.
func (k Key) Type() string {
	switch k.material.(type) {
	case *rsa.PublicKey:
		return "RSA"
	case *ecdsa.PublicKey:
		return "EC"
	case ed25519.PublicKey:
		return "OKP"
	case []byte:
		return "oct"
	}
	return ""
}

// Thumbprint returns the RFC 7638 SHA-256 thumbprint, for logs and status; "" for a secret, whose thumbprint would
// let anyone who reads the log test guesses.
func (k Key) Thumbprint() string { return k.thumbprint }

// String names the key without its material, so that a secret never ends up in a log by way of fmt.
func (k Key) String() string {
	return fmt.Sprintf("key %q (%s)", k.id, strings.Join(k.algorithms, " "))
}

// GoString is String, for %#v.
func (k Key) GoString() string { return k.String() }

// Query says which key a token asks for.
type Query struct {
	KeyID     string // the header's kid
	HasKeyID  bool   // whether the header had one
	Algorithm string // the header's alg
}

// Select picks the one key a query means. With a kid: of the keys with that kid exactly one must fit the algorithm.
// Without: exactly one key of the whole set must fit. Two candidates are none, for the second guess is the attacker's.
func Select(keys []Key, q Query) (k Key, found bool) {
	if q.HasKeyID && q.KeyID == "" {
		return Key{}, false // an empty name does not name the keys that have none
	}
	for i := range keys {
		if q.HasKeyID && keys[i].id != q.KeyID || !keys[i].Fits(q.Algorithm) {
			continue
		}
		if found {
			return Key{}, false
		}
		k, found = keys[i], true
	}
	return k, found
}

// Keys yields the verification key for a query. Its errors are [ErrNoSuchKey] for a key that does not exist and
// [*UnavailableError] for keys that are out of reach; any other error is taken as a fault of our own.
type Keys interface {
	Key(ctx context.Context, q Query) (Key, error)
}

// Renewer is what Keys may be as well: able to look again for a key that does not match a signature. An issuer may have
// put a new key in the place of old, under the same kid or without any. It returns no key but another one.
type Renewer interface {
	Renew(ctx context.Context, q Query, old Key) (Key, bool)
}

// ErrNoSuchKey says that the issuer's keys are known and that none of them is the one asked for.
var ErrNoSuchKey = errors.New("no such key")

// UnavailableError says that keys were never obtained, are too old to be believed, or may have changed since: "I cannot
// check".
type UnavailableError struct {
	RetryAfter time.Duration // when asking again may help
	Err        error
}

// Error describes the failure for the log.
func (e *UnavailableError) Error() string {
	if e.Err == nil {
		return "keys unavailable"
	}
	return "keys unavailable: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }
