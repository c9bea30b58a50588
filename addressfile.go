package gatehouse

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
	"go.uber.org/zap"
)

// addressFilePoll is how often files of addresses are looked at; a changed one
// takes effect at the second look that finds it the same. They are not watched:
// notifications do not cross network file systems, and miss the swapped links of
// mounted configuration.
const addressFilePoll = 2 * time.Second

// addressFile is a file of addresses, with what it held when it was last good.
type addressFile struct {
	name  string
	table atomic.Pointer[bart.Lite]
	// seen and changing belong to whoever opened the file, then to the goroutine
	// that polls it.
	seen     fileState // what was last read
	changing fileState // what was there at the last look
}

// fileState is what changes when somebody writes a file, or puts another one in
// its place. Zero if there is none.
type fileState struct{ info os.FileInfo }

func (s fileState) same(other fileState) bool {
	if s.info == nil || other.info == nil {
		return s.info == nil && other.info == nil
	}
	return s.info.Size() == other.info.Size() && s.info.ModTime().Equal(other.info.ModTime()) && os.SameFile(s.info, other.info)
}

func openAddressFile(name string) (*addressFile, error) {
	f := &addressFile{name: name}
	// Before reading: a change in between is then seen by the next poll.
	f.seen = stateOf(name)
	f.changing = f.seen
	table, err := readAddressFile(name)
	if err != nil {
		return nil, err
	}
	f.table.Store(table)
	return f, nil
}

func (f *addressFile) contains(addr netip.Addr) bool { return f.table.Load().Contains(addr) }

// refresh reads the file again if it has changed, once it is as it was at the
// look before: half of a list of denied addresses would let the others in. A bad
// file is no reason to forget the good one.
func (f *addressFile) refresh(log *zap.Logger) {
	state := stateOf(f.name)
	settled := state.same(f.changing)
	f.changing = state
	if state.same(f.seen) || !settled {
		return
	}
	f.seen = state
	table, err := readAddressFile(f.name)
	if err != nil {
		log.Warn("a file of addresses has changed and cannot be used; what it held before stays in force", zap.String("file", f.name), zap.Error(err))
		return
	}
	f.table.Store(table)
	log.Info("a file of addresses was read again", zap.String("file", f.name), zap.Int("prefixes", table.Size()))
}

func stateOf(name string) fileState {
	info, err := os.Stat(name)
	if err != nil {
		return fileState{}
	}
	return fileState{info}
}

// pollAddressFiles keeps files current until ctx ends.
func pollAddressFiles(ctx context.Context, files map[string]*addressFile, log *zap.Logger) {
	every(ctx, addressFilePoll, func() {
		for _, f := range files {
			f.refresh(log)
		}
	})
}

// readAddressFile reads one address, prefix or range (first-last) a line; #
// starts a comment.
func readAddressFile(name string) (*bart.Lite, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("ip: %w", err)
	}
	table := new(bart.Lite)
	lines := bufio.NewScanner(bytes.NewReader(data))
	entries := 0
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		prefixes, err := parseAddressLine(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		for _, prefix := range prefixes {
			table.Insert(prefix)
		}
		entries++
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if entries == 0 {
		return nil, fmt.Errorf("%s: found no address; expected one address, prefix or range a line", name)
	}
	return table, nil
}

func parseAddressLine(text string) ([]netip.Prefix, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		prefix, err := parsePrefix(text)
		return []netip.Prefix{prefix}, err
	}
	from, errFrom := netip.ParseAddr(strings.TrimSpace(first))
	to, errTo := netip.ParseAddr(strings.TrimSpace(last))
	from, to = from.Unmap(), to.Unmap()
	if errFrom != nil || errTo != nil || from.Zone()+to.Zone() != "" || from.Is4() != to.Is4() || to.Less(from) {
		return nil, fmt.Errorf("ip: found %q; expected a range of addresses, the lower one first, such as 192.0.2.10-192.0.2.20", text)
	}
	return rangePrefixes(from, to), nil
}

// rangePrefixes are the fewest prefixes that cover exactly from to to: each
// step takes the largest one that starts at from and does not pass to.
func rangePrefixes(from, to netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for {
		bits := from.BitLen()
		for bits > 0 {
			wider := netip.PrefixFrom(from, bits-1)
			if wider.Masked().Addr() != from || to.Less(lastAddress(wider)) {
				break
			}
			bits--
		}
		prefix := netip.PrefixFrom(from, bits)
		out = append(out, prefix)
		last := lastAddress(prefix)
		if last == to {
			return out
		}
		from = last.Next()
	}
}

// lastAddress is the highest address of a prefix.
func lastAddress(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(bytes); bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}
