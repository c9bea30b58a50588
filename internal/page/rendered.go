package page

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
)

// maxRendered bounds the memory of rendered pages. The style and the logo, the
// bulk of a page, are kept once for each brand and not counted.
const maxRendered = 16 << 20

// rendered keeps pages once they were rendered: literal text, and slots for
// what changes from request to request. A page is rendered when it is first
// needed: languages times codes times brands are many, and few are ever seen.
type rendered struct {
	pages *otter.Cache[pageKey, *sheet]
}

// pageKey is everything that a page depends on but for the values in slots.
type pageKey struct {
	brand  *brand
	locale *locale
	kind   uint64 // number of the code, status and shape
}

// sheet is a rendered page. Without pieces it cannot be prepared, and is
// executed for every request.
type sheet struct {
	pieces  []piece
	csp     string
	weight  uint32
	builtin bool        // the operator's template fails on it
	told    atomic.Bool // of a failure that shows with a request's own values
}

// piece is text, and the slot after it.
type piece struct {
	literal string
	slot    slot
	escape  escaping
}

func newRendered() (*rendered, error) {
	pages, err := otter.New(&otter.Options[pageKey, *sheet]{
		MaximumWeight: maxRendered,
		Weigher:       func(_ pageKey, s *sheet) uint32 { return s.weight },
	})
	return &rendered{pages}, err
}

// interned keeps one copy of long texts that many pages share.
type interned struct {
	mu    sync.Mutex
	texts map[string]string
}

func (i *interned) get(s string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.texts == nil {
		i.texts = map[string]string{}
	}
	if same, ok := i.texts[s]; ok {
		return same
	}
	s = strings.Clone(s)
	i.texts[s] = s
	return s
}

func (p *Pages) html(dst []byte, b *brand, l *locale, r *Refusal) ([]byte, string) {
	shape := shapeOf(l, r)
	number := l.codes[r.words()].number
	if number == 0 { // other codes share words, and may be many
		return p.execute(dst, b, l, *r, shape, &sheet{})
	}
	key := pageKey{b, l, uint64(number)<<32 | uint64(r.Status)<<16 | uint64(shape.bits())} //nolint:gosec // G115: both are small and above 0
	s, ok := p.library.rendered.pages.GetIfPresent(key)
	if !ok {
		s = p.render(b, l, *r, shape)
		p.library.rendered.pages.Set(key, s)
	}
	if s.pieces == nil {
		return p.execute(dst, b, l, *r, shape, s)
	}
	return s.fill(dst, actual{r, l}), s.csp
}

// fill copies the page, with the values in its slots. The time stands there
// twice, and is written once.
func (s *sheet) fill(dst []byte, v actual) []byte {
	var buf [32]byte
	stamp := buf[:0]
	for i := range s.pieces {
		piece := &s.pieces[i]
		dst = append(dst, piece.literal...)
		switch piece.slot {
		case noSlot:
		case slotTime, slotISOTime:
			if len(stamp) == 0 {
				stamp = appendTime(stamp, v.Time, ' ')
			}
			dst = piece.escape.appendStamp(dst, stamp, piece.slot)
		default:
			dst = piece.escape.append(dst, piece.slot, v)
		}
	}
	return dst
}

// render prepares the page for a key. It is rendered twice, with different
// marks in its slots: where the text between the marks differs, a template does
// more with a value than print it.
func (p *Pages) render(b *brand, l *locale, r Refusal, shape shape) *sheet {
	s, err := prepare(p.library.templates, b, l, &r, shape)
	if err == nil {
		return s
	}
	p.report(err)
	if s, err = prepare(p.library.builtin, b, l, &r, shape); err == nil {
		s.builtin = true
		return s
	}
	return &sheet{weight: sheetOverhead, builtin: true}
}

const sheetOverhead = 256

func prepare(t *templates, b *brand, l *locale, r *Refusal, shape shape) (*sheet, error) {
	var pieces [2][]piece
	s := &sheet{weight: sheetOverhead}
	for i, m := range []marks{"k", "mm"} {
		out, err := t.execute(b, l, r, shape, m)
		if err != nil {
			return nil, err
		}
		body, styles := guard(nil, out)
		if err := t.check(r, body); err != nil {
			return nil, err
		}
		s.csp = b.kept.get(policy(styles, b.ancestors))
		if pieces[i] = m.split(body); pieces[i] == nil {
			return s, nil
		}
	}
	if !slices.Equal(pieces[0], pieces[1]) {
		return s, nil
	}
	s.pieces = b.share(pieces[0])
	for i := range s.pieces {
		if !b.isShared(s.pieces[i].literal) {
			s.weight += uint32(len(s.pieces[i].literal)) //nolint:gosec // G115: a page
		}
		s.weight += 40
	}
	return s, nil
}

// share splits off the style and the logo, which every page of a brand has.
func (b *brand) share(pieces []piece) []piece {
	var out []piece
	for _, p := range pieces {
		for rest := p.literal; ; {
			from, to := longPart(rest, string(b.logo))
			if to == 0 {
				out = append(out, piece{strings.Clone(rest), p.slot, p.escape})
				break
			}
			out = append(out, piece{literal: strings.Clone(rest[:from])}, piece{literal: b.kept.get(rest[from:to])})
			rest = rest[to:]
		}
	}
	return out
}

func (b *brand) isShared(s string) bool {
	return len(s) >= minShared && (s == string(b.logo) || strings.HasSuffix(s, "</style>"))
}

const minShared = 256

// longPart finds a style element or the logo.
func longPart(s, logo string) (from, to int) {
	if i := strings.Index(s, "<style"); i >= 0 {
		if end := strings.Index(s[i:], "</style>"); end >= minShared {
			return i, i + end + len("</style>")
		}
	}
	if len(logo) >= minShared {
		if i := strings.Index(s, logo); i >= 0 {
			return i, i + len(logo)
		}
	}
	return 0, 0
}

// execute renders a page for one request alone.
func (p *Pages) execute(dst []byte, b *brand, l *locale, r Refusal, shape shape, s *sheet) ([]byte, string) {
	v := actual{&r, l}
	if !s.builtin {
		out, err := p.library.templates.execute(b, l, &r, shape, v)
		if err == nil {
			return guarded(dst, b, out)
		}
		if !s.told.Swap(true) {
			p.report(err)
		}
	}
	out, err := p.library.builtin.execute(b, l, &r, shape, v)
	if err != nil {
		out = plainPage(l, &r)
	}
	return guarded(dst, b, out)
}

func guarded(dst []byte, b *brand, page []byte) ([]byte, string) {
	out, styles := guard(dst, page)
	return out, policy(styles, b.ancestors)
}

// marks are values by which slots are found in a rendered page: a mark that no
// escaping changes on both sides of a probe that each escaping changes in its
// own way. The marks of different names have different lengths.
type marks string

const (
	markStart, markEnd = "Zq7", "z7Q"

	// What html/template may have to escape.
	probe = "<\"'&+ {é/%=>"
	// What is left of a value that is percent-encoded.
	urlProbe = "%2F.-_~"
)

func (m marks) get(s slot) string {
	p := probe
	if s.inURL() {
		p = urlProbe
	}
	return markStart + string(m) + string(rune('A'+s)) + p + markEnd
}

// split takes a page apart at its marks; nil where a value stands in a way that
// is not understood.
func (m marks) split(page []byte) []piece {
	start := []byte(markStart + string(m))
	var out []piece
	for {
		before, after, found := bytes.Cut(page, start)
		if !found {
			return append(out, piece{literal: string(page)})
		}
		inside, rest, closed := bytes.Cut(after, []byte(markEnd))
		if !closed || len(inside) < 2 || inside[0] <= 'A' || inside[0] >= 'A'+byte(slotCount) {
			return nil
		}
		s := slot(inside[0] - 'A')
		escape := escapingOf(s, inside[1:])
		if escape == unknownEscaping {
			return nil
		}
		out = append(out, piece{string(before), s, escape})
		page = rest
	}
}
