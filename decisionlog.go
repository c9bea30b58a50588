package gatehouse

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// outageInterval is the time in which an issuer's outage is told once.
	outageInterval = 10 * time.Second

	// Bounds of what clients choose, in characters.
	maxLoggedHost   = 253 // RFC 1035, section 2.3.4
	maxLoggedMethod = 32
	maxLoggedClaim  = 128

	// maxLoggedHave bounds how many roles or scopes of a visitor are listed.
	maxLoggedHave = 32
)

// record writes one line for each refusal, and keeps the same for the admin API
// whatever the log's level is. No token, cookie, signature, header or query value
// is in it.
func (t *teller) record(r *http.Request, no *refusal) {
	entry := t.log.Check(t.challenge.effect(no.code).level, "refused")
	now := t.now()
	unlogged := 0
	if entry != nil && no.code == codeKeysUnavailable {
		var due bool
		if unlogged, due = t.outages.tell(no.token.issuerName(), now); !due {
			entry = nil
		}
	}
	keep := t.recent.due(no, now)
	if entry == nil && !keep {
		return
	}
	fields := t.fields(r, no)
	if keep {
		t.recent.add(no, now, fields)
	}
	if unlogged > 0 {
		fields = append(fields, zap.Int("unlogged", unlogged))
	}
	entry.Write(fields...)
}

// recordPass tells of a request that passes, where anybody wants to know.
func (t *teller) recordPass(r *http.Request, let admission) {
	entry := t.log.Check(zapcore.DebugLevel, "allowed")
	if entry == nil {
		return
	}
	out := make(fieldList, 0, 8)
	t.addRequest(&out, r)
	out.identity(let.identity, t.privacy)
	entry.Write(append(out, zap.Bool("public", let.open))...)
}

// markAccessLog puts the reason into Caddy's own line about the request.
func (t *teller) markAccessLog(r *http.Request, no *refusal) {
	extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	if !ok {
		return
	}
	extra.Set(zap.String("gatehouse_code", string(no.code)))
	if rule := t.privacy.rule(no.rule); rule != "" {
		extra.Set(zap.String("gatehouse_rule", rule))
	}
}

// requestID is what page, body and logs call the request. Asking for Caddy's
// puts it into the access log, too.
func requestID(r *http.Request) string {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if id, _ := repl.GetString("http.gatehouse.request_id"); id != "" {
		return id
	}
	if id, _ := repl.GetString("http.request.uuid"); id != "" {
		return id
	}
	return uuid.NewString()
}

// fields tell the log of a refusal, or of what would have been one. What does
// not apply, or is private, is left out. What clients choose comes after code
// and address: tools that read lines can rely on how they begin.
func (t *teller) fields(r *http.Request, no *refusal) []zap.Field {
	p := t.privacy
	out := make(fieldList, 0, 20)
	out.text("code", string(no.code))
	out = append(out, zap.Int("status", t.challenge.effect(no.code).status))
	t.addRequest(&out, r)
	if p.mayTellCause(no) {
		out.text("cause", no.cause)
		if no.err != nil {
			out = append(out, zap.Error(no.err))
		}
	}
	out.text("rule", p.rule(no.rule))
	if !p.resources {
		out.text("source", no.rule.source)
		out.text("route", no.rule.routes.find(r))
		out.texts("need", no.need)
	}
	if !p.persons {
		out.texts("have", no.have())
	}
	out.identity(no.visitor, p)
	out.text("token_source", no.from)
	if no.token != nil {
		out.token(no.token, p, t.now())
	}
	return out
}

// addRequest adds who asks for what. The path is not in it: it names persons
// more often than not, and the route says which rule it was.
func (t *teller) addRequest(out *fieldList, r *http.Request) {
	if addr := clientAddress(r); addr.IsValid() {
		*out = append(*out, t.privacy.address(addr))
		out.text("client_ip_from", addressOrigin(r))
	}
	out.text("request_id", requestID(r))
	out.text("method", loggable(originalMethod(r), maxLoggedMethod))
	if !t.privacy.resources {
		out.text("host", loggable(r.Host, maxLoggedHost))
	}
}

// addressOrigin says who told Caddy the client's address.
func addressOrigin(r *http.Request) string {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	if trusted && clientAddress(r) != peerAddress(r) {
		return "trusted_proxy"
	}
	return "peer"
}

// fieldList gathers fields that have a value.
type fieldList []zap.Field

func (l *fieldList) text(name, value string) {
	if value != "" {
		*l = append(*l, zap.String(name, value))
	}
}

func (l *fieldList) texts(name string, values []string) {
	if len(values) > 0 {
		*l = append(*l, zap.Strings(name, values))
	}
}

// identity adds a recognised visitor.
func (l *fieldList) identity(id *identity, p privacy) {
	if id != nil {
		l.text("issuer", id.issuer)
		l.subject(id.issuer, id.id, p)
	}
}

func (l *fieldList) subject(issuer, subject string, p privacy) {
	switch {
	case subject == "":
	case p.persons:
		l.text("subject_pseudonym", p.names.of("subject", issuer, subject))
	default:
		l.text("subject", subject)
	}
}

// token adds what is known of a token that was refused. What only its sender
// says stands apart.
func (l *fieldList) token(f *tokenFacts, p privacy, now time.Time) {
	if f.expiry.IsZero() {
		var claimed fieldList
		if f.issuer != nil || !p.persons {
			claimed.text("issuer", f.claimed)
		}
		if p.persons {
			claimed.text("kid_pseudonym", p.names.of("kid", f.keyID))
		} else {
			claimed.text("kid", f.keyID)
		}
		if len(claimed) > 0 {
			*l = append(*l, zap.Dict("unverified", claimed...))
		}
	} else {
		l.text("issuer", f.claimed)
		l.subject(f.claimed, f.subject, p)
		if past := now.Sub(f.expiry); past > 0 {
			*l = append(*l, zap.Int64("expired_seconds", int64(past/time.Second)))
		}
	}
	if at := f.keysFetchedAt(); !at.IsZero() {
		*l = append(*l, zap.Int64("keys_age_seconds", int64(max(now.Sub(at), 0)/time.Second)))
	}
}

// have is what the visitor has of the kind that a rule asked for.
func (f *refusal) have() []string {
	if f.visitor == nil {
		return nil
	}
	var list []string
	switch f.code {
	case codeRoleMissing:
		list = f.visitor.roles
	case codeScopeMissing:
		list = f.visitor.scopes
	case codeStepUpRequired:
		if acr := f.visitor.acr(); acr != "" {
			list = []string{acr}
		}
	default:
		return nil
	}
	return boundedList(list)
}

func boundedList(list []string) []string {
	list = slices.Clone(list[:min(len(list), maxLoggedHave)])
	for i, v := range list {
		list[i] = loggable(v, maxLoggedClaim)
	}
	return list
}

// tokenFacts are what the log may say of a token that was refused. The token
// itself is not among them.
type tokenFacts struct {
	issuer  *trustedIssuer // nil: not one of ours
	claimed string         // iss
	keyID   string         // kid

	// Set where the signature held.
	subject string
	expiry  time.Time
}

func newTokenFacts(issuer *trustedIssuer, claimed, keyID string) *tokenFacts {
	if issuer == nil {
		claimed = loggable(claimed, maxLoggedClaim)
	}
	return &tokenFacts{issuer: issuer, claimed: claimed, keyID: loggable(keyID, maxLoggedClaim)}
}

func (f *tokenFacts) issuerName() string {
	if f == nil || f.issuer == nil {
		return ""
	}
	return f.issuer.name
}

// keysFetchedAt is zero for keys that are not fetched.
func (f *tokenFacts) keysFetchedAt() time.Time {
	if f.issuer == nil {
		return time.Time{}
	}
	if keys, ok := f.issuer.keys.(fetchedKeys); ok {
		return keys.FetchedAt()
	}
	return time.Time{}
}

// loggable cuts a text that a client chose, and takes out all but printable
// ASCII: the log may be shown on a terminal.
func loggable(s string, most int) string {
	s = s[:min(len(s), most)]
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
}

// outages keeps the outage of an issuer from filling the log. Issuers are few:
// those that are configured.
type outages struct {
	mu   sync.Mutex
	told map[string]*outage
}

type outage struct {
	at       time.Time
	unlogged int
}

// tell says whether a line is due, and how many were left out since the last.
func (o *outages) tell(issuer string, now time.Time) (unlogged int, due bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	last := o.told[issuer]
	if last == nil {
		if o.told == nil {
			o.told = make(map[string]*outage)
		}
		o.told[issuer] = &outage{at: now}
		return 0, true
	}
	if since := now.Sub(last.at); since >= 0 && since < outageInterval {
		last.unlogged++
		return 0, false
	}
	unlogged = last.unlogged
	*last = outage{at: now}
	return unlogged, true
}
