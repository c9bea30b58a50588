package token

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds how deep claims may nest; real ones stay below ten.
const maxDepth = 32

// Number is a JSON number as it was written: an account number of 20 digits keeps all of them.
type Number string

// Claims are the verified claims of one token. They never change and may be read by many goroutines.
type Claims struct {
	all      map[string]any
	issuer   string
	subject  string
	id       string
	expiry   time.Time
	issuedAt *time.Time
	authTime *time.Time
}

// Issuer returns iss.
func (c *Claims) Issuer() string { return c.issuer }

// Subject returns who the token is about: sub, or the claim the policy names instead. It is never empty.
func (c *Claims) Subject() string { return c.subject }

// ID returns jti, or "" where that is absent or not a string.
func (c *Claims) ID() string { return c.id }

// Expiry returns exp, without leeway.
func (c *Claims) Expiry() time.Time { return c.expiry }

// IssuedAt returns iat, if there is one.
func (c *Claims) IssuedAt() (time.Time, bool) { return optional(c.issuedAt) }

// AuthTime returns auth_time, when the user last signed in (OpenID Connect Core section 2), if there is one.
func (c *Claims) AuthTime() (time.Time, bool) { return optional(c.authTime) }

func optional(t *time.Time) (time.Time, bool) {
	if t == nil {
		return time.Time{}, false
	}
	return *t, true
}

// Lookup returns the value at a path: a string, Number, bool, nil, []any or map[string]any, copied. A path with a
// wildcard gives a []any of everything it leads to.
func (c *Claims) Lookup(p ClaimPath) (any, bool) {
	var found []any
	p.each(c.all, func(v any) { found = append(found, clone(v)) })
	switch {
	case len(found) == 0:
		return nil, false
	case p.wild && !c.isLiteral(p):
		return found, true
	default:
		return found[0], true
	}
}

func (c *Claims) isLiteral(p ClaimPath) bool {
	_, ok := c.all[p.literal]
	return ok
}

// Strings returns the strings at a path: a string gives one, an array those of its members that are strings. Numbers,
// booleans and objects are left out: a role is never made from something that was not text.
func (c *Claims) Strings(p ClaimPath) []string {
	return c.collect(p, func(out []string, v any) []string {
		if s, ok := v.(string); ok {
			return append(out, s)
		}
		return out
	}, nil)
}

// Words is Strings for scopes: a string is a list separated by spaces (RFC 6749 section 3.3), the member of an array
// is one word whatever it holds.
func (c *Claims) Words(p ClaimPath) []string {
	member := func(out []string, v any) []string {
		if s, ok := v.(string); ok {
			return append(out, s)
		}
		return out
	}
	return c.collect(p, func(out []string, v any) []string {
		s, ok := v.(string)
		if !ok {
			return out
		}
		for word := range strings.SplitSeq(s, " ") {
			if word != "" {
				out = append(out, word)
			}
		}
		return out
	}, member)
}

// Text returns the scalar at a path as text: a string, a number as it was written, true or false. Null, arrays and
// objects are not text, and neither is what a wildcard finds when that is not exactly one value.
func (c *Claims) Text(p ClaimPath) (string, bool) {
	var text string
	var n int
	var ok bool
	p.each(c.all, func(v any) {
		text, ok = scalar(v)
		n++
	})
	if n != 1 || !ok {
		return "", false
	}
	return text, true
}

// Texts is Text for several values: an array gives its scalar members.
func (c *Claims) Texts(p ClaimPath) []string {
	return c.collect(p, func(out []string, v any) []string {
		if s, ok := scalar(v); ok {
			return append(out, s)
		}
		return out
	}, nil)
}

// collect gathers what one makes of each value; member, if set, is used for the members of an array instead. Behind a
// wildcard the same value may come from several places and is given once.
func (c *Claims) collect(p ClaimPath, one, member func([]string, any) []string) []string {
	if member == nil {
		member = one
	}
	var out []string
	p.each(c.all, func(v any) {
		array, ok := v.([]any)
		if !ok {
			out = one(out, v)
			return
		}
		for _, m := range array {
			out = member(out, m)
		}
	})
	if p.wild {
		out = unique(out)
	}
	return out
}

func unique(list []string) []string {
	seen := make(map[string]struct{}, len(list))
	return slices.DeleteFunc(list, func(s string) bool {
		_, ok := seen[s]
		seen[s] = struct{}{}
		return ok
	})
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Number:
		return string(v), true
	case bool:
		return strconv.FormatBool(v), true
	default:
		return "", false
	}
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := maps.Clone(v)
		for name, member := range m {
			m[name] = clone(member)
		}
		return m
	case []any:
		s := slices.Clone(v)
		for i, member := range s {
			s[i] = clone(member)
		}
		return s
	default:
		return v
	}
}

// decodeClaims reads one JSON object with unique names at every level and nothing after it. A second `exp` must not
// decide which of the two a reader believes (RFC 7519 section 4).
func decodeClaims(dec *jsontext.Decoder, payload []byte) (map[string]any, bool) {
	if !openObject(dec, payload) {
		return nil, false
	}
	claims, ok := decodeObject(dec, 24)
	if !ok {
		return nil, false
	}
	return claims, closeObject(dec)
}

// decodeObject reads the members of an object, about as many as size, and stops before the brace that ends it.
func decodeObject(dec *jsontext.Decoder, size int) (map[string]any, bool) {
	object := make(map[string]any, size)
	for dec.PeekKind() == jsontext.KindString {
		tok, err := dec.ReadToken()
		if err != nil {
			return nil, false
		}
		name := tok.String()
		value, ok := decodeValue(dec)
		if !ok {
			return nil, false
		}
		object[name] = value
	}
	return object, dec.PeekKind() == jsontext.KindEndObject
}

func decodeValue(dec *jsontext.Decoder) (any, bool) {
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, false
	}
	switch tok.Kind() {
	case jsontext.KindNull:
		return nil, true
	case jsontext.KindTrue:
		return true, true
	case jsontext.KindFalse:
		return false, true
	case jsontext.KindString:
		return tok.String(), true
	case jsontext.KindNumber:
		return Number(tok.String()), true
	case jsontext.KindBeginObject:
		if dec.StackDepth() > maxDepth {
			return nil, false
		}
		object, ok := decodeObject(dec, 0)
		if !ok {
			return nil, false
		}
		_, err = dec.ReadToken()
		return object, err == nil
	case jsontext.KindBeginArray:
		if dec.StackDepth() > maxDepth {
			return nil, false
		}
		return decodeArray(dec)
	default:
		return nil, false
	}
}

func decodeArray(dec *jsontext.Decoder) (any, bool) {
	array := make([]any, 0, 4)
	for {
		switch dec.PeekKind() {
		case jsontext.KindEndArray:
			_, err := dec.ReadToken()
			return array, err == nil
		case jsontext.KindInvalid:
			return nil, false
		default:
			value, ok := decodeValue(dec)
			if !ok {
				return nil, false
			}
			array = append(array, value)
		}
	}
}

// Seconds since 1970 of the first and the last moment that time.Time and RFC 3339 can both tell. A date beyond them
// means "long ago" or "never", not an overflow.
const (
	minSeconds = -62135596800
	maxSeconds = 253402300799
)

// numericDate reads a NumericDate (RFC 7519 section 2): a finite JSON number, with or without a fraction.
func numericDate(v any) (seconds float64, t time.Time, ok bool) {
	n, ok := v.(Number)
	if !ok {
		return 0, time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(string(n), 64)
	if err != nil { // out of range
		return 0, time.Time{}, false
	}
	whole, fraction := math.Modf(min(max(seconds, minSeconds), maxSeconds))
	return seconds, time.Unix(int64(whole), int64(fraction*1e9)).UTC(), true
}
