package gatehouse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

var errNobody = errors.New("gatehouse: found no issuer and nothing public, so nobody could ever come in; expected `issuer <iss> { ... }` or `issuer internal { ... }`")

// check finds what is wrong with a configuration without looking at files,
// environment or network, so that `caddy adapt` reports it too.
func (g *Gatehouse) check() error {
	if len(g.Issuers) == 0 && len(g.Public) == 0 {
		return errNobody
	}
	if g.TokenLimit < 0 || g.TokenLimit > maxTokenLimit {
		return fmt.Errorf("token_limit: found %d; expected a number of bytes up to %d", g.TokenLimit, maxTokenLimit)
	}
	if n := g.remembered(); n < 0 || n > maxRemembered {
		return fmt.Errorf("cache: found %d; expected a number of tokens up to %d, or off", n, maxRemembered)
	}
	for _, check := range []func() error{
		g.checkIssuers, g.checkTokens, g.Lockout.check, g.Throttle.check, g.checkRoleOrders, g.checkRules, g.AmbiguousPaths.check, g.checkIdentityHeaders,
		g.checkBrands, g.Pages.check, g.Challenge.check, g.checkOnRefusal, g.checkRedirect, g.checkProfile, g.checkPrivacy, g.checkStreams, g.CORS.check,
		g.checkExpectations,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (g *Gatehouse) checkIssuers() error {
	seen := make(map[string]string)
	for _, is := range g.Issuers {
		if is == nil {
			return errors.New("issuers: found null")
		}
		if err := is.check(len(g.Issuers) > 1); err != nil {
			return err
		}
		if first, twice := seen[is.name()]; twice {
			return at(is.Source, fmt.Errorf("issuer %s: configured twice, first at %s", is.name(), first))
		}
		seen[is.name()] = is.Source
	}
	return nil
}

func (g *Gatehouse) checkTokens() error {
	for i, s := range g.Tokens {
		if s == nil {
			return errors.New("tokens: found null")
		}
		if err := s.check(); err != nil {
			return err
		}
		if slices.ContainsFunc(g.Tokens[:i], func(t *TokenSource) bool {
			return t.From == s.From && (t.Name == s.Name || s.From != fromQuery && strings.EqualFold(t.Name, s.Name))
		}) {
			return fmt.Errorf("token %s %s: configured twice", s.From, s.Name)
		}
	}
	return nil
}

func (g *Gatehouse) checkRules() error {
	for _, list := range []struct {
		option string
		rules  []*PathRule
	}{{"deny", g.Deny}, {"hide", g.Hide}, {"public", g.Public}} {
		for _, rule := range list.rules {
			if rule == nil {
				return fmt.Errorf("%s: found null", list.option)
			}
			if err := rule.check(list.option); err != nil {
				return err
			}
		}
	}
	issuers := make([]string, 0, len(g.Issuers))
	for _, is := range g.Issuers {
		issuers = append(issuers, is.name())
	}
	named := make(map[string]string)
	for _, q := range g.Require {
		if q == nil {
			return errors.New("require: found null")
		}
		if err := q.check(issuers); err != nil {
			return err
		}
		if first, twice := named[q.Name]; twice && q.Name != "" {
			return at(q.Source, fmt.Errorf("require: found name %s, which is that of %s; expected one of its own, by which logs and metrics tell rules apart", q.Name, first))
		}
		named[q.Name] = q.Source
	}
	return nil
}

func (g *Gatehouse) checkIdentityHeaders() error {
	for i, h := range g.IdentityHeaders {
		if h == nil {
			return errors.New("identity_headers: found null")
		}
		if err := h.check(); err != nil {
			return err
		}
		if slices.ContainsFunc(g.IdentityHeaders[:i], func(o *IdentityHeader) bool { return sameHeader(o.Name, h.Name) }) {
			return fmt.Errorf("identity_headers: %s is there twice, as far as an upstream can tell", h.Name)
		}
		if slices.ContainsFunc(newTokenSources(g.Tokens), func(s TokenSource) bool {
			return s.From == fromHeader && sameHeader(s.Name, h.Name)
		}) {
			return fmt.Errorf("identity_headers: %s carries the token, and would be deleted before it is read", h.Name)
		}
	}
	return nil
}
