package page

import (
	"bytes"
	"image"
	"image/png"
	"strings"
	"testing"
)

func TestBrandByHost(t *testing.T) {
	all, _, err := newPages(t, Options{}).library.newBrands(Options{Brands: []Brand{
		{Name: "default"},
		{Name: "exact", Hosts: []string{"Panel.Example.com", "2001:db8::1"}},
		{Name: "wide", Hosts: []string{"*.example.com"}},
		{Name: "narrow", Hosts: []string{"*.eu.example.com", "localhost"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"panel.example.com":         "exact",
		"PANEL.example.COM":         "exact",
		"panel.example.com:8443":    "exact",
		"panel.example.com.":        "exact",
		"panel.example.com.:443":    "exact",
		"[2001:db8::1]:443":         "exact",
		"[2001:db8::1]":             "exact",
		"2001:db8::1":               "exact",
		"other.example.com":         "wide",
		"a.b.example.com":           "wide",
		"x.panel.example.com":       "wide",
		"a.eu.example.com":          "narrow",
		"eu.example.com":            "wide",
		"localhost:8080":            "narrow",
		"example.com":               "default",
		"badexample.com":            "default",
		"panel.example.com.evil.io": "default",
		"":                          "default",
		":80":                       "default",
		"[":                         "default",
		"...":                       "default",
		strings.Repeat("a.", 200):   "default",
	} {
		if got := all.find(host).name; got != want {
			t.Errorf("%q: got %s, want %s", host, got, want)
		}
	}
}

// An attacker points their own name at the server, or sends a Host header by
// hand, and would like the page to show it.
func TestUnknownHostIsNeverEchoed(t *testing.T) {
	p := newPages(t, Options{Brands: []Brand{{Hosts: []string{"*.example.com"}, Name: "Known"}}, Realm: "Panel"})
	for _, host := range []string{"evil.test", "evil.test<script>", "x.evil.test:80", "evil.test\r\nX: y"} {
		for _, b := range []Body{HTML, Problem, Text, Upgrade} {
			out, csp, _ := p.Render(nil, b, "en", host, sample(401, "credentials_missing"))
			if strings.Contains(string(out)+csp, "evil") {
				t.Errorf("%s shows the host %q", b, host)
			}
			if b == HTML && !strings.Contains(string(out), "<bdi>Panel</bdi>") {
				t.Error("the realm is the name where a brand has none")
			}
		}
	}
}

func TestParseColor(t *testing.T) {
	for in, want := range map[string]string{"0b57d0": "#0b57d0", "#0B57D0": "#0b57d0", "fc0": "#ffcc00", "#FC0": "#ffcc00"} {
		if got, err := ParseColor(in); got != want || err != nil {
			t.Errorf("%s: %s %v", in, got, err)
		}
	}
	for _, in := range []string{"", "#", "12345", "1234567", "ggg", "red", "##123", "+12345", "-12", "0x1234", "12 345", "1_2345", "#ffff", "url(x)", "éé"} {
		if got, err := ParseColor(in); err == nil {
			t.Errorf("%q gave %s", in, got)
		}
	}
}

func TestEveryColorIsReadable(t *testing.T) {
	lightCardRGB, lightPageRGB, darkCardRGB, darkPageRGB := parseRGB(lightCard), parseRGB(lightPage), parseRGB(darkCard), parseRGB(darkPage)
	n := 0
	for r := 0; r <= 255; r += 15 {
		for g := 0; g <= 255; g += 15 {
			for b := 0; b <= 255; b += 15 {
				n++
				color := rgb{float64(r), float64(g), float64(b)}.String()
				light, dark := palette(color)
				if light.Fill != color {
					t.Fatalf("%s: the fill of a light page is %s", color, light.Fill)
				}
				for _, c := range []struct {
					what string
					a, b rgb
					min  float64
				}{
					{"text on the light button", parseRGB(light.Text), parseRGB(light.Fill), 4.5},
					{"text on the dark button", parseRGB(dark.Text), parseRGB(dark.Fill), 4.5},
					{"edge on the light card", parseRGB(light.Edge), lightCardRGB, 3},
					{"button on the dark card", parseRGB(dark.Fill), darkCardRGB, 3},
					{"link on the light card", parseRGB(light.Link), lightCardRGB, 4.5},
					{"focus ring on the light page", parseRGB(light.Link), lightPageRGB, 3},
					{"link on the dark card", parseRGB(dark.Link), darkCardRGB, 4.5},
					{"link on the dark page", parseRGB(dark.Link), darkPageRGB, 4.5},
					{"text on the light tint", parseRGB("#14181f"), parseRGB(light.Soft), 4.5},
					{"text on the dark tint", parseRGB("#eef1f5"), parseRGB(dark.Soft), 4.5},
				} {
					if got := contrast(c.a, c.b); got < c.min {
						t.Errorf("%s: %s has %.2f", color, c.what, got)
					}
				}
			}
		}
	}
	if n < 5000 {
		t.Errorf("only %d colours", n)
	}
	if light, _ := palette("#ffcc00"); light.Text == "#ffffff" {
		t.Error("white on yellow")
	}
}

func TestLoadLogo(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 4, 4))); err != nil {
		t.Fatal(err)
	}
	svg := `<?xml version="1.0"?><!-- x --><svg xmlns="http://www.w3.org/2000/svg"></svg>`
	webp := "RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"
	for in, want := range map[string]string{b.String(): "data:image/png;base64,", svg: "data:image/svg+xml;base64,", "\ufeff" + svg: "data:image/svg+xml;base64,", webp: "data:image/webp;base64,"} {
		got, err := LoadLogo("x.gif", []byte(in))
		if err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%.20q: %.30s %v", in, got, err)
		}
	}
	for name, c := range map[string]struct{ data, want string }{
		"an empty file":       {"", "the file is empty"},
		"a big file":          {strings.Repeat("x", MaxLogoBytes+1), "24577 bytes; at most 24576"},
		"a JPEG":              {"\xff\xd8\xff\xe0\x00\x10JFIF", "found image/jpeg; expected a png, svg or webp"},
		"a GIF named png":     {"GIF89a\x01\x00", "found image/gif"},
		"a page":              {"<html><script>x</script></html>", "expected a png, svg or webp"},
		"a page with an svg":  {"<html><svg></svg></html>", "expected a png, svg or webp"},
		"a cut-off png":       {b.String()[:12], "damaged png"},
		"a cut-off svg":       {"<svg><g>", "damaged svg"},
		"text":                {"hello", "found text/plain"},
		"RIFF that is a WAVE": {"RIFF\x1a\x00\x00\x00WAVEfmt \x0d\x00\x00\x00", "expected a png"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadLogo("logo.png", []byte(c.data))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "logo.png") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestCheckURL(t *testing.T) {
	for _, c := range []struct{ option, raw string }{
		{"login", "https://login.example.com/a?rd={return_to}&l={lang}&m={max_age}&acr={acr_values}#x"},
		{"login", "http://localhost:3000/login"}, {"login", "/login"}, {"login", "/login?rd={return_to}"}, {"login", "/{lang}/login"},
		{"support", "mailto:help@example.com?subject={request_id}"}, {"request_access", "mailto:a@b.example"}, {"link", "mailto:a@b.example"},
		{"home", "https://example.com"}, {"link", "https://example.com/{lang}/imprint"}, {"login", "https://[2001:db8::1]/x"},
	} {
		if err := CheckURL(c.option, c.raw, URLPlaceholders(c.option)...); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct{ option, raw, want string }{
		{"login", "", "expected https://"}, {"login", "login", "expected https://"}, {"login", "?a=b", "expected https://"},
		{"login", "javascript:alert(1)", "expected https://"}, {"login", "JavaScript:alert(1)", "expected https://"}, {"login", "data:text/html,x", "expected https://"},
		{"login", "vbscript:x", "expected https://"}, {"login", "file:///etc/passwd", "expected https://"}, {"login", "ftp://x.example", "expected https://"},
		{"login", "//evil.example/x", "two slashes"}, {"login", "/\\evil.example", `no '\\'`}, {"login", "https:evil.example", "expected https://"}, {"login", "https:///x", "no host"},
		{"login", "https://:443/x", "no host"}, {"login", "https://user:pw@x.example/", "user name or password"}, {"login", " https://x.example", "percent-encoded"},
		{"login", "https://x.example/\n", "percent-encoded"}, {"login", `https://x.example/"`, "percent-encoded"}, {"login", "mailto:a@b.example", "expected https://"},
		{"support", "mailto:", "without an address"}, {"support", "tel:+123", "or mailto:"},
		{"login", "https://x.example/{retrun_to}", "unknown placeholder {retrun_to}; known here: {return_to}, {lang}"},
		{"login", "https://{lang}.example/", "cannot stand in the scheme or host"}, {"login", "https://x.example{return_to}", "cannot stand in the scheme or host"},
		{"login", "{return_to}", "cannot stand in the scheme or host"}, {"login", "https:{return_to}", "cannot stand"}, {"login", "https://x.example/{", "without a name"}, {"login", "https://x.example/}", `found "}"`},
		{"support", "mailto:{request_id}@x.example", "cannot stand"}, {"login", "https://x.example/{{return_to}}", `found "}" without "{"`},
		{"home", "/{return_to}", "unknown placeholder"}, {"login", "https://x.example/{env.X}", "unknown placeholder"},
	} {
		err := CheckURL(c.option, c.raw, URLPlaceholders(c.option)...)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), c.option+" ") {
			t.Errorf("%s %q: %v, want %s", c.option, c.raw, err, c.want)
		}
	}
}

func TestValuesInURLsStayValues(t *testing.T) {
	u, err := parseURLTemplate("https://x.example/?rd={return_to}&id={request_id}&m={max_age}")
	if err != nil {
		t.Fatal(err)
	}
	got := u.fillWith("en", actual{&Refusal{ReturnTo: "/a?b=c&d=é#\r\n", RequestID: "{{x}}"}, nil})
	if want := "https://x.example/?rd=%2Fa%3Fb%3Dc%26d%3D%C3%A9%23%0D%0A&id=%7B%7Bx%7D%7D&m="; got != want {
		t.Errorf("got %s", got)
	}
}
