package token

import (
	"strconv"
	"time"
)

// Assumption describes a visitor who is imagined, so that rules can be explained without a token.
type Assumption struct {
	Issuer, Subject string
	// SignedIn becomes auth_time.
	SignedIn time.Time
	// Claims are further claims, by their literal top-level names: strings, and lists of strings.
	Claims map[string][]string
	Now    time.Time
}

// AssumedClaims makes claims that no token carries and nobody has signed. They are for explaining what rules would say,
// never for a request from outside: whoever passes them on for a verified token lets anybody be anybody.
func AssumedClaims(a Assumption) *Claims {
	number := func(t time.Time) Number { return Number(strconv.FormatInt(t.Unix(), 10)) }
	issued, expiry := a.Now, a.Now.Add(time.Hour)
	all := map[string]any{
		"iss": a.Issuer, "sub": a.Subject,
		"iat": number(issued), "exp": number(expiry), "auth_time": number(a.SignedIn),
	}
	for name, values := range a.Claims {
		if len(values) == 1 {
			all[name] = values[0]
			continue
		}
		list := make([]any, 0, len(values))
		for _, v := range values {
			list = append(list, v)
		}
		all[name] = list
	}
	return &Claims{all: all, issuer: a.Issuer, subject: a.Subject, expiry: expiry, issuedAt: &issued, authTime: &a.SignedIn}
}
