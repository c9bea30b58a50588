package token_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// jwt.Parse of jwx takes a JSON serialisation and returns its unsigned outer object as claims.
func TestAttackJSONSerialisation(t *testing.T) {
	v := verifier(policy(), publicKeys())
	p := strings.Split(edToken(goodClaims), ".")
	flat := fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q`, p[0], p[1], p[2])
	for _, raw := range []string{
		flat + `}`,
		flat + `,"iss":"https://issuer.example","sub":"admin","aud":"panel","exp":1800000300}`,
		fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, p[1], p[0], p[2]),
		flat + `,"a":"x.y.z"}`,
		enc(flat + `}`),
	} {
		refuse(t, v, raw, token.Malformed)
	}
}

// Two spellings of one token are two tokens to whoever remembers, revokes or counts them.
func TestAttackSecondSpelling(t *testing.T) {
	v := verifier(policy(), publicKeys())
	// A payload of 3n+1 bytes leaves four unused bits in its last letter, one of 3n+2 bytes two.
	good := edToken(goodClaims + strings.Repeat(" ", 3-len(goodClaims)%3+1))
	accept(t, v, good)
	p := strings.Split(good, ".")
	for name, raw := range map[string]string{
		"newline in the header":     p[0][:4] + "\n" + p[0][4:] + "." + p[1] + "." + p[2],
		"newline in the claims":     p[0] + "." + p[1][:4] + "\n" + p[1][4:] + "." + p[2],
		"newline in the signature":  p[0] + "." + p[1] + "." + p[2][:4] + "\n" + p[2][4:],
		"carriage return":           p[0] + "." + p[1] + "." + p[2][:4] + "\r" + p[2][4:],
		"newline at the end":        good + "\n",
		"CRLF at the end":           good + "\r\n",
		"newline in front":          "\n" + good,
		"space in front":            " " + good,
		"space at the end":          good + " ",
		"space inside":              p[0] + ". " + p[1] + "." + p[2],
		"tab inside":                p[0] + "." + p[1] + "\t." + p[2],
		"NUL at the end":            good + "\x00",
		"padding of the claims":     p[0] + "." + p[1] + "==." + p[2],
		"padding of the signature":  good + "==",
		"one padding letter":        good + "=",
		"stray bits in the claims":  p[0] + "." + nextLetter(p[1]) + "." + p[2],
		"stray bits at the end":     p[0] + "." + p[1] + "." + nextLetter(p[2]),
		"impossible length":         good + "AAA",
		"standard alphabet plus":    p[0] + "." + p[1] + "." + "+" + p[2][1:],
		"standard alphabet slash":   p[0] + "." + p[1] + "." + "/" + p[2][1:],
		"percent encoding":          p[0] + "%2E" + p[1] + "." + p[2],
		"full-width dot":            p[0] + "．" + p[1] + "." + p[2],
		"letter outside ASCII":      p[0] + "." + p[1] + "." + "é" + p[2],
		"with the scheme in front":  "Bearer " + good,
		"quoted":                    `"` + good + `"`,
		"separated by another mark": strings.ReplaceAll(good, ".", ","),
	} {
		t.Run(name, func(t *testing.T) { refuse(t, v, raw, token.Malformed) })
	}
}

// nextLetter changes only the bits of the last letter that decoding throws away.
func nextLetter(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return s[:len(s)-1] + string(alphabet[strings.IndexByte(alphabet, s[len(s)-1])+1])
}

func TestWrongNumberOfSegmentsIsMalformed(t *testing.T) {
	v := verifier(policy(), publicKeys())
	p := strings.Split(edToken(goodClaims), ".")
	for name, raw := range map[string]string{
		"nothing":             "",
		"one":                 p[0],
		"two":                 p[0] + "." + p[1],
		"four":                strings.Join(p, ".") + "." + p[2],
		"three and a dot":     strings.Join(p, ".") + ".",
		"a dot and three":     "." + strings.Join(p, "."),
		"empty header":        "." + p[1] + "." + p[2],
		"empty claims":        p[0] + ".." + p[2],
		"empty signature":     p[0] + "." + p[1] + ".",
		"only dots":           "..",
		"one dot":             ".",
		"four dots":           "....",
		"five, encrypted":     enc(`{"alg":"dir","enc":"A128GCM"}`) + "..AAAA.AAAA.AAAA",
		"five, all full":      p[0] + ".AAAA.AAAA.AAAA.AAAA",
		"detached payload":    p[0] + ".." + p[2],
		"two empty in middle": p[0] + "..." + p[2],
	} {
		t.Run(name, func(t *testing.T) {
			if e := refuse(t, v, raw, token.Malformed); e.Reason != "not three segments" {
				t.Errorf("refused for %q", e.Reason)
			}
		})
	}
}

// A token of a megabyte costs the sender nothing and must cost us nothing.
func TestAttackHugeToken(t *testing.T) {
	raw := edToken(goodClaims)
	if _, err := token.Parse(raw, len(raw)); err != nil {
		t.Errorf("exactly at the limit: %v", err)
	}
	for _, n := range []int{len(raw) - 1, 1, 0, -1} {
		_, err := token.Parse(raw, n)
		if e, ok := errors.AsType[*token.Error](err); !ok || e.Kind != token.Malformed {
			t.Errorf("limit %d: %v", n, err)
		}
	}
}

// Extensions a reader does not know must be refused (RFC 7515 section 4.1.11), those that change what is signed
// (RFC 7797) or how it is packed too.
func TestAttackHeaderThatChangesTheMeaning(t *testing.T) {
	v := verifier(policy(), publicKeys())
	for _, member := range []string{
		`"crit":["exp"]`, `"crit":["b64"],"b64":false`, `"crit":[]`, `"crit":null`, `"crit":"exp"`, `"crit":["x"],"x":1`,
		`"b64":false`, `"b64":true`, `"zip":"DEF"`, `"enc":"A128GCM"`, `"\u0063rit":["x"]`,
	} {
		t.Run(member, func(t *testing.T) {
			refuse(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":"ed",`+member+`}`, goodClaims), token.Invalid)
			refuse(t, v, compact("EdDSA", `{`+member+`,"alg":"EdDSA","kid":"ed"}`, goodClaims), token.Invalid)
		})
	}
}

// A token inside a token: the outer signature says nothing about the inner claims.
func TestAttackNestedToken(t *testing.T) {
	v := verifier(policy(), publicKeys())
	inner := edToken(goodClaims)
	for _, claims := range []string{inner, `"` + inner + `"`} {
		refuse(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":"ed","cty":"JWT"}`, claims), token.Invalid)
	}
}

// Two readers take different ones of two members with one name; Go's struct decoding takes `ALG` for `alg`.
func TestAttackTwoHeaderMembersWithOneName(t *testing.T) {
	v := verifier(policy(), publicKeys())
	for _, header := range []string{
		`{"alg":"EdDSA","kid":"ed","alg":"EdDSA"}`, `{"alg":"EdDSA","alg":"none","kid":"ed"}`,
		`{"alg":"none","alg":"EdDSA","kid":"ed"}`, `{"alg":"EdDSA","kid":"ed","kid":"rsa"}`,
		`{"alg":"EdDSA","kid":"ed","typ":"JWT","typ":"JWT"}`, `{"alg":"EdDSA","kid":"ed","x":1,"x":2}`,
		`{"alg":"EdDSA","kid":"ed","x":{"y":1,"y":2}}`, `{"alg":"EdDSA","kid":"ed","\u0061lg":"EdDSA"}`,
		`{"ALG":"EdDSA","kid":"ed"}`, `{"Alg":"EdDSA","kid":"ed"}`,
	} {
		t.Run(header, func(t *testing.T) { refuse(t, v, compact("EdDSA", header, goodClaims), token.Malformed) })
	}
	for _, header := range []string{
		`{"alg":"EdDSA","kid":"ed","ALG":"none"}`, `{"ALG":"none","alg":"EdDSA","KID":"rsa","kid":"ed"}`,
		`{"alg":"EdDSA","kid":"ed","TYP":"x","CRIT":["x"]}`, "{\"alg\":\"EdDSA\",\n \"\\u006bid\" : \"ed\"}\n",
	} {
		accept(t, v, compact("EdDSA", header, goodClaims))
	}
	refuse(t, v, compact("EdDSA", `{"alg":"none","ALG":"EdDSA","kid":"ed"}`, goodClaims), token.Invalid)
}

func TestHeaderThatIsNotOneObjectWithAlgIsMalformed(t *testing.T) {
	v := verifier(policy(), publicKeys())
	for _, header := range []string{
		`null`, `[]`, `"x"`, `1`, `{}`, `{"alg":null}`, `{"alg":1}`, `{"alg":["EdDSA"]}`, `{"alg":{}}`, `{"typ":"JWT"}`,
		`{"alg":"EdDSA"`, `{"alg":"EdDSA",}`, `{alg:"EdDSA"}`, `{'alg':'EdDSA'}`, `{"alg":"EdDSA"}x`, `{"alg":"EdDSA"}{}`,
		`{"alg":"EdDSA"}` + "\x00", `{"alg":"EdDSA"},`, "\ufeff" + `{"alg":"EdDSA"}`, `{"alg":"EdDSA","x":"` + "\xff" + `"}`,
		`{"alg":"EdDSA","kid":"` + "\xff" + `"}`, `{"alg":"EdDSA","x":NaN}`, ` `, `{"alg":"EdDSA","kid":"\ud800"}`,
		`{"alg":"EdDSA"/**/}`, `{"alg":"EdDSA","crit":["x"]`,
	} {
		t.Run(header, func(t *testing.T) { refuse(t, v, compact("EdDSA", header, goodClaims), token.Malformed) })
	}
}

// A kid goes into look-ups, logs and, in other software, into file names and SQL.
func TestAttackKeyID(t *testing.T) {
	v := verifier(policy(), keySet{edKey()})
	for name, kid := range map[string]string{
		"number": `1`, "null": `null`, "array": `["ed"]`, "object": `{"a":"ed"}`, "true": `true`,
		"NUL": `"ed\u0000"`, "newline": `"ed\n"`, "escape": `"\u001b[2J"`, "C1 control": `"ed\u0085"`, "empty": `""`,
		"path": `"../../../../dev/null"`, "SQL": `"ed' OR '1'='1"`, "case": `"ED"`, "space": `"ed "`, "unknown": `"other"`,
		"too long": `"` + strings.Repeat("k", 1025) + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			refuse(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":`+kid+`}`, goodClaims), token.Invalid)
		})
	}
	// Nobody is even asked for a key of such a name.
	careless := verifier(policy(), anyway(edKey()))
	for _, kid := range []string{`1`, `null`, `["ed"]`, `"\u0000"`, `"\n"`, `"\u0085"`, `"` + strings.Repeat("k", 1025) + `"`} {
		refuse(t, careless, compact("EdDSA", `{"alg":"EdDSA","kid":`+kid+`}`, goodClaims), token.Invalid)
	}
	long := compact("EdDSA", `{"alg":"EdDSA","kid":"`+strings.Repeat("k", 1<<20)+`"}`, goodClaims)
	refuse(t, v, long, token.Malformed)
	_, err := token.Parse(long, 4<<20)
	if e, ok := errors.AsType[*token.Error](err); !ok || e.Kind != token.Invalid {
		t.Errorf("a kid of 1 MiB within a larger limit: %v", err)
	}
	u, err := token.Parse(compact("EdDSA", `{"alg":"EdDSA","kid":"`+strings.Repeat("k", 1024)+`"}`, goodClaims), limit)
	if err != nil || len(u.KeyID()) != 1024 || u.Algorithm() != "EdDSA" || u.Issuer() != issuer {
		t.Errorf("a kid of 1 KiB: %v", err)
	}
}

func TestTypSpellings(t *testing.T) {
	v := verifier(policy(), publicKeys())
	for _, typ := range []string{`"JWT"`, `"jwt"`, `"at+jwt"`, `"AT+JWT"`, `"application/at+jwt"`, `"Application/JWT"`} {
		accept(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":"ed","typ":`+typ+`}`, goodClaims))
	}
	for _, typ := range []string{
		`"id_token+jwt"`, `"logout+jwt"`, `"dpop+jwt"`, `"JOSE"`, `""`, `"application/"`, `"application/application/jwt"`,
		`"text/jwt"`, `"x/application/jwt"`, `"jwt "`, `"application/jwt;v=1"`, `1`, `null`, `["JWT"]`, `"JWT\u0000"`,
	} {
		t.Run(typ, func(t *testing.T) {
			refuse(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":"ed","typ":`+typ+`}`, goodClaims), token.Invalid)
		})
	}
}

// An operator who wants access tokens only must not get ID tokens, which some issuers send without typ.
func TestTypesOfThePolicyRule(t *testing.T) {
	p := policy()
	p.Types = []string{"application/at+jwt", "sec\u212aevent"}
	v := verifier(p, publicKeys())
	accept(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}`, goodClaims))
	refuse(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":"ed","typ":"JWT"}`, goodClaims), token.Invalid)
	refuse(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":"ed"}`, goodClaims), token.Invalid)
	refuse(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":"ed","typ":"seckevent"}`, goodClaims), token.Invalid)
}
