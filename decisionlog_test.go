package gatehouse

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// told is the one record of the last request, without its request id.
func (s *site) told(message string) (map[string]any, zapcore.Level) {
	s.t.Helper()
	lines := s.logs.FilterMessage(message).All()
	_ = s.logs.TakeAll()
	if len(lines) != 1 {
		s.t.Fatalf("%d records, want one: %v", len(lines), lines)
	}
	fields := lines[0].ContextMap()
	if id, _ := fields["request_id"].(string); !uuidPattern.MatchString(id) {
		s.t.Errorf("request_id is %v", fields["request_id"])
	}
	delete(fields, "request_id")
	return fields, lines[0].Level
}

// logText is all that was logged, as JSON.
func (s *site) logText() string {
	s.t.Helper()
	var out strings.Builder
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	for _, line := range s.logs.All() {
		buf, err := encoder.EncodeEntry(line.Entry, line.Context)
		if err != nil {
			s.t.Fatal(err)
		}
		out.Write(buf.Bytes())
	}
	return out.String()
}

// logLine is what a record holds beside what every one does.
type logLine map[string]any

func (want logLine) withCommon(status int, c code) map[string]any {
	all := map[string]any{
		"code": string(c), "status": int64(status), "client_ip": "192.0.2.1", "client_ip_from": "peer", "method": "GET", "host": "example.com",
	}
	maps.Copy(all, want)
	return all
}

// "Why was I refused?" is answered by one record, and by nothing that does not
// apply.
func TestRecordOfARefusal(t *testing.T) {
	s := newSite(t, `
		token header Authorization Bearer
		token cookie session
		token query key
		token websocket
		deny /private/* *.sql
		hide /internal/*
		require /admin/* {
			name admins
			role admin owner
		}
		require /backups scope backups:read backups:write
		require /office/* ip 198.51.100.0/24
		require /pay/* acr gold silver
		require /vip @vip claim plan gold
		throttle 2 1h`, "@vip header X-Vip *")
	rules := s.gate.Require
	deny, hide, backups, office, pay, vip := s.gate.Deny[0].Source, s.gate.Hide[0].Source, rules[1].Source, rules[2].Source, rules[3].Source, rules[4].Source
	stranger := newSigner(t, "https://evil.example.com")
	stranger.kid = "their-key"
	forger := newSigner(t, testIssuer)
	forger.kid = "our-key"
	// visitor is what a record tells of ada, and of the rule she met.
	visitor := func(rule logLine) logLine {
		rule["issuer"], rule["subject"], rule["token_source"] = testIssuer, "ada", "header"
		return rule
	}
	for _, c := range []struct {
		name string
		ask
		want  verdict
		level zapcore.Level
		told  logLine
	}{
		{"no credential", ask{target: "/x"}, refusedWith(401, codeCredentialsMissing), zapcore.DebugLevel, nil},
		{"garbage", ask{target: "/x", token: "garbage"}, refusedWith(401, codeCredentialsMalformed), zapcore.InfoLevel,
			logLine{"cause": "not three segments", "token_source": "header"}},
		{"two tokens", ask{target: "/x", header: http.Header{"Cookie": {"session=a; session=b"}}}, refusedWith(400, codeCredentialsAmbiguous), zapcore.InfoLevel,
			logLine{"cause": "the cookie source holds two tokens", "token_source": "cookie"}},
		{"a forged token", ask{target: "/x", token: forger.token(t, nil)}, refusedWith(401, codeTokenInvalid), zapcore.WarnLevel,
			logLine{"cause": "signature does not match", "token_source": "header", "unverified": map[string]any{"issuer": testIssuer, "kid": "our-key"}}},
		{"the same again, in a cookie", ask{target: "/x", header: http.Header{"Cookie": {"session=" + forger.token(t, claims{"exp": 4e9})}}},
			refusedWith(401, codeTokenInvalid), zapcore.WarnLevel,
			logLine{"cause": "signature does not match", "token_source": "cookie", "unverified": map[string]any{"issuer": testIssuer, "kid": "our-key"}}},
		{"an unknown issuer", ask{target: "/x", token: stranger.token(t, nil)}, refusedWith(401, codeTokenInvalid), zapcore.WarnLevel,
			logLine{"cause": "unknown issuer", "token_source": "header", "unverified": map[string]any{"issuer": "https://evil.example.com", "kid": "their-key"}}},
		{"an expired token", ask{target: "/x?key=" + s.token(t, claims{"exp": time.Now().Add(-time.Hour).Unix()})}, refusedWith(401, codeTokenExpired), zapcore.InfoLevel,
			logLine{"cause": "exp has passed", "token_source": "query", "issuer": testIssuer, "subject": "ada", "expired_seconds": int64(3600)}},
		{"not valid yet", ask{target: "/x", token: s.token(t, claims{"nbf": time.Now().Add(time.Hour).Unix()})}, refusedWith(401, codeTokenNotYetValid), zapcore.InfoLevel,
			visitor(logLine{"cause": "nbf is in the future"})},
		{"a role", ask{target: "/admin/users/7", token: s.token(t, claims{"roles": []string{"user", "billing"}})}, refusedWith(403, codeRoleMissing), zapcore.InfoLevel,
			visitor(logLine{"cause": "role admin, owner", "rule": "admins", "source": rules[0].Source, "route": "/admin/*",
				"need": []any{"admin", "owner"}, "have": []any{"user", "billing"}})},
		{"a scope", ask{target: "/backups", token: s.token(t, claims{"scope": "backups:read x"})}, refusedWith(403, codeScopeMissing), zapcore.InfoLevel,
			visitor(logLine{"cause": "scope backups:read backups:write", "rule": backups, "source": backups, "route": "/backups",
				"need": []any{"backups:read", "backups:write"}, "have": []any{"backups:read", "x"}})},
		{"an acr", ask{target: "/pay/now", token: s.token(t, claims{"acr": "bronze"})}, refusedWith(401, codeStepUpRequired), zapcore.InfoLevel,
			visitor(logLine{"cause": "acr gold, silver", "rule": pay, "source": pay, "route": "/pay/*",
				"need": []any{"gold", "silver"}, "have": []any{"bronze"}})},
		{"a claim, by a matcher", ask{target: "/y", token: s.token(t, nil), header: http.Header{"X-Vip": {"1"}}}, refusedWith(403, codeClaimMissing), zapcore.InfoLevel,
			visitor(logLine{"cause": "claim plan gold", "rule": vip, "source": vip})},
		{"a claim, by a path", ask{target: "/vip", token: s.token(t, nil)}, refusedWith(403, codeClaimMissing), zapcore.InfoLevel,
			visitor(logLine{"cause": "claim plan gold", "rule": vip, "source": vip, "route": "/vip"})},
		{"a path", ask{target: "/private/x"}, refusedWith(403, codePathDenied), zapcore.InfoLevel,
			logLine{"cause": "deny", "rule": deny, "source": deny, "route": "/private/*"}},
		{"another path of the rule", ask{target: "/dump.sql"}, refusedWith(403, codePathDenied), zapcore.InfoLevel,
			logLine{"cause": "deny", "rule": deny, "source": deny, "route": "*.sql"}},
		{"an address", ask{target: "/office/x"}, refusedWith(403, codeAddressDenied), zapcore.InfoLevel,
			logLine{"cause": "client address is not in the rule's networks", "rule": office, "source": office, "route": "/office/*"}},
		{"a hidden path", ask{target: "/internal/x", token: s.token(t, nil)}, refusedWith(404, ""), zapcore.InfoLevel,
			visitor(logLine{"cause": "hide", "rule": hide, "source": hide, "route": "/internal/*"})},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			_ = s.logs.TakeAll()
			s.expect(c.want, c.ask)
			got, level := s.told("refused")
			why := code(c.want.code)
			if c.want.status == 404 {
				why = codeHidden
			}
			if want := c.told.withCommon(c.want.status, why); !reflect.DeepEqual(normal(t, got), normal(t, want)) {
				t.Errorf("logLine\n%v\nwant\n%v", got, want)
			}
			if level != c.level {
				t.Errorf("level %s, want %s", level, c.level)
			}
		})
	}
}

// normal makes values comparable, whatever their Go types.
func normal(t testing.TB, fields map[string]any) map[string]any {
	t.Helper()
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// An attacker writes into the log what a terminal obeys, or what a reader takes
// for a line of ours.
func TestAttackLogForgery(t *testing.T) {
	s := newSite(t, "")
	forger := newSigner(t, testIssuer)
	forger.kid = "\u202e" + `","code":"allowed` + strings.Repeat("k", 900)
	s.expect(refusedWith(401, codeTokenInvalid), ask{target: "/", token: forger.token(t, nil), change: func(r *http.Request) {
		r.Host = strings.Repeat("h", 900)
	}})
	got, _ := s.told("refused")
	kid := got["unverified"].(map[string]any)["kid"].(string)
	host := got["host"].(string)
	for name, c := range map[string]struct {
		text string
		most int
	}{"kid": {kid, maxLoggedClaim}, "host": {host, maxLoggedHost}} {
		if len(c.text) > c.most || len(c.text) < 50 || strings.ContainsFunc(c.text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s is %q", name, c.text)
		}
	}
}

// Whoever reads logs must not be able to sign in by them. Nothing of a token is
// there, wherever it was, and no value of the query.
func TestAttackTokensFromTheLog(t *testing.T) {
	s := newSite(t, "token header Authorization Bearer\ntoken header X-Api-Token\ntoken cookie session\ntoken query key\ntoken websocket\nrequire role admin")
	forger := newSigner(t, testIssuer)
	for name, token := range map[string]string{
		"good": s.token(t, nil), "forged": forger.token(t, nil), "expired": s.token(t, claims{"exp": 1}), "garbage": "sesame-sesame-sesame-sesame",
	} {
		upgrade := http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Origin": {"http://example.com"}}
		upgrade["Sec-Websocket-Protocol"] = []string{"bearer, " + token}
		for _, a := range []ask{
			{target: "/x?other=hunter2hunter2", token: token},
			{target: "/x?key=" + token},
			{target: "/x", header: http.Header{"X-Api-Token": {token}}},
			{target: "/x", header: http.Header{"Cookie": {"session=" + token}}},
			{target: "/x", header: upgrade},
			{target: "/x?key=" + token, token: token},
		} {
			s.do(a)
		}
		text := s.logText()
		parts := append(strings.Split(token, "."), "hunter2")
		for _, part := range parts {
			for at := 0; at+8 <= len(part); at += 4 {
				if piece := part[at : at+8]; piece != "hunter2" && strings.Contains(text, piece) && !strings.Contains(testIssuer, piece) {
					t.Fatalf("%s: the log holds %q of a token", name, piece)
				}
			}
		}
		if strings.Contains(text, "hunter2") {
			t.Error("the log holds a query value")
		}
		if n := s.logs.FilterMessage("refused").Len(); n != 6 {
			t.Errorf("%s: %d records", name, n)
		}
		_ = s.logs.TakeAll()
	}
}

// A visitor with a thousand roles must not fill the log.
func TestRecordListsNoMoreThanNeeded(t *testing.T) {
	s := newSite(t, "token_limit 100000\nrequire role admin")
	var roles []string
	for i := range 1000 {
		roles = append(roles, fmt.Sprintf("role-%d\x1b", i))
	}
	s.expect(refusedWith(403, codeRoleMissing), ask{target: "/", token: s.token(t, claims{"roles": roles})})
	got, _ := s.told("refused")
	have := got["have"].([]any)
	if len(have) != maxLoggedHave || have[0] != "role-0?" {
		t.Errorf("have %d: %v", len(have), have[0])
	}
}

// Behind a proxy the record says whose word the address is.
func TestRecordSaysWhereTheAddressIsFrom(t *testing.T) {
	s := newSigner(t, testIssuer)
	site := newSiteFrom(t, s, `{
	servers {
		trusted_proxies static 192.0.2.0/24
	}
}
:80 {
	route {
		gatehouse {
			issuer `+testIssuer+` {
				keys `+s.keyFile+`
				audience panel
			}
		}
	}
}`)
	for name, c := range map[string]struct{ peer, forwarded, address, from string }{
		"a client of the proxy":     {"192.0.2.1:1", "203.0.113.7", "203.0.113.7", "trusted_proxy"},
		"the proxy itself":          {"192.0.2.1:1", "", "192.0.2.1", "peer"},
		"somebody who pretends":     {"198.51.100.1:1", "203.0.113.7", "198.51.100.1", "peer"},
		"a client by IPv6":          {"192.0.2.1:1", "2001:db8::1", "2001:db8::1", "trusted_proxy"},
		"a peer mapped into IPv6":   {"[::ffff:198.51.100.1]:1", "", "198.51.100.1", "peer"},
		"a client on a UNIX socket": {"@", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			site.t = t
			_ = site.logs.TakeAll()
			a := ask{target: "/", token: "garbage", from: c.peer}
			if c.forwarded != "" {
				a.header = http.Header{"X-Forwarded-For": {c.forwarded}}
			}
			site.do(a)
			got, _ := site.told("refused")
			address, _ := got["client_ip"].(string)
			from, _ := got["client_ip_from"].(string)
			if address != c.address || from != c.from {
				t.Errorf("client_ip %q from %q, want %q from %q", address, from, c.address, c.from)
			}
		})
	}
}

// Who debugs sees what passes, too; who does not pays nothing.
func TestRecordOfAPass(t *testing.T) {
	s := newSite(t, "public /login")
	s.expect(pass(), ask{target: "/x", token: s.token(t, nil)})
	got, level := s.told("allowed")
	if want := (map[string]any{
		"client_ip": "192.0.2.1", "client_ip_from": "peer", "method": "GET", "host": "example.com", "issuer": testIssuer, "subject": "ada", "public": false,
	}); !reflect.DeepEqual(got, want) || level != zapcore.DebugLevel {
		t.Errorf("%s %v", level, got)
	}
	s.expect(pass(), ask{target: "/login"})
	if got, _ = s.told("allowed"); got["public"] != true || got["subject"] != nil {
		t.Errorf("%v", got)
	}
	core, logs := observer.New(zapcore.InfoLevel)
	s.gate.gate.teller.log = zap.New(core)
	var asked bool
	s.spy(func(r *http.Request) {
		_, asked = caddyhttp.GetVar(r.Context(), "uuid").(fmt.Stringer)
	})
	s.expect(pass(), ask{target: "/x", token: s.token(t, nil)})
	if logs.Len() != 0 || asked {
		t.Errorf("%d records; a request id was made: %t", logs.Len(), asked)
	}
}

// An outage is one line each ten seconds, with how many it stands for. It must
// not fill the disk, nor hide that of another issuer.
func TestOutageIsToldOnceInAWhile(t *testing.T) {
	s := newSite(t, "")
	now := time.Now()
	teller := s.gate.gate.teller
	teller.now = func() time.Time { return now }
	outageOf := func(issuer string) *refusal {
		return &refusal{code: codeKeysUnavailable, cause: "keys unavailable", token: newTokenFacts(&trustedIssuer{name: issuer}, issuer, "k")}
	}
	s.spy(func(r *http.Request) {
		for range 100 {
			teller.record(r, outageOf("https://one.example.com"))
		}
		teller.record(r, outageOf("https://two.example.com"))
	})
	lines := func() (out []any) {
		_ = s.logs.TakeAll()
		s.do(ask{target: "/x", token: s.token(t, nil)})
		for _, line := range s.logs.FilterMessage("refused").All() {
			fields := line.ContextMap()
			if line.Level != zapcore.ErrorLevel {
				t.Errorf("level %s", line.Level)
			}
			out = append(out, fields["unverified"].(map[string]any)["issuer"], fields["unlogged"])
		}
		return out
	}
	for _, c := range []struct {
		after time.Duration
		want  []any
	}{
		{0, []any{"https://one.example.com", nil, "https://two.example.com", nil}},
		{outageInterval - 1, nil},
		{1, []any{"https://one.example.com", int64(199), "https://two.example.com", int64(1)}},
		{-time.Hour, []any{"https://one.example.com", int64(99), "https://two.example.com", nil}}, // the clock was set back
	} {
		now = now.Add(c.after)
		if got := lines(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s later: %v, want %v", c.after, got, c.want)
		}
	}
}

// With a token that keys are missing for, or do not verify, goes how old they are.
func TestRecordHasTheAgeOfTheKeys(t *testing.T) {
	f := newFakeIssuer(t)
	s := newSiteFrom(t, f.signer, f.caddyfile(1))
	s.expect(pass(), ask{target: "/", token: f.token(t, nil)})
	fetched := s.gate.gate.authn.issuers[f.issuer].keys.(fetchedKeys).FetchedAt()
	s.gate.gate.teller.now = func() time.Time { return fetched.Add(time.Hour) }
	forger := newSigner(t, f.issuer)
	forger.kid = "first"
	s.expect(refusedWith(401, codeTokenInvalid), ask{target: "/", token: forger.token(t, nil)})
	got, _ := s.told("refused")
	age, _ := got["keys_age_seconds"].(int64)
	if age < 3590 || age > 3600 { // a forged token may have made the gate look again
		t.Errorf("logLine %v", got)
	}
}
