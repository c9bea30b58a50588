package page

import (
	"strings"
	"time"
)

// shape is what decides which elements a page has, apart from their values: two
// refusals of one shape, code and status differ in nothing but slots.
type shape struct {
	detail    detailKind
	retry     retryKind
	requestID bool
	time      bool
	address   bool
	link      bool // there is an address to try again
	unsaved   bool
	returned  bool
	maxAge    bool
	acr       bool
}

type detailKind uint8

const (
	general detailKind = iota
	named
	ownWords
)

// bits packs a shape.
func (s shape) bits() uint16 {
	n := uint16(s.detail) | uint16(s.retry)<<2
	for i, set := range [...]bool{s.requestID, s.time, s.address, s.link, s.unsaved, s.returned, s.maxAge, s.acr} {
		if set {
			n |= 1 << (5 + i)
		}
	}
	return n
}

type retryKind uint8

const (
	retryNever retryKind = iota
	retrySoon
	retryMinute
	retryMinutes
	retryAt
	retryLater
)

func shapeOf(l *locale, r *Refusal) shape {
	s := shape{
		requestID: r.RequestID != "",
		time:      !r.Time.IsZero(),
		address:   r.Address != "",
		retry:     retryOf(r),
		returned:  r.Returned,
		maxAge:    r.MaxAge != "",
		acr:       r.ACRValues != "",
	}
	switch {
	case r.Message != "":
		s.detail = ownWords
	case len(r.Params) > 0 && l.words(r.words(), r.Status).named.filledBy(r.Params):
		s.detail = named
	}
	switch r.Method {
	case "GET", "HEAD":
		s.link = strings.HasPrefix(r.ReturnTo, "/") && !strings.HasPrefix(r.ReturnTo, "//")
	case "", "OPTIONS", "TRACE":
	default:
		s.unsaved = true
	}
	return s
}

// retryOf chooses the sentence that says when to come back. Minutes are said up
// to an hour and a half, always more than one.
func retryOf(r *Refusal) retryKind {
	switch n := time.Duration(seconds(r.RetryAfter)) * time.Second; {
	case n == 0 && (r.words() == "locked_out" || r.words() == "throttled" || r.Status == 429):
		return retryLater
	case n == 0:
		return retryNever
	case n <= 15*time.Second:
		return retrySoon
	case n <= 90*time.Second:
		return retryMinute
	case r.Time.IsZero():
		return retryLater
	case n <= 90*time.Minute:
		return retryMinutes
	default:
		return retryAt
	}
}

// key is the sentence of the catalogue.
func (k retryKind) key() string {
	switch k {
	case retrySoon:
		return "retry_soon"
	case retryMinute:
		return "retry_minute"
	case retryMinutes:
		return "retry_minutes"
	case retryAt:
		return "retry_at"
	case retryLater:
		return "retry_later"
	default:
		return ""
	}
}
