package token

import (
	"bytes"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

const maxKeyID = 1 << 10

// header is the JOSE header (RFC 7515 section 4), as far as we read it. The members that offer a key or say where to
// fetch one (jku, x5u, jwk, x5c, x5t) are not among them: whoever forges a token would fill them in too.
type header struct {
	algorithm string
	keyID     string
	hasKeyID  bool
	typ       string
	hasType   bool
}

// parseHeader reads the decoded first segment. Names are compared exactly and must be unique (RFC 7515 section 4): Go's
// struct decoding would let `ALG` override `alg`.
func parseHeader(dec *jsontext.Decoder, data []byte) (header, *Error) {
	var h header
	var hasAlg bool
	if !openObject(dec, data) {
		return h, malformed("header is not a JSON object")
	}
	var bad *Error // kept until the whole header was read: no JSON weighs more
	for dec.PeekKind() == jsontext.KindString {
		name, err := dec.ReadToken()
		if err != nil {
			break // the same error comes back in closeObject
		}
		var fault *Error
		switch name.String() {
		case "alg":
			if hasAlg = dec.PeekKind() == jsontext.KindString; hasAlg {
				h.algorithm, _ = stringValue(dec)
				continue
			}
		case "kid":
			h.hasKeyID = true
			fault = h.readKeyID(dec)
		case "typ":
			if h.typ, h.hasType = stringValue(dec); !h.hasType {
				fault = invalid("header typ is not a string")
			}
		case "crit": // RFC 7515 section 4.1.11: we understand no extension, so any list is one too many
			fault = invalid("header has crit")
		case "b64": // RFC 7797
			fault = invalid("header has b64")
		case "zip", "enc": // RFC 7516: a member of encrypted tokens
			fault = invalid("header is one of an encrypted token")
		}
		if bad == nil {
			bad = fault
		}
		if !skipMember(dec) {
			break
		}
	}
	if !closeObject(dec) {
		return h, malformed("header is not one JSON object with unique names")
	}
	if !hasAlg {
		return h, malformed("header has no alg string")
	}
	return h, bad
}

func (h *header) readKeyID(dec *jsontext.Decoder) *Error {
	var ok bool
	if h.keyID, ok = stringValue(dec); !ok {
		return invalid("header kid is not a string")
	}
	if len(h.keyID) > maxKeyID {
		return invalid("header kid is too long")
	}
	if hasControl(h.keyID) {
		return invalid("header kid has control characters")
	}
	return nil
}

// openObject points the decoder at data and reads the brace a JSON object begins with.
func openObject(dec *jsontext.Decoder, data []byte) bool {
	dec.Reset(bytes.NewBuffer(data))
	tok, err := dec.ReadToken()
	return err == nil && tok.Kind() == jsontext.KindBeginObject
}

// closeObject reads the brace that ends the object, and makes sure that nothing follows it.
func closeObject(dec *jsontext.Decoder) bool {
	tok, err := dec.ReadToken()
	if err != nil || tok.Kind() != jsontext.KindEndObject {
		return false
	}
	_, err = dec.ReadToken()
	return err == io.EOF //nolint:errorlint // the decoder documents io.EOF itself, and a wrapped one would be another error
}

// stringValue reads the value of a member if it is a string, and reads nothing if it is not.
func stringValue(dec *jsontext.Decoder) (string, bool) {
	if dec.PeekKind() != jsontext.KindString {
		return "", false
	}
	tok, err := dec.ReadToken()
	if err != nil {
		return "", false
	}
	return tok.String(), true
}

// skipMember reads over the value of a member, unless it was read already.
func skipMember(dec *jsontext.Decoder) bool {
	if _, n := dec.StackIndex(1); n%2 == 0 {
		return true
	}
	return dec.SkipValue() == nil
}

// hasControl reports whether s holds a C0 control character, DEL, or a C1 control character.
func hasControl(s string) bool {
	for _, r := range s {
		if r < 0x20 || r >= 0x7f && r <= 0x9f {
			return true
		}
	}
	return false
}
