package gatehouse

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func (g *Gatehouse) parseIssuer(d *caddyfile.Dispenser) error {
	is := &Issuer{Source: source(d)}
	names := d.RemainingArgs()
	if len(names) != 1 || names[0] == "" {
		return d.Errf("issuer: found %s; expected `issuer <iss> { ... }` or `issuer internal { ... }`", count(names))
	}
	if names[0] == "internal" {
		is.Internal = true
	} else {
		is.Issuer = names[0]
	}
	g.Issuers = append(g.Issuers, is)
	return block(d, "issuer", words{
		"keys":       {texts(&is.Keys, "<url|file>..."), once},
		"secret":     {is.parseSecret, once},
		"audience":   {textsOrAny(&is.Audiences, &is.AnyAudience, "<aud>... | any"), once},
		"algorithms": {texts(&is.Algorithms, "<alg>..."), once},
		"types":      {texts(&is.Types, "<typ>..."), once},
		"subject":    {text(&is.Subject, "<claim>"), once},
		"roles":      {texts(&is.Roles, "<claim>..."), once},
		"scopes":     {texts(&is.Scopes, "<claim>..."), once},
		"grants":     {textsOrAny(&is.Grants, &is.AnyGrants, "<role>... | any"), once},
		"leeway":     {duration(func(v caddy.Duration) { is.Leeway = &v }), once},
		"max_age":    {duration(func(v caddy.Duration) { is.MaxAge = v }), once},
		"max_stale":  {duration(func(v caddy.Duration) { is.MaxStale = v }), once},
	})
}

func (is *Issuer) parseSecret(d *caddyfile.Dispenser) error {
	found, err := values(d, 1, 2, "<value> [utf8|base64|hex], or secret file <path>")
	if err != nil {
		return err
	}
	switch {
	case found[0] == "file" && len(found) == 2:
		is.Secret = &Secret{File: found[1]}
	case len(found) == 2:
		is.Secret = &Secret{Value: found[0], Encoding: found[1]}
	default:
		is.Secret = &Secret{Value: found[0]}
	}
	return wrap(d, is.Secret.check())
}

func (g *Gatehouse) parseToken(d *caddyfile.Dispenser) error {
	const usage = "header <name> [<scheme>] | cookie <name> | query <name> | websocket"
	found, err := values(d, 1, 3, usage)
	if err != nil {
		return err
	}
	s := &TokenSource{From: found[0]}
	if len(found) > 1 {
		s.Name = found[1]
	}
	if len(found) > 2 {
		if s.From != fromHeader {
			return d.Errf("token: found %q after the name; expected `token %s`", found[2], usage)
		}
		s.Scheme = found[2]
	}
	g.Tokens = append(g.Tokens, s)
	return wrap(d, g.checkTokens())
}
