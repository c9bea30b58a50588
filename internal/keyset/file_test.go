package keyset

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func publicPEM(t *testing.T, key any) string {
	t.Helper()
	return pemOf("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(key)))
}

func certificate(t *testing.T, ca bool, name string, parent *x509.Certificate, from, to time.Time) (*x509.Certificate, ed25519.PrivateKey) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to, IsCA: ca, BasicConstraintsValid: true}
	if parent == nil {
		parent = tmpl
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, tmpl, parent, pub, private)))), private
}

func TestKeyFilesThatOperatorsHave(t *testing.T) {
	now := time.Now()
	edPub, _, _ := ed25519.GenerateKey(rand.Reader)
	good, _ := certificate(t, false, "signer", nil, now.Add(-time.Hour), now.Add(time.Hour))
	old, _ := certificate(t, false, "old", nil, now.Add(-2*time.Hour), now.Add(-time.Hour))
	early, _ := certificate(t, false, "early", nil, now.Add(time.Hour), now.Add(2*time.Hour))
	ca, _ := certificate(t, true, "authority", nil, now.Add(-time.Hour), now.Add(time.Hour))
	leaf := chained(t, ca, now)
	for name, c := range map[string]struct {
		file string
		keys int
		says string
	}{
		"one JWK":                              {edJWK("a"), 1, ""},
		"a JWKS":                               {setOf(edJWK("a"), ecJWK("b")), 2, ""},
		"a JWKS with an encryption key in it":  {setOf(edJWK("a"), rsaJWK("b", rsa2048(), 65537, "use", "enc")), 1, "1 of 2"},
		"a JWK saved by a Windows editor":      {"\xef\xbb\xbf" + edJWK("a") + "\r\n", 1, ""},
		"a PEM public key":                     {publicPEM(t, &rsa2048().PublicKey), 1, ""},
		"a PEM file with Windows line ends":    {"\xef\xbb\xbf" + strings.ReplaceAll(publicPEM(t, edPub), "\n", "\r\n"), 1, ""},
		"a PKCS #1 public key":                 {pemOf("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsa2048().PublicKey)), 1, ""},
		"three PEM keys with words in between": {"old:\n" + publicPEM(t, edPub) + "new:\n" + publicPEM(t, &rsa2048().PublicKey) + publicPEM(t, &p256().PublicKey), 3, ""},
		"the same PEM key twice":               {publicPEM(t, edPub) + publicPEM(t, edPub), 1, ""},
		"a certificate":                        {pemOf("CERTIFICATE", good.Raw), 1, ""},
		"an expired certificate":               {pemOf("CERTIFICATE", old.Raw), 1, "expired"},
		"a certificate of tomorrow":            {pemOf("CERTIFICATE", early.Raw), 1, "not valid before"},
		"a key beside curve parameters":        {pemOf("EC PARAMETERS", []byte{6, 1, 1}) + publicPEM(t, &p256().PublicKey), 1, "passed over"},
		"a chain: the leaf only":               {pemOf("CERTIFICATE", leaf.Raw) + pemOf("CERTIFICATE", ca.Raw), 1, "authority"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, warnings, err := ParseFile([]byte(c.file))
			if err != nil || len(keys) != c.keys {
				t.Fatalf("got %v, %v, want %d keys", keys, err, c.keys)
			}
			if said := strings.Join(warnings, "\n"); (c.says == "") != (said == "") || !strings.Contains(said, c.says) {
				t.Fatalf("warnings %q, want %q", warnings, c.says)
			}
		})
	}
}

func chained(t *testing.T, ca *x509.Certificate, now time.Time) *x509.Certificate {
	t.Helper()
	pub, _, _ := ed25519.GenerateKey(rand.Reader)
	caKey, private, _ := ed25519.GenerateKey(rand.Reader)
	signer := *ca
	signer.PublicKey = caKey // the signature is not what is under test
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, tmpl, &signer, pub, private))))
}

// An operator copies the wrong file, and the private key that signs every token now lies where the web server reads
// it. The gate must say so loudly and not work as if nothing were wrong.
func TestAttackPrivateKeyInAKeyFileIsAnError(t *testing.T) {
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	good := publicPEM(t, &rsa2048().PublicKey)
	secret := b64([]byte(strings.Repeat("topsecret", 5)))
	for name, c := range map[string]struct{ file, says string }{
		"a PKCS #8 key":                          {pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(edKey))), "private key"},
		"a PKCS #1 key":                          {pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa2048())), "private key"},
		"a SEC 1 key":                            {pemOf("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p256()))), "private key"},
		"an encrypted key":                       {pemOf("ENCRYPTED PRIVATE KEY", []byte("x")), "private key"},
		"an OpenSSH key":                         {pemOf("OPENSSH PRIVATE KEY", []byte("x")), "private key"},
		"a private key behind a public one":      {good + pemOf("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(edKey))), "private key"},
		"a private JWK":                          {edJWK("a", "d", secret), "private key"},
		"a private JWK with d twice":             {`{"kty":"OKP","crv":"Ed25519","x":"` + rfcX + `","d":"` + secret + `","d":"` + secret + `"}`, "twice"},
		"a private JWK in a set":                 {setOf(edJWK("a"), edJWK("b", "d", secret)), "private key"},
		"a private JWK in a set, d twice":        {setOf(edJWK("a"), `{"d":"`+secret+`","d":"x"}`), "once"},
		"a private JWK that is for encryption":   {setOf(edJWK("a"), edJWK("b", "d", secret, "use", "enc")), "private key"},
		"a private member beside the set":        {`{"d":"` + secret + `","keys":[` + edJWK("a") + `]}`, "private key"},
		"a secret in a set":                      {setOf(edJWK("a"), jwkOf("kty", "oct", "k", secret)), "secret"},
		"a secret as a single JWK":               {jwkOf("kty", "oct", "k", secret), "secret"},
		"a private JWK with a kid of wrong type": {setOf(edJWK("a"), `{"kty":"OKP","kid":[1],"d":"`+secret+`"}`), "private key"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, _, err := ParseFile([]byte(c.file))
			if err == nil || len(keys) != 0 || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, %v, want an error that says %q", keys, err, c.says)
			}
			if strings.Contains(err.Error(), secret) {
				t.Fatalf("the error prints the key: %v", err)
			}
		})
	}
}

func TestKeyFilesThatAreNone(t *testing.T) {
	good := publicPEM(t, &rsa2048().PublicKey)
	for name, c := range map[string]struct{ file, says string }{
		"empty":                     {"", "empty"},
		"blank":                     {" \r\n\t", "empty"},
		"an SSH public key":         {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@host", "neither"},
		"DER":                       {string(must(x509.MarshalPKIXPublicKey(&p256().PublicKey))), "neither"},
		"broken JSON":               {"{", "not JSON"},
		"a JWKS without keys":       {`{"keys":[]}`, "empty"},
		"a weak RSA key":            {publicPEM(t, &rsa1024().PublicKey), "1024"},
		"a block cut off":           {good + good[:60], "1 of 2"},
		"a block of wrong base64":   {good + "-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----\n", "1 of 2"},
		"a block that is no key":    {pemOf("PUBLIC KEY", []byte("junk")), "PKIX"},
		"a PKCS #1 block of junk":   {pemOf("RSA PUBLIC KEY", []byte("junk")), "PKCS #1"},
		"a certificate of junk":     {pemOf("CERTIFICATE", []byte("junk")), "certificate"},
		"a certificate request":     {pemOf("CERTIFICATE REQUEST", []byte("junk")), "no public key"},
		"a hundred and one blocks":  {strings.Repeat(good, maxKeys+1), "more than 100"},
		"larger than the limit":     {strings.Repeat(" ", maxBytes) + good, "larger"},
		"an unusable JWK":           {edJWK("a", "use", "enc"), "use"},
		"PEM inside another format": {"key: |\n  " + strings.ReplaceAll(good, "\n", "\n  "), "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, _, err := ParseFile([]byte(c.file))
			if err == nil || len(keys) != 0 || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, %v, want an error that says %q", keys, err, c.says)
			}
		})
	}
}

func TestAKeyWithoutKidServesTokensWithOne(t *testing.T) {
	keys, _, err := ParseFile([]byte(publicPEM(t, &rsa2048().PublicKey) + publicPEM(t, &p256().PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	s := NewStatic(keys)
	for name, c := range map[string]struct {
		q  token.Query
		ok bool
	}{
		"the kid that every Keycloak token has":     {token.Query{KeyID: "any", HasKeyID: true, Algorithm: "RS256"}, true},
		"no kid":                                    {token.Query{Algorithm: "ES256"}, true},
		"an algorithm that no key has":              {token.Query{Algorithm: "EdDSA"}, false},
		"an empty kid, which names nothing":         {token.Query{HasKeyID: true, Algorithm: "RS256"}, false},
		"no algorithm":                              {token.Query{KeyID: "any", HasKeyID: true}, false},
		"a symmetric algorithm over the public key": {token.Query{Algorithm: "HS256"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if k, err := s.Key(t.Context(), c.q); (err == nil) != c.ok {
				t.Fatalf("got %v, %v", k, err)
			}
		})
	}
	named, _, err := ParseFile([]byte(setOf(edJWK("a"), jwkOf("kty", "OKP", "crv", "Ed25519", "x", rfcX))))
	if err != nil {
		t.Fatal(err)
	}
	wantNone(t, NewStatic(named), "other") // beside named keys, a kid that names none is a wrong kid
	wantKey(t, NewStatic(named), "a")
	wantNone(t, NewStatic(nil), "a")
}
