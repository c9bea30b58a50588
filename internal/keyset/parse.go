package keyset

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

const (
	maxBytes = 512 << 10 // of a JWKS body, a metadata document or a key file
	maxKeys  = 100       // in one set, usable or not
)

var (
	errPrivate   = errors.New("this is a private key; give the public one")
	errSecret    = errors.New("this is a symmetric key, which is a secret; it has no place among public keys")
	errMalformed = errors.New("not one JSON object with each name once")
	errEmpty     = errors.New("empty: expected a JWK, a JWKS, or a public key or certificate in PEM form")
)

// parsedKey is a key with the public JWK it was made from, which is what the store keeps.
type parsedKey struct {
	key token.Key
	jwk jsontext.Value
}

// ParseSet reads the JWKS of an issuer (RFC 7517 section 5). Each key is taken alone: those that cannot or must not
// verify a token are left out and told in one warning. It is an error if no usable key remains.
func ParseSet(data []byte) (keys []token.Key, warnings []string, err error) {
	parsed, warnings, err := parseSet(data)
	return keysOf(parsed), warnings, err
}

func parseSet(data []byte) ([]parsedKey, []string, error) {
	raw, err := splitSet(data)
	if err != nil {
		return nil, nil, err
	}
	var usable []parsedKey
	var bad []string
	for i, value := range raw {
		k, id, err := parseJWK(value)
		if err != nil {
			bad = append(bad, fmt.Sprintf("key %d (kid %s): %v", i+1, quoted(id), err))
			continue
		}
		usable = appendNew(usable, k)
	}
	if len(usable) == 0 {
		return nil, nil, fmt.Errorf("no usable key in the set: %s", summary(bad, len(raw)))
	}
	if len(bad) == 0 {
		return usable, nil, nil
	}
	return usable, []string{summary(bad, len(raw))}, nil
}

// splitSet checks the envelope and returns the keys as they stand in it.
func splitSet(data []byte) ([]jsontext.Value, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("larger than %d bytes", maxBytes)
	}
	doc, err := envelope(trim(data))
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	list, there := doc["keys"]
	if !there {
		return nil, errors.New(`not a key set: it has no "keys"`)
	}
	raw, err := elements(list, maxKeys)
	if err != nil {
		return nil, fmt.Errorf(`not a key set: "keys" is %w`, err)
	}
	if len(raw) > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	return raw, nil
}

// ParseFile reads the keys an operator gave in a file: a JWK, a JWKS, or public keys and certificates in PEM form. A
// private key or a secret in it is an error, even beside usable keys: the file is then not what its owner believes.
func ParseFile(data []byte) (keys []token.Key, warnings []string, err error) {
	if len(data) > maxBytes {
		return nil, nil, fmt.Errorf("larger than %d bytes", maxBytes)
	}
	data = trim(data)
	switch {
	case len(data) == 0:
		return nil, nil, errEmpty
	case data[0] == '{':
		return parseJSONFile(data)
	case bytes.Contains(data, []byte(pemBegin)):
		return parsePEM(data)
	default:
		return nil, nil, errors.New("neither JSON nor PEM: expected a JWK, a JWKS, or a public key or certificate in PEM form")
	}
}

func parseJSONFile(data []byte) ([]token.Key, []string, error) {
	doc, err := envelope(data)
	if err != nil {
		return nil, nil, fmt.Errorf("key file: %w", err)
	}
	if _, isSet := doc["keys"]; !isSet {
		k, id, err := parseJWK(data)
		if err != nil {
			return nil, nil, fmt.Errorf("the key (kid %s) cannot be used: %w", quoted(id), err)
		}
		return []token.Key{k.key}, nil, nil
	}
	raw, err := splitSet(data)
	if err != nil {
		return nil, nil, err
	}
	if err := refusePrivate(doc); err != nil {
		return nil, nil, fmt.Errorf("key file: %w", err)
	}
	for i, value := range raw {
		_, id, err := parseJWK(value)
		if errors.Is(err, errPrivate) || errors.Is(err, errSecret) || errors.Is(err, errMalformed) {
			return nil, nil, fmt.Errorf("key %d (kid %s): %w", i+1, quoted(id), err)
		}
	}
	return ParseSet(data)
}

// appendNew leaves out a key that is there already under the same kid: listed twice, it is still one key, and counting
// it as two would make it ambiguous and so unusable.
func appendNew(keys []parsedKey, k parsedKey) []parsedKey {
	if slices.ContainsFunc(keys, func(o parsedKey) bool { return fingerprint(o.key) == fingerprint(k.key) }) {
		return keys
	}
	return append(keys, k)
}

// fingerprint is equal for two keys exactly if they answer the same queries with the same material.
func fingerprint(k token.Key) string {
	return fmt.Sprintf("%q %s %v", k.ID(), k.Thumbprint(), k.Algorithms())
}

func keysOf(parsed []parsedKey) []token.Key {
	keys := make([]token.Key, 0, len(parsed))
	for _, p := range parsed {
		keys = append(keys, p.key)
	}
	return keys
}

// summary tells of all unusable keys in one bounded line.
func summary(bad []string, total int) string {
	const most = 5
	if total == 0 {
		return "it is empty"
	}
	line := fmt.Sprintf("%d of %d keys cannot be used: %s", len(bad), total, strings.Join(bad[:min(len(bad), most)], "; "))
	if more := len(bad) - most; more > 0 {
		line += fmt.Sprintf("; and %d more", more)
	}
	return line
}

// trim takes off JSON's white space, which is less than Unicode's, and the byte order mark that Windows editors write
// and RFC 8259 section 8.1 lets a reader ignore.
func trim(data []byte) []byte {
	return bytes.Trim(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n")
}
