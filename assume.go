package gatehouse

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

const (
	// assumedUser is who a visitor is that has no name of its own.
	assumedUser = "somebody"

	// assumedToken stands in for the token of an assumed visitor. It is none.
	assumedToken = "assumed"
)

// assumedAddress is where an assumed visitor comes from unless told otherwise:
// the discard prefix (RFC 6666), which is in nobody's network.
func assumedAddress() netip.Addr { return netip.MustParseAddr("100::1") }

// AssumedVisitor is who an expectation imagines to ask. With nothing but `ip`
// set, nobody is recognised.
type AssumedVisitor struct {
	// Roles in the visitor's token. Those that the issuer may not grant are
	// ignored, as in every token.
	Role []string `json:"role,omitempty"`

	// Scopes in the visitor's token.
	Scope []string `json:"scope,omitempty"`

	// The subject. Default: `somebody`, for a recognised visitor.
	User string `json:"user,omitempty"`

	// The issuer, one that the gate has. Default: the only one.
	Issuer string `json:"issuer,omitempty"`

	// Further claims of the token, by name, as the rules write them.
	Claim map[string]string `json:"claim,omitempty"`

	// How the visitor signed in: the `acr` claim.
	ACR string `json:"acr,omitempty"`

	// How long ago the visitor signed in. Default: 0s, just now.
	SignedIn *caddy.Duration `json:"signed_in,omitempty"`

	// The address that the visitor comes from. Default: `100::1`, which is in
	// nobody's network (RFC 6666).
	IP string `json:"ip,omitempty"`
}

// recognised reports that the visitor comes with a token.
func (a *AssumedVisitor) recognised() bool {
	return a.Role != nil || a.Scope != nil || a.User != "" || a.Issuer != "" || len(a.Claim) > 0 || a.ACR != "" || a.SignedIn != nil
}

func (a *AssumedVisitor) check() error {
	if slices.Contains(a.Role, "") || slices.Contains(a.Scope, "") {
		return errors.New("found an empty role or scope")
	}
	if a.SignedIn != nil && *a.SignedIn < 0 {
		return fmt.Errorf("signed_in is %s; expected how long ago, such as 1h", time.Duration(*a.SignedIn))
	}
	for name := range a.Claim {
		if _, err := token.ParseClaimPath(name); err != nil {
			return fmt.Errorf("claim %q: %w", name, err)
		}
	}
	_, err := a.address()
	return err
}

func (a *AssumedVisitor) address() (netip.Addr, error) {
	if a.IP == "" {
		return assumedAddress(), nil
	}
	addr, err := netip.ParseAddr(a.IP)
	if err != nil || addr.Zone() != "" {
		return addr, fmt.Errorf("ip is %q; expected one address, such as 192.0.2.1", a.IP)
	}
	return addr, nil
}

// resolved fills in {env.*} and {file.*}, as in the rules.
func (a *AssumedVisitor) resolved() (AssumedVisitor, error) {
	out := *a
	out.Claim = maps.Clone(a.Claim)
	var errs []error
	text := func(option, value string) string {
		value, err := resolve(option, value)
		errs = append(errs, err)
		return value
	}
	all := func(option string, values []string) []string {
		values, err := resolveAll(option, values)
		errs = append(errs, err)
		return values
	}
	out.Role, out.Scope = all("role", a.Role), all("scope", a.Scope)
	out.User, out.Issuer, out.ACR = text("user", a.User), text("issuer", a.Issuer), text("acr", a.ACR)
	for name, value := range out.Claim {
		out.Claim[name] = text("claim", value)
	}
	return out, errors.Join(errs...)
}

// assume makes the identity that a token of the visitor would give; nil for an
// anonymous one.
func (a *authenticator) assume(who *AssumedVisitor) (*identity, error) {
	if !who.recognised() {
		return nil, nil
	}
	issuer, err := a.assumedIssuer(who.Issuer)
	if err != nil {
		return nil, err
	}
	now := a.now()
	as := token.Assumption{Issuer: issuer.name, Subject: who.User, SignedIn: now, Now: now, Claims: make(map[string][]string)}
	if as.Subject == "" {
		as.Subject = assumedUser
	}
	if who.SignedIn != nil {
		as.SignedIn = now.Add(-time.Duration(*who.SignedIn))
	}
	if who.ACR != "" {
		as.Claims["acr"] = []string{who.ACR}
	}
	// Where the issuer puts them, so that the code that serves reads them.
	as.Claims[issuer.subject] = []string{as.Subject}
	if len(issuer.roles) > 0 && len(who.Role) > 0 {
		as.Claims[issuer.roles[0].String()] = who.Role
	}
	if len(issuer.scopes) > 0 && len(who.Scope) > 0 {
		as.Claims[issuer.scopes[0].String()] = who.Scope
	}
	for name, value := range who.Claim {
		as.Claims[name] = []string{value}
	}
	claims, err := token.AssumedClaims(as)
	if err != nil {
		return nil, err
	}
	id := issuer.identity(claims)
	id.by = a
	return id, nil
}

func (a *authenticator) assumedIssuer(name string) (*trustedIssuer, error) {
	names := slices.Sorted(maps.Keys(a.issuers))
	switch {
	case len(names) == 0:
		return nil, errors.New("found a recognised visitor; the gate has no issuer to recognise anybody by")
	case name == "" && len(names) > 1:
		return nil, fmt.Errorf("found no issuer; the gate has several, expected one of %s", strings.Join(names, ", "))
	case name == "":
		name = names[0]
	}
	issuer, known := a.issuers[name]
	if !known {
		return nil, fmt.Errorf("found issuer %q; expected one of %s", name, strings.Join(names, ", "))
	}
	return issuer, nil
}

// addClaim takes name=value.
func (a *AssumedVisitor) addClaim(pair string) error {
	name, value, found := strings.Cut(pair, "=")
	if !found || name == "" || value == "" {
		return fmt.Errorf("claim: found %q; expected <claim>=<value>", pair)
	}
	if _, twice := a.Claim[name]; twice {
		return fmt.Errorf("claim: %s is there twice", name)
	}
	if a.Claim == nil {
		a.Claim = make(map[string]string)
	}
	a.Claim[name] = value
	return nil
}
