package gatehouse

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// lintGrants finds roles that nobody can have.
func (g *Gatehouse) lintGrants() []finding {
	order, err := newRoleOrder(g.RoleOrders)
	if err != nil || len(g.Issuers) == 0 {
		return nil // check has told
	}
	var found []finding
	for _, q := range g.Require {
		issuers := g.issuersOf(q)
		never := func(c *Condition) bool {
			return c.Role != nil && !hasPlaceholder(c.Role) && !slices.ContainsFunc(c.Role, func(role string) bool { return mayGrant(issuers, order, role) })
		}
		tell := func(c *Condition, so string) {
			found = append(found, finding{q.Source, fmt.Sprintf("require: no issuer may grant role %s, so %s; add it to `grants`, or mend the name", strings.Join(c.Role, ", "), so)})
		}
		for _, c := range q.When {
			if never(c) {
				tell(c, "the rule speaks to nobody")
			}
		}
		for _, c := range q.Conditions {
			if never(c) {
				tell(c, "nobody can pass")
			}
			for _, line := range c.Any {
				if never(line) {
					tell(line, "this line of any helps nobody")
				}
			}
		}
	}
	return found
}

// issuersOf are those whose visitors the rule can let pass.
func (g *Gatehouse) issuersOf(q *Require) []*Issuer {
	named := g.Issuers
	for _, c := range slices.Concat(q.When, q.Conditions) {
		if c.Issuer != nil && !hasPlaceholder(c.Issuer) {
			named = slices.DeleteFunc(slices.Clone(named), func(is *Issuer) bool { return !slices.Contains(c.Issuer, is.name()) })
		}
	}
	return named
}

func mayGrant(issuers []*Issuer, order roleOrder, role string) bool {
	return slices.ContainsFunc(issuers, func(is *Issuer) bool {
		return len(is.Grants) == 0 || hasPlaceholder(is.Grants) ||
			slices.ContainsFunc(is.Grants, func(granted string) bool { return granted == role || order[granted][role] })
	})
}

// lintRoleNames finds pairs of names of which one looks like a slip. Who has both
// says so by naming them in one `grants` or one `role_order`.
func (g *Gatehouse) lintRoleNames() []finding {
	uses := g.roleUses()
	names := slices.Sorted(maps.Keys(uses))
	var found []finding
	for i, a := range names {
		for _, b := range names[:i] {
			if !looksLike(a, b) || g.namesBoth(a, b) {
				continue
			}
			// The rarer one is the slip; else the later one.
			slip, meant := a, b
			if len(uses[a]) > len(uses[b]) || len(uses[a]) == len(uses[b]) && uses[a][0].at < uses[b][0].at {
				slip, meant = b, a
			}
			found = append(found, finding{uses[slip][0].source, fmt.Sprintf("role %s looks like a slip of %s at %s, and roles are compared exactly; "+
				"mend it, or name both in one `grants` or `role_order`", slip, meant, uses[meant][0].source)})
		}
	}
	return found
}

// roleUse is where a role is named; at orders uses as they are looked through.
type roleUse struct {
	source string
	at     int
}

func (g *Gatehouse) roleUses() map[string][]roleUse {
	uses := make(map[string][]roleUse)
	n := 0
	note := func(source string, roles []string) {
		for _, role := range roles {
			if !strings.Contains(role, "{") {
				n++
				uses[role] = append(uses[role], roleUse{source, n})
			}
		}
	}
	for _, is := range g.Issuers {
		note(is.Source, is.Grants)
	}
	for _, o := range g.RoleOrders {
		note(o.Source, o.Roles)
	}
	for _, q := range g.Require {
		for _, c := range slices.Concat(q.When, q.Conditions) {
			c.each(func(c *Condition) { note(q.Source, c.Role) })
		}
	}
	return uses
}

func (g *Gatehouse) namesBoth(a, b string) bool {
	both := func(roles []string) bool { return slices.Contains(roles, a) && slices.Contains(roles, b) }
	return slices.ContainsFunc(g.Issuers, func(is *Issuer) bool { return both(is.Grants) }) ||
		slices.ContainsFunc(g.RoleOrders, func(o *RoleOrder) bool { return both(o.Roles) })
}

// minSlip is the length from which names that differ by one letter are unlikely
// to be two roles.
const minSlip = 4

// looksLike reports names that one slip of the fingers tells apart: a letter
// too many, too few or wrong, or another case. Numbers tell roles apart on
// purpose.
func looksLike(a, b string) bool {
	if a == b || utf8.RuneCountInString(a) < minSlip || utf8.RuneCountInString(b) < minSlip || withoutDigits(a) == withoutDigits(b) {
		return false
	}
	return strings.EqualFold(a, b) || oneEdit([]rune(a), []rune(b))
}

func withoutDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, s)
}

// oneEdit reports a Levenshtein distance of one.
func oneEdit(a, b []rune) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) == len(b) {
		return i < len(a) && slices.Equal(a[i+1:], b[i+1:])
	}
	return slices.Equal(a[i:], b[i+1:])
}
