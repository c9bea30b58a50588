package gatehouse

import (
	"strings"
	"testing"
)

// The three tasks that everybody has, as the README does them: an issuer with an
// audience, a role and a network for /admin, a scope for POST /users.
func TestThreeClassicTasksInEightLines(t *testing.T) {
	var text string
	for _, block := range fences(readDoc(t, "README.md"), "caddyfile") {
		if text == "" && strings.Contains(block, "require POST /users scope") {
			text = block
		}
	}
	_, gate, _ := strings.Cut(text, "\tgatehouse {\n")
	gate, _, _ = strings.Cut(gate, "\n\t}\n")
	if lines := 2 + strings.Count(gate, "\n") + 1; lines != 8 {
		t.Fatalf("the README takes %d lines:\n%s", lines, text)
	}

	idp := newSigner(t, "https://id.example.com/realms/hosting")
	s := newSiteFrom(t, idp, strings.NewReplacer(
		"panel.example.com {", "{\norder gatehouse_test_spy last\n}\n:80 {", "audience panel", "audience panel\nkeys "+idp.keyFile, "reverse_proxy localhost:8090", "gatehouse_test_spy x",
	).Replace(text))
	admin, viewer := s.token(t, claims{"roles": []string{"admin"}}), s.token(t, claims{"roles": []string{"viewer"}})
	writer := s.token(t, claims{"scope": "users:read users:write"})
	cases := map[string]ruleCase{
		"a token for another audience": {ask{target: "/", token: s.token(t, claims{"aud": "shop"})}, refusedWith(401, codeTokenInvalid)},
		"a token of another issuer":    {ask{target: "/", token: newSigner(t, "https://evil.example").token(t, nil)}, refusedWith(401, codeTokenInvalid)},
		"no token":                     {ask{target: "/"}, refusedWith(401, codeCredentialsMissing)},
		"any token elsewhere":          {ask{target: "/sites/7", token: viewer, from: elsewhere}, pass()},
		"a path that begins alike":     {ask{target: "/administrator", token: viewer, from: elsewhere}, pass()},
		"users may be read":            {ask{target: "/users", token: viewer}, pass()},
		"users may be read with HEAD":  {ask{method: "HEAD", target: "/users", token: viewer}, pass()},
		"one user may be posted to":    {ask{method: "POST", target: "/users/7", token: viewer}, pass()},
		"POST /users with the scope":   {ask{method: "POST", target: "/users", token: writer}, pass()},
		"POST /users without it":       {ask{method: "POST", target: "/users", token: admin}, refusedWith(403, codeScopeMissing)},
		"POST /users/ with the scope":  {ask{method: "POST", target: "/users/", token: writer}, pass()},
		"POST /users/ without it":      {ask{method: "POST", target: "/users/", token: admin}, refusedWith(403, codeScopeMissing)},
		"POST //users without it":      {ask{method: "POST", target: "http://example.com//users", token: admin}, refusedWith(403, codeScopeMissing)},
		"POST /users with no token":    {ask{method: "POST", target: "/users"}, refusedWith(401, codeCredentialsMissing)},
		"a GET that says it is a POST": {ask{target: "/users?_method=POST", token: admin}, refusedWith(403, codeScopeMissing)},
	}
	for _, path := range []string{"/admin", "/admin/", "/admin/users", "/ADMIN", "/Admin/", "/admin//", "/admin/users?x=/public"} {
		cases[path+": the role in the office"] = ruleCase{ask{target: path, token: admin, from: office}, pass()}
		cases[path+": another role in the office"] = ruleCase{ask{target: path, token: viewer, from: office}, refusedWith(403, codeRoleMissing)}
		cases[path+": the role elsewhere"] = ruleCase{ask{target: path, token: admin, from: elsewhere}, refusedWith(403, codeAddressDenied)}
		cases[path+": nobody in the office"] = ruleCase{ask{target: path, from: office}, refusedWith(401, codeCredentialsMissing)}
		cases[path+": nobody elsewhere"] = ruleCase{ask{target: path, from: elsewhere}, refusedWith(403, codeAddressDenied)}
		for _, method := range []string{"POST", "DELETE", "PROPFIND"} {
			cases[method+" "+path+": another role"] = ruleCase{ask{method: method, target: path, token: viewer, from: office}, refusedWith(403, codeRoleMissing)}
		}
	}
	s.expectAll(t, cases)
	for _, path := range []string{"/admin", "/admin/"} {
		for who, c := range map[string]struct {
			ask
			want int
		}{
			"another role": {ask{token: viewer, from: office}, 403}, "nobody": {ask{from: office}, 401}, "the role": {ask{token: admin, from: office}, 200}, "elsewhere": {ask{token: admin, from: elsewhere}, 403},
		} {
			c.method, c.target = "HEAD", path
			if w := s.do(c.ask); w.Code != c.want || (w.Header().Get(reachedHeader) != "") != (c.want == 200) {
				t.Errorf("HEAD %s, %s: %d, want %d", path, who, w.Code, c.want)
			}
		}
	}
}
