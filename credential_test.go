package gatehouse

import (
	"net/http"
	"testing"
)

// The client chooses where the token is; two of them would let it choose which
// one the upstream believes.
func TestTwoCredentials(t *testing.T) {
	s := newSite(t, `
		token header Authorization Bearer
		token header X-Token
		token cookie session
		token query access_token
		public /login`)
	good, other := s.token(t, nil), s.token(t, claims{"sub": "bob"})
	bearer := http.Header{"Authorization": {"Bearer " + good}}
	for name, c := range map[string]struct {
		ask
		want verdict
	}{
		"two header lines":                 {ask{target: "/", header: http.Header{"Authorization": {"Bearer " + good, "Bearer " + other}}}, refusedWith(400, codeCredentialsAmbiguous)},
		"two header lines, one of another": {ask{target: "/", header: http.Header{"Authorization": {"Basic YTpi", "Bearer " + good}}}, refusedWith(400, codeCredentialsAmbiguous)},
		"a tab, and a cookie":              {ask{target: "/", header: http.Header{"Authorization": {"Bearer\t" + newSigner(t, testIssuer).token(t, nil)}, "Cookie": {"session=" + good}}}, refusedWith(401, codeTokenInvalid)},
		"two tokens in one line":           {ask{target: "/", header: http.Header{"Authorization": {"Bearer " + good + ", Bearer " + other}}}, refusedWith(401, codeCredentialsMalformed)},
		"two cookies":                      {ask{target: "/", header: http.Header{"Cookie": {"session=" + good + "; session=" + other}}}, refusedWith(400, codeCredentialsAmbiguous)},
		"two parameters":                   {ask{target: "/?access_token=" + good + "&access_token=" + other}, refusedWith(400, codeCredentialsAmbiguous)},
		"a header and a parameter":         {ask{target: "/?access_token=" + good, header: bearer}, refusedWith(400, codeCredentialsAmbiguous)},
		"a header before a cookie":         {ask{target: "/", header: join(bearer, http.Header{"Cookie": {"session=" + other}})}, pass()},
		"a bad header is not passed over":  {ask{target: "/", header: http.Header{"Authorization": {"Bearer junk"}, "Cookie": {"session=" + good}}}, refusedWith(401, codeCredentialsMalformed)},
		"an empty cookie is none":          {ask{target: "/", header: http.Header{"Cookie": {"session="}}}, refusedWith(401, codeCredentialsMissing)},
		"the scheme in any case":           {ask{target: "/", header: http.Header{"Authorization": {"bEARER " + good}}}, pass()},
		"doubled on a public path":         {ask{target: "/login", header: http.Header{"Authorization": {"Bearer " + good, "Bearer " + other}}}, pass()},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.expect(c.want, c.ask)
		})
	}
}

// A token in the URL ends in logs and Referer headers; the next handler gets
// the URL without it, however the parameter was written.
func TestQueryTokenIsTakenOut(t *testing.T) {
	s := newSite(t, `token query access_token`)
	var reached *http.Request
	s.spy(func(r *http.Request) { reached = r })
	token := s.token(t, nil)
	s.expect(pass(), ask{target: "/x?a=1&access%5Ftoken=" + token + "&b=%2F"})
	if reached.URL.RawQuery != "a=1&b=%2F" || reached.RequestURI != "/x?a=1&b=%2F" {
		t.Errorf("query %q, URI %q", reached.URL.RawQuery, reached.RequestURI)
	}
}

// strip_token keeps the credential from an upstream that might log it.
func TestStripToken(t *testing.T) {
	s := newSite(t, `
		token header Authorization Bearer
		token cookie session
		strip_token`)
	var reached http.Header
	s.spy(func(r *http.Request) { reached = r.Header.Clone() })
	token := s.token(t, nil)
	s.expect(pass(), ask{target: "/", token: token})
	if reached.Get("Authorization") != "" {
		t.Error("the header reached the next handler")
	}
	s.expect(pass(), ask{target: "/", header: http.Header{"Cookie": {"a=b; session=" + token + "; c=d"}}})
	if got := reached.Get("Cookie"); got != "a=b; c=d" {
		t.Errorf("Cookie is %q, want the others alone", got)
	}
}

// Browsers can set no header on a WebSocket, but a protocol; it is a token and
// must not reach the upstream.
func TestWebSocketToken(t *testing.T) {
	s := newSite(t, `token websocket`)
	var reached http.Header
	s.spy(func(r *http.Request) { reached = r.Header.Clone() })
	s.expect(pass(), ask{target: "/ws", header: http.Header{
		"Upgrade": {"websocket"}, "Sec-Websocket-Protocol": {"chat, bearer, " + s.token(t, nil)},
	}})
	if got := reached.Get("Sec-WebSocket-Protocol"); got != "chat, bearer" {
		t.Errorf("protocol is %q, want it without the token", got)
	}
}

// A token of one issuer must not be judged by another's keys, and an issuer
// must not give roles that are not its to give.
func TestIssuersAreKeptApart(t *testing.T) {
	mine, theirs := newSigner(t, testIssuer), newSigner(t, "https://other.example")
	s := newSiteFrom(t, mine, `
:80 {
	route {
		gatehouse {
			issuer `+mine.issuer+` {
				keys `+mine.keyFile+`
				audience panel
				grants admin
			}
			issuer `+theirs.issuer+` {
				keys `+theirs.keyFile+`
				audience panel
				grants viewer
			}
			require /admin/* role admin
			require /me/* {
				user ada
				issuer `+mine.issuer+`
			}
		}
		header `+reachedHeader+` ran
		respond "next"
	}
}`)
	impostor := *theirs
	impostor.issuer = mine.issuer
	s.expect(pass(), ask{target: "/admin/x", token: mine.token(t, claims{"roles": "admin"})})
	s.expect(refusedWith(401, codeTokenInvalid), ask{target: "/", token: impostor.token(t, nil)})
	s.expect(refusedWith(401, codeTokenInvalid), ask{target: "/", token: mine.token(t, claims{"iss": testIssuer + "/"})})
	s.expect(refusedWith(401, codeTokenInvalid), ask{target: "/", token: mine.token(t, claims{"iss": "https://nobody.example"})})
	s.expect(refusedWith(403, codeRoleMissing), ask{target: "/admin/x", token: theirs.token(t, claims{"roles": "admin"})})
	s.expect(refusedWith(403, codeClaimMissing), ask{target: "/me/x", token: theirs.token(t, nil)})
	s.expect(pass(), ask{target: "/me/x", token: mine.token(t, nil)})
}
