package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	minRSABits  = 2048 // RFC 7518 sections 3.3 and 3.5
	maxRSABits  = 8192 // beyond it one signature costs milliseconds, which anybody could make us spend
	maxExponent = 1<<31 - 1
)

func checkRSA(pub *rsa.PublicKey) (key *rsa.PublicKey, thumbprint string, err error) {
	if pub == nil || pub.N == nil || pub.N.Sign() <= 0 {
		return nil, "", errors.New("found an RSA key without a modulus, expected a public key")
	}
	if n := pub.N.BitLen(); n < minRSABits || n > maxRSABits {
		return nil, "", fmt.Errorf("found an RSA key of %d bits, expected %d to %d", n, minRSABits, maxRSABits)
	}
	if pub.N.Bit(0) == 0 {
		return nil, "", errors.New("found an RSA key with an even modulus, expected a product of two primes")
	}
	if pub.E < 3 || pub.E&1 == 0 || int64(pub.E) > maxExponent {
		return nil, "", fmt.Errorf("found an RSA key with exponent %d, expected an odd number from 3 to %d", pub.E, maxExponent)
	}
	if hasROCA(pub.N) {
		return nil, "", errors.New("found an RSA key of a chip whose private keys can be computed (CVE-2017-15361), expected another key")
	}
	e := big.NewInt(int64(pub.E)).Bytes()
	thumbprint = thumb(fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, b64(e), b64(pub.N.Bytes())))
	return &rsa.PublicKey{N: new(big.Int).Set(pub.N), E: pub.E}, thumbprint, nil
}

// hasROCA recognises the moduli of one maker's smart cards and TPMs (CVE-2017-15361): from 2048 bits on, they are powers
// of 65537 modulo each of the first 126 primes. Of other moduli fewer than one in 2^167 are.
func hasROCA(n *big.Int) bool {
	var rest, prime big.Int
	for p := int64(3); p <= 701; p += 2 {
		if !prime.SetInt64(p).ProbablyPrime(0) {
			continue
		}
		want, power := rest.Mod(n, &prime).Int64(), int64(1)
		for power != want {
			if power = power * 65537 % p; power == 1 {
				return false
			}
		}
	}
	return true
}

func checkECDSA(pub *ecdsa.PublicKey) (key *ecdsa.PublicKey, thumbprint string, able []string, err error) {
	if pub == nil || pub.Curve == nil {
		return nil, "", nil, errors.New("found an ECDSA key without a curve, expected a public key")
	}
	alg := curveAlgorithm(pub.Curve)
	if alg == "" {
		return nil, "", nil, fmt.Errorf("found an ECDSA key on %.32q, expected P-256, P-384 or P-521", pub.Params().Name)
	}
	point, err := ecPoint(pub)
	if err != nil {
		return nil, "", nil, err
	}
	key, err = ecdsa.ParseUncompressedPublicKey(pub.Curve, point)
	if err != nil {
		return nil, "", nil, errors.New("found an ECDSA key that is not on its curve, expected a point of it")
	}
	half := len(point) / 2 // the first byte says "uncompressed"
	thumbprint = thumb(fmt.Sprintf(`{"crv":%q,"kty":"EC","x":%q,"y":%q}`,
		pub.Params().Name, b64(point[1:1+half]), b64(point[1+half:])))
	return key, thumbprint, []string{alg}, nil
}

// ecPoint encodes the point, checking it. The standard library may panic on coordinates that are nil or too large.
func ecPoint(pub *ecdsa.PublicKey) (point []byte, err error) {
	defer func() {
		if recover() != nil {
			point, err = nil, errors.New("found an ECDSA key without proper coordinates, expected a point of its curve")
		}
	}()
	point, err = pub.Bytes()
	if err != nil {
		return nil, errors.New("found an ECDSA key that is not on its curve, expected a point of it")
	}
	return point, nil
}

func checkEd25519(pub ed25519.PublicKey) (key ed25519.PublicKey, thumbprint string, err error) {
	if len(pub) != ed25519.PublicKeySize {
		return nil, "", fmt.Errorf("found an Ed25519 key of %d bytes, expected %d", len(pub), ed25519.PublicKeySize)
	}
	if !usableEdwardsPoint(pub) {
		return nil, "", errors.New("found an Ed25519 key that is no point of the curve or one of small order, " +
			"for which anybody can sign, expected a proper public key")
	}
	thumbprint = thumb(fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":%q}`, b64(pub)))
	return slices.Clone(pub), thumbprint, nil
}

// usableEdwardsPoint reports whether pub is a point of edwards25519 (RFC 8032 section 5.1.3) whose order is not 1, 2, 4
// or 8. Under such a key the all-zero scalar signs: crypto/ed25519 checks neither.
func usableEdwardsPoint(pub []byte) bool {
	one := big.NewInt(1)
	p := new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	le := slices.Clone(pub)
	le[31] &= 0x7f // the sign of x
	slices.Reverse(le)
	y := new(big.Int).SetBytes(le)
	if y.Cmp(p) >= 0 {
		return false // not canonical
	}
	mod := func(x *big.Int) *big.Int { return x.Mod(x, p) }
	yy := mod(new(big.Int).Mul(y, y))
	// d = -121665/121666, and x² = (y²-1) / (d·y²+1).
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d = mod(d.Mul(d, big.NewInt(-121665)))
	u := mod(new(big.Int).Sub(yy, one))
	dyy := mod(new(big.Int).Mul(d, yy))
	v := mod(new(big.Int).Add(dyy, one))
	if big.Jacobi(mod(new(big.Int).Mul(u, v)), p) < 0 {
		return false
	}
	// Orders 1 and 2 have x = 0, order 4 has y = 0, and order 8 doubles to y = 0, where x² = -y²:
	// substituted into the curve's equation -x²+y² = 1+d·x²·y² that is 2y² = 1-d·y⁴.
	if u.Sign() == 0 || y.Sign() == 0 {
		return false
	}
	left := mod(new(big.Int).Lsh(yy, 1))
	right := mod(new(big.Int).Sub(one, mod(new(big.Int).Mul(dyy, yy))))
	return left.Cmp(right) != 0
}

// checkSecret also refuses a public key given as a secret: it is long enough, and everybody knows it.
func checkSecret(secret []byte) ([]byte, error) {
	if len(secret) < 32 {
		return nil, fmt.Errorf("found a secret of %d bytes, expected at least 32 (RFC 7518 section 3.2)", len(secret))
	}
	if looksLikeKeyFile(secret) || isBareKey(secret) {
		return nil, errors.New("found a key file where a secret belongs, expected random bytes")
	}
	return slices.Clone(secret), nil
}

func looksLikeKeyFile(b []byte) bool {
	if bytes.Contains(b, []byte("-----BEGIN ")) {
		return true
	}
	if t := bytes.TrimSpace(b); len(t) > 0 && t[0] == '{' && jsontext.Value(t).IsValid() {
		return true
	}
	if _, err := x509.ParsePKIXPublicKey(b); err == nil {
		return true
	}
	if _, err := x509.ParseCertificate(b); err == nil {
		return true
	}
	_, err := x509.ParsePKCS1PublicKey(b)
	return err == nil
}

// isBareKey recognises a PEM body without its first and last line, which is how some panels show a public key.
func isBareKey(b []byte) bool {
	der, err := base64.StdEncoding.DecodeString(string(b))
	return err == nil && looksLikeKeyFile(der)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func thumb(canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	return b64(sum[:])
}
