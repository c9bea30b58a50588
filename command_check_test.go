package gatehouse

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"
)

// Every file holds a Caddyfile, a command line, and what is printed.
func TestCheckGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/check/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d goldens: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			caddyfile, rest, _ := strings.Cut(readDoc(t, file), goldenSeparator)
			command, want, _ := strings.Cut(rest, "\n")
			out, code := runCheck(t, caddyfile, splitWords(strings.TrimPrefix(command, "$ "))...)
			got := sizes.ReplaceAllString(scrubText(out), "${1}N") + "\nexit " + strconv.Itoa(code)
			if *update {
				if err := os.WriteFile(file, []byte(caddyfile+goldenSeparator+command+"\n"+got+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != strings.TrimSpace(want) {
				t.Errorf("got\n%s\nwant\n%s", got, strings.TrimSpace(want))
			}
			account, _, _ := strings.Cut(got, "\nHTTP/1.1 ")
			for line := range strings.Lines(account) {
				if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > columns && code != 1 {
					t.Errorf("a line is wider than %d columns: %s", columns, line)
				}
			}
		})
	}
}

// sizes change with the wording and the style of pages.
var sizes = regexp.MustCompile(`(Content-Length: |style-src 'sha256-|a page of )[0-9A-Za-z+/=]+`)

// runCheck runs the very command. What it says on stderr is an error alone.
func runCheck(t *testing.T, caddyfile string, args ...string) (out string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, file, caddyfile)
	out, talk, code := runCaddy(t, append([]string{"gatehouse", "check", "--config", file}, args...)...)
	if code == 1 {
		_, message, found := strings.Cut(talk, `"level":"error"`)
		if !found {
			t.Fatalf("it failed, and did not say why: %s", talk)
		}
		_, message, _ = strings.Cut(message, `"msg":`)
		out += strings.TrimSpace(message[:strings.LastIndex(message, "}")])
	}
	return out, code
}

// splitWords takes a command line apart, quotes included.
func splitWords(line string) []string {
	var out []string
	for _, word := range regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`).FindAllString(line, -1) {
		out = append(out, strings.Trim(word, `'"`))
	}
	return out
}

// A check beside a live server contacts no upstream and writes nothing, neither
// keys nor logs; it fetches keys only for a real token.
func TestCheckTouchesNothing(t *testing.T) {
	var asked, fetched atomic.Int32
	s := newSigner(t, "http://127.0.0.1")
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		_, _ = w.Write([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"` + publicX(s.private) + `"}]}`))
	}))
	t.Cleanup(upstream.Close)
	t.Cleanup(keys.Close)
	storage, logs := t.TempDir(), filepath.Join(t.TempDir(), "access.log")
	caddyfile := `
{
	storage file_system ` + storage + `
}
https://panel.example.com {
	log {
		output file ` + logs + `
	}
	gatehouse {
		issuer http://127.0.0.1 {
			keys ` + keys.URL + `
			audience panel
			grants admin
		}
		issuer internal {
			audience panel
			grants user
		}
		require role admin
	}
	reverse_proxy ` + upstream.Listener.Addr().String() + `
}`
	const url = "https://panel.example.com/x"
	if out, code := runCheck(t, caddyfile, "GET", url, "--role", "admin", "--issuer", "http://127.0.0.1"); code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	if n := fetched.Load(); n != 0 {
		t.Errorf("keys were fetched %d times for an imagined visitor", n)
	}
	token := s.token(t, claims{"roles": []string{"admin"}})
	if out, code := runCheck(t, caddyfile, "GET", url, "--token", token); code != 0 || !strings.Contains(out, "visitor: ada of http://127.0.0.1, from 100::1, role admin") {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, code := runCheck(t, caddyfile, "GET", url, "--token", token[:len(token)-4]+"AAAA"); code != exitRefused || !strings.Contains(out, "refused: 401 token_invalid: ") {
		t.Errorf("exit %d: %s", code, out)
	}
	if fetched.Load() < 2 || asked.Load() != 0 {
		t.Errorf("keys were fetched %d times, want them for each token; the upstream was asked %d times", fetched.Load(), asked.Load())
	}
	forInternal := strings.Replace(token, token[strings.Index(token, ".")+1:strings.LastIndex(token, ".")], payloadOf(`{"iss":"gatehouse"}`), 1)
	if out, code := runCheck(t, caddyfile, "GET", url, "--token", forInternal); code != 1 || !strings.Contains(out, "no key of issuer internal") {
		t.Errorf("exit %d: %s", code, out)
	}
	for _, path := range []string{storage, filepath.Dir(logs)} {
		if err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				t.Errorf("check wrote %s", path)
			}
			return err
		}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func payloadOf(text string) string {
	raw := (&signer{private: make([]byte, 64)}).sign("{}", text)
	return strings.Split(raw, ".")[1]
}

// What `caddy gatehouse token` mints, `check` knows.
func TestCheckTokenOfIssuerInternal(t *testing.T) {
	file, _ := internalSite(t, `require /admin/* role admin`)
	minted, err := runToken(t, tokenRequest{config: file, subject: "ada", roles: []string{"admin"}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := checkCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--config", file, "--token", minted, "GET", "http://localhost/admin/x"})
	if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "visitor: ada of gatehouse") || !strings.Contains(out.String(), "passes: it goes on to static_response") {
		t.Errorf("%v\n%s", err, &out)
	}
}

// Attack: a token, a header or a path that steers the operator's terminal.
func TestCheckPrintsNoControlCharacters(t *testing.T) {
	s := newTestStage(t, ":80 {\n gatehouse {\n issuer internal {\n audience panel\n }\n require /x role admin\n }\n}")
	p, err := s.perform(t.Context(), &call{
		method: "GET", target: "http://localhost/x",
		visitor: AssumedVisitor{User: "a\x1b]0;title\x07\u202eb", Role: []string{"x\n\x1b[2Jhit"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := p.print(&out, false); err != nil || strings.ContainsAny(out.String(), "\x1b\x07\u202e\r") || strings.Contains(out.String(), "\nhit\n") {
		t.Errorf("%v: %q", err, &out)
	}
}

// The stand-ins' marks are not an upstream's to see, nor a visitor's to set.
func TestCheckMarksStayInside(t *testing.T) {
	s := newTestStage(t, ":80 {\n gatehouse {\n public /x\n issuer internal {\n audience panel\n }\n }\n respond ok\n}")
	p, err := s.perform(t.Context(), &call{method: "GET", target: "http://localhost/", header: http.Header{endHeader: {"x"}, skippedHeader: {"y"}}})
	if err != nil || p.end != "" || p.skipped != nil || p.passed() {
		t.Errorf("%v: end %q, skipped %q, passed %t", err, p.end, p.skipped, p.passed())
	}
	for name := range p.answer.sent {
		if strings.HasPrefix(name, "Gatehouse-") {
			t.Errorf("the answer has %s", name)
		}
	}
}
