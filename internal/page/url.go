package page

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// URLPlaceholders lists what may stand in braces in a brand's option.
func URLPlaceholders(option string) []string {
	switch option {
	case "login":
		return []string{"return_to", "lang", "max_age", "acr_values", "request_id"}
	case "logout":
		return []string{"return_to", "lang", "request_id"}
	case "support", "request_access":
		return []string{"request_id", "lang", "return_to"}
	default:
		return []string{"lang"}
	}
}

// CheckURL refuses a URL that could not be a safe link: expected is an http or
// https URL with a host, a path that starts with one "/", or mailto: for
// support, request_access and link. A placeholder may stand in the path, query
// or fragment only, so that no request can choose the host.
func CheckURL(option, raw string, placeholders ...string) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%s %q: %s", option, raw, fmt.Sprintf(format, a...))
	}
	if i := strings.IndexFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r == '"' || r == '<' || r == '>' }); i >= 0 {
		return bad("a URL has no %q; write it percent-encoded", raw[i])
	}
	t, err := parseURLTemplate(raw)
	if err != nil {
		return bad("%v", err)
	}
	for _, name := range t.names() {
		if !slices.Contains(placeholders, name) {
			if len(placeholders) == 0 {
				return bad("unknown placeholder {%s}; there are none here", name)
			}
			return bad("unknown placeholder {%s}; known here: {%s}", name, strings.Join(placeholders, "}, {"))
		}
	}
	return checkTarget(t.sample(), option, bad)
}

func checkTarget(target, option string, bad func(string, ...any) error) error {
	mail := option == "support" || option == "request_access" || option == "link"
	expected := `expected https://…, http://… or a path that starts with one "/"`
	if mail {
		expected += ", or mailto:"
	}
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return bad("%s", expected)
	case strings.HasPrefix(target, "/"):
		if strings.HasPrefix(target, "//") {
			return bad("starts with two slashes, which names another host; %s", expected)
		}
		return nil
	case u.Scheme == "mailto" && mail:
		if !strings.Contains(u.Opaque, "@") {
			return bad("mailto: without an address")
		}
		return nil
	case u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "":
		return bad("%s", expected)
	case u.Hostname() == "":
		return bad("has no host; %s", expected)
	case u.User != nil:
		return bad("a user name or password in a URL would be shown to every visitor")
	}
	return nil
}

// urlTemplate is a URL with placeholders, taken apart once at load.
type urlTemplate struct {
	parts []string // literal, name, literal, name, …, literal
}

func parseURLTemplate(raw string) (urlTemplate, error) {
	var t urlTemplate
	authority := authorityEnd(raw)
	rest := raw
	for {
		before, after, found := strings.Cut(rest, "{")
		if strings.Contains(before, "}") {
			return t, fmt.Errorf(`found "}" without "{"`)
		}
		t.parts = append(t.parts, before)
		if !found {
			return t, nil
		}
		if len(raw)-len(after) <= authority {
			return t, fmt.Errorf("a placeholder cannot stand in the scheme or host")
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || name == "" {
			return t, fmt.Errorf(`found "{" without a name and "}"`)
		}
		t.parts = append(t.parts, name)
		rest = tail
	}
}

// authorityEnd is where path, query or fragment begin.
func authorityEnd(raw string) int {
	if strings.HasPrefix(raw, "/") {
		return 1
	}
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok {
		return len(raw)
	}
	start := len(scheme) + 1
	if tail, ok := strings.CutPrefix(rest, "//"); ok {
		start += 2
		if i := strings.IndexAny(tail, "/?#"); i >= 0 {
			return start + i
		}
		return len(raw)
	}
	if i := strings.IndexByte(rest, '?'); i >= 0 { // mailto:somebody@example.com?subject=…
		return start + i
	}
	return len(raw)
}

func (t urlTemplate) names() []string {
	var names []string
	for i := 1; i < len(t.parts); i += 2 {
		names = append(names, t.parts[i])
	}
	return names
}

// sample is the URL with a letter for every placeholder.
func (t urlTemplate) sample() string {
	var b strings.Builder
	for i, part := range t.parts {
		if i%2 == 1 {
			part = "x"
		}
		b.WriteString(part)
	}
	return b.String()
}

func (t urlTemplate) empty() bool { return len(t.parts) == 0 }

// fillWith puts the values in, which are percent-encoded already.
func (t urlTemplate) fillWith(lang string, v values) string {
	if len(t.parts) == 1 {
		return t.parts[0]
	}
	var b strings.Builder
	for i, part := range t.parts {
		if i%2 == 1 {
			if part == "lang" {
				part = lang
			} else {
				part = v.get(placeholder(part))
			}
		}
		b.WriteString(part)
	}
	return b.String()
}

// without leaves out the query parameters that hold nothing but one of the
// placeholders: a login page asked for max_age= would take it for a value.
func without(raw string, names ...string) string {
	address, fragment, hasFragment := strings.Cut(raw, "#")
	address, query, hasQuery := strings.Cut(address, "?")
	if !hasQuery {
		return raw
	}
	kept := slices.DeleteFunc(strings.Split(query, "&"), func(p string) bool {
		_, value, _ := strings.Cut(p, "=")
		return slices.ContainsFunc(names, func(name string) bool { return value == "{"+name+"}" })
	})
	if len(kept) > 0 {
		address += "?" + strings.Join(kept, "&")
	}
	if hasFragment {
		address += "#" + fragment
	}
	return address
}

// appendEscaped percent-encodes everything that is not unreserved (RFC 3986
// section 2.3), so that a value stays one value wherever it stands.
func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	start := 0
	for i := range len(s) {
		if c := s[i]; !unreserved[c] {
			dst = append(append(dst, s[start:i]...), '%', hex[c>>4], hex[c&15])
			start = i + 1
		}
	}
	return append(dst, s[start:]...)
}
