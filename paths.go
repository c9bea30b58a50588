package gatehouse

import (
	"context"
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
	// GitLab's project paths. `*` means all paths. Dot segments, backslashes and
	// NUL stay refused everywhere, since no upstream needs them.
	Allow []string `json:"allow,omitempty"`
}

// views are the two readings of one request: as the next handler will be
// served, and as the client sent it, before rewrite, uri, method and try_files.
type views struct {
	served   *http.Request
	original *http.Request // nil where it is the same
}

func newViews(r *http.Request) views {
	v := views{served: r}
	rootPath(r.URL)
	orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if ok && orig.URL != nil {
		rootPath(orig.URL)
		if orig.Method != r.Method || *orig.URL != *r.URL {
			v.original = originalView(r, orig)
		}
	}
	if isExtendedConnect(r) {
		v.served = asUpgradedGet(v.served)
		if v.original != nil {
			v.original = asUpgradedGet(v.original)
		}
	}
	return v
}

// rootPath fills in the path of a target such as http://example.com, which is
// "/" to every upstream (RFC 9110, section 4.2.3).
func rootPath(u *url.URL) {
	if u.Path == "" && u.Opaque == "" {
		u.Path = "/"
	}
}

// originalView is the request as it came.
func originalView(r *http.Request, orig http.Request) *http.Request {
	view := r.WithContext(r.Context())
	view.Method = orig.Method
	view.URL = orig.URL
	view.RequestURI = orig.RequestURI
	return withOwnPlaceholders(view, r)
}

// unlistedView is the request as it would be for a path that nobody listed,
// which is also the one that it seems to have come for.
func unlistedView(r *http.Request, path string) *http.Request {
	address := *r.URL
	address.Path, address.RawPath = path, ""
	orig := http.Request{Method: originalMethod(r), URL: &address, RequestURI: address.RequestURI(), RemoteAddr: r.RemoteAddr}
	view := r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, orig))
	view.URL, view.RequestURI = &address, orig.RequestURI
	return withOwnPlaceholders(view, r)
}

// withOwnPlaceholders makes placeholders speak of the view itself: matchers such
// as expression, vars and file read the request through them. What earlier
// handlers set stays.
func withOwnPlaceholders(view, r *http.Request) *http.Request {
	set := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	caddyhttp.NewTestReplacer(view).Map(set.Get)
	return view
}

// each calls f for every view until it returns false.
func (v views) each(f func(*http.Request) bool) {
	if f(v.served) && v.original != nil {
		f(v.original)
	}
}

// safe reports that no view of the request changes anything (RFC 9110, section
// 9.2.1). A WebSocket upgrade is a GET and can do everything.
func (v views) safe() bool {
	safe := true
	v.each(func(r *http.Request) bool {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
			safe = !isUpgrade(r)
		default:
			safe = false
		}
		return safe
	})
	return safe
}

// isExtendedConnect reports a WebSocket over HTTP/2 (RFC 8441) or HTTP/3
// (RFC 9220), by the same signs as Caddy's reverse_proxy.
func isExtendedConnect(r *http.Request) bool {
	if r.Method != http.MethodConnect {
		return false
	}
	return r.ProtoMajor == 2 && r.Header.Get(":protocol") == "websocket" ||
		r.ProtoMajor == 3 && r.Proto == "websocket"
}

// isUpgrade reports a request that leaves HTTP behind when it succeeds.
func isUpgrade(r *http.Request) bool {
	return isExtendedConnect(r) || r.Header.Get("Upgrade") != ""
}

// asUpgradedGet shows an extended CONNECT to the rules as what it replaces.
func asUpgradedGet(r *http.Request) *http.Request {
	get := r.WithContext(r.Context())
	get.Method = http.MethodGet
	get.Header = r.Header.Clone()
	get.Header.Set("Connection", "Upgrade")
	get.Header.Set("Upgrade", "websocket")
	return withOwnPlaceholders(get, r)
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
