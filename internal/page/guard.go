package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"strings"
)

// plainPage stands in for a template that fails.
func plainPage(l *locale, r *Refusal) []byte {
	s := l.say(r)
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"%s\" dir=\"%s\">\n<meta charset=\"utf-8\">\n"+
		"<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>%s</title>\n<h1>%s</h1>\n<p>%s</p>\n<p>%s</p>\n</html>\n",
		l.tag, l.dir, html.EscapeString(s.title), html.EscapeString(s.heading), html.EscapeString(s.detail), html.EscapeString(r.RequestID))
	return b.Bytes()
}

// guard copies a page and writes braces and brackets, the usual delimiters of
// templates, as character references everywhere but in style elements, so that a
// templates handler around us finds nothing to execute. It returns the texts of
// the style elements.
func guard(dst, page []byte) (out []byte, styles []string) {
	start := 0
	for i := 0; i < len(page); i++ {
		switch page[i] {
		case '{', '}', '[', ']':
			dst = append(append(dst, page[start:i]...), reference(page[i])...)
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
func policy(styles []string, ancestors string) string {
	var b strings.Builder
	b.WriteString("default-src 'none'; style-src")
	if len(styles) == 0 {
		b.WriteString(" 'none'")
	}
	for _, s := range styles {
		sum := sha256.Sum256([]byte(s))
		b.WriteString(" 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'")
	}
	b.WriteString("; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors " + ancestors)
	return b.String()
}

// CheckAncestors takes the sources of CSP's frame-ancestors (Content Security
// Policy Level 3, section 6.4.2): 'self', a scheme, or a host with what may
// stand around it.
func CheckAncestors(sources []string) error {
	for _, s := range sources {
		switch {
		case s == "'self'":
		case s == "self", s == "none":
			return fmt.Errorf("frame_ancestors %s: expected '%s', with its single quotes", s, s)
		case s == "'none'" && len(sources) > 1:
			return fmt.Errorf("frame_ancestors 'none': found other sources beside it; expected it alone")
		case s == "'none'":
		case !isAncestor(s):
			return fmt.Errorf("frame_ancestors %s: expected 'self', 'none', a scheme such as https:, or a host such as https://panel.example.com or *.example.com", s)
		}
	}
	return nil
}

func isAncestor(s string) bool {
	if s == "https:" || s == "http:" {
		return true
	}
	scheme, host, found := strings.Cut(s, "://")
	if !found {
		host = s
	} else if scheme != "https" && scheme != "http" {
		return false
	}
	host, port, hasPort := strings.Cut(host, ":")
	if hasPort && port != "*" && (port == "" || strings.Trim(port, "0123456789") != "") {
		return false
	}
	return isHostName(strings.ToLower(strings.TrimPrefix(host, "*.")))
}
