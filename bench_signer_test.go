package gatehouse

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// benchSigner is an identity provider that signs with one algorithm.
type benchSigner struct {
	alg   string
	keys  string // the lines of its issuer block that say what verifies
	sign  func(input []byte) []byte
	check func(input, signature []byte) bool // by the standard library alone
}

func newBenchSigner(b *testing.B, alg string) *benchSigner {
	b.Helper()
	s := &benchSigner{alg: alg}
	var public crypto.PublicKey
	switch alg {
	case "RS256":
		key := must(rsa.GenerateKey(rand.Reader, 2048))
		public = &key.PublicKey
		s.sign = func(input []byte) []byte { return must(rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum(input))) }
		s.check = func(input, sig []byte) bool {
			return rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum(input), sig) == nil
		}
	case "ES256":
		key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		public = &key.PublicKey
		s.sign = func(input []byte) []byte {
			r, s, err := ecdsa.Sign(rand.Reader, key, sum(input))
			return append(r.FillBytes(make([]byte, 32)), must(s, err).FillBytes(make([]byte, 32))...)
		}
		s.check = func(input, sig []byte) bool {
			r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
			return ecdsa.Verify(&key.PublicKey, sum(input), r, s)
		}
	case "EdDSA":
		verify, key, err := ed25519.GenerateKey(rand.Reader)
		public = must(verify, err)
		s.sign = func(input []byte) []byte { return ed25519.Sign(key, input) }
		s.check = func(input, sig []byte) bool { return ed25519.Verify(verify, input, sig) }
	case "HS256":
		const secret = "0123456789abcdef0123456789abcdef"
		s.keys = "secret " + secret
		s.sign = func(input []byte) []byte {
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write(input)
			return mac.Sum(nil)
		}
		s.check = func(input, sig []byte) bool { return hmac.Equal(s.sign(input), sig) }
		return s
	default:
		b.Fatalf("no signer for %s", alg)
	}
	file := filepath.Join(b.TempDir(), "key.pem")
	writeFile(b, file, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(public))})))
	s.keys = "keys " + file
	return s
}

// site is a provisioned server with a gate that trusts the signer.
func (s *benchSigner) site(b *testing.B, options string) *caddyhttp.Server {
	b.Helper()
	site := newSiteFrom(b, nil, `
:80 {
	route {
		gatehouse {
			issuer `+testIssuer+` {
				`+s.keys+`
				audience `+testAudience+`
			}
			`+options+`
		}
		gatehouse_test_spy none
	}
}`)
	// What Caddy does with a log unless told otherwise, instead of keeping all entries for a test to read.
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zap.InfoLevel))
	site.gate.gate.log, site.gate.gate.teller.log, site.gate.gate.headers.log = log, log, log
	return site.server
}

// token looks like an access token of a common identity provider.
func (s *benchSigner) token(b *testing.B) string {
	b.Helper()
	now := time.Now().Unix()
	claims := fmt.Sprintf(`{"exp":%d,"iat":%d,"auth_time":%d,"jti":"6f3c1a0e-7f0c-4f0d-9d0c-2f7a3c1d9e11",
"iss":%q,"aud":[%q,"account"],"sub":"f:1d2c3b4a:ana","typ":"Bearer","azp":"panel-web",
"session_state":"1c9e2f7a-3c1d-4e11-9d0c-6f3c1a0e7f0c","acr":"1","allowed-origins":["https://panel.example"],
"realm_access":{"roles":["offline_access","reseller"]},"resource_access":{"panel":{"roles":["dns","mail"]}},
"scope":"openid profile email write:users","email_verified":true,"name":"Ana Example","preferred_username":"ana"}`,
		now+36_000, now, now-60, testIssuer, testAudience)
	encode := base64.RawURLEncoding.EncodeToString
	input := encode([]byte(`{"alg":"`+s.alg+`","typ":"JWT"}`)) + "." + encode([]byte(claims))
	return input + "." + encode(s.sign([]byte(input)))
}

// benchmark is the bare signature check.
func (s *benchSigner) benchmark(b *testing.B) {
	raw := s.token(b)
	cut := strings.LastIndexByte(raw, '.')
	input, signature := []byte(raw[:cut]), must(base64.RawURLEncoding.DecodeString(raw[cut+1:]))
	b.ReportAllocs()
	for b.Loop() {
		if !s.check(input, signature) {
			b.Fatal("does not verify")
		}
	}
}

func sum(input []byte) []byte {
	digest := sha256.Sum256(input)
	return digest[:]
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
