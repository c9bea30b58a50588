package gatehouse

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-gatehouse/gatehouse/internal/page"
)

func templatesCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "templates <dir> [--force]",
		Short: "Writes the built-in templates and catalogues to a folder",
		Long: `
Writes the built-in templates to a folder, and the catalogues to locales/ in it,
and prints the names of the files that were written.

Change what you like and delete the rest: in the Caddyfile, pages { templates
<dir> } and pages { locales <dir>/locales } take any subset of the files, and a
catalogue any subset of the keys. Files that are there already are only
overwritten with --force.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			return writeTemplates(cmd.OutOrStdout(), args[0], force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Overwrite files that are there already")
	return cmd
}

func writeTemplates(out io.Writer, dir string, force bool) error {
	root, err := builtinPages()
	if err != nil {
		return err
	}
	return fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(name))
		if !force {
			if _, err := os.Lstat(target); err == nil {
				return fmt.Errorf("%s is there already; expected an empty folder, or --force", target)
			}
		}
		if err := writePage(target, data); err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, target)
		return err
	})
}

func writePage(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // G301: pages are public
		return err
	}
	return os.WriteFile(name, data, 0o644) //nolint:gosec // G306: pages are public
}

// previewRequest is what `caddy gatehouse preview` is asked for.
type previewRequest struct {
	config, adapter string
	languages       []string

	failed []error // templates that work with samples and not with a brand
}

func previewCommand() *cobra.Command {
	var req previewRequest
	cmd := &cobra.Command{
		Use:   "preview <dir> [--config <path>] [--language <tag>]...",
		Short: "Writes every page in every language to a folder",
		Long: `
Writes every page in every language to a folder, for each brand of the
configuration, and prints the name of an index.html that leads to them. Without
a configuration the built-in look is shown.

Nothing is served and no network is used. The exit code tells whether all
templates and catalogues are sound.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			return req.run(cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0])
		},
	}
	f := cmd.Flags()
	f.StringVarP(&req.config, "config", "c", "", "Configuration file; default: the Caddyfile in this folder, if there is one")
	f.StringVarP(&req.adapter, "adapter", "a", "", "Name of the config adapter")
	f.StringArrayVarP(&req.languages, "language", "l", nil, "Language to write; repeatable; default: all")
	return cmd
}

func (q *previewRequest) run(out, talk io.Writer, dir string) error {
	config, _, _, err := caddycmd.LoadConfig(q.config, q.adapter)
	if err != nil {
		return err
	}
	gates, err := gatesIn(config)
	if err != nil {
		return err
	}
	if len(gates) == 0 {
		_, _ = fmt.Fprintln(talk, "no gatehouse in the configuration; these are the built-in pages")
		gates = []*Gatehouse{{}}
	}
	var looks []look
	app := new(App)
	for _, g := range gates {
		found, err := q.looks(g, app, talk)
		if err != nil {
			return err
		}
		for _, l := range found {
			if !slices.ContainsFunc(looks, func(other look) bool { return other.id == l.id }) {
				looks = append(looks, l)
			}
		}
	}
	count := 0
	for i := range looks {
		looks[i].Dir = strconv.Itoa(i+1) + "-" + slug(looks[i].Name)
		n, err := looks[i].write(dir, q.languages)
		if err != nil {
			return err
		}
		count += n
	}
	var index strings.Builder
	if err := previewIndex.Execute(&index, looks); err != nil {
		return err
	}
	name := filepath.Join(dir, "index.html")
	if err := writePage(name, []byte(index.String())); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(talk, "wrote %d pages\n", count)
	_, err = fmt.Fprintln(out, name)
	return errors.Join(append(q.failed, err)...)
}

// gatesIn finds the gates of a configuration, wherever routes are nested.
func gatesIn(config []byte) ([]*Gatehouse, error) {
	if len(config) == 0 {
		return nil, nil
	}
	var tree any
	if err := json.Unmarshal(config, &tree); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	var gates []*Gatehouse
	err := eachGate(tree, func(g *Gatehouse) { gates = append(gates, g) })
	return gates, err
}

func eachGate(node any, found func(*Gatehouse)) error {
	var errs []error
	switch n := node.(type) {
	case []any:
		for _, child := range n {
			errs = append(errs, eachGate(child, found))
		}
	case map[string]any:
		if n["handler"] == "gatehouse" {
			raw, err := json.Marshal(n)
			if err != nil {
				return err
			}
			g := new(Gatehouse)
			if err := json.Unmarshal(raw, g); err != nil {
				return fmt.Errorf("reading the gatehouse handler: %w", err)
			}
			found(g)
			return nil
		}
		// In the order in which the adapter wrote them.
		for _, name := range slices.Sorted(maps.Keys(n)) {
			errs = append(errs, eachGate(n[name], found))
		}
	}
	return errors.Join(errs...)
}

// look is a brand as its pages look.
type look struct {
	Name, Dir        string
	Codes, Languages []string

	id    string // the same for what looks the same
	host  string
	pages *page.Pages
	tags  []string
}

// looks are the brands of a gate, and the one without a name where it has no
// brand for every host.
func (q *previewRequest) looks(g *Gatehouse, app *App, talk io.Writer) ([]look, error) {
	if err := errors.Join(g.checkBrands(), g.Pages.check(), g.Challenge.check()); err != nil {
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
		if !slices.ContainsFunc(q.failed, func(known error) bool { return known.Error() == err.Error() }) {
			q.failed = append(q.failed, err)
		}
	}
	pages, err := config.compile(app, opts)
	if err != nil {
		return nil, at(config.Source, fmt.Errorf("pages: %w", err))
	}
	for _, w := range pages.Warnings() {
		_, _ = fmt.Fprintln(talk, w)
	}
	brands := slices.Clone(opts.Brands)
	if !slices.ContainsFunc(brands, func(b page.Brand) bool { return len(b.Hosts) == 0 }) {
		brands = append(brands, page.Brand{})
	}
	looks := make([]look, 0, len(brands))
	for _, b := range brands {
		l := look{Name: b.Name, pages: pages, Codes: pages.Codes(), tags: pages.Locales()}
		if len(b.Hosts) > 0 {
			l.host = strings.Replace(b.Hosts[0], "*.", "preview.", 1)
		}
		if l.Name == "" {
			l.Name = strings.Join(b.Hosts, " ")
		}
		if l.Name == "" {
			l.Name = "default"
		}
		id, err := json.Marshal([]any{b, config})
		if err != nil {
			return nil, err
		}
		l.id = string(id)
		looks = append(looks, l)
	}
	return looks, nil
}

// write writes every page of a brand.
func (l *look) write(dir string, languages []string) (count int, err error) {
	if languages == nil {
		languages = l.tags
	}
	for _, tag := range languages {
		if !slices.Contains(l.tags, tag) {
			return count, fmt.Errorf("--language: found %q; expected one of %s", tag, strings.Join(l.tags, ", "))
		}
	}
	l.Languages = languages
	for _, tag := range languages {
		for _, code := range l.Codes {
			body, _, err := l.pages.Render(nil, page.HTML, tag, l.host, page.Samples(code)[1])
			if err != nil {
				return count, err
			}
			if err := writePage(filepath.Join(dir, l.Dir, tag, code+".html"), body); err != nil {
				return count, err
			}
			count++
		}
	}
	return count, nil
}

// slug makes a folder name of a brand's name.
func slug(name string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return '-'
		}
	}, name)
	if clean = strings.Trim(clean, "-"); clean == "" {
		return "brand"
	}
	return clean[:min(len(clean), 40)]
}

var previewIndex = template.Must(template.New("index").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>Pages</title>
<style>
:root{color-scheme:light dark}
body{font:1rem/1.5 system-ui,sans-serif;margin:2rem}
table{border-collapse:collapse}
th{text-align:start;font-weight:600;padding-inline-end:1rem;white-space:nowrap}
td a{display:inline-block;min-width:24px;padding:.25rem}
tr:nth-child(even){background:#8882}
</style>
<h1>Pages</h1>
{{range $look := .}}
<h2>{{.Name}}</h2>
<table>
{{range $code := .Codes}}<tr><th scope="row">{{$code}}</th><td>{{range $look.Languages}}<a lang="{{.}}" href="{{$look.Dir}}/{{.}}/{{$code}}.html">{{.}}</a> {{end}}</td></tr>
{{end}}</table>
{{end}}
</html>
`))
