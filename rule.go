package gatehouse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// Selector says which requests a rule speaks of: those with one of the methods,
// and one of the paths or matchers.
type Selector struct {
	// HTTP methods; GET covers HEAD and OPTIONS. Default: all.
	Methods []string `json:"methods,omitempty"`

	// Paths, as in Caddy's `path` matcher but without placeholders. `/admin/*`
	// covers `/admin` too, and `/users` covers `/users/`. Default: all.
	Paths []string `json:"paths,omitempty"`

	// Matcher sets, any of which may match in place of a path.
	MatchersRaw caddyhttp.RawMatcherSets `json:"matchers,omitempty" caddy:"namespace=http.matchers"`
}

// PathRule is a `deny`, a `hide` or a `public`.
//
// `deny` and `hide` apply where the path that will be served matches, or the
// one that the client asked for; `public` only where both do.
type PathRule struct {
	// Where this rule was configured, as file:line. Set by the Caddyfile; logs
	// and the placeholder `{http.gatehouse.rule}` name the rule by it.
	Source string `json:"source,omitempty"`

	Selector

	// Client addresses, for `deny` and `hide` alone, and in place of a
	// selector: addresses, prefixes, `private_ranges`, or files of them.
	IP []string `json:"ip,omitempty"`
}

// Require is a rule that must hold for the requests it speaks of. Where several
// match one request, all of them must hold.
type Require struct {
	// Where this rule was configured, as file:line. Set by the Caddyfile; logs
	// and the placeholder `{http.gatehouse.rule}` name the rule by it.
	Source string `json:"source,omitempty"`

	Selector

	// A matcher set that narrows the rule further.
	MatchRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// What must hold: all of these.
	Conditions []*Condition `json:"conditions,omitempty"`

	// What the visitor is told when this rule refuses, instead of the
	// catalogue's sentence. Plain text.
	Message string `json:"message,omitempty"`
}

// Condition is one line of a `require`: exactly one of its fields is set.
type Condition struct {
	// Roles, any of which is enough. Compared exactly.
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
	// them (which start with `/`, `./` or `../`). Judged before any credential.
	IP []string `json:"ip,omitempty"`
}

// ClaimCondition asks for a value of a claim. An absent claim never matches.
type ClaimCondition struct {
	// The claim: its literal name, else a dotted path, `*` for one level.
	Name string `json:"name"`

	// Values, any of which is enough. Numbers and booleans are compared as
	// they are written in the token; of a list, any member may match.
	Values []string `json:"values"`
}

// selector is a compiled Selector.
type selector struct {
	methods map[string]bool // nil: all
	paths   caddyhttp.MatchPath
	sets    caddyhttp.MatcherSets
}

func (s *Selector) empty() bool { return len(s.Paths) == 0 && len(s.MatchersRaw) == 0 }

func (s *Selector) check(option string, allowStar bool) error {
	for _, m := range s.Methods {
		if !isMethod(m) {
			return fmt.Errorf("%s: found method %q; expected one in capitals, such as POST", option, m)
		}
	}
	for _, p := range s.Paths {
		if err := checkPathPattern(option, p, allowStar); err != nil {
			return err
		}
	}
	return checkMatcherSets(option, s.MatchersRaw)
}

// checkMatcherSets refuses sets without a matcher: Caddy takes them for a match
// of everything.
func checkMatcherSets(option string, sets caddyhttp.RawMatcherSets) error {
	for _, set := range sets {
		if len(set) == 0 {
			return fmt.Errorf("%s: found a matcher with nothing in it, which would match every request; expected at least one matcher", option)
		}
		for name, raw := range set {
			if err := checkMatcher(option, name, raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkMatcher refuses a matcher that holds nothing, and so matches nothing: a
// deny of it would never apply.
func checkMatcher(option, name string, raw json.RawMessage) error {
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return fmt.Errorf("%s: matcher %s: %w", option, name, err)
	}
	switch text := compact.String(); {
	case text == "null", text == "[]", text == "{}" && (name == "header" || name == "query"):
		return fmt.Errorf("%s: matcher %s has nothing in it; expected something to match", option, name)
	case name == "not":
		var sets caddyhttp.RawMatcherSets
		if err := json.Unmarshal(raw, &sets); err != nil {
			return fmt.Errorf("%s: matcher not: %w", option, err)
		}
		return checkMatcherSets(option+": not", sets)
	}
	return nil
}

func isMethod(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return (c < 'A' || c > 'Z') && c != '-' && c != '_' })
}

func (s *Selector) compile(ctx caddy.Context) (selector, error) {
	var out selector
	if len(s.Methods) > 0 {
		out.methods = setOf(s.Methods)
		if out.methods[http.MethodGet] {
			out.methods[http.MethodHead] = true
		}
	}
	if len(s.Paths) > 0 {
		out.paths = pathMatcher(s.Paths)
	}
	sets, err := loadMatchers(ctx, s, "MatchersRaw", s.MatchersRaw)
	out.sets = sets
	return out, err
}

func loadMatchers(ctx caddy.Context, owner any, field string, raw caddyhttp.RawMatcherSets) (caddyhttp.MatcherSets, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	mods, err := ctx.LoadModule(owner, field)
	if err != nil {
		return nil, fmt.Errorf("loading matchers: %w", err)
	}
	var sets caddyhttp.MatcherSets
	if err := sets.FromInterface(mods); err != nil {
		return nil, err
	}
	return sets, nil
}

// matches evaluates the whole selector on one view of the request.
func (s *selector) matches(r *http.Request) (bool, error) {
	if s.methods != nil && !s.methods[r.Method] && (r.Method != http.MethodOptions || !s.methods[http.MethodGet]) {
		return false, nil
	}
	if s.paths == nil && s.sets == nil {
		return true, nil
	}
	if s.paths != nil && s.paths.Match(r) {
		return true, nil
	}
	if s.sets == nil {
		return false, nil
	}
	return s.sets.AnyMatchWithError(r)
}

// pathRule is a compiled PathRule.
type pathRule struct {
	source string
	selector
	addresses *addressTable // nil: the selector decides
}

func (p *PathRule) check(option string, allowIP bool) error {
	err := p.Selector.check(option, option == "public")
	switch {
	case err != nil:
	case len(p.IP) > 0 && !allowIP:
		err = fmt.Errorf("%s: takes no ip; an address alone never lets anybody in (see `require ... ip`)", option)
	case len(p.IP) > 0 && (!p.empty() || len(p.Methods) > 0):
		err = fmt.Errorf("%s: ip stands alone; for an address rule on a path use `require <path> ip <cidr>...`", option)
	case len(p.IP) == 0 && p.empty():
		err = fmt.Errorf("%s: found no path; expected `%s [<METHOD>...] <path|@matcher>...`", option, option)
	}
	return at(p.Source, err)
}

func (p *PathRule) compile(ctx caddy.Context) (*pathRule, error) {
	out := &pathRule{source: p.Source}
	var err error
	if len(p.IP) > 0 {
		out.addresses, err = newAddressTable(p.IP)
	} else {
		out.selector, err = p.Selector.compile(ctx)
	}
	return out, at(p.Source, err)
}

// requirement is a compiled Require.
type requirement struct {
	source string
	selector
	narrow     caddyhttp.MatcherSets // nil: no match block
	conditions []condition
	message    string
}

func (q *Require) check(issuers []string) error {
	err := q.Selector.check("require", false)
	if err == nil {
		err = checkMatcherSets("require: match", q.MatchRaw)
	}
	if err == nil && len(q.Conditions) == 0 {
		err = errors.New("require: found nothing to require; expected at least one of " + conditionKinds)
	}
	var namesIssuer, issuerBound bool
	for _, c := range q.Conditions {
		if err == nil {
			err = c.check(issuers)
		}
		namesIssuer = namesIssuer || len(c.Issuer) > 0
		issuerBound = issuerBound || len(c.User) > 0 || c.Claim != nil
	}
	if err == nil && issuerBound && !namesIssuer && len(issuers) > 1 {
		err = errors.New("require: user and claim mean something else with each issuer; with two issuers they need an `issuer <iss>` line beside them")
	}
	return at(q.Source, err)
}

func (q *Require) compile(ctx caddy.Context) (*requirement, error) {
	out := &requirement{source: q.Source}
	var err error
	if out.message, err = resolve("message", q.Message); err != nil {
		return nil, at(q.Source, err)
	}
	if out.selector, err = q.Selector.compile(ctx); err != nil {
		return nil, at(q.Source, err)
	}
	if out.narrow, err = loadMatchers(ctx, q, "MatchRaw", q.MatchRaw); err != nil {
		return nil, at(q.Source, err)
	}
	for _, c := range q.Conditions {
		compiled, err := c.compile()
		if err != nil {
			return nil, at(q.Source, err)
		}
		out.conditions = append(out.conditions, compiled)
	}
	return out, nil
}

func (q *requirement) matches(r *http.Request) (bool, error) {
	ok, err := q.selector.matches(r)
	if err != nil || !ok || q.narrow == nil {
		return ok, err
	}
	return q.narrow.AnyMatchWithError(r)
}

// kind is what a condition asks for, in the order in which refusals are told.
type kind uint8

const (
	kindIP kind = iota + 1
	kindScope
	kindRole
	kindUser
	kindClaim
	kindIssuer
)

const conditionKinds = "role, scope, user, claim, issuer, ip"

// condition is a compiled Condition.
type condition struct {
	kind      kind
	values    []string
	path      token.ClaimPath
	addresses *addressTable
}

func (c *Condition) check(issuers []string) error {
	set := 0
	for _, values := range [][]string{c.Role, c.Scope, c.User, c.Issuer, c.IP} {
		if values != nil {
			set++
		}
		if values != nil && len(values) == 0 || slices.Contains(values, "") {
			return errors.New("require: found an empty value")
		}
	}
	if c.Claim != nil {
		set++
		if len(c.Claim.Values) == 0 || slices.Contains(c.Claim.Values, "") {
			return fmt.Errorf("require: claim %s: found no value; expected `claim <claim> <value>...`", c.Claim.Name)
		}
		if _, err := token.ParseClaimPath(c.Claim.Name); err != nil {
			return fmt.Errorf("require: claim %q: %w", c.Claim.Name, err)
		}
	}
	if set != 1 {
		return fmt.Errorf("require: found %d kinds in one condition; expected exactly one of %s", set, conditionKinds)
	}
	for _, iss := range c.Issuer {
		if !slices.Contains(issuers, iss) {
			return fmt.Errorf("require: issuer %q is not configured; expected one of %s", iss, strings.Join(issuers, ", "))
		}
	}
	return nil
}

func (c *Condition) compile() (condition, error) {
	var out condition
	var err error
	switch {
	case c.IP != nil:
		out.kind = kindIP
		out.addresses, err = newAddressTable(c.IP)
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
	case c.Claim != nil:
		out.kind = kindClaim
		if out.path, err = token.ParseClaimPath(c.Claim.Name); err == nil {
			out.values, err = resolveAll("claim", c.Claim.Values)
		}
	}
	return out, err
}
