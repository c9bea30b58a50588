package gatehouse

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"go.uber.org/zap/zaptest/observer"
)

// `check` and the running handler agree on a thousand random requests: in
// status, code, headers and body, in the rule that refuses, and in what that
// rule lacks.
func TestCheckAgreesWithTheHandler(t *testing.T) {
	const (
		seed     = 20
		ruleSets = 8
		requests = 125
	)
	t.Logf("seed %d", seed)
	rnd := checkDice{rand.New(rand.NewPCG(seed, seed))}
	seen := make(map[string]int)
	for range ruleSets {
		signer := newSigner(t, testIssuer)
		text := rnd.caddyfile(signer)
		live, rehearsed := newSiteFrom(t, signer, text), newTestStage(t, text)
		for range requests {
			r := rnd.request()
			outcome := compare(t, live, rehearsed, r)
			if t.Failed() {
				t.Fatalf("%+v\n%s", r, text)
			}
			seen[outcome]++
		}
	}
	t.Log(seen)
	for _, outcome := range []string{"200", "credentials_missing", "role_missing", "scope_missing", "claim_missing", "address_denied", "path_denied", "hidden", "step_up_required", "request_ambiguous"} {
		if seen[outcome] == 0 {
			t.Errorf("no request was answered %s", outcome)
		}
	}
}

// compare asks both, and returns the code, or 200.
func compare(t *testing.T, live *site, rehearsed *stage, r randomRequest) string {
	t.Helper()
	live.logs.TakeAll()
	real := live.do(r.ask(t, live))
	p, err := rehearsed.perform(t.Context(), r.call())
	if err != nil {
		t.Fatal(err)
	}
	reached := real.Header().Get(reachedHeader) != ""
	if reached != p.passed() {
		t.Errorf("the handler passes: %t, check: %t", reached, p.passed())
		return ""
	}
	if reached {
		return "200"
	}
	told := func(h http.Header, body fmt.Stringer) string {
		return pageTime.ReplaceAllString(scrubText(fmt.Sprintf("%v\n%s", h, body)), "TIME")
	}
	if real.Code != p.answer.status || told(real.Header(), real.Body) != told(p.answer.sent, &p.answer.body) {
		t.Errorf("the handler answers %d %v %s\ncheck %d %v %s", real.Code, real.Header(), real.Body, p.answer.status, p.answer.sent, &p.answer.body)
	}
	logged := refusalLog(t, live.logs)
	text := func(field string) string {
		s, _ := logged[field].(string) // what does not apply is left out
		return s
	}
	e := p.gates[0]
	if text("code") != string(e.no.code) || text("source") != e.no.rule.source || text("cause") != e.no.cause {
		t.Errorf("the handler logs %v\ncheck says %s, %s", logged, e.verdict(), e.no.cause)
	}
	checkNamedRule(t, &e)
	return string(e.no.code)
}

// checkNamedRule wants the rule that refused to be shown as a hit, and against
// this visitor.
func checkNamedRule(t *testing.T, e *explanation) {
	t.Helper()
	if slices.ContainsFunc(e.rules, func(r ruleReport) bool {
		return r.hit && (r.option == "hide" || slices.Contains(r.notes, "hide"))
	}) {
		return // answered as another path would be, by that one's rules
	}
	for i := range e.rules {
		rule := &e.rules[i]
		named := rule.source == e.no.rule.source
		refuses := rule.hit && (rule.option == "deny" || len(rule.unmet()) > 0)
		if named && !refuses {
			t.Errorf("%s refused, and is shown as hit: %t, unmet: %v", rule.source, rule.hit, rule.unmet())
		}
	}
}

// pageTime is how a page shows the time.
var pageTime = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`)

func refusalLog(t *testing.T, logs *observer.ObservedLogs) map[string]any {
	t.Helper()
	entries := logs.FilterMessage("refused").All()
	if len(entries) != 1 {
		t.Fatalf("%d refusals in the log", len(entries))
	}
	return entries[0].ContextMap()
}

// newTestStage rehearses a Caddyfile.
func newTestStage(t *testing.T, caddyfile string) *stage {
	t.Helper()
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	config["storage"] = map[string]any{"module": "file_system", "root": t.TempDir()}
	if raw, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	s, err := newStage(raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// randomRequest is one request, for both.
type randomRequest struct {
	method, path  string
	header        http.Header
	known         bool
	roles, scopes []string
	user, plan    string
	acr           string
	signedIn      time.Duration
	address       string
}

// ask is the request with a real token.
func (r randomRequest) ask(t *testing.T, s *site) ask {
	a := ask{method: r.method, target: r.path, header: r.header.Clone(), from: r.address + ":1024"}
	a.change = func(r *http.Request) { r.Host = "localhost" }
	if strings.Contains(r.address, ":") {
		a.from = "[" + r.address + "]:1024"
	}
	if r.known {
		a.token = s.token(t, claims{
			"sub": r.user, "roles": r.roles, "scope": strings.Join(r.scopes, " "), "plan": r.plan, "acr": r.acr,
			"auth_time": time.Now().Add(-r.signedIn).Unix(),
		})
	}
	return a
}

// call is the request of an imagined visitor.
func (r randomRequest) call() *call {
	c := &call{method: r.method, target: "http://localhost" + r.path, header: r.header, visitor: AssumedVisitor{IP: r.address}}
	if r.known {
		since := caddy.Duration(r.signedIn)
		c.visitor.Role, c.visitor.Scope, c.visitor.User, c.visitor.ACR, c.visitor.SignedIn = r.roles, r.scopes, r.user, r.acr, &since
		c.visitor.Claim = map[string]string{"plan": r.plan}
	}
	return c
}

// checkDice makes rules and requests that have much to do with each other.
type checkDice struct{ *rand.Rand }

func (d checkDice) one(of ...string) string { return of[d.IntN(len(of))] }

func (d checkDice) some(of ...string) []string {
	return slices.DeleteFunc(slices.Clone(of), func(string) bool { return d.IntN(2) == 0 })
}

func (d checkDice) request() randomRequest {
	r := randomRequest{
		method: d.one("GET", "GET", "HEAD", "POST", "DELETE", "OPTIONS"),
		path: d.one("/", "/a", "/a/x", "/a/x", "/b/x", "/b/x/y", "/c/x", "/old/x", "/A/x", "//a/x", "/a;p/x", "/a%2fx", "/a/../b/x", "/dump.sql") +
			d.one("", "", "?q=1", "?_method=DELETE"),
		header:  make(http.Header),
		known:   d.IntN(4) > 0,
		roles:   d.some("admin", "reseller", "user"),
		scopes:  d.some("read", "write"),
		user:    d.one("ada", "bob"),
		plan:    d.one("gold", "tin"),
		acr:     d.one("strong", "weak"),
		address: d.one("192.0.2.1", "192.0.2.1", "203.0.113.9", "2001:db8::1"),
	}
	r.signedIn = []time.Duration{0, time.Hour}[d.IntN(2)]
	for name, value := range map[string]string{
		"X-Danger": "yes", "X-Http-Method-Override": "DELETE", "Origin": "http://localhost", "Access-Control-Request-Method": "PUT",
		"Accept": d.one("text/html", "application/json", "*/*"), "Accept-Language": d.one("de", "en"),
	} {
		if d.IntN(4) == 0 {
			r.header.Set(name, value)
		}
	}
	return r
}

func (d checkDice) caddyfile(s *signer) string {
	var rules strings.Builder
	for range 2 + d.IntN(10) {
		rules.WriteString("\t\t\t" + d.rule() + "\n")
	}
	return fmt.Sprintf(`
:80 {
	route {
		@danger header X-Danger yes
		rewrite /old/* /a{uri}
		gatehouse {
			issuer %s {
				keys %s
				audience %s
			}
			role_order admin > reseller
%s		}
		gatehouse_test_spy id:%s
	}
}`, s.issuer, s.keyFile, testAudience, rules.String(), s.keyFile)
}

func (d checkDice) selector() string {
	return strings.TrimSpace(d.one("", "", "", "POST DELETE", "GET") + " " + d.one("/a/*", "/a/*", "/b/*", "/b/x", "/c/*", "@danger"))
}

func (d checkDice) rule() string {
	switch d.IntN(8) {
	case 0:
		return "deny " + d.one(d.selector(), "sensitive_files", "ip 203.0.113.0/24")
	case 1:
		return "public " + d.selector()
	case 2:
		return "hide " + d.one("/b/x/*", "/c/*", "DELETE @danger")
	case 3:
		return fmt.Sprintf("require %s {\n when %s\n %s\n }", d.selector(), d.condition(false), d.condition(true))
	case 4:
		return fmt.Sprintf("require %s {\n any {\n %s\n %s\n }\n %s\n }", d.selector(), d.condition(true), d.condition(true), d.one("", "hide", "observe", "message hello"))
	case 5:
		return fmt.Sprintf("require {\n match {\n header X-Danger yes\n }\n %s\n }", d.condition(true))
	}
	return "require " + d.selector() + " " + d.condition(true)
}

func (d checkDice) condition(signIn bool) string {
	kinds := map[string]string{
		"role": "role " + d.one("admin", "reseller", "user"), "scope": "scope " + d.one("read", "write", "read write"),
		"user": "user ada", "claim": "claim plan gold", "issuer": "issuer " + testIssuer, "ip": "ip 192.0.2.0/24 2001:db8::/32",
	}
	if signIn {
		kinds["fresh"], kinds["acr"] = "fresh 10m", "acr strong"
	}
	return kinds[d.one(slices.Sorted(maps.Keys(kinds))...)]
}
