package gatehouse

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddy-gatehouse/gatehouse/internal/page"
)

// Brand is whose pages these are. The brand whose host names match a request
// best is shown: exact before the longest wildcard before the one without hosts.
type Brand struct {
	// Where this brand was configured, as file:line. Set by the Caddyfile.
	Source string `json:"source,omitempty"`

	// Host names, exact or `*.example.com`. Default: every other host.
	Hosts []string `json:"hosts,omitempty"`

	// What the service is called.
	Name string `json:"name,omitempty"`

	// A png, svg or webp file of at most 24 KiB. It is read at load and put
	// into the page, so that a refusal causes no second request.
	Logo string `json:"logo,omitempty"`

	// The colour of the main button, as `rrggbb`. It is darkened or lightened
	// as far as contrast needs (WCAG 2.2, level AA).
	Color string `json:"color,omitempty"`

	// Where to sign in. `{return_to}` is the escaped path to come back to,
	// `{lang}` the page's language; `{max_age}` and `{acr_values}` are for
	// signing in anew.
	Login string `json:"login,omitempty"`

	// Where to sign out, to take another account. Takes `{return_to}`.
	Logout string `json:"logout,omitempty"`

	// The page to go to instead.
	Home string `json:"home,omitempty"`

	// Whom to ask: a URL or `mailto:`. `{request_id}` is filled in.
	Support string `json:"support,omitempty"`

	// Where to ask for access: a URL or `mailto:`. `{request_id}` is filled in.
	RequestAccess string `json:"request_access,omitempty"`

	// Links at the foot of the page.
	Links []*Link `json:"links,omitempty"`
}

// Link is one link at the foot of a page.
type Link struct {
	// What it says.
	Label string `json:"label"`
	// Where it leads: a URL or `mailto:`.
	URL string `json:"url"`
}

func (g *Gatehouse) checkBrands() error {
	for i, b := range g.Brands {
		if b == nil || slices.Contains(b.Links, nil) {
			return errors.New("brands: found null")
		}
		if err := b.check(); err != nil {
			return at(b.Source, err)
		}
		for _, other := range g.Brands[:i] {
			if len(b.Hosts) == 0 && len(other.Hosts) == 0 {
				return at(b.Source, errors.New("brand: found a second one without hosts; expected `brand <host>...` for all but one"))
			}
			for _, host := range b.Hosts {
				if slices.ContainsFunc(other.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
					return at(b.Source, fmt.Errorf("brand: host %s has a brand already, at %s", host, other.Source))
				}
			}
		}
	}
	return nil
}

func (b *Brand) check() error {
	for _, host := range b.Hosts {
		name := strings.TrimPrefix(host, "*.")
		if name == "" || strings.ContainsAny(name, "*:/{} ") {
			return fmt.Errorf("brand: found host %q; expected a name such as panel.example.com or *.example.com, without port", host)
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r > '~' }) {
			return fmt.Errorf("brand: found host %q; expected it as clients send it, in ASCII (xn--…)", host)
		}
	}
	if b.Color != "" {
		if _, err := page.ParseColor(b.Color); err != nil {
			return fmt.Errorf("brand: %w", err)
		}
	}
	for _, l := range b.urls() {
		// What the environment fills in is checked once it is known.
		if strings.Contains(l.value, "{env.") || strings.Contains(l.value, "{file.") {
			continue
		}
		if err := l.check(); err != nil {
			return fmt.Errorf("brand: %w", err)
		}
	}
	return nil
}

// brandURL is one option of a brand that holds a URL.
type brandURL struct{ option, value string }

func (b *Brand) urls() []brandURL {
	urls := make([]brandURL, 0, 5+len(b.Links))
	for _, u := range []brandURL{
		{"login", b.Login}, {"logout", b.Logout}, {"home", b.Home}, {"support", b.Support}, {"request_access", b.RequestAccess},
	} {
		if u.value != "" {
			urls = append(urls, u)
		}
	}
	for _, l := range b.Links {
		urls = append(urls, brandURL{"link", l.URL})
	}
	return urls
}

func (u brandURL) check() error {
	return page.CheckURL(u.option, u.value, page.URLPlaceholders(u.option)...)
}

// resolve fills in the environment and checks what came out.
func (u brandURL) resolve() (string, error) {
	text, err := resolve(u.option, u.value, page.URLPlaceholders(u.option)...)
	if err != nil || text == "" {
		return "", err
	}
	return text, brandURL{u.option, text}.check()
}

func (b *Brand) compile() (page.Brand, error) {
	out := page.Brand{Hosts: b.Hosts}
	var err error
	if out.Name, err = resolve("name", b.Name); err != nil {
		return out, err
	}
	if b.Color != "" {
		if out.Color, err = page.ParseColor(b.Color); err != nil {
			return out, err
		}
	}
	if b.Logo != "" {
		name, err := resolve("logo", b.Logo)
		if err != nil {
			return out, err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return out, fmt.Errorf("logo: %w", err)
		}
		if out.Logo, err = page.LoadLogo(filepath.Base(name), data); err != nil {
			return out, err
		}
	}
	for _, u := range []struct {
		into *string
		brandURL
	}{
		{&out.Login, brandURL{"login", b.Login}},
		{&out.Logout, brandURL{"logout", b.Logout}},
		{&out.Home, brandURL{"home", b.Home}},
		{&out.Support, brandURL{"support", b.Support}},
		{&out.RequestAccess, brandURL{"request_access", b.RequestAccess}},
	} {
		if *u.into, err = u.resolve(); err != nil {
			return out, err
		}
	}
	for _, l := range b.Links {
		link := page.Link{}
		if link.Label, err = resolve("link", l.Label); err != nil {
			return out, err
		}
		if link.URL, err = (brandURL{"link", l.URL}).resolve(); err != nil {
			return out, err
		}
		out.Links = append(out.Links, link)
	}
	return out, nil
}
