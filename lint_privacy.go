package gatehouse

import (
	"fmt"
	"strings"
)

// logFilter says where to find what Caddy's access log needs.
const logFilter = "if this site is logged, put the filter of docs/logs.md (examples/private-logs.caddyfile) into its `log`"

// lintAccessLog finds what Caddy's access log would keep. Its copy of the
// request is made before any handler runs, so nothing can be taken out here.
func (g *Gatehouse) lintAccessLog() []finding {
	var found []finding
	for _, s := range g.Tokens {
		if where := s.loggedAs(); where != "" {
			found = append(found, finding{"", fmt.Sprintf("token %s: Caddy's access log keeps such tokens, in %s; %s",
				strings.TrimSpace(s.From+" "+s.Name), where, logFilter)})
		}
	}
	if g.Privacy == privacyGDPR || g.Privacy == privacyHIPAA {
		found = append(found, finding{"", fmt.Sprintf("privacy %s: holds for the gate's own records and pages; Caddy's access log keeps the visitor's address, URL and user_id; %s",
			g.Privacy, logFilter)})
	}
	return found
}

// loggedAs is the field of the access log that holds the token; empty for what
// Caddy leaves out by itself.
func (s *TokenSource) loggedAs() string {
	switch s.From {
	case fromQuery:
		return "request>uri"
	case fromWebSocket:
		return "request>headers>" + protocolHeader
	case fromHeader:
		if !strings.EqualFold(s.Name, "Authorization") && !strings.EqualFold(s.Name, "Proxy-Authorization") {
			return "request>headers>" + newTokenSources([]*TokenSource{s})[0].Name
		}
	}
	return ""
}

// lintPrivacy finds words that nobody will read.
func (g *Gatehouse) lintPrivacy() []finding {
	if g.Privacy != privacyHIPAA {
		return nil
	}
	var found []finding
	for _, q := range g.Require {
		if q.Message != "" {
			found = append(found, finding{q.Source, "require: message is told to nobody, since privacy hipaa says Access denied; remove one of them"})
		}
	}
	if g.Pages != nil && g.Pages.Detail != "" && g.Pages.Detail != detailQuiet {
		found = append(found, finding{g.Pages.Source, fmt.Sprintf("pages: detail %s has no effect beside privacy hipaa; remove one of them", g.Pages.Detail)})
	}
	if g.Challenge != nil && g.Challenge.Forbidden == forbiddenScope {
		found = append(found, finding{g.place, "challenge: forbidden scope names no scopes beside privacy hipaa; remove one of them"})
	}
	return found
}
