package token

import (
	"slices"
	"time"
)

// checkClaims holds verified claims against the policy.
func (v *Verifier) checkClaims(all map[string]any, h *header) (*Claims, *Error) {
	c := &Claims{all: all}
	if fault := v.checkWho(c, h); fault != nil {
		return nil, fault
	}
	dates, fault := readDates(c)
	if fault != nil {
		return nil, fault
	}
	if fault := v.checkTime(c, dates); fault != nil {
		return nil, fault
	}
	// After the dates, unlike all the rest: a token without a subject is ours all the same, and an old one is old.
	if fault := v.checkSubject(c); fault != nil {
		return nil, fault
	}
	return c, nil
}

// checkWho says whether the token is ours: whose it is, for whom, and of what type.
func (v *Verifier) checkWho(c *Claims, h *header) *Error {
	if c.issuer, _ = c.all["iss"].(string); c.issuer != v.policy.Issuer {
		return invalid("iss is not the issuer's")
	}
	if fault := v.checkAudience(c.all); fault != nil {
		return fault
	}
	if !v.checkType(h) {
		return invalid("typ is not allowed")
	}
	// RFC 7800 section 3: the token is good only together with proof of a key, which we cannot check.
	if _, ok := c.all["cnf"]; ok {
		return invalid("cnf is present")
	}
	c.id, _ = c.all["jti"].(string)
	return nil
}

func (v *Verifier) checkSubject(c *Claims) *Error {
	subject, _ := c.Lookup(v.policy.Subject)
	// Control characters: the subject goes into headers and log lines.
	if c.subject, _ = subject.(string); c.subject == "" || hasControl(c.subject) {
		return invalid("subject is missing or not plain text")
	}
	return nil
}

func (v *Verifier) checkAudience(all map[string]any) *Error {
	value, ok := all["aud"]
	if !ok {
		if v.policy.AnyAudience {
			return nil
		}
		return invalid("aud is missing")
	}
	named := v.policy.AnyAudience
	switch aud := value.(type) {
	case string:
		named = named || slices.Contains(v.policy.Audiences, aud)
	case []any:
		if len(aud) == 0 {
			return invalid("aud is empty")
		}
		for _, member := range aud {
			s, ok := member.(string)
			if !ok {
				return invalid("aud holds something else than strings")
			}
			named = named || slices.Contains(v.policy.Audiences, s)
		}
	default:
		return invalid("aud is neither a string nor an array")
	}
	if !named {
		return invalid("aud does not name us")
	}
	return nil
}

func (v *Verifier) checkType(h *header) bool {
	if !h.hasType {
		return v.noType
	}
	return slices.Contains(v.types, mediaType(h.typ))
}

type dates struct {
	notBefore    time.Time
	hasNotBefore bool
}

// readDates makes sure that dates are dates before any of them decides something.
func readDates(c *Claims) (dates, *Error) {
	var d dates
	seconds, expiry, ok := numericDate(c.all["exp"])
	if !ok || seconds <= 0 {
		return d, invalid("exp is missing or no date")
	}
	c.expiry = expiry
	if value, present := c.all["iat"]; present {
		_, issued, ok := numericDate(value)
		if !ok {
			return d, invalid("iat is no date")
		}
		c.issuedAt = &issued
	}
	if value, present := c.all["nbf"]; present {
		if _, d.notBefore, ok = numericDate(value); !ok {
			return d, invalid("nbf is no date")
		}
		d.hasNotBefore = true
	}
	// auth_time decides nothing here. One that is no date is as good as absent, which fails the rules that need it.
	if _, signedIn, ok := numericDate(c.all["auth_time"]); ok {
		c.authTime = &signedIn
	}
	return d, nil
}

func (v *Verifier) checkTime(c *Claims, d dates) *Error {
	now := v.policy.Now()
	// RFC 7519 section 4.1.4: on or after exp it is over.
	if !now.Before(c.expiry.Add(v.policy.Leeway)) {
		return &Error{Kind: Expired, Reason: "exp has passed"}
	}
	if v.policy.MaxAge > 0 {
		if c.issuedAt == nil {
			return &Error{Kind: Expired, Reason: "iat is missing where max_age needs it"}
		}
		if now.After(c.issuedAt.Add(v.policy.MaxAge)) {
			return &Error{Kind: Expired, Reason: "iat is older than max_age"}
		}
		// An iat in the future would never grow old.
		if c.issuedAt.After(now.Add(v.policy.Leeway)) {
			return &Error{Kind: NotYetValid, Reason: "iat is in the future"}
		}
	}
	if d.hasNotBefore && now.Add(v.policy.Leeway).Before(d.notBefore) {
		return &Error{Kind: NotYetValid, Reason: "nbf is in the future"}
	}
	return nil
}
