package token

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds how deep claims may nest; real ones stay below ten.
const maxDepth = 32

// node is one JSON value.
type node struct {
	name string        // the member's, inside an object
	text string        // what a string says, or a number as it was written
	kind jsontext.Kind // of null, true, false, string, number, begin object, begin array
	size uint32        // how many nodes the value takes, itself included
}

const nodeBytes = 40 // of one node where pointers have 64 bits

// value is a JSON value with all that is inside it: first its own node, then those of its members, each followed by its
// own. So the claims of a token are one slice over one text, where maps and interfaces would be a hundred pieces of
// memory. The zero value is absent. Names are unique, and a name is looked for by going through them: a token is asked
// for a few claims, once.
type value []node

func (v value) is(kind jsontext.Kind) bool { return len(v) > 0 && v[0].kind == kind }

// members yields what is directly inside an object or an array.
func (v value) members() iter.Seq[value] {
	return func(yield func(value) bool) {
		if len(v) == 0 {
			return
		}
		for rest := v[1:]; len(rest) > 0; rest = rest[rest[0].size:] {
			if !yield(rest[:rest[0].size]) {
				return
			}
		}
	}
}

// member returns the member of an object that has this name.
func (v value) member(name string) value {
	if !v.is(jsontext.KindBeginObject) {
		return nil
	}
	for rest := v[1:]; len(rest) > 0; rest = rest[rest[0].size:] {
		if rest[0].name == name {
			return rest[:rest[0].size]
		}
	}
	return nil
}

// str returns the text of a string.
func (v value) str() (string, bool) {
	if !v.is(jsontext.KindString) {
		return "", false
	}
	return v[0].text, true
}

// scalar returns the text of a string, a number or a boolean.
func (v value) scalar() (string, bool) {
	if len(v) == 0 {
		return "", false
	}
	switch v[0].kind {
	case jsontext.KindString, jsontext.KindNumber:
		return v[0].text, true
	case jsontext.KindTrue:
		return "true", true
	case jsontext.KindFalse:
		return "false", true
	default:
		return "", false
	}
}

// copied returns the value as the types of Go.
func (v value) copied() any {
	switch v[0].kind {
	case jsontext.KindString:
		return v[0].text
	case jsontext.KindNumber:
		return Number(v[0].text)
	case jsontext.KindTrue, jsontext.KindFalse:
		return v[0].kind == jsontext.KindTrue
	case jsontext.KindBeginObject:
		object := make(map[string]any)
		for m := range v.members() {
			object[m[0].name] = m.copied()
		}
		return object
	case jsontext.KindBeginArray:
		array := make([]any, 0)
		for m := range v.members() {
			array = append(array, m.copied())
		}
		return array
	default:
		return nil
	}
}

// decodeClaims reads one JSON object with unique names at every level and nothing after it. A second `exp` must not
// decide which of the two a reader believes (RFC 7519 section 4).
func decodeClaims(dec *jsontext.Decoder, payload []byte) (value, bool) {
	if !openObject(dec, payload) {
		return nil, false
	}
	r := reader{dec: dec, source: string(payload)}
	all, ok := r.object(append(make([]node, 0, estimate(payload)), node{kind: jsontext.KindBeginObject}))
	if !ok || !closeObject(dec) {
		return nil, false
	}
	if cap(all) > len(all) { // they may be remembered, and then count by their length
		all = slices.Clone(all)
	}
	return all, true
}

// estimate returns how many values a payload holds: exactly, unless there are commas or brackets in its strings. What is
// beyond the most that real tokens have is left to be seen: a user may have named themselves a thousand commas.
func estimate(payload []byte) int {
	n := 1 + bytes.Count(payload, []byte(",")) + bytes.Count(payload, []byte("{")) + bytes.Count(payload, []byte("["))
	return min(n, 64)
}

// reader decodes values whose strings are parts of the source. They are taken from there, and not from what the decoder
// holds, so that they are not copied one by one.
type reader struct {
	dec    *jsontext.Decoder
	source string
}

// object appends the members of the object whose node is the last one, and stops before the brace that ends it.
func (r reader) object(nodes []node) ([]node, bool) {
	self := len(nodes) - 1
	for r.dec.PeekKind() == jsontext.KindString {
		name, ok := r.text()
		if !ok {
			return nil, false
		}
		if nodes, ok = r.value(nodes, name); !ok {
			return nil, false
		}
	}
	nodes[self].size = uint32(len(nodes) - self) //nolint:gosec // fewer than the bytes of the token
	return nodes, r.dec.PeekKind() == jsontext.KindEndObject
}

// array is object for arrays.
func (r reader) array(nodes []node) ([]node, bool) {
	self := len(nodes) - 1
	for r.dec.PeekKind() != jsontext.KindEndArray {
		var ok bool
		if nodes, ok = r.value(nodes, ""); !ok {
			return nil, false
		}
	}
	nodes[self].size = uint32(len(nodes) - self) //nolint:gosec // fewer than the bytes of the token
	return nodes, true
}

// value appends one value.
func (r reader) value(nodes []node, name string) ([]node, bool) {
	n := node{name: name, kind: r.dec.PeekKind(), size: 1}
	var ok bool
	switch n.kind {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		return r.nested(append(nodes, n))
	case jsontext.KindString:
		n.text, ok = r.text()
	case jsontext.KindNumber:
		n.text, ok = r.raw()
	case jsontext.KindNull, jsontext.KindTrue, jsontext.KindFalse:
		_, ok = r.raw()
	default:
		return nil, false
	}
	return append(nodes, n), ok
}

// nested reads the object or array whose node is the last one, from its first bracket to its last.
func (r reader) nested(nodes []node) ([]node, bool) {
	kind := nodes[len(nodes)-1].kind
	if _, err := r.dec.ReadToken(); err != nil || r.dec.StackDepth() > maxDepth {
		return nil, false
	}
	var ok bool
	if kind == jsontext.KindBeginObject {
		nodes, ok = r.object(nodes)
	} else {
		nodes, ok = r.array(nodes)
	}
	if !ok {
		return nil, false
	}
	_, err := r.dec.ReadToken()
	return nodes, err == nil
}

// raw reads a scalar or a name, and returns it as it was written.
func (r reader) raw() (string, bool) {
	v, err := r.dec.ReadValue()
	if err != nil {
		return "", false
	}
	end := int(r.dec.InputOffset())
	return r.source[end-len(v) : end], true
}

// text reads a string or a name, and returns what it says. The decoder has made sure that it is proper UTF-8.
func (r reader) text() (string, bool) {
	quoted, ok := r.raw()
	if !ok {
		return "", false
	}
	if strings.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], true
	}
	plain, err := jsontext.AppendUnquote(nil, quoted)
	return string(plain), err == nil
}
