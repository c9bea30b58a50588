package gatehouse

import (
	"net/http"
	"strings"
	"testing"
)

const methodRules = `
	public /public/*
	require /admin/* role admin
	require DELETE /sites/* role admin
`

// Frameworks read the method from a header or from the query. A rule for DELETE
// must hold for what they take for a DELETE, however it is spelt: PHP turns dots
// and spaces of a name into underscores, drops spaces before it, and ends it at
// a NUL; older parsers split at semicolons too.
func TestMethodOverridesOverTheWire(t *testing.T) {
	s, u, address := trickSite(t, methodRules)
	c := &wire{address: address}
	t.Cleanup(c.close)
	viewer := "Authorization: Bearer " + s.token(t, nil)
	for _, request := range []struct{ method, target, line string }{
		{"DELETE", "/sites/7", ""},
		{"POST", "/sites/7", "X-HTTP-Method-Override: DELETE"},
		{"POST", "/sites/7", "x-http-method-override: delete"},
		{"POST", "/sites/7", "X-HTTP-Method: DELETE"},
		{"POST", "/sites/7", "X-Method-Override: DELETE"},
		{"POST", "/sites/7", "X!Http~Method-Override:  DELETE "},
		{"POST", "/sites/7?_method=DELETE", ""},
		{"POST", "/sites/7?%5fmethod=delete", ""},
		{"POST", "/sites/7?x=1&_method=DELETE", ""},
		{"POST", "/sites/7?x=1;_method=DELETE", ""},
		{"POST", "/sites/7?.method=DELETE", ""},
		{"POST", "/sites/7?+method=1&+_method=DELETE", ""},
		{"POST", "/sites/7?%20_method=DELETE", ""},
		{"POST", "/sites/7?_method%00x=DELETE", ""},
		{"POST", "/sites/7?_method=GET&_method=DELETE", ""},
	} {
		name := request.method + " " + request.target + " " + request.line
		lines := []string{viewer, caseHeader + ": " + name, "Content-Length: 0"}
		if request.line != "" {
			lines = append(lines, request.line)
		}
		got, err := c.send(request.method, rawRequest(request.method, request.target, lines...))
		if err != nil {
			t.Fatal(err)
		}
		if got.status != http.StatusForbidden || len(u.arrived(name)) > 0 {
			t.Errorf("%s: got %d", name, got.status)
		}
	}
	got, err := c.send("POST", rawRequest("POST", "/sites/7?page_method=DELETE&method=DELETE", viewer, "Content-Length: 0"))
	if err != nil || got.status != http.StatusOK {
		t.Errorf("an ordinary POST: got %d %v", got.status, err)
	}
}

// No method reaches an admin path without the role, but for a preflight, which
// says nothing and is nothing but OPTIONS.
func TestMethodsOnAnAdminPath(t *testing.T) {
	s, u, address := trickSite(t, methodRules)
	viewer := "Authorization: Bearer " + s.token(t, nil)
	socket := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}
	preflight := []string{"Origin: https://a.example", "Access-Control-Request-Method: PUT"}
	for name, c := range map[string]struct {
		method, target string
		lines          []string
	}{
		"HEAD":                             {"HEAD", "/admin/x", nil},
		"TRACE":                            {"TRACE", "/admin/x", nil},
		"OPTIONS":                          {"OPTIONS", "/admin/x", nil},
		"PROPFIND":                         {"PROPFIND", "/admin/x", nil},
		"a method of nobody":               {"FOO-BAR", "/admin/x", nil},
		"a method in lower case":           {"get", "/admin/x", nil},
		"a method with odd letters":        {"GET!", "/admin/x", nil},
		"CONNECT with a path":              {"CONNECT", "/admin/x", nil},
		"CONNECT to a host":                {"CONNECT", "panel.test:80", nil},
		"WebSocket":                        {"GET", "/admin/x", socket},
		"WebSocket by a trick":             {"GET", "//host/admin;y/x", socket},
		"HEAD that is overridden":          {"HEAD", "/admin/x?_method=GET", nil},
		"OPTIONS *":                        {"OPTIONS", "*", nil},
		"a preflight with a token":         {"OPTIONS", "/admin/x", preflight},
		"a preflight by a trick":           {"OPTIONS", "/public/../admin", preflight},
		"a preflight, overridden by query": {"OPTIONS", "/admin/x?_method=DELETE", preflight},
	} {
		t.Run(name, func(t *testing.T) {
			conn := &wire{address: address}
			defer conn.close()
			got, err := conn.send(c.method, rawRequest(c.method, c.target, append([]string{viewer, caseHeader + ": " + name}, c.lines...)...))
			if err != nil {
				t.Fatal(err)
			}
			if len(u.arrived(name)) > 0 {
				t.Errorf("it arrived: %+v", u.arrived(name))
			}
			if got.status < 400 && c.target != "*" { // net/http answers that one itself
				t.Errorf("got %d", got.status)
			}
		})
	}
	conn := &wire{address: address}
	defer conn.close()
	got, err := conn.send("OPTIONS", rawRequest("OPTIONS", "/admin/x", append(preflight, caseHeader+": preflight")...))
	if err != nil || got.status != http.StatusOK || len(u.arrived("preflight")) != 1 || u.arrived("preflight")[0].method != "OPTIONS" {
		t.Errorf("a preflight: got %d %v, arrived %+v", got.status, err, u.arrived("preflight"))
	}
}

// Symfony, Zend and IIS serve the path in these headers in place of the one
// that was judged.
func TestHeadersThatReplaceThePath(t *testing.T) {
	_, u, address := trickSite(t, methodRules)
	c := &wire{address: address}
	t.Cleanup(c.close)
	for _, name := range []string{"X-Original-URL", "x-original-url", "X-ORIGINAL-URL", "X-Rewrite-URL", "X-rewrite-Url", "X~Rewrite!URL", "X_Original_URL", "X.Rewrite.URL"} {
		got, err := c.send("GET", rawRequest("GET", "/public/x", name+": /admin/users", caseHeader+": "+name))
		if err != nil {
			t.Fatal(err)
		}
		arrivals := u.arrived(name)
		if got.status != http.StatusOK || len(arrivals) != 1 {
			t.Fatalf("%s: got %d, %d arrived", name, got.status, len(arrivals))
		}
		for key, values := range arrivals[0].header {
			if strings.Contains(strings.Join(values, ","), "admin") {
				t.Errorf("%s arrived as %s: %s", name, key, values)
			}
		}
	}
}
