package gatehouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// stage is a configuration that is rehearsed: its routes and gates as they
// serve, without listeners, upstreams or anything that is written.
type stage struct {
	app   *App
	http  *caddyhttp.App
	gates map[*caddyhttp.Server][]*Gatehouse
}

func newStage(config []byte) (*stage, error) {
	cfg, err := offline(config)
	if err != nil {
		return nil, err
	}
	ctx, err := caddy.ProvisionContext(cfg)
	if err != nil {
		return nil, err
	}
	httpApp, err := ctx.App("http")
	if err != nil {
		return nil, err
	}
	own, err := ctx.App("gatehouse")
	if err != nil {
		return nil, err
	}
	s := &stage{app: own.(*App), http: httpApp.(*caddyhttp.App), gates: make(map[*caddyhttp.Server][]*Gatehouse)}
	for _, server := range s.http.Servers {
		s.gates[server] = rehearsedGates(server.Routes)
		for _, route := range server.NamedRoutes {
			s.gates[server] = append(s.gates[server], rehearsedGates(caddyhttp.RouteList{*route})...)
		}
	}
	return s, nil
}

// close releases key sets.
func (s *stage) close() error { return s.app.Cleanup() }

func rehearsedGates(routes caddyhttp.RouteList) []*Gatehouse {
	var found []*Gatehouse
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *Gatehouse:
				found = append(found, h)
			case *caddyhttp.Subroute:
				found = append(found, rehearsedGates(h.Routes)...)
			}
		}
	}
	return found
}

// call is one request that is rehearsed.
type call struct {
	method  string
	target  string // a URL, or a path where there is one site
	header  http.Header
	token   string
	visitor AssumedVisitor
}

// performance is what came of it.
type performance struct {
	method, url string
	gates       []explanation // of each gate that was asked, in order
	answer      *recorded
	end         string // the handler that would answer in place of a gate
	skipped     []string
}

// passed reports that a gate looked at the request, and all that did let it pass.
func (p *performance) passed() bool {
	return len(p.gates) > 0 && !slices.ContainsFunc(p.gates, func(e explanation) bool { return e.no != nil })
}

// perform sends the request through the whole server.
func (s *stage) perform(ctx context.Context, c *call) (*performance, error) {
	scheme, host, uri, err := s.locate(c.target)
	if err != nil {
		return nil, err
	}
	server, err := s.server(scheme, host)
	if err != nil {
		return nil, err
	}
	r, err := c.request(ctx, scheme, host, uri)
	if err != nil {
		return nil, err
	}
	out := &performance{method: c.method, url: scheme + "://" + host + uri, answer: newRecorded()}
	var problem error
	for _, g := range s.gates[server] {
		serving := g.gate
		defer func() { g.gate = serving }()
		with := &rehearsal{token: c.token}
		if c.token == "" {
			with.visitor = &c.visitor
		}
		with.seen = func(gate *gate, r *http.Request, v views, let admission, no *refusal) {
			problem = errors.Join(problem, with.err)
			e := g.explain(gate, r, v, let, no)
			e.noteIgnored(&c.visitor)
			out.gates = append(out.gates, e)
		}
		g.gate = serving.rehearse(with)
	}
	server.ServeHTTP(out.answer, r)
	if problem != nil {
		return nil, problem
	}
	out.finish()
	return out, nil
}

// finish takes the stand-ins' marks out of the answer.
func (p *performance) finish() {
	p.answer.WriteHeader(http.StatusOK)
	p.end = p.answer.sent.Get(endHeader)
	p.skipped = p.answer.sent.Values(skippedHeader)
	p.answer.sent.Del(endHeader)
	p.answer.sent.Del(skippedHeader)
}

func (c *call) request(ctx context.Context, scheme, host, uri string) (*http.Request, error) {
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		return nil, err
	}
	from, err := c.visitor.address()
	if err != nil {
		return nil, err
	}
	header := c.header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	r := &http.Request{
		Method: c.method, URL: u, RequestURI: uri, Host: host, Header: header, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: netip.AddrPortFrom(from, 1024).String(),
	}
	if name := header.Get("Host"); name != "" {
		r.Host = name
		header.Del("Host")
	}
	if scheme == "https" {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: hostOnly(host)}
	}
	return r.WithContext(ctx), nil
}

// locate takes a target apart. The path stays as it is written: how it is
// written is what a gate may look at.
func (s *stage) locate(target string) (scheme, host, uri string, err error) {
	if strings.HasPrefix(target, "/") {
		scheme, host, err = s.onlySite()
		return scheme, host, target, err
	}
	scheme, rest, found := strings.Cut(target, "://")
	scheme = strings.ToLower(scheme)
	at := strings.IndexAny(rest, "/?#")
	host, uri = rest, "/"
	if at >= 0 {
		host, uri = rest[:at], rest[at:]
	}
	if strings.HasPrefix(uri, "?") {
		uri = "/" + uri
	}
	if !found || scheme != "http" && scheme != "https" || host == "" || strings.ContainsAny(uri, "# ") {
		return "", "", "", fmt.Errorf("found %q; expected a URL such as https://panel.example.com/admin, or a path where there is only one site", target)
	}
	return scheme, host, uri, nil
}

// onlySite is the site that a bare path must mean.
func (s *stage) onlySite() (scheme, host string, err error) {
	var sites []string
	for _, server := range s.http.Servers {
		if len(s.gates[server]) == 0 {
			continue
		}
		sites = append(sites, s.sites(server)...)
	}
	slices.Sort(sites)
	switch sites = slices.Compact(sites); len(sites) {
	case 0:
		return "", "", errors.New("the configuration has no gate")
	case 1:
		scheme, host, _ = strings.Cut(sites[0], "://")
		return scheme, host, nil
	}
	return "", "", fmt.Errorf("found a path; the configuration has several sites, expected a URL that begins with one of %s", strings.Join(sites, ", "))
}

// sites are the addresses of a server, as URLs without a path.
func (s *stage) sites(server *caddyhttp.Server) []string {
	var hosts, out []string
	for _, route := range server.Routes {
		for _, set := range route.MatcherSets {
			for _, matcher := range set {
				if names, ok := matcher.(*caddyhttp.MatchHost); ok {
					hosts = append(hosts, *names...)
				}
			}
		}
	}
	if len(hosts) == 0 {
		hosts = []string{"localhost"}
	}
	for _, listen := range server.Listen {
		address, err := caddy.ParseNetworkAddress(listen)
		if err != nil || address.IsUnixNetwork() {
			continue
		}
		for _, host := range hosts {
			out = append(out, s.siteURL(host, int(address.StartPort)))
		}
	}
	return out
}

func (s *stage) siteURL(host string, port int) string {
	switch port {
	case s.port("https"):
		if port == caddyhttp.DefaultHTTPSPort {
			return "https://" + host
		}
		return "https://" + net.JoinHostPort(host, strconv.Itoa(port))
	case caddyhttp.DefaultHTTPPort:
		return "http://" + host
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// port is where Caddy listens for a scheme.
func (s *stage) port(scheme string) int {
	switch {
	case scheme == "https" && s.http.HTTPSPort != 0:
		return s.http.HTTPSPort
	case scheme == "https":
		return caddyhttp.DefaultHTTPSPort
	case s.http.HTTPPort != 0:
		return s.http.HTTPPort
	}
	return caddyhttp.DefaultHTTPPort
}

// server finds the one that listens on the port of the URL; of several, which
// then listen on different addresses, the one that knows the host.
func (s *stage) server(scheme, host string) (*caddyhttp.Server, error) {
	port := s.port(scheme)
	if _, text, err := net.SplitHostPort(host); err == nil {
		if port, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("found port %q in the URL; expected a number", text)
		}
	}
	var found []*caddyhttp.Server
	var listening []string
	for _, name := range sortedKeys(s.http.Servers) {
		server := s.http.Servers[name]
		for _, listen := range server.Listen {
			listening = append(listening, listen)
			address, err := caddy.ParseNetworkAddress(listen)
			if err == nil && int(address.StartPort) <= port && port <= int(address.EndPort) {
				found = append(found, server)
				break
			}
		}
	}
	for _, server := range found {
		if slices.ContainsFunc(s.sites(server), func(site string) bool {
			_, known, _ := strings.Cut(site, "://")
			return strings.EqualFold(hostOnly(known), hostOnly(host))
		}) {
			return server, nil
		}
	}
	if len(found) > 0 {
		return found[0], nil
	}
	return nil, fmt.Errorf("no server listens on port %d; the configuration listens on %s", port, strings.Join(listening, ", "))
}

func hostOnly(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// keysWithin is how long a rehearsal waits for keys that are fetched.
const keysWithin = 6 * time.Second

// fetchKeys gets the keys by which a real token is verified. Nothing is written:
// neither fetched keys, nor a key of issuer internal where there is none yet.
func (s *stage) fetchKeys(ctx context.Context, raw string) error {
	host := &keyset.Host{Store: readOnlyStore{s.app.storage}, Log: s.app.log}
	for _, remote := range s.app.remotes {
		remote.Start(host)
	}
	unverified, err := token.Parse(raw, maxTokenLimit)
	if s.app.builtin != nil && err == nil && unverified.Issuer() == internalIssuer {
		private, err := loadInternalKey(ctx, s.app.storage)
		if err != nil {
			return explainNoKey(err, s.app.storage)
		}
		if err := s.app.builtin.set(private); err != nil {
			return err
		}
	}
	limit := time.Now().Add(keysWithin)
	for _, remote := range s.app.remotes {
		for !remote.Ready() && time.Now().Before(limit) && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// readOnlyStore has the keys that the server kept, and keeps none.
type readOnlyStore struct{ certmagic.Storage }

// Save implements keyset.Store.
func (readOnlyStore) Save(context.Context, string, []byte) error { return nil }

var _ keyset.Store = readOnlyStore{}
