package page

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"
)

// blocksFile is the operator's file of blocks that stand in on every page.
const blocksFile = "blocks.html"

// templates are the parsed pages: for each kind the document with the kind's
// own "content".
type templates struct {
	kinds map[string]*template.Template
	// files names the file to blame for each kind.
	files map[string]string
}

// loadTemplates parses the built-in files, and over them those of the
// operator's folder: a later definition of a block replaces an earlier one.
func loadTemplates(builtin fs.FS, own folder, codes []string) (*templates, error) {
	kinds, err := kindsOf(builtin)
	if err != nil {
		return nil, err
	}
	owned, err := ownFiles(own, codes)
	if err != nil {
		return nil, err
	}
	t := &templates{kinds: map[string]*template.Template{}, files: map[string]string{}}
	for _, file := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(kinds, owned)))) {
		if file == "base.html" || file == blocksFile {
			continue
		}
		kind := strings.TrimSuffix(file, ".html")
		if t.kinds[kind], t.files[kind], err = parseKind(builtin, own, kinds, owned, file); err != nil {
			return nil, err
		}
	}
	if t.kinds["error"] == nil {
		return nil, errors.New("error.html is missing: it is the page for everything without one of its own")
	}
	return t, t.checkBlocks(own)
}

// checkBlocks refuses blocks of the operator's that no page includes: their
// names were mistyped.
func (t *templates) checkBlocks(own folder) error {
	included, defined := map[string]bool{}, map[string]string{}
	for _, document := range t.kinds {
		for _, block := range document.Templates() {
			if block.Tree == nil {
				continue
			}
			includes(block.Tree.Root, included)
			if file := block.Tree.ParseName; own.fs != nil && strings.HasPrefix(file, own.name) && block.Name() != file {
				defined[block.Name()] = file
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(defined)) {
		if !included[name] {
			return fmt.Errorf("%s: no page includes the block %q; did you mean %q?", defined[name], name, nearest(name, slices.Sorted(maps.Keys(included))))
		}
	}
	return nil
}

// includes collects the names of {{template}} and {{block}} actions.
func includes(node parse.Node, into map[string]bool) {
	branch := func(b *parse.BranchNode) {
		includes(b.List, into)
		includes(b.ElseList, into)
	}
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, child := range n.Nodes {
			includes(child, into)
		}
	case *parse.TemplateNode:
		into[n.Name] = true
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	}
}

func kindsOf(root fs.FS) ([]string, error) {
	files, err := fs.Glob(root, "*.html")
	if err == nil && !slices.Contains(files, "base.html") {
		err = errors.New("base.html is missing: it is the document around every page")
	}
	return files, err
}

// ownFiles lists the operator's files, each of which must be of use.
func ownFiles(own folder, codes []string) ([]string, error) {
	if own.fs == nil {
		return nil, nil
	}
	files, err := fs.Glob(own.fs, "*.html")
	if err != nil {
		return nil, err
	}
	known := []string{"base.html", blocksFile, "error.html"}
	for _, code := range codes {
		known = append(known, code+".html")
	}
	for _, file := range files {
		if status, err := strconv.Atoi(strings.TrimSuffix(file, ".html")); err == nil && status >= 400 && status <= 599 {
			continue
		}
		if !slices.Contains(known, file) {
			return nil, fmt.Errorf("%s%s: no refusal has this page; did you mean %s? Expected base.html, blocks.html, error.html, <status>.html or <code>.html",
				own.name, file, nearest(file, known))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: found no *.html file; expected some of those that `caddy gatehouse templates` writes out", own.name)
	}
	return files, nil
}

// parseKind parses one page: the built-in document and content, and over them
// the operator's.
func parseKind(builtin fs.FS, own folder, kinds, owned []string, file string) (*template.Template, string, error) {
	type layer struct {
		root folder
		file string
	}
	inside := folder{fs: builtin}
	layers := []layer{{inside, "base.html"}}
	blame := file
	page := file
	if !slices.Contains(kinds, page) {
		page = pageFor(file, kinds)
	}
	if page != "" {
		layers = append(layers, layer{inside, page})
	}
	for _, name := range []string{"base.html", blocksFile, file} {
		if slices.Contains(owned, name) {
			layers = append(layers, layer{own, name})
			blame = own.name + name
		}
	}
	var document *template.Template // the last base.html
	for _, next := range layers {
		name := next.root.name + next.file
		var t *template.Template
		if document == nil {
			t = template.New(name)
		} else {
			t = document.New(name)
		}
		if err := parseFile(t, next.root.fs, next.file); err != nil {
			return nil, "", err
		}
		if next.file != "base.html" && t.Tree != nil && !parse.IsEmptyTree(t.Tree.Root) {
			return nil, "", fmt.Errorf(`%s: found text outside of a {{define "…"}}; expected blocks alone, such as {{define "content"}}`, name)
		}
		if next.file == "base.html" {
			document = t
		}
	}
	if document.Lookup("content") == nil {
		return nil, "", fmt.Errorf(`%s: expected a {{define "content"}}`, blame)
	}
	return document, blame, nil
}

// pageFor is the built-in page that a refusal would have without the
// operator's file, so that the file may define just some of its blocks.
func pageFor(file string, kinds []string) string {
	if status := strconv.Itoa(sampleStatus(strings.TrimSuffix(file, ".html"))) + ".html"; slices.Contains(kinds, status) {
		return status
	}
	return "error.html"
}

// parseFile drops the indentation, which is for those who read the file, and
// makes line ends LF: a browser does so before it hashes the style.
func parseFile(t *template.Template, root fs.FS, file string) error {
	data, err := fs.ReadFile(root, file)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.Trim(line, " \t")
	}
	if _, err := t.Parse(strings.Join(lines, "\n")); err != nil {
		return located(err)
	}
	return nil
}

// located makes "base.html:12: …" of the two spellings of template errors.
func located(err error) error {
	s := strings.TrimPrefix(err.Error(), "html/template:")
	return errors.New(strings.TrimSpace(strings.TrimPrefix(s, "template:")))
}

// name is the kind of page for a refusal: by code, by status, or error.
func (t *templates) name(r *Refusal) string {
	if t.kinds[r.words()] != nil {
		return r.words()
	}
	if status := strconv.Itoa(r.Status); t.kinds[status] != nil {
		return status
	}
	return "error"
}

func (t *templates) execute(b *brand, l *locale, r *Refusal, s shape, v values) ([]byte, error) {
	var buf bytes.Buffer
	buf.Grow(8<<10 + len(b.logo))
	if err := t.kinds[t.name(r)].Execute(&buf, newView(b, l, r, s, v)); err != nil {
		return nil, located(err)
	}
	return buf.Bytes(), nil
}

// check refuses templates whose pages could not work under the policy.
func (t *templates) check(r *Refusal, page []byte) error {
	bad := func(s string) error { return fmt.Errorf("%s: %s", t.files[t.name(r)], s) }
	lower := bytes.ToLower(page)
	switch {
	case bytes.Contains(page, []byte("{{")):
		return bad(`"{{" in the output; Caddy's templates handler would execute it (put a space between the braces of a style)`)
	case bytes.Contains(lower, []byte("<script")):
		return bad("found a script element; pages carry no scripts and the policy blocks them")
	case bytes.Contains(lower, []byte(` style="`)):
		return bad("found a style attribute; the policy blocks it, use a class")
	case bytes.Contains(lower, []byte(`rel="stylesheet"`)), bytes.Contains(lower, []byte("@import")):
		return bad("found an outside style sheet; pages load nothing")
	case bytes.Contains(page, []byte("ZgotmplZ")):
		return bad("a value stands where html/template cannot make it safe (ZgotmplZ)")
	case !bytes.Contains(lower, []byte("<html")), !bytes.Contains(lower, []byte("<title>")):
		return bad("expected a whole document with html and title elements")
	}
	return nil
}
