package token_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

const (
	issuer   = "https://issuer.example"
	audience = "panel"
	limit    = 8192
	nowUnix  = 1_800_000_000

	// A token with these claims is good in every respect.
	goodClaims = `{"iss":"https://issuer.example","sub":"ana","aud":"panel","exp":1800000300,"iat":1799999900}`
)

func clock() time.Time { return time.Unix(nowUnix, 0) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func enc[T string | []byte](b T) string { return base64.RawURLEncoding.EncodeToString([]byte(b)) }

func secret() []byte {
	return []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
}

// The keys are made once for the whole package: an RSA key costs a noticeable part of a second.
type testKeys struct {
	rsa              *rsa.PrivateKey
	p256, p384, p521 *ecdsa.PrivateKey
	ed               ed25519.PrivateKey
}

func keys() testKeys { return makeKeys() }

var makeKeys = sync.OnceValue(func() testKeys {
	return testKeys{
		rsa:  must(rsa.GenerateKey(rand.Reader, 2048)),
		p256: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		p384: must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		p521: must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		ed:   ed25519.NewKeyFromSeed([]byte("a seed of exactly thirty-two b..")),
	}
})

func newKey(id string, material any, algs ...string) token.Key {
	return must(token.NewKey(token.KeySpec{ID: id, Algorithms: algs, Material: material}))
}

func rsaKey() token.Key  { return newKey("rsa", &keys().rsa.PublicKey) }
func p256Key() token.Key { return newKey("p256", &keys().p256.PublicKey) }
func p384Key() token.Key { return newKey("p384", &keys().p384.PublicKey) }
func p521Key() token.Key { return newKey("p521", &keys().p521.PublicKey) }
func edKey() token.Key   { return newKey("ed", keys().ed.Public()) }
func hmacKey() token.Key { return newKey("hmac", secret()) }

func publicKeys() keySet { return keySet{rsaKey(), p256Key(), p384Key(), p521Key(), edKey()} }

// keySet is the honest implementation of Keys.
type keySet []token.Key

func (s keySet) Key(_ context.Context, q token.Query) (token.Key, error) {
	if k, ok := token.Select(s, q); ok {
		return k, nil
	}
	return token.Key{}, token.ErrNoSuchKey
}

// keyFunc is any other one.
type keyFunc func(context.Context, token.Query) (token.Key, error)

func (f keyFunc) Key(ctx context.Context, q token.Query) (token.Key, error) { return f(ctx, q) }

// anyway hands out one key, whatever was asked for.
func anyway(k token.Key) keyFunc {
	return func(context.Context, token.Query) (token.Key, error) { return k, nil }
}

func digest(alg string, input []byte) (crypto.Hash, []byte) {
	switch alg[len(alg)-3:] {
	case "384":
		sum := sha512.Sum384(input)
		return crypto.SHA384, sum[:]
	case "512":
		sum := sha512.Sum512(input)
		return crypto.SHA512, sum[:]
	default:
		sum := sha256.Sum256(input)
		return crypto.SHA256, sum[:]
	}
}

func signEC(key *ecdsa.PrivateKey, alg string, input []byte) []byte {
	_, sum := digest(alg, input)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum)
	if err != nil {
		panic(err)
	}
	return joinRS(key.Curve, r, s)
}

func joinRS(curve elliptic.Curve, r, s *big.Int) []byte {
	size := (curve.Params().BitSize + 7) / 8
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
}

func signHMAC(key []byte, alg string, input []byte) []byte {
	hash, _ := digest(alg, nil)
	mac := hmac.New(hash.New, key)
	mac.Write(input)
	return mac.Sum(nil)
}

// sign signs with the package's key for the algorithm.
func sign(alg string, input []byte) []byte {
	hash, sum := crypto.Hash(0), []byte(nil)
	if alg != "EdDSA" && alg != "Ed25519" {
		hash, sum = digest(alg, input)
	}
	switch alg {
	case "RS256", "RS384", "RS512":
		return must(rsa.SignPKCS1v15(nil, keys().rsa, hash, sum))
	case "PS256", "PS384", "PS512":
		return must(rsa.SignPSS(rand.Reader, keys().rsa, hash, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
	case "ES256":
		return signEC(keys().p256, alg, input)
	case "ES384":
		return signEC(keys().p384, alg, input)
	case "ES512":
		return signEC(keys().p521, alg, input)
	case "EdDSA", "Ed25519":
		return ed25519.Sign(keys().ed, input)
	default:
		return signHMAC(secret(), alg, input)
	}
}

// compact makes a token out of a header and claims, signed as alg says, whatever the header says.
func compact(alg, header, claims string) string {
	input := enc(header) + "." + enc(claims)
	return input + "." + enc(sign(alg, []byte(input)))
}

// edToken is a token with a good header and a good signature: what is wrong with it is in its claims.
func edToken(claims string) string { return compact("EdDSA", `{"alg":"EdDSA","kid":"ed"}`, claims) }

func policy() token.Policy {
	return token.Policy{
		Issuer:     issuer,
		Audiences:  []string{audience},
		Algorithms: token.DefaultAlgorithms(),
		Leeway:     30 * time.Second,
		Now:        clock,
	}
}

func verifier(p token.Policy, keys token.Keys) *token.Verifier {
	return must(token.NewVerifier(p, keys))
}

func judge(t *testing.T, v *token.Verifier, raw string) (*token.Claims, error) {
	t.Helper()
	u, err := token.Parse(raw, limit)
	if err != nil {
		return nil, err
	}
	return v.Verify(t.Context(), u)
}

func accept(t *testing.T, v *token.Verifier, raw string) *token.Claims {
	t.Helper()
	c, err := judge(t, v, raw)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return c
}

// refuse makes sure of the kind of a refusal, and that it gives nothing of the token away.
func refuse(t *testing.T, v *token.Verifier, raw string, want token.Kind) *token.Error {
	t.Helper()
	c, err := judge(t, v, raw)
	e, ok := errors.AsType[*token.Error](err)
	switch {
	case err == nil:
		t.Fatalf("accepted, subject %q", c.Subject())
	case !ok:
		t.Fatalf("error is a %T: %v", err, err)
	case c != nil:
		t.Fatal("an error came together with claims")
	case e.Kind != want:
		t.Fatalf("kind is %v (%v), want %v", e.Kind, e, want)
	case e.Reason == "" || len(e.Reason) > 64:
		t.Fatalf("reason %q is not a short text", e.Reason)
	case strings.Contains(e.Error(), "ana"):
		t.Fatalf("the error quotes the token: %v", e)
	}
	return e
}
