package page

import (
	"slices"
	"strings"

	"github.com/maypok86/otter/v2"
	"golang.org/x/text/language"
)

const (
	maxLanguageBytes  = 1024
	maxLanguageRanges = 32
	maxTagBytes       = 35 // RFC 5646 section 4.4.1

	rememberedHeaders   = 1024
	maxRememberedHeader = 128
)

// languages finds the locale for an Accept-Language header. golang.org/x/text's
// matcher is not used: it throws a whole header away for one bad tag and sends
// Belarusian readers to Russian.
type languages struct {
	fallback string
	byTag    map[string]string // lower-case tag, base language or alias -> locale
	// remembered are the choices for whole headers: browsers send few.
	remembered *otter.Cache[string, string]
}

func newLanguages(fallback string, tags []string) (*languages, error) {
	remembered, err := otter.New(&otter.Options[string, string]{MaximumSize: rememberedHeaders})
	if err != nil {
		return nil, err
	}
	l := &languages{fallback: fallback, byTag: make(map[string]string, 2*len(tags)), remembered: remembered}
	sorted := slices.Sorted(slices.Values(tags))
	for _, tag := range sorted {
		l.byTag[strings.ToLower(tag)] = tag
	}
	for _, tag := range sorted { // pt-BR serves pt too, unless there is a pt
		base, _, regional := strings.Cut(strings.ToLower(tag), "-")
		if _, taken := l.byTag[base]; regional && !taken {
			l.byTag[base] = tag
		}
	}
	for _, a := range aliases() {
		if _, taken := l.byTag[a.from]; taken {
			continue
		}
		if tag, ok := l.byTag[a.to]; ok {
			l.byTag[a.from] = tag
		}
	}
	return l, nil
}

// find is choose with a memory. Long headers are not worth their place in it.
func (l *languages) find(header string) string {
	if header == "" {
		return l.fallback
	}
	if len(header) > maxRememberedHeader {
		return l.choose(header)
	}
	if tag, ok := l.remembered.GetIfPresent(header); ok {
		return tag
	}
	tag := l.choose(header)
	l.remembered.Set(strings.Clone(header), tag)
	return tag
}

type alias struct{ from, to string }

// aliases are tags that browsers send for a language catalogued under another
// tag: codes that ISO 639 withdrew, members of a macrolanguage, and Chinese by
// region where only the script tells the catalogues apart.
func aliases() []alias {
	return []alias{
		{"no", "nb"}, {"nn", "nb"}, {"nb", "no"}, {"iw", "he"}, {"in", "id"}, {"ji", "yi"}, {"jw", "jv"}, {"mo", "ro"}, {"tl", "fil"}, {"cmn", "zh-hans"},
		{"zh-cn", "zh-hans"}, {"zh-sg", "zh-hans"}, {"zh-my", "zh-hans"},
		{"zh-tw", "zh-hant"}, {"zh-hk", "zh-hant"}, {"zh-mo", "zh-hant"},
	}
}

// choose takes the range with the highest weight for which there is a locale,
// the first of equals. It shortens a range from the right (RFC 4647 section
// 3.4) and never leaves its base language.
func (l *languages) choose(header string) string {
	cut := len(header) > maxLanguageBytes
	if cut {
		header = header[:maxLanguageBytes]
	}
	best, bestQ := l.fallback, 0
	for n := 0; header != "" && n < maxLanguageRanges; n++ {
		item, rest, more := strings.Cut(header, ",")
		if cut && !more {
			break
		}
		header = rest
		tag, params, _ := strings.Cut(item, ";")
		q, ok := languageWeight(params)
		if !ok || q <= bestQ {
			continue
		}
		if locale, ok := l.lookup(trim(tag)); ok {
			best, bestQ = locale, q
		}
	}
	return best
}

func languageWeight(params string) (int, bool) {
	params = trim(params)
	if params == "" {
		return 1000, true
	}
	key, value, found := strings.Cut(params, "=")
	if key = trim(key); !found || len(key) != 1 || key[0]|0x20 != 'q' {
		return 0, false
	}
	return parseQ(value)
}

func (l *languages) lookup(tag string) (string, bool) {
	if tag == "*" {
		return l.fallback, true
	}
	if tag == "" || len(tag) > maxTagBytes {
		return "", false
	}
	var buf [maxTagBytes]byte
	for i := range len(tag) {
		switch c := tag[i]; {
		case c >= 'A' && c <= 'Z':
			buf[i] = c | 0x20
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
			buf[i] = c
		case c == '_':
			buf[i] = '-'
		default:
			return "", false
		}
	}
	for n := len(tag); n > 0; {
		if locale, ok := l.byTag[string(buf[:n])]; ok {
			return locale, true
		}
		n--
		for n > 0 && buf[n] != '-' {
			n--
		}
	}
	return "", false
}

// direction is "rtl" for languages written from right to left, by their script:
// az is left to right, az-Arab is not.
func direction(tag string) string {
	script, _ := language.Make(tag).Script()
	switch script.String() {
	case "Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg", "Samr", "Mand", "Aran":
		return "rtl"
	}
	return "ltr"
}
