package gatehouse

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

const (
	// defaultTokenLimit is enough for tokens with hundreds of roles, and small
	// enough to parse for anybody.
	defaultTokenLimit = 8192
	maxTokenLimit     = 1 << 20
)

// authenticator answers who is asking.
type authenticator struct {
	sources tokenSources
	limit   int
	issuers map[string]*trustedIssuer
	order   roleOrder
	memory  *memory // nil: nothing is remembered
	meters  *meters
	now     func() time.Time
	assumed *identity // in rehearsals alone: whoever comes with a token
}

// identify verifies a credential. Every error is a *refusal.
func (a *authenticator) identify(ctx context.Context, c credential) (*identity, *refusal) {
	if c.missing() {
		return nil, refused(codeCredentialsMissing, "")
	}
	if a.assumed != nil {
		return a.assumed, nil
	}
	now := a.now()
	if id := a.memory.recall(c.raw, now); id != nil {
		a.meters.hit()
		traceCache(ctx, cacheHit)
		return id, nil
	}
	unverified, err := token.Parse(c.raw, a.limit)
	if err != nil {
		return nil, tokenRefusal(err)
	}
	issuer, known := a.issuers[unverified.Issuer()]
	if !known {
		no := refused(codeTokenInvalid, "unknown issuer")
		no.token = newTokenFacts(nil, unverified.Issuer(), unverified.KeyID())
		return nil, no
	}
	if a.memory == nil {
		return a.verify(ctx, issuer, unverified, now)
	}
	sum := sha256.Sum256([]byte(c.raw))
	if no := a.memory.recallRejected(sum, now); no != nil {
		traceCache(ctx, cacheHit)
		return nil, no
	}
	traceCache(ctx, cacheMiss)
	generation := issuer.keys.Generation()
	id, no := a.verify(ctx, issuer, unverified, now)
	if no != nil {
		// Who did not wait for newer keys cannot say that a signature is bad.
		if ctx.Err() == nil || no.code == codeTokenExpired {
			a.memory.reject(sum, no, issuer, generation, now)
		}
		return nil, no
	}
	a.memory.keep(c.raw, id, issuer, generation, now)
	return id, nil
}

// verify asks the issuer whose token it is. since is when the work on the token
// began.
func (a *authenticator) verify(ctx context.Context, issuer *trustedIssuer, unverified *token.Unverified, since time.Time) (*identity, *refusal) {
	claims, err := issuer.verifier.Verify(ctx, unverified)
	var no *refusal
	if err != nil {
		no = tokenRefusal(err)
		no.token = newTokenFacts(issuer, issuer.name, unverified.KeyID())
		if failure, ok := errors.AsType[*token.Error](err); ok {
			no.token.subject, no.token.expiry = failure.Subject, failure.Expiry
		}
	}
	a.meters.checked(no, a.now().Sub(since), a.memory != nil)
	if no != nil {
		return nil, no
	}
	id := issuer.identity(claims)
	id.by = a
	return id, nil
}

// recognise is identify for public paths: who cannot be recognised at once is
// anonymous, and no request waits for keys it does not need.
func (a *authenticator) recognise(ctx context.Context, c credential) *identity {
	if c.missing() {
		return nil
	}
	// A context that is over already: keys at hand are used, none are waited for.
	over, cancel := context.WithCancel(ctx)
	cancel()
	id, _ := a.identify(over, c)
	return id
}

// identity reads from verified claims who this is and what they may do.
func (t *trustedIssuer) identity(claims *token.Claims) *identity {
	id := &identity{id: claims.Subject(), issuer: t.name, claims: claims, until: t.until(claims)}
	for _, path := range t.roles {
		for _, role := range claims.Strings(path) {
			if role != "" && (t.grants == nil || t.grants[role]) && !slices.Contains(id.roles, role) {
				id.roles = append(id.roles, role)
			}
		}
	}
	for _, path := range t.scopes {
		for _, scope := range claims.Words(path) {
			if scope != "" && !slices.Contains(id.scopes, scope) {
				id.scopes = append(id.scopes, scope)
			}
		}
	}
	return id
}

// until is when a token begins to be refused for its age.
func (t *trustedIssuer) until(claims *token.Claims) time.Time {
	until := claims.Expiry().Add(t.leeway)
	if issued, has := claims.IssuedAt(); t.maxAge > 0 && has && issued.Add(t.maxAge).Before(until) {
		until = issued.Add(t.maxAge)
	}
	return until
}

// tokenRefusal turns an engine's error into a verdict. What it does not know
// is our own failure.
func tokenRefusal(err error) *refusal {
	var failure *token.Error
	if !errors.As(err, &failure) {
		return &refusal{code: codeInternalError, err: err}
	}
	no := &refusal{code: codeInternalError, cause: failure.Reason, err: failure.Err, retryAfter: failure.RetryAfter}
	switch failure.Kind {
	case token.Malformed:
		no.code = codeCredentialsMalformed
	case token.Invalid:
		no.code = codeTokenInvalid
	case token.Expired:
		no.code = codeTokenExpired
	case token.NotYetValid:
		no.code = codeTokenNotYetValid
	case token.Unavailable:
		no.code = codeKeysUnavailable
	case token.Internal:
	}
	return no
}

// checkOrigin stops another site from spending a visitor's cookie. It is for
// requests that are not safe.
func checkOrigin(r *http.Request) *refusal {
	// Browsers send Sec-Fetch-Site only to trustworthy origins; where it is
	// there, no page can forge it.
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "same-origin":
		return nil
	case "":
	default:
		return refused(codeOriginDenied, "cookie credential with Sec-Fetch-Site: "+knownFetchSite(site))
	}
	origins := r.Header["Origin"]
	if len(origins) == 1 && sameOrigin(origins[0], r) {
		return nil
	}
	return refused(codeOriginDenied, "cookie credential without an Origin of its own site")
}

// knownFetchSite keeps a client's own words out of the log.
func knownFetchSite(site string) string {
	switch site {
	case "same-site", "cross-site", "none":
		return site
	}
	return "(unknown)"
}

// sameOrigin compares an Origin (RFC 6454) with the host that was asked for.
// Without TLS here the scheme may still be https, ended by a proxy in front.
func sameOrigin(origin string, r *http.Request) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return false
	}
	if u.Scheme != "https" && (u.Scheme != "http" || r.TLS != nil) {
		return false
	}
	port := ":80"
	if u.Scheme == "https" {
		port = ":443"
	}
	return strings.EqualFold(strings.TrimSuffix(u.Host, port), strings.TrimSuffix(r.Host, port))
}
