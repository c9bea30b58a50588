package gatehouse

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// manyRules are n rules of which none speaks of /x/y, in the proportions of a
// panel's.
func manyRules(n int) string {
	var out strings.Builder
	for i := range n {
		switch i % 5 {
		case 0:
			fmt.Fprintf(&out, "require /area%d/* role admin\n", i)
		case 1:
			fmt.Fprintf(&out, "require POST /users%d scope write:users\n", i)
		case 2:
			fmt.Fprintf(&out, "public /assets%d/*\n", i)
		case 3:
			fmt.Fprintf(&out, "deny *.ext%d\n", i)
		case 4:
			fmt.Fprintf(&out, "require /office%d/* ip 192.0.2.0/24\n", i)
		}
	}
	return out.String()
}

// BenchmarkRules compares whole routes: what n rules that do not match cost over
// none, and n that all match and hold.
func BenchmarkRules(b *testing.B) {
	for _, n := range []int{0, 1, 10, 100} {
		s := newSite(b, manyRules(n))
		benchmarkSite(b, fmt.Sprintf("other_paths/%d", n), s, "/x/y")
	}
	for _, n := range []int{1, 10, 100} {
		s := newSite(b, strings.Repeat("require /x/* role user\n", n))
		benchmarkSite(b, fmt.Sprintf("all_hold/%d", n), s, "/x/y")
	}
	benchmarkSite(b, "sensitive_files", newSite(b, "deny sensitive_files"), "/x/y")
}

// BenchmarkPrefixes compares look-ups of an address in few and many networks.
func BenchmarkPrefixes(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		file := prefixFile(b, n)
		s := newSite(b, "deny ip "+file)
		benchmarkSite(b, fmt.Sprintf("route/%d", n), s, "/x/y")
		table := s.gate.gate.rules.deny[0].addresses
		b.Run(fmt.Sprintf("lookup/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			// Addresses all over the table, none of which is in the same cache line.
			addresses := make([]netip.Addr, 1<<12)
			for i := range addresses {
				addresses[i] = netip.AddrFrom4([4]byte{10, byte(i * 37), byte(i * 101), byte(i)})
			}
			found := 0
			for i := range b.N {
				if table.contains(addresses[i&(1<<12-1)]) {
					found++
				}
			}
			if found == 0 && b.N > 1<<12 {
				b.Fatal("found none")
			}
		})
	}
}

// BenchmarkLoadPrefixes reads a file of 100,000 prefixes, as at load and after
// each change.
func BenchmarkLoadPrefixes(b *testing.B) {
	file := prefixFile(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readAddressFile(file); err != nil {
			b.Fatal(err)
		}
	}
}

// prefixFile has n networks of 10.0.0.0/8 that do not overlap.
func prefixFile(tb testing.TB, n int) string {
	tb.Helper()
	var text strings.Builder
	step := (1 << 24) / n
	for i := range n {
		at := i * step
		fmt.Fprintf(&text, "10.%d.%d.%d/%d\n", at>>16, at>>8&0xff, at&0xff&^7, 29+i%2)
	}
	file := filepath.Join(tb.TempDir(), "prefixes.txt")
	writeFile(tb, file, text.String())
	return file
}

func benchmarkSite(b *testing.B, name string, s *site, path string) {
	b.Helper()
	token := s.token(b, claims{"roles": "user"})
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("Authorization", "Bearer "+token)
			s.server.ServeHTTP(&nowhere{header: http.Header{}}, r)
		}
	})
}

// BenchmarkSelector is one rule's share of a request, by the kind of its path.
func BenchmarkSelector(b *testing.B) {
	r := httptest.NewRequest(http.MethodGet, "/sites/7/backups", nil)
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
	for name, selector := range map[string]*Selector{
		"folder":       {Paths: []string{"/admin/*"}},
		"exact":        {Paths: []string{"/users"}},
		"suffix":       {Paths: []string{"*.sql"}},
		"other_method": {Methods: []string{"POST"}, Paths: []string{"/users"}},
		"four_paths":   {Paths: []string{"/a/*", "/b/*", "/c", "*.d"}},
	} {
		compiled, err := selector.compile(caddy.Context{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if matched, err := compiled.matches(r); matched || err != nil {
					b.Fatal(matched, err)
				}
			}
		})
	}
}
