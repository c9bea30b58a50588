package gatehouse

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// routes are a rule's path patterns, as the operator wrote them: in logs they
// stand for the path, which may name persons.
type routes struct {
	patterns []string
	matchers []caddyhttp.MatchPath
	alone    bool // the rule can have matched by nothing else
}

// newRoutes returns nil for a rule without paths.
func newRoutes(s *Selector) *routes {
	if len(s.Paths) == 0 {
		return nil
	}
	out := &routes{patterns: s.Paths, alone: len(s.Paths) == 1 && len(s.MatchersRaw) == 0}
	for _, p := range s.Paths {
		out.matchers = append(out.matchers, pathMatcher([]string{p}))
	}
	return out
}

// find returns the pattern by which the rule speaks of the request; none where
// it does so by a matcher.
func (p *routes) find(r *http.Request) string {
	switch {
	case p == nil:
		return ""
	case p.alone:
		return p.patterns[0]
	}
	v, found := newViews(r), ""
	for i := range p.matchers {
		v.each(func(view *http.Request) bool {
			if p.matchers[i].Match(view) {
				found = p.patterns[i]
			}
			return found == ""
		})
		if found != "" {
			break
		}
	}
	return found
}
