package gatehouse

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// fences returns the fenced blocks of a language in a Markdown text.
func fences(markdown, language string) []string {
	var out []string
	for _, match := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(markdown, -1) {
		out = append(out, match[1])
	}
	return out
}

func readDoc(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// documents are all that may hold a Caddyfile.
func documents(t testing.TB) []string {
	t.Helper()
	found := []string{"README.md", "xcaddy.md"}
	for _, folder := range []string{"docs", "examples"} {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (strings.HasSuffix(path, ".md") || isCaddyfile(path)) {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func isCaddyfile(path string) bool {
	return strings.HasSuffix(path, ".caddyfile") || strings.HasPrefix(filepath.Base(path), "Caddyfile")
}

// caddyfilesOf are those in a document, or the one that it is.
func caddyfilesOf(t testing.TB, path string) []string {
	t.Helper()
	if isCaddyfile(path) {
		return []string{readDoc(t, path)}
	}
	return fences(readDoc(t, path), "caddyfile")
}

// Every Caddyfile in the documents and examples loads, and is in the form that
// `caddy fmt` gives it.
func TestDocumentedCaddyfilesLoad(t *testing.T) {
	loaded := 0
	for _, doc := range documents(t) {
		for i, caddyfile := range caddyfilesOf(t, doc) {
			raw, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": doc})
			if err != nil {
				t.Errorf("%s, block %d: %v", doc, i+1, err)
				continue
			}
			for _, w := range warnings {
				t.Errorf("%s, block %d: %s", doc, i+1, w)
			}
			cfg := new(caddy.Config)
			if err := json.Unmarshal(raw, cfg); err != nil {
				t.Fatal(err)
			}
			cfg.Admin = &caddy.AdminConfig{Disabled: true}
			if err := caddy.Validate(cfg); err != nil {
				t.Errorf("%s, block %d: %v", doc, i+1, err)
			}
			loaded++
		}
	}
	if loaded < 5 {
		t.Errorf("found %d Caddyfiles", loaded)
	}
}

// The JSON in the README says what the Caddyfile before it says.
func TestDocumentedJSONIsTheTwin(t *testing.T) {
	readme := readDoc(t, "README.md")
	written := new(Gatehouse)
	raw := []byte(strings.Replace(fences(readme, "json")[0], "\t\"handler\": \"gatehouse\",\n", "", 1))
	if err := caddy.StrictUnmarshalJSON(raw, written); err != nil {
		t.Fatal(err)
	}
	full, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(fences(readme, "caddyfile")[0]), nil)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(full, &tree); err != nil {
		t.Fatal(err)
	}
	handler := findHandlers(tree)[0]
	delete(handler, "handler")
	want, err := json.Marshal(handler)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(written)
	if err != nil {
		t.Fatal(err)
	}
	unsourced := regexp.MustCompile(`,?"source":"[^"]*"`).ReplaceAll(want, nil)
	var a, b any
	if json.Unmarshal(unsourced, &a) != nil || json.Unmarshal(got, &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("README has\n%s\nthe Caddyfile adapts to\n%s", got, unsourced)
	}
}

// Every word of the grammar and every code is in the README.
func TestReadmeIsComplete(t *testing.T) {
	readme := readDoc(t, "README.md")
	for _, golden := range []string{"gatehouse_unknown_word", "issuer_unknown_option", "brand_unknown_option", "require_unknown_option"} {
		_, list, found := strings.Cut(readDoc(t, "testdata/errors/"+golden+".caddyfiletest"), "expected one of ")
		list, _, _ = strings.Cut(list, ", at ")
		words := strings.Split(list, ", ")
		if !found || len(words) < 3 {
			t.Fatalf("%s lists no words", golden)
		}
		for _, word := range words {
			if !regexp.MustCompile("[`\\s]" + word + "[`\\s,]").MatchString(readme) {
				t.Errorf("README does not name %q, which %s lists", word, golden)
			}
		}
	}
	for _, c := range allCodes() {
		if !strings.Contains(readme, "`"+string(c)+"`") {
			t.Errorf("README does not name the code %s", c)
		}
	}
}

func allCodes() []code {
	return []code{
		codeCredentialsMissing, codeCredentialsMalformed, codeCredentialsAmbiguous, codeTokenInvalid, codeTokenExpired,
		codeTokenNotYetValid, codeStepUpRequired, codeRoleMissing, codeClaimMissing, codeScopeMissing, codeAddressDenied, codePathDenied,
		codeOriginDenied, codeRequestAmbiguous, codeTooEarly, codeKeysUnavailable, codeInternalError, codeHidden,
	}
}

// A newcomer types `make run` and then what the README shows.
func TestReadmeWalk(t *testing.T) {
	env := append(os.Environ(), "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
	startExample(t, env)

	readme := readDoc(t, "README.md")
	walked := 0
	for _, block := range fences(readme, "console") {
		for _, step := range strings.Split(block, "$ ")[1:] {
			command, want, _ := strings.Cut(step, "\n")
			if got := shell(t, env, command); scrubText(got) != scrubText(want) {
				t.Errorf("%s\nprints\n%s\nand the README says\n%s", command, got, want)
			}
			walked++
		}
	}
	if walked != 4 {
		t.Errorf("walked %d commands, want the README's four", walked)
	}
	walkExample(t, env)
}

// walkExample shows every part of the example to every kind of visitor.
func walkExample(t *testing.T, env []string) {
	t.Helper()
	mint := func(flags string) string {
		return strings.TrimSpace(shell(t, env, "bin/caddy gatehouse token --config Caddyfile.example --subject s "+flags))
	}
	viewer, admin, writer := mint("--role viewer"), mint("--role admin"), mint("--scope backups:write")
	for _, c := range []struct {
		method, path, token string
		want                int
	}{
		{"GET", "/status", "", 200},
		{"GET", "/login", "", 200},
		{"GET", "/", "", 401},
		{"GET", "/", viewer, 200},
		{"GET", "/dump.sql", admin, 403},
		{"GET", "/.git/config", admin, 403},
		{"GET", "/internal/x", "", 401},
		{"GET", "/internal/x", admin, 404},
		{"GET", "/admin", viewer, 403},
		{"GET", "/admin/users", admin, 200},
		{"DELETE", "/sites/7", viewer, 403},
		{"DELETE", "/sites/7", admin, 200},
		{"POST", "/api/backups", viewer, 403},
		{"POST", "/api/backups", writer, 200},
		{"GET", "/office/x", admin, 403},
		{"GET", "/", viewer + "x", 401},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, "http://localhost:8080"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != c.want {
			t.Errorf("%s %s: got %d, want %d: %s %v", c.method, c.path, res.StatusCode, c.want, body, err)
		}
	}
}

// startExample runs `make run` until the test ends.
func startExample(t *testing.T, env []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	run := exec.CommandContext(ctx, "make", "run")
	run.Env = env
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run.Cancel = func() error { return syscall.Kill(-run.Process.Pid, syscall.SIGTERM) }
	output := new(strings.Builder)
	run.Stderr = output
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var endedWith error
	go func() {
		endedWith = run.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	for range 600 {
		select {
		case <-ended:
			t.Fatalf("make run ended: %v\n%s", endedWith, output)
		case <-time.After(500 * time.Millisecond):
		}
		res, err := http.Get("http://localhost:8080/status")
		if err == nil {
			_ = res.Body.Close()
			return
		}
	}
	t.Fatal("make run does not answer")
}

func shell(t *testing.T, env []string, command string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Env = env
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, complaints.String())
	}
	return string(out)
}

// scrubText replaces what differs from run to run.
func scrubText(s string) string {
	s = madeUpPattern.ReplaceAllString(uuidPattern.ReplaceAllString(s, "ID"), "NAME")
	return strings.TrimSpace(timePattern.ReplaceAllString(s, "TIME"))
}

// The commands of xcaddy.md run, but those that the page says were not.
func TestBuildCommands(t *testing.T) {
	ran := 0
	for _, section := range strings.Split(readDoc(t, "xcaddy.md"), "\n## ")[1:] {
		if strings.Contains(section, "*Not run here.*") {
			continue
		}
		for _, block := range fences(section, "sh") {
			for command := range strings.Lines(block) {
				out := shell(t, os.Environ(), command)
				if strings.Contains(command, "list-modules") {
					modules := strings.Fields(out)
					for _, want := range []string{"gatehouse", "http.handlers.gatehouse"} {
						if !slices.Contains(modules, want) {
							t.Errorf("list-modules lacks %s", want)
						}
					}
				}
				ran++
			}
		}
	}
	if ran < 3 {
		t.Errorf("ran %d commands of xcaddy.md", ran)
	}
}

// The example is in the form that `caddy fmt` gives it.
func TestExampleIsFormatted(t *testing.T) {
	text := readDoc(t, "Caddyfile.example")
	if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
		t.Errorf("caddy fmt makes of it\n%s", formatted)
	}
}

// The README names every language there is, and no other.
func TestReadmeNamesEveryLanguage(t *testing.T) {
	files, err := filepath.Glob("templates/locales/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no catalogues", err)
	}
	_, list, _ := strings.Cut(readDoc(t, "README.md"), "There are "+strconv.Itoa(len(files))+": ")
	list, _, _ = strings.Cut(list, ". None")
	named := strings.Fields(strings.ReplaceAll(list, "`", ""))
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".json")
	}
	slices.Sort(named)
	slices.Sort(files)
	if !slices.Equal(named, files) {
		t.Errorf("the README names %v, there are %v", named, files)
	}
}
