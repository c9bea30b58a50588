package gatehouse

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// explanation is what every rule of a gate says of one request.
type explanation struct {
	who           *visitor
	asked, served string // paths, as they came and as they will be served
	rules         []ruleReport
	opens         bool     // every view of the request is public
	let           bool     // no credential was needed: public, or a preflight
	no            *refusal // nil: the request passes
	status        int      // of the refusal
	preflight     bool
	// ignored are assumed roles that the issuer may not grant.
	ignored []string
	// outside names what answered beyond the gate's own configuration.
	outside []string
}

// ruleReport is one rule.
type ruleReport struct {
	ruleID
	option     string // deny, hide, public or require
	selects    string // what it speaks of, as the operator wrote it
	hit        bool
	failed     *refusal // its matcher failed
	notes      []string
	lifted     bool // the request is public: only what is judged first counts
	when       []conditionReport
	conditions []conditionReport
}

// conditionReport is one condition.
type conditionReport struct {
	need, have string // have is empty where nobody is recognised
	met, first bool   // first: judged before any credential
	any        []conditionReport
}

func (c *conditionReport) has() string {
	if c.have == "" {
		return "nobody is recognised"
	}
	return "has " + c.have
}

// speaks reports that the rule says something of this visitor.
func (r *ruleReport) speaks() bool {
	return r.hit && !slices.ContainsFunc(r.when, func(c conditionReport) bool { return !c.met })
}

// unmet are the conditions that stand against this visitor.
func (r *ruleReport) unmet() []conditionReport {
	if !r.speaks() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.conditions), func(c conditionReport) bool { return c.met || r.lifted && !c.first })
}

// explain asks every rule, also those that another one has overruled, by the
// very matches and conditions that decide.
func (g *Gatehouse) explain(gate *gate, r *http.Request, v views, let admission, no *refusal) explanation {
	e := explanation{who: gate.visitor(r), asked: originalPath(r), served: r.URL.Path, let: let.open, no: no}
	e.preflight = let.preflight
	if no != nil {
		e.status = gate.teller.challenge.effect(no.code).status
	}
	e.opens, _ = gate.rules.opens(v)
	if e.opens {
		e.who.identity = gate.recognise(r, v)
	} else {
		_ = gate.identify(r, v, e.who)
	}
	for _, list := range g.pathRules(gate) {
		for i, rule := range list.compiled {
			e.rules = append(e.rules, explainPathRule(list.option, list.configured[i], rule, v, e.who))
		}
	}
	for i, q := range g.requirements(gate) {
		rule := explainRequirement(g.Require[i], q, v, e.who)
		rule.lifted = e.opens
		e.rules = append(e.rules, rule)
	}
	return e
}

// noteIgnored looks for roles that were assumed in vain.
func (e *explanation) noteIgnored(assumed *AssumedVisitor) {
	if id := e.who.identity; id != nil {
		e.ignored = slices.DeleteFunc(slices.Clone(assumed.Role), func(role string) bool { return slices.Contains(id.roles, role) })
	}
}

// rulePairs are the rules of one option, as configured and compiled.
type rulePairs struct {
	option     string
	configured []*PathRule
	compiled   []*pathRule
}

func (g *Gatehouse) pathRules(gate *gate) []rulePairs {
	return []rulePairs{
		{"deny", g.Deny, gate.rules.deny}, {"hide", g.Hide, gate.rules.hide}, {"public", g.Public, gate.rules.public},
	}
}

// requirements are the compiled rules in the order of g.Require.
func (g *Gatehouse) requirements(gate *gate) []*requirement {
	enforced, observed := gate.rules.require, gate.rules.observed
	out := make([]*requirement, 0, len(g.Require))
	for _, q := range g.Require {
		from := &enforced
		if q.Observe {
			from = &observed
		}
		out = append(out, (*from)[0])
		*from = (*from)[1:]
	}
	return out
}

func explainPathRule(option string, configured *PathRule, rule *pathRule, v views, who *visitor) ruleReport {
	out := ruleReport{ruleID: rule.ruleID, option: option, selects: rule.text(configured)}
	found, no := findEither([]*pathRule{rule}, v, who)
	out.hit, out.failed = found != nil, no
	return out
}

func explainRequirement(configured *Require, q *requirement, v views, who *visitor) ruleReport {
	out := ruleReport{ruleID: q.ruleID, option: "require", selects: q.text(&configured.Selector)}
	if q.narrow != nil {
		out.selects = strings.TrimPrefix(out.selects+" match "+q.narrowTold.names, " ")
	}
	out.hit, out.failed = either(q.ruleID, v, q.matches)
	out.when = explainConditions(configured.When, q.when, who)
	out.conditions = explainConditions(configured.Conditions, q.conditions, who)
	for i := range q.conditions {
		out.conditions[i].first = q.judgesFirst(&q.conditions[i])
	}
	if q.hide {
		out.notes = append(out.notes, "hide")
	}
	if q.observed != nil {
		out.notes = append(out.notes, "observe")
	}
	return out
}

func explainConditions(configured []*Condition, compiled []condition, who *visitor) []conditionReport {
	out := make([]conditionReport, 0, len(compiled))
	for i := range compiled {
		c := &compiled[i]
		out = append(out, conditionReport{
			need: c.need(configured[i]), have: c.have(who), met: c.holds(who), any: explainConditions(configured[i].Any, c.any, who),
		})
	}
	return out
}

// need words a condition as its line in the Caddyfile.
func (c *condition) need(configured *Condition) string {
	values := strings.Join(c.values, " ")
	switch c.kind {
	case kindScope:
		return "scope " + values
	case kindRole:
		return "role " + values
	case kindUser:
		return "user " + values
	case kindClaim:
		return "claim " + c.path.String() + " " + values
	case kindIssuer:
		return "issuer " + values
	case kindIP:
		return "ip " + strings.Join(configured.IP, " ")
	case kindACR:
		return "acr " + values
	case kindFresh:
		return "fresh " + shortDuration(c.fresh)
	case kindAny:
		return "any of"
	}
	return ""
}

// have says what the visitor has of what a condition asks for; nothing where
// nobody is recognised.
func (c *condition) have(who *visitor) string {
	id := who.identity
	switch {
	case c.kind == kindAny:
		return ""
	case c.kind == kindIP:
		return addressText(who)
	case id == nil:
		return ""
	}
	switch c.kind {
	case kindScope:
		return listed(id.scopes)
	case kindRole:
		return listed(id.roles)
	case kindUser:
		return id.id
	case kindClaim:
		return listed(id.claims.Texts(c.path))
	case kindIssuer:
		return id.issuer
	case kindACR:
		return listed(strings.Fields(id.acr()))
	case kindFresh:
		at, known := id.claims.AuthTime()
		if !known {
			return "signed in at an unknown time"
		}
		return "signed in " + shortDuration(who.now().Sub(at).Truncate(time.Second)) + " ago"
	case kindIP, kindAny:
	}
	return ""
}

// shortDuration is 15m rather than 15m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return text
}

func listed(values []string) string {
	if len(values) == 0 {
		return "none"
	}
	return strings.Join(values, " ")
}

func addressText(who *visitor) string {
	if !who.address.IsValid() {
		return "no address"
	}
	return who.address.String()
}

// text is the rule's line in the Caddyfile, without the option.
func (p *pathRule) text(configured *PathRule) string {
	switch {
	case p.sensitive:
		return "sensitive_files"
	case p.addresses != nil:
		return "ip " + strings.Join(configured.IP, " ")
	}
	return p.selector.text(&configured.Selector)
}

// text words a selector; empty where it selects all. Of named matchers it tells
// what they match on, as their names are gone.
func (s *selector) text(configured *Selector) string {
	parts := slices.Concat(configured.Methods, configured.Paths)
	if s.told.names != "" {
		parts = append(parts, s.told.names)
	}
	return strings.Join(parts, " ")
}

// verdict words the answer.
func (e *explanation) verdict() string {
	if e.no == nil {
		return "200, it reaches the next handler"
	}
	text := fmt.Sprintf("%d %s", e.status, e.no.code)
	if e.no.rule.source != "" {
		text += " by " + e.no.rule.label()
	}
	return text
}

// label is the source of a rule, with its name if it has one.
func (r ruleID) label() string {
	if r.name == r.source {
		return r.source
	}
	return r.source + " (" + r.name + ")"
}
