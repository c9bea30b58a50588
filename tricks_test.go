package gatehouse

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What stands in front of a protected name, in its place, and behind it.
var (
	trickPrefixes = []string{
		"/", "//", "///", "/./", "/x/../", "/public/../", "/public/./../", "/public/%2e%2e/", "/public/%2E./", "/public/.%2e/", "/public/..%2f", "/public/..%5c",
		"/public%2f..%2f", `/public\..\`, "/public%5c..%5c", "/%2f", "/%2F/", "/%5c", `/\`, "/%5C/", "/;/", "/;x=y/", "/%3b/", "/%3Bx/", "/public/..;/", "/public/..;a=b/", "/public;/..;/",
		"/.;/", "/..;/", "/public/..%3b/", "/public/.;./", "//host/", "///host/", `/\host/`, `\\host/`, "//host;x/", "//user@host:80/", "//public/", "//host//", "/;//host/", "/;/host/",
		"http://panel.test/", "HTTP://panel.test//", "http:///", "http://panel.test//host/", "http://panel.test/public/../", "https://other.test/", "/%252e%252e/", "/public/%252e%252e/", "/%252f",
		"/..%00/", "/%00/", "/public/%c0%ae%c0%ae/", "/public/%c0%af..%c0%af", "/public%2f../", "/public/%2e%2e;x/", "/public/..%2f;/", "/;%2fx/", "/;%2fx%2fy/", "/public;%2f/../", "/public/x/..%2f../", "/public%2f", "/%2fpublic/",
	}
	trickNames = []string{
		"NAME", "TITLE", "UPPER", "FIRST", "TWICE", "NAME;x", "NAME;", ";NAME", "NAME%3bx", "NAME.", "NAME%20", "NAME%2e", "NAME%00", "WIDE", "NAME%09", "NAME%5c", "NAME%2f", "NAME%3f", "NAME%23", ".NAME", "%20NAME",
	}
	trickSuffixes = []string{
		"", "/", "//", "/users", "/users;x", ";/users", ";a=/users", "/.", "/%2e", "/users?x=1", "?/public/", "#/public/", "/..;/public", "/../public/", "%2fusers", "%5cusers", "/users%2f..", "/users%2f..%2f..%2fpublic",
		"/users/%2e%2e", "%3f", "/;/users", "/users.", "/%2e%2e/public/x", "%2f..%2fpublic/x", "/users%252f", "/..%252fpublic", "//public/..",
	}
)

// corpus combines the tricks around one name: every prefix with every spelling
// of the name, and every prefix with every suffix.
func corpus(name string) []string {
	spell := strings.NewReplacer(
		"NAME", name, "TITLE", strings.ToUpper(name[:1])+name[1:], "UPPER", strings.ToUpper(name),
		"FIRST", fmt.Sprintf("%%%02x%s", name[0], name[1:]), "TWICE", fmt.Sprintf("%%25%02x%s", name[0], name[1:]),
		// Fullwidth letters begin at U+FF41.
		"WIDE", fmt.Sprintf("%%EF%%BD%%%02X%s", 0x81+name[0]-'a', name[1:]),
	)
	var out []string
	for _, prefix := range trickPrefixes {
		for _, word := range trickNames {
			out = append(out, prefix+spell.Replace(word), prefix+spell.Replace(word)+"/users")
		}
		for _, suffix := range trickSuffixes {
			out = append(out, prefix+name+suffix)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// trickSite is a gate with the given options before a recorder.
func trickSite(t *testing.T, options string) (*site, *recorder, string) {
	t.Helper()
	u := newRecorder(t)
	s := newSigner(t, testIssuer)
	site := newSiteFrom(t, s, `
:80 {
	gatehouse {
		issuer `+testIssuer+` {
			keys `+s.keyFile+`
			audience `+testAudience+`
		}
		`+options+`
	}
	reverse_proxy `+u.address+`
}`)
	return site, u, site.listen()
}

// sendAll sends each target over a few keep-alive connections and returns the
// statuses. The case of a request is its target.
func sendAll(t *testing.T, address, method string, targets []string, lines ...string) map[string]int {
	t.Helper()
	statuses := make(map[string]int, len(targets))
	var mu sync.Mutex
	var wg sync.WaitGroup
	const connections = 4
	for start := range connections {
		wg.Go(func() {
			c := &wire{address: address}
			defer c.close()
			for i := start; i < len(targets); i += connections {
				target := targets[i]
				got, err := c.send(method, rawRequest(method, target, append([]string{caseHeader + ": " + method + " " + target}, lines...)...))
				if err != nil {
					t.Errorf("%s %s: %v", method, target, err)
					return
				}
				mu.Lock()
				statuses[target] = got.status
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return statuses
}

// slips are the targets that arrived although bad says of some reading of them
// that they must not.
func slips(u *recorder, method string, targets []string, bad func(path string) bool) (found []string, arrived int) {
	for _, target := range targets {
		for _, a := range u.arrived(method + " " + target) {
			arrived++
			for model, paths := range readings(a.target) {
				for _, path := range paths {
					if bad(path) {
						found = append(found, fmt.Sprintf("%s arrived as %s, which is %s to an upstream that reads it as %q", target, a.target, path, model))
					}
				}
			}
		}
	}
	return found, arrived
}

func mustNotSlip(t *testing.T, u *recorder, method string, targets []string, bad func(path string) bool) {
	t.Helper()
	found, arrived := slips(u, method, targets, bad)
	for i, slip := range found {
		if i == 20 {
			t.Errorf("and %d more", len(found)-i)
			break
		}
		t.Error(slip)
	}
	if arrived == 0 {
		t.Error("nothing arrived at all: the corpus proves nothing")
	}
	t.Logf("%s: %d targets, %d arrived", method, len(targets), arrived)
}

func adminPath(path string) bool { return within(path, "/admin") }

// trickRules are one rule of each kind; the corpus attacks each.
const trickRules = `
	public /public/*
	require /admin/* role admin
	deny /private/*
	hide /internal/*
`

// What a rule takes for one path and the upstream for another is a way around
// the rule. No trick may take a visitor without the role to an admin path, or
// anybody to a denied or hidden one, whatever the upstream makes of what arrives.
func TestPathTricksWithoutTheRole(t *testing.T) {
	targets := slices.Concat(corpus("admin"), some(corpus("private"), 8), some(corpus("internal"), 8))
	for name, options := range map[string]string{"strict": "", "ambiguous paths": "ambiguous_paths allow *"} {
		t.Run(name, func(t *testing.T) {
			s, u, address := trickSite(t, trickRules+options)
			sendAll(t, address, "GET", targets, "Authorization: Bearer "+s.token(t, nil))
			mustNotSlip(t, u, "GET", targets, func(path string) bool {
				return within(path, "/admin") || within(path, "/private") || within(path, "/internal")
			})
		})
	}
}

// Nobody gets out of a public folder, nor past deny and hide where all is
// public.
func TestPathTricksByTheAnonymous(t *testing.T) {
	outside := func(path string) bool { return !within(unreserved(path), "/public") }
	protected := func(path string) bool { return within(path, "/private") || within(path, "/internal") }
	for name, c := range map[string]struct {
		options string
		targets []string
		bad     func(string) bool
	}{
		"out of a public folder":                  {trickRules, slices.Concat(some(corpus("admin"), 5), some(corpus("public"), 3)), outside},
		"out of a public folder, ambiguous paths": {trickRules + "ambiguous_paths allow *", slices.Concat(some(corpus("admin"), 5), some(corpus("public"), 3)), outside},
		"past deny and hide":                      {trickRules + "public *", slices.Concat(some(corpus("private"), 5), some(corpus("internal"), 5)), protected},
		"past deny and hide, ambiguous paths":     {trickRules + "public *\nambiguous_paths allow *", slices.Concat(some(corpus("private"), 5), some(corpus("internal"), 5)), protected},
	} {
		t.Run(name, func(t *testing.T) {
			_, u, address := trickSite(t, c.options)
			sendAll(t, address, "GET", c.targets)
			mustNotSlip(t, u, "GET", c.targets, c.bad)
		})
	}
}

// some thins a corpus out: every nth target, of all of its tricks.
func some(targets []string, n int) (out []string) {
	for i := 0; i < len(targets); i += n {
		out = append(out, targets[i])
	}
	return out
}

// Whoever has the role passes with every spelling that is no trick, and nobody
// else does.
func TestOrdinarySpellingsOfAnAdminPath(t *testing.T) {
	s, u, address := trickSite(t, trickRules)
	targets := []string{
		"/admin", "/admin/", "//admin", "/%61dmin/users", "/ADMIN", "/admin;x/users", "/;/admin", "//host/admin", "/admin/users?x=/../", "http://panel.test/admin/x", "/admin//users", "/admin/a%20b", "/admin?x",
	}
	for target, status := range sendAll(t, address, "GET", targets, "Authorization: Bearer "+s.token(t, nil)) {
		if status != 403 || len(u.arrived("GET "+target)) != 0 {
			t.Errorf("%s without the role: got %d", target, status)
		}
	}
	for target, status := range sendAll(t, address, "GET", targets, "Authorization: Bearer "+s.token(t, claims{"roles": "admin"})) {
		if status != 200 || len(u.arrived("GET "+target)) != 1 {
			t.Errorf("%s: got %d", target, status)
		}
	}
}

// The negative control: the same corpus gets around the rule that people write
// without a gate, so it would get around ours if that were as naive.
func TestPathTricksGetAroundABarePathMatcher(t *testing.T) {
	u := newRecorder(t)
	s := newSigner(t, testIssuer)
	site := newSiteFrom(t, s, `
:80 {
	@admin path /admin /admin/*
	route {
		respond @admin 403
		reverse_proxy `+u.address+`
	}
	handle_path /never {
		gatehouse {
			issuer internal {
				audience a
			}
		}
	}
}`)
	targets := some(corpus("admin"), 3)
	sendAll(t, site.listen(), "GET", targets)
	found, _ := slips(u, "GET", targets, adminPath)
	byModel := make(map[string]int)
	for _, slip := range found {
		_, model, _ := strings.Cut(slip, "reads it as ")
		byModel[model]++
	}
	for _, model := range upstreamModels {
		// Caddy's matcher reads as this one does.
		if byModel[fmt.Sprintf("%q", model.name)] == 0 && model.name != "decoded once" {
			t.Errorf("no trick of the corpus works on an upstream that reads paths as %q", model.name)
		}
	}
	t.Logf("%d slip through: %v", len(found), byModel)
}
