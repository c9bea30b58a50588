package gatehouse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Selector says which requests a rule speaks of: those with one of the methods,
// and one of the paths or matchers.
type Selector struct {
	// HTTP methods; GET covers HEAD and OPTIONS. Default: all.
	Methods []string `json:"methods,omitempty"`

	// Paths, as in Caddy's `path` matcher but without placeholders. `/admin/*`
	// covers `/admin` too, and `/users` covers `/users/`. Default: all.
	Paths []string `json:"paths,omitempty"`

	// Matcher sets, any of which may match in place of a path.
	MatchersRaw caddyhttp.RawMatcherSets `json:"matchers,omitempty" caddy:"namespace=http.matchers"`
}

// selector is a compiled Selector.
type selector struct {
	methods map[string]bool // nil: all
	paths   caddyhttp.MatchPath
	// patterns say the same as paths, of paths that are plain; nil: not all do.
	patterns []pathPattern
	sets     caddyhttp.MatcherSets
	told     matcherTelling
}

func (s *Selector) empty() bool { return len(s.Paths) == 0 && len(s.MatchersRaw) == 0 }

func (s *Selector) check(option string, allowStar bool) error {
	for name, there := range map[string]bool{
		"methods": s.Methods != nil && len(s.Methods) == 0, "paths": s.Paths != nil && len(s.Paths) == 0,
		"matchers": s.MatchersRaw != nil && len(s.MatchersRaw) == 0,
	} {
		if there {
			return fmt.Errorf("%s: found an empty list of %s, which would stand for all; expected some, or leave it out", option, name)
		}
	}
	for _, m := range s.Methods {
		if !isMethod(m) {
			return fmt.Errorf("%s: found method %q; expected one in capitals, such as POST", option, m)
		}
	}
	for _, p := range s.Paths {
		if err := checkPathPattern(option, p, allowStar); err != nil {
			return err
		}
	}
	return checkMatcherSets(option, s.MatchersRaw)
}

// checkMatcherSets refuses sets without a matcher: Caddy takes them for a match
// of everything.
func checkMatcherSets(option string, sets caddyhttp.RawMatcherSets) error {
	for _, set := range sets {
		if len(set) == 0 {
			return fmt.Errorf("%s: found a matcher with nothing in it, which would match every request; expected at least one matcher", option)
		}
		for name, raw := range set {
			if err := checkMatcher(option, name, raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkMatcher refuses a matcher that holds nothing: it matches nothing, and a
// deny of it would never apply, or it matches everything.
func checkMatcher(option, name string, raw json.RawMessage) error {
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return fmt.Errorf("%s: matcher %s: %w", option, name, err)
	}
	switch text := compact.String(); {
	case text == "null", text == "[]", text == "{}" && matchesByEntries(name):
		return fmt.Errorf("%s: matcher %s has nothing in it; expected something to match", option, name)
	case name == "gatehouse", name == "expression" && strings.Contains(text, "gatehouse("):
		return fmt.Errorf("%s: found the gatehouse matcher, which asks what this gate is about to decide; expected `when <kind> <value>...` or a kind line", option)
	case name == "not":
		var sets caddyhttp.RawMatcherSets
		if err := json.Unmarshal(raw, &sets); err != nil {
			return fmt.Errorf("%s: matcher not: %w", option, err)
		}
		return checkMatcherSets(option+": not", sets)
	}
	return nil
}

// matchesByEntries names matchers of which an empty one looks at nothing. Others
// mean something when they are empty, such as file.
func matchesByEntries(name string) bool {
	switch name {
	case "header", "header_regexp", "query", "vars", "vars_regexp", "path_regexp", "remote_ip", "client_ip":
		return true
	}
	return false
}

func isMethod(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return (c < 'A' || c > 'Z') && c != '-' && c != '_' })
}

func (s *Selector) compile(ctx caddy.Context) (selector, error) {
	out := selector{told: tellMatchers(s.MatchersRaw)}
	if len(s.Methods) > 0 {
		out.methods = setOf(s.Methods)
		if out.methods[http.MethodGet] {
			out.methods[http.MethodHead] = true
		}
	}
	if len(s.Paths) > 0 {
		out.paths = pathMatcher(s.Paths)
		out.patterns = newPathPatterns(out.paths)
	}
	sets, err := loadMatchers(ctx, s, "MatchersRaw", s.MatchersRaw)
	out.sets = sets
	return out, err
}

func loadMatchers(ctx caddy.Context, owner any, field string, raw caddyhttp.RawMatcherSets) (caddyhttp.MatcherSets, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	mods, err := ctx.LoadModule(owner, field)
	if err != nil {
		return nil, fmt.Errorf("loading matchers: %w", err)
	}
	var sets caddyhttp.MatcherSets
	if err := sets.FromInterface(mods); err != nil {
		return nil, err
	}
	return sets, nil
}

// matches evaluates the whole selector on one view of the request.
func (s *selector) matches(r *http.Request) (bool, error) {
	if !s.takesMethod(r) {
		return false, nil
	}
	if s.paths == nil && s.sets == nil {
		return true, nil
	}
	if s.paths != nil && s.matchesPath(r) {
		return true, nil
	}
	if s.sets == nil {
		return false, nil
	}
	return s.sets.AnyMatchWithError(r)
}

func (s *selector) takesMethod(r *http.Request) bool {
	return s.methods == nil || s.methods[r.Method] || r.Method == http.MethodOptions && s.methods[http.MethodGet]
}

func (s *selector) matchesPath(r *http.Request) bool {
	path := r.URL.Path
	if s.patterns == nil || !isPlainPath(path) {
		return s.paths.Match(r)
	}
	for i := range s.patterns {
		if s.patterns[i].matches(path) {
			return true
		}
	}
	return false
}
