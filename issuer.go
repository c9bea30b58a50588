package gatehouse

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// internalIssuer is the `iss` of tokens from `issuer internal`.
const internalIssuer = "gatehouse"

// Issuer is one authority whose tokens are accepted. A token is judged only by
// the issuer that its `iss` claim names, byte for byte.
type Issuer struct {
	// Where this issuer was configured, as file:line. Set by the Caddyfile.
	Source string `json:"source,omitempty"`

	// The `iss` claim of its tokens. `{env.*}` and `{file.*}` are resolved at
	// load. Left empty together with `internal`.
	Issuer string `json:"issuer,omitempty"`

	// The built-in issuer: `iss` is `gatehouse`, and the key is an Ed25519 key
	// that the running server makes on first need and keeps in Caddy's storage.
	// `caddy gatehouse token` mints from it.
	Internal bool `json:"internal,omitempty"`

	// Where its public keys are: JWKS URLs (https, or http on loopback), or
	// files that hold a JWK, a JWKS, PEM public keys or certificates. Default:
	// found by OpenID Connect Discovery, else by RFC 8414, for which the issuer
	// must be an https URL.
	Keys []string `json:"keys,omitempty"`

	// The key of an issuer that signs with HMAC. Never together with `keys`.
	Secret *Secret `json:"secret,omitempty"`

	// Audiences that are us: a token must name one of them in `aud`
	// (RFC 8725, section 3.9). Required, unless `any_audience` is set.
	Audiences []string `json:"audiences,omitempty"`

	// Accept tokens whatever their audience, also tokens without one. Any
	// other service that takes this issuer's tokens can then replay them here.
	AnyAudience bool `json:"any_audience,omitempty"`

	// Signature algorithms that are accepted. Default: RS256, RS384, RS512,
	// PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA; with a secret HS256,
	// HS384 and HS512, as far as its length allows (RFC 7518, section 3.2).
	Algorithms []string `json:"algorithms,omitempty"`

	// Values of the `typ` header that are accepted, `""` for absent. Default:
	// `JWT`, `at+jwt` and absent.
	Types []string `json:"types,omitempty"`

	// The claim that identifies the visitor. Default: `sub`.
	Subject string `json:"subject,omitempty"`

	// Claims that hold roles. Default: `roles`, `role`, `realm_access.roles` and
	// `resource_access.<each audience>.roles`.
	Roles []string `json:"roles,omitempty"`

	// Claims that hold scopes. A string splits on spaces, an array does not.
	// Default: `scope` and `scp`.
	Scopes []string `json:"scopes,omitempty"`

	// Roles that this issuer may give; others in its tokens are ignored.
	// Required as soon as there are two issuers, unless `any_grants` is set.
	Grants []string `json:"grants,omitempty"`

	// Let this issuer give any role.
	AnyGrants bool `json:"any_grants,omitempty"`

	// How far the issuer's clock may differ from ours, for `exp` and `nbf`.
	// Default: 30s.
	Leeway *caddy.Duration `json:"leeway,omitempty"`

	// Refuse tokens issued longer ago than this, and tokens without `iat`.
	// Default: no limit.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// How long old keys serve while the issuer is out of reach, from the last
	// good fetch. Default: 24h.
	MaxStale caddy.Duration `json:"max_stale,omitempty"`
}

// trustedIssuer is one Issuer, compiled.
type trustedIssuer struct {
	name     string
	subject  string // the claim
	verifier *token.Verifier
	keys     readiness
	roles    []token.ClaimPath
	scopes   []token.ClaimPath
	grants   map[string]bool // nil: any
	maxAge   time.Duration
	leeway   time.Duration
}

// name is the issuer's `iss` as written, for messages and comparison.
func (is *Issuer) name() string {
	if is.Internal {
		return internalIssuer
	}
	return is.Issuer
}

// check finds what is wrong without looking at files, environment or network.
func (is *Issuer) check(many bool) error {
	fail := func(format string, args ...any) error {
		return at(is.Source, fmt.Errorf("issuer %s: "+format, append([]any{is.name()}, args...)...))
	}
	switch {
	case is.Internal && is.Issuer != "":
		return fail("internal has its own iss, %q; leave issuer out", internalIssuer)
	case is.name() == "":
		return at(is.Source, errors.New("issuer: found no iss; expected the iss claim of its tokens, or internal"))
	case is.Internal && (len(is.Keys) > 0 || is.Secret != nil):
		return fail("internal makes its own key; leave keys and secret out")
	case len(is.Keys) > 0 && is.Secret != nil:
		return fail("found both keys and secret; expected one of them, since a public key must never serve as an HMAC secret")
	case is.emptyList() != "":
		return fail("found an empty list of %s; expected some, or leave it out", is.emptyList())
	case len(is.Audiences) == 0 && !is.AnyAudience:
		return fail("found no audience; expected `audience <aud>...`: the value that this issuer puts in aud for this service (or `audience any`, which also accepts tokens made for others)")
	case len(is.Audiences) > 0 && is.AnyAudience:
		return fail("found audience any beside named ones; expected one of the two")
	case len(is.Grants) > 0 && is.AnyGrants:
		return fail("found grants any beside named roles; expected one of the two")
	case many && len(is.Grants) == 0 && !is.AnyGrants:
		return fail("found no grants; with two issuers each needs `grants <role>...`: the roles it may give (or `grants any`)")
	case is.Leeway != nil && (*is.Leeway < 0 || time.Duration(*is.Leeway) > time.Hour):
		return fail("leeway is %s; expected 0s to 1h", time.Duration(*is.Leeway))
	case is.MaxAge < 0 || is.MaxStale < 0:
		return fail("max_age and max_stale cannot be negative")
	}
	if err := is.checkKeys(); err != nil {
		return fail("%w", err)
	}
	if err := is.checkAlgorithms(); err != nil {
		return fail("%w", err)
	}
	for _, path := range slices.Concat(is.Roles, is.Scopes, []string{is.subject()}) {
		if _, err := token.ParseClaimPath(path); err != nil {
			return fail("claim %q: %w", path, err)
		}
	}
	return nil
}

// emptyList names a list that is there and holds nothing, but stands for a
// default when it is left out: who writes `"grants": []` means no role, not any.
func (is *Issuer) emptyList() string {
	for _, list := range []struct {
		name   string
		values []string
	}{{"keys", is.Keys}, {"algorithms", is.Algorithms}, {"types", is.Types}, {"grants", is.Grants}} {
		if list.values != nil && len(list.values) == 0 {
			return list.name
		}
	}
	return ""
}

func (is *Issuer) checkKeys() error {
	if is.Internal || is.Secret != nil {
		return is.Secret.check()
	}
	if len(is.Keys) == 0 && !strings.HasPrefix(is.Issuer, "{") {
		if u, err := url.Parse(is.Issuer); err != nil || u.Host == "" {
			return fmt.Errorf("it is not a URL, so its keys cannot be discovered; expected `keys <url|file>...` or `secret <value>`")
		}
		return keyset.Options{Issuer: is.Issuer}.Check()
	}
	for _, k := range is.Keys {
		if isURL(k) {
			if err := (keyset.Options{Issuer: is.Issuer, URL: k}).Check(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (is *Issuer) checkAlgorithms() error {
	for _, alg := range is.Algorithms {
		hmac := slices.Contains(token.SecretAlgorithms(), alg)
		switch {
		case !token.KnownAlgorithm(alg):
			return fmt.Errorf("found algorithm %q; expected some of %s (with a secret: %s)", alg,
				strings.Join(token.DefaultAlgorithms(), " "), strings.Join(token.SecretAlgorithms(), " "))
		case is.Internal && alg != "EdDSA" && alg != "Ed25519":
			return fmt.Errorf("found algorithm %s; expected EdDSA, which is what the built-in issuer's key can do, or leave algorithms out", alg)
		case hmac && is.Secret == nil:
			return fmt.Errorf("found algorithm %s without a secret; expected `secret`, since HMAC with a public key lets anybody sign", alg)
		case !hmac && is.Secret != nil:
			return fmt.Errorf("found algorithm %s beside a secret; expected some of %s", alg, strings.Join(token.SecretAlgorithms(), " "))
		}
	}
	return nil
}

func (is *Issuer) subject() string {
	if is.Subject == "" {
		return "sub"
	}
	return is.Subject
}

func isURL(s string) bool {
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
}

// compile resolves values, reads key files and asks the app for key sets that
// are fetched later. It touches neither network nor storage.
func (is *Issuer) compile(app *App, now func() time.Time) (*trustedIssuer, error) {
	name, err := resolve("issuer", is.name())
	if err != nil {
		return nil, err
	}
	audiences, err := resolveAll("audience", is.Audiences)
	if err != nil {
		return nil, err
	}
	t := &trustedIssuer{name: name, subject: is.subject(), maxAge: time.Duration(is.MaxAge)}
	keys, err := is.compileKeys(name, app)
	if err != nil {
		return nil, err
	}
	t.keys = keys
	policy := token.Policy{
		Issuer:      name,
		Audiences:   audiences,
		AnyAudience: is.AnyAudience,
		Algorithms:  is.algorithms(),
		Types:       is.Types,
		Leeway:      30 * time.Second,
		MaxAge:      time.Duration(is.MaxAge),
		Now:         now,
	}
	if is.Leeway != nil {
		policy.Leeway = time.Duration(*is.Leeway)
	}
	t.leeway = policy.Leeway
	if policy.Subject, err = token.ParseClaimPath(is.subject()); err != nil {
		return nil, err
	}
	if t.verifier, err = token.NewVerifier(policy, keys); err != nil {
		return nil, err
	}
	if err := is.compileClaims(t, audiences); err != nil {
		return nil, err
	}
	return t, nil
}

func (is *Issuer) algorithms() []string {
	switch {
	case len(is.Algorithms) > 0:
		return is.Algorithms
	case is.Secret != nil:
		return token.SecretAlgorithms()
	case is.Internal:
		return []string{"EdDSA"}
	}
	return token.DefaultAlgorithms()
}

func (is *Issuer) compileClaims(t *trustedIssuer, audiences []string) error {
	roles, scopes := is.Roles, is.Scopes
	if roles == nil {
		roles = []string{"roles", "role", "realm_access.roles"}
		for _, aud := range audiences {
			path, err := token.JoinClaimPath("resource_access", aud, "roles")
			if err != nil {
				continue // an audience that is no claim name has no such roles
			}
			t.roles = append(t.roles, path)
		}
	}
	if scopes == nil {
		scopes = []string{"scope", "scp"}
	}
	for _, list := range []struct {
		into *[]token.ClaimPath
		from []string
	}{{&t.roles, roles}, {&t.scopes, scopes}} {
		for _, text := range list.from {
			path, err := token.ParseClaimPath(text)
			if err != nil {
				return fmt.Errorf("claim %q: %w", text, err)
			}
			*list.into = append(*list.into, path)
		}
	}
	grants, err := resolveAll("grants", is.Grants)
	if err != nil {
		return err
	}
	if len(grants) > 0 {
		t.grants = setOf(grants)
	}
	return nil
}

func setOf(values []string) map[string]bool {
	set := make(map[string]bool, len(values))
	for _, v := range values {
		set[v] = true
	}
	return set
}
