package token_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

func TestPolicyThatIsNoPolicyIsAnError(t *testing.T) {
	for name, change := range map[string]func(*token.Policy){
		"no issuer":                  func(p *token.Policy) { p.Issuer = "" },
		"no audience":                func(p *token.Policy) { p.Audiences = nil },
		"an empty audience":          func(p *token.Policy) { p.Audiences = []string{"panel", ""} },
		"audiences beside any":       func(p *token.Policy) { p.AnyAudience = true },
		"no algorithms":              func(p *token.Policy) { p.Algorithms = nil },
		"algorithm none":             func(p *token.Policy) { p.Algorithms = []string{"none"} },
		"an empty algorithm":         func(p *token.Policy) { p.Algorithms = []string{"RS256", ""} },
		"an unknown algorithm":       func(p *token.Policy) { p.Algorithms = []string{"RS256", "ES256K"} },
		"an algorithm in small":      func(p *token.Policy) { p.Algorithms = []string{"rs256"} },
		"HMAC beside RSA":            func(p *token.Policy) { p.Algorithms = []string{"RS256", "HS256"} },
		"RSA beside HMAC":            func(p *token.Policy) { p.Algorithms = []string{"HS256", "RS256"} },
		"an empty list of types":     func(p *token.Policy) { p.Types = []string{} },
		"a type that is only prefix": func(p *token.Policy) { p.Types = []string{"application/"} },
		"negative leeway":            func(p *token.Policy) { p.Leeway = -1 },
		"negative max_age":           func(p *token.Policy) { p.MaxAge = -1 },
		"a wildcard subject":         func(p *token.Policy) { p.Subject = must(token.ParseClaimPath("a.*")) },
		"no clock":                   func(p *token.Policy) { p.Now = nil },
	} {
		t.Run(name, func(t *testing.T) {
			p := policy()
			change(&p)
			v, err := token.NewVerifier(p, publicKeys())
			if err == nil || v != nil || !strings.Contains(err.Error(), "expected") {
				t.Errorf("verifier %v, error %v", v, err)
			}
		})
	}
	if _, err := token.NewVerifier(policy(), nil); err == nil {
		t.Error("no keys: accepted")
	}
}

// The caller's slices are the caller's: appending to a list of audiences later must not widen a policy.
func TestPolicyIsACopy(t *testing.T) {
	p := policy()
	v := verifier(p, publicKeys())
	p.Audiences[0] = "other"
	accept(t, v, edToken(goodClaims))
	refuse(t, v, edToken(claimsWith("aud", `"other"`)), token.Invalid)
}

// "I cannot check" is not "you are wrong", and whatever is unknown refuses.
func TestErrorsOfKeys(t *testing.T) {
	down := &token.UnavailableError{RetryAfter: 7 * time.Second, Err: errors.New("connection refused")}
	for _, c := range []struct {
		name  string
		err   error
		want  token.Kind
		retry time.Duration
	}{
		{"no such key", token.ErrNoSuchKey, token.Invalid, 0},
		{"no such key, wrapped", fmt.Errorf("set: %w", token.ErrNoSuchKey), token.Invalid, 0},
		{"unavailable", down, token.Unavailable, 7 * time.Second},
		{"unavailable, wrapped", fmt.Errorf("set: %w", down), token.Unavailable, 7 * time.Second},
		{"unavailable after looking in vain", errors.Join(token.ErrNoSuchKey, down), token.Unavailable, 7 * time.Second},
		{"client gone", context.Canceled, token.Unavailable, 0},
		{"waited too long", context.DeadlineExceeded, token.Unavailable, 0},
		{"anything else", errors.New("what"), token.Internal, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := verifier(policy(), keyFunc(func(context.Context, token.Query) (token.Key, error) { return edKey(), c.err }))
			e := refuse(t, v, edToken(goodClaims), c.want)
			if e.RetryAfter != c.retry || !errors.Is(e, c.err) {
				t.Errorf("retry after %v, error %v", e.RetryAfter, e)
			}
		})
	}
}

// Whoever gives no key and no error has given none.
func TestAttackZeroKeyVerifiesNothing(t *testing.T) {
	refuse(t, verifier(policy(), anyway(token.Key{})), edToken(goodClaims), token.Invalid)
}

// Keys are asked for the algorithm under its first name, with the kid as it came, and not at all for a foreign alg.
func TestQueryOfAToken(t *testing.T) {
	var got []token.Query
	v := verifier(policy(), keyFunc(func(_ context.Context, q token.Query) (token.Key, error) {
		got = append(got, q)
		return edKey(), nil
	}))
	accept(t, v, compact("EdDSA", `{"alg":"Ed25519","kid":"a/b"}`, goodClaims))
	accept(t, v, compact("EdDSA", `{"alg":"EdDSA"}`, goodClaims))
	refuse(t, v, compact("HS256", `{"alg":"HS256"}`, goodClaims), token.Invalid)
	want := []token.Query{{KeyID: "a/b", HasKeyID: true, Algorithm: "EdDSA"}, {Algorithm: "EdDSA"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("asked for %v, want %v", got, want)
	}
}

// A token without kid is judged only when there is no choice of keys.
func TestTokenWithoutKeyID(t *testing.T) {
	raw := compact("ES256", `{"alg":"ES256"}`, goodClaims)
	accept(t, verifier(policy(), publicKeys()), raw)
	refuse(t, verifier(policy(), append(publicKeys(), p256Key())), raw, token.Invalid)
}

// A panic on the way must refuse: an unwound stack lets nobody in.
func TestAttackPanicRefuses(t *testing.T) {
	for name, v := range map[string]*token.Verifier{
		"in the keys": verifier(policy(), keyFunc(func(context.Context, token.Query) (token.Key, error) { panic("boom") })),
		"in the clock": verifier(func() token.Policy {
			p := policy()
			p.Now = func() time.Time { panic("boom") }
			return p
		}(), publicKeys()),
		"zero verifier": {},
		"nil verifier":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			e := refuse(t, v, edToken(goodClaims), map[bool]token.Kind{true: token.Invalid, false: token.Internal}[name == "zero verifier"])
			if strings.HasPrefix(name, "in") && !strings.Contains(e.Error(), "boom") {
				t.Errorf("the error does not say what happened: %v", e)
			}
		})
	}
	v := verifier(policy(), publicKeys())
	for _, u := range []*token.Unverified{nil, {}} {
		if c, err := v.Verify(t.Context(), u); err == nil || c != nil {
			t.Errorf("%v: %v, %v", u, c, err)
		}
	}
}

func TestVerifierServesManyGoroutines(t *testing.T) {
	v := verifier(policy(), publicKeys())
	good, bad := edToken(goodClaims), edToken(claimsWith("aud", `"other"`))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if _, err := judge(t, v, good); err != nil {
					t.Error(err)
				}
				if _, err := judge(t, v, bad); err == nil {
					t.Error("accepted")
				}
			}
		})
	}
	wg.Wait()
}
