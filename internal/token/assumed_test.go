package token

import (
	"slices"
	"testing"
	"time"
)

// Assumed claims read as those of a token would.
func TestAssumedClaims(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c, err := AssumedClaims(Assumption{
		Issuer: "https://id.example.com", Subject: "ada", SignedIn: now.Add(-time.Hour), Now: now,
		Claims: map[string][]string{"realm_access.roles": {"admin", "user"}, "acr": {"strong"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := func(s string) ClaimPath {
		p, err := ParseClaimPath(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if got := c.Strings(path("realm_access.roles")); !slices.Equal(got, []string{"admin", "user"}) {
		t.Errorf("roles are %q", got)
	}
	for name, want := range map[string]string{"iss": "https://id.example.com", "sub": "ada", "acr": "strong", "auth_time": "1799996400"} {
		if got, ok := c.Text(path(name)); !ok || got != want {
			t.Errorf("%s is %q, %t; want %q", name, got, ok, want)
		}
	}
	if at, known := c.AuthTime(); !known || !at.Equal(now.Add(-time.Hour)) {
		t.Errorf("signed in at %v, %t", at, known)
	}
	if c.Issuer() != "https://id.example.com" || c.Subject() != "ada" || !c.Expiry().After(now) {
		t.Errorf("issuer %q, subject %q, expiry %v", c.Issuer(), c.Subject(), c.Expiry())
	}
}
