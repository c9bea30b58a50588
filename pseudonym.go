package gatehouse

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

const (
	// pseudonymKeyName is where Caddy's storage keeps the key of the day.
	pseudonymKeyName = "gatehouse/privacy/pseudonym.json"
	pseudonymKeyLock = "gatehouse_privacy_pseudonym"

	// pseudonymRetry is how long a day's key may be late.
	pseudonymRetry = time.Minute
)

var errPseudonymAhead = errors.New("the key in the storage is tomorrow's: the clock of another server is ahead")

// pseudonyms stand for persons in logs. One person has the same name all day
// (UTC), on all servers that share the storage. The key is replaced each day
// and the old one is gone then: nobody can find out any more who it was.
type pseudonyms struct {
	key  atomic.Pointer[dayKey]
	now  func() time.Time
	done chan struct{}
}

type dayKey struct {
	Day string `json:"day"`
	Key []byte `json:"key"`
}

func newPseudonyms(now func() time.Time) *pseudonyms {
	return &pseudonyms{now: now, done: make(chan struct{})}
}

// of is the pseudonym of what the parts name; empty while there is no key.
func (p *pseudonyms) of(kind string, parts ...string) string {
	key := p.key.Load()
	if key == nil || key.Day != dayOf(p.now()) || len(parts) > 0 && parts[len(parts)-1] == "" {
		return ""
	}
	mac := hmac.New(sha256.New, key.Key)
	for _, part := range append([]string{kind}, parts...) {
		mac.Write(binary.AppendUvarint(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// start keeps the key of the day at hand until ctx ends.
func (p *pseudonyms) start(ctx context.Context, storage certmagic.Storage, log *zap.Logger) {
	go func() {
		defer close(p.done)
		for {
			if err := p.renew(ctx, storage); err != nil && ctx.Err() == nil {
				log.Error("the key for pseudonyms cannot be had; records name no subject until it can", zap.Error(err))
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(pseudonymRetry, untilTomorrow(p.now()))):
			}
		}
	}()
}

func (p *pseudonyms) wait() { <-p.done }

// renew makes sure of today's key.
func (p *pseudonyms) renew(ctx context.Context, storage certmagic.Storage) error {
	now := p.now()
	if key := p.key.Load(); key != nil && key.Day == dayOf(now) {
		return nil
	}
	p.key.Store(nil)
	key, err := loadOrMakeDayKey(ctx, storage, now)
	if err == nil {
		p.key.Store(key)
	}
	return err
}

// loadOrMakeDayKey is for the running server. A lock in the storage keeps a
// fleet that shares it to one key.
func loadOrMakeDayKey(ctx context.Context, storage certmagic.Storage, now time.Time) (*dayKey, error) {
	key, err := loadDayKey(ctx, storage, now)
	if key != nil || err != nil {
		return key, err
	}
	if err := storage.Lock(ctx, pseudonymKeyLock); err != nil {
		return nil, fmt.Errorf("locking the storage: %w", err)
	}
	defer func() { _ = storage.Unlock(context.WithoutCancel(ctx), pseudonymKeyLock) }()

	if key, err = loadDayKey(ctx, storage, now); key != nil || err != nil {
		return key, err
	}
	key = &dayKey{Day: dayOf(now), Key: make([]byte, sha256.Size)}
	_, _ = rand.Read(key.Key) // never fails
	data, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	return key, storage.Store(ctx, pseudonymKeyName, data)
}

// loadDayKey returns nil where there is no key for today yet. One that cannot be
// read is worth nothing and is replaced; so is one of a day that nobody's clock
// can mean.
func loadDayKey(ctx context.Context, storage certmagic.Storage, now time.Time) (*dayKey, error) {
	data, err := storage.Load(ctx, pseudonymKeyName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key := new(dayKey)
	if json.Unmarshal(data, key) != nil || len(key.Key) != sha256.Size {
		return nil, nil //nolint:nilerr // that there is none is the answer
	}
	switch key.Day {
	case dayOf(now):
		return key, nil
	case dayOf(now.Add(24 * time.Hour)):
		return nil, errPseudonymAhead
	}
	return nil, nil
}

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func untilTomorrow(now time.Time) time.Duration {
	return now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now)
}
