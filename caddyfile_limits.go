package gatehouse

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func (g *Gatehouse) parseLockout(d *caddyfile.Dispenser) error {
	g.Lockout = new(Lockout)
	if d.NextArg() {
		return d.Errf("lockout: found %q; expected a block", d.Val())
	}
	if err := block(d, "lockout", words{
		"failures": {g.Lockout.parseFailures, once},
		"window":   {duration(func(v caddy.Duration) { g.Lockout.Window = v }), once},
		"ban":      {duration(func(v caddy.Duration) { g.Lockout.Ban = v }), once},
	}); err != nil {
		return err
	}
	return wrap(d, g.Lockout.check())
}

func (l *Lockout) parseFailures(d *caddyfile.Dispenser) error {
	found, err := values(d, 1, 1, "<n>")
	if err != nil {
		return err
	}
	if l.Failures, err = strconv.Atoi(found[0]); err != nil || l.Failures < 1 {
		return d.Errf("lockout: failures: found %q; expected a number from 1 to %d", found[0], maxLimit)
	}
	return nil
}

// throttleParser parses `throttle <n> <duration> [by user|address]`.
func throttleParser(into **Throttle) func(*caddyfile.Dispenser) error {
	const usage = "<n> <duration> [by user|address]"
	return func(d *caddyfile.Dispenser) error {
		t := &Throttle{Source: source(d)}
		found, err := values(d, 2, 4, usage)
		if err != nil {
			return err
		}
		if len(found) > 2 {
			if len(found) != 4 || found[2] != "by" {
				return d.Errf("throttle: found %q after the duration; expected `throttle %s`", found[2], usage)
			}
			t.By = found[3]
		}
		if t.Requests, err = strconv.Atoi(found[0]); err != nil {
			return d.Errf("throttle: found %q; expected a number of requests, as in `throttle 600 1m`", found[0])
		}
		per, err := caddy.ParseDuration(found[1])
		if err != nil {
			return d.Errf("throttle: found %q; expected a duration, as in `throttle 600 1m`", found[1])
		}
		t.Per = caddy.Duration(per)
		*into = t
		return wrap(d, t.checkValues())
	}
}
