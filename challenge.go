package gatehouse

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Challenge is what refusals say in WWW-Authenticate.
type Challenge struct {
	// The protection space (RFC 9110, section 11.5). Printable ASCII.
	// Default: `gatehouse`.
	Realm string `json:"realm,omitempty"`

	// What a 403 says: `off` (default) nothing, `scope` which scopes are
	// missing (RFC 6750, section 3.1), for clients that ask for more by
	// themselves.
	Forbidden string `json:"forbidden,omitempty"`

	// Where the metadata of this protected resource is (RFC 9728, section 5.1):
	// an https URL, or http on loopback. Default: it is not told.
	ResourceMetadata string `json:"resource_metadata,omitempty"`
}

const (
	defaultRealm = "gatehouse"

	forbiddenOff   = "off"
	forbiddenScope = "scope"

	profileDefault = "default"
	profileRFC     = "rfc"
)

func (c *Challenge) check() error {
	if c == nil {
		return nil
	}
	if strings.ContainsFunc(c.Realm, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("challenge: realm %q: expected printable ASCII, which is all that a header carries safely", c.Realm)
	}
	if !slices.Contains([]string{"", forbiddenOff, forbiddenScope}, c.Forbidden) {
		return fmt.Errorf("challenge: forbidden: found %q; expected off or scope", c.Forbidden)
	}
	if c.ResourceMetadata == "" || strings.Contains(c.ResourceMetadata, "{") {
		return nil // none, or checked once it is known
	}
	return checkMetadataURL(c.ResourceMetadata)
}

func checkMetadataURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" ||
		u.Scheme == "http" && !isLoopback(u.Hostname()) ||
		strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
		return fmt.Errorf("challenge: resource_metadata: found %q; expected an https URL", text)
	}
	return nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func (g *Gatehouse) checkProfile() error {
	if !slices.Contains([]string{"", profileDefault, profileRFC}, g.Profile) {
		return fmt.Errorf("profile: found %q; expected default or rfc", g.Profile)
	}
	return nil
}

// challenger says what is due in WWW-Authenticate, and in which status.
type challenger struct {
	base      string // scheme and realm
	metadata  string // as a parameter; empty: none
	rfc       bool
	tellScope bool
	quiet     bool // about which scopes are missing
}

func (g *Gatehouse) compileChallenge() (challenger, error) {
	conf := Challenge{Realm: defaultRealm}
	if g.Challenge != nil {
		conf = *g.Challenge
		if conf.Realm == "" {
			conf.Realm = defaultRealm
		}
	}
	var err error
	if conf.Realm, err = resolve("realm", conf.Realm); err != nil {
		return challenger{}, err
	}
	if conf.ResourceMetadata, err = resolve("resource_metadata", conf.ResourceMetadata); err != nil {
		return challenger{}, err
	}
	if err := conf.check(); err != nil {
		return challenger{}, err
	}
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(conf.Realm)
	out := challenger{base: `Bearer realm="` + quoted + `"`, rfc: g.Profile == profileRFC}
	out.tellScope = out.rfc || conf.Forbidden == forbiddenScope
	out.quiet = g.Privacy == privacyHIPAA
	if conf.ResourceMetadata != "" {
		out.metadata = `, resource_metadata="` + conf.ResourceMetadata + `"`
	}
	return out, nil
}

// effect is the code's, as the profile wants it.
func (c challenger) effect(why code) effect {
	e := why.effect()
	switch {
	case why == codeCredentialsMalformed && c.rfc:
		// RFC 6750, section 3.1.
		e.status, e.oauthError = http.StatusBadRequest, invalidRequest
	case (why == codeThrottled || why == codeLockedOut) && c.rfc:
		e.status = http.StatusTooManyRequests // RFC 6585, section 4
	case why == codeScopeMissing && c.tellScope:
		e.challenge = true
	}
	return e
}

// header is one challenge. Its text is fixed ASCII: clients compare it.
func (c challenger) header(no *refusal, e effect) string {
	if e.oauthError == "" {
		return c.base + c.metadata
	}
	text := c.base + `, error="` + e.oauthError + `", error_description="` + e.oauthText + `"`
	if scopes := no.lacks["scopes"]; no.code == codeScopeMissing && !c.quiet && isScopeList(scopes) {
		text += `, scope="` + scopes + `"`
	}
	// RFC 9470, section 3: what the new sign-in must be.
	if no.maxAge > 0 {
		text += `, max_age="` + strconv.Itoa(int(no.maxAge/time.Second)) + `"`
	}
	if len(no.acr) > 0 {
		text += `, acr_values="` + strings.Join(no.acr, " ") + `"`
	}
	return text + c.metadata
}

// isScopeList reports what may stand in a scope parameter (RFC 6750, section 3).
func isScopeList(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}
