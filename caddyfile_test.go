package gatehouse

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

var update = flag.Bool("update", false, "rewrite the expected part of testdata/**/*.caddyfiletest")

const goldenSeparator = "\n----------\n"

// Every file holds a Caddyfile and what comes of it: JSON, or the error of
// adapting or loading it.
func TestCaddyfileGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.caddyfiletest")
	if err != nil || len(files) < 50 {
		t.Fatalf("found %d goldens: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(data), goldenSeparator)
			got := outcome(t, input)
			if *update {
				if err := os.WriteFile(file, []byte(input+goldenSeparator+got+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != strings.TrimSpace(want) {
				t.Errorf("got\n%s\nwant\n%s", got, strings.TrimSpace(want))
			}
			if isError := !strings.HasPrefix(got, "{"); isError != (filepath.Base(filepath.Dir(file)) == "errors") {
				t.Errorf("a file in %s: %s", filepath.Dir(file), got)
			}
		})
	}
}

// outcome adapts a Caddyfile, and loads what came of it without starting it,
// as `caddy validate` does.
func outcome(t *testing.T, input string) string {
	t.Helper()
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "adapt: " + err.Error()
	}
	cfg := new(caddy.Config)
	if err := json.Unmarshal(raw, cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Admin = &caddy.AdminConfig{Disabled: true}
	if err := caddy.Validate(cfg); err != nil {
		reason := err.Error()
		for _, stage := range []string{"provision http.handlers.gatehouse: ", "http.handlers.gatehouse: invalid configuration: "} {
			if _, rest, found := strings.Cut(reason, stage); found {
				reason = rest
			}
		}
		return "load: " + reason
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, raw, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return pretty.String()
}

// JSON and Caddyfile are equal in power: what the Caddyfile adapts to decodes
// without an unknown field, and encodes to the same again.
func TestAdaptedJSONRoundTrip(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatal("no goldens", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, adaptedJSON, _ := strings.Cut(string(data), goldenSeparator)
		var tree any
		if err := json.Unmarshal([]byte(adaptedJSON), &tree); err != nil {
			t.Fatal(err)
		}
		for _, handler := range findHandlers(tree) {
			roundTrip(t, file, handler, new(Gatehouse))
		}
		for _, handler := range findModules(tree, "gatehouse_page") {
			roundTrip(t, file, handler, new(RefusalPage))
		}
	}
}

// roundTrip decodes a handler and encodes it again.
func roundTrip(t *testing.T, file string, handler map[string]any, into any) {
	t.Helper()
	delete(handler, "handler")
	raw, err := json.Marshal(handler)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.StrictUnmarshalJSON(raw, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	again, err := json.Marshal(into)
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal(again, &back); err != nil {
		t.Fatal(err)
	}
	normal, err := json.Marshal(back)
	if err != nil || !bytes.Equal(normal, raw) {
		t.Errorf("%s: got\n%s\nwant\n%s\n%v", file, normal, raw, err)
	}
}

// Everything that JSON can say, some Caddyfile says.
func TestEveryJSONKeyHasACaddyfileTwin(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	var adapted strings.Builder
	for _, file := range files {
		_, out, _ := strings.Cut(readDoc(t, file), goldenSeparator)
		adapted.WriteString(out)
	}
	keys := map[string]bool{}
	for _, root := range []any{Gatehouse{}, RefusalPage{}} {
		jsonKeys(reflect.TypeOf(root), keys, map[reflect.Type]bool{})
	}
	if len(keys) < 60 {
		t.Fatalf("found %d keys", len(keys))
	}
	for key := range keys {
		if !strings.Contains(adapted.String(), `"`+key+`":`) {
			t.Errorf("no Caddyfile in testdata/adapt adapts to %q", key)
		}
	}
}

// jsonKeys collects the keys of a configuration's type, and of the types in it.
func jsonKeys(typ reflect.Type, into map[string]bool, seen map[reflect.Type]bool) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || seen[typ] || !strings.Contains(typ.PkgPath(), "gatehouse") {
		return
	}
	seen[typ] = true
	for i := range typ.NumField() {
		field := typ.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || name == "-" {
			continue
		}
		if name != "" {
			into[name] = true
		}
		jsonKeys(field.Type, into, seen)
	}
}

func findHandlers(node any) []map[string]any { return findModules(node, "gatehouse") }

// findModules finds the handlers of a name.
func findModules(node any, name string) []map[string]any {
	var found []map[string]any
	switch n := node.(type) {
	case []any:
		for _, child := range n {
			found = append(found, findModules(child, name)...)
		}
	case map[string]any:
		if n["handler"] == name {
			return []map[string]any{n}
		}
		for _, child := range n {
			found = append(found, findModules(child, name)...)
		}
	}
	return found
}
