package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// prometheus is a real one that looks every second.
type prometheus struct{ base string }

// startPrometheus scrapes one target, and judges the alerts, until the test ends.
func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	rules, err := filepath.Abs(monitoring("alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf(`
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [%q]
scrape_configs: [{ job_name: caddy, static_configs: [{ targets: [%q] }], metrics_path: / }]
`, rules, strings.TrimPrefix(target, "http://"))
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	cmd := exec.CommandContext(ctx, tool(t, "prometheus"),
		"--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	log := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // ended by a signal
		if t.Failed() {
			t.Logf("Prometheus's log:\n%s", log)
		}
	})
	prom := &prometheus{"http://" + address}
	eventually(t, 30*time.Second, "Prometheus", func() bool {
		resp, err := http.Get(prom.base + "/-/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return prom
}

// query evaluates an expression now, and gives the values.
func (p *prometheus) query(t *testing.T, expr string) []float64 {
	t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	p.get(t, "/api/v1/query?query="+url.QueryEscape(expr), &data)
	values := make([]float64, 0, len(data.Result))
	for _, sample := range data.Result {
		values = append(values, mustFloat(t, fmt.Sprint(sample.Value[1])))
	}
	return values
}

// alerts gives the state of each alert, and fails if one cannot be judged.
func (p *prometheus) alerts(t *testing.T) map[string]string {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, State, Health, LastError string }
		}
	}
	p.get(t, "/api/v1/rules?type=alert", &data)
	states := make(map[string]string)
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			if rule.Health != "ok" && rule.Health != "unknown" {
				t.Fatalf("%s cannot be judged: %s", rule.Name, rule.LastError)
			}
			states[rule.Name] = rule.State
		}
	}
	if len(states) == 0 {
		t.Fatal("there are no alerts")
	}
	return states
}

func (p *prometheus) get(t *testing.T, path string, into any) {
	t.Helper()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal([]byte(scrape(t, p.base+path, "")), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Status != "success" {
		t.Fatalf("%s: %s", path, answer.Error)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		t.Fatalf("%s: %v in %s", path, err, answer.Data)
	}
}

// scrape reads a page, in the format that accept asks for.
func scrape(t *testing.T, address, accept string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// promtool gives what it complains of, and fails the test if it ends with an error.
func promtool(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool(t, "promtool"), args...)
	cmd.Stdin = strings.NewReader(stdin)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if out, err := cmd.Output(); err != nil {
		t.Fatalf("promtool %s: %v\n%s%s", strings.Join(args, " "), err, out, complaints.String())
	}
	return complaints.String()
}

// tool finds a program of Debian's package prometheus.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not on the PATH: install Prometheus, for which Debian has the package prometheus", name)
	}
	return path
}
