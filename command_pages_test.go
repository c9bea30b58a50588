package gatehouse

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/page"
)

// What the command writes out can be given back as it is, and in parts.
func TestTemplatesCommand(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pages")
	var out bytes.Buffer
	if err := writeTemplates(&out, dir, false); err != nil {
		t.Fatal(err)
	}
	written := strings.Fields(out.String())
	for _, name := range []string{"base.html", "401.html", "403.html", "error.html", "locales/en.json"} {
		if !slices.Contains(written, filepath.Join(dir, name)) {
			t.Errorf("%s is not among %q", name, written)
		}
	}
	root, err := builtinPages()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := page.Load(page.Sources{Builtin: root, Templates: dir, Locales: filepath.Join(dir, "locales")}); err != nil {
		t.Error(err)
	}

	changed := filepath.Join(dir, "base.html")
	writeFile(t, changed, "mine")
	if err := writeTemplates(new(bytes.Buffer), dir, false); err == nil || !strings.Contains(err.Error(), "is there already; expected an empty folder, or --force") {
		t.Errorf("overwriting: %v", err)
	}
	if readDoc(t, changed) != "mine" {
		t.Error("the operator's file is gone")
	}
	if err := writeTemplates(new(bytes.Buffer), dir, true); err != nil || readDoc(t, changed) == "mine" {
		t.Errorf("--force: %v", err)
	}
}

func TestPreviewCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Caddyfile")
	own, err := filepath.Abs("testdata/files/pages")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, `
:80 {
	gatehouse {
		issuer internal {
			audience panel
		}
		brand {
			name "Example <Hosting>"
			color ffcc00
		}
		brand *.reseller.example {
			name Reseller
		}
		pages {
			templates `+own+`
		}
	}
}
:81 {
	gatehouse {
		issuer internal {
			audience api
		}
	}
}`)
	dir := t.TempDir()
	var out, talk bytes.Buffer
	if err := (&previewRequest{config: file}).run(&out, &talk, dir); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(dir, "index.html")
	if out.String() != index+"\n" {
		t.Errorf("stdout is %q", out.String())
	}
	if !strings.Contains(talk.String(), "#ffcc00") || !strings.Contains(talk.String(), "wrote ") {
		t.Errorf("stderr is %q", talk.String())
	}
	text := readDoc(t, index)
	for _, want := range []string{"Example &lt;Hosting&gt;", `href="2-reseller/en/token_expired.html"`, `href="3-default/en/role_missing.html"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the index has no %s", want)
		}
	}
	body := readDoc(t, filepath.Join(dir, "2-reseller", "en", "token_expired.html"))
	if !strings.Contains(body, "Reseller") || !strings.Contains(body, "Your session has ended") || !strings.Contains(body, "Our own foot.") {
		t.Errorf("the reseller's page is %s", body)
	}
	if body := readDoc(t, filepath.Join(dir, "3-default", "en", "token_expired.html")); strings.Contains(body, "Our own foot.") {
		t.Error("a page of the other gate")
	}
}

// A template that fails with a real brand shows in the exit code. The pages are
// written all the same: they are what a visitor would get.
func TestPreviewCommandFindsWhatSamplesDoNot(t *testing.T) {
	own := t.TempDir()
	writeFile(t, filepath.Join(own, "blocks.html"), `{{define "header"}}{{if eq .Name "Acme"}}{{.T "nothing"}}{{end}}{{end}}`)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, file, ":80 {\n\tgatehouse {\n\t\tissuer internal {\n\t\t\taudience panel\n\t\t}\n\t\tbrand {\n\t\t\tname Acme\n\t\t}\n\t\tpages {\n\t\t\ttemplates "+own+"\n\t\t}\n\t}\n}")
	dir := t.TempDir()
	err := (&previewRequest{config: file}).run(new(bytes.Buffer), new(bytes.Buffer), dir)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(own, "blocks.html")+":1:") {
		t.Errorf("got %v", err)
	}
	if body := readDoc(t, filepath.Join(dir, "1-acme", "en", "role_missing.html")); !strings.Contains(body, "You don’t have access") {
		t.Errorf("got %s", body)
	}
}

func TestPreviewCommandWithoutConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	var out, talk bytes.Buffer
	if err := (&previewRequest{languages: []string{"en"}}).run(&out, &talk, "shown"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("shown/1-default/en/credentials_missing.html"); err != nil {
		t.Error(err)
	}
}

func TestPreviewCommandRefuses(t *testing.T) {
	broken, err := filepath.Abs("testdata/files/pages-syntax")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, file, ":80 {\n\tgatehouse {\n\t\tissuer internal {\n\t\t\taudience panel\n\t\t}\n\t\tpages {\n\t\t\ttemplates "+broken+"\n\t\t}\n\t}\n}")
	for name, c := range map[string]struct {
		previewRequest
		want string
	}{
		"a broken template":                 {previewRequest{config: file}, "403.html:2: missing value for if"},
		"a language that is not there":      {previewRequest{languages: []string{"tlh"}}, `--language: found "tlh"; expected one of `},
		"a configuration that is not there": {previewRequest{config: "/no/such/Caddyfile"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			var out bytes.Buffer
			err := c.run(&out, new(bytes.Buffer), t.TempDir())
			if err == nil || !strings.Contains(err.Error(), c.want) || out.Len() != 0 {
				t.Errorf("got %q, %v; want an error with %q", out.String(), err, c.want)
			}
		})
	}
}
