package gatehouse

import (
	"net/http"
	"testing"
)

// Each configuration's challenges, to the letter: clients compare them.
func TestChallenges(t *testing.T) {
	const rules = "\nrequire POST /users scope users:write users:read\nrequire /admin/* role admin"
	post := ask{method: "POST", target: "/users"}
	admin := ask{target: "/admin"}
	garbled := ask{target: "/", header: http.Header{"Authorization": {"Bearer"}}}
	for _, c := range []struct {
		name, options string
		ask           ask
		signedIn      bool
		status        int
		challenge     string
	}{
		{"a 403 has no challenge", "", post, true, 403, ""},
		{"off is the default", "challenge {\nforbidden off\n}", post, true, 403, ""},
		{"the missing scopes", "challenge {\nforbidden scope\n}", post, true, 403,
			`Bearer realm="gatehouse", error="insufficient_scope", error_description="The access token lacks a required scope", scope="users:write users:read"`},
		{"a missing role is never told", "challenge {\nforbidden scope\n}", admin, true, 403, ""},
		{"metadata without a credential", "challenge {\nrealm panel\nresource_metadata https://panel.example.com/.well-known/oauth-protected-resource\n}", admin, false, 401,
			`Bearer realm="panel", resource_metadata="https://panel.example.com/.well-known/oauth-protected-resource"`},
		{"metadata beside an error", "challenge {\nresource_metadata https://panel.example.com/m\n}", garbled, false, 401,
			`Bearer realm="gatehouse", error="invalid_token", error_description="The access token is malformed", resource_metadata="https://panel.example.com/m"`},
		{"malformed is 401", "profile default", garbled, false, 401,
			`Bearer realm="gatehouse", error="invalid_token", error_description="The access token is malformed"`},
		{"malformed is 400 in the RFC", "profile rfc", garbled, false, 400,
			`Bearer realm="gatehouse", error="invalid_request", error_description="The access token is malformed"`},
		{"the RFC tells missing scopes", "profile rfc", post, true, 403,
			`Bearer realm="gatehouse", error="insufficient_scope", error_description="The access token lacks a required scope", scope="users:write users:read"`},
		{"a missing role is not told in the RFC either", "profile rfc", admin, true, 403, ""},
		{"quotes in the realm", "challenge {\nrealm `a\"b\\c`\n}", admin, false, 401, `Bearer realm="a\"b\\c"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, c.options+rules)
			if c.signedIn {
				c.ask.token = s.token(t, nil)
			}
			w := s.do(c.ask)
			if got := w.Header().Get("WWW-Authenticate"); w.Code != c.status || got != c.challenge {
				t.Errorf("got %d %s\nwant %d %s", w.Code, got, c.status, c.challenge)
			}
		})
	}
}

// A scope that a header cannot carry is left out of the challenge, and the rule
// holds all the same.
func TestScopeThatIsNoneInAChallenge(t *testing.T) {
	s := newSite(t, "profile rfc\nrequire /x scope `a\"b`")
	w := s.do(ask{target: "/x", token: s.token(t, nil)})
	want := `Bearer realm="gatehouse", error="insufficient_scope", error_description="The access token lacks a required scope"`
	if got := w.Header().Get("WWW-Authenticate"); w.Code != 403 || got != want {
		t.Errorf("got %d %s", w.Code, got)
	}
}
