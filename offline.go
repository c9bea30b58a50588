package gatehouse

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
)

const (
	// endHeader and skippedHeader are set by what stands in for handlers that a
	// rehearsal does not run. They never leave it.
	endHeader     = "Gatehouse-Check-End"
	skippedHeader = "Gatehouse-Check-Skipped"
)

// offline makes a configuration that judges as the given one does, and touches
// nothing: it listens nowhere, logs only what warns, and has stand-ins for all
// handlers that answer or may reach out.
func offline(config []byte) (*caddy.Config, error) {
	var top struct {
		Storage json.RawMessage `json:"storage"`
		Apps    struct {
			HTTP      map[string]any  `json:"http"`
			Gatehouse json.RawMessage `json:"gatehouse"`
		} `json:"apps"`
	}
	if len(config) == 0 {
		return nil, errors.New("found no configuration; expected --config <path>")
	}
	if err := json.Unmarshal(config, &top); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	servers := make(map[string]any)
	given, _ := top.Apps.HTTP["servers"].(map[string]any)
	for name, server := range given {
		if s, ok := server.(map[string]any); ok {
			servers[name] = offlineServer(s)
		}
	}
	if len(servers) == 0 {
		return nil, errors.New("found no HTTP server in the configuration")
	}
	http := map[string]any{"servers": servers}
	for _, name := range []string{"http_port", "https_port"} {
		if port, set := top.Apps.HTTP[name]; set {
			http[name] = port
		}
	}
	raw, err := json.Marshal(http)
	if err != nil {
		return nil, err
	}
	cfg := &caddy.Config{
		Admin:      &caddy.AdminConfig{Disabled: true},
		Logging:    &caddy.Logging{Logs: map[string]*caddy.CustomLog{caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{Level: "WARN"}}}},
		StorageRaw: top.Storage,
		AppsRaw:    caddy.ModuleMap{"http": raw},
	}
	if top.Apps.Gatehouse != nil {
		cfg.AppsRaw["gatehouse"] = top.Apps.Gatehouse
	}
	return cfg, nil
}

// offlineServer keeps of a server what a request can tell.
func offlineServer(server map[string]any) map[string]any {
	out := map[string]any{"automatic_https": map[string]any{"disable": true}}
	for _, name := range []string{
		"listen", "trusted_proxies_strict", "trusted_proxies_unix", "client_ip_headers", "expected_underscore_headers", "expected_dot_headers",
	} {
		if value, set := server[name]; set {
			out[name] = value
		}
	}
	// Other sources of proxies fetch their lists.
	if source, ok := server["trusted_proxies"].(map[string]any); ok && source["source"] == "static" {
		out["trusted_proxies"] = source
	}
	out["routes"] = offlineRoutes(server["routes"], false)
	if failed, ok := server["errors"].(map[string]any); ok {
		out["errors"] = map[string]any{"routes": offlineRoutes(failed["routes"], true)}
	}
	if named, ok := server["named_routes"].(map[string]any); ok {
		for _, route := range named {
			offlineRoute(route, false)
		}
		out["named_routes"] = named
	}
	return out
}

// offlineRoutes changes routes in place. failed: they answer errors, and what
// they say themselves is what clients get for hidden paths.
func offlineRoutes(routes any, failed bool) any {
	list, _ := routes.([]any)
	for _, route := range list {
		offlineRoute(route, failed)
	}
	return list
}

func offlineRoute(route any, failed bool) {
	r, _ := route.(map[string]any)
	handlers, _ := r["handle"].([]any)
	for i, handler := range handlers {
		if h, ok := handler.(map[string]any); ok {
			handlers[i] = offlineHandler(h, failed)
		}
	}
}

// offlineHandler returns the handler itself where it works on the request alone.
func offlineHandler(h map[string]any, failed bool) map[string]any {
	name, _ := h["handler"].(string)
	switch name {
	case "gatehouse":
		delete(h, "expectations") // broken ones would be in the way of finding out why
		return h
	case "subroute":
		h["routes"] = offlineRoutes(h["routes"], failed)
		if inner, ok := h["errors"].(map[string]any); ok {
			inner["routes"] = offlineRoutes(inner["routes"], true)
		}
		return h
	case "rewrite", "vars", "map", "headers", "invoke", "request_body", "encode", "log_append":
		return h
	case "static_response", "error":
		if failed && h["abort"] != true {
			return h
		}
		return standIn(name, failed)
	case "reverse_proxy":
		if goesOn(h) {
			return skipped(name)
		}
		return standIn(name, failed)
	case "file_server":
		if h["pass_thru"] == true {
			return skipped(name)
		}
		return standIn(name, failed)
	case "acme_server", "metrics", "copy_response":
		return standIn(name, failed)
	}
	return skipped(name)
}

// goesOn reports the shape of forward_auth: a proxy that may let the request go
// on to the next handler.
func goesOn(proxy map[string]any) bool {
	responses, _ := proxy["handle_response"].([]any)
	return slices.ContainsFunc(responses, func(response any) bool {
		r, _ := response.(map[string]any)
		match, _ := r["match"].(map[string]any)
		statuses, _ := match["status_code"].([]any)
		return slices.Contains(statuses, any(float64(2)))
	})
}

// standIn ends the request where a handler that answers would.
func standIn(name string, failed bool) map[string]any {
	var status any = 200
	if failed {
		status = "{http.error.status_code}"
	}
	return map[string]any{"handler": "static_response", "status_code": status, "headers": map[string]any{endHeader: []string{name}}}
}

// skipped lets the request go on where a handler that is not known may do so.
func skipped(name string) map[string]any {
	return map[string]any{"handler": "headers", "response": map[string]any{"add": map[string]any{skippedHeader: []string{name}}}}
}
