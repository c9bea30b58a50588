package gatehouse

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"golang.org/x/text/language"

	"github.com/caddy-gatehouse/gatehouse/internal/page"
)

//go:embed templates
var embedded embed.FS

// Pages says how refusals are told.
type Pages struct {
	// Where this was configured, as file:line. Set by the Caddyfile.
	Source string `json:"source,omitempty"`

	// A folder of templates that replace the built-in ones: any of the files
	// that `caddy gatehouse templates` writes out, or `blocks.html` with single
	// blocks for every page. They are read and tried out at load. One that
	// fails later is replaced by the built-in page, with the same status.
	Templates string `json:"templates,omitempty"`

	// A folder of catalogues, `<tag>.json`, with any of the sentences of the
	// built-in ones. A new tag (BCP 47) is a new language; what it leaves out
	// is told in English. An unknown key is an error.
	Locales string `json:"locales,omitempty"`

	// The language where the client asks for none that there is. Default: `en`.
	Language string `json:"language,omitempty"`

	// What is answered regardless of what the client asks for. The first that
	// matches counts; one without methods, paths and matchers is for the rest.
	// gRPC, and WebSockets, are always answered in their own way.
	Formats []*PageFormat `json:"formats,omitempty"`

	// How much a 403 tells about what is missing: `quiet` (default) nothing,
	// `role` the roles, `full` also scopes, claims and, to programs, the
	// visitor's address. The page itself always shows visitors whose address is
	// refused the address they come from.
	Detail string `json:"detail,omitempty"`

	// What the `type` of a problem (RFC 9457) begins with: it is
	// `<problem_base>/<code>`. Default: the type is `about:blank`.
	ProblemBase string `json:"problem_base,omitempty"`

	// Who may show the pages in a frame: sources of the frame-ancestors
	// directive of Content Security Policy Level 3, such as `'self'` or
	// `https://panel.example.com`. Default: nobody.
	FrameAncestors []string `json:"frame_ancestors,omitempty"`
}

// PageFormat is what some requests are answered with.
type PageFormat struct {
	// Where this was configured, as file:line. Set by the Caddyfile.
	Source string `json:"source,omitempty"`

	Selector

	// `html`, `problem` (application/problem+json), `json`, `text`, or `auto`:
	// what suits the request.
	Format string `json:"format"`
}

const (
	detailQuiet = "quiet"
	detailRole  = "role"
	detailFull  = "full"

	formatNames = "auto|html|problem|json|text"
)

func (p *Pages) check() error {
	if p == nil {
		return nil
	}
	if err := p.checkValues(); err != nil {
		return err
	}
	return p.checkFormats()
}

// checkValues checks what stands on lines of its own.
func (p *Pages) checkValues() error {
	if p.Language != "" {
		if _, err := language.Parse(p.Language); err != nil {
			return fmt.Errorf("pages: language %q is not a language tag; expected one such as en or pt-BR", p.Language)
		}
	}
	if !slices.Contains([]string{"", detailQuiet, detailRole, detailFull}, p.Detail) {
		return fmt.Errorf("pages: found detail %q; expected quiet, role or full", p.Detail)
	}
	if p.ProblemBase != "" && !strings.Contains(p.ProblemBase, "{") {
		if err := page.CheckURL("problem_base", p.ProblemBase); err != nil {
			return fmt.Errorf("pages: %w", err)
		}
	}
	if !slices.ContainsFunc(p.FrameAncestors, func(s string) bool { return strings.Contains(s, "{") }) {
		if err := page.CheckAncestors(p.FrameAncestors); err != nil {
			return fmt.Errorf("pages: %w", err)
		}
	}
	return nil
}

func (p *Pages) checkFormats() error {
	var rest *PageFormat
	for _, f := range p.Formats {
		if f == nil {
			return errors.New("pages: formats: found null")
		}
		if _, ok := formatOf(f.Format); !ok {
			return at(f.Source, fmt.Errorf("pages: format: found %q; expected `format [<path|@matcher>...] %s`", f.Format, formatNames))
		}
		if err := f.check("pages: format", false); err != nil {
			return at(f.Source, err)
		}
		if !f.empty() || len(f.Methods) > 0 {
			continue
		}
		if rest != nil {
			return at(f.Source, fmt.Errorf("pages: format: found a second one for every request; the first is at %s", rest.Source))
		}
		rest = f
	}
	return nil
}

func formatOf(name string) (page.Format, bool) {
	switch name {
	case "auto":
		return page.Auto, true
	case "html":
		return page.FormatHTML, true
	case "problem":
		return page.FormatProblem, true
	case "json":
		return page.FormatJSON, true
	case "text":
		return page.FormatText, true
	default:
		return page.Auto, false
	}
}

// formats are compiled PageFormats.
type formats struct {
	list []pageFormat
	rest page.Format
}

type pageFormat struct {
	selector
	format page.Format
}

func (p *Pages) compileFormats(ctx caddy.Context) (formats, error) {
	var out formats
	for _, f := range p.Formats {
		format, _ := formatOf(f.Format)
		if f.empty() && len(f.Methods) == 0 {
			out.rest = format
			continue
		}
		selector, err := f.compile(ctx)
		if err != nil {
			return out, at(f.Source, fmt.Errorf("pages: format: %w", err))
		}
		out.list = append(out.list, pageFormat{selector, format})
	}
	return out, nil
}

// find gives the operator's choice for a request. A matcher that fails does not
// match: what it decides is the form of a refusal, never whether there is one.
func (f *formats) find(r *http.Request) page.Format {
	if len(f.list) == 0 {
		return f.rest
	}
	v := newViews(r)
	for i := range f.list {
		if matched, no := either(ruleID{}, v, f.list[i].matches); matched && no == nil {
			return f.list[i].format
		}
	}
	return f.rest
}

// builtinPages are the templates and catalogues that the module brings along.
func builtinPages() (fs.FS, error) { return fs.Sub(embedded, "templates") }

// sources says where templates and catalogues come from.
func (p *Pages) sources() (s page.Sources, err error) {
	if s.Builtin, err = builtinPages(); err != nil {
		return s, err
	}
	if s.Templates, err = resolve("templates", p.Templates); err != nil {
		return s, err
	}
	s.Locales, err = resolve("locales", p.Locales)
	return s, err
}

// pageOptions are everything that pages are made from besides their sources.
func (g *Gatehouse) pageOptions(pages *Pages) (page.Options, error) {
	var opts page.Options
	var err error
	if g.Challenge != nil {
		// Stands in for a brand's name, if the operator chose it.
		if opts.Realm, err = resolve("realm", g.Challenge.Realm); err != nil {
			return opts, err
		}
	}
	opts.Language = pages.Language
	if opts.ProblemBase, err = resolve("problem_base", pages.ProblemBase); err != nil {
		return opts, at(pages.Source, fmt.Errorf("pages: %w", err))
	}
	if opts.FrameAncestors, err = resolveAll("frame_ancestors", pages.FrameAncestors); err != nil {
		return opts, at(pages.Source, fmt.Errorf("pages: %w", err))
	}
	for _, b := range g.Brands {
		compiled, err := b.compile()
		if err != nil {
			return opts, at(b.Source, fmt.Errorf("brand: %w", err))
		}
		opts.Brands = append(opts.Brands, compiled)
	}
	return opts, nil
}

// compileTeller makes what answers refusals.
func (g *Gatehouse) compileTeller(ctx caddy.Context, app *App, sources tokenSources) (*teller, error) {
	log := ctx.Logger()
	challenge, err := g.compileChallenge()
	if err != nil {
		return nil, err
	}
	config := g.Pages
	if config == nil {
		config = new(Pages)
	}
	opts, err := g.pageOptions(config)
	if err != nil {
		return nil, err
	}
	opts.Report = func(err error) {
		log.Error("a template failed; the built-in page stands in for it", zap.Error(err))
	}
	pages, err := config.compile(app, opts)
	if err != nil {
		return nil, at(config.Source, fmt.Errorf("pages: %w", err))
	}
	for _, w := range pages.Warnings() {
		log.Warn(w)
	}
	formats, err := config.compileFormats(ctx)
	if err != nil {
		return nil, err
	}
	t := newTeller(log, pages, challenge, config.Detail, sources)
	t.onRefusal = g.OnRefusal
	t.privacy, t.outages, t.recent, t.events = g.compilePrivacy(app), app.outages, app.recent, app.events
	t.formats, t.buffers, t.framed = formats, app.buffers, len(opts.FrameAncestors) > 0
	return t, nil
}

func (p *Pages) compile(app *App, opts page.Options) (*page.Pages, error) {
	from, err := p.sources()
	if err != nil {
		return nil, err
	}
	library, err := app.pages(from)
	if err != nil {
		return nil, err
	}
	return library.Pages(opts)
}
