package gatehouse

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// compile turns the configuration into the state that requests are judged by.
func (g *Gatehouse) compile(ctx caddy.Context, app *App) (*gate, error) {
	log := ctx.Logger()
	out := &gate{log: log, strip: g.StripToken}
	out.authn = authenticator{
		sources: newTokenSources(g.Tokens),
		limit:   g.tokenLimit(),
		issuers: make(map[string]*trustedIssuer, len(g.Issuers)),
		now:     time.Now,
	}
	var err error
	if out.authn.memory, err = newMemory(g.remembered()); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
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
	if out.authn.order, err = newRoleOrder(g.RoleOrders); err != nil {
		return nil, err
	}
	if out.rules, err = g.compileRules(ctx, app); err != nil {
		return nil, err
	}
	out.paths = newPathReading(g.AmbiguousPaths)
	if out.headers, err = newHeaderPlan(g.IdentityHeaders, log); err != nil {
		return nil, err
	}
	out.teller, err = g.compileTeller(log, out.authn.sources)
	if err != nil {
		return nil, err
	}
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
}

// warn tells the operator of choices that are allowed and still risky.
func (g *Gatehouse) warn(log *zap.Logger) {
	for _, s := range g.Tokens {
		if s.From == fromQuery {
			log.Warn("tokens in the query are taken out before the next handler, but Caddy's access log has seen them; filter the parameter there",
				zap.String("parameter", s.Name))
		}
	}
	for _, is := range g.Issuers {
		if is.AnyAudience {
			log.Warn("tokens that this issuer made for other services are accepted", zap.String("issuer", is.name()), zap.String("source", is.Source))
		}
	}
}
