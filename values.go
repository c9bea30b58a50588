package gatehouse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// resolve replaces {env.*} and {file.*} in an option's value, once, at load.
// Every other brace is an error, but for the placeholders in kept, which are
// filled in later: a value that silently resolves to nothing would be a
// predictable key or an open rule.
func resolve(option, value string, kept ...string) (string, error) {
	if !strings.ContainsAny(value, "{}") {
		return value, nil
	}
	repl := caddy.NewReplacer()
	var out strings.Builder
	rest := value
	for {
		start := strings.IndexAny(rest, "{}")
		if start < 0 {
			out.WriteString(rest)
			return out.String(), nil
		}
		end := strings.IndexByte(rest[start:], '}')
		if rest[start] != '{' || end < 0 {
			return "", fmt.Errorf("%s: unbalanced brace in %q", option, value)
		}
		name := rest[start+1 : start+end]
		whole := rest[start : start+end+1]
		out.WriteString(rest[:start])
		rest = rest[start+end+1:]

		switch {
		case slices.Contains(kept, name):
			out.WriteString(whole)
		case strings.HasPrefix(name, "env."), strings.HasPrefix(name, "file."):
			text, found := repl.GetString(name)
			if !found || text == "" {
				return "", fmt.Errorf("%s: placeholder %s is empty or cannot be resolved at load; expected it to be set where Caddy runs, or the value itself", option, whole)
			}
			out.WriteString(text)
		default:
			return "", fmt.Errorf("%s: placeholder %s is not known here; expected %s", option, whole, knownPlaceholders(kept))
		}
	}
}

func knownPlaceholders(kept []string) string {
	known := make([]string, 0, 2+len(kept))
	known = append(known, "{env.*}", "{file.*}")
	for _, name := range kept {
		known = append(known, "{"+name+"}")
	}
	return strings.Join(known, ", ")
}

// resolveAll resolves each value into a new slice.
func resolveAll(option string, values []string) ([]string, error) {
	if values == nil {
		return nil, nil
	}
	out := make([]string, len(values))
	for i, v := range values {
		text, err := resolve(option, v)
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, fmt.Errorf("%s: value %d is empty", option, i+1)
		}
		out[i] = text
	}
	return out, nil
}

// at prefixes an error with the place in the Caddyfile that it speaks of.
func at(source string, err error) error {
	if err == nil || source == "" {
		return err
	}
	return fmt.Errorf("%s: %w", source, err)
}
