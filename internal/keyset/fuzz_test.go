package keyset

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// checkParsed holds what every parser promises: keys or an error, only public keys, each able to verify something.
func checkParsed(t *testing.T, keys []token.Key, err error) {
	t.Helper()
	if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
		t.Fatalf("got %d keys and %v", len(keys), err)
	}
	for _, k := range keys {
		if k.Thumbprint() == "" || len(k.Algorithms()) == 0 || len(k.ID()) > maxKeyID {
			t.Fatalf("key %v", k)
		}
		for _, alg := range k.Algorithms() {
			if !slices.Contains(token.DefaultAlgorithms(), alg) {
				t.Fatalf("key %v does %q", k, alg)
			}
		}
	}
}

func FuzzParseSet(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"keys":[]}`, `{"keys":[{}]}`, setOf(edJWK("a"), ecJWK("b", "use", "sig")), setOf(rsaJWK("c", rsa2048(), 65537, "alg", "RS256")),
		setOf(jwkOf("kty", "OKP", "crv", "Ed25519", "x", "AQID")), setOf(jwkOf("kty", "oct", "k", "AAAA")), setOf(edJWK("a", "d", "AAAA")),
		setOf(edJWK("a", "key_ops", `["verify"]`, "x5c", `["AAAA"]`)), `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}],"keys":1}`,
		strings.Repeat(`{"keys":[`, 50),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, _, err := parseSet(data)
		keys := keysOf(parsed)
		checkParsed(t, keys, err)
		// What is stored must come back as the same keys.
		var again []string
		for _, p := range parsed {
			again = append(again, string(p.jwk))
		}
		if err == nil {
			back, warnings, err := ParseSet([]byte(setOf(again...)))
			if err != nil || len(warnings) > 0 || !slices.EqualFunc(keys, back, func(a, b token.Key) bool { return fingerprint(a) == fingerprint(b) }) {
				t.Fatalf("%v became %v: %v %v", keys, back, warnings, err)
			}
		}
	})
}

func FuzzParseFile(f *testing.F) {
	public := pemOf("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&p256().PublicKey)))
	for _, seed := range []string{
		"", "{", edJWK("a"), setOf(edJWK("a")), "\xef\xbb\xbf" + edJWK("a"), public, public + public, public[:50], "x" + public,
		pemOf("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsa2048().PublicKey)), pemOf("CERTIFICATE", []byte{0x30, 0}), pemOf("PRIVATE KEY", nil),
		"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, _, err := ParseFile(data)
		checkParsed(t, keys, err)
		if err == nil && strings.Contains(string(data), "-----BEGIN PRIVATE KEY") && data[0] != '{' {
			t.Fatal("a private key was passed over")
		}
	})
}
