package gatehouse

import (
	"net/http"
	"reflect"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// forwardedWatch tells once that addresses are judged behind a proxy that Caddy
// does not know: every visitor has the proxy's address then.
type forwardedWatch struct {
	off atomic.Bool // told, or nothing to tell
	log *zap.Logger

	privacy privacy
}

func newForwardedWatch(rules *ruleset, log *zap.Logger) *forwardedWatch {
	w := &forwardedWatch{log: log}
	w.off.Store(!rules.usesAddress())
	return w
}

func (rs *ruleset) usesAddress() bool {
	if rs.deniesByAddress {
		return true
	}
	for _, list := range [][]*requirement{rs.require, rs.observed} {
		for _, q := range list {
			if q.usesAddress {
				return true
			}
		}
	}
	return false
}

func (w *forwardedWatch) look(r *http.Request) {
	if w.off.Load() || len(r.Header["X-Forwarded-For"]) == 0 {
		return
	}
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if ok && knowsProxies(server) {
		w.off.Store(true) // it is a forgery, or no proxy that matters
		return
	}
	if !ok || w.off.Swap(true) {
		return
	}
	w.log.Warn("X-Forwarded-For came from a peer that is no trusted proxy, and rules judge the client's address: behind a proxy that is the proxy's own; "+
		"set trusted_proxies in the servers option if there is one, or ignore this if clients connect directly",
		w.privacy.address(clientAddress(r)))
}

// knowsProxies reports a server with trusted_proxies. Caddy empties the exported
// field once it has loaded the module, and keeps that in a field of its own; of
// a server without such a field nothing is claimed.
func knowsProxies(server *caddyhttp.Server) bool {
	loaded := reflect.ValueOf(server).Elem().FieldByName("trustedProxies")
	return server.TrustedProxiesUnix || server.TrustedProxiesRaw != nil || loaded.Kind() != reflect.Interface || !loaded.IsNil()
}
