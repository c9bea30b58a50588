package page

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestReturnToKeepsOrdinaryAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"/":                               "/",
		"/domains":                        "/domains",
		"/domains?tab=dns&page=2":         "/domains?tab=dns&page=2",
		"/a/b/c.html?x=%20y+z":            "/a/b/c.html?x=%20y+z",
		"/bl%C3%A5b%C3%A6r":               "/bl%C3%A5b%C3%A6r",
		"/caf%E9":                         "/caf%E9",
		"/%E6%97%A5%E6%9C%AC":             "/%E6%97%A5%E6%9C%AC",
		"/sale/100%25":                    "/sale/100%25",
		"/search?q=50%25+off":             "/search?q=50%25+off",
		"/web//index.php":                 "/web//index.php",
		"/proxy/https://example.com/x":    "/proxy/https://example.com/x",
		"/go?url=https%3A%2F%2Fa.example": "/go?url=https%3A%2F%2Fa.example",
		"/a;v=1/b":                        "/a;v=1/b",
		"/...":                            "/...",
		"/.well-known/x":                  "/.well-known/x",
		"/x?":                             "/x?",
		"/{id}?a={b}":                     "/{id}?a={b}",
		"/<script>":                       "/<script>",
		"/a:b@c":                          "/a:b@c",
	} {
		if got := ReturnTo("GET", in, nil); got != want {
			t.Errorf("%s: got %q", in, got)
		}
		if got := ReturnTo("HEAD", in, nil); got != want {
			t.Errorf("HEAD %s: got %q", in, got)
		}
	}
}

func TestReturnToOnlyForReading(t *testing.T) {
	for _, m := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "", "get", "PROPFIND"} {
		if got := ReturnTo(m, "/x", nil); got != "" {
			t.Errorf("%s: %q", m, got)
		}
	}
}

func TestReturnToLength(t *testing.T) {
	long := "/" + strings.Repeat("a", 1023)
	if ReturnTo("GET", long, nil) != long {
		t.Error("1 KiB is fine")
	}
	if ReturnTo("GET", long+"a", nil) != "" {
		t.Error("more than 1 KiB is not")
	}
	if got := ReturnTo("GET", "/x?access_token="+strings.Repeat("a", 4000), nil); got != "/x" {
		t.Errorf("a long token is taken out first: %q", got)
	}
	if ReturnTo("GET", "/x?access_token="+strings.Repeat("a", 20000), nil) != "" {
		t.Error("work is bounded")
	}
}

func TestReturnToLeavesCredentialsOut(t *testing.T) {
	for in, want := range map[string]string{
		"/x?access_token=a":                  "/x",
		"/x?a=1&access_token=a&b=2":          "/x?a=1&b=2",
		"/x?a=1&id_token=a":                  "/x?a=1",
		"/x?a=1;token=a;b=2":                 "/x?a=1;b=2",
		"/x?ACCESS_TOKEN=a":                  "/x",
		"/x?access%5Ftoken=a":                "/x",
		"/x?access%255Ftoken=a":              "/x",
		"/x?%74oken=a":                       "/x",
		"/x?token[]=a&b=2":                   "/x?b=2",
		"/x?token%5B0%5D=a&b=2":              "/x?b=2",
		"/x?token":                           "/x",
		"/x?code=a&state=b":                  "/x?state=b",
		"/x?jwt=a":                           "/x",
		"/x?refresh-token=a":                 "/x",
		"/x?authToken=a":                     "/x",
		"/x?csrf_token=a":                    "/x",
		"/x?id_token_hint=a":                 "/x",
		"/x?password=a&apikey=b&sid=c":       "/x",
		"/x?SAMLResponse=a":                  "/x",
		"/x?v=eyJhbGciOiJSUzI1NiJ9.e30.c2ln": "/x",
		"/x?mine=a&b=2":                      "/x?b=2",
		"/x?MINE=a":                          "/x",
		"/x?minex=a":                         "/x?minex=a",
		"/x?codes=a&tokenize=b":              "/x?codes=a&tokenize=b",
		"/x?v=eyJ":                           "/x?v=eyJ",
	} {
		if got := ReturnTo("GET", in, []string{"mine"}); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

// openRedirects are addresses that a browser, a proxy or a login page could
// take for another host. Each shape is tried as it is, percent-encoded and
// encoded twice and three times.
func openRedirects() []string {
	plain := []string{
		"//", "///", "////", "/\\", "\\\\", "\\/", "/\\/", "/\t/", "/\n/", "/\r/", "/\r\n/", "/\x00/", "/\x0b/", "/\x0c/", "/ /\\", "/\x7f/", "/\u0085/",
		"/./", "/.//", "/..//", "/a/..//", "/a/../../", "/./../", "/%2e/", "/%2e%2e/", "/.%2e/", "/a/%2e%2e//", "/a/.;x//", "/..;/", "/;/", "/;a=b/", "/;//",
		"/\uff0f", "/\uff3c", "/\u2044", "/\u2215", "/\u29f8", "/\ufe68", "/\u2028/", "/\u2029/", "/\u2571",
		"/\xc0\xaf", "/\xc1\x9c", "/\xe0\x80\xaf", "/\xf0\x80\x80\xaf", "/a\\..\\", "/a\\", "/a/b\\c", "/\x01", "/\x1b[", "/\u009b",
	}
	hosts := []string{"evil.example", "evil.example/%2f..", "user@evil.example", "0x7f.1", "[::1]", "evil.example:80"}
	var all []string
	for _, p := range plain {
		for _, h := range hosts {
			all = append(all, p+h)
		}
		once := "/" + escapeAll(strings.TrimPrefix(p, "/"))
		twice := "/" + strings.ReplaceAll(once[1:], "%", "%25")
		thrice := "/" + strings.ReplaceAll(twice[1:], "%", "%25")
		for _, e := range []string{once, twice, thrice} {
			if e != "/" {
				all = append(all, e+hosts[0], strings.ToLower(e)+hosts[0])
			}
		}
	}
	return append(all,
		"", "*", "evil.example", "evil.example:443", ".evil.example", "@evil.example", "?x=/", "#/", "a/b", "./a", "../a", "%2f%2fevil.example", "%2Fa",
		"http://evil.example/", "https://evil.example/", "HTTP://evil.example", "http:/evil.example", "http:evil.example", "https:///evil.example",
		"javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "mailto:a@b", "blob:x", "ftp://evil.example", "//evil.example\\@x", "///\\;@evil.example",
		" /x", "\t//evil.example", "\x00//evil.example", "\u00a0/x", "\ufeff/x", "/x y", "/x\u00e9", "/x#y", "/#//evil.example", "/%", "/%2", "/%zz", "/%u005cevil", "/%u002f", "/a%", "/x?a=%", "/x?a=%zz",
		"/%25zz%255cevil.example", "/%25252525252fevil.example", "/%2525252525252e", "/x?a=%0d%0aSet-Cookie:x", "/x?a=%250d%250a", "/x?a=\\", "/x?a=%5c", "/x?a=%255c", "/x?a=\r\n", "/x?a=%00", "/x\r\nLocation: //evil.example", "/%0d%0aLocation:%20//evil.example",
		"/%09/evil.example", "/%5cevil.example", "/%5Cevil.example", "/%255cevil.example", "/%2fevil.example", "/%252fevil.example", "/%25252fevil.example", "/%2f%2fevil.example", "/%2f%5cevil.example", "/%5c%2fevil.example", "/%5c%5cevil.example",
		"/%ef%bc%8fevil.example", "/%25ef%25bc%258fevil.example", "/%c0%afevil.example", "/%e2%80%a8/evil.example", "/%c2%85/evil.example", "/%3b/evil.example", "/%2e%2e%2fevil.example", "/%252e%252e%252fevil.example", "/a/%2e%2e/%2fevil.example",
	)
}

func escapeAll(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte('%')
		b.WriteByte(hex[s[i]>>4])
		b.WriteByte(hex[s[i]&15])
	}
	return b.String()
}

// An attacker sends a link to the panel whose address names their own host in a
// spelling that the login page's redirect understands. After a real sign-in the
// visitor lands on the attacker's copy of the panel.
func TestOpenRedirectAfterSignIn(t *testing.T) {
	all := openRedirects()
	if len(all) < 500 {
		t.Fatalf("only %d shapes", len(all))
	}
	for _, in := range all {
		if got := ReturnTo("GET", in, nil); got != "" {
			t.Errorf("%q gave %q", in, got)
		}
	}
}

func FuzzReturnTo(f *testing.F) {
	for _, s := range openRedirects() {
		f.Add(s)
	}
	f.Add("/domains?tab=dns&access_token=x")
	f.Fuzz(func(t *testing.T, in string) {
		got := ReturnTo("GET", in, nil)
		if got == "" {
			return
		}
		if len(got) > maxReturnTo || got[0] != '/' || strings.HasPrefix(got, "//") {
			t.Fatalf("%q gave %q", in, got)
		}
		base := &url.URL{Scheme: "https", Host: "panel.example.com", Path: "/login"}
		for s := got; ; {
			if strings.IndexFunc(s, func(r rune) bool { return r == '\\' || r < ' ' || r == 0x7f }) >= 0 || strings.HasPrefix(s, "//") {
				t.Fatalf("%q gave %q, which decodes to %q", in, got, s)
			}
			if u, err := base.Parse(s); err == nil && u.Host != base.Host {
				t.Fatalf("%q leads to %s", got, u.Host)
			}
			next, err := url.PathUnescape(s)
			if err != nil || next == s {
				break
			}
			s = next
		}
		if again := ReturnTo("GET", got, nil); again != got {
			t.Fatalf("%q is not stable: %q, then %q", in, got, again)
		}
		_, query, _ := strings.Cut(got, "?")
		if slices.ContainsFunc(strings.Split(query, "&"), func(p string) bool { return strings.HasPrefix(p, "access_token=") }) {
			t.Fatalf("%q keeps a token", got)
		}
	})
}
