package token_test

import (
	"crypto/dsa" //nolint:staticcheck // a key that must be refused
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// Weak material is refused when the key is made, so that no request ever meets it.
func TestAttackWeakKey(t *testing.T) {
	n := keys().rsa.N
	bits := func(size uint) *big.Int { return new(big.Int).SetBit(new(big.Int).Lsh(big.NewInt(1), size-1), 0, 1) }
	x, y := keys().p256.X, keys().p256.Y //nolint:staticcheck // broken points cannot be made in another way
	point := func(c elliptic.Curve, x, y *big.Int) *ecdsa.PublicKey { return &ecdsa.PublicKey{Curve: c, X: x, Y: y} }
	for name, material := range map[string]any{
		"nothing":                   nil,
		"no RSA key":                (*rsa.PublicKey)(nil),
		"RSA without modulus":       &rsa.PublicKey{E: 65537},
		"RSA with modulus 0":        &rsa.PublicKey{N: new(big.Int), E: 65537},
		"RSA with negative modulus": &rsa.PublicKey{N: new(big.Int).Neg(n), E: 65537},
		"RSA of 1024 bits":          &rsa.PublicKey{N: bits(1024), E: 65537},
		"RSA of 2047 bits":          &rsa.PublicKey{N: bits(2047), E: 65537},
		"RSA of 8193 bits":          &rsa.PublicKey{N: bits(8193), E: 65537},
		"RSA with even modulus":     &rsa.PublicKey{N: new(big.Int).Add(n, big.NewInt(1)), E: 65537},
		"RSA of CVE-2017-15361":     &rsa.PublicKey{N: rocaModulus(), E: 65537},
		"RSA with exponent 0":       &rsa.PublicKey{N: n},
		"RSA with exponent 1":       &rsa.PublicKey{N: n, E: 1},
		"RSA with exponent 2":       &rsa.PublicKey{N: n, E: 2},
		"RSA with exponent 65536":   &rsa.PublicKey{N: n, E: 65536},
		"RSA with exponent -3":      &rsa.PublicKey{N: n, E: -3},
		"RSA with exponent 2^31+1":  &rsa.PublicKey{N: n, E: 1<<31 + 1},
		"an RSA private key":        keys().rsa,
		"RSA by value":              keys().rsa.PublicKey,
		"no EC key":                 (*ecdsa.PublicKey)(nil),
		"EC without curve":          &ecdsa.PublicKey{},
		"EC without point":          point(elliptic.P256(), nil, nil),
		"EC at infinity":            point(elliptic.P256(), new(big.Int), new(big.Int)),
		"EC off the curve":          point(elliptic.P256(), x, new(big.Int).Add(y, big.NewInt(1))),
		"EC on another curve":       point(elliptic.P384(), x, y),
		"EC with negative x":        point(elliptic.P256(), new(big.Int).Neg(x), y),
		"EC with x beyond p":        point(elliptic.P256(), new(big.Int).Add(x, elliptic.P256().Params().P), y),
		"EC with huge x":            point(elliptic.P256(), new(big.Int).Lsh(x, 1000), y),
		"EC on P-224":               &must(ecdsa.GenerateKey(elliptic.P224(), nil)).PublicKey,
		"EC on a curve of their own": point(&elliptic.CurveParams{Name: "P-256", BitSize: 256, P: elliptic.P256().Params().P,
			N: elliptic.P256().Params().N, B: elliptic.P256().Params().B, Gx: x, Gy: y}, x, y),
		"an EC private key":  keys().p256,
		"no Ed25519 key":     ed25519.PublicKey(nil),
		"Ed25519 of 3 bytes": ed25519.PublicKey("abc"),
		"Ed25519 of 31":      keys().ed.Public().(ed25519.PublicKey)[:31],
		"Ed25519 of 33":      append(slices.Clone(keys().ed.Public().(ed25519.PublicKey)), 0),
		"an Ed25519 private": keys().ed,
		"a DSA key":          &dsa.PublicKey{},
	} {
		refuseKey(t, name, material)
	}
}

// rocaModulus has the form of the moduli whose factors can be computed: a power of 65537 modulo many small primes.
func rocaModulus() *big.Int {
	product := big.NewInt(1)
	for p := int64(2); p <= 701; p++ {
		if prime := big.NewInt(p); prime.ProbablyPrime(0) {
			product.Mul(product, prime)
		}
	}
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(123456789), product)
	times := new(big.Int).Lsh(big.NewInt(1), 2047)
	times.Div(times, product).Add(times, big.NewInt(1))
	return n.Add(n, times.Mul(times, product))
}

// A short secret can be guessed, a key file in its place is known to everybody.
func TestAttackWeakSecret(t *testing.T) {
	for name, material := range map[string]any{
		"no secret":          []byte(nil),
		"empty secret":       []byte{},
		"secret of 31 bytes": secret()[:31],
		"secret as a string": string(secret()),
		"secret is a JWK":    []byte(`{"kty":"oct","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}`),
		"secret is a bare public key": []byte(base64.StdEncoding.EncodeToString(
			must(x509.MarshalPKIXPublicKey(&keys().rsa.PublicKey)))),
		"secret is a PEM file": []byte("\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
	} {
		refuseKey(t, name, material)
	}
}

func refuseKey(t *testing.T, name string, material any) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		k, err := token.NewKey(token.KeySpec{ID: "k", Material: material})
		if err == nil {
			t.Fatalf("accepted: %v", k)
		}
		if !strings.Contains(err.Error(), "found") || !strings.Contains(err.Error(), "expected") {
			t.Errorf("the error does not say what was found and what was expected: %v", err)
		}
		if len(k.Algorithms()) != 0 || k.Fits("EdDSA") {
			t.Error("a refused key verifies something")
		}
	})
}

// Under an Ed25519 key of small order a signature of zeros verifies for one message in eight, or for all.
func TestAttackEd25519KeyOfSmallOrder(t *testing.T) {
	for _, text := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 2
		"0000000000000000000000000000000000000000000000000000000000000000", // order 4
		"0000000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"0100000000000000000000000000000000000000000000000000000000000080", // the same, not canonical
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0200000000000000000000000000000000000000000000000000000000000000", // not on the curve
	} {
		pub := ed25519.PublicKey(must(hex.DecodeString(text)))
		if k, err := token.NewKey(token.KeySpec{Material: pub}); err == nil {
			t.Errorf("%s: accepted %v", text, k)
		}
	}
	for i := range 64 {
		seed := make([]byte, 32)
		seed[0] = byte(i)
		newKey("", ed25519.NewKeyFromSeed(seed).Public())
	}
}

func TestAlgorithmsOfAKey(t *testing.T) {
	rsaPub := &keys().rsa.PublicKey
	all := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	for _, c := range []struct {
		name     string
		material any
		asked    []string
		want     []string // nil: refused
	}{
		{"RSA", rsaPub, nil, all},
		{"RSA for one", rsaPub, []string{"PS384"}, []string{"PS384"}},
		{"RSA for one said twice", rsaPub, []string{"PS384", "PS384"}, []string{"PS384"}},
		{"RSA that says ES256", rsaPub, []string{"ES256"}, nil},
		{"RSA that says HS256", rsaPub, []string{"HS256"}, nil},
		{"RSA that says none", rsaPub, []string{"none"}, nil},
		{"RSA that says RSA-OAEP", rsaPub, []string{"RSA-OAEP"}, nil},
		{"RSA with one good and one bad", rsaPub, []string{"RS256", "EdDSA"}, nil},
		{"RSA with an empty alg", rsaPub, []string{""}, nil},
		{"P-256", &keys().p256.PublicKey, nil, []string{"ES256"}},
		{"P-384", &keys().p384.PublicKey, nil, []string{"ES384"}},
		{"P-521", &keys().p521.PublicKey, []string{"ES512"}, []string{"ES512"}},
		{"P-384 that says ES256", &keys().p384.PublicKey, []string{"ES256"}, nil},
		{"Ed25519", keys().ed.Public(), []string{"Ed25519"}, []string{"EdDSA"}},
		{"Ed25519 that says ES256", keys().ed.Public(), []string{"ES256"}, nil},
		{"secret of 32 bytes", secret()[:32], nil, []string{"HS256"}},
		{"secret of 48 bytes", secret()[:48], nil, []string{"HS256", "HS384"}},
		{"secret of 64 bytes", secret(), nil, []string{"HS256", "HS384", "HS512"}},
		{"secret too short for its alg", secret()[:63], []string{"HS512"}, nil},
		{"secret that says RS256", secret(), []string{"RS256"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := token.NewKey(token.KeySpec{Material: c.material, Algorithms: c.asked})
			if (err == nil) != (c.want != nil) || !slices.Equal(k.Algorithms(), c.want) {
				t.Errorf("algorithms %v, error %v, want %v", k.Algorithms(), err, c.want)
			}
		})
	}
	if edKey().Fits("none") || edKey().Fits("") || !edKey().Fits("Ed25519") || (token.Key{}).Fits("") {
		t.Error("Fits is wrong")
	}
}

func TestKnownAlgorithms(t *testing.T) {
	for _, name := range slices.Concat(token.DefaultAlgorithms(), token.SecretAlgorithms(), []string{"Ed25519"}) {
		if !token.KnownAlgorithm(name) {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range []string{"", "none", "rs256", "RS1", "ES256K", "Ed448", "RSA-OAEP", "HS1", "A128KW", "dir"} {
		if token.KnownAlgorithm(name) {
			t.Errorf("%s is known", name)
		}
	}
}

// The caller's later changes to what it gave or got must not change a key.
func TestKeyIsACopy(t *testing.T) {
	s := secret()
	pub := slices.Clone(keys().ed.Public().(ed25519.PublicKey))
	modulus := &rsa.PublicKey{N: new(big.Int).Set(keys().rsa.N), E: keys().rsa.E}
	hs, ed, rs := newKey("hmac", s), newKey("ed", pub), newKey("rsa", modulus)
	clear(s)
	clear(pub)
	modulus.N.SetInt64(15)
	ed.Algorithms()[0] = "none"
	secrets := policy()
	secrets.Algorithms = token.SecretAlgorithms()
	accept(t, verifier(secrets, keySet{hs}), compact("HS256", `{"alg":"HS256","kid":"hmac"}`, goodClaims))
	accept(t, verifier(policy(), keySet{ed, rs}), edToken(goodClaims))
	accept(t, verifier(policy(), keySet{ed, rs}), compact("RS256", `{"alg":"RS256","kid":"rsa"}`, goodClaims))
}

// The examples of RFC 7638 section 3.1 and RFC 8037 appendix A.3.
func TestThumbprintOfTheRFCs(t *testing.T) {
	n := "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs" +
		"tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91Cb" +
		"OpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	rsaPub := &rsa.PublicKey{N: new(big.Int).SetBytes(must(base64.RawURLEncoding.DecodeString(n))), E: 65537}
	edPub := ed25519.PublicKey(must(base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")))
	for want, material := range map[string]any{
		"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs": rsaPub,
		"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k": edPub,
		"": secret(),
	} {
		if got := newKey("", material).Thumbprint(); got != want {
			t.Errorf("thumbprint %q, want %q", got, want)
		}
	}
	if a, b := p256Key().Thumbprint(), p384Key().Thumbprint(); len(a) != 43 || a == b {
		t.Errorf("thumbprints %q and %q", a, b)
	}
}

// A secret in a log is no secret.
func TestSecretIsNotPrinted(t *testing.T) {
	k := hmacKey()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		text := fmt.Sprintf(verb, k) + fmt.Sprintf(verb, &k) + fmt.Sprintf(verb, []token.Key{k})
		if strings.Contains(text, "0123") || strings.Contains(text, "48, 49") || strings.Contains(text, "0x30") || strings.Contains(text, "[48 49") {
			t.Errorf("%s prints the secret: %s", verb, text)
		}
	}
}

func TestSelect(t *testing.T) {
	other := newKey("ed", ed25519.NewKeyFromSeed(secret()[:32]).Public())
	unnamed := newKey("", &keys().p256.PublicKey)
	both := token.Query{KeyID: "x", HasKeyID: true, Algorithm: "ES256"}
	for _, c := range []struct {
		name string
		keys []token.Key
		q    token.Query
		want string // thumbprint
	}{
		{"kid that fits", publicKeys(), token.Query{KeyID: "ed", HasKeyID: true, Algorithm: "EdDSA"}, edKey().Thumbprint()},
		{"kid of another type", publicKeys(), token.Query{KeyID: "ed", HasKeyID: true, Algorithm: "RS256"}, ""},
		{"unknown kid, though one key fits", publicKeys(), token.Query{KeyID: "x", HasKeyID: true, Algorithm: "EdDSA"}, ""},
		{"one kid in two types", []token.Key{newKey("x", &keys().rsa.PublicKey), newKey("x", &keys().p256.PublicKey)}, both, p256Key().Thumbprint()},
		{"one kid twice in one type", []token.Key{edKey(), other}, token.Query{KeyID: "ed", HasKeyID: true, Algorithm: "EdDSA"}, ""},
		{"one kid three times", []token.Key{edKey(), other, edKey()}, token.Query{KeyID: "ed", HasKeyID: true, Algorithm: "EdDSA"}, ""},
		{"no kid, one key fits", publicKeys(), token.Query{Algorithm: "ES384"}, p384Key().Thumbprint()},
		{"no kid, two keys fit", []token.Key{edKey(), other}, token.Query{Algorithm: "EdDSA"}, ""},
		{"no kid, no key fits", []token.Key{edKey()}, token.Query{Algorithm: "ES256"}, ""},
		{"no kid, key without name", []token.Key{unnamed}, token.Query{Algorithm: "ES256"}, unnamed.Thumbprint()},
		{"empty kid, key without name", []token.Key{unnamed}, token.Query{HasKeyID: true, Algorithm: "ES256"}, ""},
		{"no keys", nil, token.Query{Algorithm: "ES256"}, ""},
		{"alg none", publicKeys(), token.Query{Algorithm: "none"}, ""},
		{"no alg", append(publicKeys(), token.Key{}), token.Query{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, found := token.Select(c.keys, c.q)
			if found != (c.want != "") || k.Thumbprint() != c.want || !found && k.ID() != "" {
				t.Errorf("found %v: %v", found, k)
			}
		})
	}
}
