// Package token decides whether a string is a signed token that one issuer made for us, and hands out its claims.
//
// It accepts exactly one form: the compact serialisation of a JWS (RFC 7515 section 7.1) whose payload is a JWT claims
// set (RFC 7519). [Parse] looks at the bytes and verifies nothing; it exists so that the caller can choose the [Verifier]
// of the issuer the token names. [Verifier.Verify] checks the signature with one key and one algorithm, and only then
// reads the claims. Every refusal is an [*Error] whose [Kind] says what to tell the client; the zero Kind refuses too.
//
// The package knows nothing of HTTP, reads no clock but the one it was given, and fetches nothing itself: keys come
// through the [Keys] interface.
package token
