package gatehouse

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
)

// Who is locked out or throttled is counted, and the lock-out seen as long as it
// lasts; a gate that only observes counts what it would have done.
func TestMetricsOfLimits(t *testing.T) {
	const limits = `
		lockout {
			failures 1
		}
		throttle 2 1h
		require /few/* {
			name few
			throttle 1 1h
		}`
	forged := newSigner(t, testIssuer)
	for name, c := range map[string]struct{ options, outcome string }{
		"a gate":                    {limits, outcomeRefused},
		"a gate that only observes": {limits + "\nobserve", outcomeObserved},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, c.options)
			before := s.series()
			gate := s.gate.gate.limits.gate.rule.name
			from := "198.51.100.1:1"
			if c.outcome == outcomeObserved {
				from = "198.51.100.2:1" // records outlive a site
			}
			for i := range 3 {
				s.do(ask{target: "/", token: forged.token(t, claims{"n": i}), from: from})
			}
			user := s.token(t, claims{"sub": name})
			for range 3 {
				s.do(ask{target: "/", token: user, from: from})
			}
			s.do(ask{target: "/few/x", token: s.token(t, claims{"sub": name + " 2"}), from: from})
			s.do(ask{target: "/few/x", token: s.token(t, claims{"sub": name + " 2"}), from: from})
			got := s.series()
			for series, want := range map[string]float64{
				requests(c.outcome, codeTokenInvalid, ""): 1,
				requests(c.outcome, codeLockedOut, ""):    2,
				requests(c.outcome, codeThrottled, gate):  1,
				requests(c.outcome, codeThrottled, "few"): 1,
				"lockouts_active{}":                       1,
			} {
				if was, there := before[series]; !there || got[series]-was != want {
					t.Errorf("%s: there from the start: %t; then %v more, want %v", series, there, got[series]-was, want)
				}
			}
		})
	}
}

// What the cache and the signature checks tell.
func TestMetricsOfTheCache(t *testing.T) {
	s := newSite(t, "")
	good, bad := s.token(t, nil), newSigner(t, testIssuer).token(t, nil)
	for _, raw := range []string{good, good, good, bad, bad, s.token(t, claims{"exp": 1000}), s.token(t, claims{"sub": "eve"})} {
		s.do(ask{target: "/", token: raw})
	}
	got := s.series()
	for name, want := range map[string]float64{
		"cache_hits_total{}":                            2,
		"cache_misses_total{}":                          4,
		"cache_entries{}":                               2,
		"verify_seconds{result=ok}":                     2,
		"verify_seconds{result=token_invalid}":          1,
		"verify_seconds{result=token_expired}":          1,
		requests(outcomeRefused, codeTokenInvalid, ""):  2,
		requests(outcomeRefused, codeTokenExpired, ""):  1,
		requests(outcomePassed, "", ""):                 4,
		requests(outcomeRefused, codeInternalError, ""): 0,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// Without a cache there is none to hit or miss.
func TestMetricsWithoutCache(t *testing.T) {
	s := newSite(t, "cache off")
	for range 2 {
		s.expect(pass(), ask{target: "/", token: s.token(t, nil)})
	}
	got := s.series()
	if got["cache_misses_total{}"] != 0 || got["cache_entries{}"] != 0 || got["verify_seconds{result=ok}"] != 2 {
		t.Errorf("got %v", got)
	}
}

// An issuer's outage shows, from its first failure to the end of its old keys.
func TestMetricsOfKeys(t *testing.T) {
	f := newFakeIssuer(t)
	f.fail(status(http.StatusInternalServerError, ""))
	s := newSiteFrom(t, f.signer, ":80 {"+f.gated("")+"}")
	label := "{issuer=" + f.issuer + "}"
	results := func(result string) string { return "keys_fetches_total{issuer=" + f.issuer + ",result=" + result + "}" }
	s.expect(refusedWith(503, codeKeysUnavailable), ask{target: "/", token: f.token(t, nil)})
	got := s.series()
	if _, aged := got["keys_age_seconds"+label]; aged || got["keys_stale"+label] != 1 || got[results("error")] < 1 || got[results("ok")] != 0 {
		t.Errorf("without keys: %v", got)
	}
	f.heal()
	s.eventually(pass(), refusedWith(503, codeKeysUnavailable), ask{target: "/", token: f.token(t, nil)})
	got = s.series()
	// Keys serve a moment before their fetch is counted.
	for end := time.Now().Add(10 * time.Second); got[results("ok")] == 0 && time.Now().Before(end); got = s.series() {
		time.Sleep(time.Millisecond)
	}
	age, aged := got["keys_age_seconds"+label]
	if !aged || age < 0 || age > time.Minute.Seconds() || got["keys_stale"+label] != 0 || got[results("ok")] != 1 {
		t.Errorf("with keys: %v", got)
	}
}

// Two sites may trust one issuer in different ways, and an issuer may have keys in
// several places. Two series with the same labels would end every scrape.
func TestIssuerIsOneSeries(t *testing.T) {
	f := newFakeIssuer(t)
	s := newSiteFrom(t, f.signer, ":80 {"+f.gated("keys "+f.issuer+"/keys "+f.issuer+"/other")+"}\n:81 {"+f.gated("max_stale 1h")+"}")
	n := 0
	for name := range s.series() {
		if strings.HasPrefix(name, "keys_stale") {
			n++
		}
	}
	if n != 1 || len(s.app.remotes) != 3 {
		t.Errorf("%d series of %d key sets, want 1 of 3", n, len(s.app.remotes))
	}
}

// The name of an issuer can come from a file, and be no UTF-8.
func TestNameThatIsNoUTF8(t *testing.T) {
	set, err := keyset.NewRemote(keyset.Options{Issuer: "a\xffb", URL: "https://id.example.com/keys"})
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "")
	s.app.meters.gauges.addKeys(set)
	s.gate.gate.tally.of(outcomeRefused, codePathDenied, ruleID{name: "a\xffb"}).Inc()
	got := s.series()
	if got["keys_stale{issuer=a\uFFFDb}"] != 1 || got[requests(outcomeRefused, codePathDenied, "a\uFFFDb")] != 1 {
		t.Errorf("got %v", got)
	}
}
