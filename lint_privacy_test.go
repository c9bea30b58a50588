package gatehouse

import "testing"

func TestLintAccessLog(t *testing.T) {
	const filter = "docs/logs.md (examples/private-logs.caddyfile)"
	lintAll(t, map[string]lintCase{
		"the usual header":  {"token header Authorization Bearer", nil},
		"a cookie":          {"token cookie session", nil},
		"a proxy's header":  {"token header proxy-authorization", nil},
		"a query parameter": {"token query key", []string{": token query key: Caddy's access log keeps such tokens, in request>uri; if this site is logged, put the filter of " + filter}},
		"a header":          {"token header x-api-token", []string{": token header x-api-token: Caddy's access log keeps such tokens, in request>headers>X-Api-Token"}},
		"a WebSocket":       {"token websocket", []string{": token websocket: Caddy's access log keeps such tokens, in request>headers>Sec-Websocket-Protocol"}},
		"gdpr":              {"privacy gdpr", []string{": privacy gdpr: holds for the gate's own records and pages; Caddy's access log keeps the visitor's address, URL and user_id"}},
		"none":              {"privacy none", nil},
	})
}

func TestLintPrivacy(t *testing.T) {
	const told = ": privacy hipaa: holds for the gate's own"
	lintAll(t, map[string]lintCase{
		"a message":             {"privacy hipaa\nrequire {\nrole admin\nmessage \"ask them\"\n}", []string{told, "6: require: message is told to nobody"}},
		"a message beside gdpr": {"privacy gdpr\nrequire {\nrole admin\nmessage \"ask them\"\n}", []string{": privacy gdpr: holds"}},
		"detail":                {"privacy hipaa\npages {\ndetail role\n}", []string{told, "6: pages: detail role has no effect"}},
		"detail quiet":          {"privacy hipaa\npages {\ndetail quiet\n}", []string{told}},
		"scopes in challenges":  {"privacy hipaa\nchallenge {\nforbidden scope\n}", []string{told, "1: challenge: forbidden scope names no scopes"}},
	})
}
