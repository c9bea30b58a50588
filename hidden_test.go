package gatehouse

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// hiddenSite serves files, some of which the options hide.
func hiddenSite(t *testing.T, options, errorRoute string) (*site, string) {
	t.Helper()
	root := t.TempDir()
	for _, file := range []string{
		"/404.html", "/docs/there.txt", "/docs/secret.bak", "/internal/plan.txt", "/internal/deep/index.html", "/public/there.txt", "/public/secret/plan.txt", "/public/old.bak",
	} {
		writeFile(t, root+file, "contents of "+file)
	}
	s := newSigner(t, testIssuer)
	site := newSiteFrom(t, s, `
:80 {
	root `+root+`
	`+errorRoute+`
	gatehouse {
		issuer `+testIssuer+` {
			keys `+s.keyFile+`
			audience `+testAudience+`
		}
		public /public/*
		`+options+`
	}
	file_server
}`)
	return site, site.listen()
}

const (
	hideLines    = "hide /internal/* /public/secret/*\nhide *.bak"
	hideRequires = `
		require /internal/* {
			ip 203.0.113.1
			hide
		}
		require /public/secret/* {
			ip 203.0.113.1
			hide
		}
		require *.bak {
			ip 203.0.113.1
			hide
		}`
)

// hiddenPairs are paths that are hidden, each with its like that does not exist.
var hiddenPairs = [][2]string{
	{"/internal/plan.txt", "/nothing/plan.txt"},
	{"/internal/missing.txt", "/nothing/plan.txt"},
	{"/internal", "/nothing"},
	{"/internal/", "/nothing/"},
	{"/internal/deep", "/nothing/deep"},
	{"/INTERNAL/plan.txt?x=1", "/NOTHING/plan.txt?x=1"},
	{"//internal//plan.txt", "//nothing//plan.txt"},
	{"/docs/secret.bak", "/docs/missing.txt"},
	{"/docs/missing.bak", "/docs/missing.txt"},
	{"/docs/secret.bak/", "/docs/missing.txt/"},
	{"/public/secret/plan.txt", "/public/nothing/plan.txt"},
	{"/public/secret/", "/public/nothing/"},
	{"/public/old.bak", "/public/missing.txt"},
}

var errorRoutes = map[string]string{
	"no error route": "",
	"a sentence":     "handle_errors {\nrespond \"{err.status_code} {err.status_text} {err.message}\"\n}",
	"a page":         "handle_errors {\nrewrite * /404.html\nfile_server\n}",
	"the files":      "handle_errors {\nfile_server\n}",
}

// Who scans a site must not learn which paths are hidden: status, headers and
// body are those of a missing file, for every method, client and protocol.
func TestHiddenIsMissingToTheByte(t *testing.T) {
	for rules, options := range map[string]string{"hide": hideLines, "require": hideRequires} {
		for route, text := range errorRoutes {
			if rules == "require" && route != "a page" {
				continue // how the 404 is told does not depend on the rule
			}
			t.Run(rules+", "+route, func(t *testing.T) {
				s, address := hiddenSite(t, options, text)
				c := &wire{address: address}
				t.Cleanup(c.close)
				h2 := newFrames(t, address)
				for _, client := range hiddenClients(s.token(t, nil), s.token(t, claims{"exp": 1})) {
					for _, pair := range hiddenPairs {
						compareHidden(t, c, client, pair)
						if hidden, missing := client.ask2(h2, pair[0]), client.ask2(h2, pair[1]); hidden != missing {
							t.Errorf("HTTP/2, %s %s: hidden is\n%s\nand missing is\n%s", client.name, pair[0], hidden, missing)
						}
					}
				}
			})
		}
	}
}

// hiddenClient asks in one way.
type hiddenClient struct {
	name, method string
	lines        []string
}

func hiddenClients(token, expired string) []hiddenClient {
	bearer := "Authorization: Bearer " + token
	return []hiddenClient{
		{"anonymous", "GET", nil},
		{"anonymous, HEAD", "HEAD", nil},
		{"anonymous, a page", "GET", []string{"Accept: text/html"}},
		{"an expired token", "GET", []string{"Authorization: Bearer " + expired}},
		{"recognised", "GET", []string{bearer}},
		{"recognised, HEAD", "HEAD", []string{bearer}},
		{"recognised, DELETE", "DELETE", []string{bearer}},
		{"recognised, OPTIONS", "OPTIONS", []string{bearer}},
		{"recognised, an odd method", "FOO", []string{bearer}},
		{"recognised, overridden", "POST", []string{bearer, "X-Http-Method-Override: DELETE", "Content-Length: 0"}},
		{"recognised, conditional", "GET", []string{bearer, "If-None-Match: *", "Range: bytes=0-3"}},
		{"recognised, compressed", "GET", []string{bearer, "Accept-Encoding: gzip"}},
		{"recognised, gRPC", "POST", []string{bearer, "Content-Type: application/grpc", "TE: trailers", "Content-Length: 0"}},
		{"anonymous, gRPC", "POST", []string{"Content-Type: application/grpc", "TE: trailers", "Content-Length: 0"}},
		{"preflight", "OPTIONS", []string{"Origin: https://a.example", "Access-Control-Request-Method: PUT"}},
	}
}

func compareHidden(t *testing.T, c *wire, client hiddenClient, pair [2]string) {
	t.Helper()
	var texts [2]string
	for i, path := range pair {
		got, err := c.send(client.method, rawRequest(client.method, path, client.lines...))
		if err != nil {
			t.Fatalf("%s %s: %v", client.name, path, err)
		}
		if strings.Contains(got.body, "contents of") && !strings.Contains(got.body, "/404.html") {
			t.Errorf("%s %s: got %d %q", client.name, path, got.status, got.body)
		}
		texts[i] = scrubbed(got.head + got.body)
	}
	if texts[0] != texts[1] {
		t.Errorf("%s: %s is\n%s\nand %s is\n%s", client.name, pair[0], texts[0], pair[1], texts[1])
	}
}

// ask2 asks over HTTP/2.
func (client hiddenClient) ask2(f *frames, path string) string {
	fields := []string{":method", client.method, ":scheme", "http", ":authority", "panel.test", ":path", path}
	for _, line := range client.lines {
		name, value, _ := strings.Cut(line, ": ")
		fields = append(fields, strings.ToLower(name), value)
	}
	got := f.send(fields...)
	lines := make([]string, 0, len(got.fields))
	for _, field := range got.fields {
		lines = append(lines, field.Name+": "+field.Value)
	}
	// net/http sends them in the order of a map.
	slices.Sort(lines)
	return scrubbed(strings.Join(lines, "\r\n") + "\r\n" + string(got.body))
}

var (
	dateLine  = regexp.MustCompile(`(?i)date: [^\r]*\r\n`)
	clockTime = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d`)
)

// scrubbed leaves out what differs between any two answers: date and request id.
func scrubbed(text string) string {
	text = dateLine.ReplaceAllString(text, "")
	text = uuidPattern.ReplaceAllString(text, "ID")
	return clockTime.ReplaceAllString(text, "TIME")
}

// A scan of many names: the hidden ones are not to be told from the others, nor
// from names that no rule speaks of.
func TestAnonymousScan(t *testing.T) {
	_, address := hiddenSite(t, hideLines, "")
	c := &wire{address: address}
	t.Cleanup(c.close)
	for _, folder := range []string{"", "/public"} {
		answers := make(map[string][]string)
		for _, name := range []string{"/internal", "/internal/plan.txt", "/secret", "/secret/plan.txt", "/a.bak", "/old.bak", "/x", "/admin", "/.env", "/docs.bak", "/index.html"} {
			got, err := c.send("GET", rawRequest("GET", folder+name))
			if err != nil {
				t.Fatal(err)
			}
			text := scrubbed(got.head + got.body)
			answers[text] = append(answers[text], name)
		}
		if len(answers) != 1 {
			t.Errorf("below %q a scan gets %d different answers: %s", folder, len(answers), fmt.Sprint(answers))
		}
	}
}

// What is not hidden is there: the site of these tests serves files.
func TestHiddenSiteServesTheRest(t *testing.T) {
	for rules, options := range map[string]string{"hide": hideLines, "require": hideRequires} {
		s, address := hiddenSite(t, options, "")
		c := &wire{address: address}
		for path, lines := range map[string][]string{"/public/there.txt": nil, "/docs/there.txt": {"Authorization: Bearer " + s.token(t, nil)}} {
			if got, err := c.send("GET", rawRequest("GET", path, lines...)); err != nil || got.status != 200 || got.body != "contents of "+path {
				t.Errorf("%s: %s: got %d %q %v", rules, path, got.status, got.body, err)
			}
		}
		c.close()
	}
}
