package keyset

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

var (
	errNotObject  = errors.New("not a JSON object")
	errNotArray   = errors.New("not an array")
	errNotString  = errors.New("not a string")
	errNotBase64  = errors.New("not unpadded base64url (RFC 7515 section 2)")
	errAfterValue = errors.New("there is something after the JSON value")
)

// object reads one JSON object with exact names. A name that occurs twice is refused: two readers would take a
// different one (RFC 8259 section 4).
func object(data []byte) (map[string]jsontext.Value, error) {
	return members(data, jsontext.AllowDuplicateNames(false))
}

// envelope is object for a document whose inner objects are judged one by one later: a doubled name in one key must
// not take the other keys with it.
func envelope(data []byte) (map[string]jsontext.Value, error) {
	return members(data, jsontext.AllowDuplicateNames(true))
}

func members(data []byte, opts ...jsontext.Options) (map[string]jsontext.Value, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(data), opts...)
	if dec.PeekKind() != '{' {
		return nil, firstError(dec, errNotObject)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, notJSON(err)
	}
	found := make(map[string]jsontext.Value)
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, notJSON(err)
		}
		key := name.String()
		if _, twice := found[key]; twice {
			return nil, fmt.Errorf("the name %s is there twice", quoted(key))
		}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, notJSON(err)
		}
		found[key] = value.Clone()
	}
	return found, end(dec)
}

// elements reads a JSON array and stops after limit+1 elements, which is enough to know that there are too many.
func elements(data []byte, limit int) ([]jsontext.Value, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))
	if dec.PeekKind() != '[' {
		return nil, firstError(dec, errNotArray)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, notJSON(err)
	}
	var found []jsontext.Value
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil {
			return nil, notJSON(err)
		}
		if found = append(found, value.Clone()); len(found) > limit {
			return found, nil
		}
	}
	return found, end(dec)
}

// end reads the closing bracket and makes sure that nothing follows it.
func end(dec *jsontext.Decoder) error {
	if _, err := dec.ReadToken(); err != nil {
		return notJSON(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errAfterValue
	}
	return nil
}

func firstError(dec *jsontext.Decoder, otherwise error) error {
	if _, err := dec.ReadToken(); err != nil {
		return notJSON(err)
	}
	return otherwise
}

// notJSON keeps the place of a syntax error and drops its text, which quotes the foreign document.
func notJSON(err error) error {
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New("a name is there twice")
	case errors.As(err, &syntactic):
		return fmt.Errorf("not JSON (at byte %d)", syntactic.ByteOffset)
	default:
		return errors.New("not JSON (it ends too early)")
	}
}

func text(v jsontext.Value) (string, error) {
	if v.Kind() != '"' {
		return "", errNotString
	}
	out, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return "", errNotString
	}
	return string(out), nil
}

// octets decodes a base64url member. Go's strict decoder still skips line breaks, so the alphabet is checked first.
func octets(v jsontext.Value) ([]byte, error) {
	s, err := text(v)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(s, "\r\n") {
		return nil, errNotBase64
	}
	out, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errNotBase64
	}
	return out, nil
}

// quoted makes a foreign string safe and short enough for a log line.
func quoted(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%+q…", s[:most])
	}
	return fmt.Sprintf("%+q", s)
}
