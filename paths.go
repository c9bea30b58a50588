package gatehouse

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// AmbiguousPaths relaxes the rule that a request path must read the same to
// everybody.
type AmbiguousPaths struct {
	// Paths below which an encoded slash (`%2F`) is let through, for upstreams
	// that need it in a single segment: RabbitMQ's virtual hosts, npm scopes,
	// GitLab's project paths. `*` means all paths. Rules hold for such a path
	// whether the upstream takes `%2F` for a slash or not, and `public` opens it
	// only if it does so both ways. Dot segments, backslashes and NUL stay refused
	// everywhere, since no upstream needs them.
	Allow []string `json:"allow,omitempty"`
}

// pathReading refuses what a matcher and an upstream would read differently.
type pathReading struct {
	encodedSlash caddyhttp.MatchPath // where it is allowed
}

func (c *AmbiguousPaths) check() error {
	if c == nil {
		return nil
	}
	if len(c.Allow) == 0 {
		return errors.New("ambiguous_paths: allow is empty; expected at least one path, or * for all")
	}
	for _, p := range c.Allow {
		if err := checkPathPattern("ambiguous_paths allow", p, true); err != nil {
			return err
		}
	}
	return nil
}

func newPathReading(c *AmbiguousPaths) pathReading {
	if c == nil {
		return pathReading{}
	}
	return pathReading{encodedSlash: pathMatcher(c.Allow)}
}

// check returns a refusal for a request that has more than one reading.
func (p pathReading) check(v views) *refusal {
	switch m := v.served.Method; {
	case m == http.MethodConnect:
		return refused(codeRequestAmbiguous, "CONNECT that is not a WebSocket")
	case strings.ToUpper(m) != m:
		// Methods are case-sensitive (RFC 9110, section 9.1), and many upstreams
		// fold them all the same.
		return refused(codeRequestAmbiguous, "method with lower-case letters")
	case v.ambiguous != "":
		return refused(codeRequestAmbiguous, v.ambiguous)
	}
	var no *refusal
	v.each(func(r *http.Request) bool {
		if reason := p.ambiguity(r); reason != "" {
			no = refused(codeRequestAmbiguous, reason)
		}
		return no == nil
	})
	return no
}

func (p pathReading) ambiguity(r *http.Request) string {
	u := r.URL
	switch {
	case u.Opaque != "":
		return "request target is not a path"
	case strings.IndexByte(u.Path, '\\') >= 0:
		return "backslash in the path"
	case strings.IndexByte(u.Path, 0) >= 0:
		return "NUL in the path"
	case hasDotSegment(u.Path):
		return "dot segment in the path"
	case hasEncodedSlash(u) && !p.encodedSlash.Match(r):
		return "encoded slash in the path"
	}
	return ""
}

// hasDotSegment looks at the decoded path. A parameter is cut off first: `..;x`
// is `..` to servlet containers.
func hasDotSegment(path string) bool {
	if !strings.Contains(path, "/.") && !strings.HasPrefix(path, ".") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		name, _, _ := strings.Cut(segment, ";")
		if name == "." || name == ".." {
			return true
		}
	}
	return false
}

func hasEncodedSlash(u *url.URL) bool {
	// RawPath is set wherever the path holds an escape that Go would not make.
	for i := strings.IndexByte(u.RawPath, '%'); i >= 0 && i+2 < len(u.RawPath); {
		if u.RawPath[i+1] == '2' && u.RawPath[i+2]|0x20 == 'f' {
			return true
		}
		next := strings.IndexByte(u.RawPath[i+1:], '%')
		if next < 0 {
			return false
		}
		i += 1 + next
	}
	return false
}

// pathMatcher builds Caddy's own path matcher. `/admin/*` covers `/admin` too,
// and `/users` covers `/users/`: a slash more or less never opens a door.
func pathMatcher(patterns []string) caddyhttp.MatchPath {
	m := make(caddyhttp.MatchPath, 0, 2*len(patterns))
	for _, p := range patterns {
		m = append(m, p)
		switch {
		case p == "*" || p == "/" || p == "/*":
		case strings.HasSuffix(p, "/*"):
			m = append(m, strings.TrimSuffix(p, "/*"))
		case strings.HasPrefix(p, "*") && strings.HasSuffix(p, "/"):
		case strings.HasSuffix(p, "/"):
			m = append(m, strings.TrimRight(p, "/"))
		case !strings.HasSuffix(p, "*"):
			m = append(m, p+"/")
		}
	}
	_ = m.Provision(caddy.Context{}) // folds case; it has no error to give
	return m
}

// checkPathPattern refuses patterns that would not mean what they say.
func checkPathPattern(option, p string, allowStar bool) error {
	switch {
	case p == "*" && !allowStar:
		return fmt.Errorf("%s: found *, which stands for every path; leave it out (only `public *` needs it)", option)
	case strings.ContainsAny(p, "{}"):
		return fmt.Errorf("%s: found a placeholder in path %q; expected plain text, since a placeholder that resolves to nothing would open the rule", option, p)
	case !strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "*"):
		return fmt.Errorf("%s: found path %q; expected one that starts with / or *, or a named matcher that starts with @", option, p)
	case strings.ContainsAny(p, "?#"):
		return fmt.Errorf("%s: found %q; expected a path without query or fragment", option, p)
	case len(p) > 2 && strings.Contains(p[1:len(p)-1], "*"), strings.ContainsAny(p, `[]\`):
		return fmt.Errorf("%s: found %q; expected * only at the start or the end, and no brackets: elsewhere they stop at slashes, and what lies deeper would slip past. Use a named matcher with path_regexp", option, p)
	}
	return nil
}
