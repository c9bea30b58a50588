package gatehouse

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// errorRoutesWithFiles finds what no handler can see by itself: gates that hand
// refusals to error routes which serve files. Such a route answers with the very
// file that was refused, and the status of the refusal.
func errorRoutesWithFiles(config []byte) ([]string, error) {
	var top struct {
		Apps struct {
			HTTP struct {
				Servers map[string]map[string]any `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(config, &top); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(top.Apps.HTTP.Servers)) {
		server := top.Apps.HTTP.Servers[name]
		if !hasHandler(server["errors"], "file_server") {
			continue
		}
		err := eachGate(server["routes"], func(g *Gatehouse) {
			if g.OnRefusal == onRefusalError {
				found = append(found, fmt.Sprintf("on_refusal error: a handle_errors route of this server (%s) serves files, "+
					"and would serve the very file that was refused; expected `on_refusal respond`, or `gatehouse_page` there", name))
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.Compact(found), nil
}

// hasHandler looks for a handler, however deep routes are nested.
func hasHandler(node any, name string) bool {
	switch n := node.(type) {
	case []any:
		return slices.ContainsFunc(n, func(child any) bool { return hasHandler(child, name) })
	case map[string]any:
		if n["handler"] == name {
			return true
		}
		for _, child := range n {
			if hasHandler(child, name) {
				return true
			}
		}
	}
	return false
}
