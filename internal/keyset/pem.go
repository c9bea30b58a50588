package keyset

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

const pemBegin = "-----BEGIN "

// parsePEM reads public keys and certificates. A block that is private or broken is an error: what the operator put
// there on purpose must not be passed over in silence.
func parsePEM(data []byte) ([]token.Key, []string, error) {
	blocks, err := pemBlocks(data)
	if err != nil {
		return nil, nil, err
	}
	certs := certificates(blocks)
	var keys []parsedKey
	var warnings []string
	for i, block := range blocks {
		material, warning, err := pemMaterial(block, certs)
		if err != nil {
			return nil, nil, fmt.Errorf("PEM block %d (%s): %w", i+1, quoted(block.Type), err)
		}
		if warning != "" {
			warnings = append(warnings, fmt.Sprintf("PEM block %d: %s", i+1, warning))
		}
		if material == nil {
			continue
		}
		key, err := token.NewKey(token.KeySpec{Material: material})
		if err != nil {
			return nil, nil, fmt.Errorf("PEM block %d (%s): %w", i+1, quoted(block.Type), err)
		}
		keys = appendNew(keys, parsedKey{key: key})
	}
	if len(keys) == 0 {
		return nil, nil, errors.New("no public key and no certificate in the PEM file")
	}
	return keysOf(keys), warnings, nil
}

// pemBlocks decodes all blocks. pem.Decode passes over a block it cannot read, so the markers are counted.
func pemBlocks(data []byte) ([]*pem.Block, error) {
	begun := bytes.Count(data, []byte(pemBegin))
	if begun > maxKeys {
		return nil, fmt.Errorf("more than %d PEM blocks", maxKeys)
	}
	var blocks []*pem.Block
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if strings.Contains(block.Type, "PRIVATE KEY") {
			return nil, fmt.Errorf("PEM block %d: %w", len(blocks)+1, errPrivate)
		}
		blocks, data = append(blocks, block), rest
	}
	if len(blocks) != begun {
		return nil, fmt.Errorf("%d of %d PEM blocks cannot be read", begun-len(blocks), begun)
	}
	return blocks, nil
}

func certificates(blocks []*pem.Block) []*x509.Certificate {
	var certs []*x509.Certificate
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			certs = append(certs, cert)
		}
	}
	return certs
}

// pemMaterial returns the public key of one block, or nil with a warning for a block that is no key.
func pemMaterial(block *pem.Block, certs []*x509.Certificate) (key crypto.PublicKey, warning string, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		if key, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			return nil, "", errors.New("not a public key in PKIX form")
		}
		return key, "", nil
	case "RSA PUBLIC KEY":
		rsaKey, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, "", errors.New("not an RSA public key in PKCS #1 form")
		}
		return rsaKey, "", nil
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, "", errors.New("not an X.509 certificate")
		}
		if signedAnother(cert, certs) {
			return nil, "the certificate of the authority that signed another one here is not taken as a key", nil
		}
		return cert.PublicKey, validity(cert), nil
	default:
		return nil, fmt.Sprintf("%s is not a public key, passed over", quoted(block.Type)), nil
	}
}

// signedAnother finds the upper part of a chain file. Its authority signs certificates; taken as a key it could sign
// tokens too.
func signedAnother(ca *x509.Certificate, certs []*x509.Certificate) bool {
	for _, cert := range certs {
		if ca.IsCA && !bytes.Equal(cert.Raw, ca.Raw) && bytes.Equal(cert.RawIssuer, ca.RawSubject) {
			return true
		}
	}
	return false
}

// validity warns only: the operator pinned this very key, and a JWS has no use for the dates of its certificate.
func validity(cert *x509.Certificate) string {
	switch now := time.Now(); {
	case now.After(cert.NotAfter):
		return fmt.Sprintf("the certificate expired on %s; its key is used all the same", cert.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(cert.NotBefore):
		return fmt.Sprintf("the certificate is not valid before %s; its key is used all the same", cert.NotBefore.UTC().Format(time.DateOnly))
	default:
		return ""
	}
}
