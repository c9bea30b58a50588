package gatehouse

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gatehouse/gatehouse/internal/limit"
)

// Lockout stops who tries many bad credentials. It counts rejected ones (forged,
// foreign or malformed; never missing or expired ones) by the client's network:
// an IPv4 address, or the /64 of an IPv6 one. While a network is locked out its
// bad credentials are answered 403 `locked_out` with the time to wait; good
// ones, and those who bring none, are answered as ever.
type Lockout struct {
	// How many failures are let pass within `window`. Default: 10.
	Failures int `json:"failures,omitempty"`

	// The time within which failures count. Default: 1m.
	Window caddy.Duration `json:"window,omitempty"`

	// How long a lock-out lasts. It is not prolonged. Default: 15m.
	Ban caddy.Duration `json:"ban,omitempty"`
}

// Throttle lets so many requests pass in a time, all at once if need be. What is
// too much is answered 403 `throttled` with the exact time to wait.
//
// Counts are kept by the rule's name, else by where it is configured, and go on
// over a reload: rules of one imported snippet count together, and so do rules
// without `name` and `source` in JSON.
type Throttle struct {
	// Where this was configured, as file:line. Set by the Caddyfile.
	Source string `json:"source,omitempty"`

	// How many requests.
	Requests int `json:"requests"`

	// Within which time: 1s to 30 days.
	Per caddy.Duration `json:"per"`

	// Who is counted: `user` (default), by issuer and subject once all rules
	// hold, or `address`, by the client's network before any credential is
	// looked at. Requests that a `public` rule lets in are not counted.
	By string `json:"by,omitempty"`
}

const (
	byUser    = "user"
	byAddress = "address"

	maxLimit       = 1_000_000
	maxLimitPeriod = 30 * 24 * time.Hour

	defaultFailures = 10
	defaultWindow   = caddy.Duration(time.Minute)
	defaultBan      = caddy.Duration(15 * time.Minute)
)

func (l *Lockout) check() error {
	if l == nil {
		return nil
	}
	if l.Failures < 0 || l.Failures > maxLimit {
		return fmt.Errorf("lockout: found %d failures; expected 1 to %d", l.Failures, maxLimit)
	}
	for name, d := range map[string]caddy.Duration{"window": l.Window, "ban": l.Ban} {
		if d != 0 && !isLimitPeriod(d) {
			return fmt.Errorf("lockout: %s is %s; expected 1s to 30d", name, time.Duration(d))
		}
	}
	return nil
}

func isLimitPeriod(d caddy.Duration) bool {
	return time.Duration(d) >= time.Second && time.Duration(d) <= maxLimitPeriod
}

func (t *Throttle) check() error {
	if t == nil {
		return nil
	}
	return at(t.Source, t.checkValues())
}

func (t *Throttle) checkValues() error {
	switch {
	case t == nil:
		return nil
	case t.Requests < 1 || t.Requests > maxLimit:
		return fmt.Errorf("throttle: found %d requests; expected 1 to %d, as in `throttle 600 1m`", t.Requests, maxLimit)
	case !isLimitPeriod(t.Per):
		return fmt.Errorf("throttle: found %s; expected 1s to 30d, as in `throttle 600 1m`", time.Duration(t.Per))
	case !slices.Contains([]string{"", byUser, byAddress}, t.By):
		return fmt.Errorf("throttle: found by %q; expected user or address", t.By)
	}
	return nil
}

// throttle is a compiled Throttle, of the gate or of one rule.
type throttle struct {
	rule      ruleID
	rate      limit.Rate
	byAddress bool
}

// compile needs a rule's id that stays the same over reloads: records are kept
// by it.
func (t *Throttle) compile(rule ruleID) *throttle {
	if t == nil {
		return nil
	}
	return &throttle{rule: rule, rate: limit.Rate{N: t.Requests, Per: time.Duration(t.Per)}, byAddress: t.By == byAddress}
}

// limiter counts for one gate.
type limiter struct {
	store limit.Store
	keys  *limit.Keys
	lock  *limit.Lock // nil: no lockout
	gate  *throttle   // nil: only rules have one
}

func (g *Gatehouse) compileLimits(app *App) *limiter {
	needed := g.Lockout != nil || g.Throttle != nil || slices.ContainsFunc(g.Require, func(q *Require) bool { return q.Throttle != nil })
	if !needed {
		return nil
	}
	records := app.limits()
	out := &limiter{store: records.store, keys: records.keys}
	if g.Throttle != nil {
		out.gate = g.Throttle.compile(newRuleID("", cmp.Or(g.Throttle.Source, "throttle"), nil))
	}
	if g.Lockout != nil {
		out.lock = g.Lockout.compile()
	}
	return out
}

func (l *Lockout) compile() *limit.Lock {
	return &limit.Lock{
		Failures: limit.Rate{N: cmp.Or(l.Failures, defaultFailures), Per: time.Duration(cmp.Or(l.Window, defaultWindow))},
		Ban:      time.Duration(cmp.Or(l.Ban, defaultBan)),
	}
}

// network is whom an address stands for: one IPv4 address, or the /64 that a
// subscriber of IPv6 gets at least (RFC 6177).
func network(addr netip.Addr) (string, bool) {
	if !addr.IsValid() {
		return "", false
	}
	if addr.Is4() {
		return addr.String(), true
	}
	prefix, err := addr.Prefix(64)
	return prefix.String(), err == nil
}

// rejected counts a refusal of a credential, and turns it into a lock-out where
// there were too many.
func (l *limiter) rejected(no *refusal, who *visitor) *refusal {
	if l == nil || l.lock == nil || !no.code.rejectsCredential() {
		return no
	}
	net, known := network(who.address)
	if !known {
		return no
	}
	// Gates that lock out alike share the record: who tries at one tries at all.
	wait := l.store.Fail(l.keys.Key("lockout", l.lock.Failures.String(), l.lock.Ban.String(), net), *l.lock, who.now())
	if wait == 0 {
		return no
	}
	// A ban is not prolonged: all of it is left only where it begins.
	return &refusal{code: codeLockedOut, cause: no.cause, retryAfter: wait, from: no.from, token: no.token, locksOut: wait == l.lock.Ban}
}

// spend counts a request with one throttle, if that counts addresses now, or
// else users.
func (l *limiter) spend(t *throttle, who *visitor, address bool) *refusal {
	if t == nil || t.byAddress != address {
		return nil
	}
	var whose limit.Key
	if t.byAddress {
		net, known := network(who.address)
		if !known {
			return &refusal{code: codeAddressDenied, rule: t.rule, cause: "no client address"}
		}
		whose = l.keys.Key(byAddress, t.rule.name, net)
	} else {
		whose = l.keys.Key(byUser, t.rule.name, who.identity.issuer, who.identity.id)
	}
	wait := l.store.Spend(whose, t.rate, who.now())
	if wait == 0 {
		return nil
	}
	return &refusal{code: codeThrottled, rule: t.rule, cause: "over " + t.rate.String(), retryAfter: wait}
}

// spendByAddress counts a request with every throttle by address that speaks of
// it. The one that takes longest to wait for is told. A request that is judged
// once more, as its neighbour, is counted once.
func (l *limiter) spendByAddress(requirements []*requirement, who *visitor) *refusal {
	if l == nil || who.counted {
		return nil
	}
	who.counted = true
	return l.spendAll(requirements, who, true)
}

// spendByUser does the same by user, of whom all rules hold.
func (l *limiter) spendByUser(requirements []*requirement, who *visitor) *refusal {
	if l == nil {
		return nil
	}
	return l.spendAll(requirements, who, false)
}

func (l *limiter) spendAll(requirements []*requirement, who *visitor, address bool) *refusal {
	no := l.spend(l.gate, who, address)
	for _, q := range requirements {
		if q.throttle == nil || !allHold(q.when, who) {
			continue
		}
		if over := l.spend(q.throttle, who, address); over != nil && (no == nil || over.retryAfter > no.retryAfter) {
			no = over
		}
	}
	return no
}

// throttles reports that some throttle speaks of the request.
func (l *limiter) throttles(requirements []*requirement) bool {
	return l != nil && (l.gate != nil || slices.ContainsFunc(requirements, func(q *requirement) bool { return q.throttle != nil }))
}

var errThrottleWhen = errors.New("require: found throttle by address beside when; expected `throttle <n> <duration> by user`, since the address is counted before the visitor is known")
