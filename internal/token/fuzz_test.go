package token_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// What Parse lets through has one spelling, and a second JSON reader finds the same in it.
func FuzzParse(f *testing.F) {
	good := edToken(goodClaims)
	p := strings.Split(good, ".")
	for _, raw := range []string{
		good, "", "..", good + "\n", good + "=", p[0] + "." + p[1], p[0] + ".." + p[2], nextLetter(good), "a.b.c",
		compact("EdDSA", `{"alg":"EdDSA","kid":"k","typ":"JWT","x":[{"a":{}}]}`, `{"a":{"iss":1},"iss":"x","iss":"y"}`),
		compact("EdDSA", `{"alg":"EdDSA","ALG":"none"}`, `{"iss":"a`), enc("{}") + "." + enc("{}") + ".AA",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := token.Parse(raw, limit)
		if err != nil {
			if u != nil || strings.Count(raw, ".") == 0 && len(err.Error()) > 100 {
				t.Fatalf("%v together with %v", u, err)
			}
			return
		}
		segments := strings.Split(raw, ".")
		if len(segments) != 3 {
			t.Fatalf("%d segments", len(segments))
		}
		for _, s := range segments {
			if b, err := base64.RawURLEncoding.DecodeString(s); err != nil || len(b) == 0 || enc(b) != s {
				t.Fatalf("segment %q has another spelling", s)
			}
		}
		var header map[string]any
		if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(segments[0])), &header); err != nil {
			t.Fatal(err)
		}
		kid, hasKid := header["kid"]
		if header["alg"] != u.Algorithm() || hasKid && kid != u.KeyID() || u.Issuer() == "" {
			t.Fatalf("alg %q, kid %q, iss %q out of %v", u.Algorithm(), u.KeyID(), u.Issuer(), header)
		}
	})
}

// The header decoder by itself: what it takes is one object in a second reader's eyes too, every name in it is there
// once, and the members that decide anything are those of the exact name.
func FuzzHeader(f *testing.F) {
	for _, header := range []string{
		`{"alg":"EdDSA","kid":"ed"}`, `{"alg":"EdDSA","alg":"none"}`, `{"alg":"none","ALG":"EdDSA"}`, `{"\u0061lg":"EdDSA","alg":"none"}`,
		`{"alg":"EdDSA","kid":1}`, `{"alg":"EdDSA","kid":"\u0000"}`, `{"alg":"EdDSA","kid":"\ud800"}`, `{"alg":"EdDSA","typ":["JWT"]}`,
		`{"crit":["x"],"alg":"EdDSA"}`, `{"alg":"EdDSA","b64":false}`, `{"alg":"EdDSA","enc":"A128GCM","zip":"DEF"}`,
		`{"alg":"EdDSA","x":{"y":1,"y":2}}`, `{"alg":"EdDSA","x":[[[{}]]]}`, `{"alg":"EdDSA"}x`, `{"alg":"EdDSA",}`, "\ufeff{}", "", "[]",
		`{"alg":null}`, `{"alg":"EdDSA","x":1e309,"y":-0,"z":"` + "\xff" + `"}`,
	} {
		f.Add([]byte(header))
	}
	rest := "." + enc(goodClaims) + "." + enc("signature")
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := token.Parse(enc(data)+rest, limit)
		if err != nil {
			return
		}
		if !utf8.Valid(data) || !json.Valid(data) || !uniqueNames(json.NewDecoder(bytes.NewReader(data))) {
			t.Fatalf("took %q", data)
		}
		var second map[string]any
		if err := json.Unmarshal(data, &second); err != nil {
			t.Fatal(err)
		}
		kid, hasKid := second["kid"]
		if second["alg"] != u.Algorithm() || hasKid && kid != u.KeyID() || !hasKid && u.KeyID() != "" || strings.ContainsFunc(u.KeyID(), unicode.IsControl) {
			t.Fatalf("alg %q, kid %q out of %q", u.Algorithm(), u.KeyID(), data)
		}
		for _, name := range []string{"crit", "b64", "zip", "enc"} {
			if _, there := second[name]; there {
				t.Fatalf("took %s in %q", name, data)
			}
		}
	})
}

// uniqueNames reads one JSON value and reports whether no object in it has a name twice.
func uniqueNames(dec *json.Decoder) bool {
	tok, err := dec.Token()
	if err != nil {
		return false
	}
	open, nested := tok.(json.Delim)
	if !nested {
		return true
	}
	seen := map[any]bool{}
	for dec.More() {
		if open == '{' {
			name, err := dec.Token()
			if err != nil || seen[name] {
				return false
			}
			seen[name] = true
		}
		if !uniqueNames(dec) {
			return false
		}
	}
	_, err = dec.Token()
	return err == nil
}

// Whatever we accept, jwx accepts with the same key and the same payload: we are only ever stricter. The token is signed
// with the algorithm its header names, so that the fuzzer gets past the signature.
func FuzzVerify(f *testing.F) {
	f.Add([]byte(`{"alg":"EdDSA","kid":"ed"}`), []byte(goodClaims), uint16(0), byte(0))
	f.Add([]byte(`{"alg":"ES256","kid":"ec"}`), []byte(goodClaims), uint16(0), byte(0))
	f.Add([]byte(`{"alg":"HS256","kid":"hmac"}`), []byte(goodClaims), uint16(0), byte(0))
	f.Add([]byte(`{"alg":"EdDSA"}`), []byte(richClaims), uint16(0), byte(0))
	f.Add([]byte(`{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}`), []byte(goodClaims+" "), uint16(40), byte(1))
	f.Add([]byte(`{"alg":"EdDSA","kid":"ed","crit":["x"]}`), []byte(goodClaims), uint16(3), byte(32))
	f.Add([]byte(`{"alg":"EdDSA","kid":"ed","b64":false,"crit":["b64"]}`), []byte(goodClaims), uint16(0), byte(0))
	f.Add([]byte(`{"alg":"EdDSA","kid":"ed","b64":false}`), []byte(goodClaims), uint16(0), byte(0))
	f.Add([]byte(`{"alg":"none"}`), []byte(goodClaims), uint16(9), byte(0))
	f.Add([]byte(`{"ALG":"none","alg":"EdDSA","kid":"ed"}`), []byte(claimsWith("EXP", "1")), uint16(200), byte(2))
	f.Add([]byte(`{"alg":"EdDSA","kid":"ed","ALG":"HS256"}`), []byte(goodClaims), uint16(0), byte(0))
	signers := fuzzSigners()
	f.Fuzz(func(t *testing.T, header, claims []byte, at uint16, flip byte) {
		var h map[string]any
		_ = json.Unmarshal(header, &h)
		alg, _ := h["alg"].(string)
		s, known := signers[alg]
		if !known {
			s = signers["EdDSA"]
		}
		input := enc(header) + "." + enc(claims)
		raw := []byte(input + "." + enc(s.sign([]byte(input))))
		raw[int(at)%len(raw)] ^= flip
		c, err := judge(t, s.verifier, string(raw))
		if err != nil || jwxReadsMore(header) {
			return
		}
		payload, err := jws.Verify(raw, jws.WithKey(s.alg, s.key))
		if err != nil {
			t.Fatalf("jwx refuses what we accepted: %v", err)
		}
		if !bytes.Equal(payload, claims) {
			t.Fatalf("payload %q, jwx has %q", claims, payload)
		}
		var theirs map[string]any
		if err := json.Unmarshal(payload, &theirs); err != nil || theirs["sub"] != c.Subject() || theirs["iss"] != c.Issuer() {
			t.Fatalf("subject %q, second reader has %v: %v", c.Subject(), theirs, err)
		}
	})
}

type fuzzSigner struct {
	verifier *token.Verifier
	alg      jwa.SignatureAlgorithm
	key      any // what jwx verifies with
	sign     func(input []byte) []byte
}

// fuzzSigners sign without chance, so that an input found by one process fails in the next one too.
func fuzzSigners() map[string]fuzzSigner {
	ec := must(ecdsa.ParseRawPrivateKey(elliptic.P256(), secret()[:32]))
	public := verifier(policy(), keySet{edKey(), newKey("ec", &ec.PublicKey)})
	secrets := policy()
	secrets.Algorithms = token.SecretAlgorithms()
	return map[string]fuzzSigner{
		"EdDSA": {public, jwa.EdDSA, keys().ed.Public(), func(input []byte) []byte { return ed25519.Sign(keys().ed, input) }},
		"ES256": {public, jwa.ES256, &ec.PublicKey, func(input []byte) []byte {
			_, sum := digest("ES256", input)
			var rs struct{ R, S *big.Int }
			if _, err := asn1.Unmarshal(must(ecdsa.SignASN1(nil, ec, sum)), &rs); err != nil {
				panic(err)
			}
			return joinRS(ec.Curve, rs.R, rs.S)
		}},
		"HS256": {verifier(secrets, keySet{hmacKey()}), jwa.HS256, secret(), func(input []byte) []byte { return signHMAC(secret(), "HS256", input) }},
	}
}

// jwxReadsMore reports members that we ignore and jwx does not, and the algorithm name it does not know.
func jwxReadsMore(header []byte) bool {
	var h map[string]any
	if json.Unmarshal(header, &h) != nil || h["alg"] == "Ed25519" {
		return true
	}
	for _, name := range []string{"jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "cty"} {
		if _, ok := h[name]; ok {
			return true
		}
	}
	return false
}

// Properly signed claims of any shape: what is accepted is for us, about somebody, and ends.
func FuzzClaims(f *testing.F) {
	for _, claims := range []string{
		goodClaims, richClaims, claimsWith("exp", "1e309"), claimsWith("aud", `["panel",1]`), claimsWith("nbf", "1.5e9"), "{}", "[]", "",
		claimsWith("sub", `"\u0000"`), goodClaims + "x", claimsWith("EXP", "1"), claimsWith("x", strings.Repeat("[", 40)), claimsWith("cnf", "1"),
	} {
		f.Add([]byte(claims))
	}
	v := verifier(policy(), keySet{edKey()})
	paths := []token.ClaimPath{path("roles"), path("*"), path("*.*"), path("realm_access.roles"), path("a.*.b"), {}}
	f.Fuzz(func(t *testing.T, claims []byte) {
		c, err := judge(t, v, edToken(string(claims)))
		if err != nil {
			return
		}
		var second map[string]any
		dec := json.NewDecoder(bytes.NewReader(claims))
		dec.UseNumber()
		if err := dec.Decode(&second); err != nil || !utf8.Valid(claims) || !json.Valid(claims) {
			t.Fatalf("accepted what is not JSON: %v", err)
		}
		number, _ := second["exp"].(json.Number)
		exp, err := strconv.ParseFloat(number.String(), 64)
		if err != nil || math.IsInf(exp, 0) || exp <= nowUnix-30 || c.Expiry().Unix() < nowUnix-30 {
			t.Fatalf("exp %v, expiry %v", second["exp"], c.Expiry())
		}
		if _, bound := second["cnf"]; bound || second["iss"] != issuer || second["sub"] != c.Subject() || c.Subject() == "" ||
			strings.ContainsFunc(c.Subject(), unicode.IsControl) {
			t.Fatalf("accepted %s", claims)
		}
		if !bytes.Contains(must(json.Marshal(second["aud"])), []byte(`"panel"`)) {
			t.Fatalf("aud %v", second["aud"])
		}
		for _, p := range paths {
			_, found := c.Lookup(p)
			if n := len(c.Strings(p)) + len(c.Words(p)) + len(c.Texts(p)); n > 0 && !found {
				t.Fatalf("%s: %d values of nothing", p, n)
			}
		}
	})
}

// A path is kept as it was written, and never leads outside its limits.
func FuzzParseClaimPath(f *testing.F) {
	for _, s := range []string{"roles", "realm_access.roles", "https://acme.example/roles", "*", "a.*.b", "", ".", "a..b", "a\n", "ä", "://"} {
		f.Add(s)
	}
	c := must(verifier(policy(), keySet{edKey()}).Verify(f.Context(), must(token.Parse(edToken(richClaims), limit))))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := token.ParseClaimPath(s)
		if err != nil {
			if !p.IsZero() {
				t.Fatalf("%q: %v together with %v", s, p, err)
			}
			return
		}
		if p.String() != s || s == "" || len(s) > 1024 || strings.Count(s, ".") > 31 || strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s) {
			t.Fatalf("%q: accepted", s)
		}
		text, ok := c.Text(p)
		if _, found := c.Lookup(p); ok && (!found || len(c.Texts(p)) != 1 || c.Texts(p)[0] != text) {
			t.Fatalf("%q: text %q, texts %q", s, text, c.Texts(p))
		}
	})
}

// Every claim is what a second JSON reader finds: names and texts are taken out of the payload by their place in it, so
// one that is off by a byte, or an escape that stays, would be somebody else's name.
func FuzzClaimValues(f *testing.F) {
	for _, claims := range []string{
		goodClaims, richClaims, benchClaims, " {\t\"a\" :\r\n [ ] , \"b\" : { } } ", `{"a":[[],{},[{}],"",0,-1.5e+9,null,true,false]}`,
		`{"\u0061":"\u00e4\n\"\\\/","ä\\":"\ud83d\ude00😀","x":{"y\u0000":["\t"]}}`, `{"a":{"b":{"c":{}}},"d":1}`, `{"a":"` + strings.Repeat(",", 200) + `"}`,
	} {
		f.Add([]byte(claims))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		ours, ok := token.DecodedClaims(payload)
		var second map[string]any
		dec := json.NewDecoder(bytes.NewReader(payload))
		dec.UseNumber()
		err := dec.Decode(&second)
		if !ok {
			return
		}
		if err != nil || !reflect.DeepEqual(ours, plain(second)) {
			t.Fatalf("%q: we read %#v, a second reader %#v (%v)", payload, ours, second, err)
		}
	})
}

// plain gives the numbers of encoding/json our type.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		return token.Number(v)
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = plain(v[name])
		}
	}
	return v
}
