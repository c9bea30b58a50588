package gatehouse

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

const expectUsage = "expect <status|code> <METHOD> <path> [role=<role>,...] [scope=<scope>,...] [user=<subject>] [issuer=<iss>] " +
	"[claim=<claim>=<value>]... [acr=<value>] [signed_in=<duration>] [ip=<address>]"

func (g *Gatehouse) parseExpect(d *caddyfile.Dispenser) error {
	e := &Expectation{Source: source(d)}
	found := d.RemainingArgs()
	if len(found) < 3 {
		return d.Errf("expect: found %s; expected `%s`", count(found), expectUsage)
	}
	if status, err := strconv.Atoi(found[0]); err == nil {
		e.Status = status
	} else {
		e.Code = found[0]
	}
	e.Method, e.Path = found[1], found[2]
	seen := make(map[string]bool)
	for _, word := range found[3:] {
		key, value, paired := strings.Cut(word, "=")
		if !paired || value == "" {
			return d.Errf("expect: found %q; expected `%s`", word, expectUsage)
		}
		if seen[key] && key != "claim" {
			return d.Errf("expect: %s= is there twice", key)
		}
		seen[key] = true
		if err := e.set(d, key, value); err != nil {
			return err
		}
	}
	g.Expectations = append(g.Expectations, e)
	if err := noBlock(d, "expect"); err != nil {
		return err
	}
	return at(e.Source, e.check())
}

// set takes one word that describes the visitor.
func (a *AssumedVisitor) set(d *caddyfile.Dispenser, key, value string) error {
	switch key {
	case "role":
		a.Role = strings.Split(value, ",")
	case "scope":
		a.Scope = strings.Split(value, ",")
	case "user":
		a.User = value
	case "issuer":
		a.Issuer = value
	case "acr":
		a.ACR = value
	case "ip":
		a.IP = value
	case "claim":
		if err := a.addClaim(value); err != nil {
			return d.Errf("expect: %v", err)
		}
	case "signed_in":
		ago, err := caddy.ParseDuration(value)
		if err != nil {
			return d.Errf("expect: found signed_in=%s; expected how long ago, such as signed_in=1h", value)
		}
		since := caddy.Duration(ago)
		a.SignedIn = &since
	default:
		return d.Errf("expect: found %q; expected `%s`", key+"="+value, expectUsage)
	}
	return nil
}
