package page

import (
	"net/url"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

const ownHost = "panel.example.com"

// hostOf is the host to which a browser at https://panel.example.com/login goes
// for a Location, by the URL standard's basic parser for special schemes.
func hostOf(location string) string {
	s := strings.TrimFunc(location, func(r rune) bool { return r <= ' ' })
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	isSlash := func(s string) bool { return s != "" && (s[0] == '/' || s[0] == '\\') }
	if scheme, rest, found := strings.Cut(s, ":"); found && isScheme(scheme) {
		switch scheme = strings.ToLower(scheme); {
		case scheme == "https" && !isSlash(rest):
			return ownHost // relative to the same scheme
		case scheme == "https" || scheme == "http" || scheme == "ws" || scheme == "wss" || scheme == "ftp":
			return authority(rest)
		default:
			return scheme + ":" // another application
		}
	}
	if isSlash(s) && isSlash(s[1:]) {
		return authority(s)
	}
	return ownHost
}

func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(s[i]))) {
			return false
		}
	}
	return s != ""
}

// authority takes any number of slashes of both kinds for two.
func authority(s string) string {
	s = strings.TrimLeft(s, `/\`)
	if i := strings.IndexAny(s, `/\?#`); i >= 0 {
		s = s[:i]
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = s[i+1:]
	}
	return strings.TrimSuffix(s, ":443")
}

// readers are what login pages, frameworks, proxies and filters make of an
// address before they send it on.
func readers() map[string]func(string) string {
	return map[string]func(string) string{
		"decodes": func(s string) string {
			b := []byte(s)
			n, _ := unescape(b)
			return string(b[:n])
		},
		"decodes a form":      func(s string) string { t, _ := url.QueryUnescape(s); return t },
		"trims":               strings.TrimSpace,
		"drops white space":   dropping(unicode.IsSpace),
		"drops control bytes": dropping(unicode.IsControl),
		"drops what is unseen": dropping(func(r rune) bool {
			return !unicode.IsGraphic(r) || unicode.In(r, unicode.Cf, unicode.Variation_Selector)
		}),
		"drops invalid bytes":   func(s string) string { return strings.ToValidUTF8(s, "") },
		"ends at a NUL":         func(s string) string { t, _, _ := strings.Cut(s, "\x00"); return t },
		"ends at a fragment":    func(s string) string { t, _, _ := strings.Cut(s, "#"); return t },
		"turns slashes":         func(s string) string { return strings.ReplaceAll(s, `\`, "/") },
		"normalises":            norm.NFKC.String,
		"takes what looks like": strings.NewReplacer("\u2044", "/", "\u2215", "/", "\u29f8", "/", "\u2571", "/").Replace,
		"removes dot segments":  removeDots,
		"collapses dots alone":  func(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "/./", "/"), "/../", "/") },
		"drops parameters":      dropParameters,
		"parses and prints": func(s string) string {
			if u, err := url.Parse(s); err == nil {
				return u.String()
			}
			return s
		},
		"takes the path alone": func(s string) string {
			if u, err := url.Parse(s); err == nil && u.Host == "" {
				return u.Path
			}
			return s
		},
	}
}

func dropping(drop func(rune) bool) func(string) string {
	return func(s string) string {
		return strings.Map(func(r rune) rune {
			if drop(r) {
				return -1
			}
			return r
		}, s)
	}
}

// removeDots is RFC 3986, section 5.2.4, which keeps empty segments.
func removeDots(s string) string {
	path, query, _ := strings.Cut(s, "?")
	var out []string
	for _, segment := range strings.Split(path, "/") {
		switch strings.ToLower(strings.ReplaceAll(strings.ToLower(segment), "%2e", ".")) {
		case ".":
		case "..":
			if len(out) > 1 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, segment)
		}
	}
	if query != "" {
		query = "?" + query
	}
	return strings.Join(out, "/") + query
}

func dropParameters(s string) string {
	path, query, found := strings.Cut(s, "?")
	segments := strings.Split(path, "/")
	for i := range segments {
		segments[i], _, _ = strings.Cut(segments[i], ";")
	}
	if found {
		query = "?" + query
	}
	return strings.Join(segments, "/") + query
}

// leads reports how some row of readers would bring a visitor to another host.
func leads(address string, depth int) (through []string, host string) {
	type step struct {
		s       string
		through []string
	}
	seen := map[string]bool{address: true}
	at := []step{{s: address}}
	all := readers()
	for range depth + 1 {
		var next []step
		for _, now := range at {
			if host := hostOf(now.s); host != ownHost {
				return now.through, host
			}
			for name, read := range all {
				if got := read(now.s); !seen[got] {
					seen[got] = true
					next = append(next, step{got, append(now.through[:len(now.through):len(now.through)], name)})
				}
			}
		}
		at = next
	}
	return nil, ""
}

// The model must see what is known to work, or the tests below prove nothing.
func TestReadersAreLedAstray(t *testing.T) {
	for _, s := range []string{
		"//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "http://evil.example", "HTTPS://evil.example", "https:/\\evil.example", "http:evil.example", "javascript:alert(1)",
		"/%2fevil.example", "/%255cevil.example", "/%25252fevil.example", "/%09/evil.example", "/.//evil.example", "/a/..//evil.example", "/;/evil.example", "/%00/evil.example",
		"/%EF%BC%8Fevil.example", "/%EF%BC%852fevil.example", "/%EF%BC%8E%EF%BC%8E//evil.example", "/%E2%80%8B/evil.example", "/%20/evil.example", "/%FF/evil.example", "/%2e%2e;x//evil.example",
		"/+/evil.example", "//user@evil.example", "/%e2%88%95evil.example", "/%C2%AD/evil.example", "/%EF%BB%BF/evil.example", "/a/%2E%2e/%2fevil.example", "/%EF%BC%9B/evil.example",
	} {
		if through, host := leads(s, 4); host == "" {
			t.Errorf("%q leads nowhere", s)
		} else if host != "evil.example" && host != "javascript:" {
			t.Errorf("%q leads to %q through %v", s, host, through)
		}
	}
	for _, s := range []string{"/", "/x", "/web//index.php", "/proxy/https://evil.example/x", "/x?u=//evil.example", "/x?u=https://evil.example", "/a:b@evil.example", "https:x"} {
		if through, host := leads(s, 2); host != "" {
			t.Errorf("%q leads to %q through %v", s, host, through)
		}
	}
}

// builtRedirects puts beginnings, separators, disguises and hosts together.
func builtRedirects() []string {
	starts := []string{"", "/", "//", "/.", "/..", "/a/..", "/a/../..", "/%2e%2e", "/;", "/x;", "/+", "/~", "/@", "/:", "http:", "https:", "//user:pass@", "/index.php"}
	joins := []string{
		"", "/", "//", "\\", "/\\", "\\/", "\t", "\t/", "\r\n", " ", " /", "\x00", "\x0b/", "\x7f/", ";", ";/", ";a=b/", "#", "#/", "?", "?/", "@", ".", "./", "../", "&#47;", "\u00a0/", "\u00ad/", "\u034f/",
		"\u115f/", "\u200b/", "\u200d/", "\u2028/", "\u202e/", "\u2060/", "\u3000/", "\u3164/", "\ufeff/", "\ufe0f/", "\uff0f", "\uff3c", "\uff0e/", "\uff0e\uff0e/", "\u2024/", "\u2025/", "\u2026/", "\uff05/", "\uff052f",
		"\uff1b/", "\u037e/", "\u2044", "\u2215", "\u29f8", "\xff/", "\xc0\xaf", "\xe0\x80\xaf", "\xf8/", "%u002f", "%2", "+/", "=/",
	}
	hosts := []string{"evil.example", "/evil.example", "evil.example/%2f..", "//evil.example/x?y#z", "[::1]", "evil.example@" + ownHost, ownHost + ".evil.example", "0x7f000001", "\u2488vil.example"}
	var all []string
	for _, start := range starts {
		for _, join := range joins {
			for _, host := range hosts {
				all = append(all, start+join+host)
			}
		}
	}
	return all
}

// Whatever address is kept, no row of readers brings a visitor who has signed in
// to another host, however the address was disguised.
func TestKeptAddressesLeadNowhereElse(t *testing.T) {
	shapes, kept := 0, 0
	for _, built := range builtRedirects() {
		once := encodeNonASCII(built)
		for _, target := range []string{built, once, encodeSigns(built), strings.ReplaceAll(encodeSigns(built), "%", "%25"), strings.ReplaceAll(strings.ReplaceAll(encodeSigns(built), "%", "%25"), "%", "%25")} {
			shapes++
			got := ReturnTo("GET", target, nil)
			if got == "" {
				continue
			}
			kept++
			if through, host := leads(got, 4); host != "" {
				t.Fatalf("%q gives %q, which leads to %q for a reader that %s", target, got, host, strings.Join(through, ", then "))
			}
		}
	}
	if shapes < 10000 || kept < 1000 {
		t.Errorf("%d shapes, and %d were kept: nothing was tested", shapes, kept)
	}
}

// encodeNonASCII does what browsers do.
func encodeNonASCII(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			b.WriteString(escapeAll(s[i : i+1]))
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// encodeSigns encodes everything but the first slash, letters and digits.
func encodeSigns(s string) string {
	start, rest := "", s
	if strings.HasPrefix(s, "/") {
		start, rest = "/", s[1:]
	}
	var b strings.Builder
	for i := range len(rest) {
		if c := rest[i] | 0x20; c >= 'a' && c <= 'z' || rest[i] >= '0' && rest[i] <= '9' {
			b.WriteByte(rest[i])
		} else {
			b.WriteString(escapeAll(rest[i : i+1]))
		}
	}
	return start + b.String()
}
