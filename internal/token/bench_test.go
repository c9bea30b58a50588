package token_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"crypto/ecdsa"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// benchClaims look like an access token of a common identity provider.
const benchClaims = `{"exp":1800000300,"iat":1799999900,"auth_time":1799999000,"jti":"6f3c1a0e-7f0c-4f0d-9d0c-2f7a3c1d9e11",
"iss":"https://issuer.example","aud":["panel","account"],"sub":"f:1d2c3b4a:ana","typ":"Bearer","azp":"panel-web",
"session_state":"1c9e2f7a-3c1d-4e11-9d0c-6f3c1a0e7f0c","acr":"1","allowed-origins":["https://panel.example"],
"realm_access":{"roles":["offline_access","reseller"]},"resource_access":{"panel":{"roles":["dns","mail"]}},
"scope":"openid profile email write:users","email_verified":true,"name":"Ana Example","preferred_username":"ana"}`

// BenchmarkVerify compares the whole judgement with the bare signature check of the standard library beside it.
func BenchmarkVerify(b *testing.B) {
	for alg, kid := range map[string]string{"RS256": "rsa", "ES256": "p256", "EdDSA": "ed", "HS256": "hmac"} {
		p, set := policy(), publicKeys()
		if alg == "HS256" {
			p.Algorithms, set = token.SecretAlgorithms(), keySet{hmacKey()}
		}
		v := verifier(p, set)
		raw := compact(alg, fmt.Sprintf(`{"alg":%q,"typ":"JWT","kid":%q}`, alg, kid), benchClaims)
		b.Run(alg+"/whole", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				u, err := token.Parse(raw, limit)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := v.Verify(b.Context(), u); err != nil {
					b.Fatal(err)
				}
			}
		})
		cut := strings.LastIndexByte(raw, '.')
		input := []byte(raw[:cut])
		sig := sign(alg, input)
		b.Run(alg+"/bare", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !bare(alg, input, sig) {
					b.Fatal("does not verify")
				}
			}
		})
	}
}

func bare(alg string, input, sig []byte) bool {
	hash, sum := digest("RS256", nil)
	if alg != "EdDSA" && alg != "HS256" {
		hash, sum = digest(alg, input)
	}
	switch alg {
	case "RS256":
		return rsa.VerifyPKCS1v15(&keys().rsa.PublicKey, hash, sum, sig) == nil
	case "ES256":
		r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
		return ecdsa.Verify(&keys().p256.PublicKey, sum, r, s)
	case "EdDSA":
		return ed25519.Verify(keys().ed.Public().(ed25519.PublicKey), input, sig)
	default:
		return hmac.Equal(signHMAC(secret(), alg, input), sig)
	}
}

// BenchmarkParse is the price of a token that is refused before its signature is looked at.
func BenchmarkParse(b *testing.B) {
	raw := compact("EdDSA", `{"alg":"EdDSA","typ":"JWT","kid":"ed"}`, benchClaims)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := token.Parse(raw, limit); err != nil {
			b.Fatal(err)
		}
	}
}
