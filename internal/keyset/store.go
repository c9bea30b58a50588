package keyset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	storeTimeout = 2 * time.Second
	clockSkew    = 5 * time.Minute // between servers that share a store
)

// Store keeps the last good set of each issuer across restarts. Load's error for a name that was never saved is
// fs.ErrNotExist. Both must give up when their context ends; they are called one at a time, from the background.
type Store interface {
	Load(ctx context.Context, name string) ([]byte, error)
	Save(ctx context.Context, name string, data []byte) error
}

// record is a JWKS (RFC 7517 section 5 lets it have more members) that says whose it is and when it was good.
type record struct {
	Issuer    string           `json:"issuer"`
	URL       string           `json:"url"`
	JWKSURI   string           `json:"jwks_uri"`
	FetchedAt time.Time        `json:"fetched_at"`
	Keys      []jsontext.Value `json:"keys"`
}

func storeName(o Options) string {
	sum := sha256.Sum256([]byte(o.Issuer + "|" + o.URL))
	return "gatehouse/keys/" + hex.EncodeToString(sum[:]) + ".json"
}

// load reads the last good set back. What a store gives is foreign: it must be a set of this very configuration,
// young enough, and its keys pass the parser again.
func load(ctx context.Context, s Store, o Options) (*set, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	data, err := s.Load(ctx, storeName(o))
	if errors.Is(err, fs.ErrNotExist) || (err == nil && len(data) == 0) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	return decodeRecord(data, o)
}

func decodeRecord(data []byte, o Options) (*set, error) {
	parsed, _, err := parseSet(data)
	if err != nil {
		return nil, err
	}
	doc, err := object(trim(data))
	if err != nil {
		return nil, err
	}
	var members [4]string
	for i, name := range []string{"issuer", "url", "jwks_uri", "fetched_at"} {
		if members[i], err = text(doc[name]); err != nil {
			return nil, fmt.Errorf("its %s is %w", name, err)
		}
	}
	if members[0] != o.Issuer || members[1] != o.URL || (o.URL != "" && members[2] != o.URL) {
		return nil, errors.New("it belongs to another issuer or URL")
	}
	at, err := time.Parse(time.RFC3339Nano, members[3])
	if err != nil {
		return nil, errors.New("its fetched_at is not a time (RFC 3339)")
	}
	switch age := time.Since(at); {
	case age < -clockSkew:
		return nil, errors.New("it comes from the future")
	case age < 0:
		at = time.Now()
	case age > o.MaxStale:
		return nil, fmt.Errorf("it is older than max_stale (%s)", o.MaxStale)
	}
	return newSet(parsed, members[2], at), nil
}

func save(ctx context.Context, s Store, o Options, good *set) error {
	r := record{Issuer: o.Issuer, URL: o.URL, JWKSURI: good.uri, FetchedAt: good.fetchedAt.UTC()}
	r.Keys = make([]jsontext.Value, 0, len(good.parsed))
	for _, p := range good.parsed {
		r.Keys = append(r.Keys, p.jwk)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return s.Save(ctx, storeName(o), data)
}
