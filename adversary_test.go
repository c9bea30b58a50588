package gatehouse

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// A scanner writes a path so that an upstream would read it in another way, and
// compares: what is hidden must answer as what is missing does, whichever reading
// a rule holds.
func TestHiddenLooksUnlistedInEveryReading(t *testing.T) {
	s := newSite(t, `
		hide /vault/plans.txt
		require /vault/* role admin
		public /open/* /x;y/open/*
		hide /open/plans.txt
		deny /denied/*
		hide /denied/plans.txt`)
	visitor := s.token(t, nil)
	for _, folder := range []string{"/vault;x/", "//elsewhere/vault/", "/vault/;x/", "/open;x/", "//elsewhere/open/", "/denied;x/"} {
		for who, token := range map[string]string{"anonymous": "", "recognised": visitor} {
			hidden := s.do(ask{target: folder + "plans.txt", token: token})
			missing := s.do(ask{target: folder + "absent.txt", token: token})
			if missing.Header().Get(reachedHeader) != "" && hidden.Code == http.StatusNotFound {
				continue // the site's own answer, which the test site has for every path
			}
			if hidden.Code != missing.Code {
				t.Errorf("%s, %s: hidden is %d, missing is %d", folder, who, hidden.Code, missing.Code)
			}
		}
	}
}

// A matcher of the operator's reads the request's body. However many readings of
// the request it is asked about, each sees the whole body, and so does the next
// handler.
func TestMatcherThatReadsTheBody(t *testing.T) {
	const body = "drop everything"
	for name, options := range map[string]string{
		"enforced": `
			require DELETE {
				match {
					expression {http.request.body}.contains('nothing')
				}
				role admin
			}
			require DELETE /x {
				match {
					expression {http.request.body}.contains('drop')
				}
				role admin
			}`,
		"observed": `require @drop {
				role admin
				observe
			}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, options,
				"@drop expression {http.request.body}.contains('drop')")
			var seen string
			s.spy(func(r *http.Request) {
				data, _ := io.ReadAll(r.Body)
				seen = string(data)
			})
			send := func(method, target, override string) verdict {
				return verdictOf(t, s.do(ask{method: method, target: target, token: s.token(t, nil), change: func(r *http.Request) {
					r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
					if override != "" {
						r.Header.Set("X-HTTP-Method-Override", override)
					}
				}}))
			}
			if got := send("POST", "/y", ""); got != pass() || seen != body {
				t.Errorf("the next handler: %v, body %q", got, seen)
			}
			if name == "enforced" {
				// One rule has read the body of another reading by then.
				if got := send("POST", "/x;p", "DELETE"); got != refusedWith(403, codeRoleMissing) {
					t.Errorf("a rule on the body of the last reading: %v", got)
				}
			}
			seen = ""
			if got := send("POST", "/z;p/y", "PATCH"); got != pass() || seen != body {
				t.Errorf("the next handler, of many readings: %v, body %q", got, seen)
			}
		})
	}
}

// A value that an expression takes from the request is no configuration: what it
// names is not looked up.
func TestExpressionDoesNotResolveWhatTheClientSends(t *testing.T) {
	t.Setenv("GATEHOUSE_TEST_ROLE", "reseller")
	s := matcherSite(t, "@m expression gatehouse('role', {http.request.header.X-Role})", "")
	w := s.do(ask{target: "/x", token: s.token(t, claims{"roles": "reseller"}), header: http.Header{"X-Role": {"{env.GATEHOUSE_TEST_ROLE}"}}})
	if w.Body.String() == "matched" {
		t.Error("the client's placeholder was resolved")
	}
	w = s.do(ask{target: "/x", token: s.token(t, claims{"roles": "reseller"}), header: http.Header{"X-Role": {"reseller"}}})
	if w.Body.String() != "matched" {
		t.Errorf("plain text: %d %s", w.Code, w.Body)
	}
}

// A generated configuration names nothing where it means nothing. An empty list
// must not load as the default, which is everything.
func TestEmptyListIsNotEverything(t *testing.T) {
	for text, want := range map[string]string{
		`"issuers": [{"internal": true, "audiences": ["a"], "grants": []}]`:                                "empty list of grants",
		`"issuers": [{"internal": true, "audiences": ["a"], "algorithms": []}]`:                            "empty list of algorithms",
		`"issuers": [{"internal": true, "audiences": ["a"], "types": []}]`:                                 "empty list of types",
		`"issuers": [{"issuer": "https://a.example", "audiences": ["a"], "keys": []}]`:                     "empty list of keys",
		`"public": [{"methods": [], "paths": ["/x"]}]`:                                                     "empty list of methods",
		`"public": [{"paths": [], "matchers": [{"path": ["/x"]}]}]`:                                        "empty list of paths",
		`"public": [{"paths": ["/x"], "matchers": []}]`:                                                    "empty list of matchers",
		`"public": [{"paths": ["/x"]}], "require": [{"paths": [], "conditions": [{"ip": ["192.0.2.1"]}]}]`: "empty list of paths",
	} {
		g := new(Gatehouse)
		if err := caddy.StrictUnmarshalJSON([]byte("{"+text+"}"), g); err != nil {
			t.Fatal(err)
		}
		if err := g.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// An empty matcher of Caddy's matches everything, or nothing: a public of the one
// opens the site, a deny of the other never applies.
func TestEmptyMatcherOpensNothing(t *testing.T) {
	for _, name := range []string{"header", "header_regexp", "query", "vars", "vars_regexp", "path_regexp", "remote_ip", "client_ip"} {
		for _, option := range []string{"public", "deny"} {
			g := new(Gatehouse)
			text := `{"issuers": [{"internal": true, "audiences": ["a"]}], "` + option + `": [{"matchers": [{"` + name + `": {}}]}]}`
			if err := caddy.StrictUnmarshalJSON([]byte(text), g); err != nil {
				t.Fatal(err)
			}
			if err := g.check(); err == nil || !strings.Contains(err.Error(), "matcher "+name+" has nothing in it") {
				t.Errorf("%s %s: %v", option, name, err)
			}
		}
	}
}

// Metadata over plain http could be changed on its way, and would send clients to
// an attacker's sign-in.
func TestMetadataOverPlainHTTP(t *testing.T) {
	for place, good := range map[string]bool{
		"https://panel.example.com/m": true, "http://localhost:8080/m": true, "http://127.0.0.1/m": true, "http://[::1]:1/m": true,
		"http://panel.example.com/m": false, "http://127.0.0.1.example.com/m": false, "http://192.0.2.1/m": false,
	} {
		if err := (&Challenge{ResourceMetadata: place}).check(); (err == nil) != good {
			t.Errorf("%s: %v", place, err)
		}
	}
}

// An algorithm that the built-in issuer's key cannot do would refuse every token
// of it, and name the token as the reason.
func TestInternalIssuerWithAnotherAlgorithm(t *testing.T) {
	for alg, good := range map[string]bool{"EdDSA": true, "Ed25519": true, "RS256": false, "ES256": false, "HS256": false} {
		is := &Issuer{Internal: true, Audiences: []string{"a"}, Algorithms: []string{alg}}
		if err := is.check(false); (err == nil) != good {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

// A scheme beside a query parameter or a WebSocket would not be looked at.
func TestSchemeWhereThereIsNone(t *testing.T) {
	for _, s := range []TokenSource{{From: fromQuery, Name: "t", Scheme: "Bearer"}, {From: fromCookie, Name: "t", Scheme: "Bearer"}, {From: fromWebSocket, Scheme: "Bearer"}} {
		if err := s.check(); err == nil || !strings.Contains(err.Error(), "scheme") {
			t.Errorf("%s: %v", s.From, err)
		}
	}
}
