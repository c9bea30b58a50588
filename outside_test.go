package gatehouse

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Whatever a changed list or a changed disk does to an expectation, it was said
// to rest on them: over random rules and visitors, no answer changes that was
// not said to.
func TestWhatAnswersRestOnIsNeverMissed(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	d := checkDice{rand.New(rand.NewPCG(seed, seed))}
	changed, rested, total := 0, 0, 0
	for range 20 {
		dir := t.TempDir()
		list, flag := filepath.Join(dir, "list.txt"), filepath.Join(dir, "flag")
		var rules strings.Builder
		for range 2 + d.IntN(6) {
			rules.WriteString(d.ruleOf(list) + "\n")
		}
		matcher := "@disk file {\n root " + dir + "\n try_files /flag\n}"
		expectations := make([]*Expectation, 40)
		for i := range expectations {
			expectations[i] = d.expectation()
		}
		answers := func(addresses string) []tried {
			writeFile(t, list, addresses)
			g := newSite(t, rules.String(), matcher).gate
			out := make([]tried, 0, len(expectations))
			for _, e := range expectations {
				r, err := e.request()
				if err != nil {
					t.Fatal(err)
				}
				got, err := g.try(r, &e.AssumedVisitor)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, got)
			}
			return out
		}
		writeFile(t, flag, "")
		before := answers("192.0.2.0/24\n")
		if err := os.Remove(flag); err != nil {
			t.Fatal(err)
		}
		after := answers("203.0.113.0/24\n")
		for i, e := range expectations {
			total++
			if len(before[i].outside) > 0 {
				rested++
			}
			if before[i].told() == after[i].told() {
				continue
			}
			changed++
			if len(before[i].outside) == 0 || len(after[i].outside) == 0 {
				t.Fatalf("%s: was %s resting on %v, is %s resting on %v\n%s", e, before[i].told(), before[i].outside, after[i].told(), after[i].outside, rules.String())
			}
		}
	}
	t.Logf("of %d answers %d changed, and %d were said to rest on more", total, changed, rested)
	if changed < 50 || rested == total {
		t.Error("too few answers changed, or all were said to rest on more")
	}
}

func (d checkDice) ruleOf(list string) string {
	address := "ip " + d.one(list, list, "192.0.2.0/24")
	role := "role " + d.one("admin", "user")
	where := strings.TrimSpace(d.one("", "", "POST") + " " + d.one("/a/*", "/b/*", "@disk", "/c /b/x"))
	switch d.IntN(8) {
	case 0:
		return "deny " + d.one(address, where)
	case 1:
		return "public " + where
	case 2:
		return "hide " + d.one("/a/x", "POST @disk")
	case 3:
		return fmt.Sprintf("require %s {\n when %s\n %s\n }", where, d.one(address, role), d.one(address, role))
	case 4:
		return fmt.Sprintf("require %s {\n any {\n %s\n %s\n }\n }", where, address, role)
	case 5:
		return fmt.Sprintf("require %s {\n match {\n file {\n root %s\n try_files /flag\n }\n }\n %s\n %s\n }", where, filepath.Dir(list), role, d.one("", "hide"))
	}
	return "require " + where + " " + d.one(address, role)
}

func (d checkDice) expectation() *Expectation {
	e := &Expectation{Status: 200, Method: d.one("GET", "GET", "POST"), Path: d.one("/", "/a/x", "/a/y", "/b/x", "/c")}
	if d.IntN(3) > 0 {
		e.Role = []string{d.one("admin", "user", "other")}
		since := caddy.Duration(0)
		e.SignedIn = &since
	}
	if d.IntN(2) == 0 {
		e.IP = d.one("192.0.2.1", "203.0.113.1")
	}
	return e
}
