package page

// text is what changes from request to request. It is absent as nil, and no
// string: a template may print it and ask whether it is there, but not compare
// it, so that one rendered page serves all requests.
type text struct {
	s     string
	parts []part
}

// part is a piece of a sentence.
type part struct {
	Text  *text
	Value bool // comes with the request, and may run in another direction than the sentence
}

// Parts are what a sentence is made of. A template keeps the direction of the
// values to themselves with <bdi>: in Arabic, Hebrew and Persian an address or a
// date would else be shown in another order.
func (t *text) Parts() []part {
	switch {
	case t == nil:
		return nil
	case t.parts == nil:
		return []part{{Text: t}}
	default:
		return t.parts
	}
}

// String is the text, "" of what is absent.
func (t *text) String() string {
	if t == nil {
		return ""
	}
	return t.s
}

// tell fills a sentence for a page, where the values stay apart from the words.
func (t sentence) tell(v values) *text {
	out := &text{s: t.fillWith(v)}
	for i, s := range t.parts {
		if i%2 == 1 {
			s = v.get(parameter(s))
		}
		if s != "" {
			out.parts = append(out.parts, part{&text{s: s}, i%2 == 1})
		}
	}
	return out
}
