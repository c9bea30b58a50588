package gatehouse

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// linted is what lint says of the lines of a gate: "line: message", where line 4
// is the first.
func linted(t *testing.T, lines string) []string {
	t.Helper()
	g, err := parseGate("issuer https://id.example.com {\naudience panel\n}\n" + lines)
	if err != nil {
		t.Fatal(err)
	}
	return findings(g)
}

func findings(g *Gatehouse) []string {
	var out []string
	for _, f := range g.lint() {
		out = append(out, strings.TrimPrefix(f.source, "Caddyfile:")+": "+f.message)
	}
	return out
}

// lintCase is a configuration, and the beginning of each finding.
type lintCase struct {
	lines string
	want  []string
}

func lintAll(t *testing.T, cases map[string]lintCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := linted(t, c.lines)
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("%s\ngot  %q\nwant %q", c.lines, got, c.want)
			}
		})
	}
}

// The first line of the cases is line 5 of the file.
func TestLintRulesWithoutEffect(t *testing.T) {
	lintAll(t, map[string]lintCase{
		"public within deny":                  {"deny /a/*\npublic /a/b", []string{"6: public has no effect: deny at Caddyfile:5 refuses all"}},
		"public the same as deny, before it":  {"public /a\ndeny /a/", []string{"5: public has no effect: deny at Caddyfile:6 refuses all"}},
		"public partly within deny":           {"deny /a/*\npublic /a/b /c", nil},
		"public of all within a deny of GET":  {"deny GET /a/*\npublic /a/b", nil},
		"public GET within a deny of GET":     {"deny GET POST /a/*\npublic HEAD GET /a/b", []string{"6: public has no effect"}},
		"public of a sensitive file":          {"deny sensitive_files\npublic /backup.sql", []string{"6: public has no effect"}},
		"public of a folder with some":        {"deny sensitive_files\npublic /backups/*", nil},
		"public of a sensitive folder":        {"hide sensitive_files\npublic /.git/*", []string{"6: public has no effect: hide at Caddyfile:5 refuses all"}},
		"public of a well-known file":         {"deny sensitive_files\npublic /.well-known/key.pem", nil},
		"require within deny":                 {"deny /a/*\nrequire /a/b role admin", []string{"6: require has no effect: deny at Caddyfile:5 refuses all"}},
		"require around deny":                 {"deny /a/b\nrequire /a/* role admin", nil},
		"require for all beside a deny":       {"deny /a/b\nrequire role admin", nil},
		"require within hide":                 {"hide /a*\nrequire /a/b role admin", []string{"6: require has no effect: hide at Caddyfile:5 refuses all"}},
		"deny within hide":                    {"deny /a/b\nhide /a/*", []string{"5: deny has no effect: hide at Caddyfile:6 refuses all"}},
		"hide within deny":                    {"deny /a/*\nhide /a/b", nil},
		"deny twice":                          {"deny /a\ndeny /a", []string{"6: deny has no effect: the one at Caddyfile:5 speaks of all"}},
		"deny within deny, after it":          {"deny /a/*\ndeny /a/b", []string{"6: deny has no effect"}},
		"deny within deny, before it":         {"deny /a/b\ndeny /a/*", []string{"5: deny has no effect: the one at Caddyfile:6 speaks of all"}},
		"deny of a file within a suffix":      {"deny *.sql\ndeny /a/b.SQL", []string{"6: deny has no effect"}},
		"sensitive_files twice":               {"deny sensitive_files\ndeny sensitive_files", []string{"6: deny has no effect"}},
		"deny ip twice":                       {"deny ip 192.0.2.1 192.0.2.2\ndeny ip 192.0.2.2", []string{"6: deny has no effect"}},
		"deny ip of two":                      {"deny ip 192.0.2.1\ndeny ip 192.0.2.2", nil},
		"public twice, three times":           {"public /a /b\npublic /b /a\npublic /a", []string{"6: public has no effect", "7: public has no effect"}},
		"require twice":                       {"require /a role x\nrequire /a/ role x", []string{"6: require has no effect: the one at Caddyfile:5 asks the same"}},
		"require twice with other words":      {"require /a {\nrole x\nmessage one\n}\nrequire /a {\nrole x\nmessage two\n}", []string{"9: require has no effect"}},
		"require the same within":             {"require /a/b role x\nrequire /a/* role x", []string{"5: require has no effect: the one at Caddyfile:6 asks the same"}},
		"require the same of other paths":     {"require /a role x\nrequire /b role x", nil},
		"require the same of other methods":   {"require GET /a role x\nrequire POST /a role x", nil},
		"require the same for some":           {"require /a {\nwhen role u\nscope x\n}\nrequire /a {\nwhen role v\nscope x\n}", nil},
		"require and observe":                 {"require /a role x\nrequire /a {\nrole x\nobserve\n}", nil},
		"require with and without hide":       {"require /a role x\nrequire /a {\nrole x\nhide\n}", nil},
		"require with and without match":      {"require /a role x\nrequire /a {\nmatch {\nheader X y\n}\nrole x\n}", nil},
		"require on an open path":             {"public /a/*\nrequire /a/b role x", []string{"6: require is asked for no path of its own: public at Caddyfile:5"}},
		"require on an open site":             {"public *\nrequire /a role x", []string{"6: require is asked for no path of its own"}},
		"require ip on an open path":          {"public /a/*\nrequire /a/b ip 192.0.2.1", nil},
		"require ip and more on an open path": {"public /a/*\nrequire /a/b {\nip 192.0.2.1\nrole x\n}", nil},
		"require ip within when, on one":      {"public /a/*\nrequire /a/b {\nwhen role x\nip 192.0.2.1\n}", []string{"6: require is asked for no path"}},
		"dot segments":                        {"deny /a/../b\nrequire /c/./* role x", []string{"5: deny: no request matches /a/../b", "6: require: no request matches /c/./*"}},
		"dots that are no segments":           {"deny /.git/* /.*\nhide /..* /a..b/*", nil},
	})
}

func TestLintPublicWithinRequired(t *testing.T) {
	lintAll(t, map[string]lintCase{
		"a page within":          {"public /admin/login /x\nrequire /admin/* role admin", []string{"5: public /admin/login lies within what require at Caddyfile:6 speaks of"}},
		"two pages within":       {"require /admin/* role admin\npublic /admin/login /admin/logout", []string{"6: public /admin/login lies", "6: public /admin/logout lies"}},
		"a folder within":        {"public /admin/assets/*\nrequire /admin* role admin", []string{"5: public /admin/assets/* lies"}},
		"of another method":      {"public POST /admin/hook\nrequire GET /admin/* role admin", nil},
		"of one of the methods":  {"public POST GET /admin/hook\nrequire HEAD /admin/* role admin", []string{"5: public /admin/hook lies"}},
		"within a rule for all":  {"public /login\nrequire role user", nil},
		"within an address rule": {"public /office/status\nrequire /office/* ip 192.0.2.0/24", nil},
		"within a trial":         {"public /admin/login\nrequire /admin/* {\nrole admin\nobserve\n}", nil},
		"beside":                 {"public /administrator\nrequire /admin/* role admin", nil},
	})
}

func TestLintSignIns(t *testing.T) {
	lintAll(t, map[string]lintCase{
		"two acr without a common value": {"require /a/* acr gold\nrequire /a/b acr silver bronze", []string{"6: require: acr has no value in common with the one at Caddyfile:5"}},
		"two acr of one rule":            {"require /a {\nacr gold\nacr silver\n}", []string{"5: require: acr has no value in common with the one at Caddyfile:5"}},
		"two acr with one":               {"require /a/* acr gold silver\nrequire /a/b acr silver bronze", nil},
		"two acr that do not meet":       {"require /a/* acr gold\nrequire /b acr silver", nil},
		"two acr for others":             {"require /a {\nwhen role x\nacr gold\n}\nrequire /a {\nwhen role y\nacr silver\n}", nil},
		"two acr of other methods":       {"require GET /a acr gold\nrequire POST /a acr silver", nil},
		"two acr in any":                 {"require /a {\nany {\nacr gold\nacr silver\n}\n}", nil},
		"two users":                      {"require /a/* user ada\nrequire /a/b user bob", []string{"6: require: user has no value in common"}},
	})
}

func TestLintGrants(t *testing.T) {
	const granting = "issuer https://two.example.com {\naudience panel\ngrants admin /ops\n}\nissuer internal {\naudience panel\ngrants reseller\n}\n"
	for name, c := range map[string]lintCase{
		"a role that is granted":        {"require role admin\nrequire role reseller", nil},
		"one of two is granted":         {"require role owner admin", nil},
		"one that comes with a granted": {"role_order admin > user\nrequire role user", nil},
		"one above the granted":         {"role_order owner > admin\nrequire role owner", []string{"11: require: no issuer may grant role owner, so nobody can pass"}},
		"one that is not":               {"require /a role billing", []string{"10: require: no issuer may grant role billing, so nobody can pass"}},
		"in when":                       {"require /a {\nwhen role billing\nscope x\n}", []string{"10: require: no issuer may grant role billing, so the rule speaks to nobody"}},
		"in any":                        {"require /a {\nany {\nrole billing\nscope x\n}\n}", []string{"10: require: no issuer may grant role billing, so this line of any helps nobody"}},
		"not by the issuer of the rule": {"require /a {\nrole reseller\nissuer https://two.example.com\n}", []string{"10: require: no issuer may grant role reseller"}},
		"from the environment":          {"require /a role {env.ROLE}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := parseGate(granting + c.lines)
			if err != nil {
				t.Fatal(err)
			}
			if got := findings(g); !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got := linted(t, "require role whatever"); got != nil {
		t.Errorf("an issuer that may grant any role: %q", got)
	}
}

func TestLintRoleNames(t *testing.T) {
	lintAll(t, map[string]lintCase{
		"a letter is missing": {"role_order admin > reseller\nrequire role resellr", []string{"6: role resellr looks like a slip of reseller at Caddyfile:5"}},
		"a letter too many":   {"require /a role admin\nrequire /b role adminn", []string{"6: role adminn looks like a slip of admin at Caddyfile:5"}},
		"another letter":      {"require /a role admim\nrequire /b role admin\nrequire /c role admin", []string{"5: role admim looks like a slip of admin at Caddyfile:6"}},
		"another case":        {"require /a role admin\nrequire /b {\nwhen role Admin\nscope x\n}", []string{"6: role Admin looks like a slip of admin"}},
		"within any":          {"require /a role admin\nrequire /b {\nany {\nrole admi\nscope x\n}\n}", []string{"6: role admi looks like a slip of admin"}},
		"two letters":         {"require /a role admin\nrequire /b role admiral", nil},
		"short names":         {"require /a role ops\nrequire /b role oss", nil},
		"numbers":             {"require /a role level1\nrequire /b role level2\nrequire /c role level12", nil},
		"named in one order":  {"role_order users > user\nrequire /a role user", nil},
		"group paths":         {"require /a role /hosting/berlin\nrequire /b role /hosting/berlim", []string{"6: role /hosting/berlim looks like a slip"}},
		"beyond ASCII":        {"require /a role prüfer\nrequire /b role prufer", []string{"6: role prufer looks like a slip of prüfer"}},
	})
}

func TestOneEdit(t *testing.T) {
	for pair, want := range map[[2]string]bool{
		{"abc", "abd"}: true, {"abc", "abcd"}: true, {"abc", "bc"}: true, {"abc", "xabc"}: true, {"", "a"}: true, {"aab", "ab"}: true,
		{"abc", "abc"}: false, {"abc", "bac"}: false, {"abc", "abcde"}: false, {"abc", "xyz"}: false, {"", "ab"}: false,
	} {
		for _, p := range [][2]string{pair, {pair[1], pair[0]}} {
			if got := oneEdit([]rune(p[0]), []rune(p[1])); got != want {
				t.Errorf("%q: %t", p, got)
			}
		}
	}
}

// A warning on what the documents recommend would teach operators to look away.
func TestLintHasNothingToSayOfTheDocuments(t *testing.T) {
	texts := append(fences(readDoc(t, "README.md"), "caddyfile"), readDoc(t, "Caddyfile.example"))
	texts = append(texts, fences(readDoc(t, "xcaddy.md"), "caddyfile")...)
	looked := 0
	for _, text := range texts {
		raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(raw, &tree); err != nil {
			t.Fatal(err)
		}
		for _, handler := range findHandlers(tree) {
			delete(handler, "handler")
			one, err := json.Marshal(handler)
			if err != nil {
				t.Fatal(err)
			}
			g := new(Gatehouse)
			if err := json.Unmarshal(one, g); err != nil {
				t.Fatal(err)
			}
			if got := findings(g); got != nil {
				t.Errorf("%s\n%q", text, got)
			}
			looked++
		}
	}
	if looked < 5 {
		t.Errorf("looked at %d gates", looked)
	}
}

// What lint finds is logged when the gate is loaded, with the place.
func TestLintIsLogged(t *testing.T) {
	g, err := parseGate("issuer internal {\naudience any\n}\ntoken query t\ndeny /a\ndeny /a")
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.WarnLevel)
	g.warn(zap.New(core))
	var sources []string
	for _, line := range logs.All() {
		sources = append(sources, fmt.Sprint(line.ContextMap()["source"]))
	}
	if got := strings.Join(sources, " "); got != "<nil> Caddyfile:2 Caddyfile:7" {
		t.Errorf("got %s: %v", got, logs.All())
	}
}

// Behind a proxy that Caddy does not know, every visitor comes from the proxy,
// and the first sign of it is that everybody or nobody is let in.
func TestForwardedForWithoutTrustedProxies(t *testing.T) {
	const trusting = "{\nservers {\ntrusted_proxies static 203.0.113.0/24\n}\n}\n"
	forwarded := http.Header{"X-Forwarded-For": {"198.51.100.9"}}
	for name, c := range map[string]struct {
		global, rules string
		header        http.Header
		want          int
	}{
		"an address rule":                 {"", "require /x ip 192.0.2.0/24", forwarded, 1},
		"deny ip":                         {"", "deny ip 198.51.100.0/24", forwarded, 1},
		"an address under when":           {"", "require /x {\nwhen role a\nip 192.0.2.0/24\n}", forwarded, 1},
		"an address on trial":             {"", "require /x {\nip 192.0.2.0/24\nobserve\n}", forwarded, 1},
		"no address rule":                 {"", "require /x role admin", forwarded, 0},
		"no such header":                  {"", "require /x ip 192.0.2.0/24", nil, 0},
		"trusted_proxies, from elsewhere": {trusting, "require /x ip 192.0.2.0/24", forwarded, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSigner(t, testIssuer)
			site := newSiteFrom(t, s, c.global+":80 {\ngatehouse {\npublic *\nissuer internal {\naudience a\n}\n"+c.rules+"\n}\nrespond ok\n}")
			for range 3 {
				site.do(ask{target: "/x", header: c.header})
			}
			if got := site.logs.FilterMessageSnippet("X-Forwarded-For").Len(); got != c.want {
				t.Errorf("told %d times, want %d", got, c.want)
			}
		})
	}
}
