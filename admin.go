package gatehouse

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// adminBase is where Caddy's admin endpoint tells of gates.
const adminBase = "/gatehouse/"

// adminAPI tells of the running gates on Caddy's admin endpoint, and changes
// nothing:
//
//   - `GET /gatehouse/status` all figures
//   - `GET /gatehouse/issuers` where keys come from, their ids and ages, and the
//     last error of fetching them
//   - `GET /gatehouse/cache` tokens that are remembered
//   - `GET /gatehouse/lockouts` networks that are locked out, as a number
//   - `GET /gatehouse/refusals` recent refusals, newest first, as the log tells
//     them: 256 with a reason, 256 without any credential, 256 that were only
//     observed. `privacy` applies
//   - `GET /gatehouse/refusals/<request id>` one of them
//
// No key, secret, token or address of who is locked out is told. Each load of a
// configuration begins a new list of refusals.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.gatehouse",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes implements caddy.AdminRouter.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: adminBase, Handler: caddy.AdminHandlerFunc(a.serve)}}
}

func (*adminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("expected GET or HEAD: nothing can be changed here")}
	}
	told := activeApp().tell(strings.TrimPrefix(r.URL.Path, adminBase), time.Now())
	if told == nil {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("there is no such resource, or no such refusal is kept any more")}
	}
	data, err := json.Marshal(told)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
	}
	h.Set("Content-Type", "application/json")
	_, _ = w.Write(append(data, '\n'))
	return nil
}

// activeApp is that of the configuration that serves; nil where it has no gate.
// It is looked up for each request: Caddy makes its admin endpoint before it
// knows whether a new configuration can start.
func activeApp() *App {
	module, err := caddy.ActiveContext().AppIfConfigured("gatehouse")
	if err != nil {
		return nil
	}
	app, _ := module.(*App)
	return app
}

// tell returns what is asked for; nil where there is none.
func (a *App) tell(name string, now time.Time) any {
	switch name {
	case "status":
		return a.report(now)
	case "issuers":
		return a.report(now).Issuers
	case "cache":
		return a.report(now).Cache
	case "lockouts":
		return a.report(now).Lockouts
	case "refusals":
		if a == nil {
			return []json.RawMessage{}
		}
		return a.recent.list()
	}
	if id, found := strings.CutPrefix(name, "refusals/"); found && id != "" && a != nil {
		if refusal := a.recent.find(id); refusal != nil {
			return refusal
		}
	}
	return nil
}

// Interface guard
var _ caddy.AdminRouter = (*adminAPI)(nil)
