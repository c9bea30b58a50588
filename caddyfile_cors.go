package gatehouse

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func (g *Gatehouse) parseCORS(d *caddyfile.Dispenser) error {
	g.CORS = new(CORS)
	if d.NextArg() {
		return d.Errf("cors: found %q; expected a block", d.Val())
	}
	if err := block(d, "cors", words{
		"origins":     {texts(&g.CORS.Origins, "<origin>..."), once},
		"methods":     {texts(&g.CORS.Methods, "<METHOD>..."), once},
		"headers":     {texts(&g.CORS.Headers, "<name>..."), once},
		"credentials": {given(&g.CORS.Credentials), once},
		"max_age":     {duration(func(v caddy.Duration) { g.CORS.MaxAge = v }), once},
	}); err != nil {
		return err
	}
	return wrap(d, g.CORS.check())
}
