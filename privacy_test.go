package gatehouse

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// What must not get about, by where it may.
const (
	plantedAddress = "203.0.113.77"
	plantedSubject = "ada.lovelace@example.com"
	plantedRole    = "role-of-ada"
	plantedKey     = "kid-of-somebody"
	plantedIssuer  = "https://ada.example.net"
	plantedPath    = "patient-4711"
	plantedFault   = "fault-of-ada"
)

func plantedPersons() []string {
	return []string{plantedAddress, plantedSubject, plantedRole, plantedKey, plantedIssuer, plantedPath, plantedFault}
}

// plantedResources all hold one word, as does every rule of the site.
func plantedResources() []string { return []string{"oncology", "Caddyfile:"} }

// privateSite is a running site whose every word is planted. All logs are in a
// file.
func privateSite(t *testing.T, level string) (c *running, logs string) {
	t.Helper()
	s := newSigner(t, testIssuer)
	logs = filepath.Join(t.TempDir(), "log.json")
	return runLogged(t, s, logs, privateCaddyfile(s, level)), logs
}

func privateCaddyfile(s *signer, level string) string {
	return `http://oncology.test:%[1]d {
	log
	@failing query fail=*
	gatehouse {
		issuer ` + testIssuer + ` {
			keys ` + s.keyFile + `
			audience panel
		}
		privacy ` + level + `
		deny /oncology-denied/*
		hide /oncology-hidden/*
		require /oncology-role/* {
			name oncology-staff
			role oncologist:oncology
			message "Ask the oncology ward"
		}
		require /oncology-scope/* scope oncology:read
		require /oncology-claim/* claim ward oncology
		require /oncology-acr/* {
			acr gold
			message "oncology wants more"
		}
		require /oncology-address/* ip 192.0.2.0/24
		require @failing role oncology
		require /oncology-throttled/* {
			throttle 1 1h
		}
		pages {
			detail full
		}
		challenge {
			forbidden scope
		}
	}
	respond next
}
`
}

// runLogged is run with all logs in a file.
func runLogged(t *testing.T, s *signer, file, caddyfile string) *running {
	t.Helper()
	c := &running{site: &site{signer: s, t: t}, port: freePort(t), storage: t.TempDir()}
	t.Cleanup(c.stop)
	cfg := c.config(caddyfile)
	writer, err := json.Marshal(map[string]string{"output": "file", "filename": file})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logging.Logs["default"].WriterRaw = writer
	cfg.Logging.Logs["default"].EncoderRaw = json.RawMessage(`{"format":"json"}`)
	cfg.Logging.Logs["default"].Level = "DEBUG"
	if err := c.loadConfig(cfg); err != nil {
		t.Fatal(err)
	}
	return c
}

// everyRefusal asks for each kind of refusal in each kind of body, and returns
// all that clients are told.
func everyRefusal(t *testing.T, c *running) string {
	t.Helper()
	c.gate.gate.rules.require[5].sets = caddyhttp.MatcherSets{{faultyMatcher{}}}
	forger, stranger := newSigner(t, testIssuer), newSigner(t, plantedIssuer)
	forger.kid, stranger.kid = plantedKey, plantedKey
	ada := claims{"sub": plantedSubject, "roles": plantedRole, "scope": plantedRole}
	good := c.token(t, ada)
	ada["exp"] = 1
	var out strings.Builder
	for _, header := range []http.Header{
		browser, {"Accept": {"application/problem+json"}}, {"Accept": {"application/json"}}, {"Accept": {"text/plain"}}, {},
		{"Upgrade": {"websocket"}}, {"Content-Type": {"application/grpc"}},
	} {
		for _, a := range []ask{
			{target: "/" + plantedPath}, {target: "/" + plantedPath, token: "garbage"}, {target: "/" + plantedPath, token: c.token(t, ada)},
			{target: "/" + plantedPath, token: forger.token(t, nil)}, {target: "/" + plantedPath, token: stranger.token(t, nil)},
			{target: "/oncology-denied/" + plantedPath}, {target: "/oncology-hidden/" + plantedPath, token: good},
			{target: "/oncology-role/" + plantedPath, token: good}, {target: "/oncology-scope/" + plantedPath, token: good},
			{target: "/oncology-claim/" + plantedPath, token: good}, {target: "/oncology-acr/" + plantedPath, token: good},
			{target: "/oncology-address/" + plantedPath, token: good}, {target: "/" + plantedPath + "?fail=1", token: good},
			{target: "/oncology-throttled/" + plantedPath, token: good}, {target: "/a%2f" + plantedPath, token: good},
		} {
			a.header, a.from = header.Clone(), plantedAddress+":1"
			a.target = "http://oncology.test" + a.target
			w := c.do(a)
			fmt.Fprintln(&out, a.target[len("http://oncology.test"):], w.Code, w.Header(), w.Body)
		}
	}
	return out.String()
}

type faultyMatcher struct{}

func (faultyMatcher) MatchWithError(r *http.Request) (bool, error) {
	if r.URL.Query().Get("fail") == "" {
		return false, nil
	}
	return false, errors.New(plantedFault)
}

// ownLines are what the gate wrote: its records, and its fields of the access
// log, whose other fields are Caddy's.
func ownLines(t *testing.T, file string) (records, access string) {
	t.Helper()
	var r, a strings.Builder
	for _, line := range logLines(t, file) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		switch logger, _ := fields["logger"].(string); {
		case strings.HasSuffix(logger, ".gatehouse"):
			r.WriteString(line)
		case strings.HasPrefix(logger, "http.log.access"):
			delete(fields, "request")
			delete(fields, "user_id")
			fmt.Fprintln(&a, fields)
		}
	}
	if n := strings.Count(r.String(), `"refused"`); n < 80 {
		t.Fatalf("%d records in the log", n)
	}
	return r.String(), a.String()
}

// A log that is stolen, read by the wrong colleague or handed to a court must not
// tell what privacy law protects, and no answer may either. Every sink is
// searched; with `none` the same search finds everything, or it would prove nothing.
func TestAttackPersonsFromLogsAndPages(t *testing.T) {
	for level, private := range map[string]struct{ persons, resources bool }{
		privacyNone: {}, privacyGDPR: {persons: true}, privacyHIPAA: {persons: true, resources: true},
	} {
		t.Run(level, func(t *testing.T) {
			c, file := privateSite(t, level)
			if private.persons {
				awaitPseudonyms(t, c)
			}
			answers := withoutOwnPath(everyRefusal(t, c))
			c.stop()
			records, access := ownLines(t, file)
			for _, word := range plantedPersons() {
				hides := private.persons || word == plantedPath
				if found := strings.Contains(records, word); found == hides {
					t.Errorf("records hold %q: %t", word, found)
				}
				if strings.Contains(access, word) && hides {
					t.Errorf("the access log's own fields hold %q", word)
				}
			}
			if found := strings.Contains(answers, plantedAddress); found == private.persons {
				t.Errorf("answers hold the address: %t", found)
			}
			for _, word := range plantedResources() {
				if found := strings.Contains(recordsOfRequests(records), word); found == private.resources {
					t.Errorf("records hold %q: %t", word, found)
				}
				if found := strings.Contains(access, word); found == private.resources {
					t.Errorf("the access log's own fields hold %q: %t", word, found)
				}
				if found := strings.Contains(answers, word); found == private.resources && word == "oncology" {
					t.Errorf("answers hold %q: %t", word, found)
				}
			}
			if strings.Contains(answers, "oncology-staff") || strings.Contains(answers, "Caddyfile:") {
				t.Error("a client learns the name of a rule")
			}
			if private.persons && (!strings.Contains(records, `"client_network":"203.0.113.0/24"`) || !strings.Contains(records, `"subject_pseudonym":"`)) {
				t.Error("records hold neither network nor pseudonym")
			}
		})
	}
}

// awaitPseudonyms waits for the key, which the server makes once it runs.
func awaitPseudonyms(t *testing.T, c *running) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); c.gate.gate.teller.privacy.names.key.Load() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no key for pseudonyms")
		}
	}
}

// withoutOwnPath leaves out what a client is told of the path that it asked for.
// With hipaa that is nothing.
func withoutOwnPath(answers string) string {
	var out strings.Builder
	for line := range strings.Lines(answers) {
		path, rest, found := strings.Cut(line, " ")
		if found && strings.HasPrefix(path, "/") {
			line = rest
		}
		out.WriteString(line)
	}
	return out.String()
}

// recordsOfRequests leaves out what is told at load: it is for who wrote the
// configuration.
func recordsOfRequests(records string) string {
	var out strings.Builder
	for line := range strings.Lines(records) {
		if strings.Contains(line, `"msg":"refused"`) || strings.Contains(line, `"msg":"allowed"`) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// logLines are the lines of a log file.
func logLines(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSpace(string(data)), "\n")
}
