package gatehouse

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// Condition is one line of a `require`, of its `when` or `any`, or of the
// `gatehouse` matcher: exactly one of its fields is set.
type Condition struct {
	// Roles, any of which is enough. Compared exactly; `role_orders` says which
	// roles come with another one.
	Role []string `json:"role,omitempty"`

	// Scopes, all of which are needed. Compared exactly.
	Scope []string `json:"scope,omitempty"`

	// Subjects, any of which is enough. With two issuers it needs an `issuer`
	// condition beside it, since each issuer names its own subjects.
	User []string `json:"user,omitempty"`

	// A claim, and the values any of which is enough.
	Claim *ClaimCondition `json:"claim,omitempty"`

	// Issuers, any of which is enough.
	Issuer []string `json:"issuer,omitempty"`

	// Client addresses: addresses, prefixes, `private_ranges`, or files of
	// them (which start with `/`, `./` or `../`). Judged before any credential,
	// unless the rule has a `when`, or it stands in `any`.
	IP []string `json:"ip,omitempty"`

	// The longest time since the visitor signed in, by the `auth_time` claim
	// (OpenID Connect Core, section 2). Who signed in longer ago, or at an
	// unknown time, is asked to sign in anew: 401 `step_up_required` (RFC 9470).
	Fresh caddy.Duration `json:"fresh,omitempty"`

	// Values of the `acr` claim, any of which is enough: how the visitor signed
	// in. Who signed in otherwise is asked to do so anew: 401
	// `step_up_required` (RFC 9470).
	ACR []string `json:"acr,omitempty"`

	// Conditions, one of which is enough.
	Any []*Condition `json:"any,omitempty"`
}

// ClaimCondition asks for a value of a claim. An absent claim never matches.
type ClaimCondition struct {
	// The claim: its literal name, else a dotted path, `*` for one level.
	Name string `json:"name"`

	// Values, any of which is enough. Numbers and booleans are compared as
	// they are written in the token; of a list, any member may match.
	Values []string `json:"values"`
}

// kind is what a condition asks for. Where several refuse, the least is told:
// who lacks a right is not asked to sign in anew.
type kind uint8

const (
	kindScope kind = iota + 1
	kindRole
	kindUser
	kindClaim
	kindIssuer
	kindIP
	kindACR
	kindFresh
	kindAny // told as one of its lines
)

const (
	conditionKinds = "role, scope, user, claim, issuer, ip, fresh, acr"

	// authTimeLeeway is how far an issuer's clock may be ahead of ours. A sign-in
	// further in the future would stay fresh for too long.
	authTimeLeeway = 30 * time.Second
)

// place is where a condition stands, which decides what may stand there.
type place struct {
	option  string // for messages
	usage   string // the kinds that may stand there
	nested  bool   // within `any`
	stepUp  bool   // fresh and acr make sense
	issuers []string
	open    bool // issuers are not known: a matcher
}

func (c *Condition) check(in place) error {
	set := 0
	for _, values := range [][]string{c.Role, c.Scope, c.User, c.Issuer, c.IP, c.ACR} {
		if values != nil {
			set++
		}
		if values != nil && len(values) == 0 || slices.Contains(values, "") {
			return fmt.Errorf("%s: found an empty value", in.option)
		}
	}
	for _, given := range []bool{c.Claim != nil, c.Fresh != 0, c.Any != nil} {
		if given {
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf("%s: found %d kinds in one condition; expected exactly one of %s", in.option, set, in.usage)
	}
	if (c.Fresh != 0 || c.ACR != nil) && !in.stepUp {
		return fmt.Errorf("%s: found a condition on the sign-in; expected one of %s, since a rule that speaks to fresh sign-ins alone would end with time", in.option, in.usage)
	}
	switch {
	case c.Claim != nil:
		return c.Claim.check(in.option)
	case c.Fresh != 0 && c.Fresh < caddy.Duration(time.Second):
		return fmt.Errorf("%s: fresh: found %s; expected at least 1s, since auth_time counts whole seconds", in.option, time.Duration(c.Fresh))
	case c.Any != nil:
		return c.checkAny(in)
	case slices.ContainsFunc(c.ACR, func(v string) bool { return strings.ContainsFunc(v, notInACR) }):
		// They stand in a header, separated by spaces (RFC 9470, section 3).
		return fmt.Errorf("%s: acr: found %q; expected printable ASCII without spaces and quotes", in.option, c.ACR)
	case c.Issuer != nil && !in.open:
		for _, iss := range c.Issuer {
			if !slices.Contains(in.issuers, iss) {
				return fmt.Errorf("%s: issuer %q is not configured; expected one of %s", in.option, iss, strings.Join(in.issuers, ", "))
			}
		}
	}
	return nil
}

func (c *Condition) checkAny(in place) error {
	if in.nested {
		return fmt.Errorf("%s: found any within any; expected one of %s", in.option, in.usage)
	}
	if len(c.Any) < 2 {
		return fmt.Errorf("%s: any: found %d conditions; expected at least two, one of which is enough", in.option, len(c.Any))
	}
	in.option, in.usage, in.nested = in.option+": any", conditionKinds, true
	for _, line := range c.Any {
		if line == nil {
			return fmt.Errorf("%s: found null", in.option)
		}
		if err := line.check(in); err != nil {
			return err
		}
	}
	return nil
}

func (c *ClaimCondition) check(option string) error {
	if len(c.Values) == 0 || slices.Contains(c.Values, "") {
		return fmt.Errorf("%s: claim %s: found no value; expected `claim <claim> <value>...`", option, c.Name)
	}
	if _, err := token.ParseClaimPath(c.Name); err != nil {
		return fmt.Errorf("%s: claim %q: %w", option, c.Name, err)
	}
	return nil
}

func notInACR(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }

// each calls f for the condition and for those within its `any`.
func (c *Condition) each(f func(*Condition)) {
	f(c)
	for _, line := range c.Any {
		line.each(f)
	}
}

// needsIssuer reports a condition whose values each issuer gives a meaning of
// its own, in a list that does not name the issuer. Within `any` an issuer line
// beside it would be an alternative, and no help.
func needsIssuer(conditions []*Condition) bool {
	var bound, named bool
	for _, c := range conditions {
		named = named || c.Issuer != nil
		c.each(func(c *Condition) { bound = bound || c.User != nil || c.Claim != nil })
	}
	return bound && !named
}

var errNeedsIssuer = errors.New("user and claim mean something else with each issuer; with two issuers they need an `issuer <iss>` line beside them")

// condition is a compiled Condition.
type condition struct {
	kind      kind
	values    []string
	path      token.ClaimPath
	addresses *addressTable
	fresh     time.Duration
	any       []condition
}

func (c *Condition) compile(files addressFiles) (condition, error) {
	var out condition
	var err error
	switch {
	case c.IP != nil:
		out.kind = kindIP
		out.addresses, err = newAddressTable(c.IP, files)
	case c.Scope != nil:
		out.kind = kindScope
		out.values, err = resolveAll("scope", c.Scope)
	case c.Role != nil:
		out.kind = kindRole
		out.values, err = resolveAll("role", c.Role)
	case c.User != nil:
		out.kind = kindUser
		out.values, err = resolveAll("user", c.User)
	case c.Issuer != nil:
		out.kind = kindIssuer
		out.values, err = resolveAll("issuer", c.Issuer)
	case c.ACR != nil:
		out.kind = kindACR
		out.values, err = resolveAll("acr", c.ACR)
	case c.Fresh != 0:
		out.kind, out.fresh = kindFresh, time.Duration(c.Fresh)
	case c.Any != nil:
		out.kind = kindAny
		out.any, err = compileConditions(c.Any, files)
	case c.Claim != nil:
		out.kind = kindClaim
		if out.path, err = token.ParseClaimPath(c.Claim.Name); err == nil {
			out.values, err = resolveAll("claim", c.Claim.Values)
		}
	}
	return out, err
}

func compileConditions(list []*Condition, files addressFiles) ([]condition, error) {
	out := make([]condition, 0, len(list))
	for _, c := range list {
		compiled, err := c.compile(files)
		if err != nil {
			return nil, err
		}
		out = append(out, compiled)
	}
	return out, nil
}

// visitor is all that a condition may look at.
type visitor struct {
	identity *identity // nil: anonymous
	address  netip.Addr
	now      func() time.Time
	counted  bool   // by throttles that look at the address
	from     string // where the credential was; empty without one
}

// holds judges one condition. Of an anonymous visitor nothing holds but ip; an
// unknown kind never holds.
func (c *condition) holds(v *visitor) bool {
	if c.kind == kindIP {
		return c.addresses.contains(v.address)
	}
	if c.kind == kindAny {
		return slices.ContainsFunc(c.any, func(line condition) bool { return line.holds(v) })
	}
	id := v.identity
	if id == nil {
		return false
	}
	switch c.kind {
	case kindScope:
		return !slices.ContainsFunc(c.values, func(s string) bool { return !slices.Contains(id.scopes, s) })
	case kindRole:
		return slices.ContainsFunc(c.values, id.hasRole)
	case kindUser:
		return slices.Contains(c.values, id.id)
	case kindIssuer:
		return slices.Contains(c.values, id.issuer)
	case kindClaim:
		return slices.ContainsFunc(id.claims.Texts(c.path), func(s string) bool { return slices.Contains(c.values, s) })
	case kindACR:
		return slices.Contains(c.values, id.acr())
	case kindFresh:
		return id.signedInWithin(c.fresh, v.now())
	case kindIP, kindAny:
	}
	return false
}

// allHold judges a list all of which must hold.
func allHold(list []condition, v *visitor) bool {
	for i := range list {
		if !list[i].holds(v) {
			return false
		}
	}
	return true
}

// told is the kind by which a refusal is told. Signing in anew would fulfil an
// `any` with such a line; else the least of its kinds is told, whatever the
// order of its lines.
func (c *condition) told() *condition {
	if c.kind != kindAny {
		return c
	}
	least := &c.any[0]
	for i := range c.any {
		line := &c.any[i]
		switch stepUp := line.kind >= kindACR; {
		case stepUp && (least.kind < kindACR || line.kind < least.kind):
			least = line
		case !stepUp && least.kind < kindACR && line.kind < least.kind:
			least = line
		}
	}
	return least
}

// usesAddress reports a list that looks at the client's address.
func usesAddress(list []condition) bool {
	return slices.ContainsFunc(list, func(c condition) bool { return c.kind == kindIP || usesAddress(c.any) })
}
