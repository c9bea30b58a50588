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
//
// An operator's folder may hold any of these, and blocks.html, whose blocks
// stand in on every page. What it does not define stays as it was.
package page

import (
	"slices"
	"strings"
	"time"
)

// Refusal is what is refused, whatever the language.
type Refusal struct {
	Status int    // 400 to 599; anything else is told as 500
	Code   string // the stable code, such as token_expired
	Words  string // the code whose words are said instead, and by which the page is chosen; "" for Code

	Error, ErrorDescription string // OAuth 2.0 words (RFC 6750 section 3.1), "" for none

	RequestID  string
	Time       time.Time
	RetryAfter time.Duration

	Message  string            // the operator's sentence in place of the catalogue's
	Params   map[string]string // for the catalogue's named sentence: roles, scopes, claim, address
	Address  string            // the visitor's own, shown among the facts of the page; "" for none
	ReturnTo string            // from the function ReturnTo; "" is told to the login page as "/"
	Method   string            // an unsafe one gets the note that nothing was saved
	Returned bool              // the visitor comes from signing in, in vain

	MaxAge, ACRValues string // what a step-up asks of the login page (RFC 9470 section 3)
}

// words is the code that people are told. Programs read the other one.
func (r *Refusal) words() string {
	if r.Words != "" {
		return r.Words
	}
	return r.Code
}

// Options are what Pages are made from.
type Options struct {
	Language       string // of visitors whose languages have no catalogue; default en
	Brands         []Brand
	Realm          string      // shown as the name where a brand has none
	ProblemBase    string      // `type` of a problem is <base>/<code>; default about:blank
	FrameAncestors []string    // who may frame the pages (CSP frame-ancestors); default nobody
	Report         func(error) // told of templates that fail; may be nil
}

// Pages render refusals. They do not change once made and are safe for
// concurrent use.
type Pages struct {
	library     *Library
	languages   *languages
	brands      *brands
	problemBase string
	warnings    []string
	report      func(error)
}

// Warnings are what the operator should know, such as a brand colour that
// needed an outline to be seen.
func (p *Pages) Warnings() []string { return slices.Clone(p.warnings) }

// Locales lists the languages there are.
func (p *Pages) Locales() []string { return slices.Clone(p.library.tags) }

// Codes lists the codes that have words of their own, and the general ones.
func (p *Pages) Codes() []string { return codesOf(p.library.locales[source].texts) }

// Language is the locale for an Accept-Language header (RFC 9110 section
// 12.5.4), the configured one where none fits.
func (p *Pages) Language(acceptLanguage string) string { return p.languages.find(acceptLanguage) }

// Detail is the one sentence that says what happened, for the grpc-message
// trailer.
func (p *Pages) Detail(lang string, r Refusal) string {
	return p.locale(lang).say(&r).detail
}

func (p *Pages) locale(lang string) *locale {
	if l, ok := p.library.locales[lang]; ok {
		return l
	}
	return p.library.locales[p.languages.fallback]
}

// said is a refusal in words.
type said struct{ title, heading, detail string }

// say finds the words. The named sentence needs all its values; where one is
// missing the general sentence is used.
func (l *locale) say(r *Refusal) said {
	w := l.words(r.words(), r.Status)
	s := said{title: w.title, heading: w.heading}
	if r.Message != "" {
		s.detail = clean(r.Message)
	} else if named, ok := w.named.fill(r.Params); ok && len(r.Params) > 0 {
		s.detail = clean(named)
	} else {
		s.detail = w.detail
	}
	return s
}

// clean makes one line of a text and takes out what could turn it around.
func clean(s string) string {
	if isPlain(s) || strings.IndexFunc(s, isHidden) < 0 {
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

// isPlain reports printable ASCII, which is what most values are.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
