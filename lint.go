package gatehouse

import (
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// finding is something in a valid configuration that its writer can hardly have
// meant, or should know. The message says what to do.
type finding struct {
	source  string // file:line, or empty
	message string
}

// warn tells the operator what lint finds.
func (g *Gatehouse) warn(log *zap.Logger) {
	for _, f := range g.lint() {
		if f.source == "" {
			log.Warn(f.message)
			continue
		}
		log.Warn(f.message, zap.String("source", f.source))
	}
}

// lint looks through a configuration that check has passed. It is better to miss
// something than to cry wolf.
func (g *Gatehouse) lint() []finding {
	return slices.Concat(
		g.lintObserve(), g.lintAccessLog(), g.lintPrivacy(), g.lintAudiences(),
		g.lintPathRules(), g.lintRequires(), g.lintOpened(), g.lintSignIns(), g.lintPatterns(),
		g.lintGrants(), g.lintRoleNames(),
	)
}

func (g *Gatehouse) lintObserve() []finding {
	if !g.Observe {
		return nil
	}
	return []finding{{g.place, observeWarning}}
}

func (g *Gatehouse) lintAudiences() []finding {
	var found []finding
	for _, is := range g.Issuers {
		if is.AnyAudience {
			found = append(found, finding{is.Source, fmt.Sprintf("issuer %s: tokens that it made for other services are accepted; name the audience that is yours", is.name())})
		}
	}
	return found
}

// lintPathRules finds what another line leaves without effect.
func (g *Gatehouse) lintPathRules() []finding {
	var found []finding
	for _, kind := range []struct {
		option string
		rules  []*PathRule
		before []pathRules // judged first
	}{
		{"hide", g.Hide, nil},
		{"deny", g.Deny, []pathRules{{"hide", g.Hide}}},
		{"public", g.Public, []pathRules{{"hide", g.Hide}, {"deny", g.Deny}}},
	} {
		for i, rule := range kind.rules {
			if option, by := firstCovering(kind.before, rule); by != nil {
				found = append(found, finding{rule.Source, fmt.Sprintf("%s has no effect: %s at %s refuses all that it speaks of; remove one of them", kind.option, option, by.Source)})
				continue
			}
			for j, other := range kind.rules {
				// Of two that say the same, the later one is told.
				if i != j && other.covers(rule) && (j < i || !rule.covers(other)) {
					found = append(found, finding{rule.Source, fmt.Sprintf("%s has no effect: the one at %s speaks of all that it does; remove it", kind.option, other.Source)})
					break
				}
			}
		}
	}
	return found
}

type pathRules struct {
	option string
	rules  []*PathRule
}

func firstCovering(lists []pathRules, rule *PathRule) (string, *PathRule) {
	for _, list := range lists {
		for _, by := range list.rules {
			if by.covers(rule) {
				return list.option, by
			}
		}
	}
	return "", nil
}

// lintRequires finds requirements that are never asked for, or twice.
func (g *Gatehouse) lintRequires() []finding {
	var found []finding
	for i, q := range g.Require {
		spoken := &PathRule{Selector: q.Selector}
		if option, by := firstCovering([]pathRules{{"hide", g.Hide}, {"deny", g.Deny}}, spoken); by != nil {
			found = append(found, finding{q.Source, fmt.Sprintf("require has no effect: %s at %s refuses all that it speaks of; remove one of them", option, by.Source)})
			continue
		}
		if _, by := firstCovering([]pathRules{{"public", g.Public}}, spoken); by != nil && !q.judgesAddress() {
			found = append(found, finding{q.Source, fmt.Sprintf("require is asked for no path of its own: public at %s opens them all, and there nothing but `ip` lines is asked; remove one of them", by.Source)})
			continue
		}
		for j, other := range g.Require {
			if i != j && other.covers(&q.Selector) && (j < i || !q.covers(&other.Selector)) && asksTheSame(q, other) {
				found = append(found, finding{q.Source, fmt.Sprintf("require has no effect: the one at %s asks the same of all that it speaks of; remove it", other.Source)})
				break
			}
		}
	}
	return found
}

// judgesAddress reports a rule with a line that holds on public paths too.
func (q *Require) judgesAddress() bool {
	return len(q.When) == 0 && slices.ContainsFunc(q.Conditions, func(c *Condition) bool { return c.IP != nil })
}

// asksTheSame compares all but the requests that two rules speak of.
func asksTheSame(a, b *Require) bool {
	return a.Hide == b.Hide && a.Observe == b.Observe && sameJSON(a.When, b.When) && sameJSON(a.Conditions, b.Conditions) && sameJSON(a.MatchRaw, b.MatchRaw)
}

// lintOpened finds holes in fences: a public path within a required one.
func (g *Gatehouse) lintOpened() []finding {
	var found []finding
	for _, rule := range g.Public {
		for _, q := range g.Require {
			if q.Observe || q.onlyAddresses() || rule.Selector.covers(&q.Selector) || !shareMethods(rule.Methods, q.Methods) {
				continue
			}
			for _, p := range rule.Paths {
				if q.coversPath(p) {
					found = append(found, finding{rule.Source, fmt.Sprintf("public %s lies within what require at %s speaks of, and nothing but its `ip` lines is asked there; "+
						"if that is not meant, take the path out", p, q.Source)})
				}
			}
		}
	}
	return found
}

// lintSignIns finds rules that no visitor can fulfil together: of these claims
// a token has one.
func (g *Gatehouse) lintSignIns() []finding {
	var found []finding
	for i, q := range g.Require {
		if len(q.When) > 0 || q.Observe {
			continue
		}
		for _, other := range g.Require[:i+1] {
			if len(other.When) > 0 || other.Observe {
				continue
			}
			if !meetAlways(q, other) {
				continue
			}
			if kind := exclusive(q, other); kind != "" {
				found = append(found, finding{q.Source, fmt.Sprintf("require: %s has no value in common with the one at %s, so nobody passes where both speak; give them one, or join the lines with any", kind, other.Source)})
				break
			}
		}
	}
	return found
}

// meetAlways reports two rules of which one speaks of all that the other does.
func meetAlways(a, b *Require) bool {
	return a == b || len(b.MatchRaw) == 0 && b.covers(&a.Selector) || len(a.MatchRaw) == 0 && a.covers(&b.Selector)
}

// exclusive names a kind of which two rules, or two lines of one, want different
// values.
func exclusive(a, b *Require) string {
	for i, one := range a.Conditions {
		for j, two := range b.Conditions {
			if a == b && i >= j {
				continue
			}
			switch {
			case nothingInCommon(one.ACR, two.ACR):
				return "acr"
			case nothingInCommon(one.Issuer, two.Issuer):
				return "issuer"
			case nothingInCommon(one.User, two.User):
				return "user"
			}
		}
	}
	return ""
}

func nothingInCommon(a, b []string) bool {
	return a != nil && b != nil && !hasPlaceholder(a, b) && !slices.ContainsFunc(a, func(v string) bool { return slices.Contains(b, v) })
}

// hasPlaceholder reports values that are not known before they are resolved.
func hasPlaceholder(lists ...[]string) bool {
	return slices.ContainsFunc(slices.Concat(lists...), func(v string) bool { return strings.Contains(v, "{") })
}

// lintPatterns finds paths that no request can have when it is judged.
func (g *Gatehouse) lintPatterns() []finding {
	var found []finding
	look := func(option, source string, s *Selector) {
		for _, p := range s.Paths {
			if hasDotSegment(strings.TrimSuffix(p, "*")) && !strings.HasSuffix(p, "/.*") && !strings.HasSuffix(p, "/..*") {
				found = append(found, finding{source, fmt.Sprintf("%s: no request matches %s, since dot segments are refused as ambiguous; write the path that they lead to", option, p)})
			}
		}
	}
	for _, list := range []pathRules{{"deny", g.Deny}, {"hide", g.Hide}, {"public", g.Public}} {
		for _, rule := range list.rules {
			look(list.option, rule.Source, &rule.Selector)
		}
	}
	for _, q := range g.Require {
		look("require", q.Source, &q.Selector)
	}
	return found
}
