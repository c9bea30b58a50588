package gatehouse

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
)

// pseudonymsAt are pseudonyms with a clock that a test turns.
func pseudonymsAt(at *time.Time) *pseudonyms { return newPseudonyms(func() time.Time { return *at }) }

func mustRenew(t *testing.T, p *pseudonyms, storage certmagic.Storage) {
	t.Helper()
	if err := p.renew(t.Context(), storage); err != nil {
		t.Fatal(err)
	}
}

// One person has one name all day on all servers, and another one tomorrow that
// nobody can connect with it: the key is gone.
func TestPseudonymsLastADay(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	now := time.Date(2030, 1, 2, 23, 59, 59, 0, time.FixedZone("west", -8*3600)) // the 3rd already, in UTC
	one, two := pseudonymsAt(&now), pseudonymsAt(&now)
	mustRenew(t, one, storage)
	mustRenew(t, two, storage)
	ada := one.of("subject", "https://a", "ada")
	if len(ada) != 32 || ada != two.of("subject", "https://a", "ada") {
		t.Errorf("two servers say %q and %q", ada, two.of("subject", "https://a", "ada"))
	}
	for name, other := range map[string]string{
		"somebody else": one.of("subject", "https://a", "bob"), "another issuer's": one.of("subject", "https://b", "ada"),
		"another kind": one.of("kid", "https://a", "ada"), "cut elsewhere": one.of("subject", "https://aa", "da"),
	} {
		if other == ada || len(other) != 32 {
			t.Errorf("%s is called %q, as ada", name, other)
		}
	}
	first := readDoc(t, filepath.Join(storage.Path, pseudonymKeyName))

	now = now.Add(17 * time.Hour)
	if name := one.of("subject", "https://a", "ada"); name != "" {
		t.Errorf("yesterday's key is still used: %q", name)
	}
	mustRenew(t, one, storage)
	if name := one.of("subject", "https://a", "ada"); name == ada || name == "" {
		t.Errorf("the next day it is %q", name)
	}
	second := readDoc(t, filepath.Join(storage.Path, pseudonymKeyName))
	var old dayKey
	if err := json.Unmarshal([]byte(first), &old); err != nil || first == second || old.Day != "2030-01-03" {
		t.Fatalf("%v: %s then %s", err, first, second)
	}
	// Nothing of the old key is left anywhere in the storage.
	err := filepath.WalkDir(storage.Path, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(readDoc(t, path), strings.Split(first, `"key":"`)[1][:20]) {
			t.Errorf("%s still holds yesterday's key", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A fleet that starts at once has one key.
func TestPseudonymsOfAFleet(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	now := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	var wg sync.WaitGroup
	names := make([]string, 8)
	for i := range names {
		wg.Go(func() {
			p := pseudonymsAt(&now)
			if err := p.renew(t.Context(), storage); err != nil {
				t.Error(err)
			}
			names[i] = p.of("subject", "ada")
		})
	}
	wg.Wait()
	for _, name := range names {
		if name == "" || name != names[0] {
			t.Errorf("names are %q", names)
		}
	}
}

// What the storage holds may be broken, yesterday's, or of a server whose clock
// is wrong. A fleet at midnight must not take keys from each other.
func TestPseudonymKeyInTheStorage(t *testing.T) {
	now := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	good := `"key":"` + strings.Repeat("A", 43) + `="}`
	for name, c := range map[string]struct {
		held string
		kept bool
		err  error
	}{
		"today's":        {`{"day":"2030-01-02",` + good, true, nil},
		"yesterday's":    {`{"day":"2030-01-01",` + good, false, nil},
		"tomorrow's":     {`{"day":"2030-01-03",` + good, true, errPseudonymAhead},
		"of next week":   {`{"day":"2030-01-09",` + good, false, nil},
		"too short":      {`{"day":"2030-01-02","key":"AAAA"}`, false, nil},
		"no JSON":        {"\x00", false, nil},
		"an empty file":  {"", false, nil},
		"without a date": {`{` + good, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			storage := &certmagic.FileStorage{Path: t.TempDir()}
			if err := storage.Store(t.Context(), pseudonymKeyName, []byte(c.held)); err != nil {
				t.Fatal(err)
			}
			p := pseudonymsAt(&now)
			if err := p.renew(t.Context(), storage); !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if named := p.of("subject", "ada") != ""; named != (c.err == nil) {
				t.Errorf("named: %t", named)
			}
			if kept := readDoc(t, filepath.Join(storage.Path, pseudonymKeyName)) == c.held; kept != c.kept {
				t.Errorf("kept: %t", kept)
			}
		})
	}
}

// Where the storage fails, records name nobody. They are written all the same.
func TestPseudonymsWithoutStorage(t *testing.T) {
	s := newSite(t, "privacy gdpr\nrequire role admin")
	s.gate.gate.teller.privacy.names = newPseudonyms(time.Now)
	if err := s.gate.gate.teller.privacy.names.renew(t.Context(), brokenStorage{}); !errors.Is(err, errTest) {
		t.Fatal(err)
	}
	s.expect(refusedWith(403, codeRoleMissing), ask{target: "/", token: s.token(t, nil)})
	got, _ := s.told("refused")
	if _, named := got["subject_pseudonym"]; named || got["subject"] != nil || got["issuer"] != testIssuer {
		t.Errorf("recorded %v", got)
	}
}

type brokenStorage struct{ certmagic.Storage }

func (brokenStorage) Load(context.Context, string) ([]byte, error) { return nil, errTest }

// Checking a configuration makes no key, and one that needs none has none.
func TestPseudonymKeyIsMadeByTheRunningServer(t *testing.T) {
	s := newSigner(t, testIssuer)
	site := func(level string) string {
		return ":80 {\n\tgatehouse {\n\t\tissuer " + testIssuer + " {\n\t\t\tkeys " + s.keyFile + "\n\t\t\taudience panel\n\t\t}\n\t\tprivacy " + level + "\n\t}\n}\n"
	}
	storage := t.TempDir()
	if err := caddy.Validate(adaptedWith(t, site("gdpr"), storage)); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Join(storage, "gatehouse")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("caddy validate has written %v, %v", entries, err)
	}
	if app := newSiteFrom(t, s, site("none")).app; app.names != nil {
		t.Error("privacy none has pseudonyms")
	}
}

func TestUntilTomorrow(t *testing.T) {
	at := time.Date(2030, 1, 2, 1, 30, 0, 0, time.FixedZone("east", 2*3600)) // 23:30 UTC
	if got := untilTomorrow(at); got != 30*time.Minute {
		t.Errorf("%s", got)
	}
}
