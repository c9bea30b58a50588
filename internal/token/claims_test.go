package token_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// claimsWith replaces members of the good claims; a member set to "" is left out.
func claimsWith(change ...string) string {
	members := []string{"iss", `"` + issuer + `"`, "sub", `"ana"`, "aud", `"panel"`, "exp", "1800000300"}
	for i := 0; i < len(change); i += 2 {
		known := false
		for j := 0; j < len(members); j += 2 {
			if members[j] == change[i] {
				members[j+1], known = change[i+1], true
			}
		}
		if !known {
			members = append(members, change[i], change[i+1])
		}
	}
	var out []string
	for j := 0; j < len(members); j += 2 {
		if members[j+1] != "" {
			out = append(out, `"`+members[j]+`":`+members[j+1])
		}
	}
	return "{" + strings.Join(out, ",") + "}"
}

// Of two members with one name one reader takes the first and another the last.
func TestAttackTwoClaimsWithOneName(t *testing.T) {
	v := verifier(policy(), publicKeys())
	base := goodClaims[:len(goodClaims)-1]
	for _, more := range []string{
		`,"exp":1900000000}`, `,"sub":"admin"}`, `,"iss":"https://issuer.example"}`, `,"aud":"panel"}`, `,"x":1,"x":1}`,
		`,"s\u0075b":"admin"}`, `,"x":{"role":"user","role":"admin"}}`, `,"x":[{"a":1,"a":2}]}`,
		`,"x":{"y":{"z":{"a":1,"\u0061":2}}}}`,
	} {
		t.Run(more, func(t *testing.T) { refuse(t, v, edToken(base+more), token.Invalid) })
	}
}

// Go's struct decoding folds case, so that `EXP` would override `exp`. Here it is a claim like any other.
func TestAttackClaimInAnotherCase(t *testing.T) {
	v := verifier(policy(), publicKeys())
	refuse(t, v, edToken(claimsWith("exp", "1700000000", "EXP", "1900000000", "Exp", "1900000000")), token.Expired)
	refuse(t, v, edToken(claimsWith("exp", "", "EXP", "1900000000")), token.Invalid)
	refuse(t, v, edToken(claimsWith("sub", "", "SUB", `"ana"`)), token.Invalid)
	c := accept(t, v, edToken(claimsWith("EXP", "1", "Sub", `"admin"`, "ISS", `"x"`, "Aud", `"x"`, "CNF", `{}`)))
	if c.Subject() != "ana" || c.Expiry().Unix() != nowUnix+300 {
		t.Errorf("subject %q, expiry %v", c.Subject(), c.Expiry())
	}
}

func TestClaimsThatAreNotOneObjectAreInvalid(t *testing.T) {
	v := verifier(policy(), publicKeys())
	deep := func(n int) string {
		return claimsWith("x", strings.Repeat("[", n)+strings.Repeat("]", n))
	}
	deepObject := claimsWith("x", strings.Repeat(`{"a":`, 32)+"1"+strings.Repeat("}", 32))
	accept(t, v, edToken(deep(31)))
	accept(t, v, edToken(" \r\n\t"+goodClaims+"\n"))
	for name, claims := range map[string]string{
		"trailing letters": goodClaims + "x", "second object": goodClaims + "{}", "trailing brace": goodClaims + "}",
		"trailing comma": goodClaims + ",", "trailing NUL": goodClaims + "\x00", "array": "[" + goodClaims + "]",
		"null": "null", "string": `"x"`, "number": "1", "white space": " ", "cut": goodClaims[:len(goodClaims)-1],
		"comma at the end": goodClaims[:len(goodClaims)-1] + ",}", "byte order mark": "\ufeff" + goodClaims,
		"not UTF-8": claimsWith("x", "\"\xff\""), "name not UTF-8": claimsWith("x\xff", "1"),
		"half a surrogate": claimsWith("x", `"\ud800"`), "comment": goodClaims + "//", "UTF-16": "\x00{\x00}",
		"NaN": claimsWith("x", "NaN"), "infinity": claimsWith("x", "Infinity"), "hex": claimsWith("x", "0x1"),
		"leading zero": claimsWith("x", "01"), "single quotes": claimsWith("x", "'y'"), "open array": claimsWith("x", "[1"),
		"too deep": deep(32), "much too deep": deep(2500), "objects too deep": deepObject,
		"control character in a string": claimsWith("x", "\"\n\""),
	} {
		t.Run(name, func(t *testing.T) { refuse(t, v, edToken(claims), token.Invalid) })
	}
}

// A token without a proper end is good for ever: jwx takes `exp: 0` for "absent" and a string for a date.
func TestAttackExpThatIsNoDate(t *testing.T) {
	v := verifier(policy(), publicKeys())
	for _, exp := range []string{
		"", "0", "-0", "0.0", "0e5", "1e-400", `"1800000300"`, `"2099-01-01T00:00:00Z"`, "1e309", "-1e309", "-1", "-1800000300",
		"NaN", "null", "true", "[1800000300]", `{"a":1}`,
	} {
		t.Run(exp, func(t *testing.T) { refuse(t, v, edToken(claimsWith("exp", exp)), token.Invalid) })
	}
	for _, exp := range []string{"1800000300.5", "1.8000003e9", "18000003E2", "1e300", "99999999999999999999"} {
		c := accept(t, v, edToken(claimsWith("exp", exp)))
		if y := c.Expiry().Year(); y < 2027 || y > 9999 {
			t.Errorf("exp %s became %v", exp, c.Expiry())
		}
	}
}

func TestIatAndNbfThatAreNoDatesAreInvalid(t *testing.T) {
	v := verifier(policy(), publicKeys())
	for _, name := range []string{"iat", "nbf"} {
		for _, value := range []string{`"1799999900"`, "null", "true", "1e309", "[]", "{}", `""`} {
			t.Run(name+value, func(t *testing.T) { refuse(t, v, edToken(claimsWith(name, value)), token.Invalid) })
		}
	}
	accept(t, v, edToken(claimsWith("iat", "-1", "nbf", "-1e300")))
}

// A token for another service of the same issuer is properly signed; only aud tells that it is not for us.
func TestAttackAudience(t *testing.T) {
	anyone := policy()
	anyone.Audiences, anyone.AnyAudience = nil, true
	strict, lax := verifier(policy(), publicKeys()), verifier(anyone, publicKeys())
	for _, c := range []struct {
		aud         string
		strict, lax bool
	}{
		{`"panel"`, true, true},
		{`["panel"]`, true, true},
		{`["other","panel"]`, true, true},
		{`"other"`, false, true},
		{`["other"]`, false, true},
		{`"PANEL"`, false, true},
		{`"panel "`, false, true},
		{`"panel other"`, false, true},
		{``, false, true},
		{`[]`, false, false},
		{`{}`, false, false},
		{`{"panel":true}`, false, false},
		{`null`, false, false},
		{`1`, false, false},
		{`["panel",1]`, false, false},
		{`[1,"panel"]`, false, false},
		{`[["panel"]]`, false, false},
		{`[null]`, false, false},
	} {
		t.Run(c.aud, func(t *testing.T) {
			raw := edToken(claimsWith("aud", c.aud))
			for v, good := range map[*token.Verifier]bool{strict: c.strict, lax: c.lax} {
				if good {
					accept(t, v, raw)
				} else {
					refuse(t, v, raw, token.Invalid)
				}
			}
		})
	}
}

// iss is compared byte for byte: what a URL library thinks the same is another issuer here.
func TestAttackIssuer(t *testing.T) {
	v := verifier(policy(), publicKeys())
	for _, iss := range []string{
		"", "null", `[]`, `["https://issuer.example"]`, `{}`, "1", `""`, `"https://issuer.example/"`, `"https://ISSUER.example"`,
		`"HTTPS://issuer.example"`, `"http://issuer.example"`, `"https://issuer.example "`, `"https://issuer.example:443"`,
		`"https://issuer.example\u0000"`, `"https://issuer.example.evil.example"`, `"issuer.example"`,
	} {
		t.Run(iss, func(t *testing.T) { refuse(t, v, edToken(claimsWith("iss", iss)), token.Invalid) })
	}
	accept(t, v, edToken(claimsWith("iss", `"https:\/\/issuer.ex\u0061mple"`)))
}

// RFC 7800: a token bound to a key is good only with proof of that key. Taken as a bearer token it is a stolen one.
func TestAttackBoundTokenWithoutProof(t *testing.T) {
	v := verifier(policy(), publicKeys())
	for _, cnf := range []string{`{"jkt":"x"}`, `{"x5t#S256":"x"}`, `{}`, "null", `""`, "1"} {
		refuse(t, v, edToken(claimsWith("cnf", cnf)), token.Invalid)
	}
}

// A token about nobody must not become somebody, and a name must not break a header or a log line.
func TestAttackSubject(t *testing.T) {
	v := verifier(policy(), publicKeys())
	for _, sub := range []string{
		"", "null", `""`, "1", "true", `["ana"]`, `{"name":"ana"}`, `"a\u0000"`, `"a\r\nX-User: admin"`, `"a\u007f"`, `"a\u0085"`,
	} {
		t.Run(sub, func(t *testing.T) { refuse(t, v, edToken(claimsWith("sub", sub)), token.Invalid) })
	}
	p := policy()
	p.Subject = must(token.ParseClaimPath("user.name"))
	v = verifier(p, publicKeys())
	c := accept(t, v, edToken(claimsWith("sub", "", "user", `{"name":"Ána"}`)))
	if c.Subject() != "Ána" {
		t.Errorf("subject %q", c.Subject())
	}
	refuse(t, v, edToken(claimsWith("user", `{}`)), token.Invalid)
	refuse(t, v, edToken(claimsWith("user", `{"name":7}`)), token.Invalid)
}

// "expired" tells that a token was ours. It must not be told of one that was not.
func TestAttackExpiredAsAnOracle(t *testing.T) {
	v := verifier(policy(), publicKeys())
	old := claimsWith("exp", "1700000000", "nbf", "1900000000")
	refuse(t, v, edToken(old), token.Expired)
	forged := edToken(old)
	refuse(t, v, forged[:len(forged)-4]+"AAAA", token.Invalid)
	for _, change := range [][]string{
		{"aud", `"other"`}, {"iss", `"https://other.example"`}, {"cnf", "{}"}, {"nbf", "null"}, {"iat", "null"},
	} {
		refuse(t, v, edToken(claimsWith(append([]string{"exp", "1700000000"}, change...)...)), token.Invalid)
		refuse(t, v, edToken(claimsWith(append([]string{"nbf", "1900000000"}, change...)...)), token.Invalid)
	}
	// RFC 7515 A.1 has no subject and ended in 2011: that it is old is the more useful answer, and gives nothing away.
	refuse(t, v, edToken(claimsWith("exp", "1700000000", "sub", "")), token.Expired)
	refuse(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}`, old), token.Invalid)
	refuse(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":"other"}`, old), token.Invalid)
}

func TestTimeEdges(t *testing.T) {
	aged := policy()
	aged.MaxAge = time.Hour
	strict := policy()
	strict.Leeway = 0
	const good = token.Kind(255)
	for _, c := range []struct {
		name   string
		policy token.Policy
		change []string
		want   token.Kind
	}{
		{"exp a moment ahead of the leeway's end", policy(), []string{"exp", "1799999970.001"}, good},
		{"exp at the leeway's end", policy(), []string{"exp", "1799999970"}, token.Expired},
		{"exp is now, without leeway", strict, []string{"exp", "1800000000"}, token.Expired},
		{"exp in a second, without leeway", strict, []string{"exp", "1800000001"}, good},
		{"exp long ago", policy(), []string{"exp", "0.5"}, token.Expired},
		{"nbf at the leeway's end", policy(), []string{"nbf", "1800000030"}, good},
		{"nbf a moment beyond the leeway", policy(), []string{"nbf", "1800000030.001"}, token.NotYetValid},
		{"nbf is now, without leeway", strict, []string{"nbf", "1800000000"}, good},
		{"nbf in a second, without leeway", strict, []string{"nbf", "1800000001"}, token.NotYetValid},
		{"nbf never", policy(), []string{"nbf", "1e300"}, token.NotYetValid},
		{"expired and not yet valid", policy(), []string{"exp", "5", "nbf", "1e10"}, token.Expired},
		{"iat in the future without max_age", policy(), []string{"iat", "1900000000"}, good},
		{"max_age without iat", aged, nil, token.Expired},
		{"iat as old as max_age", aged, []string{"iat", "1799996400"}, good},
		{"iat a moment older than max_age", aged, []string{"iat", "1799996399.999"}, token.Expired},
		{"iat long ago", aged, []string{"iat", "-1e300"}, token.Expired},
		{"iat within the leeway ahead", aged, []string{"iat", "1800000030"}, good},
		{"iat in the future, which would never grow old", aged, []string{"iat", "1800000031"}, token.NotYetValid},
		{"iat never", aged, []string{"iat", "1e300"}, token.NotYetValid},
		{"expired by exp and by age", aged, []string{"exp", "5", "iat", "1"}, token.Expired},
		{"too old and not yet valid", aged, []string{"iat", "1", "nbf", "1e10"}, token.Expired},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := verifier(c.policy, publicKeys())
			if c.want == good {
				accept(t, v, edToken(claimsWith(c.change...)))
				return
			}
			refuse(t, v, edToken(claimsWith(c.change...)), c.want)
		})
	}
}

func TestClaimsAreReadBack(t *testing.T) {
	v := verifier(policy(), publicKeys())
	c := accept(t, v, edToken(claimsWith("jti", `"j1"`, "iat", "1799999900", "auth_time", "1799990000")))
	issued, ok1 := c.IssuedAt()
	signedIn, ok2 := c.AuthTime()
	if c.ID() != "j1" || !ok1 || issued.Unix() != 1799999900 || !ok2 || signedIn.Unix() != 1799990000 {
		t.Errorf("jti %q, iat %v %v, auth_time %v %v", c.ID(), issued, ok1, signedIn, ok2)
	}
	// auth_time from somewhere else than a number would be a sign-in that nobody vouches for.
	c = accept(t, v, edToken(claimsWith("jti", "7", "auth_time", `"1799990000"`)))
	_, ok1 = c.IssuedAt()
	_, ok2 = c.AuthTime()
	if c.ID() != "" || ok1 || ok2 {
		t.Errorf("jti %q, iat %v, auth_time %v", c.ID(), ok1, ok2)
	}
}

func TestErrorUnwraps(t *testing.T) {
	cause := errors.New("cause")
	if e := (&token.Error{Kind: token.Invalid, Reason: "r", Err: cause}); !errors.Is(e, cause) || e.Error() != "token invalid: r: cause" {
		t.Errorf("%v", e)
	}
	if e := (&token.UnavailableError{Err: cause}); !errors.Is(e, cause) {
		t.Errorf("%v", e)
	}
	if (token.Error{}).Kind != token.Internal {
		t.Error("the zero Kind is not Internal")
	}
}

// The memory of verified tokens counts by it.
func TestClaimsSize(t *testing.T) {
	v := verifier(policy(), keySet{edKey()})
	small := accept(t, v, edToken(goodClaims)).Size()
	large := accept(t, v, edToken(claimsWith("pad", "[0"+strings.Repeat(",0", 999)+"]"))).Size()
	if least := 1000 * int(reflect.TypeFor[token.Node]().Size()); large-small < least || large > 2*least {
		t.Errorf("a thousand values more take %d bytes more, want about %d", large-small, least)
	}
	commas := accept(t, v, edToken(claimsWith("name", `"`+strings.Repeat(",", 5000)+`"`))).Size()
	if commas > 2*small {
		t.Errorf("one value more, full of commas, takes %d bytes where %d were enough", commas, small)
	}
}
