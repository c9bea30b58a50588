package token

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"
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
func AssumedClaims(a Assumption) (*Claims, error) {
	issued, expiry := a.Now, a.Now.Add(time.Hour)
	all := map[string]any{
		"iss": a.Issuer, "sub": a.Subject, "iat": issued.Unix(), "exp": expiry.Unix(), "auth_time": a.SignedIn.Unix(),
	}
	for name, values := range a.Claims {
		all[name] = values
		if len(values) == 1 {
			all[name] = values[0]
		}
	}
	payload, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	decoded, ok := decodeClaims(new(jsontext.Decoder), payload)
	if !ok {
		return nil, errors.New("these are no claims that a token can have")
	}
	return &Claims{
		all: decoded, issuer: a.Issuer, subject: a.Subject, expiry: expiry,
		issuedAt: date{at: issued, set: true}, authTime: date{at: a.SignedIn, set: true},
	}, nil
}
