package gatehouse

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(MatchVisitor{})
}

// MatchVisitor is a request matcher for who is asking, for directives after
// `gatehouse`: `@admins gatehouse role admin`. All of its conditions must hold.
// Of an anonymous visitor, whom a `public` rule let in, nothing holds but `ip`.
//
// Where no gate has looked at the request it fails with an error, which refuses
// the request: `not` around it cannot open anything. So it does where `ip` is
// asked of a client without an address, and where `user` or `claim` stand
// without `issuer` and the gate has two.
//
// In CEL expressions it is a function of a kind and its values, as strings:
// `gatehouse('role', 'admin')`. Each call stands alone.
type MatchVisitor struct {
	// What must hold: all of these.
	Conditions []*Condition `json:"conditions,omitempty"`

	conditions []condition
	needIssuer bool
	now        func() time.Time
}

// CaddyModule returns the Caddy module information.
func (MatchVisitor) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.gatehouse",
		New: func() caddy.Module { return new(MatchVisitor) },
	}
}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens. Syntax:
//
//	gatehouse <kind> <value>...
//	gatehouse {
//		role   <role>...
//		scope  <scope>...
//		user   <subject>...
//		claim  <claim> <value>...
//		issuer <iss>...
//		ip     <cidr|address|file|private_ranges>...
//		fresh  <duration>
//		acr    <value>...
//		any    { <kind lines> }
//	}
//
// All lines must hold, as in a `require`. Several of it in one matcher set add up.
func (m *MatchVisitor) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		if line := d.RemainingArgs(); len(line) > 0 {
			c, err := parseKind(d, matcherOption, conditionKinds+", or a block", line)
			if err != nil {
				return err
			}
			m.Conditions = append(m.Conditions, c)
			if err := noBlock(d, "gatehouse"); err != nil {
				return err
			}
			continue
		}
		if err := block(d, matcherOption, requireWords(&m.Conditions, matcherOption)); err != nil {
			return err
		}
	}
	return wrap(d, m.check())
}

const matcherOption = "gatehouse matcher"

func (m *MatchVisitor) check() error {
	if len(m.Conditions) == 0 {
		return fmt.Errorf("%s: found no condition, which would match every visitor; expected at least one of %s, any", matcherOption, conditionKinds)
	}
	for _, c := range m.Conditions {
		if c == nil {
			return fmt.Errorf("%s: found null", matcherOption)
		}
		if err := c.check(place{option: matcherOption, usage: conditionKinds + ", any", stepUp: true, open: true}); err != nil {
			return err
		}
	}
	return nil
}

// Provision compiles the conditions.
func (m *MatchVisitor) Provision(ctx caddy.Context) error {
	if err := m.check(); err != nil {
		return err
	}
	module, err := ctx.App("gatehouse")
	if err != nil {
		return fmt.Errorf("getting the gatehouse app: %w", err)
	}
	return m.compile(module.(*App))
}

func (m *MatchVisitor) compile(files addressFiles) (err error) {
	m.now, m.needIssuer = time.Now, needsIssuer(m.Conditions)
	m.conditions, err = compileConditions(m.Conditions, files)
	return err
}

// noFiles opens none: in an expression a value may come from the request.
type noFiles struct{}

func (noFiles) addressFile(name string) (*addressFile, error) {
	return nil, fmt.Errorf("ip: found file %s in an expression; expected addresses, or the matcher on a line of its own", name)
}

// Match implements caddyhttp.RequestMatcher. An error is no match.
func (m *MatchVisitor) Match(r *http.Request) bool {
	matched, err := m.MatchWithError(r)
	return err == nil && matched
}

// MatchWithError implements caddyhttp.RequestMatcherWithError.
func (m *MatchVisitor) MatchWithError(r *http.Request) (bool, error) {
	if m.conditions == nil {
		return false, errors.New("the gatehouse matcher is not provisioned")
	}
	id, ran := visitorFrom(r)
	if !ran {
		return false, caddyhttp.Error(http.StatusInternalServerError,
			errors.New("the gatehouse matcher was asked before any gatehouse directive ran on the request; put the directive that uses it after gatehouse"))
	}
	if m.needIssuer && id != nil && len(id.by.issuers) > 1 {
		return false, caddyhttp.Error(http.StatusInternalServerError, fmt.Errorf("the gatehouse matcher: %w", errNeedsIssuer))
	}
	who := &visitor{identity: id, address: clientAddress(r), now: m.now}
	if !who.address.IsValid() && usesAddress(m.conditions) {
		return false, caddyhttp.Error(http.StatusInternalServerError, errors.New("the gatehouse matcher: ip: the client has no address"))
	}
	return allHold(m.conditions, who), nil
}

// CELLibrary produces options that expose this matcher for use in CEL
// expression matchers.
//
// Example:
//
//	expression gatehouse('role', 'admin', 'reseller')
func (MatchVisitor) CELLibrary(caddy.Context) (cel.Library, error) {
	return caddyhttp.CELMatcherImpl(
		"gatehouse",
		"gatehouse_request_list",
		[]*cel.Type{cel.ListType(cel.StringType)},
		func(data ref.Val) (caddyhttp.RequestMatcherWithError, error) {
			list, err := data.ConvertToNative(reflect.TypeFor[[]string]())
			if err != nil {
				return nil, err
			}
			line := list.([]string)
			if len(line) == 0 {
				return nil, fmt.Errorf("%s: found nothing; expected a kind and its values, such as gatehouse('role', 'admin')", matcherOption)
			}
			// Caddy has filled in placeholders by now: what is left came with the
			// request, and would be looked up in the environment or in files.
			if slices.ContainsFunc(line, func(v string) bool { return strings.ContainsAny(v, "{}") }) {
				return nil, fmt.Errorf("%s: found a brace in a value; expected plain text", matcherOption)
			}
			c, err := newCondition(matcherOption, conditionKinds, line)
			if err != nil {
				return nil, err
			}
			m := &MatchVisitor{Conditions: []*Condition{c}}
			if err := m.check(); err != nil {
				return nil, err
			}
			return m, m.compile(noFiles{})
		},
	)
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*MatchVisitor)(nil)
	_ caddyfile.Unmarshaler             = (*MatchVisitor)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchVisitor)(nil)
	_ caddyhttp.CELLibraryProducer      = (*MatchVisitor)(nil)
)
