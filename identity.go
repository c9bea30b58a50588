package gatehouse

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// identity is a recognised visitor. It is never changed once published.
type identity struct {
	id     string
	roles  []string
	scopes []string
	issuer string
	claims *token.Claims
	by     *authenticator // who recognised the visitor
	until  time.Time      // from then on the token is refused
}

// acr is how the visitor signed in (OpenID Connect Core, section 2).
func (id *identity) acr() string {
	path, err := token.ParseClaimPath("acr")
	if err != nil {
		return ""
	}
	text, _ := id.claims.Text(path)
	return text
}

// signedInWithin reports a sign-in not longer ago than d.
func (id *identity) signedInWithin(d time.Duration, now time.Time) bool {
	at, known := id.claims.AuthTime()
	return known && !now.After(at.Add(d)) && !at.After(now.Add(authTimeLeeway))
}

// visitorFrom returns what a gate said of the request's visitor: nil for an
// anonymous one. Without a gate on the request, ran is false.
func visitorFrom(r *http.Request) (id *identity, ran bool) {
	id, ran = caddyhttp.GetVar(r.Context(), identityVar).(*identity)
	return id, ran
}

// identityVar is where the identity travels in Caddy's vars.
const identityVar = "gatehouse.identity"

// placeholderPrefix is shared with Caddy's own authentication handlers, so that
// the access log's user_id works.
const placeholderPrefix = "http.auth.user."

// publish makes the identity known to later handlers and to the access log.
func (id *identity) publish(r *http.Request) {
	ctx := r.Context()
	repl := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	// What an earlier handler said about the visitor would shadow ours.
	repl.DeleteByPrefix(placeholderPrefix)
	earlier, _ := visitorFrom(r)
	caddyhttp.SetVar(ctx, identityVar, id)
	if earlier != nil {
		return // a gate before us on this request has set up the look-up
	}
	repl.Map(func(key string) (any, bool) {
		name, ours := strings.CutPrefix(key, placeholderPrefix)
		if !ours {
			return nil, false
		}
		now, _ := caddyhttp.GetVar(ctx, identityVar).(*identity)
		return now.placeholder(name)
	})
}

// placeholder resolves one {http.auth.user.*}.
func (id *identity) placeholder(name string) (any, bool) {
	if id == nil {
		return nil, false
	}
	switch name {
	case "id":
		return id.id, true
	case "roles":
		return joinClean(id.roles, ","), true
	case "scopes":
		return joinClean(id.scopes, " "), true
	case "issuer":
		return id.issuer, true
	}
	text, ours := strings.CutPrefix(name, "claims.")
	if !ours {
		return nil, false
	}
	path, err := token.ParseClaimPath(text)
	if err != nil {
		return nil, false
	}
	values := id.claims.Texts(path)
	if len(values) == 0 {
		return nil, false
	}
	return strings.Join(values, ","), true
}

// joinClean leaves out members that would read as two.
func joinClean(values []string, separator string) string {
	two := func(v string) bool { return strings.Contains(v, separator) }
	if slices.ContainsFunc(values, two) {
		values = slices.DeleteFunc(slices.Clone(values), two)
	}
	return strings.Join(values, separator)
}

// IdentityHeader tells the upstream one thing about the visitor.
type IdentityHeader struct {
	// The header's name. Every spelling that an upstream may take for it
	// (`X-User`, `X_User`, `x.user`) is deleted from all requests first.
	Name string `json:"name"`

	// What it holds: `id`, `roles`, `scopes`, `issuer` or `claim`. Roles are
	// joined by commas, scopes by spaces. A missing value leaves the header out.
	Value string `json:"value"`

	// The claim, where `value` is `claim`: its literal name, or a dotted path.
	Claim string `json:"claim,omitempty"`
}

func (h *IdentityHeader) check() error {
	name := textproto.CanonicalMIMEHeaderKey(h.Name)
	switch {
	case !httpguts.ValidHeaderFieldName(h.Name):
		return fmt.Errorf("identity_headers: found header name %q; expected letters, digits and hyphens", h.Name)
	case !httpguts.ValidTrailerHeader(name), slices.Contains(connectionHeaders(), name):
		return fmt.Errorf("identity_headers: %s steers the connection or the message itself; expected a header of your own, such as X-User", name)
	}
	switch h.Value {
	case "id", "roles", "scopes", "issuer":
		if h.Claim != "" {
			return fmt.Errorf("identity_headers: %s takes no claim beside %s", name, h.Value)
		}
		return nil
	case "claim":
		if h.Claim == "" {
			return errors.New("identity_headers: claim needs the name of the claim")
		}
		_, err := token.ParseClaimPath(h.Claim)
		return err
	}
	return fmt.Errorf("identity_headers: %s: found %q; expected id, roles, scopes, issuer or claim <claim>", name, h.Value)
}

// connectionHeaders are never ours to set, beside those that HTTP forbids as
// trailers.
func connectionHeaders() []string {
	return []string{
		"Connection", "Cookie", "Forwarded", "Host", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Upgrade",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Via", "Origin", "Referer",
	}
}

// headerPlan sets identity headers, and deletes what pretends to be one.
type headerPlan struct {
	headers []plannedHeader
	log     *zap.Logger
}

type plannedHeader struct {
	name  string // canonical
	value string
	path  token.ClaimPath
}

func newHeaderPlan(configured []*IdentityHeader, log *zap.Logger) (headerPlan, error) {
	plan := headerPlan{log: log}
	for _, h := range configured {
		p := plannedHeader{name: textproto.CanonicalMIMEHeaderKey(h.Name), value: h.Value}
		if h.Value == "claim" {
			path, err := token.ParseClaimPath(h.Claim)
			if err != nil {
				return plan, err
			}
			p.path = path
		}
		plan.headers = append(plan.headers, p)
	}
	return plan, nil
}

// strip deletes whatever claims to be an identity or an address, before
// anything is decided, so that no path to the next handler keeps it.
func (p headerPlan) strip(r *http.Request) {
	// Some frameworks serve these paths in place of the one that was judged.
	for name := range r.Header {
		if namesPath(name) {
			delete(r.Header, name)
		}
	}
	// A trailer filled in at the end of the body would pass any deletion.
	r.Trailer = nil
	// After an upgrade to h2c further requests would pass unseen.
	if slices.ContainsFunc(splitList(r.Header["Upgrade"]), isHTTPUpgrade) {
		r.Header.Del("Upgrade")
		r.Header.Del("Http2-Settings")
	}
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	for name := range r.Header {
		if !trusted && claimsAddress(name) || p.owns(name) {
			delete(r.Header, name)
		}
	}
	if len(p.headers) == 0 {
		return
	}
	p.stripConnection(r)
}

// isHTTPUpgrade reports a protocol that carries more HTTP requests: h2c, and
// upgrades to TLS (RFC 2817) or to a version of HTTP.
func isHTTPUpgrade(protocol string) bool {
	name, _, _ := strings.Cut(strings.ToLower(protocol), "/")
	return name == "h2c" || name == "h2" || name == "http" || name == "tls"
}

// namesPath names headers that replace the request's path, whoever sent them.
func namesPath(name string) bool {
	return sameHeader(name, "X-Original-Url") || sameHeader(name, "X-Rewrite-Url")
}

// claimsAddress names headers that panels believe, whoever sent them.
func claimsAddress(name string) bool {
	return sameHeader(name, "Cf-Connecting-Ip") || sameHeader(name, "True-Client-Ip") || sameHeader(name, "X-Real-Ip")
}

func (p headerPlan) owns(name string) bool {
	return slices.ContainsFunc(p.headers, func(h plannedHeader) bool { return sameHeader(name, h.name) })
}

// sameHeader compares as CGI-like upstreams do, which turn every character but
// letters and digits into an underscore (RFC 3875, section 4.1.18).
func sameHeader(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldHeaderByte(a[i]) != foldHeaderByte(b[i]) {
			return false
		}
	}
	return true
}

func foldHeaderByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '-'
}

// stripConnection takes our names out of Connection, whose listed headers
// reverse_proxy removes (RFC 9110, section 7.6.1): it would remove ours.
func (p headerPlan) stripConnection(r *http.Request) {
	lines := r.Header["Connection"]
	listed := splitList(lines)
	kept := slices.DeleteFunc(slices.Clone(listed), p.owns)
	if len(kept) == len(listed) {
		return
	}
	if len(kept) == 0 {
		r.Header.Del("Connection")
		return
	}
	r.Header["Connection"] = []string{strings.Join(kept, ", ")}
}

// set adds the headers of a recognised visitor.
func (p headerPlan) set(r *http.Request, id *identity) {
	for i := range p.headers {
		h := &p.headers[i]
		value := p.value(h, id)
		if value == "" {
			continue
		}
		if !safeHeaderValue(value) {
			p.log.Warn("identity header left out: its value holds control characters", zap.String("header", h.name))
			continue
		}
		r.Header[h.name] = []string{value}
	}
}

func (p headerPlan) value(h *plannedHeader, id *identity) string {
	switch h.value {
	case "id":
		return id.id
	case "roles":
		return p.join(h, id.roles, ",")
	case "scopes":
		return p.join(h, id.scopes, " ")
	case "issuer":
		return id.issuer
	}
	if text, scalar := id.claims.Text(h.path); scalar {
		return text
	}
	return p.join(h, id.claims.Texts(h.path), ",")
}

// join leaves out members that would read as two.
func (p headerPlan) join(h *plannedHeader, values []string, separator string) string {
	clean := func(v string) bool {
		return !strings.Contains(v, separator) && safeHeaderValue(v)
	}
	if !slices.ContainsFunc(values, func(v string) bool { return !clean(v) }) {
		return strings.Join(values, separator)
	}
	p.log.Warn("identity header left short: a member holds its separator or control characters", zap.String("header", h.name))
	return strings.Join(slices.DeleteFunc(slices.Clone(values), func(v string) bool { return !clean(v) }), separator)
}

// safeHeaderValue also refuses outer spaces, which receivers trim: `admin ` is
// not `admin`.
func safeHeaderValue(v string) bool {
	return httpguts.ValidHeaderFieldValue(v) && utf8.ValidString(v) && strings.TrimSpace(v) == v && !strings.ContainsAny(v, "\t\u0085\u2028\u2029")
}
