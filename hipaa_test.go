package gatehouse

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// With hipaa every 403 says one thing, whatever rule and page settings say.
// Programs still have their code, and who may sign in still can.
func TestHIPAASaysAccessDenied(t *testing.T) {
	s := newSite(t, `
		privacy hipaa
		deny /denied
		require /role {
			role admin
			message "the ward's own words"
		}
		require /office ip 198.51.100.0/24
		brand {
			login https://id.example.com/?to={return_to}
			support https://help.example.com/?from={return_to}
		}
		profile rfc`)
	token := s.token(t, nil)
	for path, why := range map[string]code{"/denied": codePathDenied, "/role": codeRoleMissing, "/office": codeAddressDenied} {
		w := s.expect(refusedWith(403, why), ask{target: path, token: token})
		var body struct{ Title, Detail string }
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Title != "Access denied" || body.Detail != "Access denied." {
			t.Errorf("%s: %s", path, w.Body)
		}
		page := s.do(ask{target: path, token: token, header: browser}).Body.String()
		if !strings.Contains(page, "<title>Access denied") || strings.Contains(page, "192.0.2.1") || strings.Contains(page, "approved network") || strings.Contains(page, "ward") || strings.Contains(page, path[1:]+`"`) {
			t.Errorf("%s: the page says\n%s", path, page)
		}
		german := http.Header{"Accept-Language": {"de"}}
		if body := s.do(ask{target: path, token: token, header: german}).Body.String(); !strings.Contains(body, "Zugriff verweigert") {
			t.Errorf("%s: %s", path, body)
		}
	}
	page := s.do(ask{target: "/records/7", header: browser}).Body.String()
	if !strings.Contains(page, "https://id.example.com/?to=%2F\"") || strings.Contains(page, "records") {
		t.Errorf("the sign-in page says\n%s", page)
	}
}

// The gate's placeholders reach error routes, headers and other logs.
func TestHIPAAPlaceholders(t *testing.T) {
	for level, want := range map[string]string{privacyGDPR: "role_missing|wards|role_missing", privacyHIPAA: "role_missing||role_missing"} {
		s := newSigner(t, testIssuer)
		site := newSiteFrom(t, s, `:80 {
	gatehouse {
		issuer `+testIssuer+` {
			keys `+s.keyFile+`
			audience panel
		}
		privacy `+level+`
		on_refusal error
		require /x {
			name wards
			role admin
		}
	}
	handle_errors {
		respond "{http.gatehouse.code}|{http.gatehouse.rule}|{err.message}"
	}
}`)
		if w := site.do(ask{target: "/x", token: s.token(t, nil)}); w.Body.String() != want {
			t.Errorf("%s: %s", level, w.Body)
		}
	}
}

// One request has one id: on the page, in the body, in the record and in the
// access log, which also says why.
func TestOneRequestIDEverywhere(t *testing.T) {
	s := newSigner(t, testIssuer)
	file := filepath.Join(t.TempDir(), "log.json")
	c := runLogged(t, s, file, hosted("a", `
	log
	gatehouse {
		issuer `+testIssuer+` {
			keys `+s.keyFile+`
			audience panel
		}
		require {
			name staff
			role admin
		}
	}
`))
	ids := map[string]int{}
	token := s.token(t, nil)
	for _, header := range []http.Header{browser, {"Accept": {"application/json"}}, {"Accept": {"text/plain"}}} {
		body := c.do(ask{target: urlOf("a", "/"), token: token, header: header}).Body.String()
		ids[uuidPattern.FindString(body)]++
	}
	c.do(ask{target: urlOf("a", "/"), token: c.token(t, claims{"roles": "admin"})})
	c.stop()
	lines := logLines(t, file)
	var access int
	for _, line := range lines {
		var fields struct {
			Msg           string
			RequestID     string `json:"request_id"`
			UUID          string
			GatehouseCode string `json:"gatehouse_code"`
			GatehouseRule string `json:"gatehouse_rule"`
		}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		switch {
		case fields.Msg == "refused":
			ids[fields.RequestID]++
		case fields.GatehouseCode == "role_missing" && fields.GatehouseRule == "staff":
			ids[fields.UUID]++
			access++
		}
	}
	if len(ids) != 3 || access != 3 {
		t.Errorf("ids %v, %d lines in the access log", ids, access)
	}
	for id, n := range ids {
		if n != 3 || id == "" {
			t.Errorf("id %q is in %d places, want body, record and access log", id, n)
		}
	}
}
