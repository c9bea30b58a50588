package token

import (
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Number is a JSON number as it was written: an account number of 20 digits keeps all of them.
type Number string

// Claims are the verified claims of one token. They never change and may be read by many goroutines.
type Claims struct {
	all      value
	issuer   string
	subject  string
	id       string
	expiry   time.Time
	issuedAt date
	authTime date
}

// date is a moment that may be absent.
type date struct {
	at  time.Time
	set bool
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
func (c *Claims) IssuedAt() (time.Time, bool) { return c.issuedAt.at, c.issuedAt.set }

// AuthTime returns auth_time, when the user last signed in (OpenID Connect Core section 2), if there is one.
func (c *Claims) AuthTime() (time.Time, bool) { return c.authTime.at, c.authTime.set }

// Size returns how many bytes of memory the claims take beside their text: an array of zeros is twenty times its text.
func (c *Claims) Size() int { return cap(c.all) * nodeBytes }

// Lookup returns the value at a path: a string, Number, bool, nil, []any or map[string]any, copied. A path with a
// wildcard gives a []any of everything it leads to.
func (c *Claims) Lookup(p ClaimPath) (any, bool) {
	var found []any
	p.each(c.all, func(v value) { found = append(found, v.copied()) })
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
	return c.all.member(p.literal) != nil
}

// Strings returns the strings at a path: a string gives one, an array those of its members that are strings. Numbers,
// booleans and objects are left out: a role is never made from something that was not text.
func (c *Claims) Strings(p ClaimPath) []string {
	return c.collect(p, value.str, false)
}

// Words is Strings for scopes: a string is a list separated by spaces (RFC 6749 section 3.3), the member of an array
// is one word whatever it holds.
func (c *Claims) Words(p ClaimPath) []string {
	return c.collect(p, value.str, true)
}

// Text returns the scalar at a path as text: a string, a number as it was written, true or false. Null, arrays and
// objects are not text, and neither is what a wildcard finds when that is not exactly one value.
func (c *Claims) Text(p ClaimPath) (string, bool) {
	var text string
	var n int
	var ok bool
	p.each(c.all, func(v value) {
		text, ok = v.scalar()
		n++
	})
	if n != 1 || !ok {
		return "", false
	}
	return text, true
}

// Texts is Text for several values: an array gives its scalar members.
func (c *Claims) Texts(p ClaimPath) []string {
	return c.collect(p, value.scalar, false)
}

// collect gathers the texts of the values and of the members of arrays, as far as they have one; split takes those of
// values apart at spaces. Behind a wildcard the same text may come from several places and is given once.
func (c *Claims) collect(p ClaimPath, text func(value) (string, bool), split bool) []string {
	var out []string
	p.each(c.all, func(v value) {
		if v.is(jsontext.KindBeginArray) {
			out = slices.Grow(out, len(v)-1)
			for m := range v.members() {
				if s, ok := text(m); ok {
					out = append(out, s)
				}
			}
			return
		}
		s, ok := text(v)
		switch {
		case !ok:
		case split:
			out = slices.AppendSeq(slices.Grow(out, 1+strings.Count(s, " ")), words(s))
		default:
			out = append(out, s)
		}
	})
	if p.wild {
		out = unique(out)
	}
	return out
}

// words leaves out the empty ones.
func words(s string) iter.Seq[string] {
	return strings.FieldsFuncSeq(s, func(r rune) bool { return r == ' ' })
}

func unique(list []string) []string {
	seen := make(map[string]struct{}, len(list))
	return slices.DeleteFunc(list, func(s string) bool {
		_, ok := seen[s]
		seen[s] = struct{}{}
		return ok
	})
}

// Seconds since 1970 of the first and the last moment that time.Time and RFC 3339 can both tell. A date beyond them
// means "long ago" or "never", not an overflow.
const (
	minSeconds = -62135596800
	maxSeconds = 253402300799
)

// numericDate reads a NumericDate (RFC 7519 section 2): a finite JSON number, with or without a fraction.
func numericDate(v value) (seconds float64, t time.Time, ok bool) {
	if !v.is(jsontext.KindNumber) {
		return 0, time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(v[0].text, 64)
	if err != nil { // out of range
		return 0, time.Time{}, false
	}
	whole, fraction := math.Modf(min(max(seconds, minSeconds), maxSeconds))
	return seconds, time.Unix(int64(whole), int64(fraction*1e9)).UTC(), true
}
