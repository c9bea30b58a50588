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
	return l, l.rehearse()
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
func (l *Library) share(b *brand) *brand {
	key := b.identity()
	l.mu.Lock()
	defer l.mu.Unlock()
	if same, ok := l.brands[key]; ok {
		return same
	}
	l.brands[key] = b
	return b
}

// rehearse renders every code in one language with a brand that has everything
// and one that has nothing, and every kind of page in every language.
func (l *Library) rehearse() error {
	brands := make([]*brand, 0, 2)
	for _, in := range []Brand{sampleBrand(), {}} {
		b, err := compileBrand(in)
		if err != nil {
			return err
		}
		b.seal("", nil)
		brands = append(brands, b)
	}
	for _, b := range brands {
		for _, code := range codesOf(l.locales[source].texts) {
			if err := l.rehearseCode(b, l.locales[source], code); err != nil {
				return err
			}
		}
	}
	for _, tag := range l.tags {
		for _, code := range []string{"status_401", "status_403", "other"} {
			if err := l.rehearseCode(brands[0], l.locales[tag], code); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Library) rehearseCode(b *brand, loc *locale, code string) error {
	for _, r := range Samples(code) {
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
