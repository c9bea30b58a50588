package gatehouse

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// Exactly the addresses from the first to the last: one more is an outsider who
// comes in, one less somebody who is locked out.
func TestRangePrefixesAgainstBruteForce(t *testing.T) {
	bases := []netip.Addr{
		netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("192.0.2.224"), netip.MustParseAddr("10.255.255.240"), netip.MustParseAddr("255.255.255.208"),
		netip.MustParseAddr("::"), netip.MustParseAddr("2001:db8::fff0"), netip.MustParseAddr("::fffe:ffff:fff0"), netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffd0"),
	}
	const width = 48
	for _, base := range bases {
		var all []netip.Addr
		for addr := base; addr.IsValid() && len(all) < width; addr = addr.Next() {
			all = append(all, addr)
		}
		for i := range all {
			for j := i; j < len(all); j++ {
				checkRange(t, all[i], all[j], all)
			}
		}
	}
}

// checkRange asserts that the prefixes are sound, cover from..to, and nothing
// else of near.
func checkRange(t *testing.T, from, to netip.Addr, near []netip.Addr) {
	t.Helper()
	prefixes := rangePrefixes(from, to)
	next := from
	for _, p := range prefixes {
		if !p.IsValid() || p.Masked() != p || p.Addr() != next {
			t.Fatalf("%s-%s: %s does not begin at %s", from, to, p, next)
		}
		next = lastAddress(p).Next()
	}
	if last := lastAddress(prefixes[len(prefixes)-1]); last != to {
		t.Fatalf("%s-%s: ends at %s", from, to, last)
	}
	if len(prefixes) > 2*from.BitLen() {
		t.Errorf("%s-%s: %d prefixes", from, to, len(prefixes))
	}
	for _, addr := range near {
		covered := false
		for _, p := range prefixes {
			covered = covered || p.Contains(addr)
		}
		if want := !addr.Less(from) && !to.Less(addr); covered != want {
			t.Fatalf("%s-%s: %s is covered: %t", from, to, addr, covered)
		}
	}
}

func TestRangesOfEverything(t *testing.T) {
	for text, want := range map[string]string{
		"0.0.0.0-255.255.255.255":                    "0.0.0.0/0",
		"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": "::/0",
		"10.0.0.0-10.255.255.255":                    "10.0.0.0/8",
		"0.0.0.0-0.0.0.0":                            "0.0.0.0/32",
		"255.255.255.255-255.255.255.255":            "255.255.255.255/32",
	} {
		got, err := parseAddressLine(text)
		if err != nil || len(got) != 1 || got[0].String() != want {
			t.Errorf("%s: got %v %v, want %s", text, got, err, want)
		}
	}
	// All but the first and the last: the most prefixes that there can be.
	if got, err := parseAddressLine("0.0.0.1-255.255.255.254"); err != nil || len(got) != 62 {
		t.Errorf("got %d prefixes %v", len(got), err)
	}
	if got, err := parseAddressLine("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"); err != nil || len(got) != 254 {
		t.Errorf("got %d prefixes %v", len(got), err)
	}
}

// FuzzAddressLine: no line makes the reader panic, and what it takes is sound.
func FuzzAddressLine(f *testing.F) {
	for _, line := range []string{"192.0.2.1", "192.0.2.0/24", "192.0.2.1-192.0.2.9", "::ffff:10.0.0.1-10.0.0.4", "2001:db8::1 - 2001:db8::ffff", "::-ffff::", "fe80::1%e-fe80::2", "-", "1-2-3", "::ffff:0:0/96"} {
		f.Add(line, uint64(1))
	}
	f.Fuzz(func(t *testing.T, line string, seed uint64) {
		prefixes, err := parseAddressLine(line)
		if err != nil {
			return
		}
		if len(prefixes) == 0 {
			t.Fatalf("%q: no prefix and no error", line)
		}
		for _, p := range prefixes {
			if !p.IsValid() || p.Masked() != p || p.Addr().Zone() != "" {
				t.Fatalf("%q: %s", line, p)
			}
		}
		from, to := prefixes[0].Addr(), lastAddress(prefixes[len(prefixes)-1])
		near := []netip.Addr{from, to, someAddress(from, seed)}
		for _, addr := range []netip.Addr{from.Prev(), to.Next()} {
			if addr.IsValid() {
				near = append(near, addr)
			}
		}
		checkRange(t, from, to, near)
	})
}

// someAddress is an address of the same kind, made of the seed.
func someAddress(like netip.Addr, seed uint64) netip.Addr {
	b := like.AsSlice()
	binary.BigEndian.PutUint32(b[len(b)-4:], uint32(seed))
	if len(b) == 16 {
		binary.BigEndian.PutUint32(b, uint32(seed>>32))
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}
