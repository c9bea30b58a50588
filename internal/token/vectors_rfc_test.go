package token_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

func decoded(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The signatures of RFC 7515 appendix A hold. Its tokens ended in 2011, and that is what their bearer is told.
func TestVectorsOfRFC7515(t *testing.T) {
	const file = "rfc/rfc7515_appendix_a.json"
	var doc struct {
		Vectors []struct {
			ID    string          `json:"id"`
			Alg   string          `json:"alg"`
			Valid bool            `json:"valid_signature"`
			JWK   json.RawMessage `json:"jwk"`
			JWS   string          `json:"jws"`
		} `json:"vectors"`
	}
	vectorFile(t, file, &doc)
	y := newTally(t, file)
	for _, c := range doc.Vectors {
		if !c.Valid {
			set := keySet{hmacKey()}
			_, err := signatures(token.SecretAlgorithms(), set).JWS(t.Context(), c.JWS, vectorLimit)
			y.judged(c.ID, false, err)
			wantKind(t, c.ID, credential(t, "joe", token.SecretAlgorithms(), set, c.JWS), token.Malformed)
			continue
		}
		set, algorithms, err := vectorKeys(c.JWK)
		if err != nil {
			t.Fatal(err)
		}
		_, err = signatures(algorithms, set).JWS(t.Context(), c.JWS, vectorLimit)
		y.judged(c.ID, true, err)
		wantKind(t, c.ID, credential(t, "joe", algorithms, set, c.JWS), token.Expired)
		wantKind(t, c.ID, credential(t, "jane", algorithms, set, c.JWS), token.Invalid)
		forged := c.JWS[:len(c.JWS)-4] + "AAAA"
		wantKind(t, c.ID, credential(t, "joe", algorithms, set, forged), token.Invalid)
	}
	y.done(5)
}

// cookbook is an example of RFC 7520, 7797 or 8037. Where it has several signatures, three members are arrays.
type cookbook struct {
	Input struct {
		Key json.RawMessage `json:"key"`
		Alg json.RawMessage `json:"alg"`
	} `json:"input"`
	Signing json.RawMessage `json:"signing"`
	Output  cookbookOutput  `json:"output"`
	Sign    *cookbook       `json:"sign"` // of the example with a token inside an encrypted one
	Encrypt *cookbook       `json:"encrypt"`
}

type cookbookOutput struct {
	Compact string          `json:"compact"`
	JSON    json.RawMessage `json:"json"`
	Flat    json.RawMessage `json:"json_flat"`
}

type cookbookSigning struct {
	Input string `json:"sig-input"`
	Sig   string `json:"sig"`
}

const cookbookRoom = "ietf-jose-cookbook/"

func cookbookFiles(t *testing.T, folder string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(vectors(t), cookbookRoom, folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range found {
		names = append(names, cookbookRoom+folder+"/"+filepath.Base(f))
	}
	return names
}

func several[T any](t *testing.T, raw json.RawMessage) []T {
	t.Helper()
	var many []T
	if json.Unmarshal(raw, &many) == nil {
		return many
	}
	var one T
	if err := json.Unmarshal(raw, &one); err != nil {
		t.Fatal(err)
	}
	return []T{one}
}

// signed checks every signature of an example by itself, and the compact form as a whole.
func (y *tally) signed(name string, c *cookbook) {
	y.t.Helper()
	algs, material := several[string](y.t, c.Input.Alg), several[json.RawMessage](y.t, c.Input.Key)
	for i, s := range several[cookbookSigning](y.t, c.Signing) {
		key := onlyKey(y.t, material[i], algs[i])
		err := signatures(everyAlgorithm(algs[i]), keySet{}).Match(algs[i], key, []byte(s.Input), decoded(y.t, s.Sig))
		y.judged(name+" signature "+id(i+1), true, err)
		if kty := text(several[map[string]json.RawMessage](y.t, material[i])[0]["kty"]); kty != "oct" {
			_, _, err := keyset.ParseFile(material[i])
			if err == nil || !strings.Contains(err.Error(), "private key") {
				y.t.Errorf("%s: the private key as a key file: %v", name, err)
			}
		}
	}
	if raw := c.Output.Compact; raw != "" {
		set := anyway(onlyKey(y.t, material[0], algs[0]))
		_, err := signatures(everyAlgorithm(algs[0]), set).JWS(y.t.Context(), raw, vectorLimit)
		y.judged(name+" compact", !strings.Contains(raw, ".."), err) // a detached payload is no credential
	}
}

// noCredential: none of the forms may let anybody in, and none is even read as a compact JWS.
func (y *tally) noCredential(name string, out cookbookOutput, compactToo bool) {
	y.t.Helper()
	forms := map[string]string{"json": string(out.JSON), "json_flat": string(out.Flat)}
	if compactToo {
		forms["compact"] = out.Compact
	}
	for form, raw := range forms {
		if raw == "" {
			continue
		}
		_, err := token.Parse(raw, vectorLimit)
		y.judged(name+" "+form, false, err)
		wantKind(y.t, name+" "+form, err, token.Malformed)
	}
}

func TestVectorsOfTheJOSECookbookSigned(t *testing.T) {
	files := append(cookbookFiles(t, "jws"), cookbookRoom+"curve25519/jws.json")
	y := newTally(t, cookbookRoom+"jws")
	for _, file := range files {
		var c cookbook
		vectorFile(t, file, &c)
		y.signed(filepath.Base(file), &c)
		y.noCredential(filepath.Base(file), c.Output, false)
	}
	y.done(34)
}

func TestVectorsOfTheJOSECookbookEncrypted(t *testing.T) {
	files := append(cookbookFiles(t, "jwe"), cookbookRoom+"curve25519/ecdh-es.json")
	y := newTally(t, cookbookRoom+"jwe")
	for _, file := range files {
		var c cookbook
		vectorFile(t, file, &c)
		y.noCredential(filepath.Base(file), c.Output, true)
	}
	y.done(37)
}

// RFC 7797 leaves the payload unencoded: the very bytes that were signed are then a matter of the header.
func TestVectorsOfTheJOSECookbookUnencoded(t *testing.T) {
	y := newTally(t, cookbookRoom+"rfc7797")
	for _, file := range cookbookFiles(t, "rfc7797") {
		var c cookbook
		vectorFile(t, file, &c)
		y.noCredential(filepath.Base(file), c.Output, true)
	}
	y.done(5)
}

// A signed token inside an encrypted one: the inner one is good, and old; the outer one is refused unopened.
func TestVectorsOfTheJOSECookbookNested(t *testing.T) {
	const file = cookbookRoom + "6.nesting_signatures_and_encryption.json"
	var c cookbook
	vectorFile(t, file, &c)
	y := newTally(t, file)
	alg := "PS256"
	c.Sign.Input.Alg = json.RawMessage(`"PS256"`)
	y.signed("inner", c.Sign)
	set := anyway(onlyKey(t, c.Sign.Input.Key, alg))
	wantKind(t, "inner", credential(t, "hobbiton.example", everyAlgorithm(alg), set, c.Sign.Output.Compact), token.Expired)
	y.noCredential("outer", c.Encrypt.Output, true)
	y.done(5)
}

func TestVectorsOfTheJOSECookbookKeys(t *testing.T) {
	y := newTally(t, cookbookRoom+"jwk")
	for _, file := range cookbookFiles(t, "jwk") {
		data, err := os.ReadFile(filepath.Join(vectors(t), filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		public := strings.Contains(file, "public")
		_, _, err = keyset.ParseFile(data)
		y.judged(filepath.Base(file), public, err)
		_, _, err = keyset.ParseSet([]byte(`{"keys":[` + string(data) + `]}`))
		y.judged(filepath.Base(file)+" in a set", public, err)
	}
	y.done(12)
}
