package keyset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// run is the one goroutine of a Remote.
func (r *Remote) run(ctx context.Context) {
	defer close(r.stopped)
	r.restore(ctx)
	for ctx.Err() == nil {
		r.sleep(ctx, r.refresh(ctx))
	}
}

// sleep waits for the next attempt: at its time, or earlier because a request asks.
func (r *Remote) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-r.wake:
			return
		case <-r.restock:
			if r.set.Load() == nil {
				r.restore(ctx)
			} else {
				r.persist(ctx)
			}
		}
	}
}

// refresh makes one attempt to fetch the set, lets go of those who wait for it, and returns the time to the next one.
func (r *Remote) refresh(ctx context.Context) time.Duration {
	r.mu.Lock()
	if r.underWay == nil {
		r.underWay = make(chan struct{})
	}
	select {
	case <-r.wake: // asked for just as the time came: one attempt answers both
	default:
	}
	r.mu.Unlock()

	var wait time.Duration
	err := guard(func() (err error) { wait, err = r.fetch(ctx); return err })
	if ctx.Err() != nil {
		return 0
	}
	if err != nil {
		err = redactedError{err, Redact(err.Error(), r.opts.URL, r.src.uri)}
		r.failures++
		wait = backOff(r.failures)
		r.log().Warn("cannot refresh the keys", zap.Error(err), zap.Duration("next_attempt", wait), zap.Bool("keys_at_hand", r.Ready()))
	} else if r.failures > 0 {
		r.log().Info("the keys can be fetched again", zap.Int("failures", r.failures))
		r.failures = 0
	}

	r.mu.Lock()
	r.lastErr, r.next = err, time.Now().Add(wait)
	if err == nil {
		r.fetches++
	} else {
		r.failed++
		r.failure, r.failedAt = err.Error(), time.Now()
	}
	r.release(nil)
	r.mu.Unlock()
	if err == nil {
		r.persist(ctx)
	}
	return wait
}

// fetch gets the set and publishes it, whole or not at all, and tells when to come back.
func (r *Remote) fetch(ctx context.Context) (time.Duration, error) {
	old, asked := r.set.Load(), time.Now()
	a, err := r.src.fetch(ctx, old != nil)
	if errors.Is(err, errNotModified) {
		again := *old
		again.fetchedAt, again.askedAt = time.Now(), asked
		r.set.Store(&again)
		return r.refreshAfter(a.maxAge), nil
	}
	if err != nil {
		return 0, err
	}
	parsed, warnings, err := parseSet(a.body)
	if err != nil {
		r.src.foundAt = time.Time{}
		return 0, fmt.Errorf("%s: %w", r.src.uri, err)
	}
	warning := strings.Join(warnings, "; ")
	if warning != "" && warning != r.lastWarning { // once, not after each refresh
		r.log().Warn("keys of the issuer are left out", zap.String("url", bareURL(r.src.uri)), zap.String("reason", warning))
	}
	r.lastWarning = warning
	r.src.etag = a.etag
	fetched := newSet(parsed, r.src.uri, time.Now())
	fetched.askedAt = asked
	r.publish(fetched)
	return r.refreshAfter(a.maxAge), nil
}

// publish makes a good set the one that requests read, with a new generation if its keys are not the same.
func (r *Remote) publish(s *set) {
	old := r.set.Load()
	switch {
	case old == nil:
		s.generation = 1
	case slices.Equal(old.prints, s.prints):
		s.generation = old.generation
	default:
		s.generation = old.generation + 1
	}
	r.set.Store(s)
	if old == nil || old.generation != s.generation {
		r.log().Info("the keys of the issuer are at hand", zap.String("url", bareURL(s.uri)),
			zap.Strings("kids", s.keyIDs()), zap.Uint64("generation", s.generation))
	}
}

// refreshAfter comes back before the set ages, and well before max_stale, which counts from a fetch that did happen.
func (r *Remote) refreshAfter(maxAge time.Duration) time.Duration {
	return max(min(jitter(maxAge*8/10), r.opts.MaxStale/2), time.Second)
}

// restore brings back the last good set, so that a restart during an outage of the issuer still serves.
func (r *Remote) restore(ctx context.Context) {
	store, log := r.host()
	if store == nil {
		return
	}
	var s *set
	err := guard(func() (err error) { s, err = load(ctx, store, r.opts); return err })
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			log.Warn("the stored keys are not used", zap.Error(err))
		}
		return
	}
	r.publish(s)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.underWay != nil {
		r.release(make(chan struct{})) // a fetch follows at once
	}
}

func (r *Remote) persist(ctx context.Context) {
	store, log := r.host()
	good := r.set.Load()
	if store == nil || good == nil {
		return
	}
	if err := guard(func() error { return save(ctx, store, r.opts, good) }); err != nil && ctx.Err() == nil {
		log.Warn("cannot store the keys; a restart while the issuer is out of reach will not have them", zap.Error(err))
	}
}

// guard turns a panic into an error: this goroutine runs the code of stores and parsers, and its panic would end the
// whole server.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}
