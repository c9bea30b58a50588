package gatehouse

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
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
			delete(handler, "handler")
			raw, err := json.Marshal(handler)
			if err != nil {
				t.Fatal(err)
			}
			g := new(Gatehouse)
			if err := caddy.StrictUnmarshalJSON(raw, g); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			again, err := json.Marshal(g)
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
	}
}

func findHandlers(node any) []map[string]any {
	var found []map[string]any
	switch n := node.(type) {
	case []any:
		for _, child := range n {
			found = append(found, findHandlers(child)...)
		}
	case map[string]any:
		if n["handler"] == "gatehouse" {
			return []map[string]any{n}
		}
		for _, child := range n {
			found = append(found, findHandlers(child)...)
		}
	}
	return found
}
