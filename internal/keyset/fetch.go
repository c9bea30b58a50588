package keyset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	fetchTimeout = 5 * time.Second // of one request, its redirects and its body
	maxRedirects = 3
	maxHeaders   = 64 << 10
	maxETag      = 1 << 10

	defaultMaxAge = time.Hour
	shortMaxAge   = 5 * time.Minute
	longMaxAge    = 24 * time.Hour

	firstBackOff = time.Second
	lastBackOff  = 5 * time.Minute
)

var (
	errNotModified = errors.New("not modified")
	errRedirect    = errors.New("redirect refused")
)

// newClient makes a client that cannot be held up, flooded, or led away to another host or to plain http.
func newClient(rt http.RoundTripper) *http.Client {
	if rt == nil {
		own := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
		if std, ok := http.DefaultTransport.(*http.Transport); ok {
			own = std.Clone()
		}
		own.MaxResponseHeaderBytes = maxHeaders
		rt = own
	}
	return &http.Client{Transport: rt, Timeout: fetchTimeout, CheckRedirect: checkRedirect}
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: more than %d in a row", errRedirect, maxRedirects)
	}
	first := via[0].URL
	if !sameHost(req.URL, first) {
		return fmt.Errorf("%w: to another host", errRedirect)
	}
	if req.URL.Scheme != first.Scheme || req.URL.User != nil {
		return fmt.Errorf("%w: to another scheme or with a password", errRedirect)
	}
	return nil
}

// answer is a good reply of an issuer.
type answer struct {
	body   []byte
	etag   string
	maxAge time.Duration
}

// get fetches one document. Only a 200 counts, or a 304 where an ETag was sent; the latter gives errNotModified and
// an answer without body.
func get(ctx context.Context, client *http.Client, url, etag string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "caddy-gatehouse")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is lost when closing a body that was read
	good := answer{etag: resp.Header.Get("ETag"), maxAge: maxAge(resp.Header)}
	if resp.StatusCode == http.StatusNotModified && etag != "" {
		good.etag = etag
		return good, errNotModified
	}
	if resp.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("%s answered with status %d", url, resp.StatusCode)
	}
	if good.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBytes+1)); err != nil {
		return answer{}, fmt.Errorf("reading %s: %w", url, err)
	}
	if len(good.body) > maxBytes {
		return answer{}, fmt.Errorf("%s answered with more than %d bytes", url, maxBytes)
	}
	if len(good.etag) > maxETag {
		good.etag = ""
	}
	return good, nil
}

// maxAge reads how long an answer may be kept (RFC 9111 sections 5.2.2.1 and 5.1), within bounds: no issuer can make
// us hammer it or keep a withdrawn key for weeks.
func maxAge(h http.Header) time.Duration {
	age := defaultMaxAge
	for part := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), "=")
		switch name {
		case "no-store", "no-cache":
			return shortMaxAge
		case "max-age":
			age = seconds(strings.Trim(value, `"`), defaultMaxAge) - seconds(h.Get("Age"), 0)
		}
	}
	return min(max(age, shortMaxAge), longMaxAge)
}

// seconds reads delta-seconds; a number too large to hold means "very long" (RFC 9111 section 1.2.2).
func seconds(s string, otherwise time.Duration) time.Duration {
	n, err := strconv.ParseUint(s, 10, 31)
	if errors.Is(err, strconv.ErrRange) {
		return time.Duration(1<<31) * time.Second
	}
	if err != nil {
		return otherwise
	}
	return time.Duration(n) * time.Second
}

// backOff is how long to wait after the n-th failure in a row.
func backOff(failures int) time.Duration {
	d := lastBackOff
	if failures < 10 {
		d = min(firstBackOff<<max(failures-1, 0), lastBackOff)
	}
	return jitter(d)
}

// jitter spreads a delay by a tenth, so that a fleet started together does not fetch together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64())) //nolint:gosec // spreads load, guards nothing
}
