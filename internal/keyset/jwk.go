package keyset

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

const maxKeyID = 1 << 10

// coordinate is the exact length of an EC coordinate (RFC 7518 section 6.2.1.2: leading zeros stay).
func coordinate(curve string) int {
	switch curve {
	case "P-256":
		return 32
	case "P-384":
		return 48
	case "P-521":
		return 66
	default:
		return 0
	}
}

// parseJWK makes a verification key of one JWK. The kid is returned with an error too, for the warning.
func parseJWK(raw []byte) (parsed parsedKey, id string, err error) {
	m, err := object(raw)
	if err != nil {
		return parsedKey{}, "", fmt.Errorf("%w: %w", errMalformed, err)
	}
	id, err = keyID(m)
	if private := refusePrivate(m); private != nil {
		return parsedKey{}, id, private
	}
	if err != nil {
		return parsedKey{}, "", err
	}
	kty, err := text(m["kty"])
	if err != nil {
		return parsedKey{}, id, errors.New("it has no kty")
	}
	if err := checkUse(m); err != nil {
		return parsedKey{}, id, err
	}
	algs, err := algorithms(m)
	if err != nil {
		return parsedKey{}, id, err
	}
	public, err := publicMembers(kty, m)
	if err != nil {
		return parsedKey{}, id, err
	}
	pub, err := material(kty, public)
	if err != nil {
		return parsedKey{}, id, err
	}
	key, err := token.NewKey(token.KeySpec{ID: id, Algorithms: algs, Material: pub})
	if err != nil {
		return parsedKey{}, id, err
	}
	return parsedKey{key: key, jwk: render(kty, id, algs, public)}, id, nil
}

func keyID(m map[string]jsontext.Value) (string, error) {
	value, there := m["kid"]
	if !there {
		return "", nil
	}
	id, err := text(value)
	if err != nil || len(id) > maxKeyID {
		return "", fmt.Errorf("its kid is not a string of at most %d bytes", maxKeyID)
	}
	return id, nil
}

// refusePrivate looks for private members by name only, so that nothing of them can reach a message.
func refusePrivate(m map[string]jsontext.Value) error {
	kty, err := text(m["kty"])
	if _, there := m["k"]; there || (err == nil && kty == "oct") {
		return errSecret
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth"} {
		if _, there := m[name]; there {
			return errPrivate
		}
	}
	return nil
}

// checkUse refuses a key that its owner made for something else than signatures (RFC 7517 sections 4.2 and 4.3).
func checkUse(m map[string]jsontext.Value) error {
	if value, there := m["use"]; there {
		if use, err := text(value); err != nil || use != "sig" {
			return errors.New(`its use is not "sig"`)
		}
	}
	value, there := m["key_ops"]
	if !there {
		return nil
	}
	ops, err := elements(value, maxKeys)
	if err != nil {
		return errors.New("its key_ops is not a list")
	}
	if !slices.ContainsFunc(ops, func(v jsontext.Value) bool { op, err := text(v); return err == nil && op == "verify" }) {
		return errors.New(`its key_ops does not name "verify"`)
	}
	return nil
}

// algorithms gives the one algorithm the JWK is bound to; none, as Entra publishes, means all that its type can do.
// token.NewKey refuses one that contradicts the material.
func algorithms(m map[string]jsontext.Value) ([]string, error) {
	value, there := m["alg"]
	if !there {
		return nil, nil
	}
	alg, err := text(value)
	if err != nil {
		return nil, errors.New("its alg is not a string")
	}
	return []string{alg}, nil
}

type member struct {
	name  string
	value string
}

// publicMembers returns the members that make the public key, checked and in canonical form: jwx takes any length
// and any of four base64 alphabets, and panics on a short Ed25519 key.
func publicMembers(kty string, m map[string]jsontext.Value) ([]member, error) {
	switch kty {
	case "RSA":
		return binaries(m, 0, "n", "e")
	case "EC", "OKP":
		curve, err := text(m["crv"])
		if err != nil {
			return nil, errors.New("it has no crv")
		}
		var rest []member
		switch size := coordinate(curve); {
		case kty == "OKP" && curve == "Ed25519":
			rest, err = binaries(m, ed25519.PublicKeySize, "x")
		case kty == "EC" && size > 0:
			rest, err = binaries(m, size, "x", "y")
		default:
			return nil, fmt.Errorf("its curve %s is not one of P-256, P-384, P-521 (EC) or Ed25519 (OKP)", quoted(curve))
		}
		return append([]member{{"crv", curve}}, rest...), err
	default:
		return nil, fmt.Errorf("its kty %s is not RSA, EC or OKP", quoted(kty))
	}
}

// binaries reads base64url members; size 0 takes any length and drops leading zeros, which some issuers write before
// an RSA modulus.
func binaries(m map[string]jsontext.Value, size int, names ...string) ([]member, error) {
	out := make([]member, 0, len(names))
	for _, name := range names {
		value, there := m[name]
		if !there {
			return nil, fmt.Errorf("it has no %s", name)
		}
		b, err := octets(value)
		if err != nil {
			return nil, fmt.Errorf("its %s is %w", name, err)
		}
		if size == 0 {
			b = []byte(strings.TrimLeft(string(b), "\x00"))
		} else if len(b) != size {
			return nil, fmt.Errorf("its %s has %d bytes, must have %d", name, len(b), size)
		}
		if len(b) == 0 || (name == "e" && len(b) > 4) { // jwx would cut a longer exponent to an int
			return nil, fmt.Errorf("its %s has %d bytes", name, len(b))
		}
		out = append(out, member{name, base64.RawURLEncoding.EncodeToString(b)})
	}
	return out, nil
}

// material builds the Go key from checked members. A panic in the parser is a refusal of this one key.
func material(kty string, public []member) (key any, err error) {
	defer func() {
		if p := recover(); p != nil {
			key, err = nil, errors.New("the key parser failed on it")
		}
	}()
	parsed, err := jwk.ParseKey(render(kty, "", nil, public))
	if err != nil {
		return nil, errors.New("the key parser refused it")
	}
	var raw any
	if err := parsed.Raw(&raw); err != nil {
		return nil, errors.New("the key parser refused its material")
	}
	switch raw.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return raw, nil
	default:
		return nil, fmt.Errorf("unexpected key type %T", raw)
	}
}

// render writes a JWK that holds public members only.
func render(kty, id string, algs []string, public []member) jsontext.Value {
	out := map[string]string{"kty": kty}
	if id != "" {
		out["kid"] = id
	}
	if len(algs) == 1 {
		out["alg"] = algs[0]
	}
	for _, m := range public {
		out[m.name] = m.value
	}
	doc, err := json.Marshal(out)
	if err != nil { // a map of strings can always be written
		return nil
	}
	return doc
}
