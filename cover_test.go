package gatehouse

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Whatever covers says yes to must be so for every path: advice may miss
// something, and may not be wrong.
func TestCoversPatternAgainstTheMatcher(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(1, 2))}
	pieces := []string{"/", "a", "b", "/a", "/b", ".sql", "/.git", "//", "%41", "A", "/.", "..", "/./"}
	word := func(n int) string {
		var out strings.Builder
		for range d.IntN(n) {
			out.WriteString(d.of(pieces...))
		}
		return out.String()
	}
	yes := 0
	for range 20000 {
		wide, narrow := d.of("/", "*", "/")+word(4)+d.of("", "*", "/*"), d.of("/", "*", "/")+word(4)+d.of("", "*", "/*")
		if checkPathPattern("x", wide, true) != nil || checkPathPattern("x", narrow, true) != nil || !coversPattern(wide, narrow) {
			continue
		}
		yes++
		outer, inner := pathMatcher([]string{wide}), pathMatcher([]string{narrow})
		for range 10 {
			text := strings.ReplaceAll(strings.Trim(narrow, "*"), "%41", "A")
			path := "/" + strings.TrimPrefix(d.of("", word(3))+text+d.of("", "/", word(3)), "/")
			r := requestFor(path)
			if inner.Match(r) && !outer.Match(r) {
				t.Fatalf("%s covers %s, they say, and %s matches the second alone", wide, narrow, path)
			}
		}
	}
	if yes < 500 {
		t.Errorf("said yes %d times", yes)
	}
}

func requestFor(path string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
	r.URL.Path = path
	return r
}
