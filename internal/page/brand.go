package page

import (
	"crypto/sha256"
	"fmt"
	"html/template"
	"strings"
)

// Brand is who refuses: name, look and the ways out that a visitor is offered.
type Brand struct {
	Hosts []string     // exact, or "*.example.com" for any depth; empty for the default brand
	Name  string       // shown where there is no logo, and as the logo's text
	Logo  template.URL // a data: URI from LoadLogo, or ""
	Color string       // "#rrggbb", or "" for the built-in one

	// URLs; in braces what URLPlaceholders lists.
	Login, Logout, Home, Support, RequestAccess string

	Links []Link // below the card
}

// Link is one link in the footer.
type Link struct{ Label, URL string }

// brand is a Brand, checked and taken apart.
type brand struct {
	name        string
	logo        template.URL
	color       string
	light, dark shades
	login       [4]urlTemplate // by loginVariant
	logout, home, support,
	access urlTemplate
	links []compiledLink

	ancestors string // of the policy: who may frame the pages
	kept      interned
}

type compiledLink struct {
	label string
	url   urlTemplate
}

// brands finds the brand for a host: exact, then the longest wildcard, then the
// default.
type brands struct {
	fallback *brand
	exact    map[string]*brand
	wildcard map[string]*brand // by the part after "*."
}

func (l *Library) newBrands(o Options) (*brands, []string, error) {
	b := &brands{exact: map[string]*brand{}, wildcard: map[string]*brand{}}
	var warnings []string
	for _, in := range o.Brands {
		c, err := compileBrand(in)
		if err != nil {
			return nil, nil, fmt.Errorf("brand %s: %w", describe(in), err)
		}
		c.seal(o.Realm, o.FrameAncestors)
		c, isNew := l.share(c)
		if w := colorWarning(in); w != "" && isNew { // once, however many sites have it
			warnings = append(warnings, w)
		}
		if err := b.index(in, c); err != nil {
			return nil, nil, err
		}
	}
	if b.fallback == nil {
		c, err := compileBrand(Brand{})
		if err != nil {
			return nil, nil, err
		}
		c.seal(o.Realm, o.FrameAncestors)
		b.fallback, _ = l.share(c)
	}
	return b, warnings, nil
}

// seal adds what comes from the gate and not from the brand.
func (b *brand) seal(realm string, ancestors []string) {
	if b.name == "" {
		b.name = clean(realm)
	}
	b.ancestors = "'none'"
	if len(ancestors) > 0 {
		b.ancestors = strings.Join(ancestors, " ")
	}
}

// identity is the same for brands whose pages are.
func (b *brand) identity() string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %q %q %q %q %q",
		b.name, b.logo, b.color, b.login, b.logout, b.home, b.support, b.access, b.links, b.ancestors)))
}

func (b *brands) index(in Brand, c *brand) error {
	if len(in.Hosts) == 0 {
		if b.fallback != nil {
			return fmt.Errorf("brand %s: there is a brand without hosts already; only one can be the default", describe(in))
		}
		b.fallback = c
	}
	for _, h := range in.Hosts {
		host := strings.ToLower(strings.TrimSuffix(h, "."))
		table, name := b.exact, host
		if rest, ok := strings.CutPrefix(host, "*."); ok {
			table, name = b.wildcard, rest
		}
		if !isHostName(name) {
			return fmt.Errorf("brand %s: host %q: expected a name such as panel.example.com or *.example.com, without port and in its ASCII form (xn--…)", describe(in), h)
		}
		if _, taken := table[name]; taken {
			return fmt.Errorf("brand %s: host %q belongs to another brand already", describe(in), h)
		}
		table[name] = c
	}
	return nil
}

func describe(b Brand) string {
	switch {
	case b.Name != "":
		return fmt.Sprintf("%q", b.Name)
	case len(b.Hosts) > 0:
		return strings.Join(b.Hosts, " ")
	default:
		return "(default)"
	}
}

// isHostName takes what can stand in a Host header once the port is gone; IPv6
// addresses are written without brackets.
func isHostName(s string) bool {
	return s != "" && len(s) <= 253 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.:") == "" &&
		!strings.HasPrefix(s, ".") && (strings.Count(s, ":") != 1)
}

func compileBrand(in Brand) (*brand, error) {
	if strings.IndexFunc(in.Name, isHidden) >= 0 {
		return nil, fmt.Errorf("the name holds a control or direction character")
	}
	if in.Logo != "" && !strings.HasPrefix(string(in.Logo), "data:image/") {
		return nil, fmt.Errorf("logo: expected a data: URI; a page loads nothing from outside")
	}
	b := &brand{name: in.Name, logo: in.Logo}
	color := in.Color
	if color == "" {
		color = defaultColor
	}
	color, err := ParseColor(color)
	if err != nil {
		return nil, err
	}
	b.color = color
	b.light, b.dark = palette(color)
	if err := b.compileLogin(in.Login); err != nil {
		return nil, err
	}
	for _, u := range []struct {
		option, raw string
		dst         *urlTemplate
	}{
		{"logout", in.Logout, &b.logout}, {"home", in.Home, &b.home},
		{"support", in.Support, &b.support}, {"request_access", in.RequestAccess, &b.access},
	} {
		if u.raw == "" {
			continue
		}
		if *u.dst, err = compileURL(u.option, u.raw); err != nil {
			return nil, err
		}
	}
	for _, l := range in.Links {
		if strings.TrimSpace(l.Label) == "" {
			return nil, fmt.Errorf("link %q has no label", l.URL)
		}
		if strings.IndexFunc(l.Label, isHidden) >= 0 {
			return nil, fmt.Errorf("the label of link %q holds a control or direction character", l.URL)
		}
		t, err := compileURL("link", l.URL)
		if err != nil {
			return nil, err
		}
		b.links = append(b.links, compiledLink{l.Label, t})
	}
	return b, nil
}

// loginVariant tells the four forms of the login URL apart: with and without
// what only a step-up asks for.
func loginVariant(maxAge, acr bool) int {
	n := 0
	if maxAge {
		n |= 1
	}
	if acr {
		n |= 2
	}
	return n
}

func (b *brand) compileLogin(raw string) error {
	if raw == "" {
		return nil
	}
	if _, err := compileURL("login", raw); err != nil {
		return err
	}
	for _, form := range []struct {
		maxAge, acr bool
		raw         string
	}{
		{false, false, without(raw, "max_age", "acr_values")}, {true, false, without(raw, "acr_values")},
		{false, true, without(raw, "max_age")}, {true, true, raw},
	} {
		t, err := parseURLTemplate(form.raw)
		if err != nil {
			return err
		}
		b.login[loginVariant(form.maxAge, form.acr)] = t
	}
	return nil
}

func compileURL(option, raw string) (urlTemplate, error) {
	if err := CheckURL(option, raw, URLPlaceholders(option)...); err != nil {
		return urlTemplate{}, err
	}
	return parseURLTemplate(raw)
}

// colorWarning tells what had to be added to a colour that is hard to see on a
// light or dark page.
func colorWarning(in Brand) string {
	if in.Color == "" {
		return ""
	}
	color, err := ParseColor(in.Color)
	if err != nil {
		return ""
	}
	light, dark := palette(color)
	var found []string
	if light.Edge != color {
		found = append(found, fmt.Sprintf("on light pages the button keeps it and gets the outline %s", light.Edge))
	}
	if dark.Fill != color {
		found = append(found, fmt.Sprintf("on dark pages %s is used", dark.Fill))
	}
	if len(found) == 0 {
		return ""
	}
	return fmt.Sprintf("brand %s: color %s stands out too little (WCAG 2.2, 1.4.11); %s", describe(in), color, strings.Join(found, "; "))
}

// find never gives the host itself away: what is shown comes from a brand.
func (b *brands) find(host string) *brand {
	if len(b.exact) == 0 && len(b.wildcard) == 0 {
		return b.fallback
	}
	host = normalHost(host)
	if host == "" {
		return b.fallback
	}
	if c, ok := b.exact[host]; ok {
		return c
	}
	for {
		_, rest, more := strings.Cut(host, ".")
		if !more {
			return b.fallback
		}
		if c, ok := b.wildcard[rest]; ok {
			return c
		}
		host = rest
	}
}

// normalHost takes port, brackets and the trailing dot away.
func normalHost(host string) string {
	if len(host) > 270 {
		return ""
	}
	if rest, ok := strings.CutPrefix(host, "["); ok {
		host, _, _ = strings.Cut(rest, "]")
	} else if strings.Count(host, ":") == 1 {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
