package page

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/language"
)

// source is the language the catalogues are checked against: it names the keys
// and the parameters, and fills what another catalogue leaves out.
const source = "en"

// sentence is one text of a catalogue, taken apart at its {parameters}.
type sentence struct {
	parts []string // literal, name, literal, name, …, literal
}

func parseSentence(s string) (sentence, error) {
	var t sentence
	for rest := s; ; {
		before, after, found := strings.Cut(rest, "{")
		if strings.Contains(before, "}") {
			return t, errors.New(`found "}" without "{"`)
		}
		t.parts = append(t.parts, before)
		if !found {
			return t, nil
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return t, errors.New(`expected "{name}" with a name of lower-case letters`)
		}
		t.parts = append(t.parts, name)
		rest = tail
	}
}

func (t sentence) names() []string {
	var names []string
	for i := 1; i < len(t.parts); i += 2 {
		names = append(names, t.parts[i])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// fill puts the values in; false when one is missing, since a sentence with a
// hole is worse than the general one.
func (t sentence) fill(params map[string]string) (string, bool) {
	switch len(t.parts) {
	case 0:
		return "", false
	case 1:
		return t.parts[0], true
	}
	var b strings.Builder
	for i, part := range t.parts {
		if i%2 == 1 {
			if part = params[part]; part == "" {
				return "", false
			}
		}
		b.WriteString(part)
	}
	return b.String(), true
}

// filledBy reports whether all values are there.
func (t sentence) filledBy(params map[string]string) bool {
	for i := 1; i < len(t.parts); i += 2 {
		if params[t.parts[i]] == "" {
			return false
		}
	}
	return len(t.parts) > 0
}

// fillWith puts in the values of slots.
func (t sentence) fillWith(v values) string {
	var b strings.Builder
	for i, part := range t.parts {
		if i%2 == 1 {
			part = v.get(parameter(part))
		}
		b.WriteString(part)
	}
	return b.String()
}

// locale is the whole catalogue of one language, with the gaps filled in.
type locale struct {
	tag, dir string
	texts    map[string]sentence
	codes    map[string]words
}

// words are what one code says.
type words struct {
	title, heading, detail string
	named                  sentence
	number                 int // of the code, above 0
}

// plain is a sentence without parameters, "" where there is none.
func (l *locale) plain(key string) string {
	s, _ := l.texts[key].fill(nil)
	return s
}

// text is a sentence without parameters.
func (l *locale) text(key string) (string, error) {
	s, ok := l.texts[key]
	if !ok {
		return "", fmt.Errorf("locales/%s.json has no key %q", source, key)
	}
	t, ok := s.fill(nil)
	if !ok {
		return "", fmt.Errorf("locales/%s.json: %q needs parameters and cannot be used in a template", source, key)
	}
	return t, nil
}

// words finds what to say for a code; a code the catalogue does not know is
// told by its status, and failing that in general.
func (l *locale) words(code string, status int) words {
	if w, ok := l.codes[code]; ok {
		return w
	}
	if w, ok := l.codes["status_"+strconv.Itoa(status)]; ok {
		return w
	}
	return l.codes["other"]
}

// loadLocales reads every catalogue, and over it the operator's. All are checked
// against the built-in English one.
func loadLocales(root fs.FS, own folder) (map[string]*locale, error) {
	english, err := readCatalogue(folder{fs: root}, "locales/"+source+".json", nil)
	if err != nil {
		return nil, err
	}
	if err := checkCodes(english); err != nil {
		return nil, err
	}
	texts := map[string]map[string]sentence{source: english}
	if err := readFolder(texts, folder{fs: root}, "locales/", english); err != nil {
		return nil, err
	}
	if own.fs != nil {
		if err := readFolder(texts, own, "", english); err != nil {
			return nil, err
		}
	}
	all := make(map[string]*locale, len(texts))
	for tag, t := range texts {
		all[tag] = newLocale(tag, t, texts[source])
	}
	return all, nil
}

// readFolder adds the catalogues of a folder to those that are there.
func readFolder(into map[string]map[string]sentence, root folder, dir string, english map[string]sentence) error {
	files, err := fs.Glob(root.fs, dir+"*.json")
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s%s: found no <tag>.json file, such as de.json", root.name, dir)
	}
	for _, file := range files {
		tag := strings.TrimSuffix(path.Base(file), ".json")
		parsed, err := language.Parse(tag)
		if err != nil || parsed.String() != tag {
			return fmt.Errorf("%s%s: %q is not a language tag in its usual spelling, such as pt-BR (BCP 47)", root.name, file, tag)
		}
		texts, err := readCatalogue(root, file, english)
		if err != nil {
			return err
		}
		merged := maps.Clone(into[tag])
		if merged == nil {
			merged = map[string]sentence{}
		}
		maps.Copy(merged, texts)
		into[tag] = merged
	}
	return nil
}

func newLocale(tag string, texts, english map[string]sentence) *locale {
	merged := maps.Clone(english)
	maps.Copy(merged, texts)
	l := &locale{tag: tag, dir: direction(tag), texts: merged, codes: map[string]words{}}
	for i, code := range codesOf(english) {
		w := words{number: i + 1}
		w.title, _ = merged[code+".title"].fill(nil)
		w.heading, _ = merged[code+".heading"].fill(nil)
		w.detail, _ = merged[code+".detail"].fill(nil)
		// An English named sentence must not stand beside a translated rest.
		_, translated := texts[code+".detail_named"]
		if _, own := texts[code+".detail"]; translated || !own {
			w.named = merged[code+".detail_named"]
		}
		l.codes[code] = w
	}
	return l
}

func codesOf(texts map[string]sentence) []string {
	var codes []string
	for key := range texts {
		if code, ok := strings.CutSuffix(key, ".title"); ok {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	return codes
}

// checkCodes sees to it that each code has all its texts and that those for
// codes nobody listed are there.
func checkCodes(texts map[string]sentence) error {
	codes := codesOf(texts)
	for _, general := range []string{"other", "status_401", "status_403", "status_404", "status_429", "status_500", "status_503"} {
		if !slices.Contains(codes, general) {
			return fmt.Errorf("locales/%s.json has no key %q", source, general+".title")
		}
	}
	for _, code := range codes {
		for _, part := range []string{".title", ".heading", ".detail"} {
			s, ok := texts[code+part]
			if !ok {
				return fmt.Errorf("locales/%s.json has no key %q", source, code+part)
			}
			if names := s.names(); len(names) > 0 {
				return fmt.Errorf("locales/%s.json: %q cannot have parameters, found {%s}", source, code+part, names[0])
			}
		}
	}
	return nil
}

// readCatalogue reads one flat JSON object of sentences. With a reference, its
// keys and each key's parameters must be known there.
func readCatalogue(root folder, file string, reference map[string]sentence) (map[string]sentence, error) {
	data, err := fs.ReadFile(root.fs, file)
	if err != nil {
		return nil, err
	}
	d := jsontext.NewDecoder(bytes.NewReader(data))
	at := func(format string, a ...any) error {
		offset := int(d.InputOffset())
		for _, v := range a {
			if e, ok := v.(*jsontext.SyntacticError); ok {
				offset = int(e.ByteOffset)
			}
		}
		before := data[:min(offset, len(data))]
		return fmt.Errorf("%s%s:%d: %s", root.name, file, 1+bytes.Count(before, []byte("\n")), fmt.Sprintf(format, a...))
	}
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, at("expected one JSON object of key and sentence")
	}
	texts := map[string]sentence{}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return nil, at("%v", err)
		}
		key := t.String()
		if t, err = d.ReadToken(); err != nil {
			return nil, at("%v", err)
		}
		if t.Kind() != '"' {
			return nil, at("%q: expected a text in quotes", key)
		}
		if texts[key], err = checkSentence(key, t.String(), reference); err != nil {
			return nil, at("%v", err)
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, at("%v", err)
	}
	if rest := bytes.TrimSpace(data[d.InputOffset():]); len(rest) > 0 {
		return nil, at("found more after the end of the object")
	}
	return texts, nil
}

func checkSentence(key, text string, reference map[string]sentence) (sentence, error) {
	s, err := parseSentence(text)
	if err != nil {
		return s, fmt.Errorf("%q: %w", key, err)
	}
	if strings.TrimSpace(text) == "" {
		return s, fmt.Errorf("%q is empty; leave the key out to use the English text", key)
	}
	if i := strings.IndexFunc(text, isHidden); i >= 0 {
		return s, fmt.Errorf("%q holds a control or direction character at byte %d", key, i)
	}
	if reference == nil {
		return s, nil
	}
	want, ok := reference[key]
	if !ok {
		return s, fmt.Errorf("unknown key %q; did you mean %q?", key, nearest(key, slices.Sorted(maps.Keys(reference))))
	}
	if !slices.Equal(s.names(), want.names()) {
		return s, fmt.Errorf("%q: found the parameters %q, expected %q", key, s.names(), want.names())
	}
	return s, nil
}

// isHidden knows control characters and those that turn the direction of text
// around unseen. Joiners are needed in Persian and the languages of India.
func isHidden(r rune) bool {
	return unicode.IsControl(r) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' ||
		r == '\u200e' || r == '\u200f' || r == '\u061c' || r == '\ufeff' || r == '\u2028' || r == '\u2029'
}
