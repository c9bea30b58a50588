package page

import (
	"net/http"
	"strings"
)

// Body says in which form a refusal is told.
type Body uint8

// The forms a refusal can take. The zero value is Problem: a program that said
// nothing gets something it can read.
const (
	Problem Body = iota // application/problem+json, RFC 9457
	JSON                // the same bytes as application/json
	HTML                // a page for a person
	Text                // a few lines of plain text
	Empty               // no body: an image, a style sheet, a script would not show one
	GRPC                // no body: status and message go into the trailers
	Upgrade             // one line of text on a refused WebSocket handshake
)

// ContentType is the Content-Type header that goes with the body, "" for none.
func (b Body) ContentType() string {
	switch b {
	case JSON:
		return "application/json"
	case HTML:
		return "text/html; charset=utf-8"
	case Text, Upgrade:
		return "text/plain; charset=utf-8"
	case Empty:
		return ""
	case GRPC:
		return "application/grpc"
	default:
		return "application/problem+json"
	}
}

// String names the body for logs and error messages.
func (b Body) String() string {
	switch b {
	case Problem:
		return "problem"
	case JSON:
		return "json"
	case HTML:
		return "html"
	case Text:
		return "text"
	case Empty:
		return "empty"
	case GRPC:
		return "grpc"
	case Upgrade:
		return "upgrade"
	default:
		return "unknown"
	}
}

// Format is the form an operator insists on.
type Format uint8

// The formats an operator can set. Auto leaves the choice to the request.
const (
	Auto Format = iota
	FormatHTML
	FormatProblem
	FormatJSON
	FormatText
)

// Choose finds the body that suits a request: by what kind of request it is
// first, then by its Accept header (RFC 9110 section 12.5.1). It always finds
// one, and what it finds never changes the status.
func Choose(h http.Header, upgrade bool, f Format) Body {
	if isGRPC(first(h, "Content-Type")) {
		return GRPC
	}
	if upgrade {
		return Upgrade
	}
	switch f {
	case FormatHTML:
		return HTML
	case FormatProblem:
		return Problem
	case FormatJSON:
		return JSON
	case FormatText:
		return Text
	default:
	}
	if first(h, "Sec-Fetch-Mode") == "navigate" {
		return HTML
	}
	if isSubresource(first(h, "Sec-Fetch-Dest")) {
		return Empty
	}
	byScript := len(h["X-Requested-With"]) > 0 || len(h["Hx-Request"]) > 0
	a := parseAccept(h["Accept"])
	return a.choose(byScript)
}

// first reads a header by its canonical name without http.Header.Get's
// canonicalisation.
func first(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// isGRPC knows application/grpc, its +proto and +json forms and gRPC-Web.
func isGRPC(contentType string) bool {
	const prefix = "application/grpc"
	if len(contentType) < len(prefix) || !strings.EqualFold(contentType[:len(prefix)], prefix) {
		return false
	}
	return len(contentType) == len(prefix) || strings.IndexByte("+-; \t", contentType[len(prefix)]) >= 0
}

// isSubresource knows the fetch destinations that cannot show a body.
func isSubresource(dest string) bool {
	switch dest {
	case "image", "style", "script", "font", "audio", "video", "track",
		"worker", "sharedworker", "serviceworker":
		return true
	}
	return false
}

const (
	maxAcceptBytes  = 1024
	maxAcceptRanges = 32
	unset           = -1
)

// accept holds the weights, in thousandths, of the media ranges that matter
// here; unset where the client did not name one.
type accept struct {
	html, xhtml, problem, json, text int
	anyApplication, anyText, any     int
}

func parseAccept(lines []string) accept {
	a := accept{unset, unset, unset, unset, unset, unset, unset, unset}
	budget, ranges := maxAcceptBytes, maxAcceptRanges
	for _, s := range lines {
		cut := len(s) > budget
		if cut {
			s = s[:budget]
		}
		budget -= len(s)
		for s != "" && ranges > 0 {
			item, rest, more := cutList(s, ',')
			if cut && !more {
				break // half an item at the end of what is read says nothing
			}
			a.add(item)
			ranges--
			s = rest
		}
		if cut || ranges == 0 {
			break
		}
	}
	return a
}

// add takes one media range in; what cannot be read is passed over.
func (a *accept) add(item string) {
	name, params, _ := cutList(item, ';')
	dst := a.slot(trim(name))
	if dst == nil {
		return
	}
	q := 1000
	for params != "" {
		var p string
		p, params, _ = cutList(params, ';')
		key, value, found := strings.Cut(trim(p), "=")
		if !found || len(key) != 1 || key[0]|0x20 != 'q' {
			continue
		}
		var ok bool
		if q, ok = parseQ(value); !ok {
			return
		}
		break
	}
	*dst = max(*dst, q)
}

func (a *accept) slot(name string) *int {
	switch {
	case name == "*/*":
		return &a.any
	case strings.EqualFold(name, "text/html"):
		return &a.html
	case strings.EqualFold(name, "application/xhtml+xml"):
		return &a.xhtml
	case strings.EqualFold(name, "application/json"):
		return &a.json
	case strings.EqualFold(name, "application/problem+json"):
		return &a.problem
	case strings.EqualFold(name, "text/plain"):
		return &a.text
	case strings.EqualFold(name, "application/*"):
		return &a.anyApplication
	case strings.EqualFold(name, "text/*"):
		return &a.anyText
	}
	return nil
}

// choose weighs the ranges. A script's request gets a page only where it asks
// for one more than for JSON: a wildcard would put a page into a data table.
func (a *accept) choose(byScript bool) Body {
	problem := weight(a.problem, a.anyApplication, a.any)
	json := weight(a.json, a.anyApplication, a.any)
	text := weight(a.text, a.anyText, a.any)
	html := a.html
	if html == unset {
		html = a.xhtml // we serve text/html, so an explicit refusal of it counts
	} else if html > 0 {
		html = max(html, a.xhtml)
	}
	data := max(problem, json)
	if html > 0 && html >= text && (html > data || html == data && !byScript) {
		return HTML
	}
	switch {
	case text > data:
		return Text
	case json > problem:
		return JSON
	default:
		return Problem
	}
}

// weight is the most specific weight that was given, RFC 9110 section 12.5.1.
func weight(exact, kind, all int) int {
	switch {
	case exact != unset:
		return exact
	case kind != unset:
		return kind
	default:
		return max(all, 0)
	}
}

// cutList splits at the first separator that is not inside a quoted string.
func cutList(s string, sep byte) (item, rest string, more bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == sep && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// parseQ reads a weight as thousandths. ".2" is taken too, since Java has sent
// it for twenty years. Anything above zero stays above zero.
func parseQ(s string) (int, bool) {
	s = trim(s)
	whole, frac, dot := strings.Cut(s, ".")
	if whole == "" && frac == "" || len(whole) > 1 || dot && len(frac) > 16 {
		return 0, false
	}
	q := 0
	if whole != "" {
		if whole[0] != '0' && whole[0] != '1' {
			return 0, false
		}
		q = int(whole[0]-'0') * 1000
	}
	scale, rest := 100, false
	for i := range len(frac) {
		if frac[i] < '0' || frac[i] > '9' {
			return 0, false
		}
		q += int(frac[i]-'0') * scale
		rest = rest || frac[i] != '0'
		scale /= 10
	}
	if q > 1000 || q == 1000 && whole == "1" && rest {
		return 0, false
	}
	if q == 0 && rest {
		q = 1
	}
	return q, true
}

// trim removes optional white space, RFC 9110 section 5.6.3.
func trim(s string) string { return strings.Trim(s, " \t") }
