package gatehouse

import (
	"net/http"
	"runtime/debug"
	"sync/atomic"

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
			g.log.Error("panic while judging rules that only observe; the request passes all the same", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
		}
	}()
	// Matchers leave placeholders behind, such as the captures of path_regexp.
	v.served = withOwnPlaceholders(v.served.WithContext(r.Context()), r)
	who := g.visitor(r)
	who.identity = let.identity
	for _, q := range g.rules.observed {
		no := wouldRefuse(q, v, who, let.open)
		if no == nil {
			continue
		}
		n := q.observed.refused.Add(1)
		g.tally.observe(no)
		g.log.Info("would be refused", append(g.teller.fields(r, no), zap.Uint64("count", n))...)
	}
}

// wouldRefuse is the refusal of one observed rule. On a public path only its
// addresses count, as for every other rule.
func wouldRefuse(q *requirement, v views, who *visitor, open bool) *refusal {
	matched, no := either(q.ruleID, v, q.matches)
	if no != nil || !matched {
		return no
	}
	rules := []*requirement{q}
	if _, no := admitAddress(rules, who); no != nil || open {
		return no
	}
	return admit(rules, who)
}
