package gatehouse

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// These compare rules without any request. They are for advice alone, and where
// they cannot tell they say no.

// covers reports that the rule speaks of all that the other speaks of.
func (p *PathRule) covers(other *PathRule) bool {
	switch {
	case p.IP != nil:
		return other.IP != nil && containsAll(p.IP, other.IP)
	case other.IP != nil:
		return false
	case p.SensitiveFiles:
		return other.SensitiveFiles || other.onlySensitive()
	case other.SensitiveFiles:
		return false
	}
	return p.Selector.covers(&other.Selector)
}

// onlySensitive reports a selector of nothing but sensitive files.
func (s *Selector) onlySensitive() bool {
	return len(s.Paths) > 0 && len(s.MatchersRaw) == 0 && !slices.ContainsFunc(s.Paths, func(p string) bool {
		whole, _, open := strings.Cut(p, "*")
		if open { // the last segment may go on in any way
			whole = whole[:strings.LastIndex(whole, "/")+1]
		}
		return !isSensitiveFile(whole)
	})
}

func (s *Selector) covers(other *Selector) bool {
	switch {
	case !coversMethods(s.Methods, other.Methods):
		return false
	case s.empty():
		return true
	case other.empty():
		return false
	}
	for _, set := range other.MatchersRaw {
		if !slices.ContainsFunc(s.MatchersRaw, func(own caddy.ModuleMap) bool { return sameJSON(own, set) }) {
			return false
		}
	}
	return !slices.ContainsFunc(other.Paths, func(p string) bool { return !s.coversPath(p) })
}

func (s *Selector) coversPath(pattern string) bool {
	return slices.ContainsFunc(s.Paths, func(own string) bool { return coversPattern(own, pattern) })
}

// coversMethods compares lists of methods, of which an empty one means all.
func coversMethods(wide, narrow []string) bool {
	if len(wide) == 0 {
		return true
	}
	return len(narrow) > 0 && !slices.ContainsFunc(narrow, func(m string) bool { return !namesMethod(wide, m) })
}

// shareMethods reports that some method is in both lists.
func shareMethods(a, b []string) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(m string) bool { return namesMethod(b, m) }) ||
		slices.ContainsFunc(b, func(m string) bool { return namesMethod(a, m) })
}

func namesMethod(list []string, method string) bool {
	return slices.Contains(list, method) || (method == http.MethodHead || method == http.MethodOptions) && slices.Contains(list, http.MethodGet)
}

// coversPattern reports that every path of the narrow pattern is one of the
// wide one, as pathMatcher reads them.
func coversPattern(wide, narrow string) bool {
	wide, narrow = strings.ToLower(wide), strings.ToLower(narrow)
	if wide == narrow || wide == "*" || wide == "/*" {
		return true
	}
	for _, p := range []string{wide, narrow} {
		if strings.Contains(p, "%") || strings.Contains(p, "//") {
			return false // compared in another way
		}
	}
	text := strings.Trim(wide, "*")
	narrowText := strings.Trim(narrow, "*")
	exact := narrowText == narrow
	switch before, after := strings.HasPrefix(wide, "*"), strings.HasSuffix(wide, "*"); {
	case before && after:
		return strings.Contains(narrowText, text)
	case before:
		return !strings.HasSuffix(narrow, "*") && strings.HasSuffix(strings.TrimSuffix(narrowText, "/"), strings.TrimSuffix(text, "/")) &&
			!strings.HasSuffix(text, "/") && (exact || strings.HasPrefix(narrow, "*"))
	case after:
		return strings.HasPrefix(narrow, "/") && (strings.HasPrefix(narrowText, text) || exact && narrowText+"/" == text)
	}
	return exact && strings.TrimRight(narrow, "/") == strings.TrimRight(wide, "/")
}

func containsAll(list, all []string) bool {
	return !slices.ContainsFunc(all, func(v string) bool { return !slices.Contains(list, v) })
}

// sameJSON compares what two values are written as.
func sameJSON(a, b any) bool {
	left, errLeft := json.Marshal(a)
	right, errRight := json.Marshal(b)
	return errLeft == nil && errRight == nil && bytes.Equal(left, right)
}
