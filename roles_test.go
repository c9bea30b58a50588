package gatehouse

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestRoleOrder(t *testing.T) {
	s := newSite(t, `
		role_order admin > reseller > user
		role_order owner > admin
		role_order reseller > billing > viewer
		role_order /hosting/admins > /hosting/resellers
		require /user/* role user
		require /viewer/* role viewer
		require /reseller/* role reseller
		require /admin/* role admin
		require /owner/* role owner
		require /group/* role /hosting/resellers
		require /list/* role nobody billing`)
	missing := refusedWith(403, codeRoleMissing)
	for name, c := range map[string]struct {
		role, target string
		want         verdict
	}{
		"the role itself":                    {"user", "/user/x", pass()},
		"one step":                           {"reseller", "/user/x", pass()},
		"two steps":                          {"admin", "/user/x", pass()},
		"over two lines":                     {"owner", "/user/x", pass()},
		"over three lines":                   {"owner", "/viewer/x", pass()},
		"a branch":                           {"admin", "/viewer/x", pass()},
		"never upwards":                      {"user", "/reseller/x", missing},
		"never upwards over lines":           {"admin", "/owner/x", missing},
		"never sideways":                     {"billing", "/user/x", missing},
		"names compare exactly":              {"Admin", "/user/x", missing},
		"a part of a name is none":           {"adm", "/user/x", missing},
		"a name with a space is none":        {"admin ", "/user/x", missing},
		"any of a list, by way of the order": {"reseller", "/list/x", pass()},
		"group paths are plain strings":      {"/hosting/resellers", "/group/x", pass()},
		"group paths can be in the order":    {"/hosting/admins", "/group/x", pass()},
		"a parent group is not its child":    {"/hosting", "/group/x", missing},
		"a child group is not its parent":    {"/hosting/resellers/berlin", "/group/x", missing},
		"a group with a slash more":          {"/hosting/resellers/", "/group/x", missing},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.expect(c.want, ask{target: c.target, token: s.token(t, claims{"roles": []string{c.role}})})
		})
	}
}

// The upstream is told the roles in the token: it has an order of its own.
func TestRoleOrderIsNotTold(t *testing.T) {
	s := newSite(t, "role_order admin > user\nrequire /x role user")
	g := s.gate.gate
	s.expect(pass(), ask{target: "/x", token: s.token(t, claims{"roles": "admin"})})
	id := &identity{roles: []string{"admin"}, by: &g.authn}
	if got, _ := id.placeholder("roles"); got != "admin" {
		t.Errorf("roles are told as %v", got)
	}
}

// An issuer that may not give the greater role does not give the lesser by it.
func TestRoleOrderAndGrants(t *testing.T) {
	one, two := newSigner(t, testIssuer), newSigner(t, "https://partner.example.com")
	s := newSiteFrom(t, one, `
:80 {
	route {
		gatehouse {
			issuer `+one.issuer+` {
				keys `+one.keyFile+`
				audience panel
				grants any
			}
			issuer `+two.issuer+` {
				keys `+two.keyFile+`
				audience panel
				grants reseller
			}
			role_order admin > reseller > user
			require /user/* role user
			require /admin/* role admin
		}
		gatehouse_test_spy x
	}
}`)
	s.expectAll(t, map[string]ruleCase{
		"their reseller is a user":   {ask{target: "/user/x", token: two.token(t, claims{"roles": "reseller"})}, pass()},
		"their admin is nothing":     {ask{target: "/user/x", token: two.token(t, claims{"roles": "admin"})}, refusedWith(403, codeRoleMissing)},
		"their user is not granted":  {ask{target: "/user/x", token: two.token(t, claims{"roles": "user"})}, refusedWith(403, codeRoleMissing)},
		"our admin is everything":    {ask{target: "/admin/x", token: one.token(t, claims{"roles": "admin"})}, pass()},
		"their reseller is no admin": {ask{target: "/admin/x", token: two.token(t, claims{"roles": "reseller"})}, refusedWith(403, codeRoleMissing)},
	})
}

func TestNewRoleOrder(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  string // role: roles; or the error
	}{
		"a chain":             {[]string{"a b c"}, "a: b c; b: c"},
		"a diamond":           {[]string{"a b d", "a c d"}, "a: b c d; b: d; c: d"},
		"lines in any order":  {[]string{"c d", "b c", "a b"}, "a: b c d; b: c d; c: d"},
		"the same line twice": {[]string{"a b", "a b"}, "a: b"},
		"a role over itself":  {[]string{"a a"}, "Caddyfile:1: role_order: found the circle a > a; expected each role above others only"},
		"a circle in a line":  {[]string{"a b c a"}, "Caddyfile:1: role_order: found the circle c > a > b > c; expected each role above others only"},
		"a circle over lines": {[]string{"a b", "b c d", "c a"}, "Caddyfile:3: role_order: found the circle c > a > b > c; expected each role above others only"},
		"one role":            {[]string{"a"}, "Caddyfile:1: role_order: found 1 value; expected `role_order <role> > <role> > ...`, the greatest first"},
	} {
		t.Run(name, func(t *testing.T) {
			g := new(Gatehouse)
			for i, line := range c.lines {
				g.RoleOrders = append(g.RoleOrders, &RoleOrder{Source: "Caddyfile:" + string(rune('1'+i)), Roles: strings.Fields(line)})
			}
			var got string
			if err := g.checkRoleOrders(); err != nil {
				got = err.Error()
			} else {
				order, _ := newRoleOrder(g.RoleOrders)
				var parts []string
				for _, role := range slices.Sorted(maps.Keys(order)) {
					parts = append(parts, role+": "+strings.Join(slices.Sorted(maps.Keys(order[role])), " "))
				}
				got = strings.Join(parts, "; ")
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
