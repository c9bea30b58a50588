package gatehouse

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	g := new(Gatehouse)
	if err := g.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	if err := g.FinalizeUnmarshalCaddyfile(h); err != nil {
		return nil, err
	}
	return g, nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	gatehouse [<matcher>] {
//		issuer <iss> | internal {
//			keys       <url|file>...
//			secret     <value> [utf8|base64|hex] | file <path>
//			audience   <aud>... | any
//			algorithms <alg>...
//			types      <typ>...
//			subject    <claim>
//			roles      <claim>...
//			scopes     <claim>...
//			grants     <role>... | any
//			leeway     <duration>
//			max_age    <duration>
//			max_stale  <duration>
//		}
//		token header <name> [<scheme>]
//		token cookie <name>
//		token query  <name>
//		token websocket
//		token_limit <bytes>
//		cache <entries> | off
//
//		lockout {
//			failures <n>
//			window   <duration>
//			ban      <duration>
//		}
//		throttle <n> <duration> [by user|address]
//		role_order <role> > <role> > ...
//		deny   [<METHOD>...] <path|@matcher>... | sensitive_files | ip <cidr|address|file|private_ranges>...
//		hide   [<METHOD>...] <path|@matcher>... | sensitive_files | ip <cidr|address|file|private_ranges>...
//		public [<METHOD>...] <path|@matcher>...
//		require [<METHOD>...] [<path|@matcher>...] <kind> <value>...
//		require [<METHOD>...] [<path|@matcher>...] {
//			match   { <matchers> }
//			when    <kind> <value>...
//			role    <role>...
//			scope   <scope>...
//			user    <subject>...
//			claim   <claim> <value>...
//			issuer  <iss>...
//			ip      <cidr|address|file|private_ranges>...
//			fresh   <duration>
//			acr     <value>...
//			any     { <kind lines> }
//			throttle <n> <duration> [by user|address]
//			name    <id>
//			message <text>
//			hide
//			observe
//		}
//		ambiguous_paths allow [<path>...]
//
//		expect <status|code> <METHOD> <path> [role=<role>,...] [scope=<scope>,...] [user=<subject>] [issuer=<iss>]
//			[claim=<claim>=<value>]... [acr=<value>] [signed_in=<duration>] [ip=<address>]
//
//		brand [<host>...] {
//			name           <text>
//			logo           <file>
//			color          <rrggbb>
//			login          <url>
//			logout         <url>
//			home           <url>
//			support        <url|mailto:>
//			request_access <url|mailto:>
//			link           <label> <url>
//		}
//		pages {
//			templates       <dir>
//			locales         <dir>
//			language        <tag>
//			format          [<path|@matcher>...] auto|html|problem|json|text
//			detail          quiet|role|full
//			problem_base    <url>
//			frame_ancestors <source>...
//		}
//		observe
//		on_refusal respond|redirect|error
//		challenge {
//			realm             <text>
//			forbidden         off|scope
//			resource_metadata <url>
//		}
//		profile default|rfc
//		cors {
//			origins <origin>...
//			methods <METHOD>...
//			headers <name>...
//			credentials
//			max_age <duration>
//		}
//		identity_headers {
//			<name> id|roles|scopes|issuer
//			<name> claim <claim>
//		}
//		strip_token
//		privacy none|gdpr|hipaa
//		streams close_at_expiry
//	}
//
// Only issuer, token, role_order, deny, hide, public, require, expect, brand, link,
// format and, within require, when, any and the kinds can be repeated. Named matchers are resolved by
// FinalizeUnmarshalCaddyfile, which must be called after this.
func (g *Gatehouse) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Errf("gatehouse: found %q after the matcher; expected a block", d.Val())
	}
	g.place = source(d)
	err := block(d, "gatehouse", words{
		"issuer":           {g.parseIssuer, many},
		"token":            {g.parseToken, many},
		"token_limit":      {g.parseTokenLimit, once},
		"cache":            {g.parseCache, once},
		"deny":             {pathRuleParser(g, &g.Deny), many},
		"hide":             {pathRuleParser(g, &g.Hide), many},
		"public":           {pathRuleParser(g, &g.Public), many},
		"require":          {g.parseRequire, many},
		"lockout":          {g.parseLockout, once},
		"throttle":         {throttleParser(&g.Throttle), once},
		"role_order":       {g.parseRoleOrder, many},
		"expect":           {g.parseExpect, many},
		"ambiguous_paths":  {g.parseAmbiguousPaths, once},
		"brand":            {g.parseBrand, many},
		"pages":            {g.parsePages, once},
		"challenge":        {g.parseChallenge, once},
		"observe":          {given(&g.Observe), once},
		"on_refusal":       {checked(text(&g.OnRefusal, "respond|redirect|error"), g.checkOnRefusal), once},
		"streams":          {checked(text(&g.Streams, streamsCloseAtExpiry), g.checkStreams), once},
		"profile":          {checked(text(&g.Profile, "default|rfc"), g.checkProfile), once},
		"cors":             {g.parseCORS, once},
		"identity_headers": {g.parseIdentityHeaders, once},
		"strip_token":      {given(&g.StripToken), once},
		"privacy":          {checked(text(&g.Privacy, "none|gdpr|hipaa"), g.checkPrivacy), once},
	})
	if err == nil && len(g.Issuers) == 0 && len(g.Public) == 0 {
		err = at(g.place, errNobody)
	}
	return err
}

// pendingMatcher is a rule's reference to a named matcher.
type pendingMatcher struct {
	token caddyfile.Token
	rule  *Selector
}

// FinalizeUnmarshalCaddyfile resolves the named matchers that rules refer to,
// for which it needs the helper, and checks the whole.
func (g *Gatehouse) FinalizeUnmarshalCaddyfile(h httpcaddyfile.Helper) error {
	for _, p := range g.pending {
		d := caddyfile.NewDispenser([]caddyfile.Token{p.token})
		set, found, err := h.WithDispenser(d).MatcherToken()
		d.Reset()
		d.Next()
		if err != nil || !found {
			return d.Errf("found matcher %s; expected one that is defined in this site, as `%s ...`", p.token.Text, p.token.Text)
		}
		if len(set) == 0 {
			return d.Errf("matcher %s has nothing in it, and would match every request", p.token.Text)
		}
		p.rule.MatchersRaw = append(p.rule.MatchersRaw, set)
	}
	g.pending = nil
	return g.check()
}

// words are the options that a block knows.
type words map[string]word

type word struct {
	parse func(*caddyfile.Dispenser) error
	many  bool
}

const (
	once = false
	many = true
)

// block parses a block of options. It must be there and hold something.
func block(d *caddyfile.Dispenser, what string, known words) error {
	found, err := options(d, what, known)
	if err == nil && found == 0 {
		err = d.Errf("%s: found no option; expected a block with some of %s", what, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	return err
}

// optionalBlock parses a block that may be missing, but not empty.
func optionalBlock(d *caddyfile.Dispenser, what string, known words) error {
	found, err := options(d, what, known)
	if err == nil && found == 0 && d.Val() == "}" {
		err = d.Errf("%s: found an empty block; expected some of %s, or no block", what, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	return err
}

// options parses what is in a block, and counts it.
func options(d *caddyfile.Dispenser, what string, known words) (found int, err error) {
	seen := make(map[string]int)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		w, ok := known[name]
		if !ok {
			return 0, d.Errf("%s: found %q; expected one of %s", what, name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if line, twice := seen[name]; twice && !w.many {
			return 0, d.Errf("%s: %s is there already, on line %d; expected it once", what, name, line)
		}
		seen[name] = d.Line()
		if err := w.parse(d); err != nil {
			return 0, err
		}
	}
	return len(seen), nil
}

// values returns what follows an option on its line. usage is shown when there
// are too few or too many; most < 0 means any number.
func values(d *caddyfile.Dispenser, least, most int, usage string) ([]string, error) {
	option := d.Val()
	found := d.RemainingArgs()
	if len(found) < least || most >= 0 && len(found) > most {
		return nil, d.Errf("%s: found %s; expected `%s`", option, count(found), strings.TrimSpace(option+" "+usage))
	}
	return found, noBlock(d, option)
}

func count(values []string) string {
	if len(values) == 1 {
		return "1 value"
	}
	return fmt.Sprintf("%d values", len(values))
}

func noBlock(d *caddyfile.Dispenser, option string) error {
	if d.NextBlock(d.Nesting()) || d.Val() == "}" {
		return d.Errf("%s: found a block; expected none", option)
	}
	return nil
}

func text(into *string, usage string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		found, err := values(d, 1, 1, usage)
		if err != nil {
			return err
		}
		if found[0] == "" {
			return d.Errf("%s: found an empty value; expected `%s %s`", option, option, usage)
		}
		*into = found[0]
		return nil
	}
}

// checked runs a check after a line, so that its error names the line.
func checked(parse func(*caddyfile.Dispenser) error, check func() error) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		if err := parse(d); err != nil {
			return err
		}
		return wrap(d, check())
	}
}

func texts(into *[]string, usage string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		found, err := values(d, 1, -1, usage)
		*into = append(*into, found...)
		return err
	}
}

func given(into *bool) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		_, err := values(d, 0, 0, "")
		*into = true
		return err
	}
}

// textsOrAny parses a list for which `any` alone stands for everything.
func textsOrAny(into *[]string, anyOf *bool, usage string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		found, err := values(d, 1, -1, usage)
		switch {
		case err != nil:
			return err
		case len(found) == 1 && found[0] == "any":
			*anyOf = true
		case slices.Contains(found, "any"):
			return d.Errf("%s: found any beside other values; expected `%s %s`", option, option, usage)
		default:
			*into = found
		}
		return nil
	}
}

func duration(into func(caddy.Duration)) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		option := d.Val()
		found, err := values(d, 1, 1, "<duration>")
		if err != nil {
			return err
		}
		value, err := caddy.ParseDuration(found[0])
		if err != nil {
			return d.Errf("%s: found %q; expected a duration such as 30s", option, found[0])
		}
		into(caddy.Duration(value))
		return nil
	}
}

// wrap adds the current line to an error, if there is one.
func wrap(d *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return d.WrapErr(err)
}

// source names the current line as logs will.
func source(d *caddyfile.Dispenser) string {
	return fmt.Sprintf("%s:%d", filepath.Base(d.File()), d.Line())
}

func (g *Gatehouse) parseTokenLimit(d *caddyfile.Dispenser) error {
	found, err := values(d, 1, 1, "<bytes>")
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(found[0])
	if err != nil || limit < 1 || limit > maxTokenLimit {
		return d.Errf("token_limit: found %q; expected a number of bytes up to %d, such as %d", found[0], maxTokenLimit, defaultTokenLimit)
	}
	g.TokenLimit = limit
	return nil
}

func (g *Gatehouse) parseCache(d *caddyfile.Dispenser) error {
	found, err := values(d, 1, 1, "<entries> | off")
	if err != nil {
		return err
	}
	entries := 0
	if found[0] != "off" {
		if entries, err = strconv.Atoi(found[0]); err != nil || entries < 1 || entries > maxRemembered {
			return d.Errf("cache: found %q; expected a number of tokens up to %d, or off", found[0], maxRemembered)
		}
	}
	g.Cache = &entries
	return nil
}

func (g *Gatehouse) parseAmbiguousPaths(d *caddyfile.Dispenser) error {
	found, err := values(d, 1, -1, "allow [<path>...]")
	if err != nil {
		return err
	}
	if found[0] != "allow" {
		return d.Errf("ambiguous_paths: found %q; expected `ambiguous_paths allow [<path>...]`", found[0])
	}
	g.AmbiguousPaths = &AmbiguousPaths{Allow: found[1:]}
	if len(found) == 1 {
		g.AmbiguousPaths.Allow = []string{"*"}
	}
	return wrap(d, g.AmbiguousPaths.check())
}

func (g *Gatehouse) parseIdentityHeaders(d *caddyfile.Dispenser) error {
	const usage = "id|roles|scopes|issuer | claim <claim>"
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		h := &IdentityHeader{Name: d.Val()}
		found, err := values(d, 1, 2, usage)
		if err != nil {
			return err
		}
		h.Value = found[0]
		if len(found) == 2 {
			h.Claim = found[1]
		}
		g.IdentityHeaders = append(g.IdentityHeaders, h)
		if err := wrap(d, g.checkIdentityHeaders()); err != nil {
			return err
		}
	}
	if len(g.IdentityHeaders) == 0 {
		return d.Errf("identity_headers: found no header; expected lines of `<name> %s`", usage)
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Gatehouse)(nil)
