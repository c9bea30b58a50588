package gatehouse

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// series gathers what the site's metrics would tell a scrape: by name and labels,
// a histogram by its number of observations. A pedantic registry, such as Caddy's,
// finds what does not fit together.
func (s *site) series() map[string]float64 {
	s.t.Helper()
	m := s.app.meters
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m.requests, m.verify, m.hits, m.misses, m.gauges)
	families, err := registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, pair := range metric.GetLabel() {
				labels = append(labels, pair.GetName()+"="+pair.GetValue())
			}
			name := strings.TrimPrefix(family.GetName(), metricPrefix) + "{" + strings.Join(labels, ",") + "}"
			out[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return out
}

// counted is what became more since before, but for times.
func (s *site) counted(before map[string]float64) map[string]float64 {
	s.t.Helper()
	out := make(map[string]float64)
	for name, value := range s.series() {
		if value != before[name] && !strings.HasPrefix(name, "verify_seconds") && !strings.HasPrefix(name, "cache_") {
			out[name] = value - before[name]
		}
	}
	return out
}

func requests(outcome string, c code, rule string) string {
	return fmt.Sprintf("requests_total{code=%s,outcome=%s,rule=%s}", c, outcome, rule)
}

const meteredRules = `
	public /open
	deny /denied
	deny ip 198.51.100.0/24
	hide /secret
	require /named/* {
		name admins
		role admin
	}
	require /quiet/* {
		name quiet
		role admin
		hide
	}
	require /trial/* {
		name trial
		scope w
		observe
	}
	require /steps/* {
		name steps
		any {
			acr gold
			scope w
		}
	}
	cors {
		origins https://app.example.com
	}`

// Each request is counted once, under what the client is told, and what an
// observed rule would have refused a second time.
func TestMetricsOfOutcomes(t *testing.T) {
	s := newSite(t, meteredRules)
	token := s.token(t, nil)
	preflight := http.Header{"Origin": {"https://app.example.com"}, "Access-Control-Request-Method": {"PUT"}}
	for name, c := range map[string]struct {
		ask
		want []string
	}{
		"a pass":                     {ask{target: "/x", token: token}, []string{requests(outcomePassed, "", "")}},
		"a public path":              {ask{target: "/open"}, []string{requests(outcomePublic, "", "")}},
		"a public path with a token": {ask{target: "/open", token: token}, []string{requests(outcomePublic, "", "")}},
		"a preflight":                {ask{method: "OPTIONS", target: "/x", header: preflight}, []string{requests(outcomePreflight, "", "")}},
		"no token":                   {ask{target: "/x"}, []string{requests(outcomeRefused, codeCredentialsMissing, "")}},
		"a token that is none":       {ask{target: "/x", token: "x"}, []string{requests(outcomeRefused, codeCredentialsMalformed, "")}},
		"a forged token":             {ask{target: "/x", token: newSigner(t, testIssuer).token(t, nil)}, []string{requests(outcomeRefused, codeTokenInvalid, "")}},
		"a denied path":              {ask{target: "/denied", token: token}, []string{requests(outcomeRefused, codePathDenied, "Caddyfile:12")}},
		"a denied address":           {ask{target: "/x", from: "198.51.100.7:1", token: token}, []string{requests(outcomeRefused, codeAddressDenied, "Caddyfile:13")}},
		"a hidden path":              {ask{target: "/secret", token: token}, []string{requests(outcomeHidden, codeHidden, "Caddyfile:14")}},
		"a hidden path, no token":    {ask{target: "/secret"}, []string{requests(outcomeRefused, codeCredentialsMissing, "")}},
		"a rule with a name":         {ask{target: "/named/x", token: token}, []string{requests(outcomeRefused, codeRoleMissing, "admins")}},
		"a rule that hides":          {ask{target: "/quiet/x", token: token}, []string{requests(outcomeHidden, codeHidden, "quiet")}},
		"a rule of several kinds":    {ask{target: "/steps/x", token: token}, []string{requests(outcomeRefused, codeStepUpRequired, "steps")}},
		"a rule that observes": {ask{target: "/trial/x", token: token},
			[]string{requests(outcomePassed, "", ""), requests(outcomeObserved, codeScopeMissing, "trial")}},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			before := s.series()
			for _, series := range c.want {
				if _, there := before[series]; !there {
					t.Errorf("%s is not there from the start: rate and increase would not see its first counts", series)
				}
			}
			s.do(c.ask)
			want := make(map[string]float64)
			for _, series := range c.want {
				want[series] = 1
			}
			if got := s.counted(before); !maps.Equal(got, want) {
				t.Errorf("counted %v, want %v", got, want)
			}
		})
	}
}

// A client that could make series would fill the memory of the server and of
// whatever scrapes it: with paths, hosts, methods, subjects, tokens, issuers or
// key ids of its own.
func TestClientsMakeNoSeries(t *testing.T) {
	s := newSite(t, meteredRules+"\ntoken header Authorization Bearer\ntoken query t")
	forger := newSigner(t, testIssuer)
	send := func(i int) {
		n := fmt.Sprint(i)
		forger.kid = "kid-" + n
		for _, raw := range []string{
			"", "x" + n, s.token(t, claims{"sub": n}), forger.token(t, nil), s.token(t, claims{"iss": "https://" + n + ".example.com"}),
			s.token(t, claims{"sub": n, "exp": 1000 + i}), s.token(t, claims{"sub": n, "roles": []string{n}, "scope": n}),
		} {
			for _, path := range []string{"/", "/denied", "/secret", "/named/", "/quiet/", "/trial/", "/steps/", "/%2f", "/open"} {
				target := path
				if strings.HasSuffix(path, "/") {
					target += n
				}
				s.do(ask{method: "M" + strings.ToUpper(n), target: target + "?t=" + url.QueryEscape(n), token: raw, header: http.Header{"X-Request-Id": {n}},
					change: func(r *http.Request) { r.Host = n + ".example.com" }})
				s.do(ask{target: target, token: raw, from: fmt.Sprintf("192.0.2.%d:%d", i%250+1, i)})
			}
		}
	}
	send(0)
	kinds := s.series()
	for i := range 400 {
		send(i + 1)
	}
	for name := range s.series() {
		if _, there := kinds[name]; !there {
			t.Errorf("a new series: %s", name)
		}
	}
	if len(kinds) > 60 {
		t.Errorf("%d series", len(kinds))
	}
}

// A scrape is one more place where a rule's name could tell what is behind the
// gate: whoever reads metrics seldom may read records.
func TestAttackResourcesFromMetrics(t *testing.T) {
	for level, told := range map[string]bool{privacyNone: true, privacyGDPR: true, privacyHIPAA: false} {
		t.Run(level, func(t *testing.T) {
			s := newSite(t, "privacy "+level+meteredRules)
			token := s.token(t, nil)
			for _, target := range []string{"/denied", "/secret", "/named/x", "/quiet/x", "/trial/x", "/steps/x"} {
				s.do(ask{target: target, token: token})
			}
			all := fmt.Sprint(s.series())
			for _, rule := range []string{"admins", "quiet", "trial", "steps", "Caddyfile:"} {
				if strings.Contains(all, rule) != told {
					t.Errorf("the metrics tell of %s: %t", rule, !told)
				}
			}
			if got := s.series()[requests(outcomeRefused, codeRoleMissing, "")]; (got == 1) == told {
				t.Errorf("counted %v without the name of the rule", got)
			}
		})
	}
}

// Two apps on one registry count together, and a name that is taken is an error.
func TestMetricsAreRegisteredOnce(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	first, err := newMeters(registry)
	if err != nil {
		t.Fatal(err)
	}
	second, err := newMeters(registry)
	if err != nil {
		t.Fatal(err)
	}
	if first.requests != second.requests || first.hits != second.hits || first.gauges != second.gauges || first.verify != second.verify {
		t.Error("the second has metrics of its own")
	}
	other := prometheus.NewPedanticRegistry()
	other.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: metricPrefix + "cache_hits_total", Help: "Another's."}))
	if _, err := newMeters(other); err == nil {
		t.Error("a name that another module has taken is no error")
	}
}

// Counting must cost no memory, neither for a pass nor for a refusal.
func TestCountingAllocatesNothing(t *testing.T) {
	s := newSite(t, meteredRules)
	m, tally := s.app.meters, s.gate.gate.tally
	no := &refusal{code: codeRoleMissing, rule: ruleID{name: "admins"}}
	for name, count := range map[string]func(){
		"a pass":        func() { m.hit(); tally.count(admission{}, nil) },
		"a miss":        func() { m.checked(nil, time.Millisecond, true) },
		"a bad token":   func() { m.checked(no, time.Millisecond, true) },
		"a refusal":     func() { tally.count(admission{}, no) },
		"a rule's word": func() { tally.observe(no) },
	} {
		if n := testing.AllocsPerRun(1000, count); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Caddy itself serves the metrics, and a reload has them all again: a new registry
// each time, whose counters begin at 0.
func TestMetricsHandlerServesThem(t *testing.T) {
	f := newFakeIssuer(t)
	config := "http://metrics.test:%[1]d {\n\tmetrics\n}\n" + hosted("panel", f.gated(""))
	s := run(t, f.signer, config)
	for range 3 {
		s.expect(refusedWith(401, codeCredentialsMissing), ask{target: urlOf("panel", "/")})
		s.eventually(pass(), refusedWith(503, codeKeysUnavailable), ask{target: urlOf("panel", "/"), token: f.token(t, nil)})
		page := s.do(ask{target: urlOf("metrics", "/")}).Body.String()
		for _, line := range []string{
			`caddy_gatehouse_requests_total{code="credentials_missing",outcome="refused",rule=""} 1`,
			`caddy_gatehouse_requests_total{code="",outcome="passed",rule=""} 1`,
			`caddy_gatehouse_keys_fetches_total{issuer="` + f.issuer + `",result="ok"} 1`,
			`caddy_gatehouse_keys_stale{issuer="` + f.issuer + `"} 0`,
			`caddy_gatehouse_verify_seconds_count{result="ok"} 1`,
			`caddy_gatehouse_cache_entries 1`,
		} {
			if !strings.Contains(page, "\n"+line+"\n") {
				t.Errorf("the scrape lacks %s", line)
			}
		}
		if err := s.load(config); err != nil {
			t.Fatal(err)
		}
	}
}

// Metrics may be asked for while gates are compiled, and must not race with that.
func TestScrapeWhileLoading(t *testing.T) {
	var g gauges
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			g.addMemory(newMemory(1))
		}
	}()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&g)
	for range 100 {
		if _, err := registry.Gather(); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	if n := len(g.memories); n != 1000 || slices.Contains(g.memories, nil) {
		t.Errorf("%d memories", n)
	}
}

// BenchmarkCount states what counting adds to a request with a remembered token.
func BenchmarkCount(b *testing.B) {
	s := newSite(b, meteredRules)
	m, tally := s.app.meters, s.gate.gate.tally
	no := &refusal{code: codeRoleMissing, rule: ruleID{name: "admins"}}
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.hit()
			tally.count(admission{}, nil)
		}
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.checked(nil, 50*time.Microsecond, true)
		}
	})
	b.Run("refusal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			tally.count(admission{}, no)
		}
	})
}

// What expectations try at load was asked by nobody.
func TestExpectationsAreNotCounted(t *testing.T) {
	s := newSite(t, `
		require /seen role admin
		require /watched {
			role admin
			observe
		}
		expect 401 GET /
		expect 403 GET /seen user=ada
		expect 200 GET /watched user=ada`)
	for name, value := range s.series() {
		if value != 0 && strings.HasPrefix(name, "requests_total") {
			t.Errorf("%s is %v", name, value)
		}
	}
}
