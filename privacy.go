package gatehouse

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-gatehouse/gatehouse/internal/page"
)

// How much logs and pages tell.
const (
	privacyNone  = "none"
	privacyGDPR  = "gdpr"
	privacyHIPAA = "hipaa"

	// accessDenied is the catalogue's code for all that `hipaa` says of a 403.
	accessDenied = "access_denied"
)

func (g *Gatehouse) checkPrivacy() error {
	if !slices.Contains([]string{"", privacyNone, privacyGDPR, privacyHIPAA}, g.Privacy) {
		return fmt.Errorf("privacy: found %q; expected none, gdpr or hipaa", g.Privacy)
	}
	return nil
}

// privacy says what must not be told. The zero value tells all.
type privacy struct {
	persons   bool        // gdpr: what points at a person
	resources bool        // hipaa: besides, what was asked for
	names     *pseudonyms // where persons is set
}

func (g *Gatehouse) compilePrivacy(app *App) privacy {
	p := privacy{persons: g.Privacy == privacyGDPR || g.Privacy == privacyHIPAA, resources: g.Privacy == privacyHIPAA}
	if p.persons {
		p.names = app.pseudonyms()
	}
	return p
}

// rule is how logs, placeholders and labels may call a rule; empty: not at all.
func (p privacy) rule(id ruleID) string {
	if p.resources {
		return ""
	}
	return id.name
}

// address is the client's address in logs. A network has a name of its own:
// what bans addresses must not take one for the other.
func (p privacy) address(addr netip.Addr) zap.Field {
	if !p.persons {
		return zap.String("client_ip", addr.String())
	}
	bits := 24
	if !addr.Is4() {
		bits = 48
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return zap.Skip()
	}
	return zap.String("client_network", network.String())
}

// mayTellCause keeps back what names the words of a rule, and what a matcher or
// a panic may say of the request.
func (p privacy) mayTellCause(no *refusal) bool {
	switch {
	case p.persons && no.code == codeInternalError:
		return false
	case p.resources && no.rule != (ruleID{}):
		return false
	}
	return true
}

// panicked is a panic's value, or its type: the value may hold anything.
func (p privacy) panicked(value any) zap.Field {
	if p.persons {
		return zap.String("panic", fmt.Sprintf("%T", value))
	}
	return zap.Any("panic", value)
}

// restrain takes out of a refusal what the visitor must not be told.
func (p privacy) restrain(told *page.Refusal) {
	if p.persons {
		told.Address = ""
		if told.Params["address"] != "" {
			told.Params = nil
		}
	}
	if !p.resources {
		return
	}
	told.Message, told.Params = "", nil
	if told.Status == http.StatusForbidden {
		told.Words = accessDenied
	}
	// The sign-in page, and its log, would read which page was asked for.
	if told.ReturnTo != "" && told.Status == http.StatusUnauthorized {
		told.ReturnTo = "/"
	} else {
		told.ReturnTo = ""
	}
}
