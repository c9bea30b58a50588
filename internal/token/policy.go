package token

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// checkClaims holds verified claims against the policy.
func (v *Verifier) checkClaims(all value, h *header) (*Claims, *Error) {
	c := &Claims{all: all}
	if fault := v.checkWho(c, h); fault != nil {
		return nil, fault
	}
	notBefore, fault := readDates(c)
	if fault != nil {
		return nil, fault
	}
	if fault := v.checkTime(c, notBefore); fault != nil {
		if v.checkSubject(c) == nil {
			fault.Subject = c.subject
		}
		fault.Expiry = c.expiry
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
	if c.issuer, _ = c.all.member("iss").str(); c.issuer != v.policy.Issuer {
		return invalid("iss is not the issuer's")
	}
	if fault := v.checkAudience(c.all); fault != nil {
		return fault
	}
	if !v.checkType(h) {
		return invalid("typ is not allowed")
	}
	// RFC 7800 section 3: the token is good only together with proof of a key, which we cannot check.
	if c.all.member("cnf") != nil {
		return invalid("cnf is present")
	}
	c.id, _ = c.all.member("jti").str()
	return nil
}

func (v *Verifier) checkSubject(c *Claims) *Error {
	v.policy.Subject.each(c.all, func(found value) { c.subject, _ = found.str() })
	// Control characters: the subject goes into headers and log lines.
	if c.subject == "" || hasControl(c.subject) {
		return invalid("subject is missing or not plain text")
	}
	return nil
}

func (v *Verifier) checkAudience(all value) *Error {
	aud := all.member("aud")
	if aud == nil {
		if v.policy.AnyAudience {
			return nil
		}
		return invalid("aud is missing")
	}
	named := v.policy.AnyAudience
	switch aud[0].kind {
	case jsontext.KindString:
		named = named || slices.Contains(v.policy.Audiences, aud[0].text)
	case jsontext.KindBeginArray:
		if len(aud) == 1 {
			return invalid("aud is empty")
		}
		for member := range aud.members() {
			s, ok := member.str()
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

// readDates makes sure that dates are dates before any of them decides something.
func readDates(c *Claims) (notBefore date, fault *Error) {
	seconds, expiry, ok := numericDate(c.all.member("exp"))
	if !ok || seconds <= 0 {
		return date{}, invalid("exp is missing or no date")
	}
	c.expiry = expiry
	if c.issuedAt, ok = optionalDate(c.all.member("iat")); !ok {
		return date{}, invalid("iat is no date")
	}
	if notBefore, ok = optionalDate(c.all.member("nbf")); !ok {
		return date{}, invalid("nbf is no date")
	}
	// auth_time decides nothing here. One that is no date is as good as absent, which fails the rules that need it.
	c.authTime, _ = optionalDate(c.all.member("auth_time"))
	return notBefore, nil
}

// optionalDate is not ok for what is there and no date.
func optionalDate(v value) (d date, ok bool) {
	if v == nil {
		return date{}, true
	}
	_, d.at, d.set = numericDate(v)
	return d, d.set
}

func (v *Verifier) checkTime(c *Claims, notBefore date) *Error {
	now := v.policy.Now()
	// RFC 7519 section 4.1.4: on or after exp it is over.
	if !now.Before(c.expiry.Add(v.policy.Leeway)) {
		return &Error{Kind: Expired, Reason: "exp has passed"}
	}
	if v.policy.MaxAge > 0 {
		if !c.issuedAt.set {
			return &Error{Kind: Expired, Reason: "iat is missing where max_age needs it"}
		}
		if now.After(c.issuedAt.at.Add(v.policy.MaxAge)) {
			return &Error{Kind: Expired, Reason: "iat is older than max_age"}
		}
		// An iat in the future would never grow old.
		if c.issuedAt.at.After(now.Add(v.policy.Leeway)) {
			return &Error{Kind: NotYetValid, Reason: "iat is in the future"}
		}
	}
	if notBefore.set && now.Add(v.policy.Leeway).Before(notBefore.at) {
		return &Error{Kind: NotYetValid, Reason: "nbf is in the future"}
	}
	return nil
}
