package token_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

func TestTokenOfEveryAlgorithmIsAccepted(t *testing.T) {
	kids := map[string]string{
		"RS256": "rsa", "RS384": "rsa", "RS512": "rsa", "PS256": "rsa", "PS384": "rsa", "PS512": "rsa",
		"ES256": "p256", "ES384": "p384", "ES512": "p521", "EdDSA": "ed", "Ed25519": "ed",
		"HS256": "hmac", "HS384": "hmac", "HS512": "hmac",
	}
	secrets := policy()
	secrets.Algorithms = token.SecretAlgorithms()
	for alg, kid := range kids {
		t.Run(alg, func(t *testing.T) {
			v := verifier(policy(), publicKeys())
			if kid == "hmac" {
				v = verifier(secrets, keySet{hmacKey()})
			}
			c := accept(t, v, compact(alg, fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"JWT"}`, alg, kid), goodClaims))
			if c.Subject() != "ana" || c.Issuer() != issuer || c.Expiry().Unix() != nowUnix+300 {
				t.Errorf("subject %q, issuer %q, expiry %v", c.Subject(), c.Issuer(), c.Expiry())
			}
		})
	}
}

// RFC 9864 lets a header say Ed25519 for EdDSA. An operator may write either name, a JWK too.
func TestEd25519IsEdDSAUnderItsOtherName(t *testing.T) {
	p := policy()
	p.Algorithms = []string{"Ed25519"}
	v := verifier(p, keySet{newKey("ed", keys().ed.Public(), "Ed25519")})
	for _, alg := range []string{"EdDSA", "Ed25519"} {
		accept(t, v, compact("EdDSA", `{"alg":"`+alg+`","kid":"ed"}`, goodClaims))
	}
	refuse(t, v, compact("EdDSA", `{"alg":"Ed448","kid":"ed"}`, goodClaims), token.Invalid)
}

// Alg none: the header says that there is nothing to check. Nobody may even look for a key.
func TestAttackAlgNone(t *testing.T) {
	asked := 0
	v := verifier(policy(), keyFunc(func(context.Context, token.Query) (token.Key, error) {
		asked++
		return edKey(), nil
	}))
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "none ", " none", "", "null", "HS", "\\u006eone"} {
		t.Run(alg, func(t *testing.T) {
			head := `{"alg":"` + alg + `","kid":"ed"}`
			refuse(t, v, enc(head)+"."+enc(goodClaims)+".", token.Malformed)
			refuse(t, v, enc(head)+"."+enc(goodClaims), token.Malformed)
			refuse(t, v, enc(head)+"."+enc(goodClaims)+"."+enc("x"), token.Invalid)
			refuse(t, v, compact("EdDSA", head, goodClaims), token.Invalid)
		})
	}
	if asked != 0 {
		t.Errorf("a key was asked for %d times", asked)
	}
}

// Key confusion (RFC 8725 section 2.1): the public key, which everybody has, is used as an HMAC secret.
func TestAttackPublicKeyAsSecret(t *testing.T) {
	publics := map[string]crypto.PublicKey{
		"rsa": &keys().rsa.PublicKey, "p256": &keys().p256.PublicKey, "ed": keys().ed.Public(),
	}
	secrets := policy()
	secrets.Algorithms = token.SecretAlgorithms()
	for kid, public := range publics {
		der := must(x509.MarshalPKIXPublicKey(public))
		armoured := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		spellings := map[string][]byte{
			"PEM":                      armoured,
			"PEM without last newline": armoured[:len(armoured)-1],
			"DER":                      der,
			"JWK":                      []byte(`{"kty":"RSA","kid":"rsa","e":"AQAB","n":"` + enc(der) + `"}`),
		}
		if r, ok := public.(*rsa.PublicKey); ok {
			spellings["PKCS 1"] = x509.MarshalPKCS1PublicKey(r)
		}
		for spelling, text := range spellings {
			t.Run(kid+" as "+spelling, func(t *testing.T) {
				input := enc(`{"alg":"HS256","kid":"`+kid+`"}`) + "." + enc(goodClaims)
				forged := input + "." + enc(signHMAC(text, "HS256", []byte(input)))
				refuse(t, verifier(policy(), publicKeys()), forged, token.Invalid)
				// Even where HMAC is allowed and the wrong key comes back, it is not used as a secret.
				key, _ := token.Select(publicKeys(), token.Query{
					KeyID: kid, HasKeyID: true, Algorithm: map[string]string{"rsa": "RS256", "p256": "ES256", "ed": "EdDSA"}[kid],
				})
				refuse(t, verifier(secrets, anyway(key)), forged, token.Invalid)
				if _, err := token.NewKey(token.KeySpec{Material: text}); err == nil {
					t.Error("a public key was taken as a secret")
				}
			})
		}
	}
}

// The operator said RS256 and nothing else; another algorithm of the same key is still another algorithm.
func TestAttackAlgorithmOutsideTheList(t *testing.T) {
	p := policy()
	p.Algorithms = []string{"RS256"}
	v := verifier(p, publicKeys())
	accept(t, v, compact("RS256", `{"alg":"RS256","kid":"rsa"}`, goodClaims))
	for _, alg := range []string{"RS384", "RS512", "PS256", "ES256", "EdDSA", "HS256", "rs256", "ES256K", "RS1"} {
		signer := alg
		if alg == "rs256" || alg == "ES256K" || alg == "RS1" {
			signer = "RS256"
		}
		refuse(t, v, compact(signer, `{"alg":"`+alg+`","kid":"rsa"}`, goodClaims), token.Invalid)
	}
}

// A JWK with `alg` is for that algorithm only, although its material could do more.
func TestAttackAlgorithmAgainstTheKeys(t *testing.T) {
	key := newKey("rsa", &keys().rsa.PublicKey, "PS256")
	for name, set := range map[string]token.Keys{"honest keys": keySet{key}, "keys that give it anyway": anyway(key)} {
		t.Run(name, func(t *testing.T) {
			v := verifier(policy(), set)
			accept(t, v, compact("PS256", `{"alg":"PS256","kid":"rsa"}`, goodClaims))
			refuse(t, v, compact("RS256", `{"alg":"RS256","kid":"rsa"}`, goodClaims), token.Invalid)
			refuse(t, v, compact("PS512", `{"alg":"PS512","kid":"rsa"}`, goodClaims), token.Invalid)
		})
	}
}

// RFC 7518 section 3.4 ties each algorithm to a curve. jwx alone would take ES256 over P-384.
func TestAttackES256OverP384(t *testing.T) {
	input := enc(`{"alg":"ES256","kid":"p384"}`) + "." + enc(goodClaims)
	forged := input + "." + enc(signEC(keys().p384, "ES256", []byte(input)))
	refuse(t, verifier(policy(), publicKeys()), forged, token.Invalid)
	refuse(t, verifier(policy(), anyway(p384Key())), forged, token.Invalid)
}

// The header says one algorithm, the signature was made with another one that the same key can do.
func TestAttackSignatureOfAnotherAlgorithm(t *testing.T) {
	v := verifier(policy(), publicKeys())
	refuse(t, v, compact("RS384", `{"alg":"RS256","kid":"rsa"}`, goodClaims), token.Invalid)
	refuse(t, v, compact("PS256", `{"alg":"RS256","kid":"rsa"}`, goodClaims), token.Invalid)
	refuse(t, v, compact("RS256", `{"alg":"PS256","kid":"rsa"}`, goodClaims), token.Invalid)
}

// CVE-2022-21449: r = s = 0 satisfied a verifier that did not check the range of the two.
func TestAttackZeroECDSASignature(t *testing.T) {
	v := verifier(policy(), publicKeys())
	input := enc(`{"alg":"ES256","kid":"p256"}`) + "." + enc(goodClaims)
	n, zero := keys().p256.Params().N, new(big.Int)
	good := signEC(keys().p256, "ES256", []byte(input))
	r := new(big.Int).SetBytes(good[:32])
	for name, rs := range map[string][2]*big.Int{
		"both zero": {zero, zero}, "r zero": {zero, r}, "s zero": {r, zero},
		"both n": {n, n}, "r is n": {n, r}, "s is n": {r, n}, "both one": {big.NewInt(1), big.NewInt(1)},
	} {
		t.Run(name, func(t *testing.T) {
			refuse(t, v, input+"."+enc(joinRS(keys().p256.Curve, rs[0], rs[1])), token.Invalid)
		})
	}
}

// Every ECDSA signature (r, s) has a twin (r, n-s), and RFC 7518 does not say which of the two is the right one. So
// tokens are malleable, and nothing may identify one by its bytes. Any other negation is a forgery.
func TestAttackNegatedECDSASignature(t *testing.T) {
	v := verifier(policy(), publicKeys())
	input := enc(`{"alg":"ES256","kid":"p256"}`) + "." + enc(goodClaims)
	good := signEC(keys().p256, "ES256", []byte(input))
	n := keys().p256.Params().N
	r, s := new(big.Int).SetBytes(good[:32]), new(big.Int).SetBytes(good[32:])
	nr, ns := new(big.Int).Sub(n, r), new(big.Int).Sub(n, s)
	with := func(r, s *big.Int) string { return input + "." + enc(joinRS(keys().p256.Curve, r, s)) }
	accept(t, v, with(r, s))
	accept(t, v, with(r, ns))
	refuse(t, v, with(nr, s), token.Invalid)
	refuse(t, v, with(nr, ns), token.Invalid)
}

// RFC 8032 section 5.1.7 wants S below the group's order: S + L would be a second signature of the same token.
func TestAttackEd25519SignatureBeyondTheOrder(t *testing.T) {
	input := enc(`{"alg":"EdDSA","kid":"ed"}`) + "." + enc(goodClaims)
	sig := ed25519.Sign(keys().ed, []byte(input))
	l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(sig[32:])
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), l).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	refuse(t, verifier(policy(), publicKeys()), input+"."+enc(append(sig[:32:32], sum...)), token.Invalid)
}

// A signature of another length is another encoding, and a lenient reader of it gives one token several spellings.
func TestAttackSignatureOfWrongLength(t *testing.T) {
	secrets := policy()
	secrets.Algorithms = token.SecretAlgorithms()
	for alg, kid := range map[string]string{"RS256": "rsa", "PS256": "rsa", "ES256": "p256", "ES512": "p521", "EdDSA": "ed", "HS256": "hmac"} {
		v := verifier(policy(), publicKeys())
		if kid == "hmac" {
			v = verifier(secrets, keySet{hmacKey()})
		}
		input := enc(fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, kid)) + "." + enc(goodClaims)
		sig := sign(alg, []byte(input))
		accept(t, v, input+"."+enc(sig))
		for name, wrong := range map[string][]byte{
			"one byte":       sig[:1],
			"cut":            sig[:len(sig)-1],
			"half":           sig[:len(sig)/2],
			"zero in front":  append([]byte{0}, sig...),
			"zero behind":    append(slices.Clone(sig), 0),
			"zeros in front": append([]byte{0, 0}, sig...),
			"all zero":       make([]byte, len(sig)),
			"twice":          append(slices.Clone(sig), sig...),
		} {
			t.Run(alg+" "+name, func(t *testing.T) { refuse(t, v, input+"."+enc(wrong), token.Invalid) })
		}
	}
}

// TLS encodes ECDSA signatures as ASN.1, JWS does not (RFC 7518 section 3.4).
func TestAttackECDSASignatureAsASN1(t *testing.T) {
	input := enc(`{"alg":"ES256","kid":"p256"}`) + "." + enc(goodClaims)
	_, sum := digest("ES256", []byte(input))
	sig := must(ecdsa.SignASN1(nil, keys().p256, sum))
	if _, err := asn1.Unmarshal(sig, new(struct{ R, S *big.Int })); err != nil {
		t.Fatal(err)
	}
	refuse(t, verifier(policy(), publicKeys()), input+"."+enc(sig), token.Invalid)
}

// One bit of the header, the claims or the signature is changed after signing.
func TestAttackChangedAfterSigning(t *testing.T) {
	v := verifier(policy(), publicKeys())
	header, sub := `{"alg":"EdDSA","kid":"ed","x":1}`, `{"alg":"EdDSA","kid":"ed","x":2}`
	sig := sign("EdDSA", []byte(enc(header)+"."+enc(goodClaims)))
	accept(t, v, enc(header)+"."+enc(goodClaims)+"."+enc(sig))
	refuse(t, v, enc(sub)+"."+enc(goodClaims)+"."+enc(sig), token.Invalid)
	refuse(t, v, enc(header)+"."+enc(goodClaims+" ")+"."+enc(sig), token.Invalid)
	sig[10] ^= 1
	refuse(t, v, enc(header)+"."+enc(goodClaims)+"."+enc(sig), token.Invalid)
}

// The forger signs with a key of their own and puts it, or where to get it, into the header.
func TestAttackKeyInTheHeader(t *testing.T) {
	attacker := ed25519.NewKeyFromSeed([]byte("another seed of 32 bytes exactly"))
	jwk := `{"kty":"OKP","crv":"Ed25519","x":"` + enc([]byte(attacker.Public().(ed25519.PublicKey))) + `"}`
	v := verifier(policy(), publicKeys())
	for _, member := range []string{
		`"jwk":` + jwk, `"jku":"https://evil.example/jwks"`, `"x5u":"https://evil.example/c.pem"`,
		`"x5c":["MIIB"]`, `"x5t":"AA"`, `"x5t#S256":"AA"`,
	} {
		header := `{"alg":"EdDSA","kid":"ed",` + member + `}`
		input := enc(header) + "." + enc(goodClaims)
		refuse(t, v, input+"."+enc(ed25519.Sign(attacker, []byte(input))), token.Invalid)
		accept(t, v, compact("EdDSA", header, goodClaims)) // ignored, not fatal: some issuers send it
	}
}
