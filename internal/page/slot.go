package page

import (
	"strconv"
	"time"
)

// slot is a place on a page for what changes from request to request.
type slot uint8

const (
	noSlot slot = iota
	slotRequestID
	slotTime
	slotISOTime
	slotAddress
	slotMessage
	slotRetry // the path of the same page, after its first slash
	slotRetryTime
	slotRetryMinutes
	slotRoles
	slotScopes
	slotClaim
	slotNamedAddress
	urlReturnTo // the rest stand in URLs and are percent-encoded already
	urlRequestID
	urlMaxAge
	urlACRValues
	slotCount
)

func (s slot) inURL() bool { return s >= urlReturnTo }

// parameter is the slot for a name in braces of a catalogue's sentence.
func parameter(name string) slot {
	switch name {
	case "roles":
		return slotRoles
	case "scopes":
		return slotScopes
	case "claim":
		return slotClaim
	case "address":
		return slotNamedAddress
	case "time":
		return slotRetryTime
	case "minutes":
		return slotRetryMinutes
	default:
		return noSlot
	}
}

// placeholder is the slot for a name in braces of a URL; {lang} has none, for a
// page has one language.
func placeholder(name string) slot {
	switch name {
	case "return_to":
		return urlReturnTo
	case "request_id":
		return urlRequestID
	case "max_age":
		return urlMaxAge
	case "acr_values":
		return urlACRValues
	default:
		return noSlot
	}
}

// values fill slots: with what a request brings, or with marks by which the
// slots are found in a rendered page.
type values interface{ get(s slot) string }

// actual are the values of one refusal.
type actual struct {
	*Refusal
	locale *locale
}

func (a actual) get(s slot) string {
	var buf [64]byte
	return string(a.append(buf[:0], s))
}

// append writes a value as it is, not yet escaped for where it stands. Values
// of URLs are percent-encoded.
func (a actual) append(dst []byte, s slot) []byte {
	switch s {
	case slotTime, slotISOTime:
		var buf [32]byte
		return inHTML.appendStamp(dst, appendTime(buf[:0], a.Time, ' '), s)
	case slotRetryTime:
		return a.appendRetryTime(dst)
	case slotRetryMinutes:
		return strconv.AppendInt(dst, (seconds(a.RetryAfter)+59)/60, 10)
	case urlReturnTo:
		return appendEscaped(dst, a.back())
	case urlRequestID, urlMaxAge, urlACRValues:
		return appendEscaped(dst, a.plain(s))
	default:
		return append(dst, a.plain(s)...)
	}
}

// plain is the value of a slot that needs no formatting.
func (a actual) plain(s slot) string {
	switch s {
	case slotRequestID, urlRequestID:
		return a.RequestID // cleaned by Render
	case slotAddress:
		return clean(a.Address)
	case slotMessage:
		return clean(a.Message)
	case slotRetry:
		return a.ReturnTo[1:]
	case slotRoles:
		return clean(a.Params["roles"])
	case slotScopes:
		return clean(a.Params["scopes"])
	case slotClaim:
		return clean(a.Params["claim"])
	case slotNamedAddress:
		return clean(a.Params["address"])
	case urlMaxAge:
		return a.MaxAge
	case urlACRValues:
		return a.ACRValues
	default:
		return ""
	}
}

// back is where the login page leads after signing in.
func (a actual) back() string {
	if a.ReturnTo == "" {
		return "/"
	}
	return a.ReturnTo
}

// appendRetryTime writes the clock time from which it is worth trying again,
// with the date where that is another day. Rounded up to a whole minute: who
// comes early is refused again.
func (a actual) appendRetryTime(dst []byte) []byte {
	now := a.Time.UTC()
	at := now.Add(a.RetryAfter + time.Minute - 1).Truncate(time.Minute)
	text := appendTime(nil, at, ' ')
	if at.YearDay() == now.YearDay() && at.Year() == now.Year() {
		text = text[len("2006-01-02 "):]
	}
	return append(append(dst, text[:len(text)-len(":05")]...), "\u00a0UTC"...) // not on two lines
}

// appendTime writes 2006-01-02 15:04:05 with the separator, in UTC. Years have
// four digits until 9999; time.AppendFormat takes three times as long.
func appendTime(dst []byte, t time.Time, sep byte) []byte {
	year, month, day := t.UTC().Date()
	hour, minute, second := t.UTC().Clock()
	dst = appendTwo(dst, year/100%100)
	dst = appendTwo(dst, year%100)
	dst = appendTwo(append(dst, '-'), int(month))
	dst = appendTwo(append(dst, '-'), day)
	dst = appendTwo(append(dst, sep), hour)
	dst = appendTwo(append(dst, ':'), minute)
	return appendTwo(append(dst, ':'), second)
}

func appendTwo(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10)) //nolint:gosec // G115: two digits
}
