package gatehouse

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// samePathVerdict fails where the short way and Caddy's matcher differ.
func samePathVerdict(t *testing.T, path string, patterns ...string) (matched, short bool) {
	t.Helper()
	s := &Selector{Paths: patterns}
	compiled, err := s.compile(caddy.Context{})
	if err != nil {
		t.Fatal(err)
	}
	r := requestFor(path)
	want := compiled.paths.Match(r)
	if got := compiled.matchesPath(r); got != want {
		t.Fatalf("%q matches %q: %t, and Caddy says %t", patterns, path, got, want)
	}
	return want, compiled.patterns != nil && isPlainPath(path)
}

// The short way must never say anything but what Caddy's matcher says: one wrong
// no is an open door.
func TestPathPatternsAgainstCaddy(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(3, 4))}
	pieces := []string{"/", "/", "a", "b", "A", "/a", "/b/", ".sql", "/.git", "..", "/./", "//", "%41", "%2f", "é", "É", "K", "İ", " ", ";", "~", "\x7f", "\\", "*", "?", "a/b"}
	word := func(n int) string {
		var out strings.Builder
		for range d.IntN(n) {
			out.WriteString(d.of(pieces...))
		}
		return out.String()
	}
	matched, short := 0, 0
	for range 30000 {
		var patterns []string
		for range 1 + d.IntN(2) {
			if p := d.of("/", "*", "/") + word(4) + d.of("", "*", "/*"); checkPathPattern("x", p, true) == nil {
				patterns = append(patterns, p)
			}
		}
		if len(patterns) == 0 {
			continue
		}
		path := d.of("/", "/", "") + word(5)
		if d.oneIn(2) { // one that is close
			path = d.of("", "/", "/a") + strings.Trim(d.of(patterns...), "*") + d.of("", "/", "a", "/b")
		}
		m, s := samePathVerdict(t, path, patterns...)
		if m {
			matched++
		}
		if s {
			short++
		}
	}
	if matched < 2000 || short < 3000 {
		t.Errorf("%d matched, %d went the short way", matched, short)
	}
}

func FuzzPathPatterns(f *testing.F) {
	for _, seed := range [][2]string{{"/admin/*", "/admin"}, {"/users", "/users/"}, {"*.sql", "/a.SQL"}, {"*b*", "//a//b"}, {"/a%2fb", "/a/b"}, {"/a/*", "/a/../b"}, {"*", ""}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		if checkPathPattern("x", pattern, true) == nil {
			samePathVerdict(t, path, pattern)
		}
	})
}

func TestIsPlainPath(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/a": true, "/a/": true, "/a.b/c..d/e.": true, "/a b;c~": true,
		"": false, "a": false, "*": false, "//": false, "/a//b": false, "/./a": false, "/a/..": false, "/.git": false, "/A": false, "/é": false, "/\u212a": false,
	} {
		if got := isPlainPath(path); got != want {
			t.Errorf("%q: %t", path, got)
		}
	}
}
