package gatehouse

import (
	"net/http"
	"strings"
	"testing"
)

// matcherSite has a gate, and behind it a door that only matching visitors find.
func matcherSite(t *testing.T, matcher, options string) *site {
	t.Helper()
	s := newSigner(t, testIssuer)
	return newSiteFrom(t, s, `
:80 {
	`+matcher+`
	gatehouse {
		issuer `+testIssuer+` {
			keys `+s.keyFile+`
			audience panel
		}
		role_order admin > reseller
		public /open/*
		`+options+`
	}
	header `+reachedHeader+` ran
	respond @m "matched"
	respond "not matched"
}`)
}

// In every form of it, the matcher tells the same.
func TestGatehouseMatcher(t *testing.T) {
	forms := map[string]string{
		"line":            "@m gatehouse role reseller owner",
		"block":           "@m {\ngatehouse {\nrole reseller owner\n}\n}",
		"with a path":     "@m {\npath *\ngatehouse role reseller owner\n}",
		"twice adds up":   "@m {\ngatehouse role reseller owner\ngatehouse issuer " + testIssuer + "\n}",
		"any":             "@m {\ngatehouse {\nany {\nrole reseller\nrole owner\n}\n}\n}",
		"not not":         "@m not {\nnot gatehouse role reseller owner\n}",
		"CEL":             "@m expression gatehouse('role', 'reseller', 'owner')",
		"CEL with more":   "@m `gatehouse('role', 'reseller', 'owner') && method('GET')`",
		"CEL, one of two": "@m `gatehouse('role', 'reseller') || gatehouse('role', 'owner')`",
		"CEL, twice not":  "@m `!(!gatehouse('role', 'reseller', 'owner'))`",
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			s := matcherSite(t, form, "")
			for who, c := range map[string]struct{ token, path, want string }{
				"the role":             {s.token(t, claims{"roles": "reseller"}), "/x", "matched"},
				"another of the list":  {s.token(t, claims{"roles": "owner"}), "/x", "matched"},
				"by way of role_order": {s.token(t, claims{"roles": "admin"}), "/x", "matched"},
				"another role":         {s.token(t, claims{"roles": "user"}), "/x", "not matched"},
				"recognised in public": {s.token(t, claims{"roles": "admin"}), "/open/x", "matched"},
				"anonymous in public":  {"", "/open/x", "not matched"},
				"a bad token":          {"x", "/open/x", "not matched"},
			} {
				w := s.do(ask{target: c.path, token: c.token})
				if w.Code != 200 || w.Body.String() != c.want {
					t.Errorf("%s: got %d %s, want %s", who, w.Code, w.Body, c.want)
				}
			}
		})
	}
}

func TestGatehouseMatcherKinds(t *testing.T) {
	for kind, c := range map[string]struct{ holds, fails claims }{
		"scope read write":    {claims{"scope": "write read"}, claims{"scope": "read"}},
		"user ada bob":        {claims{"sub": "bob"}, claims{"sub": "cyd"}},
		"claim org.plan gold": {claims{"org": map[string]any{"plan": "gold"}}, claims{"org.plan": "tin"}},
		"acr gold":            {claims{"acr": "gold"}, nil},
		"fresh 1000000h":      {claims{"auth_time": 1700000000}, nil},
	} {
		t.Run(kind, func(t *testing.T) {
			s := matcherSite(t, "@m gatehouse "+kind, "")
			if got := s.do(ask{target: "/x", token: s.token(t, c.holds)}).Body.String(); got != "matched" {
				t.Errorf("who holds it: %s", got)
			}
			if got := s.do(ask{target: "/x", token: s.token(t, c.fails)}).Body.String(); got != "not matched" {
				t.Errorf("who does not: %s", got)
			}
		})
	}
}

// An address needs no identity, and is Caddy's client_ip.
func TestGatehouseMatcherOfAddresses(t *testing.T) {
	for _, form := range []string{"@m gatehouse ip 192.0.2.0/24 2001:db8::/32", "@m `gatehouse('ip', '192.0.2.0/24', '2001:db8::/32')`"} {
		s := matcherSite(t, form, "")
		for from, want := range map[string]string{office: "matched", "[2001:db8::1]:1": "matched", "[::ffff:192.0.2.1]:1": "matched", elsewhere: "not matched"} {
			forged := http.Header{"X-Forwarded-For": {"192.0.2.1"}}
			if got := s.do(ask{target: "/open/x", from: from, header: forged}).Body.String(); got != want {
				t.Errorf("%s from %s: %s", form, from, got)
			}
		}
		// Nobody can say that who has no address is outside.
		if w := s.do(ask{target: "/open/x", from: "@"}); w.Code != http.StatusInternalServerError || w.Body.Len() > 0 {
			t.Errorf("%s without an address: %d %s", form, w.Code, w.Body)
		}
	}
}

// Where no gate has looked, nobody knows who it is: `not` must not open then.
func TestGatehouseMatcherWithoutAGate(t *testing.T) {
	for name, caddyfile := range map[string]string{
		"no gate at all":                 "@m gatehouse role admin\nrespond @m matched",
		"not":                            "@m not gatehouse role admin\nrespond @m matched",
		"not with an address":            "@m not gatehouse ip 10.0.0.0/8\nrespond @m matched",
		"CEL":                            "@m `gatehouse('role', 'admin')`\nrespond @m matched",
		"CEL, negated":                   "@m `!gatehouse('role', 'admin')`\nrespond @m matched",
		"CEL, negated beside what holds": "@m `method('GET') && !gatehouse('role', 'admin')`\nrespond @m matched",
		"a directive before the gate":    "@m not gatehouse role admin\nredir @m /elsewhere\nGATE",
		"a rewrite before the gate":      "@m gatehouse role admin\nrewrite @m /open/x\nGATE",
		"a handle around the gate":       "@m not gatehouse role admin\nhandle @m {\nGATE\n}",
		"a gate for another path":        "@m not gatehouse role admin\nroute {\nhandle /other/* {\nGATE\n}\nrespond @m matched\n}",
		"the gate's own matcher":         "@m not gatehouse role admin\nGATE @m",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSigner(t, testIssuer)
			before, own, found := strings.Cut(caddyfile, "GATE")
			after := ""
			if found {
				own, after, _ = strings.Cut(own, "\n")
			}
			text := ":80 {\n" + before + "\n"
			if found {
				text += "gatehouse " + own + " {\nissuer internal {\naudience a\n}\npublic /open/*\n}\n" + after + "\n"
			} else {
				// The harness wants to see one; it is never reached.
				text += "handle_path /never {\ngatehouse {\npublic *\n}\n}\n"
			}
			w := newSiteFrom(t, s, text+"\nrespond \"the rest\"\n}").do(ask{target: "/x", token: s.token(t, claims{"roles": "admin"})})
			if w.Code != http.StatusInternalServerError || w.Body.Len() > 0 {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		})
	}
}

// Each issuer has subjects and claims of its own: `user ada` of two would be two.
func TestGatehouseMatcherWithTwoIssuers(t *testing.T) {
	one, two := newSigner(t, testIssuer), newSigner(t, "https://partner.example.com")
	build := func(matcher string) *site {
		return newSiteFrom(t, one, `
:80 {
	@m `+matcher+`
	gatehouse {
		issuer `+one.issuer+` {
			keys `+one.keyFile+`
			audience panel
			grants any
		}
		issuer `+two.issuer+` {
			keys `+two.keyFile+`
			audience panel
			grants any
		}
	}
	respond @m matched
	respond "not matched"
}`)
	}
	for _, matcher := range []string{"gatehouse user ada", "not gatehouse user ada", "gatehouse claim plan gold", "`!gatehouse('user', 'ada')`"} {
		s := build(matcher)
		for _, by := range []*signer{one, two} {
			w := s.do(ask{target: "/x", token: by.token(t, nil)})
			if w.Code != 500 || w.Body.Len() > 0 {
				t.Errorf("%s: got %d %s", matcher, w.Code, w.Body)
			}
		}
	}
	s := build("{\ngatehouse user ada\ngatehouse issuer " + one.issuer + "\n}")
	for by, want := range map[*signer]string{one: "matched", two: "not matched"} {
		if got := s.do(ask{target: "/x", token: by.token(t, nil)}).Body.String(); got != want {
			t.Errorf("%s: %s", by.issuer, got)
		}
	}
}

// With two gates on a request the last one says who it is, and its order of
// roles is looked at.
func TestGatehouseMatcherAfterTwoGates(t *testing.T) {
	one, two := newSigner(t, testIssuer), newSigner(t, "https://partner.example.com")
	gate := func(s *signer, header, more string) string {
		return "gatehouse {\nissuer " + s.issuer + " {\nkeys " + s.keyFile + "\naudience panel\n}\ntoken header " + header + "\n" + more + "\n}\n"
	}
	build := func(first, second string) *site {
		return newSiteFrom(t, one, ":80 {\n@m gatehouse role reseller\nroute {\n"+first+second+"respond @m matched\nrespond \"not matched {http.auth.user.id}\"\n}\n}")
	}
	both := ask{target: "/x", header: http.Header{"X-One": {one.token(t, claims{"roles": "reseller"})}, "X-Two": {two.token(t, claims{"roles": "admin", "sub": "bob"})}}}
	if got := build(gate(one, "X-One", ""), gate(two, "X-Two", "")).do(both).Body.String(); got != "not matched bob" {
		t.Errorf("the first gate's visitor is asked about: %s", got)
	}
	if got := build(gate(one, "X-One", ""), gate(two, "X-Two", "role_order admin > reseller")).do(both).Body.String(); got != "matched" {
		t.Errorf("the last gate's order of roles does not count: %s", got)
	}
	if got := build(gate(two, "X-Two", "role_order admin > reseller"), gate(one, "X-One", "role_order admin > user")).do(both).Body.String(); got != "matched" {
		t.Errorf("the last gate's visitor does not count: %s", got)
	}
	anonymous := build(gate(one, "X-One", ""), gate(two, "X-Two", "public *"))
	delete(both.header, "X-Two")
	if got := anonymous.do(both).Body.String(); got != "not matched {http.auth.user.id}" {
		t.Errorf("the last gate let somebody in unrecognised, and the matcher still knows the first's: %s", got)
	}
}
