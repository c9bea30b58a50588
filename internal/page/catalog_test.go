package page

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

// limit is the most characters that a text may have where it stands.
func limit(key string) int {
	labels := []string{
		"sign_in", "sign_in_again", "confirm", "request_access", "other_account", "support", "home", "retry", "next_steps",
		"request_id", "time", "your_address", "more_links",
	}
	switch {
	case slices.Contains(labels, key):
		return 40
	case strings.HasSuffix(key, ".title"), strings.HasSuffix(key, ".heading"), strings.HasSuffix(key, "_hint"):
		return 70
	default:
		return 200
	}
}

// Every catalogue that lies in the folder holds every sentence, so that no
// visitor meets two languages on one page. Parameters are checked by Load.
func TestCataloguesAreSound(t *testing.T) {
	files, err := filepath.Glob(templatesDir + "/locales/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no catalogues", err)
	}
	newPages(t, Options{})
	var english map[string]string
	if err := json.Unmarshal([]byte(readFile(t, templatesDir+"/locales/en.json")), &english); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		var texts map[string]string
		if err := json.Unmarshal([]byte(readFile(t, file)), &texts); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for key := range english {
			if texts[key] == "" {
				t.Errorf("%s: %s is missing", file, key)
			}
		}
		for key, s := range texts {
			checkText(t, file, key, s)
		}
	}
}

func checkText(t *testing.T, file, key, s string) {
	t.Helper()
	switch n := len([]rune(s)); {
	case !norm.NFC.IsNormalString(s):
		t.Errorf("%s: %s is not NFC", file, key)
	case n > limit(key):
		t.Errorf("%s: %s has %d characters, more than %d", file, key, n, limit(key))
	case s != strings.TrimSpace(s), strings.Contains(s, "  "):
		t.Errorf("%s: %s has white space around it or twice in it", file, key)
	case strings.ContainsAny(s, "<>&"):
		t.Errorf("%s: %s holds markup", file, key)
	case strings.IndexFunc(s, isHidden) >= 0:
		t.Errorf("%s: %s holds a control or direction character", file, key)
	}
	// Thai and Lao sentences end in no mark.
	unmarked := strings.HasSuffix(file, "/th.json") || strings.HasSuffix(file, "/lo.json")
	if strings.Contains(key, ".detail") && !unmarked && !strings.ContainsAny(lastRune(s), ".。।") {
		t.Errorf("%s: %s is not a whole sentence", file, key)
	}
}

func lastRune(s string) string {
	r := []rune(s)
	return string(r[len(r)-1:])
}

// A sentence that nothing shows would be translated for nobody.
func TestKeysOfTheCatalogueAreAllUsed(t *testing.T) {
	var used strings.Builder
	for _, pattern := range []string{templatesDir + "/*.html", "*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			used.WriteString(readFile(t, f))
		}
	}
	for key := range newPages(t, Options{}).library.locales[source].texts {
		if name, isHint := strings.CutSuffix(key, "_hint"); isHint {
			key = name // as way and hint
		}
		if !strings.Contains(key, ".") && !strings.Contains(used.String(), `"`+key+`"`) {
			t.Errorf("nothing uses %q", key)
		}
	}
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCatalogueErrorsNameFileAndLine(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"an unknown key":          {"locales/de.json", "{\n\"sign_im\": \"Anmelden\"\n}", `locales/de.json:2: unknown key "sign_im"; did you mean "sign_in"?`},
		"a parameter too many":    {"locales/de.json", "{\n\n\"role_missing.detail_named\": \"{roles} {x}\"}", `locales/de.json:3: "role_missing.detail_named": found the parameters ["roles" "x"], expected ["roles"]`},
		"a parameter missing":     {"locales/de.json", `{"role_missing.detail_named": "Rollen"}`, `locales/de.json:1: "role_missing.detail_named": found the parameters [], expected ["roles"]`},
		"an open brace":           {"locales/de.json", `{"sign_in": "a {b"}`, `locales/de.json:1: "sign_in": expected "{name}"`},
		"a closing brace":         {"locales/de.json", `{"sign_in": "a } b"}`, `found "}" without "{"`},
		"a template in a text":    {"locales/de.json", `{"sign_in": "{{env}}"}`, `expected "{name}"`},
		"an empty text":           {"locales/de.json", `{"sign_in": " "}`, `"sign_in" is empty`},
		"a direction character":   {"locales/de.json", `{"sign_in": "a\u202eb"}`, `control or direction character`},
		"a control character":     {"locales/de.json", `{"sign_in": "a\u0007b"}`, `control or direction character`},
		"a key twice":             {"locales/de.json", "{\"sign_in\": \"a\",\n\"sign_in\": \"b\"}", `locales/de.json:2: `},
		"a number":                {"locales/de.json", `{"sign_in": 1}`, `"sign_in": expected a text in quotes`},
		"an array":                {"locales/de.json", `["sign_in"]`, `expected one JSON object`},
		"text after the end":      {"locales/de.json", `{} {}`, `found more after the end`},
		"a cut-off file":          {"locales/de.json", `{"sign_in": "a"`, `locales/de.json:1: `},
		"a tag that is none":      {"locales/deutsch_1.json", `{}`, `"deutsch_1" is not a language tag`},
		"a tag in odd spelling":   {"locales/pt-br.json", `{}`, `"pt-br" is not a language tag in its usual spelling`},
		"a code without detail":   {"locales/en.json", `{"other.title":"a","status_401.title":"a","status_403.title":"a","status_404.title":"a","status_429.title":"a","status_500.title":"a","status_503.title":"a"}`, `locales/en.json has no key "other.heading"`},
		"no general words":        {"locales/en.json", `{}`, `locales/en.json has no key "other.title"`},
		"a title with parameters": {"locales/en.json", `{"other.title":"{a}","other.heading":"a","other.detail":"a","status_401.title":"a","status_403.title":"a","status_404.title":"a","status_429.title":"a","status_500.title":"a","status_503.title":"a"}`, `"other.title" cannot have parameters`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(Sources{Builtin: overlay(t, map[string]string{c.file: c.text})})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}
