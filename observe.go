package gatehouse

import (
	"context"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// observation counts what a rule with `observe` would have refused.
type observation struct{ refused atomic.Uint64 }

// watch judges observed rules on a request that passes, and tells what they
// would have done. It is over before the next handler, and changes nothing that
// the client, the next handler or another rule can see.
func (g *gate) watch(r *http.Request, v views, let admission) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("panic while judging rules that only observe; the request passes all the same", g.teller.privacy.panicked(p), zap.ByteString("stack", debug.Stack()))
		}
	}()
	// Matchers leave placeholders behind, such as the captures of path_regexp.
	v.served = withOwnPlaceholders(v.served.WithContext(r.Context()), r)
	who := g.visitor(r)
	who.identity = let.identity
	for _, q := range g.rules.observed {
		no := g.wouldRefuse(q, v, who, let.open)
		if no == nil {
			continue
		}
		n := q.observed.refused.Add(1)
		g.tally.observe(no)
		g.recordObserved(r, no, n)
	}
}

// wouldRefuse is the refusal of one observed rule. On a public path only its
// addresses count, as for every other rule.
func (g *gate) wouldRefuse(q *requirement, v views, who *visitor, open bool) *refusal {
	matched, no := either(q.ruleID, v, q.matches)
	if no != nil || !matched {
		return no
	}
	rules := []*requirement{q}
	if _, no := admitAddress(rules, who); no != nil || open {
		return no
	}
	if no := admit(rules, who); no != nil || q.throttle == nil || !allHold(q.when, who) {
		return no.of(who)
	}
	return g.limits.spend(q.throttle, who, q.throttle.byAddress).of(who)
}

// overlook lets pass what a gate with `observe` would refuse, with the identity
// that was verified, if any.
func (g *gate) overlook(r *http.Request, let admission, no *refusal) (admission, *refusal) {
	if no == nil || g.observe == nil {
		return let, no
	}
	n := g.observe.refused.Add(1)
	g.tally.observe(no)
	g.recordObserved(r, no, n)
	return admission{identity: no.visitor, open: true}, nil
}

// recordObserved tells what would have been refused, the n-th of its kind.
func (g *gate) recordObserved(r *http.Request, no *refusal, n uint64) {
	fields := g.teller.fields(r, no)
	g.teller.recent.addObserved(no, g.teller.now(), fields)
	g.log.Info("would be refused", append(fields, zap.Uint64("count", n))...)
}

// observeReminder is how often the log says that a gate refuses nothing.
const observeReminder = time.Hour

const observeWarning = "this gate only observes: it lets every request pass; take out `observe` to protect what is behind it"

// remindOfObserving repeats what was warned of at load, until ctx ends.
func remindOfObserving(ctx context.Context, gates []*observedGate, log *zap.Logger) {
	every(ctx, observeReminder, func() {
		for _, gate := range gates {
			log.Warn(observeWarning, zap.String("source", gate.source), zap.Uint64("would_be_refused", gate.refused.Load()))
		}
	})
}

// observedGate is a gate with `observe`, as the reminder knows it.
type observedGate struct {
	*observation
	source string
}
