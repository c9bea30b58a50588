package gatehouse

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// Everything that an `ip` line may hold.
func TestAddressRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	writeFile(t, file, "# the office\n192.0.2.10 - 192.0.2.12 # a range\n\n  2001:db8:1::/48\n::ffff:203.0.113.7\n198.51.100.0/25\r\n")
	s := newSite(t, `
		public *
		require /file ip `+file+`
		require /both ip `+file+` 198.51.100.200
		require /private ip private_ranges
		require /six ip 2001:db8::/32
		require /mapped ip ::ffff:192.0.2.0/120
		deny ip 203.0.113.66`)
	denied := refusedWith(403, codeAddressDenied)
	for _, c := range []struct {
		path, from string
		want       verdict
	}{
		{"/file", "192.0.2.9:1", denied},
		{"/file", "192.0.2.10:1", pass()},
		{"/file", "192.0.2.12:1", pass()},
		{"/file", "192.0.2.13:1", denied},
		{"/file", "[::ffff:192.0.2.11]:1", pass()},
		{"/file", "[2001:db8:1:2::3]:1", pass()},
		{"/file", "[2001:db8:2::3]:1", denied},
		{"/file", "203.0.113.7:1", pass()},
		{"/file", "198.51.100.127:1", pass()},
		{"/file", "198.51.100.128:1", denied},
		{"/file", "@", denied},
		{"/both", "198.51.100.200:1", pass()},
		{"/both", "192.0.2.10:1", pass()},
		{"/both", "198.51.100.201:1", denied},
		{"/private", "10.1.2.3:1", pass()},
		{"/private", "192.168.0.1:1", pass()},
		{"/private", "[fd00::1]:1", pass()},
		{"/private", "127.0.0.1:1", pass()},
		{"/private", "8.8.8.8:1", denied},
		{"/six", "[2001:db8::1%eth0]:1", pass()},
		{"/six", "192.0.2.1:1", denied},
		{"/mapped", "192.0.2.77:1", pass()},
		{"/mapped", "192.0.3.77:1", denied},
		{"/x", "203.0.113.66:1", denied},
		{"/x", "203.0.113.67:1", pass()},
		{"/x", "@", denied},
	} {
		t.Run(c.path+" from "+c.from, func(t *testing.T) {
			s.t = t
			s.expect(c.want, ask{target: c.path, from: c.from})
		})
	}
}

// A list that is fetched by a script is half written at times, or gone: what it
// held before must stay in force, since an empty list would lock out or let in.
func TestAddressFileThatChanges(t *testing.T) {
	name := filepath.Join(t.TempDir(), "list")
	write := func(text string, age time.Duration) {
		writeFile(t, name, text)
		at := time.Now().Add(-age)
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("192.0.2.1\n", 3*time.Hour)
	f, err := openAddressFile(name)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	look := func(addr string) bool {
		for range 2 { // a change is read once it has settled
			f.refresh(zap.New(core))
		}
		return f.contains(netip.MustParseAddr(addr))
	}
	if !look("192.0.2.1") || logs.Len() != 0 {
		t.Fatalf("an unchanged file: %v", logs.All())
	}
	write("192.0.2.2\n", 2*time.Hour)
	if look("192.0.2.1") || !look("192.0.2.2") || logs.FilterLevelExact(zap.InfoLevel).Len() != 1 {
		t.Errorf("a changed file: %v", logs.TakeAll())
	}
	for state, change := range map[string]func(){
		"a bad line": func() { write("192.0.2.3\nhere\n", time.Hour) },
		"empty":      func() { write("", time.Hour) },
		"comments":   func() { write("# nothing yet\n", time.Hour) },
		"gone":       func() { _ = os.Remove(name) },
	} {
		_ = logs.TakeAll()
		change()
		if !look("192.0.2.2") || look("192.0.2.3") || logs.FilterLevelExact(zap.WarnLevel).Len() != 1 {
			t.Errorf("%s: %v", state, logs.All())
		}
	}
	write("192.0.2.4\n", time.Minute)
	if !look("192.0.2.4") || look("192.0.2.2") {
		t.Error("a good file after bad ones is not read")
	}
}

// A range is exactly the prefixes made of it: one address too many is an open
// door, one too few a locked one.
func TestRangePrefixes(t *testing.T) {
	d := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		first := d.Uint32()
		last := first + d.Uint32N(1<<d.IntN(24)+1)
		if last < first || d.IntN(50) == 0 {
			first, last = 0, d.Uint32()
		}
		prefixes := rangePrefixes(addressOf(first), addressOf(last))
		next := uint64(first)
		for _, p := range prefixes {
			at := uint64(binary.BigEndian.Uint32(p.Addr().AsSlice()))
			if at != next || p.Masked() != p {
				t.Fatalf("%d-%d: %v begins at %d, want %d", first, last, p, at, next)
			}
			next += 1 << (32 - p.Bits())
		}
		if next != uint64(last)+1 || len(prefixes) > 62 {
			t.Fatalf("%d-%d: ends at %d, in %d prefixes", first, last, next, len(prefixes))
		}
	}
	six := rangePrefixes(netip.MustParseAddr("::"), netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
	if len(six) != 1 || six[0].Bits() != 0 {
		t.Errorf("all of IPv6 is %v", six)
	}
}

func addressOf(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

func TestAddressLines(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1":                  "192.0.2.1/32",
		"192.0.2.0/24":               "192.0.2.0/24",
		"192.0.2.1-192.0.2.1":        "192.0.2.1/32",
		"192.0.2.0-192.0.2.255":      "192.0.2.0/24",
		"192.0.2.1 - 192.0.2.2":      "192.0.2.1/32 192.0.2.2/32",
		"0.0.0.0-255.255.255.255":    "0.0.0.0/0",
		"::ffff:192.0.2.0-192.0.2.1": "192.0.2.0/31",
		"2001:db8::-2001:db8::1":     "2001:db8::/127",
		"192.0.2.2-192.0.2.1":        "",
		"192.0.2.1-":                 "",
		"-192.0.2.1":                 "",
		"192.0.2.1-2001:db8::1":      "",
		"fe80::1%eth0-fe80::2%eth0":  "",
		"192.0.2.0/24-192.0.2.9":     "",
		"192.0.2.1/24":               "",
		"192.0.2":                    "",
		"private_ranges":             "",
		"example.com":                "",
		"192.0.2.1 192.0.2.2":        "",
	} {
		prefixes, err := parseAddressLine(text)
		var got []string
		for _, p := range prefixes {
			if err == nil {
				got = append(got, p.String())
			}
		}
		if strings.Join(got, " ") != want || (err != nil) != (want == "") {
			t.Errorf("%q: got %v, %v; want %q", text, got, err, want)
		}
	}
}
