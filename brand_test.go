package gatehouse

import (
	"net/http"
	"strings"
	"testing"
)

const resellers = `
	brand {
		name "Example Hosting"
	}
	brand Panel.Reseller.example *.customers.reseller.example {
		name "Reseller One"
		support mailto:one@example.com
	}
	brand xn--bcher-kva.example {
		name "Bücher"
	}
	brand *.reseller.example {
		name "Reseller Two"
	}
	require /admin/* role admin`

// A reseller's customers see the reseller, however their client writes the
// host's name; whoever comes by another name sees the default, and nobody sees
// the name they sent.
func TestBrandOfTheHost(t *testing.T) {
	s := newSite(t, resellers)
	token := s.token(t, nil)
	for host, want := range map[string]string{
		"panel.reseller.example":             "Reseller One",
		"PANEL.Reseller.EXAMPLE":             "Reseller One",
		"panel.reseller.example:8443":        "Reseller One",
		"panel.reseller.example.":            "Reseller One",
		"panel.reseller.example.:443":        "Reseller One",
		"a.customers.reseller.example":       "Reseller One",
		"a.b.customers.reseller.example":     "Reseller One",
		"customers.reseller.example":         "Reseller Two",
		"shop.reseller.example":              "Reseller Two",
		"xn--bcher-kva.example":              "Bücher",
		"XN--BCHER-KVA.example:443":          "Bücher",
		"bücher.example":                     "", // which the server itself answers with 400
		"reseller.example":                   "Example Hosting",
		"notreseller.example":                "Example Hosting",
		"panel.reseller.example.evil.test":   "Example Hosting",
		"panel.reseller.example@evil.test":   "", // which the server itself answers with 400
		"evil.test#panel.reseller.example":   "", // which the server itself answers with 400
		"evil.test/panel.reseller.example":   "", // which the server itself answers with 400
		"evil.test":                          "Example Hosting",
		"evil.test:80":                       "Example Hosting",
		"[2001:db8::1]:443":                  "Example Hosting",
		"192.0.2.80":                         "Example Hosting",
		"":                                   "", // which the server itself answers with 400
		".":                                  "", // which the server itself answers with 400
		strings.Repeat("evil.", 60) + "test": "Example Hosting",
	} {
		for _, target := range []string{"/", "/admin/x"} {
			for kind, header := range bodyKinds() {
				a := ask{target: target, header: header.Clone(), change: func(r *http.Request) { r.Host = host }}
				if target == "/admin/x" {
					a.token = token
				}
				// What else claims to be the host is not asked.
				a.header["X-Forwarded-Host"], a.header["Forwarded"], a.header["X-Host"] = []string{"evil.test"}, []string{"host=evil.test"}, []string{"evil.test"}
				w := s.do(a)
				text := onTheWire(w, "")
				if strings.Contains(text, "evil") || strings.Contains(text, "2001:db8") || strings.Contains(text, "192.0.2.80") {
					t.Errorf("%q, %s: the host is told: %s", host, kind, text)
				}
				if want == "" {
					if w.Code != 400 || w.Body.Len() > 0 {
						t.Errorf("%q: %d %s", host, w.Code, w.Body)
					}
					continue
				}
				if kind == "page" && !strings.Contains(w.Body.String(), "<bdi>"+want+"</bdi>") {
					t.Errorf("%q: the page is not %s's", host, want)
				}
				if kind == "json" && strings.Contains(w.Body.String(), "one@example.com") != (want == "Reseller One") {
					t.Errorf("%q: programs are told %s", host, w.Body)
				}
			}
		}
	}
}

// One reseller's name must not be on another one's pages, from whatever memory.
func TestBrandsAreNotMixedUp(t *testing.T) {
	s := newSite(t, resellers)
	hosts := map[string]string{"panel.reseller.example": "Reseller One", "shop.reseller.example": "Reseller Two", "evil.test": "Example Hosting", "xn--bcher-kva.example": "Bücher"}
	for range 3 {
		for host, want := range hosts {
			body := s.do(ask{target: "/", header: browser, change: func(r *http.Request) { r.Host = host }}).Body.String()
			for _, name := range hosts {
				if strings.Contains(body, name) != (name == want) {
					t.Errorf("%s: %q is on the page: %t", host, name, name != want)
				}
			}
		}
	}
}
