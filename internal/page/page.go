// Package page tells people and programs that they were refused: it chooses the
// body, the language and the brand, and renders it.
//
// It knows nothing of Caddy and writes no response. What it needs is in a
// folder of html/template files and flat JSON catalogues, so that pages, codes
// and languages are added there and not here:
//
//	base.html       the document; it includes the block "content"
//	<code>.html     "content" for one code, such as token_expired.html
//	<status>.html   "content" for a status, such as 403.html
//	error.html      "content" for everything else
//	locales/*.json  one catalogue for each language; en.json names the keys
package page

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
)

// Refusal is what is refused, whatever the language.
type Refusal struct {
	Status int    // 400 to 599; anything else is told as 500
	Code   string // the stable code, such as token_expired

	Error, ErrorDescription string // OAuth 2.0 words (RFC 6750 section 3.1), "" for none

	RequestID  string
	Time       time.Time
	RetryAfter time.Duration

	Message  string            // the operator's sentence in place of the catalogue's
	Params   map[string]string // for the catalogue's named sentence: roles, scopes, claim, address
	ReturnTo string            // from the function ReturnTo; "" is told to the login page as "/"
	Method   string            // an unsafe one gets the note that nothing was saved
}

// Options are what Pages are made from.
type Options struct {
	Templates   fs.FS
	Language    string // of visitors whose languages have no catalogue; default en
	Brands      []Brand
	Realm       string // shown as the name where a brand has none
	ProblemBase string // `type` of a problem is <base>/<code>; default about:blank
}

// Pages render refusals. They do not change once made and are safe for
// concurrent use.
type Pages struct {
	languages   languages
	locales     map[string]*locale
	brands      *brands
	templates   *templates
	problemBase string
	warnings    []string
	csp         map[string]string // by the text of the one style element
}

// New reads templates and catalogues, compiles the brands, and renders samples
// of everything, so that what is wrong is found at load. Errors name the file
// and the line.
func New(o Options) (*Pages, error) {
	if o.Templates == nil {
		return nil, errors.New("no templates were given")
	}
	p := &Pages{csp: map[string]string{}}
	var err error
	if p.locales, err = loadLocales(o.Templates); err != nil {
		return nil, err
	}
	fallback := o.Language
	if fallback == "" {
		fallback = source
	}
	tags := slices.Sorted(maps.Keys(p.locales))
	if _, ok := p.locales[fallback]; !ok {
		return nil, fmt.Errorf("language %q: there is no locales/%s.json; known: %s", fallback, fallback, strings.Join(tags, ", "))
	}
	p.languages = newLanguages(fallback, tags)
	if p.brands, p.warnings, err = newBrands(o.Brands); err != nil {
		return nil, err
	}
	for _, b := range p.brands.list {
		if b.name == "" {
			b.name = clean(o.Realm)
		}
	}
	if o.ProblemBase != "" {
		if err := CheckURL("problem_base", o.ProblemBase); err != nil {
			return nil, err
		}
		p.problemBase = strings.TrimRight(o.ProblemBase, "/") + "/"
	}
	if p.templates, err = loadTemplates(o.Templates); err != nil {
		return nil, err
	}
	return p, p.rehearse()
}

// Warnings are what the operator should know, such as a brand colour that
// needed an outline to be seen.
func (p *Pages) Warnings() []string { return slices.Clone(p.warnings) }

// Language is the locale for an Accept-Language header (RFC 9110 section
// 12.5.4), the configured one where none fits.
func (p *Pages) Language(acceptLanguage string) string { return p.languages.choose(acceptLanguage) }

// Detail is the one sentence that says what happened, for the grpc-message
// trailer.
func (p *Pages) Detail(lang string, r Refusal) string {
	return p.say(p.locale(lang), &r).detail
}

func (p *Pages) locale(lang string) *locale {
	if l, ok := p.locales[lang]; ok {
		return l
	}
	return p.locales[p.languages.fallback]
}

// said is a refusal in words.
type said struct{ title, heading, detail string }

// say finds the words. The named sentence needs all its values; where one is
// missing the general sentence is used.
func (p *Pages) say(l *locale, r *Refusal) said {
	w := l.words(r.Code, r.Status)
	s := said{title: w.title, heading: w.heading}
	if r.Message != "" {
		s.detail = clean(r.Message)
	} else if named, ok := w.named.fill(r.Params); ok && len(r.Params) > 0 {
		s.detail = clean(named)
	} else {
		s.detail, _ = w.detail.fill(nil)
	}
	return s
}

// clean makes one line of a text and takes out what could turn it around.
func clean(s string) string {
	if strings.IndexFunc(s, isHidden) < 0 {
		return s
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\u2028', r == '\u2029':
			return ' '
		case isHidden(r):
			return -1
		}
		return r
	}, s))
}

// rehearse renders every code for every brand, and every kind of page for every
// locale. Brand and locale meet in no template expression, so this finds what
// the full product would, in a fraction of the time that a reload of a thousand
// sites has.
func (p *Pages) rehearse() error {
	l := p.locales[p.languages.fallback]
	codes := slices.Sorted(maps.Keys(l.codes))
	for _, b := range p.brands.list {
		for _, code := range codes {
			if err := p.rehearseCode(b, l, code); err != nil {
				return err
			}
		}
	}
	for _, l := range p.locales {
		for _, code := range []string{"status_401", "status_403", "other"} {
			if err := p.rehearseCode(p.brands.list[0], l, code); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Pages) rehearseCode(b *brand, l *locale, code string) error {
	bare := Refusal{Status: sampleStatus(code), Code: code}
	full := bare
	full.RequestID = "00000000-0000-4000-8000-000000000000"
	full.Time = time.Unix(0, 0)
	full.RetryAfter = 5 * time.Minute
	full.Params = map[string]string{"roles": "sample", "scopes": "sample", "claim": "sample", "address": "192.0.2.1"}
	lost := full
	full.Method, full.ReturnTo = "GET", "/sample?a=b"
	lost.Method = "POST"
	for _, r := range []Refusal{bare, full, lost} {
		out, err := p.execute(b, l, &r)
		if err != nil {
			return err
		}
		body, styles := guard(nil, out)
		if err := checkPage(p.templates.name(&r), body); err != nil {
			return err
		}
		if len(styles) == 1 {
			p.csp[styles[0]] = policy(styles)
		}
	}
	return nil
}

// sampleStatus is the status with which a code is rehearsed: the 401 and 403
// pages each for their own, and whatever has no page of its own as a 503.
func sampleStatus(code string) int {
	switch {
	case strings.HasPrefix(code, "token_"), strings.HasPrefix(code, "credentials_"), code == "status_401":
		return 401
	case strings.HasSuffix(code, "_missing"), strings.HasSuffix(code, "_denied"), code == "status_403":
		return 403
	default:
		return 503
	}
}
