package gatehouse

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sharedCache is a caching proxy in front of a site, as RFC 9111 allows one to
// be: it stores whatever it may, for as long as it may, and serves it to
// everybody. What it stores never ages.
type sharedCache struct {
	origin func(ask) *httptest.ResponseRecorder
	stored map[string][]storedAnswer
	hits   int
}

type storedAnswer struct {
	asked  http.Header
	answer *httptest.ResponseRecorder
}

func newSharedCache(origin func(ask) *httptest.ResponseRecorder) *sharedCache {
	return &sharedCache{origin: origin, stored: map[string][]storedAnswer{}}
}

func (c *sharedCache) do(a ask) *httptest.ResponseRecorder {
	asked := a.header.Clone()
	if asked == nil {
		asked = http.Header{}
	}
	if a.token != "" {
		asked.Set("Authorization", "Bearer "+a.token)
	}
	if a.method == "" || a.method == http.MethodGet || a.method == http.MethodHead {
		for _, s := range c.stored[a.target] {
			if s.serves(asked) {
				c.hits++
				return s.answer
			}
		}
	}
	w := c.origin(a)
	if (a.method == "" || a.method == http.MethodGet) && mayStore(asked, w) {
		c.stored[a.target] = append(c.stored[a.target], storedAnswer{asked, w})
	}
	return w
}

// serves compares what the stored answer varies on (section 4.1).
func (s storedAnswer) serves(asked http.Header) bool {
	for _, line := range s.answer.Header()["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name == "*" || !slices.Equal(asked[name], s.asked[name]) {
				return false
			}
		}
	}
	return true
}

// mayStore is section 3 for a shared cache, with the targeted fields of
// RFC 9213, and with the one that nginx obeys before them.
func mayStore(asked http.Header, w *httptest.ResponseRecorder) bool {
	h := w.Header()
	if n, err := strconv.Atoi(h.Get("X-Accel-Expires")); err == nil && n > 0 {
		return true
	}
	directives := directivesOf(h, "Cdn-Cache-Control")
	if directives == nil {
		directives = directivesOf(h, "Cache-Control")
	}
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(directives, name) })
	}
	if has("no-store", "private", "no-cache") { // no-cache: it would ask again
		return false
	}
	if asked.Get("Authorization") != "" && !has("public", "s-maxage", "must-revalidate") { // section 3.5
		return false
	}
	heuristically := []int{200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501} // RFC 9110, section 15.1
	return has("public", "s-maxage", "max-age") || h.Get("Expires") != "" || slices.Contains(heuristically, w.Code)
}

// directivesOf names the directives of a field, nil where it is absent.
func directivesOf(h http.Header, field string) []string {
	if len(h[field]) == 0 {
		return nil
	}
	names := []string{}
	for _, line := range h[field] {
		for item := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(item), "=")
			names = append(names, strings.ToLower(name))
		}
	}
	return names
}

// The cache of these tests must be one that would give a refusal to somebody
// else, if it were let.
func TestSharedCacheStoresWhatItMay(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header http.Header
		token  string
		hits   int
	}{
		"an explicit lifetime":            {401, http.Header{"Cache-Control": {"max-age=60"}}, "", 1},
		"a 404 without a word":            {404, http.Header{}, "", 1},
		"a 403 without a word":            {403, http.Header{}, "", 0},
		"a 403 that expires":              {403, http.Header{"Expires": {"Fri, 02 Jan 2099 03:05:05 GMT"}}, "", 1},
		"no-store":                        {404, http.Header{"Cache-Control": {"no-store"}}, "", 0},
		"no-store, and a word to the CDN": {403, http.Header{"Cache-Control": {"no-store"}, "Cdn-Cache-Control": {"max-age=60"}}, "", 1},
		"no-store, and a word to nginx":   {403, http.Header{"Cache-Control": {"no-store"}, "X-Accel-Expires": {"60"}}, "", 1},
		"with credentials":                {403, http.Header{"Cache-Control": {"max-age=60"}}, "t", 0},
		"with credentials, public":        {403, http.Header{"Cache-Control": {"public, max-age=60"}}, "t", 1},
		"varies on nothing that differs":  {404, http.Header{"Vary": {"Accept, Origin"}}, "", 1},
		"varies on everything":            {404, http.Header{"Vary": {"*"}}, "", 0},
	} {
		cache := newSharedCache(func(ask) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			maps.Copy(w.Header(), c.header)
			w.WriteHeader(c.status)
			return w
		})
		cache.do(ask{target: "/x", token: c.token})
		if cache.do(ask{target: "/x"}); cache.hits != c.hits {
			t.Errorf("%s: %d hits, want %d", name, cache.hits, c.hits)
		}
	}
}

// One visitor is refused, and the next one, who may come in, asks for the same
// address through the same cache: what stands in its memory must not answer. An
// operator's lifetime for good answers stands before the gate.
func TestRefusalsAreNotCached(t *testing.T) {
	const lifetime = `
		header Cache-Control "public, max-age=3600"
		header Expires "Fri, 02 Jan 2099 03:05:05 GMT"
		header CDN-Cache-Control max-age=3600
		header X-Accel-Expires 3600
		header Surrogate-Control max-age=3600
		header ETag abc`
	const options = `
		require /role/* role admin
		require /hidden/* {
			role admin
			hide
		}
		require /office/* ip 198.51.100.0/24
		require /said/* {
			role admin
			message "Ask Eve."
		}
		public /pass/*
		cors {
			origins https://app.example.com https://b.example.com
		}
		brand {
			login /login?to={return_to}
		}
		on_refusal `
	for _, onRefusal := range []string{"respond", "redirect", "error"} {
		for name, c := range map[string]struct{ before, errorRoutes string }{
			"as it is":                    {"", "gatehouse_page"},
			"behind a lifetime":           {lifetime, "gatehouse_page"},
			"with error routes":           {"", "respond {err.status_code}"},
			"a lifetime and error routes": {lifetime, "gatehouse_page /pass/*\nrespond {err.status_code}"},
		} {
			site := siteWithErrors(t, options+onRefusal, `
				@refused header X-Refused *
				error @refused 403
				gatehouse_test_spy x`, c.errorRoutes, c.before)
			cache := newSharedCache(site.do)
			admin, viewer := site.token(t, claims{"roles": []string{"admin"}}), site.token(t, nil)
			refusedAsks(t, cache, viewer, site.token(t, claims{"exp": 1}))
			if cache.hits > 0 {
				t.Errorf("%s, %s: the cache has answered %d times", onRefusal, name, cache.hits)
			}
			for _, target := range []string{"/role/x", "/hidden/x", "/office/x", "/said/x", "/pass/x", "/open"} {
				for variant, header := range cacheVariants() {
					w := cache.do(ask{target: target, token: admin, header: header, from: "198.51.100.7:1"})
					if w.Code != http.StatusOK || w.Body.String() != "next" {
						t.Errorf("%s, %s: the second client gets %d for %s as %s", onRefusal, name, w.Code, target, variant)
					}
					delete(cache.stored, target) // what is good may be kept; the next one looks for refusals
				}
			}
		}
	}
}

// refusedAsks are refused in every way and every variant.
func refusedAsks(t *testing.T, cache *sharedCache, viewer, expired string) {
	t.Helper()
	for _, header := range cacheVariants() {
		for _, method := range []string{"GET", "HEAD"} {
			for _, token := range []string{"", "a.b.c", viewer, expired} {
				for _, target := range []string{"/role/x", "/hidden/x", "/office/x", "/said/x", "/pass/x", "/open"} {
					if target == "/open" && token == viewer {
						continue
					}
					a := ask{method: method, target: target, token: token, header: header.Clone()}
					if target == "/pass/x" {
						a.header.Set("X-Refused", "1")
					}
					if w := cache.do(a); w.Code < 300 {
						t.Fatalf("%s %s is answered %d", method, target, w.Code)
					}
				}
			}
		}
	}
}

func cacheVariants() map[string]http.Header {
	return map[string]http.Header{
		"nothing": {}, "a browser": browser.Clone(), "German": {"Accept": {"text/html"}, "Accept-Language": {"de"}}, "JSON": {"Accept": {"application/json"}},
		"text": {"Accept": {"text/plain"}}, "an image": {"Sec-Fetch-Dest": {"image"}}, "jQuery": {"X-Requested-With": {"XMLHttpRequest"}},
		"an origin": {"Origin": {"https://app.example.com"}}, "another origin": {"Origin": {"https://b.example.com"}}, "one not listed": {"Origin": {"https://evil.example"}},
	}
}
