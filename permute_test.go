package gatehouse

import (
	"slices"
	"strings"
	"testing"
)

const (
	propertyRuleSets = 90
	propertyVisits   = 12 // to each
)

// eachCase runs a property over random rule sets, each with its own seed, which
// a failure names.
func eachCase(t *testing.T, property func(t *testing.T, w *workshop, d dice, seed uint64)) {
	t.Helper()
	w := newWorkshop(t)
	for seed := range uint64(propertyRuleSets) {
		property(t, w, newDice(seed), seed)
		if t.Failed() {
			return
		}
	}
}

// The order of lines is a matter of taste: operators sort them as they like.
func TestOrderOfLinesNeverChangesAVerdict(t *testing.T) {
	met := make(map[verdict]int)
	eachCase(t, func(t *testing.T, w *workshop, d dice, seed uint64) {
		lines := d.rules()
		other := d.permuted(lines)
		a, b := w.gate(lines...), w.gate(other...)
		for range propertyVisits {
			v := d.visit(w)
			first, second := w.send(a, v), w.send(b, v)
			met[first.verdict]++
			if first.verdict != second.verdict || first.reached != second.reached {
				t.Errorf("seed %d: %s\ngets %v with\n%s\nand %v with\n%s", seed, v, first.verdict, strings.Join(lines, "\n"), second.verdict, strings.Join(other, "\n"))
				return
			}
		}
	})
	// What the dice never throw is not tested.
	for _, want := range []verdict{
		pass(), refusedWith(401, codeCredentialsMissing), refusedWith(401, codeTokenInvalid), refusedWith(401, codeStepUpRequired),
		refusedWith(403, codeRoleMissing), refusedWith(403, codeScopeMissing), refusedWith(403, codeClaimMissing),
		refusedWith(403, codeAddressDenied), refusedWith(403, codePathDenied), refusedWith(404, codeHidden),
	} {
		if met[want] < 5 {
			t.Errorf("verdict %v came up %d times in %v", want, met[want], met)
		}
	}
}

// One rule with many lines, or many rules with one: both say that all must hold.
func TestGroupingOfLinesNeverChangesAVerdict(t *testing.T) {
	eachCase(t, func(t *testing.T, w *workshop, d dice, seed uint64) {
		lines := d.rules()
		one, many := slices.Clone(lines), slices.Clone(lines)
		for range 3 {
			q := d.require()
			one, many = append(one, q.String()), append(many, q.apart()...)
		}
		one, many = append(one, "public GET /b /c/* *.sql"), append(many, "public GET *.sql", "public GET /b", "public GET /c/*")
		a, b := w.gate(one...), w.gate(d.permuted(many)...)
		for range propertyVisits {
			v := d.visit(w)
			if first, second := w.send(a, v), w.send(b, v); first.verdict != second.verdict || first.reached != second.reached {
				t.Errorf("seed %d: %s\ngets %v with\n%s\nand %v with\n%s", seed, v, first.verdict, strings.Join(one, "\n"), second.verdict, strings.Join(many, "\n"))
				return
			}
		}
	})
}

// A new rule can only tighten: whoever adds one never opens a door by it.
func TestANewRuleOnlyTightens(t *testing.T) {
	tightened := 0
	eachCase(t, func(t *testing.T, w *workshop, d dice, seed uint64) {
		lines := d.rules()
		added := d.of(d.pathRule("deny"), d.pathRule("hide"), d.require().String(), d.require("hide").String())
		before, after := w.gate(lines...), w.gate(slices.Insert(slices.Clone(lines), d.IntN(len(lines)+1), added)...)
		for range propertyVisits {
			v := d.visit(w)
			was, is := w.send(before, v), w.send(after, v)
			if is.reached && !was.reached {
				t.Errorf("seed %d: %s\nis refused with %v by\n%s\nand passes once this is added\n%s", seed, v, was.verdict, strings.Join(lines, "\n"), added)
				return
			}
			if was.reached && !is.reached {
				tightened++
			}
		}
	})
	if tightened < 50 {
		t.Errorf("a new rule refused %d visits", tightened)
	}
}

// Whoever tries a rule with observe must see what would be, and nobody else
// anything.
func TestObservedRulesChangeNoByte(t *testing.T) {
	eachCase(t, func(t *testing.T, w *workshop, d dice, seed uint64) {
		lines := d.rules()
		observed := []string{d.require("observe").String(), d.require("observe", "hide").String(), d.require("observe", "message Sorry.", "name trial").String()}
		plain, watched := w.gate(lines...), w.gate(d.permuted(append(observed, lines...))...)
		for range propertyVisits {
			v := d.visit(w)
			without, with := w.send(plain, v), w.send(watched, v)
			if without.bytes != with.bytes || without.code != with.code {
				t.Errorf("seed %d: %s\ngets\n%s\nand with the observed rules\n%s\ngets\n%s\nof\n%s", seed, v, without.bytes, strings.Join(observed, "\n"), with.bytes, strings.Join(lines, "\n"))
				return
			}
		}
	})
}

// A 403 tells that there is something to be had. Where only rules that hide
// refuse, nobody gets one.
func TestARequireThatHidesNeverAnswers403(t *testing.T) {
	hidden := 0
	eachCase(t, func(t *testing.T, w *workshop, d dice, seed uint64) {
		var lines []string
		for range 1 + d.IntN(4) {
			lines = append(lines, d.require("hide").String())
		}
		if d.oneIn(2) {
			lines = append(lines, d.pathRule("public"), d.pathRule("hide"))
		}
		g := w.gate(lines...)
		for range propertyVisits {
			v := d.visit(w)
			got := w.send(g, v)
			if got.status == 403 {
				t.Errorf("seed %d: %s\ngets %v with\n%s", seed, v, got.verdict, strings.Join(lines, "\n"))
				return
			}
			if got.code == string(codeHidden) {
				hidden++
			}
		}
	})
	if hidden < 50 {
		t.Errorf("%d visits met something hidden", hidden)
	}
}
