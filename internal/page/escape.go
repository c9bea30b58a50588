package page

import "unicode/utf8"

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
// braces, for a templates handler around us would execute them.
func appendHTML(dst []byte, s string) []byte {
	start := 0
	for i := range len(s) {
		var code string
		switch s[i] {
		case 0:
			code = "\uFFFD"
		case '"':
			code = "&#34;"
		case '&':
			code = "&amp;"
		case '\'':
			code = "&#39;"
		case '+':
			code = "&#43;"
		case '<':
			code = "&lt;"
		case '>':
			code = "&gt;"
		case '{':
			code = "&#123;"
		case '}':
			code = "&#125;"
		default:
			continue
		}
		dst = append(append(dst, s[start:i]...), code...)
		start = i + 1
	}
	return append(dst, s[start:]...)
}

// appendLink normalises a part of a URL and escapes it for an attribute, as
// html/template does: what has a meaning in URLs stays, as does an escape.
func appendLink(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := range len(s) {
		switch c := s[i]; {
		case c == '&':
			dst = append(dst, "&amp;"...)
		case c == '+':
			dst = append(dst, "&#43;"...)
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			dst = append(dst, c)
		case c < utf8.RuneSelf && linkSafe[c]:
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

// linkSafe are the bytes that stand for themselves in a link.
var linkSafe = func() (t [utf8.RuneSelf]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!#$*,/:;=?@[]" {
		t[c] = true
	}
	return t
}()
