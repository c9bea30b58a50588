package gatehouse

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// Secret is the key of an issuer that signs with HMAC: at least 32 bytes once
// resolved (RFC 7518, section 3.2).
type Secret struct {
	// The secret. `{env.*}` and `{file.*}` are resolved at load; one that
	// resolves to nothing is an error.
	Value string `json:"value,omitempty"`

	// How `value` is written: `utf8` (default), `base64` (either alphabet,
	// padded or not) or `hex`.
	Encoding string `json:"encoding,omitempty"`

	// A file whose bytes are the secret; one line break at its end does not
	// count. In place of `value`.
	File string `json:"file,omitempty"`
}

func (s *Secret) check() error {
	switch {
	case s == nil:
		return nil
	case s.Value == "" && s.File == "":
		return errors.New("secret: found nothing; expected `secret <value> [utf8|base64|hex]` or `secret file <path>`")
	case s.Value != "" && s.File != "":
		return errors.New("secret: found both a value and a file; expected one of them")
	case s.File != "" && s.Encoding != "":
		return errors.New("secret: a file's bytes are the secret; leave the encoding out")
	}
	switch s.Encoding {
	case "", "utf8", "base64", "hex":
		return nil
	}
	return fmt.Errorf("secret: found encoding %q; expected utf8, base64 or hex", s.Encoding)
}

// key makes the HMAC key. Errors say how many bytes there are, never which.
func (s *Secret) key(algorithms []string) (token.Key, error) {
	material, err := s.bytes()
	if err != nil {
		return token.Key{}, err
	}
	key, err := token.NewKey(token.KeySpec{Material: material})
	if err != nil {
		return token.Key{}, fmt.Errorf("secret: %w", err)
	}
	for _, alg := range algorithms {
		if !key.Fits(alg) {
			return token.Key{}, fmt.Errorf("secret: %d bytes are too short for %s; expected at least its hash's length", len(material), alg)
		}
	}
	return key, nil
}

func (s *Secret) bytes() ([]byte, error) {
	if s.File != "" {
		name, err := resolve("secret file", s.File)
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("secret: %w; expected a file that holds at least 32 bytes", err)
		}
		data = bytes.TrimSuffix(data, []byte("\n"))
		return bytes.TrimSuffix(data, []byte("\r")), nil
	}
	value, err := resolve("secret", s.Value)
	if err != nil {
		return nil, err
	}
	switch s.Encoding {
	case "base64":
		text := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(value), "=")
		data, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil {
			return nil, errors.New("secret: the value is not base64; expected either of its alphabets, or `utf8` for a plain value")
		}
		return data, nil
	case "hex":
		data, err := hex.DecodeString(value)
		if err != nil {
			return nil, errors.New("secret: the value is not hexadecimal; expected pairs of 0-9 and a-f, or `utf8` for a plain value")
		}
		return data, nil
	}
	return []byte(value), nil
}
