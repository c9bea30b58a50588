package token

import (
	"crypto/elliptic"
	"slices"
)

// The signature algorithms of RFC 7518 section 3.1 and RFC 8037 section 3.1 that this package can verify.
const (
	algRS256 = "RS256"
	algRS384 = "RS384"
	algRS512 = "RS512"
	algPS256 = "PS256"
	algPS384 = "PS384"
	algPS512 = "PS512"
	algES256 = "ES256"
	algES384 = "ES384"
	algES512 = "ES512"
	algEdDSA = "EdDSA"
	algHS256 = "HS256"
	algHS384 = "HS384"
	algHS512 = "HS512"

	// RFC 9864 section 2.2 gives EdDSA on this curve a name of its own.
	algEd25519 = "Ed25519"
)

// DefaultAlgorithms returns the algorithms an issuer with public keys may use when the operator names none.
func DefaultAlgorithms() []string {
	return []string{
		algRS256, algRS384, algRS512,
		algPS256, algPS384, algPS512,
		algES256, algES384, algES512,
		algEdDSA,
	}
}

// SecretAlgorithms returns the algorithms an issuer with a shared secret may use.
func SecretAlgorithms() []string {
	return []string{algHS256, algHS384, algHS512}
}

// KnownAlgorithm reports whether an algorithm of this name can be verified at all. Names are case-sensitive
// (RFC 7515 section 4.1.1); "none" is not among them.
func KnownAlgorithm(name string) bool {
	name = canonicalAlgorithm(name)
	return slices.Contains(DefaultAlgorithms(), name) || isSecretAlgorithm(name)
}

func isSecretAlgorithm(name string) bool {
	return name == algHS256 || name == algHS384 || name == algHS512
}

// canonicalAlgorithm folds the two names of one algorithm into the older one.
func canonicalAlgorithm(name string) string {
	if name == algEd25519 {
		return algEdDSA
	}
	return name
}

// curveAlgorithm returns the one algorithm RFC 7518 section 3.4 pairs with a curve, or "".
func curveAlgorithm(c elliptic.Curve) string {
	switch c {
	case elliptic.P256():
		return algES256
	case elliptic.P384():
		return algES384
	case elliptic.P521():
		return algES512
	default:
		return ""
	}
}

// secretAlgorithms returns what a secret of n bytes may be used for: RFC 7518 section 3.2 wants a key at least as long
// as the hash.
func secretAlgorithms(n int) []string {
	var algs []string
	if n >= 32 {
		algs = append(algs, algHS256)
	}
	if n >= 48 {
		algs = append(algs, algHS384)
	}
	if n >= 64 {
		algs = append(algs, algHS512)
	}
	return algs
}
