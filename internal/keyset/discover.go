package keyset

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const metadataLifetime = 24 * time.Hour

// source knows where an issuer's JWKS is and what it answered last. Only the goroutine of its Remote uses it.
type source struct {
	client *http.Client
	issuer string
	fixed  string // the configured JWKS URL; empty: discovery

	uri     string // where the JWKS is
	foundAt time.Time
	etag    string // of the last good answer from uri
}

// fetch gets the JWKS, after its address where that is not known or a day old. conditional allows a 304 in answer.
func (s *source) fetch(ctx context.Context, conditional bool) (answer, error) {
	a, err := s.fetchFrom(ctx, conditional)
	if err != nil && !errors.Is(err, errNotModified) {
		s.foundAt = time.Time{} // the issuer may have moved: ask its metadata again
	}
	return a, err
}

func (s *source) fetchFrom(ctx context.Context, conditional bool) (answer, error) {
	if s.fixed != "" {
		s.uri = s.fixed
	} else if s.foundAt.IsZero() || time.Since(s.foundAt) >= metadataLifetime {
		uri, err := discover(ctx, s.client, s.issuer)
		if err != nil {
			return answer{}, err
		}
		if uri != s.uri {
			s.etag = ""
		}
		s.uri, s.foundAt = uri, time.Now()
	}
	etag := s.etag
	if !conditional {
		etag = ""
	}
	return get(ctx, s.client, s.uri, etag)
}

// metadataURLs are the two places of an issuer's metadata: OpenID Connect Discovery 1.0 section 4 appends to the path,
// RFC 8414 section 3.1 inserts before it. Both take the final slash off first.
func metadataURLs(issuer string) ([]string, error) {
	u, err := checkURL(issuer)
	if err != nil {
		return nil, err
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	base := (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
	return []string{
		base + path + "/.well-known/openid-configuration",
		base + "/.well-known/oauth-authorization-server" + path,
	}, nil
}

// discover asks the issuer's metadata for its jwks_uri.
func discover(ctx context.Context, client *http.Client, issuer string) (string, error) {
	places, err := metadataURLs(issuer)
	if err != nil {
		return "", err
	}
	var failures []error
	for _, place := range places {
		a, err := get(ctx, client, place, "")
		if err == nil {
			var uri string
			if uri, err = readMetadata(a.body, issuer, place); err == nil {
				return uri, nil
			}
			err = fmt.Errorf("metadata %s: %w", place, err)
		}
		failures = append(failures, err)
		var unreachable *url.Error
		if errors.As(err, &unreachable) && !errors.Is(err, errRedirect) {
			break // the same host will not be reached a second time
		}
	}
	return "", errors.Join(failures...)
}

// readMetadata takes jwks_uri from a metadata document that names exactly this issuer: RFC 8414 section 3.3 demands
// it, or one tenant of a shared host could speak for another.
func readMetadata(body []byte, issuer, place string) (string, error) {
	doc, err := object(trim(body))
	if err != nil {
		return "", err
	}
	if named, err := text(doc["issuer"]); err != nil || named != issuer {
		return "", fmt.Errorf("it names the issuer %s, expected %s, byte for byte", quoted(named), quoted(issuer))
	}
	uri, err := text(doc["jwks_uri"])
	if err != nil {
		return "", errors.New("it has no jwks_uri")
	}
	u, err := checkURL(uri)
	if err != nil {
		return "", fmt.Errorf("jwks_uri: %w", err)
	}
	if u.Scheme == "http" && strings.HasPrefix(place, "https:") {
		return "", errors.New("jwks_uri: from https to plain http")
	}
	return uri, nil
}
