package gatehouse

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	workers   = 4
	perWorker = 150
)

// underLoad sends requests from several workers at once. Each number is given once.
func underLoad(send func(n int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range perWorker {
				send(int(next.Add(1)))
			}
		})
	}
	wg.Wait()
}

// An issuer signs with its new key from one moment to the next, and keeps the old
// one published. No visitor notices, however many there are, and the issuer is
// asked once.
func TestRotationUnderLoadRefusesNobody(t *testing.T) {
	for name, c := range map[string]struct {
		options string
		each    bool // a token of its own for each request
	}{
		"remembered tokens":     {"", false},
		"a token for each":      {"", true},
		"nothing is remembered": {"cache off", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeIssuer(t)
			s := newSiteFrom(t, f.signer, strings.Replace(f.caddyfile(1), "public /login", c.options, 1))
			two := f.newKey(t, "second")
			tokens := map[*signer]string{f.signer: f.token(t, nil), two: two.token(t, nil)}
			var rotated atomic.Bool
			var once sync.Once
			underLoad(func(n int) {
				if n > workers*perWorker/3 {
					once.Do(func() {
						f.publish(f.signer, two)
						rotated.Store(true)
					})
				}
				key := f.signer
				if rotated.Load() && n%2 == 0 {
					key = two
				}
				token := tokens[key]
				if c.each {
					token = key.token(t, claims{"n": n})
				}
				if got := verdictOf(t, s.do(ask{target: "/", token: token})); got != pass() {
					t.Errorf("request %d: %v", n, got)
				}
			})
			if n := f.fetches.Load(); n != 2 {
				t.Errorf("%d fetches, want one before and one after", n)
			}
		})
	}
}

// The same where the new key takes the place of the old one: under the same kid,
// or in a set that has no kids. The old key is withdrawn by that.
func TestRotationInPlaceUnderLoadRefusesNobody(t *testing.T) {
	for name, kid := range map[string]string{"same kid": "main", "no kid": ""} {
		t.Run(name, func(t *testing.T) {
			f := newFakeIssuer(t)
			f.kid = kid
			f.publish(f.signer)
			s := newSiteFrom(t, f.signer, f.caddyfile(1))
			old := f.token(t, nil)
			s.expect(pass(), ask{target: "/", token: old})
			two := f.newKey(t, kid)
			f.publish(two)
			remembered := two.token(t, nil)
			underLoad(func(n int) {
				token := remembered
				if n%2 == 0 {
					token = two.token(t, claims{"n": n})
				}
				if got := verdictOf(t, s.do(ask{target: "/", token: token})); got != pass() {
					t.Errorf("request %d: %v", n, got)
				}
			})
			s.expect(refusedWith(401, codeTokenInvalid), ask{target: "/", token: old})
			if n := f.fetches.Load(); n != 2 {
				t.Errorf("%d fetches, want one before and one after", n)
			}
		})
	}
}

// A key was stolen and is withdrawn. From the refresh on, tokens that it signed
// are worth nothing, and those that were verified a moment ago neither.
func TestWithdrawnKeyEndsRememberedTokens(t *testing.T) {
	f := newFakeIssuer(t)
	s := newSiteFrom(t, f.signer, f.caddyfile(1))
	remembered := f.token(t, nil)
	for range 2 {
		s.expect(pass(), ask{target: "/", token: remembered})
	}
	if !s.remembers(remembered) {
		t.Fatal("the token is not remembered")
	}
	two := f.newKey(t, "second")
	f.publish(two)
	s.expect(pass(), ask{target: "/", token: two.token(t, nil)})
	for range 2 {
		s.expect(refusedWith(401, codeTokenInvalid), ask{target: "/", token: remembered})
		s.expect(refusedWith(401, codeTokenInvalid), ask{target: "/", token: f.token(t, nil)})
	}
	s.expect(pass(), ask{target: "/login", token: remembered}) // as anybody
}

// Anybody can make up tokens with a new kid each: to make us flood the issuer, to
// fill our memory, or to push out those who are signed in.
func TestFloodOfRandomKids(t *testing.T) {
	const flood, kidSize = 10_000, 1000
	f := newFakeIssuer(t)
	s := run(t, f.signer, hosted("panel", f.gated("")))
	target := urlOf("panel", "/")
	good := f.token(t, nil)
	s.expect(pass(), ask{target: target, token: good})
	random := randomKids(f)
	attack := func(requests int) {
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for n := range requests / workers {
					if got := verdictOf(t, s.do(ask{target: target, token: random(kidSize)})); got != refusedWith(401, codeTokenInvalid) {
						t.Errorf("a random kid: %v", got)
					}
					if n%100 != 0 {
						continue
					}
					for _, token := range []string{good, f.token(t, claims{"n": n})} {
						if got := verdictOf(t, s.do(ask{target: target, token: token})); got != pass() {
							t.Errorf("a good token during the flood: %v", got)
						}
					}
				}
			})
		}
		wg.Wait()
	}
	began := time.Now()
	attack(2 * rejectedEntries) // until the memory for bad tokens is full
	before := heapInUse()
	attack(flood)
	// All kids kept would be 10 MB, and their tokens more; a tenth of that is noise.
	if grown := heapInUse() - before; grown > flood*kidSize/10 {
		t.Errorf("%d bytes more are held after %d random kids", grown, flood)
	}
	if n, most := f.fetches.Load(), 2+int64(time.Since(began)/(30*time.Second)); n > most {
		t.Errorf("%d fetches, want at most %d", n, most)
	}
	if !s.remembers(good) {
		t.Error("the good token was pushed out")
	}
}

// randomKids returns a maker of forged tokens, each with a kid of its own.
func randomKids(f *fakeIssuer) func(size int) string {
	payload := fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"ada","exp":%d}`, f.issuer, testAudience, time.Now().Add(time.Hour).Unix())
	encode := base64.RawURLEncoding.EncodeToString
	tail := "." + encode([]byte(payload)) + "." + encode(make([]byte, 64))
	return func(size int) string {
		kid := rand.Text()
		kid += strings.Repeat("k", size-len(kid))
		return encode([]byte(`{"alg":"EdDSA","kid":"`+kid+`"}`)) + tail
	}
}
