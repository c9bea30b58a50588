package token

import (
	"encoding/base64"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Unverified is a token whose form was checked and nothing else. All it says is what its sender claims.
type Unverified struct {
	header       header
	issuer       string
	signingInput []byte // RFC 7515 section 5.2: the bytes that were signed, exactly as they came
	payload      []byte
	signature    []byte
}

// Issuer returns the iss the token claims. It chooses the verifier, which then compares it again.
func (u *Unverified) Issuer() string { return u.issuer }

// KeyID returns the header's kid, or "".
func (u *Unverified) KeyID() string { return u.header.keyID }

// Algorithm returns the header's alg as it came.
func (u *Unverified) Algorithm() string { return u.header.algorithm }

// Parse takes a token apart without believing any of it. It is Malformed if it is no compact JWS at all, or longer than
// limit bytes; it is Invalid if it is one this package will never accept. A limit of zero refuses everything.
func Parse(raw string, limit int) (*Unverified, error) {
	var dec jsontext.Decoder // one for header and claims: it keeps its buffers
	u, fault := parseJWS(&dec, raw, limit)
	if fault != nil {
		return nil, fault
	}
	if u.issuer, fault = peekIssuer(&dec, u.payload); fault != nil {
		return nil, fault
	}
	return u, nil
}

// parseJWS is the part of Parse that every compact JWS must pass, whatever its payload is.
func parseJWS(dec *jsontext.Decoder, raw string, limit int) (*Unverified, *Error) {
	if len(raw) > limit {
		return nil, malformed("longer than the limit")
	}
	u, segments := new(Unverified), [3]string{}
	if !split(raw, &segments) {
		return nil, malformed("not three segments")
	}
	// RFC 7515 section 2: no line breaks. Go's decoder skips them even when strict, and two spellings of one token
	// would be two tokens to whoever remembers or revokes them.
	if strings.IndexByte(raw, '\n') >= 0 || strings.IndexByte(raw, '\r') >= 0 {
		return nil, malformed("line break")
	}
	parts, ok := u.decode(raw, segments)
	if !ok {
		return nil, malformed("not base64url")
	}
	var fault *Error
	if u.header, fault = parseHeader(dec, parts[0]); fault != nil {
		return nil, fault
	}
	u.payload, u.signature = parts[1], parts[2]
	return u, nil
}

// split cuts raw into exactly three segments, none of them empty: an empty signature is an unsecured token
// (RFC 7519 section 6), five segments are an encrypted one.
func split(raw string, out *[3]string) bool {
	first := strings.IndexByte(raw, '.')
	last := strings.LastIndexByte(raw, '.')
	if first <= 0 || last <= first+1 || last == len(raw)-1 {
		return false
	}
	out[0], out[1], out[2] = raw[:first], raw[first+1:last], raw[last+1:]
	return strings.IndexByte(out[1], '.') < 0
}

// decode puts the signing input and the three decoded segments into one buffer. Strict refuses stray bits at the end
// of a segment (RFC 4648 section 3.5), Raw refuses padding.
func (u *Unverified) decode(raw string, segments [3]string) (parts [3][]byte, ok bool) {
	enc := base64.RawURLEncoding.Strict()
	signed := len(segments[0]) + 1 + len(segments[1])
	size := signed
	for _, s := range segments {
		size += enc.DecodedLen(len(s))
	}
	buf := append(make([]byte, 0, size), raw[:signed]...)
	u.signingInput = buf[:signed:signed]
	sources := [3][]byte{buf[:len(segments[0])], buf[len(segments[0])+1 : signed], []byte(segments[2])}
	for i, src := range sources {
		start := len(buf)
		var err error
		if buf, err = enc.AppendDecode(buf, src); err != nil {
			return parts, false
		}
		parts[i] = buf[start:len(buf):len(buf)]
	}
	return parts, true
}

// peekIssuer finds the first top-level iss and reads no further. A second one is refused when the claims are decoded,
// after the signature.
func peekIssuer(dec *jsontext.Decoder, payload []byte) (string, *Error) {
	if !openObject(dec, payload) {
		return "", invalid("claims are not a JSON object")
	}
	for dec.PeekKind() == jsontext.KindString {
		name, err := dec.ReadToken()
		if err != nil {
			break
		}
		if name.String() != "iss" {
			if dec.SkipValue() != nil {
				break
			}
			continue
		}
		if iss, ok := stringValue(dec); ok && iss != "" {
			return iss, nil
		}
		return "", invalid("iss is not a string")
	}
	return "", invalid("claims have no iss")
}
