package gatehouse

import "testing"

// A scanner that asks often must not see the answer for something hidden vary:
// what is missing is answered the same each time, also where a rule hides much of
// what could be made up.
func TestHiddenIsAnsweredTheSameEachTime(t *testing.T) {
	s := newSite(t, "hide /internal/d* /internal/7* /internal/q* *b* *.key\nrequire /internal/* role admin")
	viewer := s.token(t, nil)
	for range 300 {
		s.expect(refusedWith(403, codeRoleMissing), ask{target: "/internal/zone", token: viewer})
		s.expect(refusedWith(403, codeRoleMissing), ask{target: "/internal/db", token: viewer})
		s.expect(refusedWith(403, codeRoleMissing), ask{target: "/internal/x.key", token: viewer})
	}
}
