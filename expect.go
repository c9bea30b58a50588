package gatehouse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// expectedHost is the site that expectations ask for.
const expectedHost = "example.com"

// Expectation is one request of an imagined visitor, and what it must be
// answered. It is asked of this gate alone, as if nothing had rewritten it, over
// plain HTTP from the host `example.com`.
type Expectation struct {
	// Where this expectation was configured, as file:line. Set by the Caddyfile.
	Source string `json:"source,omitempty"`

	// The status of the answer. 200 means that the request reaches the next
	// handler. Either this or `code`.
	Status int `json:"status,omitempty"`

	// The code of the refusal, such as `role_missing`.
	Code string `json:"code,omitempty"`

	// The method of the request, in capitals.
	Method string `json:"method"`

	// The path of the request, with its query if it has one.
	Path string `json:"path"`

	AssumedVisitor
}

// expectedCodes are the codes that an imagined visitor can meet: their tokens
// are always good.
func expectedCodes() []code {
	return []code{
		codeCredentialsMissing, codeStepUpRequired, codeScopeMissing, codeRoleMissing, codeClaimMissing, codeAddressDenied,
		codePathDenied, codeRequestAmbiguous, codeHidden,
	}
}

func (g *Gatehouse) checkExpectations() error {
	for _, e := range g.Expectations {
		if e == nil {
			return errors.New("expectations: found null")
		}
		if err := at(e.Source, e.check()); err != nil {
			return err
		}
	}
	return nil
}

func (e *Expectation) check() error {
	if err := e.checkWanted(); err != nil {
		return fmt.Errorf("expect: %w", err)
	}
	if !isMethod(e.Method) {
		return fmt.Errorf("expect: found method %q; expected one in capitals, such as GET", e.Method)
	}
	if _, err := e.target(); err != nil {
		return err
	}
	if err := e.AssumedVisitor.check(); err != nil {
		return fmt.Errorf("expect: %w", err)
	}
	return nil
}

func (e *Expectation) checkWanted() error {
	codes := expectedCodes()
	if (e.Status != 0) == (e.Code != "") {
		return errors.New("found not exactly one of a status and a code; expected one of them")
	}
	if e.Code != "" {
		if !slices.Contains(codes, code(e.Code)) {
			return fmt.Errorf("found code %q; expected one that an imagined visitor can meet: %s", e.Code, joinCodes(codes))
		}
		return nil
	}
	known := []int{http.StatusOK}
	for _, c := range codes {
		known = append(known, c.effect().status)
	}
	slices.Sort(known)
	if !slices.Contains(known, e.Status) {
		return fmt.Errorf("found status %d; expected one that a gate gives, %s, where 200 means that the request reaches the next handler",
			e.Status, strings.Trim(fmt.Sprint(slices.Compact(known)), "[]"))
	}
	return nil
}

func joinCodes(codes []code) string {
	names := make([]string, 0, len(codes))
	for _, c := range codes {
		names = append(names, string(c))
	}
	return strings.Join(names, ", ")
}

func (e *Expectation) target() (*url.URL, error) {
	u, err := url.ParseRequestURI(e.Path)
	if err != nil || !strings.HasPrefix(e.Path, "/") || strings.ContainsAny(e.Path, "{}# ") {
		return nil, fmt.Errorf("expect: found path %q; expected a path as clients send it, such as /admin/users?page=2", e.Path)
	}
	return u, nil
}

// request is what the imagined visitor sends, but for the token.
func (e *Expectation) request() (*http.Request, error) {
	u, err := e.target()
	if err != nil {
		return nil, err
	}
	from, err := e.address()
	if err != nil {
		return nil, err
	}
	r := &http.Request{
		Method: e.Method, URL: u, RequestURI: e.Path, Host: expectedHost, Header: make(http.Header), Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: net.JoinHostPort(from.String(), "1024"),
	}
	return r.WithContext(context.Background()), nil
}

// neverServes reports a command that only looks at a configuration. Caddy
// provisions it as for serving, and tells modules no difference; so the command
// line of this process must.
func neverServes(args []string) bool {
	for _, arg := range args[min(1, len(args)):] {
		if !strings.HasPrefix(arg, "-") {
			return arg == "validate" || arg == "adapt"
		}
	}
	return false
}

// meetExpectations tries all of them. One that rests on what somebody else may
// change is no reason to keep a server, with all its other sites, from
// starting: it is an error only where strict.
func (g *Gatehouse) meetExpectations(strict bool) error {
	var first error
	broken := 0
	for _, e := range g.Expectations {
		met, err := e.meet(g)
		switch {
		case err == nil:
			continue
		case !strict && len(met.outside) > 0:
			g.gate.log.Warn("an expectation is not met; it rests on what can change without this configuration, so the server starts",
				zap.String("source", e.Source), zap.Error(err))
			continue
		}
		broken++
		if first == nil {
			first = at(e.Source, err)
		}
	}
	if broken > 1 {
		return fmt.Errorf("%w (and %d more expectations are not met)", first, broken-1)
	}
	return first
}

// meet tries the expectation on a gate. The error tells why it is not met.
func (e *Expectation) meet(g *Gatehouse) (tried, error) {
	who, err := e.resolved()
	if err != nil {
		return tried{}, fmt.Errorf("expect: %w", err)
	}
	r, err := e.request()
	if err != nil {
		return tried{}, err
	}
	got, err := g.try(r, &who)
	switch {
	case err != nil:
		return got, fmt.Errorf("%s: %w", e, err)
	case e.Code != "" && got.no != nil && got.no.code == code(e.Code), e.Code == "" && got.status == e.Status:
		return got, nil
	}
	return got, fmt.Errorf("%s: the answer is %s; %s", e, got.told(), got.reasons())
}

// reasons tells on one line which rules speak of the request, and what they
// want.
func (e *explanation) reasons() string {
	var parts []string
	for i := range e.rules {
		rule := &e.rules[i]
		if !rule.speaks() || slices.Contains(rule.notes, "observe") {
			continue
		}
		part := strings.TrimSpace(rule.label() + ": " + rule.option + " " + rule.selects)
		for _, c := range rule.unmet() {
			part += ", needs " + c.text()
		}
		parts = append(parts, part)
	}
	text := "no rule speaks of it"
	if len(parts) > 0 {
		text = "the rules that speak of it are " + strings.Join(parts, "; ")
	}
	if len(e.ignored) > 0 {
		text += "; the issuer may not grant " + strings.Join(e.ignored, ", ")
	}
	if len(e.outside) > 0 {
		text += "; it rests on " + strings.Join(e.outside, ", ")
	}
	return text
}

func (c *conditionReport) text() string {
	if len(c.any) == 0 {
		return c.need + " (" + c.has() + ")"
	}
	lines := make([]string, 0, len(c.any))
	for i := range c.any {
		lines = append(lines, c.any[i].text())
	}
	return "any of (" + strings.Join(lines, ", or ") + ")"
}

// String is the expectation's line in the Caddyfile.
func (e *Expectation) String() string {
	wanted := e.Code
	if e.Status != 0 {
		wanted = strconv.Itoa(e.Status)
	}
	return strings.TrimRight(strings.Join([]string{"expect", wanted, e.Method, e.Path, e.AssumedVisitor.String()}, " "), " ")
}

// String words the visitor as in the Caddyfile.
func (a *AssumedVisitor) String() string {
	var out []string
	add := func(key, value string) {
		if value != "" {
			out = append(out, key+"="+value)
		}
	}
	add("role", strings.Join(a.Role, ","))
	add("scope", strings.Join(a.Scope, ","))
	add("user", a.User)
	add("issuer", a.Issuer)
	for _, name := range sortedKeys(a.Claim) {
		add("claim", name+"="+a.Claim[name])
	}
	add("acr", a.ACR)
	if a.SignedIn != nil {
		add("signed_in", shortDuration(time.Duration(*a.SignedIn)))
	}
	add("ip", a.IP)
	return strings.Join(out, " ")
}
