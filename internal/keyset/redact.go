package keyset

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// inText finds URLs in a sentence.
var inText = regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*://[^\s"'<>]+`)

// Redact takes user-info, query and fragment out of every URL in a text. URLs that are known to be in it are taken out
// first and whole, since what a query may hold, such as spaces and quotes, would end one that is only guessed.
func Redact(text string, known ...string) string {
	for _, u := range known {
		bare := bareURL(u)
		if u == "" || bare == u {
			continue
		}
		text = strings.ReplaceAll(text, u, bare)
		quoted := strconv.Quote(u)
		text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], bare)
		if parsed, err := url.Parse(u); err == nil {
			text = strings.ReplaceAll(text, parsed.String(), bare)
			quoted = strconv.Quote(parsed.String())
			text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], bare)
		}
	}
	return inText.ReplaceAllStringFunc(text, bareURL)
}

// redactedError is an error as logs, refusals and status may tell it.
type redactedError struct {
	err  error
	text string
}

func (e redactedError) Error() string { return e.text }

func (e redactedError) Unwrap() error { return e.err }

// bareURL is scheme, host and path. It parses nothing, so that it fails on nothing.
func bareURL(u string) string {
	if end := strings.IndexAny(u, "?#"); end >= 0 {
		u = u[:end]
	}
	scheme, rest, found := strings.Cut(u, "://")
	if !found {
		return u
	}
	authority, path, _ := strings.Cut(rest, "/")
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	return scheme + "://" + host + rest[len(authority):len(rest)-len(path)] + path
}
