package gatehouse

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
)

// PathRule is a `deny`, a `hide` or a `public`.
//
// `deny` and `hide` apply where the path that will be served matches, or the
// one that the client asked for, or one that an upstream may make of either;
// `public` only where all of them do.
type PathRule struct {
	// Where this rule was configured, as file:line. Set by the Caddyfile; logs
	// and the placeholder `{http.gatehouse.rule}` name the rule by it.
	Source string `json:"source,omitempty"`

	Selector

	// Files that never belong on the web, for `deny` and `hide` alone, and in
	// place of a selector: version control, environment and configuration files
	// with their backups, database dumps, private keys, editors' leftovers. In
	// any folder, whatever the case of letters; never below `/.well-known/`.
	SensitiveFiles bool `json:"sensitive_files,omitempty"`

	// Client addresses, for `deny` and `hide` alone, and in place of a
	// selector: addresses, prefixes, `private_ranges`, or files of them.
	IP []string `json:"ip,omitempty"`
}

// pathRule is a compiled PathRule.
type pathRule struct {
	ruleID
	selector
	sensitive bool
	addresses *addressTable // nil: the selector decides
}

func (p *PathRule) check(option string) error {
	return at(p.Source, p.checkParts(option, option == "public"))
}

func (p *PathRule) checkParts(option string, public bool) error {
	if err := p.Selector.check(option, public); err != nil {
		return err
	}
	selects := !p.empty() || len(p.Methods) > 0
	switch {
	case p.IP != nil && public:
		return fmt.Errorf("%s: takes no ip; an address alone never lets anybody in (see `require ... ip`)", option)
	case p.SensitiveFiles && public:
		return fmt.Errorf("%s: takes no sensitive_files; expected a path or a matcher", option)
	case p.IP != nil && (selects || p.SensitiveFiles):
		return fmt.Errorf("%s: ip stands alone; for an address rule on a path use `require <path> ip <cidr>...`", option)
	case p.IP != nil && len(p.IP) == 0:
		return fmt.Errorf("%s: ip: found no value; expected `%s ip <cidr|address|file|private_ranges>...`", option, option)
	case p.SensitiveFiles && selects:
		return fmt.Errorf("%s: sensitive_files stands alone; expected paths on a line of their own", option)
	case p.IP == nil && !p.SensitiveFiles && p.empty():
		return fmt.Errorf("%s: found no path; expected `%s [<METHOD>...] <path|@matcher>...`", option, option)
	}
	return nil
}

func (p *PathRule) compile(ctx caddy.Context, files addressFiles) (*pathRule, error) {
	out := &pathRule{ruleID: newRuleID("", p.Source, newRoutes(&p.Selector)), sensitive: p.SensitiveFiles}
	var err error
	switch {
	case p.IP != nil:
		out.addresses, err = newAddressTable(p.IP, files)
	case !p.SensitiveFiles:
		out.selector, err = p.Selector.compile(ctx)
	}
	return out, at(p.Source, err)
}

// matches judges one view of the request. A rule of addresses matches none.
func (p *pathRule) matches(r *http.Request) (bool, error) {
	switch {
	case p.sensitive:
		return isSensitiveFile(r.URL.Path), nil
	case p.addresses != nil:
		return false, nil
	}
	return p.selector.matches(r)
}
