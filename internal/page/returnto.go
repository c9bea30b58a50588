package page

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	maxReturnTo    = 1024
	maxReturnInput = 16 << 10
	maxDecodings   = 3
)

// ReturnTo makes the address to which a visitor may be sent back after signing
// in, or "" where there is no safe one. Login pages put what we hand them into
// a Location header, so anything that some reader could take for another host
// is refused: not only "//host", but every spelling of it that appears when the
// address is decoded once more. Query parameters that look like tokens are left
// out, with those named in drop.
func ReturnTo(method, requestURI string, drop []string) string {
	if method != "GET" && method != "HEAD" {
		return ""
	}
	if len(requestURI) > maxReturnInput || !strings.HasPrefix(requestURI, "/") || strings.Contains(requestURI, "#") {
		return ""
	}
	path, query, hasQuery := strings.Cut(requestURI, "?")
	if !safeDecoded(path, true) || !safeDecoded(query, false) {
		return ""
	}
	if !hasQuery {
		return atMost(path)
	}
	kept := dropTokens(query, drop)
	switch len(kept) {
	case len(query):
		return atMost(requestURI)
	case 0:
		return atMost(path)
	default:
		return atMost(path + "?" + kept)
	}
}

func atMost(uri string) string {
	if len(uri) > maxReturnTo {
		return ""
	}
	return uri
}

// safeDecoded looks at the text as it stands and after each of up to three
// decodings. What then still holds an escape is refused as well.
func safeDecoded(s string, isPath bool) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	var buf [512]byte
	return safeFrom(append(buf[:0], s...), isPath, maxDecodings)
}

// safeFrom decodes b in place. Paths are looked at folded too.
func safeFrom(b []byte, isPath bool, left int) bool {
	if !safeText(b) || isPath && !safePath(b) {
		return false
	}
	if isPath && !isASCII(b) {
		text := string(b) // b itself would not stay on the stack
		if folded := fold(text); folded != text && !safeFrom([]byte(folded), isPath, left) {
			return false
		}
	}
	n, malformed := unescape(b)
	switch {
	case malformed && left == maxDecodings:
		return false
	case n == len(b):
		return true
	case left == 0:
		return false
	}
	return safeFrom(b[:n], isPath, left-1)
}

// fold makes dots, slashes and percent signs of what some readers take for them:
// fullwidth forms (Unicode NFKC), and what looks like a slash.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if isSlashLike(r) {
			return '/'
		}
		return r
	}, norm.NFKC.String(s))
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func isSlashLike(r rune) bool {
	return r == '\u2044' || r == '\u2215' || r == '\u29f8' || r == '\u2571'
}

// safeText refuses backslashes, which browsers read as slashes, control
// characters, line and paragraph separators, and bytes that only an overlong
// spelling of ASCII uses.
func safeText(b []byte) bool {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			if b[i] == 0xc0 || b[i] == 0xc1 || b[i] == 0xe0 || b[i] >= 0xf0 {
				return false
			}
		case r == '\\', unicode.IsControl(r), r == '\u2028', r == '\u2029':
			return false
		}
		i += size
	}
	return true
}

// safePath refuses what names another host, which is two slashes at the start,
// and what becomes that once dot segments, ";" parameters or characters that
// nobody sees are taken out.
func safePath(b []byte) bool {
	if len(b) == 0 || b[0] != '/' || len(b) > 1 && (b[1] == '/' || b[1] == ';') {
		return false
	}
	first := true
	for rest := b[1:]; ; first = false {
		segment, tail, more := bytes.Cut(rest, []byte("/"))
		switch string(bareName(segment)) {
		case ".", "..":
			return false
		case "":
			if first && more {
				return false
			}
		}
		if !more {
			return true
		}
		rest = tail
	}
}

// bareName is what is left of a segment for readers that drop its parameters
// and what they take for noise.
func bareName(segment []byte) []byte {
	name, _, _ := bytes.Cut(segment, []byte(";"))
	if bytes.IndexFunc(name, isNoise) < 0 {
		return name
	}
	return bytes.Map(func(r rune) rune {
		if isNoise(r) {
			return -1
		}
		return r
	}, name)
}

// isNoise knows white space, with the plus sign that forms have for it, what is
// not displayed, and bytes that are not UTF-8.
func isNoise(r rune) bool {
	if r < utf8.RuneSelf {
		return r <= ' ' || r == '+' || r == 0x7f
	}
	return r == utf8.RuneError || unicode.In(r, unicode.White_Space, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// unescape decodes percent-escapes in place and returns the new length. It
// leaves malformed ones as they are, as lenient readers do.
func unescape(b []byte) (n int, malformed bool) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' {
			hi, lo := -1, -1
			if i+2 < len(b) {
				hi, lo = unhex(b[i+1]), unhex(b[i+2])
			}
			if hi >= 0 && lo >= 0 {
				c = byte(hi<<4 | lo) //nolint:gosec // two nibbles are a byte
				i += 2
			} else {
				malformed = true
			}
		}
		b[n] = c
		n++
	}
	return n, malformed
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	default:
		return -1
	}
}

// dropTokens leaves out the parameters that look like credentials. Some servers
// separate parameters with ";" too.
func dropTokens(query string, drop []string) string {
	var out strings.Builder
	kept := true
	for rest := query; rest != ""; {
		end := strings.IndexAny(rest, "&;")
		item, sep := rest, ""
		if end >= 0 {
			item, sep = rest[:end], rest[end:end+1]
		}
		rest = rest[len(item)+len(sep):]
		if isToken(item, drop) {
			kept = false
			continue
		}
		out.WriteString(item)
		out.WriteString(sep)
	}
	if kept {
		return query
	}
	return strings.TrimRight(out.String(), "&;")
}

func isToken(param string, drop []string) bool {
	name, value, _ := strings.Cut(param, "=")
	name, value = decoded(name), decoded(value)
	for _, d := range drop {
		if strings.EqualFold(name, d) {
			return true
		}
	}
	name, _, _ = strings.Cut(strings.ToLower(name), "[")
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_. +", r) {
			return -1
		}
		return r
	}, name)
	switch name {
	case "code", "jwt", "ticket", "assertion", "clientassertion", "samlresponse", "samlart", "authorization", "auth", "bearer",
		"password", "passwd", "passphrase", "secret", "clientsecret", "apikey", "accesskey", "session", "sessionid", "sid", "phpsessid", "otp":
		return true
	}
	for _, end := range [...]string{"token", "tokens", "tokenhint", "jwt"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return looksLikeJWT(value)
}

// decoded undoes every level of escaping, as safeDecoded has allowed.
func decoded(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := []byte(s)
	for range maxDecodings {
		n, _ := unescape(b)
		if n == len(b) {
			break
		}
		b = b[:n]
	}
	return string(b)
}

// looksLikeJWT knows the start of a base64url-encoded JSON object and two dots.
func looksLikeJWT(s string) bool {
	return strings.HasPrefix(s, "eyJ") && strings.Count(s, ".") >= 2
}
