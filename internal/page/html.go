package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"html/template"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// templates are the parsed pages: for each kind a copy of base.html with the
// kind's own "content".
type templates struct{ kinds map[string]*template.Template }

func loadTemplates(root fs.FS) (*templates, error) {
	base := template.New("base.html")
	if err := parseFile(base, root, "base.html"); err != nil {
		return nil, err
	}
	files, err := fs.Glob(root, "*.html")
	if err != nil {
		return nil, err
	}
	t := &templates{kinds: map[string]*template.Template{}}
	for _, file := range files {
		if file == "base.html" {
			continue
		}
		kind, err := base.Clone()
		if err != nil {
			return nil, err
		}
		if err := parseFile(kind.New(file), root, file); err != nil {
			return nil, err
		}
		if kind.Lookup("content") == nil {
			return nil, fmt.Errorf(`%s: expected a {{define "content"}}`, file)
		}
		t.kinds[strings.TrimSuffix(path.Base(file), ".html")] = kind
	}
	if t.kinds["error"] == nil {
		return nil, errors.New("error.html is missing: it is the page for everything without one of its own")
	}
	return t, nil
}

// parseFile drops the indentation, which is for those who read the file, and
// makes line ends LF: a browser does so before it hashes the style.
func parseFile(t *template.Template, root fs.FS, file string) error {
	data, err := fs.ReadFile(root, file)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.Trim(line, " \t")
	}
	if _, err := t.Parse(strings.Join(lines, "\n")); err != nil {
		return located(err)
	}
	return nil
}

// located makes "base.html:12: …" of the two spellings of template errors.
func located(err error) error {
	s := strings.TrimPrefix(err.Error(), "html/template:")
	return errors.New(strings.TrimSpace(strings.TrimPrefix(s, "template:")))
}

// name is the kind of page for a refusal: by code, by status, or error.
func (t *templates) name(r *Refusal) string {
	if t.kinds[r.Code] != nil {
		return r.Code
	}
	if status := strconv.Itoa(r.Status); t.kinds[status] != nil {
		return status
	}
	return "error"
}

// view is what templates see.
type view struct {
	Lang, Dir              string
	Status                 int
	Code                   string
	Title, Heading, Detail string
	Name                   string // of the brand
	Logo                   template.URL
	Light, Dark            shades

	// URLs, filled in; "" where the brand has none.
	Login, Logout, Home, Support, RequestAccess string

	Retry     string // the same address again, for what was a GET
	RetryText string // when to try again, in words
	Unsaved   bool   // what was sent with this request is lost
	RequestID string
	Time      string // for people
	ISOTime   string // for the datetime attribute
	Links     []Link

	locale *locale
}

// T is a sentence of the catalogue. Templates call it as {{.T "sign_in"}}.
func (v *view) T(key string) (string, error) { return v.locale.text(key) }

func (p *Pages) view(b *brand, l *locale, r *Refusal) *view {
	s := p.say(l, r)
	u := valuesFor(l, r)
	v := &view{
		Lang: l.tag, Dir: l.dir, Status: r.Status, Code: r.Code,
		Title: s.title, Heading: s.heading, Detail: s.detail,
		Name: b.name, Logo: b.logo, Light: b.light, Dark: b.dark,
		RequestID: r.RequestID, locale: l,
	}
	for _, f := range []struct {
		dst *string
		url urlTemplate
	}{{&v.Login, b.login}, {&v.Logout, b.logout}, {&v.Home, b.home}, {&v.Support, b.support}, {&v.RequestAccess, b.access}} {
		if !f.url.empty() {
			*f.dst = f.url.fill(u)
		}
	}
	for _, link := range b.links {
		v.Links = append(v.Links, Link{link.label, link.url.fill(u)})
	}
	switch r.Method {
	case "GET", "HEAD":
		v.Retry = r.ReturnTo
	case "", "OPTIONS", "TRACE":
	default:
		v.Unsaved = r.Status == 401
	}
	if !r.Time.IsZero() {
		v.Time = r.Time.UTC().Format("2006-01-02 15:04:05 UTC")
		v.ISOTime = r.Time.UTC().Format(time.RFC3339)
	}
	v.RetryText = retryText(l, r)
	return v
}

// retryText says when to come back. Only the sentence for minutes has a number,
// always above one, so that catalogues need no plural forms.
func retryText(l *locale, r *Refusal) string {
	n := seconds(r.RetryAfter)
	key, params := "retry_at", map[string]string{}
	switch {
	case n == 0:
		return ""
	case n <= 15:
		key = "retry_soon"
	case n <= 90:
		key = "retry_minute"
	case n <= 3600 || r.Time.IsZero():
		key = "retry_minutes"
		params["minutes"] = strconv.FormatInt((n+59)/60, 10)
	default:
		params["time"] = r.Time.Add(r.RetryAfter).UTC().Format("2006-01-02 15:04 UTC")
	}
	s, _ := l.texts[key].fill(params)
	return s
}

func (p *Pages) execute(b *brand, l *locale, r *Refusal) ([]byte, error) {
	name := p.templates.name(r)
	var buf bytes.Buffer
	buf.Grow(8<<10 + len(b.logo))
	if err := p.templates.kinds[name].Execute(&buf, p.view(b, l, r)); err != nil {
		return nil, located(err)
	}
	return buf.Bytes(), nil
}

func (p *Pages) html(dst []byte, b *brand, l *locale, r *Refusal) ([]byte, string) {
	page, err := p.execute(b, l, r)
	if err != nil {
		page = p.plainPage(l, r)
	}
	out, styles := guard(dst, page)
	if len(styles) == 1 {
		if csp, ok := p.csp[styles[0]]; ok {
			return out, csp
		}
	}
	return out, policy(styles)
}

// plainPage stands in for a template that fails.
func (p *Pages) plainPage(l *locale, r *Refusal) []byte {
	s := p.say(l, r)
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"%s\" dir=\"%s\">\n<meta charset=\"utf-8\">\n"+
		"<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>%s</title>\n<h1>%s</h1>\n<p>%s</p>\n<p>%s</p>\n</html>\n",
		l.tag, l.dir, html.EscapeString(s.title), html.EscapeString(s.heading), html.EscapeString(s.detail), html.EscapeString(r.RequestID))
	return b.Bytes()
}

// guard copies a page and writes braces as character references everywhere but
// in style elements, so that a templates handler around us finds nothing to
// execute. It returns the texts of the style elements.
func guard(dst, page []byte) (out []byte, styles []string) {
	start := 0
	for i := 0; i < len(page); i++ {
		switch page[i] {
		case '{':
			dst = append(append(dst, page[start:i]...), "&#123;"...)
			start = i + 1
		case '}':
			dst = append(append(dst, page[start:i]...), "&#125;"...)
			start = i + 1
		case '<':
			if from, to, ok := styleElement(page[i:]); ok {
				styles = append(styles, string(page[i+from:i+to]))
				i += to
			}
		}
	}
	return append(dst, page[start:]...), styles
}

// styleElement finds the text of the style element that s starts with.
func styleElement(s []byte) (from, to int, ok bool) {
	const name = "<style"
	if len(s) <= len(name) || !bytes.EqualFold(s[:len(name)], []byte(name)) {
		return 0, 0, false
	}
	if c := s[len(name)]; c != '>' && c != ' ' && c != '\n' && c != '\t' {
		return 0, 0, false
	}
	from = bytes.IndexByte(s, '>') + 1
	if from == 0 {
		return 0, 0, false
	}
	n := bytes.Index(s[from:], []byte("</"))
	if n < 0 {
		return 0, 0, false
	}
	return from, from + n, true
}

// policy allows the given styles and data: images, and nothing else.
func policy(styles []string) string {
	var b strings.Builder
	b.WriteString("default-src 'none'; style-src")
	if len(styles) == 0 {
		b.WriteString(" 'none'")
	}
	for _, s := range styles {
		sum := sha256.Sum256([]byte(s))
		b.WriteString(" 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'")
	}
	b.WriteString("; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	return b.String()
}

// checkPage refuses templates whose pages could not work under the policy.
func checkPage(kind string, page []byte) error {
	bad := func(s string) error { return fmt.Errorf("%s.html: %s", kind, s) }
	lower := bytes.ToLower(page)
	switch {
	case bytes.Contains(page, []byte("{{")):
		return bad(`"{{" in the output; Caddy's templates handler would execute it (put a space between the braces of a style)`)
	case bytes.Contains(lower, []byte("<script")):
		return bad("found a script element; pages carry no scripts and the policy blocks them")
	case bytes.Contains(lower, []byte(` style="`)):
		return bad("found a style attribute; the policy blocks it, use a class")
	case bytes.Contains(lower, []byte(`rel="stylesheet"`)), bytes.Contains(lower, []byte("@import")):
		return bad("found an outside style sheet; pages load nothing")
	case bytes.Contains(page, []byte("ZgotmplZ")):
		return bad("a value stands where html/template cannot make it safe (ZgotmplZ)")
	case !bytes.Contains(lower, []byte("<html")), !bytes.Contains(lower, []byte("<title>")):
		return bad("expected a whole document with html and title elements")
	}
	return nil
}
