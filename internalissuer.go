package gatehouse

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

const (
	// internalKeyName is where Caddy's storage keeps the built-in issuer's key.
	internalKeyName = "gatehouse/issuer/internal.key"
	internalKeyLock = "gatehouse_issuer_internal"

	internalKeyWait  = 2 * time.Second
	internalKeyRetry = 5 * time.Second
)

// internalKey is the public key of `issuer internal`, as soon as it is there.
type internalKey struct {
	key    atomic.Pointer[token.Key]
	failed atomic.Pointer[keyFailure]
	loaded chan struct{}
	done   chan struct{}
}

// keyFailure is why there is no key, or was none at first.
type keyFailure struct {
	err error
	at  time.Time
}

func newInternalKey() *internalKey {
	return &internalKey{loaded: make(chan struct{}), done: make(chan struct{})}
}

// start loads the key, or makes it, until ctx ends.
func (k *internalKey) start(ctx context.Context, storage certmagic.Storage, log *zap.Logger) {
	go func() {
		defer close(k.done)
		for {
			private, err := loadOrMakeInternalKey(ctx, storage)
			if err == nil {
				err = k.set(private)
			}
			if err == nil || ctx.Err() != nil {
				return
			}
			k.failed.Store(&keyFailure{err, time.Now()})
			log.Error("the key of issuer internal cannot be had; its tokens are answered 503 until it can", zap.Error(err))
			select {
			case <-ctx.Done():
				return
			case <-time.After(internalKeyRetry):
			}
		}
	}()
}

func (k *internalKey) wait() { <-k.done }

func (k *internalKey) set(private ed25519.PrivateKey) error {
	key, err := publicInternalKey(private)
	if err != nil {
		return err
	}
	k.key.Store(&key)
	close(k.loaded)
	return nil
}

// Ready reports whether the key is at hand.
func (k *internalKey) Ready() bool { return k.key.Load() != nil }

// Generation is constant: the key is made once.
func (k *internalKey) Generation() uint64 { return 1 }

// Key implements token.Keys.
func (k *internalKey) Key(ctx context.Context, q token.Query) (token.Key, error) {
	key := k.key.Load()
	if key == nil {
		timeout := time.NewTimer(internalKeyWait)
		defer timeout.Stop()
		select {
		case <-k.loaded:
			key = k.key.Load()
		case <-timeout.C:
			return token.Key{}, &token.UnavailableError{RetryAfter: internalKeyRetry}
		case <-ctx.Done():
			return token.Key{}, &token.UnavailableError{RetryAfter: internalKeyRetry, Err: ctx.Err()}
		}
	}
	found, ok := token.Select([]token.Key{*key}, q)
	if !ok {
		return token.Key{}, token.ErrNoSuchKey
	}
	return found, nil
}

func publicInternalKey(private ed25519.PrivateKey) (token.Key, error) {
	spec := token.KeySpec{Material: private.Public(), Algorithms: []string{"EdDSA"}}
	key, err := token.NewKey(spec)
	if err != nil {
		return token.Key{}, err
	}
	spec.ID = key.Thumbprint()
	return token.NewKey(spec)
}

// loadOrMakeInternalKey is for the running server. A lock in the storage keeps
// a fleet that shares it to one key.
func loadOrMakeInternalKey(ctx context.Context, storage certmagic.Storage) (ed25519.PrivateKey, error) {
	private, err := loadInternalKey(ctx, storage)
	if !errors.Is(err, fs.ErrNotExist) {
		return private, err
	}
	if err := storage.Lock(ctx, internalKeyLock); err != nil {
		return nil, fmt.Errorf("locking the storage: %w", err)
	}
	defer func() { _ = storage.Unlock(context.WithoutCancel(ctx), internalKeyLock) }()

	private, err = loadInternalKey(ctx, storage)
	if !errors.Is(err, fs.ErrNotExist) {
		return private, err
	}
	_, private, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return private, storage.Store(ctx, internalKeyName, data)
}

// loadInternalKey returns fs.ErrNotExist where there is none yet.
func loadInternalKey(ctx context.Context, storage certmagic.Storage) (ed25519.PrivateKey, error) {
	data, err := storage.Load(ctx, internalKeyName)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s in the storage holds no PEM block", internalKeyName)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s in the storage: %w", internalKeyName, err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s in the storage holds a %T; expected an Ed25519 key", internalKeyName, parsed)
	}
	return private, nil
}

// mint signs claims as the built-in issuer (RFC 7519, RFC 8037).
func mint(private ed25519.PrivateKey, claims map[string]any) (string, error) {
	key, err := publicInternalKey(private)
	if err != nil {
		return "", err
	}
	header, err := json.Marshal(map[string]string{"alg": "EdDSA", "typ": "at+jwt", "kid": key.ID()})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	input := encode(header) + "." + encode(payload)
	return input + "." + encode(ed25519.Sign(private, []byte(input))), nil
}
