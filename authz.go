package gatehouse

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ruleset answers what a visitor may do. Immutable once compiled.
type ruleset struct {
	deny, hide, public []*pathRule
	require            []*requirement
	// deniesByAddress: a deny or hide looks at the client's address.
	deniesByAddress bool
}

func (g *Gatehouse) compileRules(ctx caddy.Context) (ruleset, error) {
	var rs ruleset
	for _, list := range []struct {
		into *[]*pathRule
		from []*PathRule
	}{{&rs.deny, g.Deny}, {&rs.hide, g.Hide}, {&rs.public, g.Public}} {
		for _, rule := range list.from {
			compiled, err := rule.compile(ctx)
			if err != nil {
				return rs, err
			}
			*list.into = append(*list.into, compiled)
			rs.deniesByAddress = rs.deniesByAddress || compiled.addresses != nil
		}
	}
	for _, q := range g.Require {
		compiled, err := q.compile(ctx)
		if err != nil {
			return rs, err
		}
		rs.require = append(rs.require, compiled)
	}
	return rs, nil
}

// findEither returns the first rule that matches any view of the request, or
// the address.
func findEither(rules []*pathRule, v views, addr netip.Addr) (*pathRule, *refusal) {
	for _, rule := range rules {
		if rule.addresses != nil {
			if !addr.IsValid() {
				return nil, refused(codeAddressDenied, "no client address")
			}
			if rule.addresses.contains(addr) {
				return rule, nil
			}
			continue
		}
		matched, no := either(rule.source, v, rule.matches)
		if no != nil {
			return nil, no
		}
		if matched {
			return rule, nil
		}
	}
	return nil, nil
}

// either reports whether any view matches. A matcher's error refuses.
func either(source string, v views, matches func(*http.Request) (bool, error)) (bool, *refusal) {
	matched, err := matches(v.served)
	if err == nil && !matched && v.original != nil {
		matched, err = matches(v.original)
	}
	if err != nil {
		return false, matcherRefusal(source, err)
	}
	return matched, nil
}

// opens reports whether both views are public. They may be so by different
// lines: the order and the grouping of lines never change a verdict.
func (rs *ruleset) opens(v views) (bool, *refusal) {
	open := func(r *http.Request) (bool, *refusal) {
		for _, rule := range rs.public {
			matched, err := rule.matches(r)
			if err != nil {
				return false, matcherRefusal(rule.source, err)
			}
			if matched {
				return true, nil
			}
		}
		return false, nil
	}
	ok, no := open(v.served)
	if no != nil || !ok || v.original == nil {
		return ok, no
	}
	return open(v.original)
}

// matcherRefusal turns a matcher's error into a refusal. Caddy's address
// matchers ask for a retry after early data that way; it is answered here, as an
// error route with a file server would answer with the protected file.
func matcherRefusal(source string, err error) *refusal {
	var failure caddyhttp.HandlerError
	if errors.As(err, &failure) && failure.StatusCode == http.StatusTooEarly {
		return &refusal{code: codeTooEarly, rule: source, cause: "a matcher needs the client's address"}
	}
	return &refusal{code: codeInternalError, rule: source, cause: "matcher failed", err: err}
}

// denied applies `deny`.
func (rs *ruleset) denied(v views, addr netip.Addr) *refusal {
	rule, no := findEither(rs.deny, v, addr)
	switch {
	case no != nil:
		return no
	case rule == nil:
		return nil
	case rule.addresses != nil:
		return &refusal{code: codeAddressDenied, rule: rule.source, cause: "deny ip", lacks: map[string]string{"address": addr.String()}}
	}
	return &refusal{code: codePathDenied, rule: rule.source, cause: "deny"}
}

// matching appends to buf the requirements that speak of the request.
func (rs *ruleset) matching(buf []*requirement, v views) ([]*requirement, *refusal) {
	for _, q := range rs.require {
		matched, no := either(q.source, v, q.matches)
		if no != nil {
			return nil, no
		}
		if matched {
			buf = append(buf, q)
		}
	}
	return buf, nil
}

// admitAddress judges the address lines, before any credential is looked at.
// byAddress tells whether there was one.
func admitAddress(requirements []*requirement, addr netip.Addr) (byAddress bool, no *refusal) {
	for _, q := range requirements {
		for i := range q.conditions {
			c := &q.conditions[i]
			if c.kind != kindIP {
				continue
			}
			byAddress = true
			if !c.addresses.contains(addr) {
				return true, c.refusal(q, addr)
			}
		}
	}
	return byAddress, nil
}

// admit judges a recognised visitor: scopes first, then the rest in file order.
func admit(requirements []*requirement, id *identity) *refusal {
	for _, scopes := range []bool{true, false} {
		for _, q := range requirements {
			for i := range q.conditions {
				c := &q.conditions[i]
				if c.kind == kindIP || (c.kind == kindScope) != scopes || c.holds(id) {
					continue
				}
				return c.refusal(q, netip.Addr{})
			}
		}
	}
	return nil
}

// holds judges one condition other than ip. An unknown kind never holds.
func (c *condition) holds(id *identity) bool {
	switch c.kind {
	case kindScope:
		return !slices.ContainsFunc(c.values, func(s string) bool { return !slices.Contains(id.scopes, s) })
	case kindRole:
		return slices.ContainsFunc(c.values, func(s string) bool { return slices.Contains(id.roles, s) })
	case kindUser:
		return slices.Contains(c.values, id.id)
	case kindIssuer:
		return slices.Contains(c.values, id.issuer)
	case kindClaim:
		return slices.ContainsFunc(id.claims.Texts(c.path), func(s string) bool { return slices.Contains(c.values, s) })
	case kindIP:
	}
	return false
}

// refusal names what is missing in the terms of the page catalogue.
func (c *condition) refusal(q *requirement, addr netip.Addr) *refusal {
	no := &refusal{code: codeClaimMissing, rule: q.source, message: q.message}
	list := strings.Join(c.values, ", ")
	switch c.kind {
	case kindIP:
		no.code = codeAddressDenied
		no.cause = "client address is not in the rule's networks"
		if !addr.IsValid() {
			no.cause = "no client address"
			break
		}
		no.lacks = map[string]string{"address": addr.String()}
	case kindScope:
		no.code = codeScopeMissing
		no.lacks = map[string]string{"scopes": strings.Join(c.values, " ")}
		no.cause = "scope " + no.lacks["scopes"]
	case kindRole:
		no.code = codeRoleMissing
		no.lacks = map[string]string{"roles": list}
		no.cause = "role " + list
	case kindClaim:
		no.lacks = map[string]string{"claim": c.path.String()}
		no.cause = fmt.Sprintf("claim %s %s", c.path, list)
	case kindUser:
		no.lacks = map[string]string{"claim": "sub"}
		no.cause = "user"
	case kindIssuer:
		no.lacks = map[string]string{"claim": "iss"}
		no.cause = "issuer " + list
	}
	return no
}
