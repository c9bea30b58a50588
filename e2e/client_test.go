package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/oauth2"
)

// tokens are what one sign-in gave.
type tokens struct{ access, id string }

type codeAnswer struct{ code, state, failure string }

// receiveCode is the client's redirect URI.
func (p *provider) receiveCode(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.codes <- codeAnswer{q.Get("code"), q.Get("state"), strings.TrimSpace(q.Get("error") + " " + q.Get("error_description"))}
	fmt.Fprintln(w, "You can close this window.")
}

// signIn goes the way of a native app: discovery, authorization request with
// PKCE (RFC 7636), the provider's login form, code, token endpoint.
func (p *provider) signIn(t *testing.T, client, user string) tokens {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: 20 * time.Second}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, browser)
	conf := &oauth2.Config{
		ClientID: client, RedirectURL: p.callbackURL(), Scopes: []string{"openid", "profile"}, Endpoint: p.discover(t, browser),
	}
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()

	loginPage := visit(t, browser, "GET", conf.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", nonce)), nil)
	target, fields := loginForm(t, loginPage)
	fields.Set("username", user)
	fields.Set("password", password)
	done := visit(t, browser, "POST", target, fields)

	var answer codeAnswer
	select {
	case answer = <-p.codes:
	default:
		t.Fatalf("signing in as %s ended with %s at %s, not at the callback", user, done.Status, done.Request.URL.Path)
	}
	if answer.failure != "" || answer.state != state {
		t.Fatalf("the provider answered %q with state %q, want %q", answer.failure, answer.state, state)
	}
	got, err := conf.Exchange(ctx, answer.code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatalf("exchanging the code: %v", err)
	}
	idToken, _ := got.Extra("id_token").(string)
	if claims := claimsOf(t, idToken); claims["nonce"] != nonce {
		t.Fatalf("the ID token's nonce is %v, want %q", claims["nonce"], nonce)
	}
	return tokens{access: got.AccessToken, id: idToken}
}

// visit follows redirects, as a browser does.
func visit(t *testing.T, client *http.Client, method, address string, form url.Values) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (p *provider) discover(t *testing.T, client *http.Client) oauth2.Endpoint {
	t.Helper()
	resp := visit(t, client, "GET", p.issuer()+"/.well-known/openid-configuration", nil)
	var found struct {
		Auth  string `json:"authorization_endpoint"`
		Token string `json:"token_endpoint"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&found); err != nil {
		t.Fatal(err)
	}
	return oauth2.Endpoint{AuthURL: found.Auth, TokenURL: found.Token, AuthStyle: oauth2.AuthStyleInParams}
}

// loginForm gives the address and the hidden fields of the page's form.
func loginForm(t *testing.T, page *http.Response) (string, url.Values) {
	t.Helper()
	doc, err := html.Parse(page.Body)
	if err != nil {
		t.Fatal(err)
	}
	fields := url.Values{}
	var action string
	for n := range doc.Descendants() {
		attr := make(map[string]string)
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
		}
		switch n.Data {
		case "form":
			action = attr["action"]
		case "input":
			fields.Set(attr["name"], attr["value"])
		}
	}
	if action == "" || fields.Get("id") == "" {
		t.Fatalf("%s at %s shows no login form", page.Status, page.Request.URL)
	}
	target, err := page.Request.URL.Parse(action)
	if err != nil {
		t.Fatal(err)
	}
	return target.String(), fields
}

// claimsOf reads a token's claims without judging it.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("found a token of %d parts, want a signed JWT", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// tampered changes one thing about a token: a claim, under the old signature.
func tampered(t *testing.T, token, claim string, value any) string {
	t.Helper()
	claims := claimsOf(t, token)
	claims[claim] = value
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	parts[1] = base64.RawURLEncoding.EncodeToString(payload)
	return strings.Join(parts, ".")
}
