package gatehouse

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func (g *Gatehouse) parseBrand(d *caddyfile.Dispenser) error {
	b := &Brand{Source: source(d), Hosts: d.RemainingArgs()}
	g.Brands = append(g.Brands, b)
	return block(d, "brand", words{
		"name":           {text(&b.Name, "<text>"), once},
		"logo":           {text(&b.Logo, "<file>"), once},
		"color":          {b.parseColor, once},
		"login":          {text(&b.Login, "<url>"), once},
		"logout":         {text(&b.Logout, "<url>"), once},
		"home":           {text(&b.Home, "<url>"), once},
		"support":        {text(&b.Support, "<url|mailto:>"), once},
		"request_access": {text(&b.RequestAccess, "<url|mailto:>"), once},
		"link":           {b.parseLink, many},
	})
}

// parseColor says why there is nothing: an unquoted # begins a comment.
func (b *Brand) parseColor(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() == 0 {
		return d.Errf("color: found nothing; expected `color 0b57d0`. A # begins a comment in a Caddyfile: leave it out, or quote it as \"#0b57d0\"")
	}
	return text(&b.Color, "<rrggbb>")(d)
}

func (b *Brand) parseLink(d *caddyfile.Dispenser) error {
	found, err := values(d, 2, 2, "<label> <url>")
	if err != nil {
		return err
	}
	b.Links = append(b.Links, &Link{Label: found[0], URL: found[1]})
	return nil
}

func (g *Gatehouse) parsePages(d *caddyfile.Dispenser) error {
	g.Pages = new(Pages)
	if d.NextArg() {
		return d.Errf("pages: found %q; expected a block", d.Val())
	}
	return block(d, "pages", words{
		"language": {checked(text(&g.Pages.Language, "<tag>"), g.Pages.check), once},
		"detail":   {checked(text(&g.Pages.Detail, "quiet|role|full"), g.Pages.check), once},
	})
}

func (g *Gatehouse) parseChallenge(d *caddyfile.Dispenser) error {
	g.Challenge = new(Challenge)
	if d.NextArg() {
		return d.Errf("challenge: found %q; expected a block", d.Val())
	}
	return block(d, "challenge", words{
		"realm": {checked(text(&g.Challenge.Realm, "<text>"), g.Challenge.check), once},
	})
}
