package keyset

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	realm     = "https://id.example/realms/acme"
	oidcPlace = realm + "/.well-known/openid-configuration"
	rfcPlace  = "https://id.example/.well-known/oauth-authorization-server/realms/acme"
)

func metadata(iss, jwks string) handler {
	return replies(200, jwkOf("issuer", iss, "jwks_uri", jwks, "scopes_supported", `["openid"]`))
}

func discovering(iss string) func(*Options) {
	return func(o *Options) { o.Issuer, o.URL = iss, "" }
}

func TestDiscovery(t *testing.T) {
	for name, c := range map[string]struct {
		issuer string
		on     map[string]handler
	}{
		"OpenID Connect":                       {realm, map[string]handler{oidcPlace: metadata(realm, jwksURL)}},
		"an issuer with a final slash":         {realm + "/", map[string]handler{oidcPlace: metadata(realm+"/", jwksURL)}},
		"RFC 8414 where OpenID Connect is 404": {realm, map[string]handler{rfcPlace: metadata(realm, jwksURL)}},
		"RFC 8414 without a path":              {"https://id.example", map[string]handler{"https://id.example/.well-known/oauth-authorization-server": metadata("https://id.example", jwksURL)}},
		"RFC 8414 where the other place redirects to a login page elsewhere": {realm, map[string]handler{
			oidcPlace: replies(302, "", "Location", "https://login.example/"), rfcPlace: metadata(realm, jwksURL)}},
		"RFC 8414 where the other place is HTML": {realm, map[string]handler{
			oidcPlace: replies(200, "<html>"), rfcPlace: metadata(realm, jwksURL)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.on = c.on
				i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
				r := start(t, i, nil, discovering(c.issuer))
				wantKey(t, r, "a")
				if got := r.Status().URL; got != jwksURL {
					t.Fatalf("URL %q", got)
				}
			})
		})
	}
}

// One tenant of a shared host, or a metadata page an attacker may edit, names another issuer or other keys. Its keys
// would then verify tokens in the name of the issuer the operator trusts.
func TestAttackMetadataOfAnotherIssuerIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		place handler
		says  string
	}{
		"another tenant":              {metadata("https://id.example/realms/evil", jwksURL), "names the issuer"},
		"a slash more":                {metadata(realm+"/", jwksURL), "names the issuer"},
		"another case":                {metadata("https://ID.example/realms/acme", jwksURL), "names the issuer"},
		"a tenant template":           {metadata("https://id.example/realms/{tenantid}", jwksURL), "names the issuer"},
		"no issuer":                   {replies(200, jwkOf("jwks_uri", jwksURL)), "names the issuer"},
		"two issuers":                 {replies(200, `{"issuer":"`+realm+`","issuer":"`+realm+`","jwks_uri":"`+jwksURL+`"}`), "twice"},
		"Issuer in capitals":          {replies(200, jwkOf("Issuer", realm, "jwks_uri", jwksURL)), "names the issuer"},
		"no jwks_uri":                 {replies(200, jwkOf("issuer", realm)), "no jwks_uri"},
		"jwks_uri on plain http":      {metadata(realm, "http://id.example/keys"), "https"},
		"jwks_uri on this machine":    {metadata(realm, "http://127.0.0.1:2019/config/"), "plain http"},
		"jwks_uri with a password":    {metadata(realm, "https://a:b@id.example/keys"), "password"},
		"jwks_uri in a file":          {metadata(realm, "file:///etc/passwd"), "https"},
		"metadata of ten megabytes":   {replies(200, jwkOf("issuer", realm, "pad", strings.Repeat("x", 10<<20), "jwks_uri", jwksURL)), "more than"},
		"metadata moved to elsewhere": {replies(301, "", "Location", "https://evil.example/"), "another host"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.answer(oidcPlace, c.place)
				i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
				r := start(t, i, nil, discovering(realm))
				err := wantUnavailable(t, r, "a")
				if !strings.Contains(err.Error(), c.says) || i.asked(jwksURL) != 0 {
					t.Fatalf("got %v after %d fetches of keys, want %q", err, i.asked(jwksURL), c.says)
				}
			})
		})
	}
}

func TestMetadataIsAskedAgainDailyAndAfterAFailure(t *testing.T) {
	const moved = "https://id.example/new-keys"
	for name, left := range map[string]handler{
		"the old place is gone":         replies(410, ""),
		"the old place is out of reach": down,
		"the old place has other pages": replies(200, "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.answer(oidcPlace, metadata(realm, jwksURL))
				i.answer(jwksURL, replies(200, setOf(edJWK("a")), "ETag", `"1"`))
				r := start(t, i, nil, discovering(realm))
				wantKey(t, r, "a")
				time.Sleep(23 * time.Hour)
				if i.asked(oidcPlace) != 1 || i.asked(jwksURL) < 20 {
					t.Fatalf("metadata asked %d times, keys %d times in a day", i.asked(oidcPlace), i.asked(jwksURL))
				}
				time.Sleep(3 * time.Hour)
				if i.asked(oidcPlace) != 2 {
					t.Fatalf("metadata asked %d times after a day", i.asked(oidcPlace))
				}

				i.answer(oidcPlace, metadata(realm, moved))
				i.answer(jwksURL, left)
				i.answer(moved, func(req *http.Request) (*http.Response, error) {
					if req.Header.Get("If-None-Match") != "" { // an ETag of another place means nothing here
						return replies(304, "")(req)
					}
					return replies(200, setOf(edJWK("b")))(req)
				})
				time.Sleep(2 * time.Hour)
				wantKey(t, r, "b")
				if r.Status().URL != moved || i.asked(oidcPlace) != 3 {
					t.Fatalf("metadata asked %d times after the move, status %+v", i.asked(oidcPlace), r.Status())
				}
			})
		})
	}
}

func TestAnUnreachableHostIsAskedOnceAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(oidcPlace, down)
		r := start(t, i, nil, discovering(realm))
		wantUnavailable(t, r, "a")
		if i.asked(rfcPlace) != 0 {
			t.Fatal("the second place was tried though the host is out of reach")
		}
	})
}
