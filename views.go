package gatehouse

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// views are the readings of one request: as the next handler will be served, as
// the client sent it (before rewrite, uri, method and try_files), and as an
// upstream may take either.
type views struct {
	served *http.Request
	others []*http.Request // none where all are the same
	// ambiguous: the request has more readings than any client means.
	ambiguous string
}

// maxMethods is how many methods one request may ask to be read as.
const maxMethods = 3

func newViews(r *http.Request) views {
	v := views{served: r}
	rootPath(r.URL)
	orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if ok && orig.URL != nil {
		rootPath(orig.URL)
		if orig.Method != r.Method || *orig.URL != *r.URL {
			v.others = append(v.others, originalView(r, orig))
		}
	}
	if isExtendedConnect(r) {
		v.served = asUpgradedGet(v.served)
		for i, other := range v.others {
			v.others[i] = asUpgradedGet(other)
		}
	}
	v.addUndecodedPaths()
	v.addOtherPaths()
	v.addOtherMethods()
	return v
}

// rootPath fills in the path of a target such as http://example.com, which is
// "/" to every upstream (RFC 9110, section 4.2.3).
func rootPath(u *url.URL) {
	if u.Path == "" && u.Opaque == "" {
		u.Path = "/"
	}
}

// each calls f for every view until it returns false.
func (v views) each(f func(*http.Request) bool) {
	if !f(v.served) {
		return
	}
	for _, other := range v.others {
		if !f(other) {
			return
		}
	}
}

// add appends a view that differs from r in method or path.
func (v *views) add(r *http.Request, method, path string) {
	view := r.WithContext(r.Context())
	view.Method = method
	if path != r.URL.Path {
		address := *r.URL
		address.Path, address.RawPath = path, ""
		view.URL, view.RequestURI = &address, address.RequestURI()
	}
	v.others = append(v.others, withOwnPlaceholders(view, r))
}

// encodedSlash escapes the escape of a slash, which decoding then keeps.
var encodedSlash = strings.NewReplacer("%2f", "%252F", "%2F", "%252F")

// addUndecodedPaths adds, where an encoded slash is let through, the paths in
// which it separates nothing: many upstreams split a path, or strip its
// parameters, before they decode it.
func (v *views) addUndecodedPaths() {
	for _, r := range append([]*http.Request{v.served}, v.others...) {
		if !hasEncodedSlash(r.URL) {
			continue
		}
		for _, escaped := range []string{encodedSlash.Replace(r.URL.RawPath), withoutParameters(r.URL.RawPath)} {
			path, err := url.PathUnescape(escaped)
			if err != nil {
				v.ambiguous = "path that cannot be decoded"
				return
			}
			if path != r.URL.Path {
				v.add(r, r.Method, path)
			}
		}
	}
}

// addOtherPaths adds the paths that upstreams make of unusual ones: servlet
// containers strip `;` parameters, a URL parser that gets the bare target takes
// what follows two slashes for a host, and PHP serves a script whatever follows
// its name.
func (v *views) addOtherPaths() {
	n := len(v.others)
	for i := -1; i < n; i++ {
		r := v.served
		if i >= 0 {
			r = v.others[i]
		}
		if path := r.URL.Path; isUnusual(path) {
			for _, other := range otherPaths(path) {
				v.add(r, r.Method, other)
			}
		}
	}
}

func isUnusual(path string) bool {
	return strings.Contains(path, ";") || strings.HasPrefix(path, "//") || scriptEnd(path) > 0
}

// otherPaths are the paths that these make of path, one or some of them. Each
// reader strips what it strips once: there are few, however long the path is.
func otherPaths(path string) []string {
	found := []string{path}
	add := func(other string) {
		if !slices.Contains(found, other) {
			found = append(found, other)
		}
	}
	for _, target := range []string{path, withoutParameters(path)} {
		for _, whole := range []string{target, withoutAuthority(target)} {
			plain := withoutParameters(whole)
			for _, other := range []string{whole, plain, withoutPathInfo(whole), withoutPathInfo(plain)} {
				add(other)
			}
		}
	}
	return found[1:]
}

// withoutPathInfo leaves out what follows a script's name (RFC 3875, section
// 4.1.5).
func withoutPathInfo(path string) string {
	if end := scriptEnd(path); end > 0 {
		return path[:end]
	}
	return path
}

// scriptEnd is where the name of a PHP script ends that is not the end of path.
func scriptEnd(path string) int {
	const extension = ".php"
	for i := 0; i+len(extension) < len(path); i++ {
		if path[i] == '.' && path[i+len(extension)] == '/' && strings.EqualFold(path[i:i+len(extension)], extension) {
			return i + len(extension)
		}
	}
	return 0
}

// withoutParameters strips `;` and what follows it from each segment (RFC 3986,
// section 3.3, leaves their meaning to the server).
func withoutParameters(path string) string {
	var out strings.Builder
	for i, segment := range strings.Split(path, "/") {
		if i > 0 {
			out.WriteByte('/')
		}
		name, _, _ := strings.Cut(segment, ";")
		out.WriteString(name)
	}
	return out.String()
}

// withoutAuthority is the path of //host/path, read as a network-path reference
// (RFC 3986, section 4.2).
func withoutAuthority(path string) string {
	rest, found := strings.CutPrefix(path, "//")
	if !found {
		return path
	}
	_, rest, found = strings.Cut(strings.TrimLeft(rest, "/"), "/")
	if !found {
		return "/"
	}
	return "/" + rest
}

// addOtherMethods adds the methods that frameworks take from a header or from
// the query in place of the one in the request line. What a body says is not
// read.
func (v *views) addOtherMethods() {
	methods := overriddenMethods(v.served)
	if len(methods) > maxMethods {
		v.ambiguous = "many method overrides"
		return
	}
	if len(methods) == 0 {
		return
	}
	for _, r := range append([]*http.Request{v.served}, v.others...) {
		for _, method := range methods {
			if method != r.Method {
				v.add(r, method, r.URL.Path)
			}
		}
	}
}

func overriddenMethods(r *http.Request) []string {
	var found []string
	note := func(value string) {
		if method := strings.ToUpper(strings.Trim(value, " \t")); isMethod(method) && !slices.Contains(found, method) {
			found = append(found, method)
		}
	}
	for name, values := range r.Header {
		if isMethodOverride(name) {
			for _, value := range values {
				note(value)
			}
		}
	}
	if query := r.URL.RawQuery; strings.Contains(query, "method") || strings.Contains(query, "%") {
		for pair := range strings.FieldsFuncSeq(query, isPairSeparator) {
			if value, ok := methodIn(pair); ok {
				note(value)
			}
		}
	}
	return found
}

// isPairSeparator knows that older parsers split a query at semicolons too.
func isPairSeparator(c rune) bool { return c == '&' || c == ';' }

// methodIn returns the value of a pair that is named _method, or that PHP calls
// so: it drops spaces before a name, ends it at a NUL, and turns dots and
// spaces within it into underscores.
func methodIn(pair string) (string, bool) {
	name, value, _ := strings.Cut(pair, "=")
	name, _, _ = strings.Cut(name, "%00")
	key, value, ok := cutPair(name + "=" + value)
	return value, ok && phpName.Replace(strings.TrimLeft(key, " ")) == "_method"
}

var phpName = strings.NewReplacer(".", "_", " ", "_")

// isMethodOverride names the headers that frameworks read a method from, in
// every spelling that an upstream may take for them.
func isMethodOverride(name string) bool {
	if len(name) < len("X-HTTP-Method") || foldHeaderByte(name[0]) != 'x' {
		return false
	}
	return sameHeader(name, "X-Http-Method-Override") || sameHeader(name, "X-Http-Method") || sameHeader(name, "X-Method-Override")
}

// originalView is the request as it came.
func originalView(r *http.Request, orig http.Request) *http.Request {
	view := r.WithContext(r.Context())
	view.Method = orig.Method
	view.URL = orig.URL
	view.RequestURI = orig.RequestURI
	return withOwnPlaceholders(view, r)
}

// viewAt is the request as it would be for another path, which is also the one
// that it seems to have come for.
func viewAt(r *http.Request, path string) *http.Request {
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
	if r.Body != nil && r.Body != http.NoBody {
		view.Body = &viewBody{of: r}
	}
	const started = "start_time" // of the request, which a new replacer would set anew
	since := caddyhttp.GetVar(r.Context(), started)
	caddyhttp.NewTestReplacer(view).Map(set.Get)
	caddyhttp.SetVar(r.Context(), started, since)
	return view
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
