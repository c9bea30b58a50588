package page

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

func render(t *testing.T, p *Pages, b Body, r Refusal) (string, string) {
	t.Helper()
	out, csp, err := p.Render([]byte("before"), b, "en", "panel.example.com", r)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := strings.CutPrefix(string(out), "before")
	if !ok {
		t.Fatal("what was in the buffer is gone")
	}
	return s, csp
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew); got\n%s", name, got)
	}
}

func TestGoldenBodies(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{acme()}, ProblemBase: "https://docs.example.com/problems/"})
	expired, role := sample(401, "token_expired"), sample(403, "role_missing")
	expired.Error, expired.ErrorDescription = "invalid_token", "The access token expired"
	unavailable := sample(503, "keys_unavailable")
	unavailable.RetryAfter = 1500 * time.Millisecond
	for name, c := range map[string]struct {
		b Body
		r Refusal
	}{
		"401.html": {HTML, expired}, "403.html": {HTML, role}, "503.html": {HTML, unavailable},
		"401.problem.json": {Problem, expired}, "403.problem.json": {Problem, role}, "503.problem.json": {JSON, unavailable},
		"401.txt": {Text, expired}, "401.upgrade.txt": {Upgrade, expired},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := render(t, p, c.b, c.r)
			golden(t, name, s)
		})
	}
}

func TestProblemMembers(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{acme()}})
	r := sample(401, "token_expired")
	r.Error, r.ErrorDescription, r.RetryAfter = "invalid_token", "x", time.Second+1
	s, csp := render(t, p, Problem, r)
	order := regexp.MustCompile(`"(type|title|status|detail|instance|code|error|error_description|request_id|time|login_url|support_url|retry_after)":`).FindAllStringSubmatch(s, -1)
	got := make([]string, 0, len(order))
	for _, m := range order {
		got = append(got, m[1])
	}
	if want := "type title status detail instance code error error_description request_id time login_url support_url retry_after"; strings.Join(got, " ") != want {
		t.Errorf("order %v", got)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"type": "about:blank", "status": 401.0, "instance": "urn:uuid:" + r.RequestID, "time": "2026-11-24T09:31:07Z", "retry_after": 2.0,
		"login_url":   "https://login.example.com/start?rd=%2Fdomains%3Ftab%3Ddns%26q%3Da%20b&ui_locales=en",
		"support_url": "mailto:help@example.com?subject=Request%20" + r.RequestID,
	} {
		if m[name] != want {
			t.Errorf("%s: %v, want %v", name, m[name], want)
		}
	}
	if csp != "" {
		t.Error("a policy without a page")
	}
	bare, _ := render(t, newPages(t, Options{}), Problem, Refusal{Status: 403, Code: "path_denied"})
	for _, absent := range []string{"null", "error", "login_url", "support_url", "retry_after", "instance", "time", "request_id"} {
		if strings.Contains(bare, `"`+absent) {
			t.Errorf("%s should be absent: %s", absent, bare)
		}
	}
	r = sample(403, "role_missing")
	if s, _ = render(t, p, Problem, r); strings.Contains(s, "login_url") {
		t.Error("signing in again does not help against a 403")
	}
	r = sample(401, "token_invalid")
	r.ReturnTo = ""
	if s, _ = render(t, p, Problem, r); !strings.Contains(s, `rd=%2F`) {
		t.Error("without a safe address the way back is /")
	}
}

func TestQuietByDefaultNamedOnDemand(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{acme()}})
	for code, params := range map[string]map[string]string{
		"role_missing": {"roles": "admin, reseller"}, "scope_missing": {"scopes": "write:users"}, "claim_missing": {"claim": "department"}, "address_denied": {"address": "2001:db8::7"},
	} {
		r := sample(403, code)
		for _, b := range []Body{HTML, Problem, Text, Upgrade} {
			r.Params = nil
			quiet, _ := render(t, p, b, r)
			r.Params = params
			named, _ := render(t, p, b, r)
			r.Params = map[string]string{"other": "x"}
			other, _ := render(t, p, b, r)
			for _, v := range params {
				if strings.Contains(quiet, v) || !strings.Contains(named, v) {
					t.Errorf("%s as %s", code, b)
				}
			}
			if other != quiet {
				t.Errorf("%s as %s: a sentence with a hole", code, b)
			}
		}
	}
	r := sample(403, "role_missing")
	r.Message, r.Params = "Ask\nMaria.", map[string]string{"roles": "admin"}
	if s, _ := render(t, p, Text, r); s != "Access not included\nAsk Maria.\nRequest ID: "+r.RequestID+"\n" {
		t.Errorf("the operator's sentence: %q", s)
	}
}

func TestBodiesWithoutText(t *testing.T) {
	p := newPages(t, Options{})
	for _, b := range []Body{Empty, GRPC} {
		if s, csp := render(t, p, b, sample(401, "token_expired")); s != "" || csp != "" {
			t.Errorf("%s: %q %q", b, s, csp)
		}
	}
	if s, _ := render(t, p, Upgrade, sample(401, "token_expired")); strings.Count(s, "\n") != 1 || !strings.HasSuffix(s, "]\n") {
		t.Errorf("one line: %q", s)
	}
	if s, _ := render(t, p, Problem, Refusal{}); !strings.Contains(s, `"status":500`) {
		t.Errorf("the zero refusal: %s", s)
	}
}

func TestPolicyAllowsExactlyTheStyle(t *testing.T) {
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	light, yellow := acme(), Brand{Color: "#ffcc00"}
	for _, b := range []Brand{light, yellow} {
		p := newPages(t, Options{Brands: []Brand{b}})
		for code, status := range designCodes() {
			s, csp := render(t, p, HTML, sample(status, code))
			found := style.FindAllStringSubmatch(s, -1)
			if len(found) != 1 {
				t.Fatalf("%s: %d styles", code, len(found))
			}
			sum := sha256.Sum256([]byte(found[0][1]))
			want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
			if csp != want {
				t.Errorf("%s: %s", code, csp)
			}
			if strings.Contains(found[0][1], "ZgotmplZ") || strings.Contains(found[0][1], "\r") {
				t.Error("the style is not what was written")
			}
		}
	}
	crlf, err := os.ReadFile(templatesDir + "/base.html")
	if err != nil {
		t.Fatal(err)
	}
	p := pagesOf(t, Sources{Builtin: overlay(t, map[string]string{"base.html": strings.ReplaceAll(string(crlf), "\n", "\r\n")})}, Options{})
	if s, _ := render(t, p, HTML, sample(401, "token_expired")); strings.Contains(s, "\r") {
		t.Error("a browser turns CRLF into LF before it hashes")
	}
}

func attributes(n *html.Node) map[string]string {
	m := map[string]string{}
	for _, a := range n.Attr {
		m[a.Key] = a.Val
	}
	return m
}

func elements(t *testing.T, page string) []*html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var all []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode {
			all = append(all, n)
		}
	}
	return all
}

func TestBodiesForProgramsHardlyAllocate(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{acme()}})
	buf := make([]byte, 0, 4096)
	r := sample(401, "token_expired")
	if n := testing.AllocsPerRun(100, func() { _, _, _ = p.Render(buf, Problem, "en", "panel.example.com", r) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}
