package gatehouse

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Require is a rule that must hold for the requests it speaks of. Where several
// match one request, all of them must hold.
type Require struct {
	// Where this rule was configured, as file:line. Set by the Caddyfile.
	Source string `json:"source,omitempty"`

	// A short name by which logs, metrics and the placeholder
	// `{http.gatehouse.rule}` call the rule: letters, digits and `_.:-`, at most
	// 64. Default: its source.
	Name string `json:"name,omitempty"`

	Selector

	// A matcher set that narrows the rule further.
	MatchRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// Of whom the rule speaks: visitors for whom all of these hold. Everybody
	// else passes it, and an `ip` condition of the rule is judged once the
	// visitor is known. Default: everybody.
	When []*Condition `json:"when,omitempty"`

	// What must hold: all of these.
	Conditions []*Condition `json:"conditions,omitempty"`

	// How many of the requests that the rule speaks of, and admits, may pass. A
	// rule may have this alone, without conditions.
	Throttle *Throttle `json:"throttle,omitempty"`

	// What the visitor is told when this rule refuses, instead of the
	// catalogue's sentence. Plain text.
	Message string `json:"message,omitempty"`

	// Answer as if there were nothing, where the rule refuses.
	Hide bool `json:"hide,omitempty"`

	// Log and count what the rule would refuse, and let it pass.
	Observe bool `json:"observe,omitempty"`
}

var ruleName = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)

// requirement is a compiled Require.
type requirement struct {
	ruleID
	selector
	narrow     caddyhttp.MatcherSets // nil: no match block
	narrowTold matcherTelling
	when       []condition
	conditions []condition
	throttle   *throttle // nil: none
	message    string
	hide       bool
	// usesAddress: some condition looks at the client's address.
	usesAddress bool
	observed    *observation // nil: the rule is enforced
}

// ruleID is how logs, errors and placeholders call a rule.
type ruleID struct {
	name   string // the operator's, or the source
	source string
	routes *routes // nil: the rule has no paths
}

func newRuleID(name, source string, routes *routes) ruleID {
	if name == "" {
		name = source
	}
	return ruleID{name, source, routes}
}

func (q *Require) check(issuers []string) error {
	return at(q.Source, q.checkParts(issuers))
}

func (q *Require) checkParts(issuers []string) error {
	if err := q.Selector.check("require", false); err != nil {
		return err
	}
	if err := checkMatcherSets("require: match", q.MatchRaw); err != nil {
		return err
	}
	switch {
	case q.Name != "" && !ruleName.MatchString(q.Name):
		return fmt.Errorf("require: found name %q; expected letters, digits and _.:- only, at most 64", q.Name)
	case slices.Contains(q.Conditions, nil) || slices.Contains(q.When, nil):
		return errors.New("require: found null")
	case len(q.Conditions) == 0 && q.Throttle == nil:
		return errors.New("require: found nothing to require; expected at least one of " + conditionKinds + ", any, throttle")
	case q.Throttle != nil && q.Throttle.By == byAddress && len(q.When) > 0:
		return errThrottleWhen
	case len(issuers) == 0 && !q.onlyAddresses():
		return errors.New("require: found a condition that could never be judged: no issuer is configured, so nobody is ever recognised; expected `ip` alone, or an `issuer`")
	}
	if err := q.Throttle.checkValues(); err != nil {
		return fmt.Errorf("require: %w", err)
	}
	for _, c := range q.Conditions {
		if err := c.check(place{option: "require", usage: conditionKinds + ", any", stepUp: true, issuers: issuers}); err != nil {
			return err
		}
	}
	for _, c := range q.When {
		if err := c.check(place{option: "require: when", usage: whenKinds, nested: true, issuers: issuers}); err != nil {
			return err
		}
	}
	if all := slices.Concat(q.When, q.Conditions); len(issuers) > 1 && needsIssuer(all) {
		return fmt.Errorf("require: %w", errNeedsIssuer)
	}
	return nil
}

// onlyAddresses reports a rule that is judged before any credential.
func (q *Require) onlyAddresses() bool {
	return len(q.When) == 0 && !slices.ContainsFunc(q.Conditions, func(c *Condition) bool { return c.IP == nil })
}

// whenKinds are the kinds that may stand in `when`.
const whenKinds = "role, scope, user, claim, issuer, ip"

func (q *Require) compile(ctx caddy.Context, files addressFiles) (*requirement, error) {
	out, err := q.compileParts(ctx, files)
	return out, at(q.Source, err)
}

func (q *Require) compileParts(ctx caddy.Context, files addressFiles) (*requirement, error) {
	out := &requirement{ruleID: newRuleID(q.Name, q.Source, newRoutes(&q.Selector)), hide: q.Hide, narrowTold: tellMatchers(q.MatchRaw)}
	if q.Observe {
		out.observed = new(observation)
	}
	var err error
	if out.message, err = resolve("message", q.Message); err != nil {
		return nil, err
	}
	if out.selector, err = q.Selector.compile(ctx); err != nil {
		return nil, err
	}
	if out.narrow, err = loadMatchers(ctx, q, "MatchRaw", q.MatchRaw); err != nil {
		return nil, err
	}
	if out.when, err = compileConditions(q.When, files); err != nil {
		return nil, err
	}
	if out.conditions, err = compileConditions(q.Conditions, files); err != nil {
		return nil, err
	}
	out.throttle = q.Throttle.compile(out.ruleID)
	out.usesAddress = usesAddress(out.when) || usesAddress(out.conditions)
	return out, nil
}

func (q *requirement) matches(r *http.Request) (bool, error) {
	ok, err := q.selector.matches(r)
	if err != nil || !ok || q.narrow == nil {
		return ok, err
	}
	return q.narrow.AnyMatchWithError(r)
}
