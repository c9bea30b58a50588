package gatehouse

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// asCaddy makes the test binary be Caddy, so that tests see its command line
// and exit code.
const asCaddy = "GATEHOUSE_TEST_AS_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(asCaddy) != "" {
		caddycmd.Main()
		return
	}
	os.Exit(m.Run())
}

// runCaddy runs a command of Caddy with nothing in its storage.
func runCaddy(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCaddy+"=1", "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
	var out, talk strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), talk.String(), cmd.ProcessState.ExitCode()
}

// A token may be looked for in any place; an expectation finds it.
func TestExpectationsFindEveryTokenSource(t *testing.T) {
	for _, source := range []string{
		"token header Authorization Bearer", "token header X-Token", "token cookie session", "token query access_token", "token websocket",
		"token cookie session\n token header Authorization Bearer",
	} {
		t.Run(source, func(t *testing.T) {
			newSite(t, source+`
				require /admin/* role admin
				require POST /sites scope write
				expect 200 GET /admin/x role=admin
				expect 200 GET /admin/x?a=b role=admin
				expect role_missing GET /admin/x role=user
				expect 401 GET /admin/x
				expect 200 POST /sites scope=write
				expect scope_missing POST /sites scope=read`)
		})
	}
}

// Without ip= the visitor comes from nobody's network, with it from there.
func TestExpectationsOfAddresses(t *testing.T) {
	newSite(t, `
		require /office/* ip private_ranges 192.0.2.0/24 2001:db8::/32 fc00::/7
		public *
		expect 403 GET /office/x
		expect 200 GET /office/x ip=192.0.2.9
		expect 200 GET /office/x ip=::ffff:192.0.2.9
		expect 200 GET /office/x ip=2001:db8::1
		expect 403 GET /office/x ip=203.0.113.1`)
}

// An expectation changes nothing of the gate that serves: its counts, its log,
// its memory, its visitors.
func TestExpectationsLeaveNoTrace(t *testing.T) {
	s := newSite(t, `
		require /admin/* {
			role admin
			observe
		}
		expect 200 GET /admin/x role=user`)
	if n := s.gate.gate.rules.observed[0].observed.refused.Load(); n != 0 {
		t.Errorf("an expectation was counted %d times", n)
	}
	if s.gate.gate.authn.assumed != nil || s.gate.gate.rehearsal != nil {
		t.Error("the gate that serves assumes a visitor")
	}
	s.expect(refusedWith(401, codeCredentialsMalformed), ask{target: "/admin/x", token: assumedToken})
	if err := s.gate.meetExpectations(true); err != nil {
		t.Fatal(err)
	}
	if n := s.logs.FilterMessage("would be refused").Len() + s.logs.FilterMessage("refused").Len(); n != 1 {
		t.Errorf("%d refusals in the log, want the one of a request", n)
	}
}

// Attack: somebody sends what stands in for an assumed visitor's token.
func TestAssumedTokenIsWorthNothing(t *testing.T) {
	s := newSite(t, `expect 200 GET / role=admin`)
	for _, raw := range []string{assumedToken, assumedToken + "." + assumedToken + "." + assumedToken} {
		if w := s.do(ask{target: "/", token: raw}); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: got %d", raw, w.Code)
		}
	}
}

// A list that somebody else changes fails `validate`, and never keeps a server
// with all its other sites from starting.
func TestExpectationsThatRestOnMore(t *testing.T) {
	list := filepath.Join(t.TempDir(), "office.txt")
	writeFile(t, list, "192.0.2.0/24\n")
	const (
		hard = true
		soft = false
	)
	for name, c := range map[string]struct {
		options, before string
		hard            bool
	}{
		"a rule of the gate's own":                            {`expect 403 GET /x role=a`, "", hard},
		"a list that another path's rule asks":                {`require /office/* ip ` + list + "\n expect 403 GET /x role=a ip=192.0.2.1", "", hard},
		"a list, of which the expectation names no address":   {`require /x ip ` + list + "\n expect 200 GET /x role=a", "", hard},
		"a list that denies, and no address named":            {`deny ip ` + list + "\n expect 403 GET /x role=a", "", hard},
		"a list that denies":                                  {`deny ip ` + list + "\n expect 403 GET /x role=a ip=203.0.113.1", "", soft},
		"a list that a rule requires":                         {`require /x ip ` + list + "\n expect 200 GET /x role=a ip=203.0.113.1", "", soft},
		"a list within any":                                   {"require /x {\n any {\n ip " + list + "\n role b\n }\n }\n expect 200 GET /x role=a ip=203.0.113.1", "", soft},
		"a list behind when":                                  {"require /x {\n when ip " + list + "\n role b\n }\n expect 200 GET /x role=a ip=192.0.2.1", "", soft},
		"a list asked for the path that stands for a hidden":  {"hide /x\n require /y ip " + list + "\n expect 200 GET /x role=a ip=203.0.113.1", "", soft},
		"addresses in the configuration":                      {`require /x ip 192.0.2.0/24` + "\n expect 200 GET /x role=a ip=203.0.113.1", "", hard},
		"a matcher of the request alone":                      {"require @m role b\n expect 200 GET /x role=a", "@m path /x", hard},
		"a matcher that looks at the disk":                    {"require @m role b\n expect 403 GET /x role=a", "@m file /nowhere", soft},
		"a matcher that looks at the disk, of another method": {"require POST @m role b\n expect 403 GET /x role=a", "@m file /nowhere", hard},
		"such a matcher within not":                           {"deny @m\n expect 200 GET /x role=a", "@m not file /nowhere", soft},
		"such a matcher in a match block":                     {"require /x {\n match {\n file /nowhere\n }\n role b\n }\n expect 403 GET /x role=a", "", soft},
		"such a matcher in a match block of another path":     {"require /y {\n match {\n file /nowhere\n }\n role b\n }\n expect 403 GET /x role=a", "", hard},
		"an expression, which may ask anything":               {"deny @m\n expect 403 GET /x role=a", "@m expression false", soft},
		"a placeholder in a matcher":                          {"deny @m\n expect 403 GET /x role=a", "@m header X-Y {file./nowhere}", soft},
		"a number of times in a regular expression":           {"deny @m\n expect 403 GET /x role=a", `@m path_regexp /\d{3}`, hard},
	} {
		t.Run(name, func(t *testing.T) {
			g := unvalidated(t, c.options, c.before)
			if err := g.meetExpectations(true); err == nil || !strings.Contains(err.Error(), ":1: expect ") {
				t.Fatalf("validate: %v", err)
			}
			if err := g.meetExpectations(false); (err != nil) != c.hard {
				t.Errorf("load: %v", err)
			}
		})
	}
}

// unvalidated is a gate whose expectations may be broken: it is made without
// them, and gets them afterwards.
func unvalidated(t *testing.T, options, before string) *Gatehouse {
	t.Helper()
	plain, with, _ := strings.Cut(options, "expect ")
	whole := newSite(t, plain, before).gate
	d := caddyfile.NewTestDispenser("expect " + with)
	d.Next()
	if err := whole.parseExpect(d); err != nil {
		t.Fatal(err)
	}
	return whole
}

func TestNeverServes(t *testing.T) {
	for line, want := range map[string]bool{
		"caddy": false, "": false, "caddy run": false, "caddy reload --config validate": false, "caddy start": false,
		"caddy validate": true, "caddy validate --config Caddyfile": true, "caddy adapt --validate": true, "caddy --x validate": true,
	} {
		if got := neverServes(strings.Fields(line)); got != want {
			t.Errorf("%s: got %t", line, got)
		}
	}
}

// The very commands: validate refuses what the server loads with a warning.
func TestExpectationsOnTheCommandLine(t *testing.T) {
	list := filepath.Join(t.TempDir(), "office.txt")
	writeFile(t, list, "192.0.2.0/24\n")
	file := filepath.Join(t.TempDir(), "Caddyfile")
	write := func(expectation string) {
		writeFile(t, file, fmt.Sprintf("{\n\tadmin off\n}\nhttp://localhost:0 {\n\tgatehouse {\n\t\tissuer internal {\n\t\t\taudience panel\n\t\t}\n\t\trequire /office/* ip %s\n\t\t%s\n\t}\n\trespond ok\n}\n", list, expectation))
	}
	write("expect 401 GET /office/x ip=192.0.2.1")
	if out, talk, code := runCaddy(t, "validate", "--config", file); code != 0 || !strings.Contains(out, "Valid") {
		t.Fatalf("a met expectation: %d\n%s%s", code, out, talk)
	}
	write("expect 401 GET /office/x ip=203.0.113.1")
	_, talk, code := runCaddy(t, "validate", "--config", file)
	if code == 0 || !strings.Contains(talk, "Caddyfile:10: expect 401 GET /office/x ip=203.0.113.1: the answer is 403 address_denied by Caddyfile:9") {
		t.Errorf("validate: %d\n%s", code, talk)
	}
	// What `caddy run` does with it, but for listening.
	cfg := adapted(t, readDoc(t, file))
	if err := caddy.Validate(cfg); err != nil {
		t.Errorf("a server would not start: %v", err)
	}
}

// A request that somebody prepares twice is not the one that came.
func TestCarryLeavesTheViewsAlike(t *testing.T) {
	e := &Expectation{Method: "GET", Path: "/x?a=b"}
	r, err := e.request()
	if err != nil {
		t.Fatal(err)
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), newRecorded(), new(caddyhttp.Server))
	newTokenSources([]*TokenSource{{From: fromQuery, Name: "t"}}).carry(r, "secret")
	if r.URL.RawQuery != "a=b&t=secret" || len(newViews(r).others) != 0 {
		t.Errorf("query %q, other views %d", r.URL.RawQuery, len(newViews(r).others))
	}
}
