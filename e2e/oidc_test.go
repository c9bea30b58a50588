package e2e

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// TestTokensOfARealProvider signs two people in by code flow and PKCE, and
// sends what they were given through a gate that found the provider's keys by
// discovery.
func TestTokensOfARealProvider(t *testing.T) {
	p := startProvider(t)
	g := startGate(t, p.issuer(), t.TempDir())
	admin, member := p.signIn(t, panelClient, adminName), p.signIn(t, panelClient, memberName)
	stranger := p.signIn(t, otherClient, adminName)
	elsewhere := startProvider(t).signIn(t, panelClient, adminName)

	for version, c := range g.clients(t) {
		t.Run(version, func(t *testing.T) {
			t.Run("no token", func(t *testing.T) { refusesWithoutToken(t, c) })
			t.Run("HEAD is answered like GET", func(t *testing.T) { answersHeadLikeGet(t, c) })
			t.Run("a member", func(t *testing.T) { admitsMember(t, c, member, p.issuer()) })
			t.Run("an administrator", func(t *testing.T) { admitsAdmin(t, c, admin) })
			t.Run("a missing role", func(t *testing.T) { refusesMissingRole(t, c, member) })
			t.Run("tokens that are not for us", func(t *testing.T) { refusesForeignTokens(t, c, member, stranger, elsewhere) })
			t.Run("forged headers", func(t *testing.T) { stripsForgedHeaders(t, c, member) })
		})
	}
	t.Run("the ID token", func(t *testing.T) { judgesIDTokens(t, g.api(t), admin, stranger) })
	t.Run("keys are fetched once, and once more for forged signatures", func(t *testing.T) {
		// A signature that does not hold may be a new key's under an old kid. All
		// of them together are looked into once in thirty seconds.
		if n := p.keyFetch.Load(); n != 2 {
			t.Errorf("the keys were fetched %d times, want 2", n)
		}
	})
	t.Run("the log tells who and why, and holds no token", func(t *testing.T) {
		text := g.log(t)
		if !strings.Contains(text, `"user_id":"`+memberID+`"`) {
			t.Error("no line in the access log names the visitor")
		}
		for _, code := range []string{"credentials_missing", "token_invalid", "role_missing"} {
			if !strings.Contains(text, `"code":"`+code+`"`) {
				t.Errorf("no line for %s in the log", code)
			}
		}
		for name, token := range map[string]string{
			"admin's access": admin.access, "admin's ID": admin.id, "member's access": member.access, "stranger's access": stranger.access,
		} {
			parts := strings.Split(token, ".")
			if strings.Contains(text, parts[1]) || strings.Contains(text, parts[2]) {
				t.Errorf("the %s token is in the log", name)
			}
		}
	})
}

func refusesWithoutToken(t *testing.T, c *client) {
	a := c.send(t, "GET", "/domains?page=2")
	told := a.mustRefuse(t, http.StatusUnauthorized, "credentials_missing")
	a.mustChallenge(t, "")
	if told.Error != "" || told.LoginURL == "" {
		t.Errorf("error %q and login_url %q, want no error and a way to sign in", told.Error, told.LoginURL)
	}
	// A scheme that is not ours is no credential.
	a = c.send(t, "GET", "/domains", "Authorization: Basic dXNlcjpwYXNz")
	a.mustRefuse(t, http.StatusUnauthorized, "credentials_missing")
	a.mustChallenge(t, "")
}

func answersHeadLikeGet(t *testing.T, c *client) {
	for _, accept := range []string{"text/html", "application/problem+json", "application/json"} {
		get, head := c.send(t, "GET", "/domains", "Accept: "+accept), c.send(t, "HEAD", "/domains", "Accept: "+accept)
		if get.StatusCode != http.StatusUnauthorized || head.StatusCode != get.StatusCode || head.passed || len(head.body) != 0 {
			t.Errorf("%s: GET %d, HEAD %d with %d bytes (upstream called: %t)", accept, get.StatusCode, head.StatusCode, len(head.body), head.passed)
		}
		if head.ContentLength != int64(len(get.body)) || get.ContentLength != int64(len(get.body)) {
			t.Errorf("%s: Content-Length %d for GET and %d for HEAD, want %d", accept, get.ContentLength, head.ContentLength, len(get.body))
		}
		for _, own := range []string{"Date", "X-Request-Id"} {
			get.Header.Del(own)
			head.Header.Del(own)
		}
		for name := range get.Header {
			if got, want := head.Header.Get(name), get.Header.Get(name); got != want {
				t.Errorf("%s: HEAD has %s: %q, GET %q", accept, name, got, want)
			}
		}
		if len(head.Header) != len(get.Header) {
			t.Errorf("%s: HEAD has %d headers, GET %d", accept, len(head.Header), len(get.Header))
		}
	}
}

func admitsMember(t *testing.T, c *client, member tokens, issuer string) {
	told := c.send(t, "GET", "/domains?page=2", bearer(member.access)).mustPass(t)
	if told.Method != "GET" || told.URI != "/domains?page=2" {
		t.Errorf("the upstream saw %s %s", told.Method, told.URI)
	}
	told.mustHave(t, map[string]string{
		"X-User": memberID, "X-Roles": "", "X-Scopes": "openid", "X-Issuer": issuer, "X-Client": panelClient,
		"Authorization": "Bearer " + member.access,
	})
	told = c.send(t, "GET", "/domains", "Cookie: "+tokenCookie+"="+member.access).mustPass(t)
	told.mustHave(t, map[string]string{"X-User": memberID})
}

func admitsAdmin(t *testing.T, c *client, admin tokens) {
	for _, path := range []string{"/admin/users", "/admin", "/billing/2026"} {
		told := c.send(t, "DELETE", path, bearer(admin.access)).mustPass(t)
		told.mustHave(t, map[string]string{"X-User": adminID, "X-Roles": "admin,billing"})
	}
}

func refusesMissingRole(t *testing.T, c *client, member tokens) {
	for _, path := range []string{"/admin/users", "/admin", "/admin/"} {
		a := c.send(t, "GET", path, bearer(member.access))
		a.mustRefuse(t, http.StatusForbidden, "role_missing")
		a.mustNotChallenge(t)
		if strings.Contains(string(a.body), "admin") {
			t.Errorf("%s tells which role is missing", a.body)
		}
	}
	a := c.send(t, "GET", "/billing/2026", bearer(member.access))
	if told := a.mustRefuse(t, http.StatusForbidden, "role_missing"); told.Detail != "Invoices are for the accounting team." {
		t.Errorf("detail %q, want the rule's own message", told.Detail)
	}
}

// A token that is somebody else's, or was changed on the way, is refused in one
// voice: what is wrong with it is for the log only.
func refusesForeignTokens(t *testing.T, c *client, member, stranger, elsewhere tokens) {
	signature := []byte(member.access)
	last := bytes.LastIndexByte(signature, '.') + 10
	if signature[last] == 'A' {
		signature[last] = 'B'
	} else {
		signature[last] = 'A'
	}
	said := make(map[string]bool)
	for name, token := range map[string]string{
		"for another client":       stranger.access,
		"of another provider":      elsewhere.access,
		"changed signature":        string(signature),
		"another subject":          tampered(t, member.access, "sub", adminID),
		"a role added":             tampered(t, member.access, "roles", []string{"admin"}),
		"made to last":             tampered(t, member.access, "exp", time.Now().Add(24*time.Hour).Unix()),
		"audience changed to ours": tampered(t, stranger.access, "aud", []string{panelClient}),
	} {
		a := c.send(t, "GET", "/domains", bearer(token))
		told := a.mustRefuse(t, http.StatusUnauthorized, "token_invalid")
		if told.Error != "invalid_token" {
			t.Errorf("%s: error %q, want invalid_token", name, told.Error)
		}
		said[a.mustChallenge(t, "invalid_token")+told.Detail] = true
	}
	if len(said) != 1 {
		t.Errorf("the answers differ by what is wrong: %v", said)
	}
}

// A visitor cannot tell the upstream who they are, in whatever spelling, on
// whatever path, by header or by trailer.
func stripsForgedHeaders(t *testing.T, c *client, member tokens) {
	forged := []string{
		"X-User: root", "X_user: root", "X-Roles: admin", "X.roles: admin", "X-Scopes: everything", "X-Issuer: us", "X-Client: cli",
		"X-Real-Ip: 10.0.0.1", "Cf-Connecting-Ip: 10.0.0.1", "True-Client-Ip: 10.0.0.1",
	}
	told := c.send(t, "GET", "/domains", append(forged, bearer(member.access))...).mustPass(t)
	told.mustHave(t, map[string]string{"X-User": memberID, "X-Roles": "", "X-Scopes": "openid", "X-Client": panelClient})
	told.mustNotSay(t, "root", "admin", "everything", "10.0.0.1")

	told = c.send(t, "GET", "/status", forged...).mustPass(t)
	told.mustHave(t, map[string]string{"X-User": "", "X-Roles": "", "X-Scopes": "", "X-Issuer": "", "X-Client": ""})
	told.mustNotSay(t, "root", "admin", "everything", "10.0.0.1")

	req, err := http.NewRequestWithContext(t.Context(), "POST", c.base+"/status", struct{ *strings.Reader }{strings.NewReader("body")})
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"X-User": {"root"}}
	told = c.do(t, req).mustPass(t)
	told.mustNotSay(t, "root")
}

// The provider gives the ID token to the client that asked, with the client's
// id as audience. Where a gate's audience is that client id, as here, an ID
// token therefore lets its owner in; its roles are only what it holds itself.
// Where it was given to another client it is worth nothing.
func judgesIDTokens(t *testing.T, c *client, admin, stranger tokens) {
	a := c.send(t, "GET", "/domains", bearer(stranger.id))
	a.mustRefuse(t, http.StatusUnauthorized, "token_invalid")

	told := c.send(t, "GET", "/domains", bearer(admin.id)).mustPass(t)
	told.mustHave(t, map[string]string{"X-User": adminID, "X-Roles": "", "X-Scopes": ""})
	a = c.send(t, "GET", "/admin/users", bearer(admin.id))
	a.mustRefuse(t, http.StatusForbidden, "role_missing")
	a.mustNotChallenge(t)
}

// TestSignInLink reads the link of a 401 as the login page would: it must lead
// back to the very page, and be one parameter of the login page's URL. Only a
// page has somewhere to come back to; a program's request has not.
func TestSignInLink(t *testing.T) {
	p := startProvider(t)
	c := startGate(t, p.issuer(), t.TempDir()).api(t)
	told := c.send(t, "GET", wantedPage).mustRefuse(t, http.StatusUnauthorized, "credentials_missing")
	mustLeadToLogin(t, told.LoginURL, "/")

	a := c.send(t, "GET", wantedPage, "Accept: text/html")
	a.mustHaveRefusalHeaders(t, "text/html; charset=utf-8")
	doc, err := html.Parse(bytes.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for n := range doc.Descendants() {
		for _, attr := range n.Attr {
			if attr.Key == "href" && strings.HasPrefix(attr.Val, "https://login.example.test/") {
				mustLeadToLogin(t, attr.Val, wantedPage)
				found++
			}
		}
	}
	if found != 1 {
		t.Errorf("found %d links to the login page, want one", found)
	}
}

// wantedPage has everything in it that a careless link would lose or split.
const wantedPage = "/domains/list?page=2&sort=%C3%A9&x=a%26b%3D1"

func mustLeadToLogin(t *testing.T, link, returnTo string) {
	t.Helper()
	login, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	q := login.Query()
	if login.Host != "login.example.test" || login.Path != "/sign-in" || len(q) != 2 || q.Get("lang") != "en" || q.Get("return_to") != returnTo {
		t.Errorf("the link is %s, want the login page with return_to=%s and lang=en alone", link, returnTo)
	}
}

func (e echo) mustHave(t *testing.T, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := strings.Join(e.Header[name], " | "); got != value {
			t.Errorf("the upstream was told %s: %q, want %q", name, got, value)
		}
	}
}

// mustNotSay looks at every header but the token, in every spelling.
func (e echo) mustNotSay(t *testing.T, forged ...string) {
	t.Helper()
	for _, headers := range []http.Header{e.Header, e.Trailer} {
		for name, values := range headers {
			for _, word := range forged {
				if name != "Authorization" && strings.Contains(strings.Join(values, " "), word) {
					t.Errorf("the upstream was told %s: %q", name, values)
				}
			}
		}
	}
}
