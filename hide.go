package gatehouse

import (
	"net/http"
	"path"
	"strings"

	"github.com/google/uuid"
)

// maxNeighbours bounds the look for a path that nobody hides.
const maxNeighbours = 16

// hide answers what this visitor would get for a path that nobody listed: the
// refusal of such a path, or, where it would pass, the site's own 404.
func (g *gate) hide(r *http.Request, rule ruleID, cause string) (admission, *refusal) {
	neighbour := g.neighbour(r)
	let, no := g.judgeListed(neighbour.served, neighbour, g.visitor(r), true)
	if no != nil || let.preflight && g.cors != nil {
		return let, no // a preflight is answered without a look at the path
	}
	return admission{}, &refusal{code: codeHidden, rule: rule, cause: cause, visitor: let.identity, standIn: neighbour.served.URL.Path}
}

// neighbour is the request for the nearest path that does not exist and is not
// hidden: who scans a folder compares with what else is in it. One segment is
// replaced, the last that hides nothing then, and it keeps its extension if it
// can. It is a neighbour of what the client asked for.
func (g *gate) neighbour(r *http.Request) views {
	made := uuid.NewString()
	segments := strings.Split(originalPath(r), "/")
	tried := 0
	for i := len(segments) - 1; i > 0 && tried < maxNeighbours; i-- {
		kept := segments[i]
		for _, name := range []string{made + path.Ext(kept), made} {
			segments[i] = name
			v := g.viewsAt(r, strings.Join(segments, "/"))
			if tried++; !g.hides(v) {
				return v
			}
		}
		segments[i] = kept
	}
	return g.viewsAt(r, "/"+made)
}

// viewsAt is the request as it would be for another path. It is the only view:
// what a rewrite would make of that path is not known here.
func (g *gate) viewsAt(r *http.Request, path string) views {
	v := views{served: viewAt(r, path)}
	if isExtendedConnect(r) {
		v.served = asUpgradedGet(v.served)
	}
	v.addOtherMethods()
	return v
}

// hides reports that some rule hides the request, or may do so once the visitor
// is known. An error is no answer to go by.
func (g *gate) hides(v views) bool {
	for _, rule := range g.rules.hide {
		if matched, no := either(rule.ruleID, v, rule.matches); matched || no != nil {
			return true
		}
	}
	for _, q := range g.rules.require {
		if !q.hide {
			continue
		}
		if matched, no := either(q.ruleID, v, q.matches); matched || no != nil {
			return true
		}
	}
	return false
}
