package gatehouse

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// upstreamModels are the ways in which servers read the target of a request.
// Each gives the paths that it may serve then.
var upstreamModels = []struct {
	name string
	read func(path string) []string
}{
	{"literal", func(path string) []string { return []string{path} }},
	{"decoded once", func(path string) []string { return []string{decoded(path)} }},
	{"decoded, backslash is a slash", func(path string) []string {
		return []string{strings.ReplaceAll(decoded(path), `\`, "/"), strings.ReplaceAll(path, `\`, "/")}
	}},
	{"parameters stripped", func(path string) []string {
		// Before decoding, as Tomcat does it, or after.
		return []string{decoded(stripped(path)), stripped(decoded(path))}
	}},
	{"a URL parser", func(path string) []string {
		var out []string
		if u, err := url.Parse(path); err == nil {
			out = append(out, u.Path)
		}
		// The WHATWG's parser skips any number of slashes, and takes a backslash
		// for one.
		for _, p := range []string{path, stripped(path)} {
			if p = strings.ReplaceAll(p, `\`, "/"); strings.HasPrefix(p, "//") {
				_, rest, _ := strings.Cut(strings.TrimLeft(p, "/"), "/")
				out = append(out, decoded("/"+rest))
			}
		}
		return out
	}},
}

// readings are the paths that some upstream makes of a target, by model: without
// query, empty segments and dot segments, in lower case.
func readings(target string) map[string][]string {
	target, _, _ = strings.Cut(target, "?")
	if scheme, rest, absolute := strings.Cut(target, "://"); absolute && !strings.Contains(scheme, "/") {
		_, path, _ := strings.Cut(rest, "/")
		target = "/" + path
	}
	out := make(map[string][]string)
	for _, model := range upstreamModels {
		for _, path := range model.read(target) {
			out[model.name] = append(out[model.name], resolved(path))
		}
	}
	return out
}

// resolved collapses slashes and dot segments, as servers do it last.
func resolved(path string) string {
	var out []string
	for segment := range strings.SplitSeq(strings.ToLower(path), "/") {
		switch segment {
		case "", ".":
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, segment)
		}
	}
	return "/" + strings.Join(out, "/")
}

func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// unreserved decodes letters, which mean the same encoded or not (RFC 3986,
// section 6.2.2.2): nothing else can stand under such a name.
func unreserved(path string) string {
	for c := 'a'; c <= 'z'; c++ {
		path = strings.ReplaceAll(path, fmt.Sprintf("%%%02x", c), string(c))
	}
	return path
}

// decoded decodes what can be decoded, and keeps the rest.
func decoded(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if one, err := url.PathUnescape(path[i : i+3]); err == nil {
				b.WriteString(one)
				i += 2
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

func stripped(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	return strings.Join(segments, "/")
}

// The models themselves must see the tricks; a blind model proves nothing.
func TestUpstreamModels(t *testing.T) {
	for target, model := range map[string]string{
		"/x/../admin": "literal", "/%61dmin": "decoded once", "/x/%2e%2e/admin": "decoded once", "/x%2f..%2fadmin": "decoded once",
		"/x%5c..%5cadmin/y": "decoded, backslash is a slash", `/\admin`: "decoded, backslash is a slash",
		"/x/..;a=b/admin": "parameters stripped", "/x;/..;/admin;y": "parameters stripped", "/%3b/admin": "parameters stripped",
		"/;%2fx%2fy/admin": "parameters stripped", "//host/admin": "a URL parser", "///host/%61dmin": "a URL parser", `/\host/admin`: "a URL parser",
		"http://host/admin?x=/": "literal", "/ADMIN/": "literal",
	} {
		found := false
		for _, path := range readings(target)[model] {
			found = found || within(path, "/admin")
		}
		if !found {
			t.Errorf("%s is not an admin path to %q: %v", target, model, readings(target)[model])
		}
	}
	for _, paths := range readings("/administrator/admin?/admin") {
		for _, path := range paths {
			if within(path, "/admin") {
				t.Error("an ordinary path is taken for an admin path")
			}
		}
	}
}
