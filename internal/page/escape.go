package page

// escaping is what a place on a page asks of a value. Which one it is comes
// from html/template itself: it is found by what it made of a probe.
type escaping uint8

const (
	unknownEscaping escaping = iota
	asIs                     // percent-encoded already
	inHTML                   // in text or in a quoted attribute
	inLink                   // in the path of a URL
	inQuery                  // as one value of a URL's query
)

// escapingOf finds the escaping by what became of the probe.
func escapingOf(s slot, found []byte) escaping {
	if s.inURL() {
		if string(found) == urlProbe {
			return asIs
		}
		return unknownEscaping
	}
	for _, e := range []escaping{inHTML, inLink, inQuery} {
		if string(e.escape(nil, probe)) == string(found) {
			return e
		}
	}
	return unknownEscaping
}

// append writes the value of a slot.
func (e escaping) append(dst []byte, s slot, v actual) []byte {
	switch s {
	case slotRequestID, slotAddress, slotMessage, slotRetry, slotRoles, slotScopes, slotClaim, slotNamedAddress:
		return e.escape(dst, v.plain(s))
	case urlReturnTo, urlRequestID, urlMaxAge, urlACRValues:
		return v.append(dst, s)
	default:
		if e == inHTML { // digits, hyphens, colons and a space
			return v.append(dst, s)
		}
		return e.escape(dst, v.get(s))
	}
}

// appendStamp writes a time for people, or for the datetime attribute
// (RFC 3339).
func (e escaping) appendStamp(dst, stamp []byte, s slot) []byte {
	const date = len("2006-01-02")
	switch {
	case s == slotISOTime && e == inHTML:
		return append(append(append(append(dst, stamp[:date]...), 'T'), stamp[date+1:]...), 'Z')
	case s == slotISOTime:
		return e.escape(dst, string(stamp[:date])+"T"+string(stamp[date+1:])+"Z")
	case e == inHTML:
		return append(append(dst, stamp...), " UTC"...)
	default:
		return e.escape(dst, string(stamp)+" UTC")
	}
}

func (e escaping) escape(dst []byte, s string) []byte {
	switch e {
	case inLink:
		return appendLink(dst, s)
	case inQuery:
		return appendEscaped(dst, s)
	case asIs:
		return append(dst, s...)
	default:
		return appendHTML(dst, s)
	}
}

// appendHTML escapes for text and quoted attributes, as html/template does, and
// braces and brackets, for a templates handler around us would execute what
// stands between them.
func appendHTML(dst []byte, s string) []byte {
	start := 0
	for i := range len(s) {
		if !special[s[i]] {
			continue
		}
		dst = append(append(dst, s[start:i]...), reference(s[i])...)
		start = i + 1
	}
	return append(dst, s[start:]...)
}

func reference(c byte) string {
	switch c {
	case '"':
		return "&#34;"
	case '&':
		return "&amp;"
	case '\'':
		return "&#39;"
	case '+':
		return "&#43;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '{':
		return "&#123;"
	case '}':
		return "&#125;"
	case '[':
		return "&#91;"
	case ']':
		return "&#93;"
	default:
		return "\uFFFD" // NUL
	}
}

// special are the bytes that appendHTML replaces.
var special = [256]bool{0: true, '"': true, '&': true, '\'': true, '+': true, '<': true, '>': true, '{': true, '}': true, '[': true, ']': true}

// appendLink normalises a part of a URL and escapes it for an attribute, as
// html/template does: what has a meaning in URLs stays, as does an escape.
func appendLink(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := range len(s) {
		switch c := s[i]; {
		case c == '&':
			dst = append(dst, "&amp;"...)
		case c == '+', c == '[', c == ']':
			dst = append(dst, reference(c)...)
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			dst = append(dst, c)
		case linkSafe[c]:
			dst = append(dst, c)
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// linkSafe are the bytes that stand for themselves in a link, unreserved those
// that do so anywhere in a URL (RFC 3986 section 2.3).
var (
	linkSafe   = setOf("-._~!#$*,/:;=?@[]")
	unreserved = setOf("-._~")
)

// setOf holds letters, digits and the bytes given.
func setOf(more string) (t [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" + more) {
		t[c] = true
	}
	return t
}
