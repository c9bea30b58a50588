package gatehouse

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-gatehouse/gatehouse/internal/limit"
)

// limitedSite is a site whose clock a test turns, with records of its own.
func limitedSite(t *testing.T, options string) (*site, *time.Time) {
	t.Helper()
	s := newSite(t, options)
	now := time.Now()
	gate := s.gate.gate
	gate.authn.now = func() time.Time { return now }
	gate.limits.store, gate.limits.keys = limit.NewTable(), limit.NewKeys()
	return s, &now
}

// forgedFrom is a request with a token that nobody signed.
func forgedFrom(t *testing.T, address string) ask {
	t.Helper()
	return ask{target: "/", token: newSigner(t, testIssuer).token(t, nil), from: address}
}

const lockoutOptions = "lockout {\nfailures 3\nwindow 1m\nban 15m\n}\npublic /login"

// Whoever guesses tokens is stopped, told exactly for how long, and may try again
// after that.
func TestLockout(t *testing.T) {
	s, now := limitedSite(t, lockoutOptions)
	for range 3 {
		s.expect(refusedWith(401, codeTokenInvalid), forgedFrom(t, ""))
	}
	w := s.expect(refusedWith(403, codeLockedOut), forgedFrom(t, ""))
	if w.Header().Get("Retry-After") != "900" || w.Header().Get("WWW-Authenticate") != "" || !strings.Contains(w.Body.String(), `"retry_after":900`) {
		t.Errorf("headers %v, body %s", w.Header(), w.Body)
	}
	*now = now.Add(15*time.Minute - time.Millisecond)
	if w = s.expect(refusedWith(403, codeLockedOut), forgedFrom(t, "")); w.Header().Get("Retry-After") != "1" {
		t.Errorf("at the end: Retry-After %s", w.Header().Get("Retry-After"))
	}
	*now = now.Add(time.Millisecond)
	s.expect(refusedWith(401, codeTokenInvalid), forgedFrom(t, ""))
}

// A lock-out must not become a way to lock others out: good tokens, visitors
// without a token and other networks are answered as ever.
func TestLockoutSparesEverybodyElse(t *testing.T) {
	s, _ := limitedSite(t, lockoutOptions)
	for range 10 {
		s.do(forgedFrom(t, ""))
	}
	s.expect(refusedWith(403, codeLockedOut), forgedFrom(t, ""))
	s.expect(pass(), ask{target: "/", token: s.token(t, nil)})
	s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/"})
	s.expect(refusedWith(401, codeTokenExpired), ask{target: "/", token: s.token(t, claims{"exp": 1})})
	s.expect(pass(), func() ask { a := forgedFrom(t, ""); a.target = "/login"; return a }())
	s.expect(refusedWith(401, codeTokenInvalid), forgedFrom(t, "192.0.2.2:1"))
}

// What a client cannot help is no attack.
func TestWhatIsNoFailure(t *testing.T) {
	s, _ := limitedSite(t, lockoutOptions)
	for range 50 {
		s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/"})
		s.expect(refusedWith(401, codeTokenExpired), ask{target: "/", token: s.token(t, claims{"exp": 1})})
		s.expect(refusedWith(401, codeTokenNotYetValid), ask{target: "/", token: s.token(t, claims{"nbf": time.Now().Add(time.Hour).Unix()})})
		s.expect(pass(), ask{target: "/", token: s.token(t, nil)})
		s.expect(pass(), func() ask { a := forgedFrom(t, ""); a.target = "/login"; return a }())
	}
	s.expect(refusedWith(401, codeTokenInvalid), forgedFrom(t, ""))
}

// A subscriber of IPv6 has 2^64 addresses at least; each as a client of its own
// would be no lock-out at all.
func TestLockoutCountsNetworks(t *testing.T) {
	s, _ := limitedSite(t, lockoutOptions)
	for i := range 3 {
		s.expect(refusedWith(401, codeTokenInvalid), forgedFrom(t, fmt.Sprintf("[2001:db8:1:2::%d]:1", i+1)))
	}
	s.expect(refusedWith(403, codeLockedOut), forgedFrom(t, "[2001:db8:1:2:ffff::1]:1"))
	s.expect(refusedWith(401, codeTokenInvalid), forgedFrom(t, "[2001:db8:1:3::1]:1"))
	// The same IPv4 client, whichever way its address is written.
	for range 3 {
		s.do(forgedFrom(t, "198.51.100.7:1"))
	}
	s.expect(refusedWith(403, codeLockedOut), forgedFrom(t, "[::ffff:198.51.100.7]:1"))
}

// Malformed ones count too, or garbage would be free.
func TestLockoutCountsMalformedCredentials(t *testing.T) {
	s, _ := limitedSite(t, lockoutOptions)
	for range 3 {
		s.expect(refusedWith(401, codeCredentialsMalformed), ask{target: "/", token: "garbage"})
	}
	s.expect(refusedWith(403, codeLockedOut), ask{target: "/", header: http.Header{"Authorization": {"Bearer"}}})
}

// The reason is in the log, with the lock-out; the client is told no more than
// that it has to wait.
func TestLockoutIsNoOracle(t *testing.T) {
	s, _ := limitedSite(t, lockoutOptions)
	for range 4 {
		s.do(forgedFrom(t, ""))
	}
	a := s.do(forgedFrom(t, "")).Body.String()
	b := s.do(ask{target: "/", token: "garbage"}).Body.String()
	mask := func(text string) string {
		return timePattern.ReplaceAllString(uuidPattern.ReplaceAllString(text, "ID"), "TIME")
	}
	if mask(a) != mask(b) {
		t.Errorf("a forged token: %s\ngarbage: %s", a, b)
	}
	if s.logs.FilterField(zap.String("code", "locked_out")).FilterField(zap.String("cause", "signature does not match")).Len() == 0 {
		t.Error("the log does not say why")
	}
}

func TestThrottleByUser(t *testing.T) {
	s, now := limitedSite(t, "throttle 3 1m\npublic /login")
	ada, bob := ask{target: "/", token: s.token(t, nil)}, ask{target: "/", token: s.token(t, claims{"sub": "bob"})}
	for range 3 {
		s.expect(pass(), ada)
	}
	w := s.expect(refusedWith(403, codeThrottled), ada)
	if w.Header().Get("Retry-After") != "20" || w.Header().Get("WWW-Authenticate") != "" || !strings.Contains(w.Body.String(), `"retry_after":20`) {
		t.Errorf("headers %v, body %s", w.Header(), w.Body)
	}
	// Another address is no way around it, another user is somebody else.
	ada.from = "198.51.100.1:1"
	s.expect(refusedWith(403, codeThrottled), ada)
	s.expect(pass(), bob)
	s.expect(pass(), ask{target: "/login"})
	*now = now.Add(20 * time.Second)
	s.expect(pass(), ada)
	s.expect(refusedWith(403, codeThrottled), ada)
}

// Nobody needs a token to be counted by address, and none is looked at for who is
// over: that is what it is for.
func TestThrottleByAddress(t *testing.T) {
	s, _ := limitedSite(t, "throttle 3 1m by address\nrequire /admin/* role admin")
	s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/"})
	s.expect(refusedWith(403, codeRoleMissing), ask{target: "/admin/x", token: s.token(t, nil)})
	s.expect(pass(), ask{target: "/", token: s.token(t, nil)})
	s.expect(refusedWith(403, codeThrottled), ask{target: "/", token: s.token(t, nil)})
	s.expect(refusedWith(403, codeThrottled), ask{target: "/"})
	s.expect(pass(), ask{target: "/", token: s.token(t, nil), from: "198.51.100.1:1"})
}

// Each rule counts what it speaks of, and only what it admits.
func TestThrottleOfARule(t *testing.T) {
	s, _ := limitedSite(t, `
		require POST /backups {
			role admin
			throttle 1 1h
		}
		require /search {
			when role guest
			throttle 1 1h
		}
		require /twice {
			throttle 2 1h
		}
		require /twice {
			throttle 5 1h
			name second
		}`)
	admin, guest := s.token(t, claims{"roles": "admin"}), s.token(t, claims{"roles": "guest", "sub": "g"})
	for range 3 {
		s.expect(refusedWith(403, codeRoleMissing), ask{method: "POST", target: "/backups", token: guest})
		s.expect(pass(), ask{target: "/backups", token: guest})
	}
	s.expect(pass(), ask{method: "POST", target: "/backups", token: admin})
	s.expect(refusedWith(403, codeThrottled), ask{method: "POST", target: "/backups", token: admin})
	for range 3 {
		s.expect(pass(), ask{target: "/search", token: admin})
	}
	s.expect(pass(), ask{target: "/search", token: guest})
	s.expect(refusedWith(403, codeThrottled), ask{target: "/search", token: guest})
	s.expect(pass(), ask{target: "/twice", token: admin})
	s.expect(pass(), ask{target: "/twice", token: admin})
	if w := s.expect(refusedWith(403, codeThrottled), ask{target: "/twice", token: admin}); w.Header().Get("Retry-After") != "1800" {
		t.Errorf("Retry-After %s", w.Header().Get("Retry-After"))
	}
}

// A rule that only observes counts for itself, and refuses nobody.
func TestThrottleThatObserves(t *testing.T) {
	s, _ := limitedSite(t, "throttle 100 1h\nrequire /x {\nthrottle 1 1h\nobserve\n}")
	for range 5 {
		s.expect(pass(), ask{target: "/x", token: s.token(t, nil)})
	}
	if n := s.logs.FilterMessage("would be refused").FilterField(zap.String("code", "throttled")).Len(); n != 4 {
		t.Errorf("%d lines, want 4", n)
	}
	for range 95 {
		s.expect(pass(), ask{target: "/y", token: s.token(t, nil)})
	}
	s.expect(refusedWith(403, codeThrottled), ask{target: "/y", token: s.token(t, nil)})
}

// What is hidden is counted like what is not there: once.
func TestThrottleTellsNothingOfWhatIsHidden(t *testing.T) {
	for _, target := range []string{"/internal/x", "/secret/x", "/missing/x"} {
		s, _ := limitedSite(t, "throttle 3 1h by address\nhide /internal/*\nrequire /secret/* {\nrole nobody\nhide\n}")
		n := 0
		for ; n < 10; n++ {
			if w := s.do(ask{target: target, token: s.token(t, nil)}); w.Code == 403 {
				break
			}
		}
		if n != 3 {
			t.Errorf("%s: %d requests before the throttle, want 3", target, n)
		}
	}
}

func TestLimitsInTheRFC(t *testing.T) {
	s, _ := limitedSite(t, "profile rfc\nthrottle 1 1m\n"+lockoutOptions)
	s.expect(pass(), ask{target: "/", token: s.token(t, nil)})
	if w := s.expect(refusedWith(429, codeThrottled), ask{target: "/", token: s.token(t, nil)}); w.Header().Get("Retry-After") != "60" {
		t.Errorf("Retry-After %s", w.Header().Get("Retry-After"))
	}
	for range 3 {
		s.do(forgedFrom(t, ""))
	}
	s.expect(refusedWith(429, codeLockedOut), forgedFrom(t, ""))
}

// Without an address there is nobody to count.
func TestThrottleByAddressWithoutAddress(t *testing.T) {
	s, _ := limitedSite(t, "throttle 3 1m by address\n"+lockoutOptions)
	a := ask{target: "/", token: s.token(t, nil), from: "@"}
	s.expect(refusedWith(403, codeAddressDenied), a)
}

// A reload is no amnesty, and the last configuration that counts takes the
// records with it.
func TestRecordsOutliveAReload(t *testing.T) {
	signer := newSigner(t, testIssuer)
	config := func(ban string) string {
		return `
:80 {
	gatehouse {
		issuer ` + testIssuer + ` {
			keys ` + signer.keyFile + `
			audience ` + testAudience + `
		}
		lockout {
			failures 1
			ban ` + ban + `
		}
	}
	respond "next"
}`
	}
	const ban = "7h" // of no other test
	first := newSiteFrom(t, signer, config(ban))
	first.do(forgedFrom(t, ""))
	first.expect(refusedWith(403, codeLockedOut), forgedFrom(t, ""))
	second := newSiteFrom(t, signer, config(ban))
	if err := first.app.Cleanup(); err != nil {
		t.Fatal(err)
	}
	w := second.expect(refusedWith(403, codeLockedOut), forgedFrom(t, ""))
	if n, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || n > 7*3600 || n < 7*3600-60 {
		t.Errorf("Retry-After %d", n)
	}
	if err := caddy.Validate(adapted(t, config(ban))); err != nil {
		t.Fatal(err)
	}
	second.expect(refusedWith(403, codeLockedOut), forgedFrom(t, ""))
}
