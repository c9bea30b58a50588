package gatehouse

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// parseSelector takes the methods, paths and matcher names that a rule's line
// begins with, and returns the rest of the line.
func (g *Gatehouse) parseSelector(d *caddyfile.Dispenser, into *Selector) (rest []string) {
	for d.NextArg() {
		word := d.Val()
		switch {
		case isMethod(word) && len(into.Paths) == 0 && !hasPending(g.pending, into):
			into.Methods = append(into.Methods, word)
		case strings.HasPrefix(word, "@"):
			g.pending = append(g.pending, pendingMatcher{d.Token(), into})
		case strings.HasPrefix(word, "/"), strings.HasPrefix(word, "*"), strings.HasPrefix(word, "{"):
			into.Paths = append(into.Paths, word)
		default:
			return append([]string{word}, d.RemainingArgs()...)
		}
	}
	return nil
}

func hasPending(pending []pendingMatcher, rule *Selector) bool {
	return len(pending) > 0 && pending[len(pending)-1].rule == rule
}

// pathRuleParser parses a line of deny, hide or public.
func pathRuleParser(g *Gatehouse, into *[]*PathRule) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		rule := &PathRule{Source: source(d)}
		rest := g.parseSelector(d, &rule.Selector)
		switch {
		case len(rest) > 1 && rest[0] == "ip" && option != "public":
			rule.IP = rest[1:]
		case len(rest) > 0 && rest[0] == "ip" && option != "public":
			return d.Errf("%s: ip: found no value; expected `%s ip <cidr|address|file|private_ranges>...`", option, option)
		case len(rest) > 0:
			return d.Errf("%s: found %q; expected %s", option, rest[0], pathRuleUsage(option))
		case len(rule.Paths) == 0 && !hasPending(g.pending, &rule.Selector):
			return d.Errf("%s: found no path; expected %s", option, pathRuleUsage(option))
		}
		*into = append(*into, rule)
		return noBlock(d, option)
	}
}

func pathRuleUsage(option string) string {
	usage := "`" + option + " [<METHOD>...] <path|@matcher>...`"
	if option != "public" {
		usage += " or `" + option + " ip <cidr|address|file|private_ranges>...`"
	}
	return usage
}

func (g *Gatehouse) parseRequire(d *caddyfile.Dispenser) error {
	q := &Require{Source: source(d)}
	rest := g.parseSelector(d, &q.Selector)
	g.Require = append(g.Require, q)
	if len(rest) > 0 {
		if err := q.addCondition(d, rest[0], rest[1:]); err != nil {
			return err
		}
		return noBlock(d, "require")
	}
	return block(d, "require", words{
		"match":   {q.parseMatch, once},
		"message": {text(&q.Message, "<text>"), once},
		"role":    {q.parseCondition, many},
		"scope":   {q.parseCondition, many},
		"user":    {q.parseCondition, many},
		"claim":   {q.parseCondition, many},
		"issuer":  {q.parseCondition, many},
		"ip":      {q.parseCondition, many},
	})
}

func (q *Require) parseCondition(d *caddyfile.Dispenser) error {
	kind := d.Val()
	if err := q.addCondition(d, kind, d.RemainingArgs()); err != nil {
		return err
	}
	return noBlock(d, kind)
}

// addCondition adds one kind line.
func (q *Require) addCondition(d *caddyfile.Dispenser, kind string, found []string) error {
	c := new(Condition)
	usage := "<" + kind + ">..."
	switch kind {
	case "role":
		c.Role = found
	case "scope":
		c.Scope = found
	case "user":
		c.User, usage = found, "<subject>..."
	case "issuer":
		c.Issuer, usage = found, "<iss>..."
	case "ip":
		c.IP, usage = found, "<cidr|address|file|private_ranges>..."
	case "claim":
		usage = "<claim> <value>..."
		if len(found) > 1 {
			c.Claim = &ClaimCondition{Name: found[0], Values: found[1:]}
		} else {
			found = nil
		}
	default:
		return d.Errf("require: found %q; expected one of %s, or a block", kind, conditionKinds)
	}
	if len(found) == 0 {
		return d.Errf("require: %s: found too few values; expected `%s %s`", kind, kind, usage)
	}
	q.Conditions = append(q.Conditions, c)
	return nil
}

func (q *Require) parseMatch(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("require: match: found %q; expected a block of Caddy's matchers", d.Val())
	}
	set, err := caddyhttp.ParseCaddyfileNestedMatcherSet(d)
	if err != nil {
		return err
	}
	if len(set) == 0 {
		return d.Errf("require: match: found no matcher, which would match every request; expected a block of Caddy's matchers")
	}
	q.MatchRaw = caddyhttp.RawMatcherSets{set}
	return nil
}
