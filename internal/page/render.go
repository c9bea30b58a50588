package page

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// Render appends the body of a refusal to dst. Host only finds the brand. For
// HTML it also returns the Content-Security-Policy that allows exactly the
// page's own style. A template that fails at run time is no error: the visitor
// gets a plain page with the same words.
func (p *Pages) Render(dst []byte, b Body, lang, host string, r Refusal) (out []byte, csp string, err error) {
	if r.Status < 400 || r.Status > 599 {
		r.Status = 500
	}
	r.RequestID = clean(r.RequestID)
	l := p.locale(lang)
	switch b {
	case HTML:
		out, csp = p.html(dst, p.brands.find(host), l, &r)
		return out, csp, nil
	case Text:
		return p.text(dst, l, &r), "", nil
	case Upgrade:
		return p.line(dst, l, &r), "", nil
	case Empty, GRPC:
		return dst, "", nil
	default:
		return p.json(dst, p.brands.find(host), l, &r), "", nil
	}
}

// json writes the members in the order of RFC 9457's examples, then our own.
// What has no value is left out.
func (p *Pages) json(dst []byte, b *brand, l *locale, r *Refusal) []byte {
	s := l.say(r)
	v := actual{r, l}
	dst = append(dst, `{"type":`...)
	if p.problemBase == "" || r.Code == "" {
		dst = append(dst, `"about:blank"`...)
	} else {
		dst = appendJSON(dst, p.problemBase+r.Code)
	}
	dst = appendMember(dst, "title", s.title)
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = appendMember(dst, "detail", s.detail)
	if r.RequestID != "" {
		dst = append(dst, `,"instance":"urn:uuid:`...)
		dst = append(appendJSONText(dst, r.RequestID), '"')
	}
	dst = appendMember(dst, "code", r.Code)
	dst = appendMember(dst, "error", r.Error)
	dst = appendMember(dst, "error_description", r.ErrorDescription)
	dst = appendMember(dst, "request_id", r.RequestID)
	if !r.Time.IsZero() {
		dst = append(dst, `,"time":"`...)
		dst = append(v.append(dst, slotISOTime), '"')
	}
	if login := b.login[loginVariant(r.MaxAge != "", r.ACRValues != "")]; r.Status == 401 && !login.empty() {
		dst = appendURLMember(dst, "login_url", login, v)
	}
	if !b.support.empty() {
		dst = appendURLMember(dst, "support_url", b.support, v)
	}
	if n := seconds(r.RetryAfter); n > 0 {
		dst = append(dst, `,"retry_after":`...)
		dst = strconv.AppendInt(dst, n, 10)
	}
	return append(dst, '}', '\n')
}

// seconds rounds up: a client that comes back a moment early is refused again.
func seconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Second) + 1
}

func appendMember(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return appendJSON(dst, value)
}

// appendURLMember needs no escaping for what is percent-encoded.
func appendURLMember(dst []byte, name string, t urlTemplate, v actual) []byte {
	dst = append(append(append(dst, `,"`...), name...), `":"`...)
	for i, part := range t.parts {
		switch {
		case i%2 == 0:
			dst = appendJSONText(dst, part)
		case part == "lang":
			dst = append(dst, v.locale.tag...)
		default:
			dst = v.append(dst, placeholder(part))
		}
	}
	return append(dst, '"')
}

func appendJSON(dst []byte, s string) []byte {
	return append(appendJSONText(append(dst, '"'), s), '"')
}

// appendJSONText escapes more than RFC 8259 asks for: braces and brackets, for a
// templates handler around us would execute them, and those of markup. "&" stays:
// people copy login_url from a terminal.
func appendJSONText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f || c == '"' || c == '\\' || c == '{' || c == '}' || c == '[' || c == ']' || c == '<' || c == '>' {
				dst = append(dst, s[start:i]...)
				if c == '"' || c == '\\' {
					dst = append(dst, '\\', c)
				} else {
					dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
				}
				start = i + 1
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || isHidden(r) {
			dst = append(dst, s[start:i]...)
			dst = append(dst, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
			start = i + size
		}
		i += size
	}
	return append(dst, s[start:]...)
}

// text is title, detail, when to try again and request id, each on its own line.
func (p *Pages) text(dst []byte, l *locale, r *Refusal) []byte {
	s := l.say(r)
	dst = append(appendPlain(dst, s.title), '\n')
	dst = append(appendPlain(dst, s.detail), '\n')
	if key := retryOf(r).key(); key != "" {
		when := *r
		dst = append(appendPlain(dst, l.texts[key].fillWith(actual{&when, l})), '\n')
	}
	if r.RequestID != "" {
		for i, part := range l.texts["request_id_line"].parts {
			if i%2 == 1 {
				part = r.RequestID
			}
			dst = appendPlain(dst, part)
		}
		dst = append(dst, '\n')
	}
	return dst
}

// line is what a WebSocket client's log shows of a refused handshake.
func (p *Pages) line(dst []byte, l *locale, r *Refusal) []byte {
	s := l.say(r)
	dst = append(appendPlain(dst, s.title), ": "...)
	dst = appendPlain(dst, s.detail)
	if r.RequestID != "" {
		dst = append(dst, " ["...)
		dst = append(appendPlain(dst, r.RequestID), ']')
	}
	return append(dst, '\n')
}

// appendPlain turns braces, and brackets that follow another one, into
// parentheses. Plain text has no way to escape them, and a templates handler
// around us executes text/plain too.
func appendPlain(dst []byte, s string) []byte {
	at := len(dst)
	dst = append(dst, s...)
	var last byte
	for i, c := range dst[at:] {
		switch {
		case c == '{', c == '[' && last == c:
			dst[at+i] = '('
		case c == '}', c == ']' && last == c:
			dst[at+i] = ')'
		}
		last = c
	}
	return dst
}
