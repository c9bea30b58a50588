package gatehouse

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// intercept around the gate sees the gate's own refusals too. They are told
// already, by their own code and with what helps.
func TestInterceptLeavesTheGatesOwnRefusals(t *testing.T) {
	signer := newSigner(t, testIssuer)
	s := newSiteFrom(t, signer, `
:80 {
	route {
		intercept {
			@refused status 401 403 404 429
			handle_response @refused {
				gatehouse_page {
					replace_json
				}
			}
		}
		gatehouse {
			issuer `+testIssuer+` {
				keys `+signer.keyFile+`
				audience `+testAudience+`
			}
			require /admin/* {
				role admin
				message "Ask Eve."
			}
			hide /internal/*
		}
		respond /bare* "Forbidden by the panel" 403
		error 404
	}
	handle_errors {
		gatehouse_page
	}
}`)
	token := s.token(t, nil)
	for _, c := range []struct {
		name   string
		ask    ask
		status int
		says   string
	}{
		{"expired", ask{target: "/", token: s.token(t, claims{"exp": 1})}, 401, "Your session has ended"},
		{"not allowed", ask{target: "/admin/x", token: token}, 403, "Ask Eve."},
		{"the panel's own", ask{target: "/bare", token: token}, 403, "have access to this page"},
		{"hidden", ask{target: "/internal/x", token: token}, 404, "could not be found"},
		{"missing", ask{target: "/nothing/x", token: token}, 404, "could not be found"},
	} {
		c.ask.header = browser
		w := s.do(c.ask)
		body := w.Body.String()
		if w.Code != c.status || !strings.Contains(body, c.says) || strings.Count(body, "<!doctype") != 1 || strings.Contains(body, "by the panel") {
			t.Errorf("%s: %d, %d documents, says %q: %t", c.name, w.Code, strings.Count(body, "<!doctype"), c.says, strings.Contains(body, c.says))
		}
	}
	w := s.do(ask{target: "/admin/x", token: token})
	if w.Code != 403 || !strings.Contains(w.Body.String(), `"code":"role_missing"`) || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("a program: %d %v %s", w.Code, w.Header(), w.Body)
	}
}

// What the panel, or a line for its good answers, says about other bytes, about
// where to go next or to caches must not come with our page.
func TestHeadersForOtherBytesAreRemoved(t *testing.T) {
	foreign := http.Header{
		"Etag": {`"x"`}, "Last-Modified": {"Fri, 02 Jan 2026 03:05:05 GMT"}, "Expires": {"Fri, 02 Jan 2099 03:05:05 GMT"}, "Age": {"7"}, "Pragma": {"cache"},
		"Content-Encoding": {"br"}, "Content-Range": {"bytes 0-1/2"}, "Content-Disposition": {"attachment"}, "Accept-Ranges": {"bytes"},
		"Digest": {"x"}, "Content-Digest": {"x"}, "Repr-Digest": {"x"}, "Content-Md5": {"x"},
		"Location": {"https://evil.example"}, "Refresh": {"0;url=https://evil.example"}, "Link": {"</style.css>; rel=preload"},
		"Cdn-Cache-Control": {"max-age=3600"}, "Cloudflare-Cdn-Cache-Control": {"max-age=3600"}, "X-Litespeed-Cache-Control": {"public,max-age=3600"},
		"Surrogate-Control": {"max-age=3600"}, "Edge-Control": {"max-age=3600"}, "X-Accel-Expires": {"3600"},
		"Content-Security-Policy-Report-Only": {"default-src 'self'; report-uri /csp"},
	}
	var lines strings.Builder
	for name, values := range foreign {
		lines.WriteString("header " + name + " `" + values[0] + "`\n")
	}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range foreign {
			w.Header()[name] = values
		}
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("panel"))
	}))
	t.Cleanup(upstream.Close)
	gated := newSite(t, "", lines.String())
	check := func(name string, w *httptest.ResponseRecorder) {
		t.Helper()
		for field := range foreign {
			if got := w.Header().Get(field); got != "" {
				t.Errorf("%s: %s is %q", name, field, got)
			}
		}
		if got := strings.Join(w.Header()["Cache-Control"], ", "); got != "no-store" {
			t.Errorf("%s: Cache-Control is %q", name, got)
		}
	}
	check("the gate", gated.do(ask{target: "/", header: browser}))
	for way, routes := range waysIn(upstream.Listener.Addr().String()) {
		s := sitePassing(t, routes, "")
		for _, header := range []http.Header{browser, {"Accept": {"application/json"}}, {"Accept": {"text/plain"}}} {
			check(way, s.do(ask{target: "/", header: header}))
		}
	}
}

// The gate that has seen the request last lends its pages, and another site's
// gate never.
func TestPagesOfTheLastGate(t *testing.T) {
	gate := func(name string) string { return "gatehouse {\npublic *\nbrand {\nname " + name + "\n}\n}\n" }
	s := newSiteFrom(t, newSigner(t, testIssuer), ":80 {\nroute {\n"+gate("First")+"route /inner/* {\n"+gate("Second")+"}\nerror 403\n}\nhandle_errors {\ngatehouse_page\n}\n}")
	for target, want := range map[string]string{"/inner/x": ">Second<", "/x": ">First<"} {
		if body := s.do(ask{target: target, header: browser}).Body.String(); !strings.Contains(body, want) {
			t.Errorf("%s: %s", target, body)
		}
	}
}

// A handler that fails in the middle of its answer has sent its status; the page
// must neither change that nor bring the server down.
func TestPageAfterHalfAnAnswer(t *testing.T) {
	s := sitePassing(t, "gatehouse_test_half", "handle_errors {\ngatehouse_page\n}")
	w := s.do(ask{target: "/", header: browser})
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), "half") {
		t.Errorf("got %d %.40q", w.Code, w.Body)
	}
	if got := w.Result().Header.Get("Content-Type"); got != "text/csv" {
		t.Errorf("the type sent is %q", got)
	}
}

// Programs and HEAD get what suits them from the page as well, and every status
// keeps its number.
func TestBodiesOfThePage(t *testing.T) {
	s := sitePassing(t, "error /401 401\nerror /403 403\nerror /404 404\nerror /429 429", "handle_errors {\ngatehouse_page\n}")
	for _, status := range []string{"401", "403", "404", "429"} {
		for kind, header := range map[string]http.Header{
			"text/html; charset=utf-8": browser, "application/problem+json": nil, "application/json": {"Accept": {"application/json"}},
			"text/plain; charset=utf-8": {"Accept": {"text/plain"}}, "": {"Sec-Fetch-Dest": {"style"}},
		} {
			a := ask{target: "/" + status, header: header}
			w := s.do(a)
			if got := w.Header().Get("Content-Type"); got != kind || w.Result().Status[:3] != status || (w.Body.Len() == 0) != (kind == "") {
				t.Errorf("%s as %q: %d %q, %d bytes", status, kind, w.Code, got, w.Body.Len())
			}
			assertSameForHead(t, s, a, w.Header())
			if kind == "application/json" && !strings.Contains(w.Body.String(), `"status":`+status+`,`) {
				t.Errorf("%s: %s", status, w.Body)
			}
		}
	}
	if w := s.do(ask{method: "POST", target: "/403", header: http.Header{"Content-Type": {"application/grpc"}}}); w.Code != 403 || w.Body.Len() != 0 {
		t.Errorf("gRPC, whose status is another: %d %s", w.Code, w.Body)
	}
}

// halfHandler sends the beginning of an answer, and fails.
type halfHandler struct{}

func (halfHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.gatehouse_test_half", New: func() caddy.Module { return new(halfHandler) }}
}

func (halfHandler) ServeHTTP(w http.ResponseWriter, _ *http.Request, _ caddyhttp.Handler) error {
	w.Header().Set("Content-Type", "text/csv")
	_, _ = w.Write([]byte("half"))
	return caddyhttp.Error(http.StatusForbidden, errors.New("half way"))
}

func init() {
	caddy.RegisterModule(halfHandler{})
	httpcaddyfile.RegisterHandlerDirective("gatehouse_test_half", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(halfHandler), nil
	})
}
