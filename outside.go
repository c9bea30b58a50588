package gatehouse

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// What an expectation rests on beyond the configuration: files of addresses, and
// matchers that may look further than the request. A rule counts with what it
// asks if it speaks of the request, or would but for what it asks; also one that
// another rule overrules. That is more than what decided, never less.
//
// A file counts where the expectation names an address. The default address is
// in nobody's network: a list that is changed sensibly does not come to hold it.

// restsOn names what the outcome rests on, for an expectation of who.
func (g *Gatehouse) restsOn(e *explanation, v views, who *AssumedVisitor) []string {
	// What is hidden is answered as another path would be: all rules count.
	all := e.no != nil && e.no.code == codeHidden || slices.ContainsFunc(e.rules, func(r ruleReport) bool {
		return r.hit && (r.option == "hide" || slices.Contains(r.notes, "hide"))
	})
	o := outside{view: v, all: all, named: who.IP != "", address: e.who}
	for _, list := range g.pathRules(g.gate) {
		for _, rule := range list.compiled {
			o.addTable(rule.addresses)
			o.addMatchers(&rule.selector)
		}
	}
	for _, q := range g.requirements(g.gate) {
		o.addRequirement(q)
	}
	slices.Sort(o.found)
	return slices.Compact(o.found)
}

// outside gathers what rules ask.
type outside struct {
	view    views
	all     bool // rules that do not match count too
	named   bool // the expectation names an address
	address *visitor
	found   []string
}

func (o *outside) addTable(t *addressTable) {
	if t == nil {
		return
	}
	for _, f := range t.files {
		if o.named || f.contains(o.address.address) {
			o.found = append(o.found, "the addresses in "+f.name)
		}
	}
}

func (o *outside) addMatchers(s *selector) {
	if o.all || o.mayMatch(s.takesMethod) {
		o.found = append(o.found, s.told.further...)
	}
}

func (o *outside) addRequirement(q *requirement) {
	o.addMatchers(&q.selector)
	selected := o.all || o.mayMatch(func(r *http.Request) bool {
		ok, err := q.selector.matches(r)
		return ok || err != nil
	})
	if !selected {
		return
	}
	o.found = append(o.found, q.narrowTold.further...)
	matched, no := either(q.ruleID, o.view, q.matches)
	if o.all || matched || no != nil {
		o.addConditions(q.when)
		o.addConditions(q.conditions)
	}
}

func (o *outside) addConditions(list []condition) {
	for i := range list {
		o.addTable(list[i].addresses)
		o.addConditions(list[i].any)
	}
}

func (o *outside) mayMatch(matches func(*http.Request) bool) bool {
	found := false
	o.view.each(func(r *http.Request) bool {
		found = matches(r)
		return !found
	})
	return found
}

// matcherTelling keeps of matchers what can be told of them: their configuration
// is gone once they are loaded.
type matcherTelling struct {
	names   string
	further []string // those that may look further than the request
}

func tellMatchers(sets caddyhttp.RawMatcherSets) matcherTelling {
	var out matcherTelling
	names := make([]string, 0, len(sets))
	for _, set := range sets {
		keys := sortedKeys(set)
		names = append(names, "{"+strings.Join(keys, " ")+"}")
		for _, name := range keys {
			if looksFurther(name, set[name]) {
				out.further = append(out.further, "the matcher "+name)
			}
		}
	}
	out.names = strings.Join(names, " ")
	return out
}

// placeholder is one in a matcher's value; `{3}` in a regular expression is none.
var placeholder = regexp.MustCompile(`\{[A-Za-z$]`)

// looksFurther reports a matcher whose answer may depend on more than the
// request and its own configuration. Every module that is not known counts.
func looksFurther(name string, raw json.RawMessage) bool {
	switch name {
	case "path", "path_regexp", "method", "host", "header", "header_regexp", "query", "protocol", "remote_ip", "client_ip":
		return placeholder.Match(raw)
	case "not":
		var sets caddyhttp.RawMatcherSets
		if json.Unmarshal(raw, &sets) != nil {
			return true
		}
		return slices.ContainsFunc(sets, func(set caddy.ModuleMap) bool {
			return slices.ContainsFunc(sortedKeys(set), func(name string) bool { return looksFurther(name, set[name]) })
		})
	}
	return true
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
