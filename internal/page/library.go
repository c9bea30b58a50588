package page

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

// Sources are the folders that pages are made from.
type Sources struct {
	// Builtin holds the templates, and the catalogues under locales/. What is
	// taken from it is always there to fall back on.
	Builtin fs.FS
	// Templates replaces files or single blocks of the built-in templates, and
	// Locales sentences of the catalogues. Both are folders of the operator's,
	// or "".
	Templates, Locales string
}

// Library is what gates share: parsed templates, catalogues, and the pages that
// were rendered of them. It is safe for concurrent use.
type Library struct {
	locales   map[string]*locale
	tags      []string
	templates *templates
	builtin   *templates
	rendered  *rendered

	mu        sync.Mutex
	brands    map[string]*brand     // by everything that shows, so that gates share their pages
	languages map[string]*languages // by fallback
}

// Load reads templates and catalogues and renders samples of everything, so
// that what is wrong is found at load. Errors name the file and the line.
func Load(s Sources) (*Library, error) {
	if s.Builtin == nil {
		return nil, errors.New("no templates were given")
	}
	own, err := openFolder("locales", s.Locales)
	if err != nil {
		return nil, err
	}
	l := &Library{brands: map[string]*brand{}, languages: map[string]*languages{}}
	if l.locales, err = loadLocales(s.Builtin, own); err != nil {
		return nil, err
	}
	l.tags = slices.Sorted(maps.Keys(l.locales))
	if l.builtin, err = loadTemplates(s.Builtin, folder{}, nil); err != nil {
		return nil, err
	}
	l.templates = l.builtin
	if own, err = openFolder("templates", s.Templates); err != nil {
		return nil, err
	}
	if own.fs != nil {
		if l.templates, err = loadTemplates(s.Builtin, own, codesOf(l.locales[source].texts)); err != nil {
			return nil, err
		}
	}
	if l.rendered, err = newRendered(); err != nil {
		return nil, err
	}
	return l, l.rehearse(s)
}

// folder is one of the operator's. Its name stands before file names in errors.
type folder struct {
	fs   fs.FS
	name string
}

func openFolder(option, name string) (folder, error) {
	if name == "" {
		return folder{}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return folder{}, fmt.Errorf("%s: %w", option, err)
	}
	if !info.IsDir() {
		return folder{}, fmt.Errorf("%s: %s is a file; expected a folder", option, name)
	}
	return folder{os.DirFS(name), strings.TrimRight(name, "/") + "/"}, nil
}

// Pages are what one gate tells refusals with.
func (l *Library) Pages(o Options) (*Pages, error) {
	p := &Pages{library: l, report: o.Report}
	if p.report == nil {
		p.report = func(error) {}
	}
	var err error
	if p.languages, err = l.languagesFor(o.Language); err != nil {
		return nil, err
	}
	if err = CheckAncestors(o.FrameAncestors); err != nil {
		return nil, err
	}
	if p.brands, p.warnings, err = l.newBrands(o); err != nil {
		return nil, err
	}
	if o.ProblemBase != "" {
		if err := CheckURL("problem_base", o.ProblemBase); err != nil {
			return nil, err
		}
		p.problemBase = strings.TrimRight(o.ProblemBase, "/") + "/"
	}
	return p, nil
}

func (l *Library) languagesFor(fallback string) (*languages, error) {
	if fallback == "" {
		fallback = source
	}
	if _, ok := l.locales[fallback]; !ok {
		return nil, fmt.Errorf("language %q: there is no locales/%s.json; expected the tag of a catalogue, such as %s", fallback, fallback, source)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.languages[fallback] == nil {
		made, err := newLanguages(fallback, l.tags)
		if err != nil {
			return nil, err
		}
		l.languages[fallback] = made
	}
	return l.languages[fallback], nil
}

// share returns the brand that looks the same, if some gate has it already.
func (l *Library) share(b *brand) (shared *brand, isNew bool) {
	key := b.identity()
	l.mu.Lock()
	defer l.mu.Unlock()
	if same, ok := l.brands[key]; ok {
		return same, false
	}
	l.brands[key] = b
	return b, true
}

// rehearse renders the operator's templates for every code, with a brand that
// has everything and one that has nothing, and one page of each kind in every
// language. The built-in ones have tests for that, and are only made ready.
func (l *Library) rehearse(s Sources) error {
	brands := make([]*brand, 0, 2)
	for _, in := range []Brand{sampleBrand(), {}} {
		b, err := compileBrand(in)
		if err != nil {
			return err
		}
		b.seal("", nil)
		brands = append(brands, b)
	}
	for _, code := range codesOf(l.locales[source].texts) {
		for _, b := range brands {
			if s.Templates == "" {
				break
			}
			if err := l.rehearseSamples(b, l.locales[source], Samples(code)); err != nil {
				return err
			}
		}
	}
	for _, tag := range l.tags {
		if tag != source && s.Templates == "" && s.Locales == "" {
			continue
		}
		for _, code := range []string{"status_401", "status_403", "other"} {
			if err := l.rehearseSamples(brands[0], l.locales[tag], Samples(code)[1:2]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Library) rehearseSamples(b *brand, loc *locale, samples []Refusal) error {
	for _, r := range samples {
		out, err := l.templates.execute(b, loc, &r, shapeOf(loc, &r), actual{&r, loc})
		if err != nil {
			return err
		}
		body, _ := guard(nil, out)
		if err := l.templates.check(&r, body); err != nil {
			return err
		}
	}
	return nil
}
