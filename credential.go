package gatehouse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"
)

// TokenSource is one place in a request where a token may be.
type TokenSource struct {
	// Where to look: `header`, `cookie`, `query` or `websocket`.
	From string `json:"from"`

	// The name of the header, cookie or query parameter. A query parameter is
	// taken out of the URL before the next handler, but the access log has seen
	// it by then. `websocket` has none: it is `Sec-WebSocket-Protocol: bearer, <token>`.
	Name string `json:"name,omitempty"`

	// The scheme before the token in the header, such as `Bearer`, compared
	// without regard to case. Default: none, the whole header is the token.
	Scheme string `json:"scheme,omitempty"`
}

const (
	fromHeader    = "header"
	fromCookie    = "cookie"
	fromQuery     = "query"
	fromWebSocket = "websocket"

	protocolHeader = "Sec-Websocket-Protocol"
	bearerProtocol = "bearer"
)

func (s *TokenSource) check() error {
	switch s.From {
	case fromHeader, fromCookie:
		if !httpguts.ValidHeaderFieldName(s.Name) {
			return fmt.Errorf("token %s: found name %q; expected a name of letters, digits and hyphens", s.From, s.Name)
		}
		if s.Scheme != "" && (s.From == fromCookie || !httpguts.ValidHeaderFieldName(s.Scheme)) {
			return fmt.Errorf("token %s %s: found scheme %q; expected one word after a header's name, such as Bearer", s.From, s.Name, s.Scheme)
		}
		if strings.EqualFold(s.Name, "cookie") {
			return errors.New("token header Cookie: expected `token cookie <name>`")
		}
	case fromQuery:
		switch {
		case s.Name == "":
			return errors.New("token query: found no name; expected the name of a query parameter")
		case s.Scheme != "":
			return fmt.Errorf("token query %s: found scheme %q; expected none, since only a header has one", s.Name, s.Scheme)
		}
	case fromWebSocket:
		if s.Name != "" || s.Scheme != "" {
			return errors.New("token websocket: takes no name and no scheme")
		}
	default:
		return fmt.Errorf("token: found %q; expected header, cookie, query or websocket", s.From)
	}
	return nil
}

// credential is a token as a request carries it, not yet judged.
type credential struct {
	raw  string
	from string
}

func (c credential) missing() bool { return c.from == "" }

// tokenSources finds the credential of a request and takes it away again.
type tokenSources []TokenSource

func newTokenSources(configured []*TokenSource) tokenSources {
	if len(configured) == 0 {
		return tokenSources{{From: fromHeader, Name: "Authorization", Scheme: "Bearer"}}
	}
	out := make(tokenSources, 0, len(configured))
	for _, s := range configured {
		src := *s
		if src.From == fromHeader {
			src.Name = textproto.CanonicalMIMEHeaderKey(src.Name)
		}
		out = append(out, src)
	}
	return out
}

// find returns the credential in the first source that has one. A bad one is
// never passed over for the next, and a request that carries two is nobody's:
// which of them is meant would be the attacker's choice.
func (t tokenSources) find(r *http.Request) (credential, *refusal) {
	var first credential
	var headers, queries bool
	var no *refusal
	for i := range t {
		raw, count := t[i].read(r)
		if count == 0 {
			continue
		}
		headers = headers || t[i].From == fromHeader
		queries = queries || t[i].From == fromQuery
		if !first.missing() {
			continue
		}
		first = credential{raw: raw, from: t[i].From}
		switch {
		case count > 1:
			no = refused(codeCredentialsAmbiguous, "the "+t[i].From+" source holds two tokens")
		case raw == "":
			no = refused(codeCredentialsMalformed, "the "+t[i].From+" source holds no token")
		}
	}
	if headers && queries {
		// RFC 6750, section 2: clients must not use more than one method.
		no = refused(codeCredentialsAmbiguous, "a token in a header and one in the query")
	}
	return first, no
}

// read returns the token and how often the source occurs.
func (s *TokenSource) read(r *http.Request) (raw string, count int) {
	switch s.From {
	case fromHeader:
		return s.readHeader(r.Header[s.Name])
	case fromCookie:
		return readCookie(r, s.Name)
	case fromQuery:
		return readQuery(r.URL.RawQuery, s.Name)
	case fromWebSocket:
		return readProtocol(r.Header[protocolHeader])
	}
	return "", 0
}

func (s *TokenSource) readHeader(lines []string) (string, int) {
	if s.Scheme == "" {
		if len(lines) == 0 {
			return "", 0
		}
		return strings.Trim(lines[0], " \t"), len(lines)
	}
	for _, line := range lines {
		// RFC 9110, section 11.4, has a space there. Upstreams take a tab too:
		// what we passed over, they would believe.
		end := strings.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		if strings.EqualFold(line[:end], s.Scheme) {
			// Any second line counts: readers differ in which one they take.
			return strings.Trim(line[end:], " \t"), len(lines)
		}
	}
	return "", 0
}

// readCookie leaves empty cookies out: that is how a site signs out.
func readCookie(r *http.Request, name string) (raw string, count int) {
	if len(r.Header["Cookie"]) == 0 {
		return "", 0
	}
	for _, c := range r.CookiesNamed(name) {
		if c.Value != "" {
			raw = c.Value
			count++
		}
	}
	return raw, count
}

func readQuery(query, name string) (raw string, count int) {
	for pair := range strings.SplitSeq(query, "&") {
		if key, value, found := cutPair(pair); found && key == name {
			raw = value
			count++
		}
	}
	return raw, count
}

// cutPair decodes one pair of a query. One that cannot be decoded has no name.
func cutPair(pair string) (key, value string, found bool) {
	key, value, _ = strings.Cut(pair, "=")
	key, errKey := url.QueryUnescape(key)
	value, errValue := url.QueryUnescape(value)
	if errKey != nil || pair == "" {
		return "", "", false
	}
	if errValue != nil {
		value = ""
	}
	return key, value, true
}

func readProtocol(lines []string) (raw string, count int) {
	offered := splitList(lines)
	for i, p := range offered {
		if strings.EqualFold(p, bearerProtocol) {
			count++
			if i+1 < len(offered) {
				raw = offered[i+1]
			}
		}
	}
	return raw, count
}

func splitList(lines []string) []string {
	var out []string
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			if item = strings.Trim(item, " \t"); item != "" {
				out = append(out, item)
			}
		}
	}
	return out
}

// conceal takes away what the next handler must never see: tokens in the URL
// and in the WebSocket protocol list, and with all every other one too.
func (t tokenSources) conceal(r *http.Request, all bool) {
	for i := range t {
		s := &t[i]
		switch {
		case s.From == fromQuery:
			concealQuery(r, s.Name)
		case s.From == fromWebSocket:
			concealProtocol(r)
		case s.From == fromHeader && all:
			if _, count := s.read(r); count > 0 {
				r.Header.Del(s.Name)
			}
		case s.From == fromCookie && all:
			concealCookie(r, s.Name)
		}
	}
}

func concealQuery(r *http.Request, name string) {
	if _, count := readQuery(r.URL.RawQuery, name); count > 0 {
		r.URL.RawQuery = withoutParameter(r.URL.RawQuery, name)
		r.RequestURI = r.URL.RequestURI()
	}
	concealOriginal(r, name)
}

// withoutParameter leaves the other pairs of a query as they are written.
func withoutParameter(query, name string) string {
	kept := make([]string, 0, 4)
	for pair := range strings.SplitSeq(query, "&") {
		if key, _, found := cutPair(pair); !found || key != name {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&")
}

// concealOriginal does the same to the request that Caddy keeps as it came:
// FastCGI upstreams get that one's URI.
func concealOriginal(r *http.Request, name string) {
	orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || orig.URL == nil {
		return
	}
	if _, count := readQuery(orig.URL.RawQuery, name); count == 0 {
		return
	}
	orig.URL.RawQuery = withoutParameter(orig.URL.RawQuery, name)
	orig.RequestURI = orig.URL.RequestURI()
	// In place, since placeholders were bound to this very request.
	*r = *r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, orig))
}

func concealProtocol(r *http.Request) {
	offered := splitList(r.Header[protocolHeader])
	kept := make([]string, 0, len(offered))
	for i, p := range offered {
		if i == 0 || !strings.EqualFold(offered[i-1], bearerProtocol) {
			kept = append(kept, p)
		}
	}
	if len(kept) < len(offered) {
		r.Header[protocolHeader] = []string{strings.Join(kept, ", ")}
	}
}

func concealCookie(r *http.Request, name string) {
	lines := r.Header["Cookie"]
	if len(lines) == 0 {
		return
	}
	var kept []string
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ";") {
			part = strings.TrimSpace(part)
			key, _, _ := strings.Cut(part, "=")
			if part != "" && strings.TrimSpace(key) != name {
				kept = append(kept, part)
			}
		}
	}
	if len(kept) == 0 {
		r.Header.Del("Cookie")
		return
	}
	r.Header["Cookie"] = []string{strings.Join(kept, "; ")}
}
