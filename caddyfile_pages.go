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
	g.Pages = &Pages{Source: source(d)}
	if d.NextArg() {
		return d.Errf("pages: found %q; expected a block", d.Val())
	}
	p := g.Pages
	return block(d, "pages", words{
		"templates":       {text(&p.Templates, "<dir>"), once},
		"locales":         {text(&p.Locales, "<dir>"), once},
		"language":        {checked(text(&p.Language, "<tag>"), p.checkValues), once},
		"format":          {g.parseFormat, many},
		"detail":          {checked(text(&p.Detail, "quiet|role|full"), p.checkValues), once},
		"problem_base":    {checked(text(&p.ProblemBase, "<url>"), p.checkValues), once},
		"frame_ancestors": {checked(texts(&p.FrameAncestors, "<source>..."), p.checkValues), once},
	})
}

func (g *Gatehouse) parseFormat(d *caddyfile.Dispenser) error {
	f := &PageFormat{Source: source(d)}
	rest := g.parseSelector(d, &f.Selector)
	if len(rest) != 1 {
		return d.Errf("pages: format: found %s after the matcher; expected `format [<path|@matcher>...] %s`", count(rest), formatNames)
	}
	f.Format = rest[0]
	if _, ok := formatOf(f.Format); !ok {
		return d.Errf("pages: format: found %q; expected `format [<path|@matcher>...] %s`", f.Format, formatNames)
	}
	g.Pages.Formats = append(g.Pages.Formats, f)
	return noBlock(d, "format")
}

func (g *Gatehouse) parseChallenge(d *caddyfile.Dispenser) error {
	g.Challenge = new(Challenge)
	if d.NextArg() {
		return d.Errf("challenge: found %q; expected a block", d.Val())
	}
	return block(d, "challenge", words{
		"realm":             {checked(text(&g.Challenge.Realm, "<text>"), g.Challenge.check), once},
		"forbidden":         {checked(text(&g.Challenge.Forbidden, "off|scope"), g.Challenge.check), once},
		"resource_metadata": {checked(text(&g.Challenge.ResourceMetadata, "<url>"), g.Challenge.check), once},
	})
}
