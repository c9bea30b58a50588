package gatehouse

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http/httpguts"
)

// CORS lets scripts of other sites read what the gate and its upstream answer
// (Fetch standard, "CORS protocol"). With it the gate answers preflights itself;
// without it they are passed on. An upstream that sets such headers too would
// say everything twice, which browsers refuse: let one of them do it.
type CORS struct {
	// Origins whose scripts may read answers: `https://app.example.com`,
	// `https://*.example.com` for all its subdomains, or `*` alone for every
	// origin, then without credentials. `{env.*}` and `{file.*}` are resolved at
	// load.
	Origins []string `json:"origins,omitempty"`

	// Methods that scripts may use. Default: GET, HEAD, POST, PUT, PATCH and
	// DELETE.
	Methods []string `json:"methods,omitempty"`

	// Request headers that scripts may set beside the ones that are always
	// allowed. Default: Authorization and Content-Type.
	Headers []string `json:"headers,omitempty"`

	// Let scripts send cookies. An origin that is listed may then spend a
	// visitor's cookie with unsafe methods too.
	Credentials bool `json:"credentials,omitempty"`

	// How long browsers remember the answer to a preflight. Default: they
	// decide, which is 5 seconds.
	MaxAge caddy.Duration `json:"max_age,omitempty"`
}

// allowOrigin and its kin are the headers of the protocol.
const (
	allowOrigin      = "Access-Control-Allow-Origin"
	allowCredentials = "Access-Control-Allow-Credentials"
	allowMethods     = "Access-Control-Allow-Methods"
	allowHeaders     = "Access-Control-Allow-Headers"
	exposeHeaders    = "Access-Control-Expose-Headers"
	corsMaxAge       = "Access-Control-Max-Age"
	requestMethod    = "Access-Control-Request-Method"
	requestHeaders   = "Access-Control-Request-Headers"
)

func (c *CORS) check() error {
	if c == nil {
		return nil
	}
	if len(c.Origins) == 0 {
		return errors.New("cors: found no origin; expected `origins <origin>...`, such as https://app.example.com")
	}
	for _, origin := range c.Origins {
		if strings.Contains(origin, "{") {
			continue // checked once it is known
		}
		if err := checkOriginPattern(origin); err != nil {
			return err
		}
	}
	for _, m := range c.Methods {
		if !isMethod(m) {
			return fmt.Errorf("cors: found method %q; expected one in capitals, such as POST", m)
		}
	}
	for _, h := range c.Headers {
		if !httpguts.ValidHeaderFieldName(h) {
			return fmt.Errorf("cors: found header %q; expected a header's name", h)
		}
	}
	switch {
	case slices.Contains(c.Origins, "*") && len(c.Origins) > 1:
		return errors.New("cors: found * beside other origins; expected either")
	case slices.Contains(c.Origins, "*") && c.Credentials:
		return errors.New("cors: found credentials with origin *, which would let every site act for the visitor; expected the origins that may")
	case c.MaxAge < 0:
		return fmt.Errorf("cors: max_age is %s; expected 0s or more", time.Duration(c.MaxAge))
	}
	return nil
}

// checkOriginPattern takes an origin as browsers write it (RFC 6454, section
// 6.2): scheme, host in lower case ASCII, and a port that is not the scheme's
// own. Another spelling would never match.
func checkOriginPattern(origin string) error {
	if origin == "*" {
		return nil
	}
	u, err := url.Parse(strings.Replace(origin, "://*.", "://", 1))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil ||
		u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(origin, "?") || strings.HasSuffix(origin, "#") ||
		strings.Contains(u.Host, "*") || origin != strings.ToLower(origin) || strings.ContainsFunc(origin, func(r rune) bool { return r > '~' }) ||
		strings.HasSuffix(u.Host, ":") || u.Port() == map[string]string{"https": "443", "http": "80"}[u.Scheme] {
		return fmt.Errorf("cors: found origin %q; expected scheme, host in lower case (xn--…) and port if it is unusual, such as https://app.example.com or https://*.example.com", origin)
	}
	return nil
}

// crossOrigin is a compiled CORS.
type crossOrigin struct {
	any         bool
	exact       map[string]bool
	suffixes    []originSuffix
	credentials bool
	methods     string
	headers     string
	maxAge      string // empty: not sent
}

// originSuffix is scheme://*.host.
type originSuffix struct{ scheme, host string }

func (c *CORS) compile() (*crossOrigin, error) {
	if c == nil {
		return nil, nil
	}
	origins, err := resolveAll("cors: origins", c.Origins)
	if err != nil {
		return nil, err
	}
	out := &crossOrigin{exact: make(map[string]bool), credentials: c.Credentials}
	for _, origin := range origins {
		if err := checkOriginPattern(origin); err != nil {
			return nil, err
		}
		scheme, host, wild := strings.Cut(origin, "://*")
		switch {
		case origin == "*":
			out.any = true
		case wild:
			out.suffixes = append(out.suffixes, originSuffix{scheme + "://", host})
		default:
			out.exact[origin] = true
		}
	}
	if out.any && (len(origins) > 1 || c.Credentials) {
		return nil, errors.New("cors: found origin * beside others or with credentials once placeholders are resolved")
	}
	methods, headers := c.Methods, c.Headers
	if methods == nil {
		methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
	}
	if headers == nil {
		headers = []string{"Authorization", "Content-Type"}
	}
	out.methods, out.headers = strings.Join(methods, ", "), strings.Join(headers, ", ")
	if c.MaxAge > 0 {
		out.maxAge = strconv.Itoa(seconds(time.Duration(c.MaxAge)))
	}
	return out, nil
}

// origin returns the request's origin if its scripts may read the answer. Two
// lines are no browser's.
func (c *crossOrigin) origin(r *http.Request) string {
	if c == nil {
		return ""
	}
	lines := r.Header["Origin"]
	if len(lines) != 1 || lines[0] == "" {
		return ""
	}
	if c.any || c.lists(lines[0]) {
		return lines[0]
	}
	return ""
}

func (c *crossOrigin) lists(origin string) bool {
	if c.exact[origin] {
		return true
	}
	return slices.ContainsFunc(c.suffixes, func(s originSuffix) bool {
		host, found := strings.CutPrefix(origin, s.scheme)
		// A host's name only: what else an origin could hold is no subdomain.
		return found && len(host) > len(s.host) && strings.HasSuffix(host, s.host) && !strings.ContainsFunc(host, notInHost)
	})
}

func notInHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != ':' && r != '_'
}

// trusts reports an origin that may spend a visitor's cookie.
func (c *crossOrigin) trusts(r *http.Request) bool {
	return c != nil && c.credentials && !c.any && c.origin(r) != ""
}

// allow sets what lets the origin's scripts read an answer. Whether it is
// allowed or not, the answer depends on who asks.
func (c *crossOrigin) allow(h http.Header, r *http.Request) (allowed bool) {
	if c == nil {
		return false
	}
	h.Add("Vary", "Origin")
	origin := c.origin(r)
	if origin == "" {
		return false
	}
	if c.any {
		origin = "*"
	}
	h.Set(allowOrigin, origin)
	if c.credentials {
		h.Set(allowCredentials, "true")
	}
	return true
}

// tellRefusal lets a listed origin's scripts read a refusal. One that is told
// that it is not listed gets nothing, whatever an earlier handler has set.
func (c *crossOrigin) tellRefusal(h http.Header, r *http.Request, why code) {
	if why == codeOriginDenied {
		for name := range h {
			if strings.HasPrefix(name, "Access-Control-") {
				delete(h, name)
			}
		}
		if c != nil {
			h.Add("Vary", "Origin")
		}
		return
	}
	if c.allow(h, r) {
		h.Set(exposeHeaders, "WWW-Authenticate, Retry-After")
	}
	if c == nil && h[allowOrigin] != nil {
		h.Add("Vary", "Origin") // another handler has answered to the origin
	}
}

// answerPreflight tells a browser what it may send. What the script asks for is
// not looked at: the browser compares.
func (c *crossOrigin) answerPreflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	c.allow(h, r)
	h.Add("Vary", requestMethod)
	h.Add("Vary", requestHeaders)
	h.Set(allowMethods, c.methods)
	h.Set(allowHeaders, c.headers)
	if c.maxAge != "" {
		h.Set(corsMaxAge, c.maxAge)
	}
	w.WriteHeader(http.StatusNoContent)
}
