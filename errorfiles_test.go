package gatehouse

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// An error route that serves files answers a refusal with the file that was
// refused. The gate cannot see it; check can, and says so.
func TestCheckFindsErrorRoutesThatServeFiles(t *testing.T) {
	site := func(onRefusal, errorRoute string) string {
		return `
:80 {
	gatehouse {
		issuer internal {
			audience panel
		}
		` + onRefusal + `
	}
	file_server
	handle_errors {
		` + errorRoute + `
	}
}`
	}
	for name, c := range map[string]struct {
		config string
		warns  bool
	}{
		"a file server":                   {site("on_refusal error", "file_server"), true},
		"a file server in a handle block": {site("on_refusal error", "handle /x/* {\nrewrite /y\nfile_server\n}"), true},
		"a page":                          {site("on_refusal error", "gatehouse_page"), false},
		"refusals that are answered":      {site("", "file_server"), false},
		"refusals that are redirected":    {site("on_refusal redirect\nbrand {\nlogin /login\n}", "file_server"), false},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "Caddyfile")
			writeFile(t, file, c.config)
			var out, talk bytes.Buffer
			q := &checkRequest{config: file, call: call{method: "GET", target: "http://localhost/x"}}
			if _, err := q.run(t.Context(), &out, &talk); err != nil {
				t.Fatal(err)
			}
			if warned := strings.Contains(talk.String(), "the very file that was refused"); warned != c.warns {
				t.Errorf("stderr is %q", talk.String())
			}
		})
	}
}
