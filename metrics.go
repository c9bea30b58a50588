package gatehouse

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const metricPrefix = "caddy_gatehouse_"

// Outcomes of a request, as the metric tells them.
const (
	outcomePassed    = "passed"    // with a valid token
	outcomePublic    = "public"    // without the need of one: by a public rule, or by a gate that only observes
	outcomePreflight = "preflight" // a CORS preflight
	outcomeRefused   = "refused"
	outcomeHidden    = "hidden"   // answered as if there were nothing
	outcomeObserved  = "observed" // would have been refused: counted beside what became of the request
)

// verified is the result of a signature check that found nothing wrong; every
// other result is the code of its refusal.
const verified = "ok"

// meters are the metrics of one configuration, which all its gates share. Caddy
// has a new registry for each configuration, so counters begin at 0 with each
// load. Every label comes from the code or from the configuration: nothing that a
// client sends makes a new series.
type meters struct {
	requests     *prometheus.CounterVec
	verify       *prometheus.HistogramVec
	verifyOK     prometheus.Observer
	hits, misses prometheus.Counter
	gauges       *gauges
}

func newMeters(registry *prometheus.Registry) (*meters, error) {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: metricPrefix + name, Help: help}
	}
	m := new(meters)
	var errs [5]error
	m.requests, errs[0] = registered(registry, prometheus.NewCounterVec(
		counter("requests_total", "Requests that gates have decided on. Those with outcome observed are counted a second time."),
		[]string{"outcome", "code", "rule"}))
	m.verify, errs[1] = registered(registry, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: metricPrefix + "verify_seconds",
		Help: "Time to verify tokens that were not remembered, the wait for keys included.",
		// A signature takes tens of microseconds; a wait for keys, two seconds at most.
		Buckets: []float64{50e-6, 100e-6, 250e-6, 1e-3, 5e-3, 25e-3, 0.1, 0.5, 1, 2.5},
	}, []string{"result"}))
	m.hits, errs[2] = registered(registry, prometheus.NewCounter(
		counter("cache_hits_total", "Good tokens that were remembered, so that their signature was not checked again.")))
	m.misses, errs[3] = registered(registry, prometheus.NewCounter(
		counter("cache_misses_total", "Tokens whose signature had to be checked, where tokens are remembered.")))
	m.gauges, errs[4] = registered(registry, new(gauges))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	m.verifyOK = m.verify.WithLabelValues(verified)
	return m, nil
}

// registered adds a metric to the registry, or returns the one that is there.
func registered[C prometheus.Collector](registry *prometheus.Registry, c C) (C, error) {
	err := registry.Register(c)
	var taken prometheus.AlreadyRegisteredError
	if errors.As(err, &taken) {
		if same, ok := taken.ExistingCollector.(C); ok {
			return same, nil
		}
	}
	return c, err
}

// hit counts a remembered token. A nil *meters counts nothing.
func (m *meters) hit() {
	if m != nil {
		m.hits.Inc()
	}
}

// checked counts a token whose signature was checked.
func (m *meters) checked(no *refusal, took time.Duration, remembers bool) {
	if m == nil {
		return
	}
	if remembers {
		m.misses.Inc()
	}
	if no == nil {
		m.verifyOK.Observe(took.Seconds())
		return
	}
	m.verify.WithLabelValues(string(no.code)).Observe(took.Seconds())
}

// tally counts what one gate decides.
type tally struct {
	requests                  *prometheus.CounterVec
	passed, public, preflight prometheus.Counter
	privacy                   privacy
}

// tally makes the series of a gate. They are there from the start with 0: what
// appears with its first count hides that count from rate and increase, and a bad
// rule is worst just after a load.
func (m *meters) tally(g *gate) *tally {
	t := &tally{
		requests:  m.requests,
		privacy:   g.teller.privacy,
		passed:    m.requests.WithLabelValues(outcomePassed, "", ""),
		public:    m.requests.WithLabelValues(outcomePublic, "", ""),
		preflight: m.requests.WithLabelValues(outcomePreflight, "", ""),
	}
	refused, hidden := outcomeRefused, outcomeHidden
	if g.observe != nil {
		refused, hidden = outcomeObserved, outcomeObserved
	}
	for _, c := range unruledCodes() {
		t.of(refused, c, ruleID{})
	}
	if g.limits != nil && g.limits.gate != nil {
		t.of(refused, codeThrottled, g.limits.gate.rule)
	}
	for _, rule := range g.rules.deny {
		c := codePathDenied
		if rule.addresses != nil {
			c = codeAddressDenied
		}
		t.of(refused, c, rule.ruleID)
	}
	for _, rule := range g.rules.hide {
		t.of(hidden, codeHidden, rule.ruleID)
	}
	for _, q := range g.rules.require {
		if q.hide {
			t.of(hidden, codeHidden, q.ruleID)
			continue
		}
		t.each(refused, q)
	}
	for _, q := range g.rules.observed {
		t.each(outcomeObserved, q)
	}
	return t
}

// each makes a series for each code that the rule refuses with. Errors of its
// matchers are left to be made when they happen.
func (t *tally) each(outcome string, q *requirement) {
	for i := range q.conditions {
		t.of(outcome, q.conditions[i].told().refusal(q, new(visitor)).code, q.ruleID)
	}
	if q.throttle != nil {
		t.of(outcome, codeThrottled, q.ruleID)
	}
}

func (t *tally) of(outcome string, c code, rule ruleID) prometheus.Counter {
	return t.requests.WithLabelValues(outcome, string(c), label(t.privacy.rule(rule)))
}

// count counts a request that was decided. A nil *tally counts nothing.
func (t *tally) count(let admission, no *refusal) {
	if t == nil {
		return
	}
	switch outcome := outcomeOf(let, no); outcome {
	case outcomePassed:
		t.passed.Inc()
	case outcomePublic:
		t.public.Inc()
	case outcomePreflight:
		t.preflight.Inc()
	default:
		t.of(outcome, no.code, no.rule).Inc()
	}
}

// outcomeOf is what became of a request.
func outcomeOf(let admission, no *refusal) string {
	switch {
	case no != nil && no.code == codeHidden:
		return outcomeHidden
	case no != nil:
		return outcomeRefused
	case let.preflight:
		return outcomePreflight
	case let.open:
		return outcomePublic
	}
	return outcomePassed
}

// observe counts what would have been refused.
func (t *tally) observe(no *refusal) {
	if t != nil {
		t.of(outcomeObserved, no.code, no.rule).Inc()
	}
}

// unruledCodes are the codes of refusals that no rule makes.
func unruledCodes() []code {
	return []code{
		codeCredentialsMissing, codeCredentialsMalformed, codeCredentialsAmbiguous, codeTokenInvalid, codeTokenExpired, codeTokenNotYetValid,
		codeOriginDenied, codeRequestAmbiguous, codeTooEarly, codeLockedOut, codeKeysUnavailable, codeInternalError,
	}
}

// label makes a text from the configuration fit for a label: a value from a file
// or from the environment may be no UTF-8, which would end every scrape.
func label(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
