package gatehouse

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// compile turns the configuration into the state that requests are judged by.
func (g *Gatehouse) compile(ctx caddy.Context, app *App) (*gate, error) {
	log := ctx.Logger()
	out := &gate{log: log, strip: g.StripToken}
	out.authn = authenticator{
		sources: newTokenSources(g.Tokens),
		limit:   g.tokenLimit(),
		issuers: make(map[string]*trustedIssuer, len(g.Issuers)),
		memory:  newMemory(g.remembered()),
		meters:  app.meters,
		now:     time.Now,
	}
	for _, is := range g.Issuers {
		compiled, err := is.compile(app, time.Now)
		if err != nil {
			return nil, at(is.Source, fmt.Errorf("issuer %s: %w", is.name(), err))
		}
		if out.authn.issuers[compiled.name] != nil {
			return nil, at(is.Source, fmt.Errorf("issuer %s: configured twice", compiled.name))
		}
		out.authn.issuers[compiled.name] = compiled
	}
	var err error
	if out.authn.order, err = newRoleOrder(g.RoleOrders); err != nil {
		return nil, err
	}
	if out.rules, err = g.compileRules(ctx, app); err != nil {
		return nil, err
	}
	if out.cors, err = g.CORS.compile(); err != nil {
		return nil, err
	}
	if g.Observe {
		out.cors, out.observe = nil, new(observation)
		app.observing = append(app.observing, &observedGate{out.observe, g.place})
	}
	out.limits = g.compileLimits(app)
	out.streams = g.compileStreams(ctx, log)
	out.paths = newPathReading(g.AmbiguousPaths)
	if out.headers, err = newHeaderPlan(g.IdentityHeaders, log); err != nil {
		return nil, err
	}
	out.teller, err = g.compileTeller(ctx, app, out.authn.sources)
	if err != nil {
		return nil, err
	}
	out.teller.cors = out.cors
	app.meters.gauges.addMemory(out.authn.memory)
	out.tally = app.meters.tally(out)
	out.forwarded = newForwardedWatch(&out.rules, log)
	out.forwarded.privacy = out.teller.privacy
	g.warn(log)
	return out, nil
}

func (g *Gatehouse) tokenLimit() int {
	if g.TokenLimit == 0 {
		return defaultTokenLimit
	}
	return g.TokenLimit
}

func (g *Gatehouse) remembered() int {
	if g.Cache == nil {
		return defaultRemembered
	}
	return *g.Cache
}

// nameRules gives a source to what JSON left without one, so that logs and
// errors can name it.
func (g *Gatehouse) nameRules() {
	name := func(source *string, option string, i int) {
		if *source == "" {
			*source = fmt.Sprintf("%s[%d]", option, i)
		}
	}
	for option, rules := range map[string][]*PathRule{"deny": g.Deny, "hide": g.Hide, "public": g.Public} {
		for i, rule := range rules {
			if rule != nil {
				name(&rule.Source, option, i)
			}
		}
	}
	for i, q := range g.Require {
		if q != nil {
			name(&q.Source, "require", i)
		}
	}
	for i, e := range g.Expectations {
		if e != nil {
			name(&e.Source, "expectations", i)
		}
	}
	for i, is := range g.Issuers {
		if is != nil {
			name(&is.Source, "issuers", i)
		}
	}
	for i, o := range g.RoleOrders {
		if o != nil {
			name(&o.Source, "role_orders", i)
		}
	}
}
