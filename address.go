package gatehouse

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/gaissmai/bart"
)

// addressTable is a set of networks with a look-up that does not depend on
// how many there are.
type addressTable struct {
	prefixes bart.Lite
	files    []*addressFile // read again when they change
}

// contains reports whether addr is in the table. An invalid address never is.
func (t *addressTable) contains(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	if t.prefixes.Contains(addr) {
		return true
	}
	for _, f := range t.files {
		if f.contains(addr) {
			return true
		}
	}
	return false
}

// addressFiles opens files of addresses.
type addressFiles interface {
	addressFile(name string) (*addressFile, error)
}

// newAddressTable reads the values of an `ip` line: addresses, prefixes,
// private_ranges, and files (which start with /, ./ or ../).
func newAddressTable(values []string, files addressFiles) (*addressTable, error) {
	t := new(addressTable)
	for _, v := range values {
		text, err := resolve("ip", v)
		if err != nil {
			return nil, err
		}
		if err := t.add(text, files); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *addressTable) add(value string, files addressFiles) error {
	if value == "private_ranges" {
		for _, text := range caddyhttp.PrivateRangesCIDR() {
			prefix, err := caddyhttp.CIDRExpressionToPrefix(text)
			if err != nil {
				return fmt.Errorf("ip: private_ranges: %w", err)
			}
			t.prefixes.Insert(prefix.Masked())
		}
		return nil
	}
	if isAddressFile(value) {
		file, err := files.addressFile(value)
		if err != nil {
			return err
		}
		t.files = append(t.files, file)
		return nil
	}
	prefix, err := parsePrefix(value)
	if err != nil {
		return err
	}
	t.prefixes.Insert(prefix)
	return nil
}

func isAddressFile(value string) bool {
	return strings.HasPrefix(value, "/") || strings.HasPrefix(value, "./") || strings.HasPrefix(value, "../")
}

// parsePrefix takes an address or a CIDR prefix. An IPv4 address written as
// IPv6 is the IPv4 address, as it is when a client comes with it.
func parsePrefix(s string) (netip.Prefix, error) {
	bad := func() (netip.Prefix, error) {
		return netip.Prefix{}, fmt.Errorf("ip: found %q; expected an address, a prefix such as 192.0.2.0/24, private_ranges, or a file that starts with / ./ or ../", s)
	}
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return bad()
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return bad()
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return bad()
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, fmt.Errorf("ip: %q has bits set past its length; expected %s", s, masked)
	}
	return prefix, nil
}

// peerAddress is who the connection comes from. Zero if that has no address.
func peerAddress(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap().WithZone("")
}

// clientAddress is Caddy's client_ip. The headers that claim an address are
// read by Caddy alone, under its trusted_proxies. Zero if there is none.
func clientAddress(r *http.Request) netip.Addr {
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}
