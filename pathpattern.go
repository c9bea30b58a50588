package gatehouse

import (
	"runtime"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// pathPattern is one pattern of Caddy's path matcher, taken apart at load.
// Caddy folds and cleans the path anew for each pattern, which is most of what a
// rule costs; for a path that is plain already there is a shorter way to the
// same answer.
type pathPattern struct {
	kind patternKind
	text string // without *
}

type patternKind uint8

const (
	patternExact patternKind = iota
	patternPrefix
	patternSuffix
	patternPart
)

// newPathPatterns takes patterns apart; nil if one of them is compared in a way
// that only Caddy's matcher knows, or the system has paths of its own kind.
func newPathPatterns(m caddyhttp.MatchPath) []pathPattern {
	if runtime.GOOS == "windows" {
		return nil
	}
	patterns := make([]pathPattern, 0, len(m))
	for _, text := range m {
		if strings.Contains(text, "//") || strings.ContainsAny(text, `%{?[\`) {
			return nil
		}
		p := pathPattern{text: strings.ToLower(text)}
		rest, before := strings.CutPrefix(p.text, "*")
		rest, after := strings.CutSuffix(rest, "*")
		if strings.Contains(rest, "*") {
			return nil
		}
		p.text = rest
		switch {
		case before && after:
			p.kind = patternPart
		case before:
			p.kind = patternSuffix
		case after:
			p.kind = patternPrefix
		}
		patterns = append(patterns, p)
	}
	return patterns
}

func (p *pathPattern) matches(path string) bool {
	switch p.kind {
	case patternPrefix:
		return strings.HasPrefix(path, p.text)
	case patternSuffix:
		return strings.HasSuffix(path, p.text)
	case patternPart:
		return strings.Contains(path, p.text)
	case patternExact:
	}
	return path == p.text
}

// isPlainPath reports a path that folding and cleaning leave as it is: ASCII
// without capitals, no two slashes in a row, no segment that begins with a dot.
func isPlainPath(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	last := byte(0)
	for i := range len(path) {
		c := path[i]
		if c >= 0x80 || 'A' <= c && c <= 'Z' || last == '/' && (c == '/' || c == '.') {
			return false
		}
		last = c
	}
	return true
}
