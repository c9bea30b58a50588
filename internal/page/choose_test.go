package page

import (
	"net/http"
	"strings"
	"testing"
)

const (
	chromeAccept  = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
	firefoxAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	jqueryJSON    = "application/json, text/javascript, */*; q=0.01"
	axiosAccept   = "application/json, text/plain, */*"
	javaAccept    = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"
)

type negotiation struct {
	name    string
	headers string // "Name: value" lines
	upgrade bool
	format  Format
	want    Body
}

func negotiations() []negotiation {
	return []negotiation{
		{name: "Chrome navigates", headers: "Accept: " + chromeAccept + "\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", want: HTML},
		{name: "Chrome navigates on plain http", headers: "Accept: " + chromeAccept, want: HTML},
		{name: "Firefox navigates", headers: "Accept: " + firefoxAccept, want: HTML},
		{name: "Safari navigates", headers: "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\nSec-Fetch-Mode: navigate", want: HTML},
		{name: "a form is posted", headers: "Accept: " + chromeAccept + "\nSec-Fetch-Mode: navigate\nContent-Type: application/x-www-form-urlencoded", want: HTML},
		{name: "an iframe loads", headers: "Accept: " + chromeAccept + "\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe", want: HTML},
		{name: "an object element loads", headers: "Accept: */*\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: object", want: HTML},
		{name: "a download link with a bare Accept", headers: "Accept: */*\nSec-Fetch-Mode: navigate", want: HTML},
		{name: "Lynx", headers: "Accept: text/html, text/plain, text/sgml, text/css, application/xhtml+xml, */*;q=0.01", want: HTML},
		{name: "w3m", headers: "Accept: text/html, text/*;q=0.5, image/*", want: HTML},
		{name: "an Android WebView names its app", headers: "Accept: " + chromeAccept + "\nX-Requested-With: com.example.app", want: HTML},
		{name: "Internet Explorer reloads", headers: "Accept: */*", want: Problem},

		{name: "an image", headers: "Accept: image/avif,image/webp,*/*;q=0.8\nSec-Fetch-Mode: no-cors\nSec-Fetch-Dest: image", want: Empty},
		{name: "a style sheet", headers: "Accept: text/css,*/*;q=0.1\nSec-Fetch-Dest: style", want: Empty},
		{name: "a script", headers: "Accept: */*\nSec-Fetch-Dest: script", want: Empty},
		{name: "a font", headers: "Accept: */*\nSec-Fetch-Dest: font", want: Empty},
		{name: "audio", headers: "Accept: */*\nSec-Fetch-Dest: audio", want: Empty},
		{name: "video", headers: "Accept: */*\nSec-Fetch-Dest: video", want: Empty},
		{name: "a subtitle track", headers: "Accept: */*\nSec-Fetch-Dest: track", want: Empty},
		{name: "a worker", headers: "Accept: */*\nSec-Fetch-Dest: worker", want: Empty},
		{name: "a service worker", headers: "Accept: */*\nSec-Fetch-Dest: serviceworker", want: Empty},
		{name: "an image asks for html too", headers: "Accept: text/html\nSec-Fetch-Dest: image", want: Empty},
		{name: "an image without fetch metadata", headers: "Accept: image/avif,image/webp,*/*;q=0.8", want: Problem},
		{name: "a manifest", headers: "Accept: */*\nSec-Fetch-Dest: manifest", want: Problem},
		{name: "fetch() in Chrome", headers: "Accept: */*\nSec-Fetch-Mode: cors\nSec-Fetch-Dest: empty", want: Problem},
		{name: "EventSource", headers: "Accept: text/event-stream\nSec-Fetch-Mode: cors\nSec-Fetch-Dest: empty", want: Problem},

		{name: "curl", headers: "Accept: */*", want: Problem},
		{name: "wget", headers: "Accept: */*\nAccept-Encoding: identity", want: Problem},
		{name: "Go says nothing", headers: "User-Agent: Go-http-client/2.0", want: Problem},
		{name: "python requests", headers: "Accept: */*\nAccept-Encoding: gzip", want: Problem},
		{name: "axios", headers: "Accept: " + axiosAccept, want: Problem},
		{name: "Angular", headers: "Accept: application/json, text/plain, */*", want: Problem},
		{name: "Java's URLConnection", headers: "Accept: " + javaAccept, want: HTML},
		{name: "Java asks for JSON", headers: "Accept: application/json", want: JSON},
		{name: "jQuery for JSON", headers: "Accept: " + jqueryJSON + "\nX-Requested-With: XMLHttpRequest", want: JSON},
		{name: "jQuery for html", headers: "Accept: text/html, */*; q=0.01\nX-Requested-With: XMLHttpRequest", want: HTML},
		{name: "jQuery for anything", headers: "Accept: */*\nX-Requested-With: XMLHttpRequest", want: Problem},
		{name: "jQuery with equal weights", headers: "Accept: text/html, application/json\nX-Requested-With: XMLHttpRequest", want: JSON},
		{name: "jQuery with html before a wildcard of equal weight", headers: "Accept: text/html, */*\nX-Requested-With: XMLHttpRequest", want: Problem},
		{name: "htmx", headers: "Accept: */*\nHx-Request: true", want: Problem},
		{name: "htmx asking for html", headers: "Accept: text/html\nHx-Request: true", want: HTML},
		{name: "htmx boosts a navigation", headers: "Accept: text/html, application/xhtml+xml\nHx-Request: true\nHx-Boosted: true", want: HTML},
		{name: "Turbo", headers: "Accept: text/vnd.turbo-stream.html, text/html, application/xhtml+xml", want: HTML},

		{name: "only problem+json", headers: "Accept: application/problem+json", want: Problem},
		{name: "only json", headers: "Accept: application/json", want: JSON},
		{name: "json with a charset", headers: "Accept: application/json; charset=utf-8", want: JSON},
		{name: "both JSON types", headers: "Accept: application/json, application/problem+json", want: Problem},
		{name: "json above problem", headers: "Accept: application/json, application/problem+json;q=0.5", want: JSON},
		{name: "json and a weaker wildcard", headers: "Accept: application/json, */*;q=0.5", want: JSON},
		{name: "problem refused", headers: "Accept: application/problem+json;q=0, */*", want: JSON},
		{name: "any application type", headers: "Accept: application/*", want: Problem},
		{name: "a vendor type", headers: "Accept: application/vnd.api+json", want: Problem},
		{name: "plain text", headers: "Accept: text/plain", want: Text},
		{name: "any text", headers: "Accept: text/*", want: Text},
		{name: "text above json", headers: "Accept: text/plain, application/json;q=0.9", want: Text},
		{name: "text and json alike", headers: "Accept: text/plain, application/json", want: JSON},
		{name: "text above html", headers: "Accept: text/plain, text/html;q=0.5", want: Text},
		{name: "html and text alike", headers: "Accept: text/plain, text/html", want: HTML},
		{name: "all JSON refused", headers: "Accept: application/*;q=0, */*", want: Text},

		{name: "html wins a tie with json", headers: "Accept: application/json, text/html", want: HTML},
		{name: "json above html", headers: "Accept: application/json, text/html;q=0.9", want: JSON},
		{name: "html above json", headers: "Accept: application/json;q=0.8, text/html;q=0.9", want: HTML},
		{name: "a wildcard above html", headers: "Accept: text/html;q=0.5, */*", want: Problem},
		{name: "only xhtml", headers: "Accept: application/xhtml+xml", want: HTML},
		{name: "html refused though xhtml is not", headers: "Accept: text/html;q=0, application/xhtml+xml", want: Problem},
		{name: "html refused", headers: "Accept: text/html;q=0, */*", want: Problem},
		{name: "html refused with three zeros", headers: "Accept: text/html;q=0.000", want: Problem},
		{name: "a barely wanted page", headers: "Accept: text/html;q=0.001", want: HTML},
		{name: "everything refused", headers: "Accept: */*;q=0", want: Problem},
		{name: "text wildcard is no explicit html", headers: "Accept: text/*, application/json;q=0.1", want: Text},
		{name: "the more specific range rules", headers: "Accept: */*, application/json;q=0.1, application/problem+json;q=0.1, text/plain;q=0.2", want: Text},
		{name: "several Accept lines", headers: "Accept: application/json;q=0.5\nAccept: text/html", want: HTML},
		{name: "upper case", headers: "Accept: TEXT/HTML;Q=1", want: HTML},
		{name: "white space everywhere", headers: "Accept:  text/html \t; q = 0.9 ,\tapplication/json;q=0.1 ", want: HTML},

		{name: "an empty Accept", headers: "Accept: ", want: Problem},
		{name: "commas only", headers: "Accept: ,,,,", want: Problem},
		{name: "junk before html", headers: "Accept: ;;;, /, foo, text/html", want: HTML},
		{name: "a weight that is none", headers: "Accept: text/html;q=high, application/json;q=0.1", want: JSON},
		{name: "a weight above one", headers: "Accept: text/html;q=1.5, application/json;q=0.1", want: JSON},
		{name: "a negative weight", headers: "Accept: text/html;q=-1, application/json;q=0.1", want: JSON},
		{name: "html within quotes", headers: `Accept: application/json;x="a, text/html"`, want: JSON},
		{name: "a weight within quotes", headers: `Accept: text/html;x=";q=0"`, want: HTML},
		{name: "an escaped quote", headers: `Accept: application/json;x="\", text/html"`, want: JSON},
		{name: "an open quote hides the rest", headers: `Accept: application/json;x=", text/html`, want: JSON},
		{name: "html after 32 ranges", headers: "Accept: " + strings.Repeat("a/b,", 32) + "text/html", want: Problem},
		{name: "html as range 32", headers: "Accept: " + strings.Repeat("a/b,", 31) + "text/html", want: HTML},
		{name: "html after 1 KiB", headers: "Accept: " + strings.Repeat("x", 1023) + ",text/html", want: Problem},
		{name: "html cut in two at 1 KiB", headers: "Accept: " + strings.Repeat("x", 1012) + ",text/html;q=0", want: Problem},
		{name: "html after 1 KiB over two lines", headers: "Accept: " + strings.Repeat("x", 1020) + "\nAccept: text/html", want: Problem},

		{name: "gRPC", headers: "Content-Type: application/grpc\nAccept: text/html", want: GRPC},
		{name: "gRPC with protobuf", headers: "Content-Type: application/grpc+proto", want: GRPC},
		{name: "gRPC-Web", headers: "Content-Type: application/grpc-web+proto\nAccept: */*\nX-Requested-With: x", want: GRPC},
		{name: "gRPC-Web as text", headers: "Content-Type: application/grpc-web-text", want: GRPC},
		{name: "gRPC in upper case", headers: "Content-Type: Application/GRPC; x=y", want: GRPC},
		{name: "gRPC goes before format", headers: "Content-Type: application/grpc", format: FormatHTML, want: GRPC},
		{name: "something that starts like gRPC", headers: "Content-Type: application/grpcx", want: Problem},
		{name: "a WebSocket", headers: "Sec-Fetch-Mode: websocket\nAccept: text/html", upgrade: true, want: Upgrade},
		{name: "a WebSocket goes before format", upgrade: true, format: FormatHTML, want: Upgrade},
		{name: "format html", headers: "Accept: application/json", format: FormatHTML, want: HTML},
		{name: "format problem", headers: "Accept: text/html\nSec-Fetch-Mode: navigate", format: FormatProblem, want: Problem},
		{name: "format json", headers: "Accept: text/html", format: FormatJSON, want: JSON},
		{name: "format text", headers: "Sec-Fetch-Dest: image", format: FormatText, want: Text},
	}
}

func headerOf(lines string) http.Header {
	h := http.Header{}
	for line := range strings.SplitSeq(lines, "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			h.Add(name, strings.TrimPrefix(value, " "))
		}
	}
	return h
}

func TestChoose(t *testing.T) {
	for _, n := range negotiations() {
		t.Run(n.name, func(t *testing.T) {
			if got := Choose(headerOf(n.headers), n.upgrade, n.format); got != n.want {
				t.Errorf("got %s, want %s", got, n.want)
			}
		})
	}
}

func TestChooseDoesNotAllocate(t *testing.T) {
	for _, accept := range []string{"", "*/*", chromeAccept, firefoxAccept, jqueryJSON, axiosAccept, javaAccept, "application/json"} {
		h := headerOf("Accept: " + accept + "\nContent-Type: application/json")
		if n := testing.AllocsPerRun(100, func() { Choose(h, false, Auto) }); n != 0 {
			t.Errorf("%q: %v allocations", accept, n)
		}
	}
}

func TestContentTypes(t *testing.T) {
	want := map[Body]string{
		Problem: "application/problem+json", JSON: "application/json", HTML: "text/html; charset=utf-8", Text: "text/plain; charset=utf-8",
		Empty: "", GRPC: "application/grpc", Upgrade: "text/plain; charset=utf-8", Body(99): "application/problem+json",
	}
	for b, s := range want {
		if got := b.ContentType(); got != s {
			t.Errorf("%s: %q", b, got)
		}
	}
}

func TestGRPC(t *testing.T) {
	for status, want := range map[int]int{400: 3, 401: 16, 403: 7, 404: 5, 425: 14, 429: 8, 500: 13, 503: 14, 0: 13, 200: 13, 302: 13} {
		if got := GRPCStatus(status, false); got != want {
			t.Errorf("%d: got %d, want %d", status, got, want)
		}
		if got := GRPCStatus(status, true); got != 5 {
			t.Errorf("hidden %d: got %d", status, got)
		}
	}
	if got := GRPCMessage("100% “ok”\r\n"); got != "100%25 %E2%80%9Cok%E2%80%9D%0D%0A" {
		t.Errorf("message %q", got)
	}
}

func FuzzChoose(f *testing.F) {
	for _, n := range negotiations() {
		h := headerOf(n.headers)
		f.Add(h.Get("Accept"), h.Get("Content-Type"), h.Get("Sec-Fetch-Mode"), n.upgrade)
	}
	f.Fuzz(func(t *testing.T, accept, contentType, mode string, upgrade bool) {
		h := http.Header{"Accept": {accept}, "Content-Type": {contentType}, "Sec-Fetch-Mode": {mode}}
		b := Choose(h, upgrade, Auto)
		if b > Upgrade {
			t.Fatalf("no such body: %d", b)
		}
		lower := strings.ToLower(accept)
		if b == HTML && mode != "navigate" && !strings.Contains(lower, "text/html") && !strings.Contains(lower, "application/xhtml+xml") {
			t.Fatalf("a page for %q, which did not name one", accept)
		}
	})
}
