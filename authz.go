package gatehouse

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ruleset answers what a visitor may do. Immutable once compiled.
type ruleset struct {
	deny, hide, public []*pathRule
	require, observed  []*requirement
	// deniesByAddress: a deny or hide looks at the client's address.
	deniesByAddress bool
	// hides: some rule answers as if there were nothing.
	hides bool
}

func (g *Gatehouse) compileRules(ctx caddy.Context, files addressFiles) (ruleset, error) {
	var rs ruleset
	for _, list := range []struct {
		into *[]*pathRule
		from []*PathRule
	}{{&rs.deny, g.Deny}, {&rs.hide, g.Hide}, {&rs.public, g.Public}} {
		for _, rule := range list.from {
			compiled, err := rule.compile(ctx, files)
			if err != nil {
				return rs, err
			}
			*list.into = append(*list.into, compiled)
			rs.deniesByAddress = rs.deniesByAddress || compiled.addresses != nil
		}
	}
	for _, q := range g.Require {
		compiled, err := q.compile(ctx, files)
		if err != nil {
			return rs, err
		}
		if compiled.observed != nil {
			rs.observed = append(rs.observed, compiled)
			continue
		}
		rs.require = append(rs.require, compiled)
		rs.hides = rs.hides || compiled.hide
	}
	rs.hides = rs.hides || len(rs.hide) > 0
	return rs, nil
}

// findEither returns the first rule that matches any view of the request; where
// none does, the first that holds the address. That it matches counts for more
// than that another one cannot be judged: the order of lines tells nothing.
func findEither(rules []*pathRule, v views, who *visitor) (*pathRule, *refusal) {
	var failed *refusal
	byAddress := false
	for _, rule := range rules {
		byAddress = byAddress || rule.addresses != nil
		matched, no := either(rule.ruleID, v, rule.matches)
		if matched {
			return rule, nil
		}
		failed = worse(failed, no)
	}
	if failed != nil || !byAddress {
		return nil, failed
	}
	return findAddress(rules, who), nil
}

// findAddress takes an unknown address for one of every list: nobody can say
// that it is not.
func findAddress(rules []*pathRule, who *visitor) *pathRule {
	for _, rule := range rules {
		if rule.addresses != nil && (!who.address.IsValid() || rule.addresses.contains(who.address)) {
			return rule
		}
	}
	return nil
}

// worse is the one of two failures to tell of: the first, but our own before a
// matcher's wish for a retry.
func worse(a, b *refusal) *refusal {
	if a == nil || b != nil && b.code == codeInternalError && a.code != codeInternalError {
		return b
	}
	return a
}

// either reports whether any view matches. A matcher's error refuses.
func either(rule ruleID, v views, matches func(*http.Request) (bool, error)) (bool, *refusal) {
	matched, err := matches(v.served)
	for i := 0; err == nil && !matched && i < len(v.others); i++ {
		matched, err = matches(v.others[i])
	}
	if err != nil {
		return false, matcherRefusal(rule, err)
	}
	return matched, nil
}

// opens reports whether all views are public. They may be so by different
// lines: the order and the grouping of lines never change a verdict.
func (rs *ruleset) opens(v views) (bool, *refusal) {
	if len(rs.public) == 0 {
		return false, nil
	}
	ok, no := rs.opensView(v.served)
	for i := 0; no == nil && ok && i < len(v.others); i++ {
		ok, no = rs.opensView(v.others[i])
	}
	return ok, no
}

func (rs *ruleset) opensView(r *http.Request) (bool, *refusal) {
	var failed *refusal
	for _, rule := range rs.public {
		matched, err := rule.matches(r)
		if err != nil {
			failed = worse(failed, matcherRefusal(rule.ruleID, err))
			continue
		}
		if matched {
			return true, nil
		}
	}
	return false, failed
}

// matcherRefusal turns a matcher's error into a refusal. Caddy's address
// matchers ask for a retry after early data that way; it is answered here, as an
// error route with a file server would answer with the protected file.
func matcherRefusal(rule ruleID, err error) *refusal {
	var failure caddyhttp.HandlerError
	if errors.As(err, &failure) && failure.StatusCode == http.StatusTooEarly {
		return &refusal{code: codeTooEarly, rule: rule, cause: "a matcher needs the client's address"}
	}
	return &refusal{code: codeInternalError, rule: rule, cause: "matcher failed", err: err}
}

// denied applies `deny`.
func (rs *ruleset) denied(v views, who *visitor) *refusal {
	rule, no := findEither(rs.deny, v, who)
	switch {
	case no != nil:
		return no
	case rule == nil:
		return nil
	case rule.addresses != nil && !who.address.IsValid():
		return &refusal{code: codeAddressDenied, rule: rule.ruleID, cause: "no client address"}
	case rule.addresses != nil:
		return &refusal{code: codeAddressDenied, rule: rule.ruleID, cause: "deny ip", lacks: map[string]string{"address": who.address.String()}}
	}
	return &refusal{code: codePathDenied, rule: rule.ruleID, cause: "deny"}
}

// matching appends to buf the requirements that speak of the request, all but
// the hiding ones where these are passed over.
func (rs *ruleset) matching(buf []*requirement, v views, passOver bool) ([]*requirement, *refusal) {
	var failed *refusal
	for _, q := range rs.require {
		if passOver && q.hide {
			continue
		}
		matched, no := either(q.ruleID, v, q.matches)
		failed = worse(failed, no)
		if matched {
			buf = append(buf, q)
		}
	}
	return buf, failed
}

// admitAddress judges the address lines of rules that speak to everybody,
// before any credential is looked at. byAddress tells whether any rule looks at
// the address, now or later.
func admitAddress(requirements []*requirement, who *visitor) (byAddress bool, no *refusal) {
	var found shortfall
	for _, q := range requirements {
		byAddress = byAddress || q.usesAddress
		for i := range q.conditions {
			if c := &q.conditions[i]; q.judgesFirst(c) && !c.holds(who) {
				found.add(q, c)
			}
		}
	}
	return byAddress, found.refusal(who)
}

// admit judges a recognised visitor by all that admitAddress left.
func admit(requirements []*requirement, who *visitor) *refusal {
	if who.identity == nil {
		return refused(codeInternalError, "nobody was recognised, and nothing was refused")
	}
	var found shortfall
	for _, q := range requirements {
		if !q.speaksTo(who, &found) {
			continue
		}
		for i := range q.conditions {
			switch c := &q.conditions[i]; {
			case q.judgesFirst(c):
			case !c.holds(who):
				found.add(q, c)
			case c.kind == kindACR:
				found.held = inCommon(found.held, c.values)
			}
		}
	}
	return found.refusal(who)
}

// speaksTo judges `when`. Of a visitor without an address nobody can say that
// the rule passes them over: that is a shortfall of its own.
func (q *requirement) speaksTo(who *visitor, found *shortfall) bool {
	var unknown *condition
	for i := range q.when {
		c := &q.when[i]
		switch {
		case c.kind == kindIP && !who.address.IsValid():
			unknown = c
		case !c.holds(who):
			return false
		}
	}
	if unknown != nil {
		found.add(q, unknown)
	}
	return true
}

// judgesFirst tells the conditions that are judged before any credential.
func (q *requirement) judgesFirst(c *condition) bool { return c.kind == kindIP && len(q.when) == 0 }

// shortfall gathers the conditions that do not hold. The least kind is told,
// and of it the first in file order; one rule that hides, hides all.
type shortfall struct {
	rule   *requirement
	told   *condition
	hide   *requirement
	maxAge time.Duration
	acr    []string // what rules that refuse would take
	held   []string // what rules that are satisfied take
}

func (s *shortfall) add(q *requirement, c *condition) {
	c = c.told()
	if s.told == nil || c.kind < s.told.kind {
		s.rule, s.told = q, c
	}
	if q.hide && s.hide == nil {
		s.hide = q
	}
	if c.kind == kindFresh && (s.maxAge == 0 || c.fresh < s.maxAge) {
		s.maxAge = c.fresh
	}
	if c.kind == kindACR {
		s.acr = inCommon(s.acr, c.values)
	}
}

// inCommon narrows values, which are in order of preference, to those that
// another rule takes too: one sign-in must satisfy all. Where none does, the
// first rule's are told.
func inCommon(values, others []string) []string {
	if values == nil {
		return others
	}
	common := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return !slices.Contains(others, v) })
	if len(common) == 0 {
		return values
	}
	return common
}

func (s *shortfall) refusal(who *visitor) *refusal {
	if s.told == nil {
		return nil
	}
	no := s.told.refusal(s.rule, who)
	no.hiddenBy = s.hide
	if no.code == codeStepUpRequired {
		// A new sign-in must not lose what the old one had.
		no.maxAge, no.acr = s.maxAge, s.held
		if s.acr != nil {
			no.acr = inCommon(s.acr, s.held)
		}
	}
	return no
}

// refusal names what is missing in the terms of the page catalogue.
func (c *condition) refusal(q *requirement, who *visitor) *refusal {
	no := &refusal{code: codeClaimMissing, rule: q.ruleID, message: q.message}
	list := strings.Join(c.values, ", ")
	switch c.kind {
	case kindIP:
		no.code = codeAddressDenied
		no.cause = "client address is not in the rule's networks"
		if !who.address.IsValid() {
			no.cause = "no client address"
			break
		}
		no.lacks = map[string]string{"address": who.address.String()}
	case kindScope:
		no.code = codeScopeMissing
		no.need = c.values
		no.lacks = map[string]string{"scopes": strings.Join(c.values, " ")}
		no.cause = "scope " + no.lacks["scopes"]
	case kindRole:
		no.code, no.need = codeRoleMissing, c.values
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
	case kindACR:
		no.code, no.need = codeStepUpRequired, c.values
		no.cause = "acr " + list
	case kindFresh:
		no.code = codeStepUpRequired
		no.cause = "signed in longer ago than " + c.fresh.String() + ", or at an unknown time"
	case kindAny:
	}
	return no
}
