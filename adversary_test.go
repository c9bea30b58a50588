package gatehouse

import (
	"net/http"
	"testing"
)

// A scanner writes a path so that an upstream would read it in another way, and
// compares: what is hidden must answer as what is missing does, whichever reading
// a rule holds.
func TestHiddenLooksUnlistedInEveryReading(t *testing.T) {
	s := newSite(t, `
		hide /vault/plans.txt
		require /vault/* role admin
		public /open/* /x;y/open/*
		hide /open/plans.txt
		deny /denied/*
		hide /denied/plans.txt`)
	visitor := s.token(t, nil)
	for _, folder := range []string{"/vault;x/", "//elsewhere/vault/", "/vault/;x/", "/open;x/", "//elsewhere/open/", "/denied;x/"} {
		for who, token := range map[string]string{"anonymous": "", "recognised": visitor} {
			hidden := s.do(ask{target: folder + "plans.txt", token: token})
			missing := s.do(ask{target: folder + "absent.txt", token: token})
			if missing.Header().Get(reachedHeader) != "" && hidden.Code == http.StatusNotFound {
				continue // the site's own answer, which the test site has for every path
			}
			if hidden.Code != missing.Code {
				t.Errorf("%s, %s: hidden is %d, missing is %d", folder, who, hidden.Code, missing.Code)
			}
		}
	}
}

