package gatehouse

import (
	"crypto/sha256"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// changingKeys is a key set that changes and goes away as a test wants.
type changingKeys struct {
	issuerKeys
	generation atomic.Uint64
	away       atomic.Bool
}

func (k *changingKeys) Generation() uint64 { return k.generation.Load() }
func (k *changingKeys) Ready() bool        { return !k.away.Load() }

// rememberingSite is a site whose issuer's key set a test can change.
func rememberingSite(t *testing.T, options string) (*site, *changingKeys) {
	t.Helper()
	s := newSite(t, options)
	issuer := s.gate.gate.authn.issuers[testIssuer]
	keys := &changingKeys{issuerKeys: issuer.keys.(issuerKeys)}
	issuer.keys = keys
	return s, keys
}

func (s *site) remembers(raw string) bool {
	return s.gate.gate.authn.memory.recall(raw, time.Now()) != nil
}

// A key that left the set must stop verifying at once, also for tokens that it
// has verified before.
func TestRememberedTokenEndsWithItsKeys(t *testing.T) {
	s, keys := rememberingSite(t, ``)
	token := s.token(t, nil)
	s.expect(pass(), ask{target: "/", token: token})
	if !s.remembers(token) {
		t.Fatal("a verified token is not remembered")
	}
	keys.generation.Add(1)
	if s.remembers(token) {
		t.Error("remembered past its keys")
	}
	s.expect(pass(), ask{target: "/", token: token})
	keys.away.Store(true)
	if s.remembers(token) {
		t.Error("remembered while the keys are too stale to be believed")
	}
}

// Remembering skips the signature, never the clock.
func TestRememberedTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(10)
		s := newSigner(t, testIssuer)
		gate := &Gatehouse{Issuers: []*Issuer{{Issuer: testIssuer, Keys: []string{s.keyFile}, Audiences: []string{testAudience}}}}
		issuer, err := gate.Issuers[0].compile(new(App), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		a := authenticator{limit: defaultTokenLimit, issuers: map[string]*trustedIssuer{testIssuer: issuer}, memory: m, now: time.Now}
		for lifetime, want := range map[time.Duration]time.Duration{time.Minute: time.Minute, time.Hour: rememberFor} {
			raw := s.token(t, claims{"exp": time.Now().Add(lifetime).Unix()})
			if _, no := a.identify(t.Context(), credential{raw: raw, from: fromHeader}); no != nil {
				t.Fatal(no)
			}
			if m.recall(raw, time.Now().Add(want-time.Second)) == nil {
				t.Errorf("lifetime %s: forgotten before %s", lifetime, want)
			}
			if m.recall(raw, time.Now().Add(want)) != nil {
				t.Errorf("lifetime %s: remembered after %s", lifetime, want)
			}
		}
	})
}

// Rules are judged each time: a remembered visitor gains nothing.
func TestRememberedTokenMeetsTheRules(t *testing.T) {
	s := newSite(t, `require /admin/* role admin`)
	token := s.token(t, nil)
	for range 3 {
		s.expect(pass(), ask{target: "/", token: token})
		s.expect(refusedWith(403, codeRoleMissing), ask{target: "/admin/x", token: token})
	}
}

// A flood of bad tokens must not push good ones out, nor grow without bound.
func TestBadTokensDisplaceNoGoodOnes(t *testing.T) {
	s := newSite(t, `cache 10`)
	good := s.token(t, nil)
	s.expect(pass(), ask{target: "/", token: good})
	forger := newSigner(t, testIssuer)
	for i := range 3 * rejectedEntries {
		s.do(ask{target: "/", token: forger.token(t, claims{"n": i})})
	}
	if !s.remembers(good) {
		t.Error("the good token is gone")
	}
	bad := s.gate.gate.authn.memory.tables().bad
	bad.CleanUp()
	if n := bad.EstimatedSize(); n > rejectedEntries {
		t.Errorf("%d bad tokens are remembered, want at most %d", n, rejectedEntries)
	}
}

// A rejected token is refused for the same reason again, until its time is over
// or the keys change: it may be good by then.
func TestRejectedTokenIsJudgedAnew(t *testing.T) {
	s, keys := rememberingSite(t, ``)
	forged := newSigner(t, testIssuer).token(t, nil)
	for range 2 {
		s.expect(refusedWith(401, codeTokenInvalid), ask{target: "/", token: forged})
	}
	memory, sum := s.gate.gate.authn.memory, sha256.Sum256([]byte(forged))
	if memory.recallRejected(sum, time.Now()) == nil {
		t.Fatal("a bad token is not remembered")
	}
	if memory.recallRejected(sum, time.Now().Add(rejectFor)) != nil {
		t.Error("remembered past its time")
	}
	keys.generation.Add(1)
	if memory.recallRejected(sum, time.Now()) != nil {
		t.Error("remembered past a change of keys")
	}
	early := s.token(t, claims{"nbf": time.Now().Add(time.Hour).Unix()})
	s.expect(refusedWith(401, codeTokenNotYetValid), ask{target: "/", token: early})
	if memory.recallRejected(sha256.Sum256([]byte(early)), time.Now()) != nil {
		t.Error("a token that will be valid is remembered as bad")
	}
}

// Tokens are told apart by all of their bytes: one with another signature is
// another token.
func TestRememberedTokenWithAnotherSignature(t *testing.T) {
	s := newSite(t, ``)
	token := s.token(t, nil)
	s.expect(pass(), ask{target: "/", token: token})
	cut := strings.LastIndexByte(token, '.')
	s.expect(refusedWith(401, codeTokenInvalid), ask{target: "/", token: token[:cut+1] + strings.Repeat("A", len(token)-cut-1)})
}

func TestCacheOff(t *testing.T) {
	s := newSite(t, `cache off`)
	token := s.token(t, nil)
	for range 2 {
		s.expect(pass(), ask{target: "/", token: token})
	}
	if s.gate.gate.authn.memory != nil {
		t.Error("there is a memory")
	}
}

// The memory holds no more than it was given, whatever comes.
func TestMemoryIsBounded(t *testing.T) {
	s := newSite(t, `cache 50`)
	for i := range 500 {
		s.expect(pass(), ask{target: "/", token: s.token(t, claims{"n": i, "pad": strings.Repeat("x", i*4)})})
	}
	good := s.gate.gate.authn.memory.tables().good
	good.CleanUp()
	if n, weight := good.EstimatedSize(), good.WeightedSize(); n > 50 || weight > 50*bytesPerEntry {
		t.Errorf("%d entries of %d bytes, want at most 50 of %d", n, weight, 50*bytesPerEntry)
	}
}

// The tables are made while a request waits, so any number that loads must work.
func TestMemoryOfEverySizeCanBeMade(t *testing.T) {
	for _, entries := range []int{1, 2, defaultRemembered, maxRemembered} {
		s := newSite(t, "cache "+strconv.Itoa(entries))
		s.expect(pass(), ask{target: "/", token: s.token(t, nil)})
	}
}

// Two bytes of a token can make a value of forty: a tenant with such tokens must
// not get more of the memory than their share.
func TestMemoryWeighsTokensOfManySmallValues(t *testing.T) {
	s := newSite(t, `cache 50`)
	const values = 2500
	pad := make([]int, values)
	for i := range 20 {
		s.expect(pass(), ask{target: "/", token: s.token(t, claims{"n": i, "pad": pad})})
	}
	good := s.gate.gate.authn.memory.tables().good
	good.CleanUp()
	if n, room := good.EstimatedSize(), 50*bytesPerEntry/(values*40); n == 0 || n > room {
		t.Errorf("%d tokens of %d values are remembered, want 1 to %d", n, values, room)
	}
}
