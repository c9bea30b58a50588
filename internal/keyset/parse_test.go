package keyset

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

func TestAKeySetFromTheStandardsIsRead(t *testing.T) {
	const rfc7638N = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	keys, warnings, err := ParseSet([]byte(setOf(
		jwkOf("kty", "RSA", "n", rfc7638N, "e", "AQAB", "alg", "RS256", "kid", "2011-04-29"),
		jwkOf("kty", "OKP", "crv", "Ed25519", "x", rfcX),
	)))
	if err != nil || len(warnings) != 0 || len(keys) != 2 {
		t.Fatalf("got %v, %v, %v", keys, warnings, err)
	}
	for i, want := range []string{"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"} {
		if got := keys[i].Thumbprint(); got != want {
			t.Errorf("thumbprint %s, want %s", got, want)
		}
	}
}

func TestAlgorithmsOfAKey(t *testing.T) {
	rs := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	for name, c := range map[string]struct {
		jwk  string
		want []string
	}{
		"RSA without alg, as Entra publishes, does all of its kind": {rsaJWK("k", rsa2048(), 65537), rs},
		"RSA with alg does that one":                                {rsaJWK("k", rsa2048(), 65537, "alg", "PS384"), []string{"PS384"}},
		"EC without alg does the one of its curve":                  {ecJWK("k"), []string{"ES256"}},
		"EdDSA under its older name":                                {edJWK("k", "alg", "EdDSA"), []string{"EdDSA"}},
		"EdDSA under the name of RFC 9864":                          {edJWK("k", "alg", "Ed25519"), []string{"EdDSA"}},
		"use sig and key_ops verify are fine":                       {edJWK("k", "use", "sig", "key_ops", `["sign","verify"]`), []string{"EdDSA"}},
		"members nobody knows are passed over":                      {edJWK("k", "x5c", `["junk"]`, "N", "x", "nbf", `[1]`), []string{"EdDSA"}},
		"an exponent with leading zeros too":                        {jwkOf("kty", "RSA", "e", b64([]byte{0, 0, 1, 0, 1}), "n", b64(rsa2048().N.Bytes())), rs},
		"a modulus with leading zeros is the same number":           {jwkOf("kty", "RSA", "e", "AQAB", "n", b64(append([]byte{0}, rsa2048().N.Bytes()...))), rs},
	} {
		t.Run(name, func(t *testing.T) {
			keys, warnings, err := ParseSet([]byte(setOf(c.jwk)))
			if err != nil || len(warnings) != 0 || len(keys) != 1 || !slices.Equal(keys[0].Algorithms(), c.want) {
				t.Fatalf("got %v, %v, %v", keys, warnings, err)
			}
		})
	}
}

type badKey struct{ jwk, says string }

const leaked = "dG9wc2VjcmV0dG9wc2VjcmV0dG9wc2VjcmV0dG9wc2VjcmV0"

func badKeys() map[string]badKey {
	x, y := ecXY()
	off := slices.Clone(y)
	off[31] ^= 1
	return map[string]badKey{
		"3-byte Ed25519 key makes jwx panic":       {jwkOf("kty", "OKP", "crv", "Ed25519", "x", "AQID"), "3 bytes"},
		"Ed25519 key of small order signs for all": {jwkOf("kty", "OKP", "crv", "Ed25519", "x", b64(append([]byte{1}, make([]byte, 31)...))), "small order"},
		"X25519 key does not sign":                 {jwkOf("kty", "OKP", "crv", "X25519", "x", rfcX), "curve"},
		"invalid curve: point off P-256":           {jwkOf("kty", "EC", "crv", "P-256", "x", b64(x), "y", b64(off)), "curve"},
		"point at infinity":                        {jwkOf("kty", "EC", "crv", "P-256", "x", b64(make([]byte, 32)), "y", b64(make([]byte, 32))), "curve"},
		"short EC coordinate":                      {jwkOf("kty", "EC", "crv", "P-256", "x", b64(x[:31]), "y", b64(y)), "31 bytes"},
		"P-256 point sold as P-384":                {jwkOf("kty", "EC", "crv", "P-384", "x", b64(x), "y", b64(y)), "32 bytes"},
		"secp256k1":                                {jwkOf("kty", "EC", "crv", "secp256k1", "x", b64(x), "y", b64(y)), "curve"},
		"curve and alg contradict":                 {ecJWK("bad", "alg", "ES384"), "ES384"},
		"RSA-1024 can be factored":                 {rsaJWK("bad", rsa1024(), 65537), "1024"},
		"RSA exponent 1 signs nothing":             {rsaJWK("bad", rsa2048(), 1), "exponent"},
		"even RSA exponent":                        {rsaJWK("bad", rsa2048(), 65536), "exponent"},
		"RSA exponent that wraps to 3 in 64 bits":  {jwkOf("kty", "RSA", "n", b64(rsa2048().N.Bytes()), "e", b64([]byte{1, 0, 0, 0, 0, 0, 0, 0, 3})), "9 bytes"},
		"RSA exponent nothing":                     {jwkOf("kty", "RSA", "n", b64(rsa2048().N.Bytes()), "e", ""), "0 bytes"},
		"RSA modulus of 100,000 bits burns CPU":    {jwkOf("kty", "RSA", "n", b64(append([]byte{255}, make([]byte, 12500)...)), "e", "AQAB"), "bits"},
		"symmetric key in a public set":            {jwkOf("kty", "oct", "k", leaked, "kid", "bad", "alg", "HS256"), "secret"},
		"symmetric key without k":                  {jwkOf("kty", "oct", "kid", "bad"), "secret"},
		"HS256 on a public key":                    {edJWK("bad", "alg", "HS256"), "HS256"},
		"alg none":                                 {edJWK("bad", "alg", "none"), "none"},
		"private Ed25519 key published":            {edJWK("bad", "d", leaked), "private"},
		"private RSA key by its primes":            {rsaJWK("bad", rsa2048(), 65537, "p", leaked), "private"},
		"private RSA key by its CRT values":        {rsaJWK("bad", rsa2048(), 65537, "dp", leaked), "private"},
		"encryption key by use":                    {rsaJWK("bad", rsa2048(), 65537, "use", "enc"), "use"},
		"encryption key by alg":                    {rsaJWK("bad", rsa2048(), 65537, "alg", "RSA-OAEP"), "RSA-OAEP"},
		"use of another type":                      {edJWK("bad", "use", `["sig"]`), "use"},
		"key_ops without verify":                   {edJWK("bad", "key_ops", `["encrypt"]`), "verify"},
		"key_ops as a string":                      {edJWK("bad", "key_ops", "verify"), "key_ops"},
		"unknown kty":                              {jwkOf("kty", "AKP", "alg", "ML-DSA-44", "pub", "AAAA"), "AKP"},
		"no kty":                                   {jwkOf("crv", "Ed25519", "x", rfcX), "kty"},
		"kid of another type":                      {jwkOf("kty", "OKP", "crv", "Ed25519", "x", rfcX, "kid", "[1]"), "kid"},
		"kid of a megabyte":                        {edJWK(strings.Repeat("k", maxKeyID+1)), "kid"},
		"two x, for two readers":                   {`{"kty":"OKP","crv":"Ed25519","x":"` + rfcX + `","x":"` + b64(make([]byte, 32)) + `"}`, "twice"},
		"x under an escaped name a second time":    {`{"kty":"OKP","crv":"Ed25519","x":"` + rfcX + `","\u0078":"AAAA"}`, "twice"},
		"a doubled name deeper inside":             {edJWK("bad", "ext", `[{"a":1,"a":2}]`), "twice"},
		"padding in base64url":                     {jwkOf("kty", "OKP", "crv", "Ed25519", "x", rfcX+"="), "base64url"},
		"line break in base64url":                  {`{"kty":"OKP","crv":"Ed25519","x":"\n` + rfcX + `"}`, "base64url"},
		"standard base64":                          {jwkOf("kty", "RSA", "n", base64.StdEncoding.EncodeToString(rsa2048().N.Bytes()), "e", "AQAB"), "base64url"},
		"a number instead of a key":                {"7", "object"},
		"null instead of a key":                    {"null", "object"},
	}
}

// Each of these keys would be a hole or a crash if it were taken: a forger holds the other half, can compute it, or
// was never meant to sign. It must be left out without taking the good key beside it along.
func TestAttackKeyMaterialIsLeftOutAloneWithOneWarning(t *testing.T) {
	for name, c := range badKeys() {
		t.Run(name, func(t *testing.T) {
			keys, warnings, err := ParseSet([]byte(setOf(edJWK("good"), c.jwk)))
			if err != nil || len(keys) != 1 || keys[0].ID() != "good" {
				t.Fatalf("got %v, %v", keys, err)
			}
			if len(warnings) != 1 || !strings.Contains(warnings[0], c.says) || !strings.Contains(warnings[0], "1 of 2") {
				t.Fatalf("warnings %q, want one that says %q", warnings, c.says)
			}
			if strings.Contains(warnings[0], leaked) {
				t.Fatalf("the warning prints key material: %q", warnings[0])
			}
			if keys, _, err := ParseSet([]byte(setOf(c.jwk))); err == nil {
				t.Fatalf("alone it gave %v and no error", keys)
			}
		})
	}
}

func TestASetThatIsNone(t *testing.T) {
	many := func(n int) string {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":"%s","kid":"%d"}`, rfcX, i)
		}
		return setOf(keys...)
	}
	for name, c := range map[string]struct{ body, says string }{
		"empty body":                      {"", "not JSON"},
		"HTML":                            {"<!doctype html><title>Sign in</title>", "not JSON"},
		"cut off":                         {setOf(edJWK("a"))[:40], "not JSON"},
		"something after it":              {setOf(edJWK("a")) + "{}", "after"},
		"an array":                        {"[" + edJWK("a") + "]", "not a JSON object"},
		"no keys member":                  {edJWK("a"), `no "keys"`},
		"keys twice":                      {`{"keys":[` + edJWK("a") + `],"keys":[]}`, "twice"},
		"Keys in capitals":                {`{"KEYS":[` + edJWK("a") + `]}`, `no "keys"`},
		"keys is an object":               {`{"keys":{}}`, "not an array"},
		"keys is null":                    {`{"keys":null}`, "not an array"},
		"no key in it":                    {`{"keys":[]}`, "empty"},
		"no usable key in it":             {setOf(`{"kty":"oct","k":"AAAA"}`), "no usable key"},
		"a hundred and one keys":          {many(maxKeys + 1), "more than 100"},
		"larger than the limit":           {setOf(edJWK("a"), strings.Repeat(" ", maxBytes)), "larger"},
		"bytes that are not UTF-8":        {setOf(edJWK("a", "note", "x")) + "\xff", "after"},
		"not UTF-8 inside":                {strings.Replace(setOf(edJWK("a", "note", "Z")), `"Z"`, "\"\xff\"", 1), "not JSON"},
		"ten thousand brackets":           {`{"keys":` + strings.Repeat("[", 20000), "not JSON"},
		"an error of a well-meaning API":  {`{"error":"rate limited"}`, `no "keys"`},
		"a space that JSON does not have": {"\u00a0" + setOf(edJWK("a")), "not JSON"},
		"a form feed behind it":           {setOf(edJWK("a")) + "\f", "after"},
		"a hundred thousand empty keys":   {setOf(slices.Repeat([]string{"{}"}, 100_000)...), "more than 100"},
		"a comment, as JSON5 would allow": {"/* */" + setOf(edJWK("a")), "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, _, err := ParseSet([]byte(c.body))
			if err == nil || len(keys) != 0 || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, %v, want an error that says %q", keys, err, c.says)
			}
		})
	}
	if keys, _, err := ParseSet([]byte(many(maxKeys))); err != nil || len(keys) != maxKeys {
		t.Fatalf("a hundred keys: got %d, %v", len(keys), err)
	}
	if keys, _, err := ParseSet([]byte("\xef\xbb\xbf\n" + setOf(edJWK("a")))); err != nil || len(keys) != 1 {
		t.Fatalf("with a byte order mark: got %d, %v", len(keys), err)
	}
}

// An attacker who can add a key to a set, or an issuer that made a mistake, gives a second key the kid of the first.
// Neither may win: two candidates are none.
func TestAttackDuplicateKidIsNoKey(t *testing.T) {
	keys, _, err := ParseSet([]byte(setOf(edJWK("same"), edJWK("same"), ecJWK("same"))))
	if err != nil || len(keys) != 3 {
		t.Fatalf("got %v, %v", keys, err)
	}
	wantNone(t, NewStatic(keys), "same")
	q := token.Query{KeyID: "same", HasKeyID: true, Algorithm: "ES256"}
	if _, err := NewStatic(keys).Key(t.Context(), q); err != nil {
		t.Fatalf("the algorithm tells the kinds apart: %v", err)
	}
}

func TestTheSameKeyListedTwiceIsOneKey(t *testing.T) {
	one := edJWK("a")
	keys, _, err := ParseSet([]byte(setOf(one, one)))
	if err != nil || len(keys) != 1 {
		t.Fatalf("got %v, %v", keys, err)
	}
}

func TestAWarningStaysShort(t *testing.T) {
	keys := []string{edJWK("good")}
	for range maxKeys - 1 {
		keys = append(keys, jwkOf("kty", rand.Text(), "kid", strings.Repeat("\u202e", 300)))
	}
	_, warnings, err := ParseSet([]byte(setOf(keys...)))
	if err != nil || len(warnings) != 1 || len(warnings[0]) > 4096 || strings.Contains(warnings[0], "\u202e") {
		t.Fatalf("got %q, %v", warnings, err)
	}
	if !strings.Contains(warnings[0], "99 of 100") || !strings.Contains(warnings[0], "94 more") {
		t.Fatalf("got %q", warnings[0])
	}
}
