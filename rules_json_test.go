package gatehouse

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// What the Caddyfile cannot say wrong, JSON can.
func TestRuleMistakesInJSON(t *testing.T) {
	for name, c := range map[string]struct{ json, want string }{
		"a null rule":                    {`"require": [null]`, "require: found null"},
		"a null deny":                    {`"deny": [null]`, "deny: found null"},
		"no condition":                   {`"require": [{"paths": ["/x"]}]`, "require: found nothing to require"},
		"a null condition":               {`"require": [{"conditions": [null]}]`, "require: found null"},
		"a null when":                    {`"require": [{"when": [null], "conditions": [{"role": ["a"]}]}]`, "require: found null"},
		"an empty condition":             {`"require": [{"conditions": [{}]}]`, "found 0 kinds in one condition"},
		"an empty when":                  {`"require": [{"when": [{}], "conditions": [{"role": ["a"]}]}]`, "require: when: found 0 kinds"},
		"two kinds in one condition":     {`"require": [{"conditions": [{"role": ["a"], "scope": ["b"]}]}]`, "found 2 kinds in one condition"},
		"fresh beside a kind":            {`"require": [{"conditions": [{"role": ["a"], "fresh": "5m"}]}]`, "found 2 kinds"},
		"an empty list":                  {`"require": [{"conditions": [{"role": []}]}]`, "found an empty value"},
		"an empty list of addresses":     {`"require": [{"conditions": [{"ip": []}]}]`, "found an empty value"},
		"an empty value":                 {`"require": [{"conditions": [{"scope": ["a", ""]}]}]`, "found an empty value"},
		"a claim without a value":        {`"require": [{"conditions": [{"claim": {"name": "plan"}}]}]`, "claim plan: found no value"},
		"a claim without a name":         {`"require": [{"conditions": [{"claim": {"values": ["x"]}}]}]`, `claim ""`},
		"a negative age":                 {`"require": [{"conditions": [{"fresh": -1}]}]`, "fresh: found -1ns; expected at least 1s"},
		"an age of a nanosecond":         {`"require": [{"conditions": [{"fresh": 1}]}]`, "expected at least 1s"},
		"an empty any":                   {`"require": [{"conditions": [{"any": []}]}]`, "any: found 0 conditions"},
		"a null in any":                  {`"require": [{"conditions": [{"any": [{"role": ["a"]}, null]}]}]`, "any: found null"},
		"any in any":                     {`"require": [{"conditions": [{"any": [{"role": ["a"]}, {"any": [{"role": ["a"]}, {"role": ["b"]}]}]}]}]`, "found any within any"},
		"any in when":                    {`"require": [{"when": [{"any": [{"role": ["a"]}, {"role": ["b"]}]}], "conditions": [{"role": ["a"]}]}]`, "found any within any"},
		"fresh in when":                  {`"require": [{"when": [{"fresh": "5m"}], "conditions": [{"role": ["a"]}]}]`, "would end with time"},
		"an unknown issuer in any":       {`"require": [{"conditions": [{"any": [{"issuer": ["x"]}, {"role": ["b"]}]}]}]`, `issuer "x" is not configured`},
		"a name that is a sentence":      {`"require": [{"name": "a b", "conditions": [{"role": ["a"]}]}]`, `found name "a b"`},
		"an empty match set":             {`"require": [{"match": [{}], "conditions": [{"role": ["a"]}]}]`, "a matcher with nothing in it"},
		"the visitor in match":           {`"require": [{"match": [{"not": [{"gatehouse": {}}]}], "conditions": [{"role": ["a"]}]}]`, "found the gatehouse matcher"},
		"sensitive_files beside a path":  {`"deny": [{"sensitive_files": true, "paths": ["/x"]}]`, "sensitive_files stands alone"},
		"sensitive_files beside ip":      {`"hide": [{"sensitive_files": true, "ip": ["192.0.2.1"]}]`, "ip stands alone"},
		"public sensitive_files":         {`"public": [{"sensitive_files": true}]`, "takes no sensitive_files"},
		"public ip":                      {`"public": [{"ip": ["192.0.2.1"]}]`, "takes no ip"},
		"deny without anything":          {`"deny": [{}]`, "deny: found no path"},
		"an empty deny ip":               {`"deny": [{"ip": []}]`, "ip: found no value"},
		"a null role_order":              {`"role_orders": [null]`, "role_orders: found null"},
		"a role_order of one":            {`"role_orders": [{"roles": ["a"]}]`, "role_order: found 1 value"},
		"a role_order with an empty one": {`"role_orders": [{"roles": ["a", ""]}]`, "found an empty role"},
		"a circle":                       {`"role_orders": [{"roles": ["a", "b"]}, {"roles": ["b", "a"]}]`, "found the circle b > a > b"},
	} {
		t.Run(name, func(t *testing.T) {
			g := new(Gatehouse)
			if err := caddy.StrictUnmarshalJSON([]byte(`{"issuers": [{"internal": true, "audiences": ["a"]}], `+c.json+`}`), g); err != nil {
				t.Fatal(err)
			}
			if err := g.check(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	for name, m := range map[string]*MatchVisitor{
		"no condition": {}, "a null": {Conditions: []*Condition{nil}}, "an empty one": {Conditions: []*Condition{{}}}, "an empty list": {Conditions: []*Condition{{Role: []string{}}}},
	} {
		if err := m.check(); err == nil {
			t.Errorf("the matcher takes %s", name)
		}
	}
}

// A matcher that nobody provisioned must not match, and not pass for `not` either.
func TestMatcherBeforeProvision(t *testing.T) {
	m := new(MatchVisitor)
	if matched, err := m.MatchWithError(requestFor("/")); matched || err == nil {
		t.Errorf("got %t, %v", matched, err)
	}
	if m.Match(requestFor("/")) {
		t.Error("it matches")
	}
}
