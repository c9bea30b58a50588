package token

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxPathBytes  = 1 << 10
	maxPathLevels = 32
	wildcard      = "*"
)

// ClaimPath says where in the claims a value is: the top-level claim whose name is the whole path if there is one, as
// with `https://acme.example/roles`, else one name after the other, as in `realm_access.roles`. A lone `*` stands for
// every member of one level. The zero ClaimPath leads nowhere.
type ClaimPath struct {
	literal string
	levels  []level
	wild    bool
}

type level struct {
	name string
	any  bool // the name is a wildcard
}

// ParseClaimPath reads a path as an operator writes it.
func ParseClaimPath(s string) (ClaimPath, error) {
	if s == "" {
		return ClaimPath{}, errors.New("found an empty claim path, expected a claim name such as roles or realm_access.roles")
	}
	p := ClaimPath{literal: s}
	for name := range strings.SplitSeq(s, ".") {
		p.levels = append(p.levels, level{name: name, any: name == wildcard})
		p.wild = p.wild || name == wildcard
	}
	// A URI may hold anything between its dots; it is still a name.
	isURI := strings.Contains(s, "://")
	if !isURI && slices.ContainsFunc(p.levels, func(l level) bool { return l.name == "" }) {
		return ClaimPath{}, fmt.Errorf("found claim path %.64q with nothing between two dots, expected names", s)
	}
	return p.checked()
}

// JoinClaimPath makes a path from names that are taken as they are, dots and stars included: a client's id, which names
// a level in `resource_access.<client>.roles`, may be a URL.
func JoinClaimPath(names ...string) (ClaimPath, error) {
	p := ClaimPath{literal: strings.Join(names, ".")}
	if len(names) == 0 || slices.Contains(names, "") {
		return ClaimPath{}, fmt.Errorf("found claim path %.64q with an empty name, expected names", names)
	}
	for _, name := range names {
		p.levels = append(p.levels, level{name: name})
	}
	return p.checked()
}

func (p ClaimPath) checked() (ClaimPath, error) {
	switch {
	case len(p.literal) > maxPathBytes:
		return ClaimPath{}, fmt.Errorf("found a claim path of %d bytes, expected at most %d", len(p.literal), maxPathBytes)
	case len(p.levels) > maxPathLevels:
		return ClaimPath{}, fmt.Errorf("found a claim path of %d levels, expected at most %d", len(p.levels), maxPathLevels)
	case !utf8.ValidString(p.literal):
		return ClaimPath{}, fmt.Errorf("found claim path %.64q, expected UTF-8", p.literal)
	case hasControl(p.literal):
		return ClaimPath{}, fmt.Errorf("found claim path %.64q with control characters, expected text", p.literal)
	}
	return p, nil
}

// String returns the path as it was written.
func (p ClaimPath) String() string { return p.literal }

// IsZero reports whether the path leads nowhere because it was never set.
func (p ClaimPath) IsZero() bool { return p.literal == "" }

// each calls yield for every value the path leads to, members of an object in the order of their names.
func (p ClaimPath) each(claims value, yield func(value)) {
	if p.literal == "" {
		return
	}
	if v := claims.member(p.literal); v != nil {
		yield(v)
		return
	}
	descend(claims, p.levels, yield)
}

func descend(v value, levels []level, yield func(value)) {
	switch {
	case len(v) == 0:
	case len(levels) == 0:
		yield(v)
	case !levels[0].any:
		descend(v.member(levels[0].name), levels[1:], yield)
	default:
		byName := func(a, b value) int { return strings.Compare(a[0].name, b[0].name) }
		for _, m := range slices.SortedStableFunc(v.members(), byName) {
			descend(m, levels[1:], yield)
		}
	}
}
