package keyset

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// stored runs a Remote until it has saved its set, and returns the store and the name.
func stored(t *testing.T, i *issuer, change ...func(*Options)) (*memory, string) {
	t.Helper()
	s := newMemory()
	r := start(t, i, s, change...)
	wantKey(t, r, "a")
	synctest.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	names := slices.Collect(maps.Keys(s.data))
	if len(names) != 1 {
		t.Fatalf("saved under %q", names)
	}
	return s, names[0]
}

func TestTheLastGoodSetSurvivesARestartDuringAnOutage(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"with a JWKS URL": func(*Options) {},
		"with discovery":  discovering(realm),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.answer(oidcPlace, metadata(realm, jwksURL))
				i.answer(jwksURL, replies(200, setOf(edJWK("a"), rsaJWK("b", rsa2048(), 65537, "alg", "RS256"), ecJWK("c"))))
				s, file := stored(t, i, change)
				if !strings.HasPrefix(file, "gatehouse/keys/") || !strings.HasSuffix(file, ".json") || len(file) != len("gatehouse/keys/.json")+64 {
					t.Fatalf("saved as %q", file)
				}
				time.Sleep(23 * time.Hour)
				i.answer(oidcPlace, down)
				i.answer(jwksURL, hangs)
				begun := time.Now()
				r := start(t, i, s, change)
				wantKey(t, r, "a")
				if time.Since(begun) != 0 {
					t.Fatal("the request waited for the issuer")
				}
				if got := r.Status(); len(got.Keys) != 3 || got.Generation != 1 || time.Since(got.FetchedAt) != 23*time.Hour {
					t.Fatalf("status %+v", got)
				}
				time.Sleep(time.Hour + time.Second) // max_stale counts from the fetch, not from the restart
				wantUnavailable(t, r, "a")
			})
		})
	}
}

func TestARefetchOfTheStoredSetKeepsTheGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a"), rsaJWK("b", rsa2048(), 65537, "alg", "RS256"))))
		s, _ := stored(t, i)
		r := start(t, i, s)
		synctest.Wait()
		if r.Generation() != 1 || i.asked(jwksURL) != 2 {
			t.Fatalf("generation %d after %d fetches", r.Generation(), i.asked(jwksURL))
		}
	})
}

func TestANewSetIsFetchedThoughAStoredOneServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
		s, _ := stored(t, i)
		time.Sleep(time.Minute)
		i.answer(jwksURL, slowly(time.Second, replies(200, setOf(edJWK("b")))))
		r := start(t, i, s)
		wantKey(t, r, "a")
		wantKey(t, r, "b") // an unknown kid waits for the fetch under way
		// What the issuer did while it answered is not in the set: it is asked again.
		wantNone(t, r, "a")
		if i.asked(jwksURL) != 3 {
			t.Fatalf("%d fetches", i.asked(jwksURL))
		}
	})
}

func TestOnlyPublicMembersAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a", "x5c", `["AAAA"]`), edJWK("leaked", "d", "c2VjcmV0"), jwkOf("kty", "oct", "k", "c2VjcmV0"))))
		s, file := stored(t, i)
		if data := string(s.data[file]); strings.Contains(data, "c2VjcmV0") || strings.Contains(data, "x5c") || strings.Contains(data, "leaked") {
			t.Fatalf("stored %s", data)
		}
	})
}

// The store may be shared, restored from a backup, or written by somebody else. What comes out of it gets no more
// trust than an answer from the network: keys that are not this issuer's, too old, or no keys at all are not used.
func TestAttackForeignStoreContentIsIgnored(t *testing.T) {
	change := func(member string, value any) func([]byte) []byte {
		return func(data []byte) []byte {
			var doc map[string]any
			if err := json.Unmarshal(data, &doc); err != nil {
				panic(err)
			}
			doc[member] = value
			return must(json.Marshal(doc))
		}
	}
	at := func(d time.Duration) func([]byte) []byte {
		return func(data []byte) []byte {
			return change("fetched_at", time.Now().Add(d).Format(time.RFC3339Nano))(data)
		}
	}
	for name, tamper := range map[string]func([]byte) []byte{
		"empty":                     func([]byte) []byte { return nil },
		"garbage":                   func([]byte) []byte { return []byte("\x00\xff garbage") },
		"cut off":                   func(data []byte) []byte { return data[:len(data)/2] },
		"something appended":        func(data []byte) []byte { return append(slices.Clone(data), "{}"...) },
		"a bare JWKS":               func([]byte) []byte { return []byte(setOf(edJWK("a"))) },
		"another issuer's":          change("issuer", "https://evil.example"),
		"another URL's":             change("url", "https://evil.example/keys"),
		"fetched from another URL":  change("jwks_uri", "https://evil.example/keys"),
		"no keys":                   change("keys", []any{}),
		"keys of another type":      change("keys", "all"),
		"a secret slipped in alone": change("keys", []any{map[string]string{"kty": "oct", "kid": "a", "k": "AAAA"}}),
		"no time":                   change("fetched_at", nil),
		"a time that is none":       change("fetched_at", "yesterday"),
		"from next year":            at(365 * 24 * time.Hour),
		"older than max_stale":      at(-defaultMaxStale - time.Second),
		"ten megabytes":             func(data []byte) []byte { return append(slices.Clone(data), make([]byte, 10<<20)...) },
		"issuer twice": func(data []byte) []byte {
			return []byte(strings.Replace(string(data), "{", `{"issuer":"https://id.example",`, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
				s, file := stored(t, i)
				s.data[file] = tamper(s.data[file])
				i.answer(jwksURL, down)
				r := start(t, i, s)
				wantUnavailable(t, r, "a")
				if r.Generation() != 0 {
					t.Fatal("the stored keys were taken")
				}
				i.answer(jwksURL, replies(200, setOf(edJWK("new"))))
				time.Sleep(5 * time.Second)
				wantKey(t, r, "new")
			})
		})
	}
}

func TestAClockSlightlyAheadDoesNotMakeKeysYounger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
		s, file := stored(t, i)
		ahead := time.Now().Add(time.Minute).UTC().Format(time.RFC3339Nano)
		var r record
		if err := json.Unmarshal(s.data[file], &r); err != nil {
			t.Fatal(err)
		}
		s.data[file] = []byte(strings.Replace(string(s.data[file]), string(must(json.Marshal(r.FetchedAt))), `"`+ahead+`"`, 1))
		i.answer(jwksURL, down)
		remote := start(t, i, s)
		wantKey(t, remote, "a")
		if at := remote.Status().FetchedAt; at.After(time.Now()) {
			t.Fatalf("fetched in the future: %s", at)
		}
	})
}

// failing is a store that is out of reach, slow, or both.
type failing struct{ delay time.Duration }

func (f failing) Load(ctx context.Context, _ string) ([]byte, error) { return nil, f.fail(ctx) }
func (f failing) Save(ctx context.Context, _ string, _ []byte) error { return f.fail(ctx) }

func (f failing) fail(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(f.delay):
		return errors.New("disk full")
	}
}

func TestABrokenStoreIsLoggedAndKeysServeAllTheSame(t *testing.T) {
	for name, delay := range map[string]time.Duration{"fails at once": 0, "hangs": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.WarnLevel)
				i := newIssuer()
				i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
				r := remote(t, i)
				r.Start(&Host{Store: failing{delay}, Log: zap.New(core)})
				time.Sleep(storeTimeout)
				synctest.Wait()
				wantKey(t, r, "a")
				time.Sleep(storeTimeout)
				synctest.Wait()
				if logs.Len() != 2 {
					t.Fatalf("%d warnings: %v", logs.Len(), logs.All())
				}
			})
		})
	}
}

func TestAnotherStoreGetsTheSetAtHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
		r := start(t, i, nil)
		wantKey(t, r, "a")
		s := newMemory()
		r.Start(&Host{Store: s})
		synctest.Wait()
		if s.saves != 1 || i.asked(jwksURL) != 1 {
			t.Fatalf("%d saves, %d fetches", s.saves, i.asked(jwksURL))
		}
	})
}

func TestAnotherStoreGivesTheSetThatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
		s, _ := stored(t, i)
		i.answer(jwksURL, down)
		r := start(t, i, nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		wantUnavailable(t, r, "a")
		r.Start(&Host{Store: s})
		synctest.Wait()
		wantKey(t, r, "a")
	})
}
