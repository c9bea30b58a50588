package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// TestMonitoring runs what is in monitoring/ against a real Prometheus that
// scrapes a real Caddy, in front of which all kinds of requests come.
func TestMonitoring(t *testing.T) {
	p := startProvider(t)
	metrics, away := fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	g := startGateFrom(t, "monitored.Caddyfile", p.issuer(), t.TempDir(), "METRICS", metrics, "AWAY", away)
	prom := startPrometheus(t, metrics)
	mix := traffic{p.signIn(t, panelClient, adminName).access, p.signIn(t, panelClient, memberName).access, away}
	c := g.api(t)
	c.send(t, http.MethodGet, "/locking/x", bearer("forged")) // one failure is let pass
	for range 3 {                                             // the first scrape must not be the last
		mix.send(t, c)
		time.Sleep(time.Second)
	}

	t.Run("every panel of the dashboard shows something", func(t *testing.T) { dashboardShows(t, prom, func() { mix.send(t, c) }) })
	t.Run("the alerts see what happens", func(t *testing.T) { alertsFire(t, prom) })
	page := scrape(t, metrics, "")
	t.Run("the names are as Prometheus wants them", func(t *testing.T) {
		if out := promtool(t, gateMetrics(page), "check", "metrics"); out != "" {
			t.Errorf("promtool check metrics: %s", out)
		}
	})
	t.Run("the Datadog check names what is there", func(t *testing.T) { datadogNames(t, scrape(t, metrics, "application/openmetrics-text; version=1.0.0")) })
	t.Run("what a visitor sends is in no label", func(t *testing.T) {
		for _, text := range []string{adminID, memberID, "/admin/users", "secret", "eyJ"} {
			if strings.Contains(page, text) {
				t.Errorf("the scrape holds %q", text)
			}
		}
	})
	t.Run("a reload leaves no metric out", func(t *testing.T) {
		want := families(page)
		g.load(t)
		mix.send(t, c)
		if got := families(scrape(t, metrics, "")); !maps.Equal(got, want) {
			t.Errorf("after a reload there are %v, before it %v", got, want)
		}
	})
}

// TestAlertRules runs the cases of each alert.
func TestAlertRules(t *testing.T) {
	promtool(t, "", "check", "rules", monitoring("alerts.yml"))
	promtool(t, "", "test", "rules", monitoring("alerts_test.yml"))
	rules := readText(t, monitoring("alerts.yml"))
	cases := readText(t, monitoring("alerts_test.yml"))
	for _, alert := range regexp.MustCompile(`(?m)- alert: (\w+)`).FindAllStringSubmatch(rules, -1) {
		fires := regexp.MustCompile(`alertname: ` + alert[1] + `\n\s+eval_time: \w+\n\s+exp_alerts:`).MatchString(cases)
		quiet := regexp.MustCompile(`\{ alertname: ` + alert[1] + `,|alertname: ` + alert[1] + `\n\s+eval_time: \w+\n\s+- `).MatchString(cases)
		if !fires || !quiet {
			t.Errorf("%s: a case in which it fires: %t; one in which it does not: %t", alert[1], fires, quiet)
		}
	}
}

// traffic is requests of each kind.
type traffic struct{ admin, member, away string }

func (m traffic) send(t *testing.T, c *client) {
	t.Helper()
	for _, kind := range []struct {
		path, token string
		times       int
		want        int
	}{
		{"/domains", m.member, 2, http.StatusOK},
		{"/admin/users", m.admin, 1, http.StatusOK},
		{"/admin/users", m.member, 20, http.StatusForbidden},
		{"/trial/x", m.member, 1, http.StatusOK},
		{"/status", "", 1, http.StatusOK},
		{"/domains", "", 1, http.StatusUnauthorized},
		{"/domains", tampered(t, m.member, "sub", fmt.Sprint("forged-", time.Now().UnixNano())), 1, http.StatusUnauthorized},
		{"/domains", tampered(t, m.member, "iss", m.away), 1, http.StatusServiceUnavailable},
		{"/locking/x", "forged", 1, http.StatusForbidden},
		{"/denied", m.member, 1, http.StatusForbidden},
		{"/secret", m.member, 1, http.StatusNotFound},
	} {
		for range kind.times {
			var lines []string
			if kind.token != "" {
				lines = append(lines, bearer(kind.token))
			}
			if a := c.send(t, http.MethodGet, kind.path, lines...); a.StatusCode != kind.want {
				t.Fatalf("%s: got %d %s, want %d", kind.path, a.StatusCode, a.body, kind.want)
			}
		}
	}
}

// dashboardShows evaluates every query of every panel as Grafana would.
func dashboardShows(t *testing.T, prom *prometheus, more func()) {
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Annotations struct{ List []struct{ Name, Expr string } }
	}
	if err := json.Unmarshal([]byte(readText(t, monitoring("dashboard.json"))), &dashboard); err != nil {
		t.Fatal(err)
	}
	queries := map[string]string{}
	for _, panel := range dashboard.Panels {
		for i, target := range panel.Targets {
			queries[fmt.Sprint(panel.Title, " ", i)] = target.Expr
		}
		if len(panel.Targets) == 0 {
			t.Errorf("panel %q has no query", panel.Title)
		}
	}
	for _, annotation := range dashboard.Annotations.List {
		queries[annotation.Name] = annotation.Expr
	}
	if len(queries) < 15 {
		t.Fatalf("found %d queries", len(queries))
	}
	fill := strings.NewReplacer("$__rate_interval", "15s", "$job", "caddy", "$instance", ".*")
	for name, expr := range queries {
		expr = fill.Replace(expr)
		if strings.Contains(expr, "$") {
			t.Errorf("%s: an unknown variable in %s", name, expr)
			continue
		}
		eventually(t, 30*time.Second, "data for "+name+": "+expr, func() bool {
			more()
			time.Sleep(300 * time.Millisecond)
			return slices.ContainsFunc(prom.query(t, expr), func(v float64) bool { return v > 0 })
		})
	}
}

// alertsFire waits for those alerts that this traffic means. The others
// are for promtool: they wait for minutes.
func alertsFire(t *testing.T, prom *prometheus) {
	want := []string{"GatehouseKeysStale", "GatehouseKeysUnavailable", "GatehouseRuleRefusesAfterReload", "GatehouseLockouts"}
	eventually(t, 30*time.Second, fmt.Sprint("all of ", want, " to be pending"), func() bool {
		states := prom.alerts(t)
		return !slices.ContainsFunc(want, func(name string) bool { return states[name] != "pending" && states[name] != "firing" })
	})
	mayBe := append(want, "GatehouseKeysNotRefreshed") // once the issuer has failed often enough
	for name, state := range prom.alerts(t) {
		if !slices.Contains(mayBe, name) && state != "inactive" {
			t.Errorf("%s is %s, and nothing has happened that it speaks of", name, state)
		}
	}
}

// datadogNames holds the Agent's configuration and the monitors against a scrape
// in the format that the Agent asks for, where counters have no _total.
func datadogNames(t *testing.T, page string) {
	there := families(page)
	var agent struct {
		Instances []struct {
			Namespace string
			Metrics   []map[string]string
		}
	}
	if err := yaml.Unmarshal([]byte(readText(t, monitoring("datadog/openmetrics.yaml"))), &agent); err != nil || len(agent.Instances) != 1 {
		t.Fatalf("%d instances, %v", len(agent.Instances), err)
	}
	suffixes := map[string][]string{"counter": {".count"}, "gauge": {""}, "histogram": {".bucket", ".sum", ".count"}}
	arrives := make(map[string]bool)
	named := make(map[string]bool)
	for _, entry := range agent.Instances[0].Metrics {
		for raw, short := range entry {
			kind, found := there[raw]
			if !found {
				t.Errorf("%s is not in the scrape", raw)
			}
			named[raw] = true
			for _, suffix := range suffixes[kind] {
				arrives[agent.Instances[0].Namespace+"."+short+suffix] = true
			}
		}
	}
	for name := range there {
		if strings.HasPrefix(name, "caddy_gatehouse_") && !named[name] {
			t.Errorf("the configuration leaves %s out", name)
		}
	}
	var monitors []struct{ Name, Query string }
	if err := json.Unmarshal([]byte(readText(t, monitoring("datadog/monitors.json"))), &monitors); err != nil || len(monitors) == 0 {
		t.Fatalf("%d monitors, %v", len(monitors), err)
	}
	metric := regexp.MustCompile(`(gatehouse\.[a-z_.]+)\{`)
	tag := regexp.MustCompile(`(\w+)(?::| IN )`)
	for _, monitor := range monitors {
		_, query, _ := strings.Cut(monitor.Query, ":") // the window
		found := metric.FindStringSubmatch(query)
		if found == nil || !arrives[found[1]] {
			t.Errorf("%s: %v arrives under no such name; there are %v", monitor.Name, found, slices.Sorted(maps.Keys(arrives)))
		}
		_, scope, _ := strings.Cut(query, "{")
		scope, _, _ = strings.Cut(scope, "}")
		for _, match := range tag.FindAllStringSubmatch(scope, -1) {
			if !strings.Contains(page, match[1]+`="`) {
				t.Errorf("%s: no series has the label %s", monitor.Name, match[1])
			}
		}
	}
}

// families gives the type of each metric in a scrape.
func families(page string) map[string]string {
	out := make(map[string]string)
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (caddy_\w+) (\w+)$`).FindAllStringSubmatch(page, -1) {
		out[match[1]] = match[2]
	}
	return out
}

// gateMetrics is the gate's own part of a scrape.
func gateMetrics(page string) string {
	var out strings.Builder
	for line := range strings.Lines(page) {
		if strings.Contains(line, "caddy_gatehouse_") {
			out.WriteString(line)
		}
	}
	return out.String()
}

func monitoring(name string) string {
	return filepath.Join("..", "monitoring", filepath.FromSlash(name))
}

func readText(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func mustFloat(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
