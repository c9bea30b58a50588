package keyset

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const defaultMaxStale = 24 * time.Hour

// Options say where an issuer's keys are and how long they may serve when it is out of reach.
type Options struct {
	Issuer    string            // the `iss` of its tokens; where to look for metadata when URL is empty
	URL       string            // its JWKS; empty: ask its metadata
	MaxStale  time.Duration     // how long keys serve after the last good fetch; 0: 24 hours
	Transport http.RoundTripper // nil: a transport of our own, made like Go's default one
}

// Check tells a configuration mistake without touching the network.
func (o Options) Check() error {
	if o.MaxStale < 0 {
		return fmt.Errorf("max_stale: found %s, expected a positive duration", o.MaxStale)
	}
	if o.URL != "" {
		if _, err := checkURL(o.URL); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
		return nil
	}
	u, err := checkURL(o.Issuer)
	if err != nil {
		return fmt.Errorf("issuer: without `keys` its metadata is asked, so it must be a URL: %w", err)
	}
	if u.RawQuery != "" || u.ForceQuery { // RFC 8414 section 2
		return fmt.Errorf("issuer: found a query in %q; an issuer with metadata has none", u.Redacted())
	}
	return nil
}

// checkURL accepts what keys may be fetched from: https, and plain http only from this machine itself, since whoever
// can change the answer can sign tokens.
func checkURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("not a URL") // the parser's error quotes it, password included
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("found %q, expected an https URL", u.Redacted())
	case u.Hostname() == "":
		return nil, fmt.Errorf("found %q, expected an https URL with a host", u.Redacted())
	case u.User != nil:
		return nil, fmt.Errorf("found a user or password in %q, expected none", u.Redacted())
	case strings.Contains(s, "#"):
		return nil, fmt.Errorf("found a fragment in %q, expected none", u.Redacted())
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("found %q, expected https; plain http is for localhost only", u.Redacted())
	}
	return u, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback()
}

// sameHost compares host and port as they are dialled.
func sameHost(a, b *url.URL) bool {
	return strings.EqualFold(dialled(a), dialled(b))
}

func dialled(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
