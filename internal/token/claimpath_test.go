package token_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

func path(s string) token.ClaimPath { return must(token.ParseClaimPath(s)) }

const richClaims = `{"iss":"https://issuer.example","sub":"ana","aud":"panel","exp":1800000300,
	"roles":["admin","user","admin"],"role":"admin","scope":"read  write:users ","scp":["read","write users",7],
	"mixed":["a",1,true,null,{"x":"y"},["z"],"b"],"account":12345678901234567890,"rate":1.50e2,"active":true,"none":null,
	"empty":"","list":[],"object":{},"realm_access":{"roles":["r1","r2"]},"realm_access.roles":["literal"],
	"resource_access":{"zeta":{"roles":["z","both"]},"alpha":{"roles":["a","both"]},"https://api.acme.example":{"roles":["api"]},"n":7},
	"https://acme.example/roles":["uri"],"groups":[{"name":"g1"},{"name":"g2"},{"title":"g3"}],"deep":{"*":"star","b":{"c":"leaf"}}}`

func rich(t *testing.T) *token.Claims {
	t.Helper()
	return accept(t, verifier(policy(), publicKeys()), edToken(richClaims))
}

// A role is never made from a number, a boolean or an object.
func TestStringsWordsAndTextsOfAPath(t *testing.T) {
	c := rich(t)
	for _, w := range []struct {
		path, strings, words, texts string // values between bars
	}{
		{"roles", "admin|user|admin", "admin|user|admin", "admin|user|admin"},
		{"role", "admin", "admin", "admin"},
		{"scope", "read  write:users ", "read|write:users", "read  write:users "},
		{"scp", "read|write users", "read|write users", "read|write users|7"},
		{"mixed", "a|b", "a|b", "a|1|true|b"},
		{"account", "", "", "12345678901234567890"},
		{"rate", "", "", "1.50e2"},
		{"active", "", "", "true"},
		{"none", "", "", ""},
		{"list", "", "", ""},
		{"object", "", "", ""},
		{"missing", "", "", ""},
		{"role.x", "", "", ""},
		{"roles.0", "", "", ""},
		{"realm_access.roles", "literal", "literal", "literal"},
		{"resource_access.alpha.roles", "a|both", "a|both", "a|both"},
		{"resource_access.*.roles", "a|both|api|z", "a|both|api|z", "a|both|api|z"},
		{"resource_access.*", "", "", "7"},
		{"https://acme.example/roles", "uri", "uri", "uri"},
		{"groups.*.name", "g1|g2", "g1|g2", "g1|g2"},
		{"roles.*", "admin|user", "admin|user", "admin|user"},
		{"deep.*.c", "leaf", "leaf", "leaf"},
		{"deep.*", "star", "star", "star"},
		{"roles.*.*", "", "", ""},
	} {
		t.Run(w.path, func(t *testing.T) {
			p := path(w.path)
			if p.String() != w.path || p.IsZero() {
				t.Errorf("path became %q", p)
			}
			for _, got := range []struct {
				name string
				list []string
				want string
			}{{"Strings", c.Strings(p), w.strings}, {"Words", c.Words(p), w.words}, {"Texts", c.Texts(p), w.texts}} {
				if s := strings.Join(got.list, "|"); s != got.want {
					t.Errorf("%s: %q, want %q", got.name, s, got.want)
				}
			}
		})
	}
}

func TestTextOfAPath(t *testing.T) {
	c := rich(t)
	for p, want := range map[string]string{
		"role": "admin", "account": "12345678901234567890", "rate": "1.50e2", "active": "true", "deep.b.c": "leaf", "deep.*.c": "leaf",
	} {
		if got, ok := c.Text(path(p)); !ok || got != want {
			t.Errorf("%s: %q %v, want %q", p, got, ok, want)
		}
	}
	if got, ok := c.Text(path("empty")); !ok || got != "" {
		t.Errorf("empty: %q %v", got, ok)
	}
	for _, p := range []string{"none", "list", "object", "missing", "roles", "deep.b", "groups.*.name", "groups.*"} {
		if got, ok := c.Text(path(p)); ok {
			t.Errorf("%s: %q, want nothing", p, got)
		}
	}
	if got, ok := c.Text(token.ClaimPath{}); ok {
		t.Errorf("the zero path leads to %q", got)
	}
}

// Claims are remembered and shared by requests: none of them may change what the next one sees.
func TestAttackChangingWhatLookupGave(t *testing.T) {
	c := rich(t)
	before := fmt.Sprint(c.Lookup(path("resource_access")))
	v, _ := c.Lookup(path("resource_access"))
	v.(map[string]any)["alpha"].(map[string]any)["roles"].([]any)[0] = "admin"
	delete(v.(map[string]any), "zeta")
	roles := c.Strings(path("roles"))
	roles[0] = "root"
	if after := fmt.Sprint(c.Lookup(path("resource_access"))); after != before {
		t.Errorf("became %s", after)
	}
	if got := c.Strings(path("roles")); got[0] != "admin" {
		t.Errorf("became %v", got)
	}
}

func TestLookup(t *testing.T) {
	c := rich(t)
	for p, want := range map[string]string{
		"account": "12345678901234567890 true", "active": "true true", "none": "<nil> true", "missing": "<nil> false",
		"realm_access": "map[roles:[r1 r2]] true", "groups.*.name": "[g1 g2] true", "mixed": "[a 1 true <nil> map[x:y] [z] b] true",
		"deep.*": "[star map[c:leaf]] true", "missing.*": "<nil> false", "object.*": "<nil> false",
	} {
		v, ok := c.Lookup(path(p))
		if got := fmt.Sprintf("%v %v", v, ok); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
	if v, _ := c.Lookup(path("account")); v != token.Number("12345678901234567890") {
		t.Errorf("account is %T %v", v, v)
	}
}

// Names in which dots and stars mean nothing: Keycloak clients may be called like URLs.
func TestJoinedClaimPath(t *testing.T) {
	c := rich(t)
	p := must(token.JoinClaimPath("resource_access", "https://api.acme.example", "roles"))
	if got := c.Strings(p); !slices.Equal(got, []string{"api"}) {
		t.Errorf("%v", got)
	}
	// An audience called * would otherwise give the roles of every client.
	if got := c.Strings(must(token.JoinClaimPath("resource_access", "*", "roles"))); got != nil {
		t.Errorf("a name was taken for a wildcard: %v", got)
	}
	for _, names := range [][]string{nil, {""}, {"a", ""}, {"a\n"}, {"\xff"}, slices.Repeat([]string{"a"}, 33)} {
		if p, err := token.JoinClaimPath(names...); err == nil {
			t.Errorf("%q: accepted as %q", names, p)
		}
	}
}

func TestClaimPathThatIsNoneIsAnError(t *testing.T) {
	for _, s := range []string{
		"", ".", "a.", ".a", "a..b", "a.\n", "a\x00", "\x7f", "a\u0085", "\xff", strings.Repeat("a.", 32) + "a", strings.Repeat("a", 1025),
	} {
		if p, err := token.ParseClaimPath(s); err == nil {
			t.Errorf("%q: accepted", s)
		} else if !p.IsZero() || !strings.Contains(err.Error(), "expected") {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
	for _, s := range []string{
		"a", "*", "a b", "ä.ö", "https://acme.example/roles", "https://a..b/.", strings.Repeat("a.", 31) + "a", strings.Repeat("a", 1024),
	} {
		if _, err := token.ParseClaimPath(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}
