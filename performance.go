package gatehouse

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// columns is how wide the account of the rules may be. The answer below it is
// what it is.
const columns = 100

// print writes what happened: each gate's rules, then the answer.
func (p *performance) print(out io.Writer, bodies bool) error {
	var b bytes.Buffer
	line(&b, 0, p.method+" "+p.url)
	for i := range p.gates {
		e := &p.gates[i]
		if len(p.gates) > 1 {
			if i == 0 {
				b.WriteByte('\n')
			}
			line(&b, 0, fmt.Sprintf("gate %d of %d", i+1, len(p.gates)))
		}
		e.print(&b)
	}
	if len(p.skipped) > 0 {
		line(&b, 0, "not run, and taken to let the request pass: "+strings.Join(p.skipped, ", "))
	}
	switch {
	case p.passed() && p.end == "" && p.gates[len(p.gates)-1].preflight:
		line(&b, 0, "passes: the gate answers the preflight")
		p.printAnswer(&b, bodies)
	case p.passed():
		line(&b, 0, "passes: "+p.ending())
	default:
		p.printAnswer(&b, bodies)
	}
	_, err := out.Write(b.Bytes())
	return err
}

// ending says where the request went in place of a gate's answer.
func (p *performance) ending() string {
	switch {
	case p.end != "":
		return "it goes on to " + p.end + ", which check does not run"
	case p.answer.status != http.StatusOK:
		return fmt.Sprintf("it ends in an error of status %d", p.answer.status)
	}
	return "it reaches the end of the routes"
}

func (e *explanation) print(b *bytes.Buffer) {
	line(b, 0, "visitor: "+e.visitor())
	if len(e.ignored) > 0 {
		line(b, 0, "ignored, as the issuer may not grant it: role "+strings.Join(e.ignored, " "))
	}
	if e.served != e.asked {
		line(b, 0, "served as "+e.served)
	}
	b.WriteByte('\n')
	width := 0
	for i := range e.rules {
		width = max(width, utf8.RuneCountInString(e.rules[i].label()))
	}
	for i := range e.rules {
		e.rules[i].print(b, width)
	}
	if len(e.rules) > 0 {
		b.WriteByte('\n')
	}
	switch {
	case e.halfOpen():
		line(b, 0, "not public: some reading of the request is not")
	case e.let && !e.opens:
		line(b, 0, "a CORS preflight, which needs no visitor")
	}
	if e.no != nil {
		text := "refused: " + e.verdict()
		if e.no.rule.source == "" && e.no.cause != "" {
			text += ": " + e.no.cause
		}
		line(b, 0, text)
	}
}

// halfOpen reports a public rule that is hit and opens nothing.
func (e *explanation) halfOpen() bool {
	return !e.opens && slices.ContainsFunc(e.rules, func(r ruleReport) bool { return r.option == "public" && r.hit })
}

// visitor words who asks.
func (e *explanation) visitor() string {
	id := e.who.identity
	if id == nil {
		return "nobody recognised, from " + addressText(e.who)
	}
	text := id.id + " of " + id.issuer + ", from " + addressText(e.who)
	if len(id.roles) > 0 {
		text += ", role " + strings.Join(id.roles, " ")
	}
	if len(id.scopes) > 0 {
		text += ", scope " + strings.Join(id.scopes, " ")
	}
	return text
}

// print tells a rule that is hit condition by condition, and one that is not on
// one line.
func (r *ruleReport) print(b *bytes.Buffer, width int) {
	word := "miss"
	switch {
	case r.failed != nil:
		word = "fail"
	case r.hit:
		word = "hit"
	}
	text := strings.TrimRight(fmt.Sprintf("%-4s  %-*s  %s %s", word, width, r.label(), r.option, r.selects), " ")
	for _, note := range r.notes {
		text += ", " + note
	}
	if !r.hit {
		for i := range r.when {
			text += ", when " + r.when[i].needs()
		}
		for i := range r.conditions {
			text += ", " + r.conditions[i].needs()
		}
		line(b, 0, text)
		return
	}
	line(b, 0, text)
	for i := range r.when {
		r.when[i].print(b, 6, "when ", false)
	}
	if !r.speaks() {
		line(b, 6, "not for this visitor")
		return
	}
	for i := range r.conditions {
		r.conditions[i].print(b, 6, "", r.lifted && !r.conditions[i].first)
	}
}

// needs is the condition on one line.
func (c *conditionReport) needs() string {
	if len(c.any) == 0 {
		return c.need
	}
	lines := make([]string, 0, len(c.any))
	for i := range c.any {
		lines = append(lines, c.any[i].need)
	}
	return c.need + " (" + strings.Join(lines, ", ") + ")"
}

// print tells a condition. One that is lifted is not asked: the request is public.
func (c *conditionReport) print(b *bytes.Buffer, indent int, before string, lifted bool) {
	word := "unmet"
	switch {
	case lifted:
		word = "lifted"
	case c.met:
		word = "met"
	}
	need := fmt.Sprintf("%-6s  %s%s", word, before, c.need)
	switch has := c.has(); {
	case len(c.any) > 0:
		line(b, indent, need)
	case indent+utf8.RuneCountInString(need+"; "+has) <= columns:
		line(b, indent, need+"; "+has)
	default:
		line(b, indent, need)
		line(b, indent+8, has)
	}
	for i := range c.any {
		c.any[i].print(b, indent+8, "", lifted)
	}
}

// line writes one that fits the terminal, and nothing that would steer it.
func line(b *bytes.Buffer, indent int, text string) {
	text = printable(text)
	if room := columns - indent; utf8.RuneCountInString(text) > room {
		text = string([]rune(text)[:room-1]) + "…"
	}
	b.WriteString(strings.Repeat(" ", indent) + text + "\n")
}

// printable replaces control characters, which a token or a URL may hold.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == utf8.RuneError || c >= 0x2028 && c <= 0x202e || c >= 0x2066 && c <= 0x2069 {
			return '?'
		}
		return c
	}, text)
}

func (p *performance) printAnswer(b *bytes.Buffer, bodies bool) {
	if p.end != "" {
		line(b, 0, "the site's error routes answer: "+p.ending())
	}
	fmt.Fprintf(b, "\nHTTP/1.1 %d %s\n", p.answer.status, http.StatusText(p.answer.status))
	for _, name := range sortedKeys(p.answer.sent) {
		for _, value := range p.answer.sent[name] {
			b.WriteString(printable(name+": "+value) + "\n")
		}
	}
	body := p.answer.body.Bytes()
	if len(body) == 0 {
		return
	}
	b.WriteByte('\n')
	if strings.HasPrefix(p.answer.sent.Get("Content-Type"), "text/html") && !bodies {
		line(b, 0, fmt.Sprintf("(a page of %d bytes for people; --body prints it)", len(body)))
		return
	}
	b.Write(body)
	if body[len(body)-1] != '\n' {
		b.WriteByte('\n')
	}
}
