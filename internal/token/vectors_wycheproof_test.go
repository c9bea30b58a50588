package token_test

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

type wycheproof struct {
	Groups []wycheproofGroup `json:"testGroups"`
}

type wycheproofGroup struct {
	Comment string          `json:"comment"`
	Public  json.RawMessage `json:"public"`
	Private json.RawMessage `json:"private"`
	PEM     string          `json:"publicKeyPem"`
	JWK     json.RawMessage `json:"publicKeyJwk"`
	KeyJWK  json.RawMessage `json:"keyJwk"`
	Tests   []struct {
		ID     int             `json:"tcId"`
		Result string          `json:"result"` // valid, invalid or acceptable: with the last we refuse unless the list says so
		JWS    json.RawMessage `json:"jws"`
		JWE    json.RawMessage `json:"jwe"`
		Key    string          `json:"key"`
		Msg    string          `json:"msg"`
		Sig    string          `json:"sig"`
		Tag    string          `json:"tag"`
	} `json:"tests"`
}

const wycheproofRoom = "wycheproof/"

func wycheproofFiles() []string {
	var out []string
	for _, name := range []string{
		"json_web_signature_test", "json_web_key_test", "json_web_crypto_test", "json_web_encryption_test",
		"ecdsa_secp256r1_sha256_p1363_test", "ecdsa_secp384r1_sha384_p1363_test", "ecdsa_secp521r1_sha512_p1363_test",
		"ed25519_test", "rsa_signature_2048_sha256_test", "rsa_pss_2048_sha256_mgf1_32_test", "hmac_sha256_test",
	} {
		out = append(out, wycheproofRoom+name+".json")
	}
	return out
}

// Payloads are not claims there: the form of the JWS, its header, the choice of the key and the signature are judged.
func TestVectorsOfWycheproofJOSE(t *testing.T) {
	for name, least := range map[string]int{
		"json_web_signature_test": 401, "json_web_key_test": 26, "json_web_crypto_test": 83, "json_web_encryption_test": 139,
	} {
		t.Run(name, func(t *testing.T) {
			file := wycheproofRoom + name + ".json"
			var doc wycheproof
			vectorFile(t, file, &doc)
			y := newTally(t, file)
			for _, g := range doc.Groups {
				y.jose(g)
			}
			y.done(least)
		})
	}
}

func (y *tally) jose(g wycheproofGroup) {
	y.t.Helper()
	material := g.Public
	if material == nil {
		material = g.Private
	}
	set, algorithms, keyErr := vectorKeys(material)
	for _, c := range g.Tests {
		if c.JWS == nil {
			// Whatever a JWE is worth to others: as a credential it is refused before any key is looked at.
			_, err := token.Parse(text(c.JWE), vectorLimit)
			y.judged(id(c.ID), false, err)
			continue
		}
		raw, want := text(c.JWS), c.Result == "valid"
		if keyErr != nil {
			y.judged(id(c.ID), want, keyErr)
			continue
		}
		v := signatures(algorithms, set)
		_, err := v.JWS(y.t.Context(), raw, vectorLimit)
		y.judged(id(c.ID), want, err)
		if want && strings.Contains(raw, "..") {
			y.emptyPayload(v, set, material, raw)
		}
	}
}

// emptyPayload: a token without claims is none for us, but the signature must hold all the same.
func (y *tally) emptyPayload(v *token.Verifier, set token.Keys, material json.RawMessage, raw string) {
	y.t.Helper()
	var k jwk
	if err := json.Unmarshal(material, &k); err != nil {
		y.t.Fatal(err)
	}
	key, err := set.Key(y.t.Context(), token.Query{KeyID: k.Kid, HasKeyID: true, Algorithm: k.Alg})
	if err != nil {
		y.t.Fatal(err)
	}
	dot := strings.LastIndexByte(raw, '.')
	if err := v.Match(k.Alg, key, []byte(raw[:dot]), decoded(y.t, raw[dot+1:])); err != nil {
		y.t.Errorf("the signature of the empty payload: %v", err)
	}
}

// The bare signatures: our key file parser, our key checks, and the one place where a signature meets a key.
func TestVectorsOfWycheproofSignatures(t *testing.T) {
	for name, c := range map[string]struct {
		alg   string
		least int
	}{
		"ecdsa_secp256r1_sha256_p1363_test": {"ES256", 262},
		"ecdsa_secp384r1_sha384_p1363_test": {"ES384", 280},
		"ecdsa_secp521r1_sha512_p1363_test": {"ES512", 318},
		"ed25519_test":                      {"EdDSA", 151},
		"rsa_signature_2048_sha256_test":    {"RS256", 259},
		"rsa_pss_2048_sha256_mgf1_32_test":  {"PS256", 108},
		"hmac_sha256_test":                  {"HS256", 174},
	} {
		t.Run(name, func(t *testing.T) {
			file := wycheproofRoom + name + ".json"
			var doc wycheproof
			vectorFile(t, file, &doc)
			y := newTally(t, file)
			v := signatures(everyAlgorithm(c.alg), keySet{})
			for _, g := range doc.Groups {
				y.bare(v, c.alg, g)
			}
			y.done(c.least)
		})
	}
}

func (y *tally) bare(v *token.Verifier, alg string, g wycheproofGroup) {
	y.t.Helper()
	for _, c := range g.Tests {
		var key token.Key
		var err error
		sig := c.Sig
		if g.PEM == "" {
			key, err = token.NewKey(token.KeySpec{Material: unhex(y.t, c.Key)})
			sig = c.Tag
		} else {
			key, err = pemKey(y.t, g)
		}
		if err == nil {
			err = v.Match(alg, key, unhex(y.t, c.Msg), unhex(y.t, sig))
		}
		y.judged(id(c.ID), c.Result == "valid", err)
	}
}

// pemKey reads the key from its PEM form; where the file gives a JWK too, both must be the same key.
func pemKey(t *testing.T, g wycheproofGroup) (token.Key, error) {
	t.Helper()
	list, _, err := keyset.ParseFile([]byte(g.PEM))
	if err != nil {
		return token.Key{}, err
	}
	for _, raw := range []json.RawMessage{g.JWK, g.KeyJWK} {
		if raw == nil {
			continue
		}
		if other, _, err := keyset.ParseFile(raw); err != nil || other[0].Thumbprint() != list[0].Thumbprint() {
			t.Errorf("PEM and JWK give different keys: %v", err)
		}
	}
	return list[0], nil
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
