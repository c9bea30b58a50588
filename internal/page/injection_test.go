package page

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"text/template"
)

func hostile() []string {
	return []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='x`, `</style><script>x</script>`, `</title><script>x</script>`,
		`{{env "SECRET"}}`, `{{ .Req.Header }}`, `{{{{`, "{\u007b", `}}`, `&lt;script&gt;`, "a\r\nSet-Cookie: x", "\x00", "\u202egnirts", "<!--", "]]>", `\u003cscript\u003e`, "\xff\xfe<script>",
	}
}

// An attacker puts markup, template actions or line breaks into whatever a page
// shows: in the request, in a claim, or by way of a careless operator.
func TestInjectionThroughEverythingThatIsShown(t *testing.T) {
	for _, evil := range hostile() {
		b := acme()
		b.Name, b.Links = clean(evil), []Link{{"x" + clean(evil), "/x"}}
		p := newPages(t, Options{Brands: []Brand{b}})
		for code, status := range map[string]int{"token_invalid": 401, "role_missing": 403, "keys_unavailable": 503, "address_denied": 403} {
			r := sample(status, code)
			r.RequestID, r.ReturnTo, r.Error, r.ErrorDescription = evil, "/"+evil, evil, evil
			r.Params = map[string]string{"roles": evil, "address": evil}
			for _, message := range []string{"", evil} {
				r.Message = message
				checkInert(t, p, r)
			}
		}
	}
}

func checkInert(t *testing.T, p *Pages, r Refusal) {
	t.Helper()
	for _, body := range []Body{HTML, Problem, Text, Upgrade} {
		s, csp := render(t, p, body, r)
		if strings.Contains(s, "{{") || strings.ContainsAny(s, "\r\x00") || strings.Contains(s, "\u202e") {
			t.Errorf("%s: %q", body, s[max(0, len(s)-1200):])
		}
		if tpl, err := template.New("").Parse(s); err != nil {
			t.Errorf("a templates handler fails on %s: %v", body, err)
		} else {
			var out bytes.Buffer
			if err := tpl.Execute(&out, nil); err != nil || out.String() != s {
				t.Errorf("a templates handler changes %s", body)
			}
		}
		switch body {
		case HTML:
			for _, e := range elements(t, s) {
				switch e.Data {
				case "script", "img":
					t.Errorf("an element got in: %s", s)
				case "a":
					if href := attributes(e)["href"]; strings.HasPrefix(strings.ToLower(href), "javascript:") {
						t.Errorf("a link that runs: %s", href)
					}
				}
				for _, a := range e.Attr {
					if strings.HasPrefix(a.Key, "on") {
						t.Errorf("an attribute got in: %s", a.Key)
					}
				}
			}
			if strings.Count(csp, "sha256-") != 1 {
				t.Errorf("policy %s", csp)
			}
		case Problem:
			var m map[string]any
			if err := json.Unmarshal([]byte(s), &m); err != nil {
				t.Errorf("no JSON: %v in %s", err, s)
			}
			if strings.ContainsAny(s[1:len(s)-2], "{}<>") {
				t.Errorf("characters with a meaning elsewhere: %s", s)
			}
		case Upgrade:
			if strings.Count(s, "\n") != 1 {
				t.Errorf("more than one line: %q", s)
			}
		default:
		}
	}
}
