package gatehouse

import (
	"crypto/rand"
	"net/http"
	"path"
	"strings"
)

// maxNeighbours bounds the look for a path that nobody hides.
const maxNeighbours = 32

// hide answers what this visitor would get for a path that nobody listed: the
// refusal of such a path, or, where it would pass, the site's own 404.
func (g *gate) hide(r *http.Request, who *visitor, rule ruleID, cause string) (admission, *refusal) {
	neighbour := g.neighbour(r)
	who.identity = nil
	let, no := g.judgeListed(neighbour.served, neighbour, who, true)
	if no != nil || let.preflight && g.cors != nil {
		return let, no // a preflight is answered without a look at the path
	}
	return admission{}, &refusal{code: codeHidden, rule: rule, cause: cause, visitor: let.identity, from: who.from, standIn: neighbour.served.URL.Path}
}

// neighbour is the request for the nearest path that does not exist and is not
// hidden: who scans a folder compares with what else is in it. One segment is
// replaced, the last that hides nothing then, and it keeps its extension if it
// can. It is a neighbour of what the client asked for.
func (g *gate) neighbour(r *http.Request) views {
	one, other := madeUpName('q'), madeUpName('z')
	segments := strings.Split(originalPath(r), "/")
	tried := 0
	for i := len(segments) - 1; i > 0 && tried < maxNeighbours; i-- {
		kept := segments[i]
		extension := path.Ext(kept)
		for _, name := range []string{one + extension, other + extension, one, other} {
			segments[i] = name
			v := g.viewsAt(r, strings.Join(segments, "/"))
			if tried++; !g.hides(v) {
				return v
			}
		}
		segments[i] = kept
	}
	return g.viewsAt(r, "/"+one)
}

// madeUpName is a name that no file has and no rule means, for it is made of
// letters that make no words: a rule for what begins with d would else hide one
// name in sixteen, and a scanner would see the answer vary.
func madeUpName(first byte) string {
	const letters = "qxzjkvwq"
	var name [30]byte
	_, _ = rand.Read(name[:]) // never fails
	for i, b := range name {
		name[i] = letters[b&7]
	}
	name[0] = first
	return string(name[:])
}

// viewsAt is the request as it would be for another path, with all that an
// upstream may make of that. What a rewrite would is not known here.
func (g *gate) viewsAt(r *http.Request, path string) views {
	v := views{served: viewAt(r, path)}
	if isExtendedConnect(r) {
		v.served = asUpgradedGet(v.served)
	}
	v.addOtherPaths()
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
