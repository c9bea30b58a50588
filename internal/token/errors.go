package token

import (
	"fmt"
	"time"
)

// Kind says what a refused token is refused for, as far as a client may know. The zero Kind is Internal.
type Kind uint8

// The kinds of refusal.
const (
	Internal    Kind = iota // our own failure
	Malformed               // not a token at all
	Invalid                 // forged, foreign, or not what the policy wants; one kind, so that it is no oracle
	Expired                 // was good, and is too old now; said only after the signature held
	NotYetValid             // will be good; said only after the signature held
	Unavailable             // could not be checked: the keys are out of reach
)

// String returns the kind's name for logs.
func (k Kind) String() string {
	switch k {
	case Malformed:
		return "malformed"
	case Invalid:
		return "invalid"
	case Expired:
		return "expired"
	case NotYetValid:
		return "not yet valid"
	case Unavailable:
		return "unavailable"
	case Internal:
		return "internal"
	default:
		return fmt.Sprintf("kind %d", uint8(k))
	}
}

// Error is why a token was refused. Every error of [Parse] and [Verifier.Verify] is one.
type Error struct {
	Kind       Kind
	Reason     string        // for logs only: stable, short, never bytes of the token
	RetryAfter time.Duration // with Unavailable
	Subject    string        // with Expired and NotYetValid, whose signature held; for logs only
	Expiry     time.Time     // exp, likewise
	Err        error         // the cause where it is not the token: the keys, a panic
}

// Error describes the refusal for the log. It holds no bytes of the token.
func (e *Error) Error() string {
	s := "token " + e.Kind.String() + ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func malformed(reason string) *Error { return &Error{Kind: Malformed, Reason: reason} }

func invalid(reason string) *Error { return &Error{Kind: Invalid, Reason: reason} }
