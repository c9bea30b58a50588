package gatehouse

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
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
		case len(rest) == 1 && rest[0] == "sensitive_files" && option != "public":
			rule.SensitiveFiles = true
		case len(rest) > 1 && rest[0] == "sensitive_files" && option != "public":
			return d.Errf("%s: found %q after sensitive_files, which stands alone; expected paths on a line of their own", option, rest[1])
		case len(rest) > 0:
			return d.Errf("%s: found %q; expected %s", option, rest[0], pathRuleUsage(option))
		case len(rule.Paths) == 0 && !hasPending(g.pending, &rule.Selector):
			return d.Errf("%s: found no path; expected %s", option, pathRuleUsage(option))
		}
		*into = append(*into, rule)
		if err := noBlock(d, option); err != nil {
			return err
		}
		if rule.SensitiveFiles {
			return rule.check(option) // the line may hold more than it may
		}
		return nil
	}
}

func pathRuleUsage(option string) string {
	usage := "`" + option + " [<METHOD>...] <path|@matcher>...`"
	if option != "public" {
		usage += ", `" + option + " sensitive_files` or `" + option + " ip <cidr|address|file|private_ranges>...`"
	}
	return usage
}

func (g *Gatehouse) parseRequire(d *caddyfile.Dispenser) error {
	q := &Require{Source: source(d)}
	rest := g.parseSelector(d, &q.Selector)
	g.Require = append(g.Require, q)
	if len(rest) > 0 {
		c, err := parseKind(d, "require", conditionKinds+", or a block", rest)
		if err != nil {
			return err
		}
		q.Conditions = append(q.Conditions, c)
		return noBlock(d, "require")
	}
	options := requireWords(&q.Conditions, "require")
	options["match"] = word{q.parseMatch, once}
	options["when"] = word{q.parseWhen, many}
	options["throttle"] = word{throttleParser(&q.Throttle), once}
	options["name"] = word{text(&q.Name, "<id>"), once}
	options["message"] = word{text(&q.Message, "<text>"), once}
	options["hide"] = word{given(&q.Hide), once}
	options["observe"] = word{given(&q.Observe), once}
	return block(d, "require", options)
}

// conditionWords are the kinds as options of a block.
func conditionWords(into *[]*Condition, option, usage string) words {
	parse := func(d *caddyfile.Dispenser) error {
		kind := d.Val()
		c, err := parseKind(d, option, usage, append([]string{kind}, d.RemainingArgs()...))
		if err != nil {
			return err
		}
		*into = append(*into, c)
		return noBlock(d, kind)
	}
	known := make(words)
	for _, kind := range strings.Split(conditionKinds, ", ") {
		known[kind] = word{parse, many}
	}
	return known
}

// parseWhen parses a kind line after `when`.
func (q *Require) parseWhen(d *caddyfile.Dispenser) error {
	found := d.RemainingArgs()
	if len(found) == 0 {
		return d.Errf("require: when: found nothing; expected `when <kind> <value>...` with a kind of %s", whenKinds)
	}
	c, err := parseKind(d, "require: when", whenKinds, found)
	if err != nil {
		return err
	}
	q.When = append(q.When, c)
	return noBlock(d, "when")
}

// requireWords are the kinds and `any`.
func requireWords(into *[]*Condition, option string) words {
	known := conditionWords(into, option, conditionKinds)
	known["any"] = word{func(d *caddyfile.Dispenser) error {
		if d.NextArg() {
			return d.Errf("%s: any: found %q; expected a block of kind lines, one of which is enough", option, d.Val())
		}
		c := new(Condition)
		*into = append(*into, c)
		return block(d, option+": any", conditionWords(&c.Any, option+": any", conditionKinds))
	}, many}
	return known
}

// parseKind reads one kind and its values.
func parseKind(d *caddyfile.Dispenser, option, usage string, line []string) (*Condition, error) {
	c, err := newCondition(option, usage, line)
	return c, wrap(d, err)
}

// newCondition makes a condition of a kind and its values.
func newCondition(option, usage string, line []string) (*Condition, error) {
	c := new(Condition)
	kind, found := line[0], line[1:]
	expected := "<" + kind + ">..."
	switch kind {
	case "role":
		c.Role = found
	case "scope":
		c.Scope = found
	case "user":
		c.User, expected = found, "<subject>..."
	case "issuer":
		c.Issuer, expected = found, "<iss>..."
	case "ip":
		c.IP, expected = found, "<cidr|address|file|private_ranges>..."
	case "acr":
		c.ACR, expected = found, "<value>..."
	case "fresh":
		return c, c.setFresh(option, found)
	case "claim":
		expected = "<claim> <value>..."
		if len(found) > 1 {
			c.Claim = &ClaimCondition{Name: found[0], Values: found[1:]}
		} else {
			found = nil
		}
	default:
		return nil, fmt.Errorf("%s: found %q; expected one of %s", option, kind, usage)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: %s: found too few values; expected `%s %s`", option, kind, kind, expected)
	}
	return c, nil
}

func (c *Condition) setFresh(option string, found []string) error {
	if len(found) == 1 {
		if age, err := caddy.ParseDuration(found[0]); err == nil && age >= time.Second {
			c.Fresh = caddy.Duration(age)
			return nil
		}
	}
	return fmt.Errorf("%s: fresh: found %q; expected `fresh <duration>` of at least 1s, such as `fresh 15m`", option, strings.Join(found, " "))
}

func (g *Gatehouse) parseRoleOrder(d *caddyfile.Dispenser) error {
	o := &RoleOrder{Source: source(d)}
	found := d.RemainingArgs()
	wrong := len(found)%2 == 0 || len(found) < 3
	for i, text := range found {
		wrong = wrong || (text == ">") != (i%2 == 1)
		if i%2 == 0 {
			o.Roles = append(o.Roles, text)
		}
	}
	if wrong {
		return d.Errf("role_order: found %q; expected `role_order <role> > <role> > ...`, the greatest first, with a space on both sides of each >", strings.Join(found, " "))
	}
	g.RoleOrders = append(g.RoleOrders, o)
	if err := noBlock(d, "role_order"); err != nil {
		return err
	}
	return g.checkRoleOrders()
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
