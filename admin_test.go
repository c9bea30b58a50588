package gatehouse

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Everything an operator asks: which keys, how old, how many tokens, who is
// locked out, and why a visitor was refused.
func TestAdminTellsOfTheRunningGate(t *testing.T) {
	f := newFakeIssuer(t)
	f.kid = "key-of-today"
	f.publish(f.signer)
	c := runAdministered(t, f.signer, hosted("a", strings.Replace(f.gated(""), "public /login", `lockout {
				failures 1
			}
			require /admin/* {
				name admins
				role admin
			}`, 1)))
	good := f.token(t, nil)
	c.eventually(pass(), refusedWith(503, codeKeysUnavailable), ask{target: urlOf("a", "/"), token: good})
	for range 3 {
		c.do(ask{target: urlOf("a", "/"), token: newSigner(t, f.issuer).token(t, nil), from: "203.0.113.9:1"})
	}
	c.expect(refusedWith(403, codeRoleMissing), ask{target: urlOf("a", "/admin/x"), token: good})

	s := c.status()
	if len(s.Issuers) != 1 {
		t.Fatalf("%d issuers", len(s.Issuers))
	}
	is := s.Issuers[0]
	if is.Issuer != f.issuer || is.Kind != kindURL || is.Stale || is.FetchedAt.IsZero() || is.Fetches == 0 || is.AgeSeconds == nil || *is.AgeSeconds > 60 {
		t.Errorf("issuer: %+v", is)
	}
	if len(is.Keys) != 1 || is.Keys[0].KeyID != "key-of-today" || is.Keys[0].Type != "OKP" || !slices.Equal(is.Keys[0].Algorithms, []string{"EdDSA"}) {
		t.Errorf("keys: %+v", is.Keys)
	}
	if s.Cache.Entries != 1 || s.Cache.Capacity != defaultRemembered {
		t.Errorf("cache: %+v", s.Cache)
	}
	if s.Lockouts.Active != 1 || s.Lockouts.Records == 0 || s.Lockouts.Capacity < 100_000 || strings.Contains(c.told("lockouts"), "203.0.113") {
		t.Errorf("lockouts: %+v", s.Lockouts)
	}
	list := c.refusals()
	if len(list) < 4 || s.Refusals.Entries != len(list) || list[0]["code"] != "role_missing" || list[0]["rule"] != "admins" || list[0]["subject"] != "ada" {
		t.Fatalf("refusals: %v", list)
	}
	if _, err := time.Parse(time.RFC3339, list[0]["time"].(string)); err != nil {
		t.Error(err)
	}
	var one map[string]any
	if err := json.Unmarshal([]byte(c.told("refusals/"+list[2]["request_id"].(string))), &one); err != nil || fmt.Sprint(one) != fmt.Sprint(list[2]) {
		t.Errorf("by its id: %v, want %v; %v", one, list[2], err)
	}
}

// Keys may come from four kinds of places, and each is told with nothing of what
// it is made of.
func TestAdminTellsOfEveryKindOfIssuer(t *testing.T) {
	s := newSigner(t, testIssuer)
	c := runAdministered(t, s, hosted("a", `
	gatehouse {
		issuer internal {
			audience panel
			grants any
		}
		issuer https://file.example.com {
			keys `+s.keyFile+`
			audience panel
			grants any
		}
		issuer https://secret.example.com {
			secret `+plantedSecret+`
			audience panel
			grants any
		}
		issuer https://url.example.com {
			keys "http://127.0.0.1:1/keys?token=`+plantedQuery+`"
			audience panel
			grants any
		}
	}
`))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		all := c.status().Issuers
		if len(all) == 4 && !all[0].Stale && all[3].LastError != "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("issuers: %+v", all)
		}
	}
	want := []struct {
		kind, location, keyType string
		stale                   bool
	}{
		{kindInternal, internalKeyName, "OKP", false},
		{kindFile, s.keyFile, "OKP", false},
		{kindSecret, "", "oct", false},
		{kindURL, "http://127.0.0.1:1/keys", "", true},
	}
	for i, is := range c.status().Issuers {
		keyType := ""
		if len(is.Keys) == 1 {
			keyType = is.Keys[0].Type
		}
		if is.Kind != want[i].kind || is.Location != want[i].location || keyType != want[i].keyType || is.Stale != want[i].stale || is.Failing != is.Stale {
			t.Errorf("got %+v, want %+v", is, want[i])
		}
	}
}

const (
	plantedSecret = "a-planted-secret-of-more-than-32-bytes"
	plantedQuery  = "planted-in-the-query"
)

// Whoever reads the admin endpoint must not be able to sign or to come in: no
// secret, private key, token, part of one, or password of a URL is in any answer.
func TestAttackSecretsFromAdmin(t *testing.T) {
	s := newSigner(t, testIssuer)
	c := runAdministered(t, s, hosted("a", `
	gatehouse {
		token header Authorization Bearer
		token query access_token
		issuer internal {
			audience panel
			grants any
		}
		issuer `+testIssuer+` {
			keys "http://127.0.0.1:1/keys?token=`+plantedQuery+`"
			audience panel
			grants any
		}
		issuer https://secret.example.com {
			secret `+plantedSecret+`
			audience panel
			grants any
		}
		require role admin
	}
`))
	token := s.token(t, nil)
	cookie := "cookie-planted-by-the-test"
	for _, a := range []ask{
		{target: urlOf("a", "/"), token: token},
		{target: urlOf("a", "/?access_token="+token)},
		{target: urlOf("a", "/?access_token="+token+"x"), header: http.Header{"Cookie": {"session=" + cookie}}},
		{target: urlOf("a", "/planted-path?q=planted-path"), token: strings.Repeat(token, 2)},
	} {
		c.do(a)
	}
	var private string
	for deadline := time.Now().Add(time.Minute); private == ""; time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile(filepath.Join(c.storage, internalKeyName))
		if err == nil {
			private = strings.Split(string(data), "\n")[1]
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(time.Minute); c.status().Issuers[1].LastError == ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no error of fetching keys")
		}
	}
	c.do(ask{target: urlOf("a", "/"), token: token}) // its refusal tells that error too
	all := c.everything()
	if !strings.Contains(all, "keys_unavailable") || !strings.Contains(all, "127.0.0.1:1/keys") {
		t.Fatalf("the refusals are not there: %s", all)
	}
	secrets := append(strings.Split(token, "."), plantedSecret, plantedQuery, private, cookie, "planted-path", publicX(s.private))
	for _, secret := range secrets {
		if strings.Contains(all, secret) {
			t.Errorf("the admin endpoint tells %q", secret)
		}
	}
}

// An admin endpoint that is meant for reading must not be talked into more: by
// another method, by a header that overrides it, or by another spelling.
func TestAttackMethodsOfAdmin(t *testing.T) {
	s := newSigner(t, testIssuer)
	c := runAdministered(t, s, hosted("a", "\n\tgatehouse {\n\t\tissuer "+testIssuer+" {\n\t\t\tkeys "+s.keyFile+"\n\t\t\taudience panel\n\t\t}\n\t}\n"))
	c.do(ask{target: urlOf("a", "/")})
	before := c.told("refusals")
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "PROPFIND"} {
		for _, path := range []string{"status", "issuers", "cache", "lockouts", "refusals", "refusals/x", "x"} {
			resp, body := c.ask(method, "/gatehouse/"+path, nil)
			if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" || resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: %s %v %s", method, path, resp.Status, resp.Header, body)
			}
		}
	}
	for _, header := range []http.Header{
		{"X-Http-Method-Override": {"DELETE"}}, {"X-Method-Override": {"PUT"}}, {"X-Http-Method": {"POST"}},
	} {
		if resp, body := c.ask("GET", "/gatehouse/refusals?_method=DELETE", header); resp.StatusCode != http.StatusOK || body != before {
			t.Errorf("%v: %s %s", header, resp.Status, body)
		}
		if resp, _ := c.ask("POST", "/gatehouse/refusals", http.Header{"X-Http-Method-Override": {"GET"}}); resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("an overridden POST: %s", resp.Status)
		}
	}
	if resp, body := c.ask("HEAD", "/gatehouse/refusals", nil); resp.StatusCode != http.StatusOK || body != "" {
		t.Errorf("HEAD: %s %s", resp.Status, body)
	}
	for _, path := range []string{"", "x", "status/", "statusx", "Status", "refusals/", "refusals/" + strings.Repeat("x", 5000), "refusals/%3Cscript%3E", "refusals/x/y"} {
		resp, body := c.ask("GET", "/gatehouse/"+path, nil)
		if resp.StatusCode != http.StatusNotFound || strings.Contains(body, "script") || len(body) > 200 {
			t.Errorf("%q: %s %s", path, resp.Status, body)
		}
	}
	if after := c.told("refusals"); after != before {
		t.Errorf("the refusals changed:\n%s\n%s", before, after)
	}
}

// A page of another site in the administrator's browser can send requests to
// localhost, and a name of its own can be made to mean localhost.
func TestAttackAdminFromABrowser(t *testing.T) {
	s := newSigner(t, testIssuer)
	c := runAdministered(t, s, hosted("a", "\n\tgatehouse {\n\t\tissuer "+testIssuer+" {\n\t\t\tkeys "+s.keyFile+"\n\t\t\taudience panel\n\t\t}\n\t}\n"))
	for name, header := range map[string]http.Header{
		"a script of another site":              {"Origin": {"https://evil.example"}, "Sec-Fetch-Mode": {"cors"}},
		"a script that waives the answer":       {"Sec-Fetch-Mode": {"no-cors"}},
		"a sandboxed frame":                     {"Origin": {"null"}},
		"a WebSocket, which no CORS holds back": {"Upgrade": {"websocket"}, "Connection": {"upgrade"}},
	} {
		if resp, body := c.ask("GET", "/gatehouse/status", header); resp.StatusCode < 400 || strings.Contains(body, testIssuer) {
			t.Errorf("%s: %s %s", name, resp.Status, body)
		}
	}
}

// Without a gate there is nothing to tell, and that is no error. After a reload
// the answer is of the new configuration; after one that fails, of the old.
func TestAdminSpeaksOfTheRunningConfiguration(t *testing.T) {
	s := newSigner(t, testIssuer)
	gate := func(issuer, keys string) string {
		return hosted("a", "\n\tgatehouse {\n\t\tissuer "+issuer+" {\n\t\t\tkeys "+keys+"\n\t\t\taudience panel\n\t\t}\n\t}\n")
	}
	c := runAdministered(t, s, hosted("a", "\n\trespond ok\n"))
	if got := c.everything(); !strings.HasPrefix(got, `{"issuers":[],"cache":{"entries":0,"capacity":0}`) || !strings.HasSuffix(got, "[]\n") {
		t.Errorf("without a gate: %s", got)
	}
	if resp, _ := c.ask("GET", "/gatehouse/refusals/x", nil); resp.StatusCode != http.StatusNotFound {
		t.Error(resp.Status)
	}
	issuers := func() string {
		var names []string
		for _, is := range c.status().Issuers {
			names = append(names, is.Issuer)
		}
		return strings.Join(names, " ")
	}
	for _, name := range []string{"https://one.example.com", "https://two.example.com"} {
		if err := c.load(gate(name, s.keyFile)); err != nil {
			t.Fatal(err)
		}
		if got := issuers(); got != name || len(c.refusals()) != 0 {
			t.Errorf("after loading %s: %s, %d refusals", name, got, len(c.refusals()))
		}
		c.do(ask{target: urlOf("a", "/")})
		if len(c.refusals()) != 1 {
			t.Error("the refusal is not there")
		}
	}
	if err := c.load(gate("https://three.example.com", "./no-such-file")); err == nil {
		t.Fatal("a broken configuration was loaded")
	}
	if got := issuers(); got != "https://two.example.com" || len(c.refusals()) != 1 {
		t.Errorf("after a load that failed: %s, %d refusals", got, len(c.refusals()))
	}
}

// What privacy keeps out of the log is not to be had from the admin endpoint
// either. With `none` the same search finds everything, or it would prove nothing.
func TestAttackPersonsFromAdmin(t *testing.T) {
	for level, private := range map[string]struct{ persons, resources bool }{
		privacyNone: {}, privacyGDPR: {persons: true}, privacyHIPAA: {persons: true, resources: true},
	} {
		t.Run(level, func(t *testing.T) {
			s := newSigner(t, testIssuer)
			c := runAdministered(t, s, privateCaddyfile(s, level))
			if private.persons {
				awaitPseudonyms(t, c.running)
			}
			everyRefusal(t, c.running)
			all := c.told("refusals")
			if n := strings.Count(all, `"code":`); n < 80 {
				t.Fatalf("%d refusals", n)
			}
			for _, word := range plantedPersons() {
				hides := private.persons || word == plantedPath
				if found := strings.Contains(all, word); found == hides {
					t.Errorf("refusals hold %q: %t", word, found)
				}
			}
			for _, word := range plantedResources() {
				if found := strings.Contains(all, word); found == private.resources {
					t.Errorf("refusals hold %q: %t", word, found)
				}
			}
			for _, word := range append(plantedPersons(), plantedResources()...) {
				if strings.Contains(c.told("status"), word) {
					t.Errorf("the status holds %q", word)
				}
			}
		})
	}
}

// A more private configuration must not tell what an earlier one was allowed to.
func TestAttackThePastBeforePrivacy(t *testing.T) {
	s := newSigner(t, testIssuer)
	c := runAdministered(t, s, privateCaddyfile(s, privacyNone))
	c.do(ask{target: "http://oncology.test/oncology-role/x", token: s.token(t, claims{"sub": plantedSubject}), from: plantedAddress + ":1"})
	if !strings.Contains(c.told("refusals"), plantedSubject) {
		t.Fatal("nothing to hide")
	}
	if err := c.load(privateCaddyfile(s, privacyHIPAA)); err != nil {
		t.Fatal(err)
	}
	if all := c.everything(); strings.Contains(all, plantedSubject) || strings.Contains(all, plantedAddress) || strings.Contains(all, "oncology") {
		t.Errorf("the past is told: %s", all)
	}
}

// What is only observed is told as such, and a rehearsal is told nowhere.
func TestAdminTellsOfWhatWasObserved(t *testing.T) {
	s := newSigner(t, testIssuer)
	site := func(options string) string {
		return hosted("a", "\n\tgatehouse {\n\t\tissuer "+testIssuer+" {\n\t\t\tkeys "+s.keyFile+"\n\t\t\taudience panel\n\t\t}\n"+options+"\n\t}\n\trespond ok\n")
	}
	c := runAdministered(t, s, site(`observe
		deny /secret
		expect 403 GET /secret
		expect 401 GET /`))
	if n := len(c.refusals()); n != 0 {
		t.Errorf("%d refusals were rehearsed, and are kept", n)
	}
	c.do(ask{target: urlOf("a", "/secret")})
	c.do(ask{target: urlOf("a", "/")})
	list := c.refusals()
	if len(list) != 2 || list[0]["code"] != "credentials_missing" || list[0]["observed"] != true || list[1]["code"] != "path_denied" || list[1]["observed"] != true {
		t.Errorf("a gate that observes: %v", list)
	}
	if err := c.load(site("require /x {\n role admin\n observe\n}")); err != nil {
		t.Fatal(err)
	}
	c.do(ask{target: urlOf("a", "/x"), token: s.token(t, nil)})
	if list := c.refusals(); len(list) != 1 || list[0]["code"] != "role_missing" || list[0]["observed"] != true {
		t.Errorf("a rule that observes: %v", list)
	}
}
