package gatehouse

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// panel is an upstream that refuses by itself, in its own way.
func panel(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		switch r.URL.Path {
		case "/bare401":
			h.Set("WWW-Authenticate", `Basic realm="panel"`)
			http.Error(w, "Unauthorized by the panel", http.StatusUnauthorized)
		case "/bare403":
			h.Set("Content-Type", "text/html")
			h.Set("Etag", `"panel"`)
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte("<h1>Forbidden by the panel</h1>"))
		case "/json403":
			h.Set("Content-Type", "application/vnd.panel+json; charset=utf-8")
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"panel":"no"}`))
		case "/slow":
			h.Set("Retry-After", "90")
			http.Error(w, "slow down", http.StatusTooManyRequests)
		case "/broken":
			http.Error(w, "broken", http.StatusInternalServerError)
		default:
			_, _ = w.Write([]byte("panel"))
		}
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// wayIn are the ways by which a panel's own refusals reach the page.
func waysIn(upstream string) map[string]string {
	return map[string]string{
		"intercept": `
			intercept {
				@refused status 401 403 404 429 500
				handle_response @refused {
					gatehouse_page
				}
			}
			reverse_proxy ` + upstream,
		"handle_response": `
			reverse_proxy ` + upstream + ` {
				@refused status 401 403 404 429 500
				handle_response @refused {
					gatehouse_page
					copy_response
				}
			}`,
	}
}

func sitePassing(t *testing.T, routes, after string) *site {
	t.Helper()
	signer := newSigner(t, testIssuer)
	return newSiteFrom(t, signer, `
:80 {
	route {
		gatehouse {
			issuer `+testIssuer+` {
				keys `+signer.keyFile+`
				audience `+testAudience+`
			}
			public *
			brand {
				name "Example Hosting"
				login /login?to={return_to}
				support mailto:help@example.com
			}
		}
		`+routes+`
	}
	`+after+`
}`)
}

// A panel's own refusals look like the gate's, in the visitor's language and with
// the panel's status and challenge; its API's JSON is left alone.
func TestPanelsOwnRefusals(t *testing.T) {
	for way, routes := range waysIn(panel(t)) {
		t.Run(way, func(t *testing.T) {
			s := sitePassing(t, routes, "")
			german := browser.Clone()
			german.Set("Accept-Language", "de-AT,de;q=0.9")

			w := s.do(ask{target: "/bare401", header: german})
			if w.Code != 401 || w.Header().Get("WWW-Authenticate") != `Basic realm="panel"` || w.Header().Get("Content-Language") != "de" {
				t.Errorf("401: %d %v", w.Code, w.Header())
			}
			body := w.Body.String()
			if !strings.Contains(body, "Example Hosting") || !strings.Contains(body, "/login?to=%2Fbare401") || strings.Contains(body, "by the panel") {
				t.Errorf("401 page: %s", body)
			}

			w = s.do(ask{target: "/bare403", header: browser})
			if w.Code != 403 || !strings.Contains(w.Body.String(), "have access to this page") || w.Header().Get("Etag") != "" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("403: %d %v %s", w.Code, w.Header(), w.Body)
			}
			w = s.do(ask{target: "/bare403", header: http.Header{"Accept": {"application/json"}}})
			if w.Header().Get("Content-Type") != "application/json" || !strings.Contains(w.Body.String(), `"code":"status_403"`) {
				t.Errorf("403 for programs: %v %s", w.Header(), w.Body)
			}

			w = s.do(ask{target: "/slow"})
			if w.Code != 429 || w.Header().Get("Retry-After") != "90" || !strings.Contains(w.Body.String(), `"retry_after":90`) {
				t.Errorf("429: %d %v %s", w.Code, w.Header(), w.Body)
			}

			for path, want := range map[string]string{"/json403": `{"panel":"no"}`, "/broken": "broken", "/": "panel"} {
				w = s.do(ask{target: path, header: browser})
				if got := strings.TrimSpace(w.Body.String()); got != want {
					t.Errorf("%s: %d %s", path, w.Code, got)
				}
			}
			w = s.do(ask{method: "HEAD", target: "/bare403", header: browser})
			if w.Code != 403 || w.Body.Len() != 0 {
				t.Errorf("HEAD: %d %q", w.Code, w.Body)
			}
		})
	}
}

// An API's JSON is replaced where the operator asks for it.
func TestPanelsJSONIsReplacedOnDemand(t *testing.T) {
	for way, routes := range waysIn(panel(t)) {
		s := sitePassing(t, strings.Replace(routes, "gatehouse_page", "gatehouse_page 403 {\nreplace_json\n}", 1), "")
		w := s.do(ask{target: "/json403", header: browser})
		if w.Code != 403 || strings.Contains(w.Body.String(), "panel\"") {
			t.Errorf("%s: %d %s", way, w.Code, w.Body)
		}
		if w = s.do(ask{target: "/bare401", header: browser}); !strings.Contains(w.Body.String(), "by the panel") {
			t.Errorf("%s: a status that was not asked for is replaced: %s", way, w.Body)
		}
	}
}

// What intercept holds must not come behind an empty body of ours.
func TestImageThatThePanelRefuses(t *testing.T) {
	s := sitePassing(t, waysIn(panel(t))["intercept"], "")
	w := s.do(ask{target: "/bare403", header: http.Header{"Sec-Fetch-Dest": {"image"}}})
	if w.Code != 403 || w.Header().Get("Content-Length") == "0" && w.Body.Len() > 0 {
		t.Errorf("%d, Content-Length %q, body %q", w.Code, w.Header().Get("Content-Length"), w.Body)
	}
}

// Errors of other handlers: basic_auth keeps its challenge, a firewall's
// `error 403` and a missing file get a page.
func TestErrorsOfOtherHandlers(t *testing.T) {
	s := sitePassing(t, `
		error /firewall* 403
		basic_auth /basic* {
			ada $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
		}
		error /gone* 404
		error /late* 503
		respond "next"`, "handle_errors {\ngatehouse_page\nrespond \"{err.status_code} plain\"\n}")
	for target, want := range map[string]int{"/firewall": 403, "/basic": 401, "/gone": 404} {
		w := s.do(ask{target: target, header: browser})
		if w.Code != want || !strings.Contains(w.Body.String(), "Example Hosting") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
		if challenge := w.Header().Get("WWW-Authenticate"); (challenge != "") != (want == 401) || want == 401 && !strings.HasPrefix(challenge, "Basic") {
			t.Errorf("%s: challenge %q", target, challenge)
		}
	}
	if w := s.do(ask{target: "/late"}); w.Code != 503 || w.Body.String() != "503 plain" {
		t.Errorf("503: %d %s", w.Code, w.Body)
	}
}

// A site without a gate has the page too, with brands of its own.
func TestPageWithoutAGate(t *testing.T) {
	s := newSiteFrom(t, newSigner(t, testIssuer), `
:80 {
	route /gated/* {
		gatehouse {
			public *
			brand {
				name Gate
			}
		}
		error 403
	}
	error 403
	handle_errors {
		gatehouse_page /own/* {
			brand {
				name Own
			}
		}
		gatehouse_page
	}
}`)
	for target, want := range map[string]string{"/gated/x": ">Gate<", "/own/x": ">Own<"} {
		if w := s.do(ask{target: target, header: browser}); w.Code != 403 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if w := s.do(ask{target: "/bare", header: browser}); w.Code != 403 || strings.Contains(w.Body.String(), "Gate<") {
		t.Errorf("no gate: %d %s", w.Code, w.Body)
	}
}

// Refusals that the gate hands to error routes keep their code; something hidden
// looks like something missing there too.
func TestGatesOwnErrorsOnThePage(t *testing.T) {
	signer := newSigner(t, testIssuer)
	s := newSiteFrom(t, signer, `
:80 {
	root * `+t.TempDir()+`
	gatehouse {
		issuer `+testIssuer+` {
			keys `+signer.keyFile+`
			audience `+testAudience+`
		}
		on_refusal error
		require /admin/* role admin
		hide /internal/*
		brand {
			support https://help.example.com/?from={return_to}
		}
	}
	file_server
	handle_errors {
		gatehouse_page
	}
}`)
	token := s.token(t, nil)
	w := s.do(ask{target: "/admin/x", token: token})
	if w.Code != 403 || !strings.Contains(w.Body.String(), `"code":"role_missing"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = s.do(ask{target: "/x"})
	if w.Code != 401 || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	mask := func(path string) string {
		w := s.do(ask{target: path, token: token, header: browser})
		text := uuidPattern.ReplaceAllString(w.Body.String(), "ID")
		return strings.ReplaceAll(text, strings.ReplaceAll(path, "/", "%2F"), "PATH")
	}
	if hidden, missing := mask("/internal/a"), mask("/nothing/a"); hidden != missing {
		t.Errorf("hidden:\n%s\nmissing:\n%s", hidden, missing)
	}
}

func TestRetryAfterOfOthers(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "90": 90 * time.Second, "-1": 0, "soon": 0, "99999999999999999999": 0, "999999999999": 31 * 24 * time.Hour,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:00:00 GMT": 0,
	} {
		if got := parseRetryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
