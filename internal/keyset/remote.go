package keyset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// MaxWait is how long a request waits for keys on their way.
const MaxWait = 2 * time.Second

const (
	maxWaiting  = 2048             // requests of one set that wait at the same time
	askInterval = 30 * time.Second // between refreshes that an unknown kid asked for
	maxAsks     = 2                // of one request: an attempt that was under way already may bring yesterday's keys
	minRetry    = time.Second
	maxRetry    = 30 * time.Second
)

var (
	errNotFetched = errors.New("the keys have not been fetched yet")
	errStale      = errors.New("the keys are older than max_stale")
	errUnsure     = errors.New("no key fits, but the keys could not be refreshed and may have changed")
	errTimeout    = errors.New("no keys within the time a request may wait")
	errCrowded    = errors.New("too many requests wait for the keys already")
)

// set is an immutable key set as it was at its last good fetch.
type set struct {
	keys       []token.Key
	parsed     []parsedKey
	prints     []string // sorted fingerprints
	uri        string
	fetchedAt  time.Time
	askedAt    time.Time // when the issuer was asked for it: what it did later is not in it
	generation uint64
}

func newSet(parsed []parsedKey, uri string, at time.Time) *set {
	s := &set{keys: keysOf(parsed), parsed: parsed, uri: uri, fetchedAt: at, askedAt: at}
	for _, k := range s.keys {
		s.prints = append(s.prints, fingerprint(k))
	}
	slices.Sort(s.prints)
	return s
}

func (s *set) keyIDs() []string {
	ids := make([]string, 0, len(s.keys))
	for _, k := range s.keys {
		ids = append(ids, k.ID())
	}
	return ids
}

// Remote is the key set of one issuer, fetched over HTTP. One goroutine fetches and stores; requests read a snapshot
// without a lock and wait only when the key they need may be on its way.
type Remote struct {
	opts Options
	set  atomic.Pointer[set] // nil until there were keys

	waiting atomic.Int64  // requests that wait
	wake    chan struct{} // a request asks for a refresh
	restock chan struct{} // there may be another store
	stopped chan struct{} // closed when the goroutine has ended

	mu       sync.Mutex // guards what follows
	started  bool
	closed   bool
	cancel   context.CancelFunc
	hosts    []*Host       // the last is the one to use
	underWay chan struct{} // closed at the end of the attempt under way or about to begin; nil between attempts
	next     time.Time     // of the next attempt
	lastAsk  time.Time
	lastErr  error
	failure  string // the last one
	failedAt time.Time
	fetches  uint64 // good attempts
	failed   uint64

	src         source // this and what follows belong to the goroutine
	failures    int
	lastWarning string
}

// NewRemote checks the options and makes a set without keys. It touches no network and starts nothing.
func NewRemote(o Options) (*Remote, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.MaxStale == 0 {
		o.MaxStale = defaultMaxStale
	}
	return &Remote{
		opts:     o,
		wake:     make(chan struct{}, 1),
		restock:  make(chan struct{}, 1),
		stopped:  make(chan struct{}),
		underWay: make(chan struct{}), // the first attempt is awaited even before Start
		src:      source{client: newClient(o.Transport), issuer: o.Issuer, fixed: o.URL},
	}, nil
}

// Start begins to fetch in the background, with the store and the log of h. Where it has begun already, only these
// change: a set outlives the configuration that started it, whose log is closed by then. A nil h lends nothing.
func (r *Remote) Start(h *Host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if h != nil {
		r.hosts = append(r.hosts, h)
	}
	if r.started {
		signal(r.restock)
		return
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	r.started = true
	go r.run(ctx)
}

// Close stops the goroutine and waits for it. Keys at hand still serve requests in flight until they are stale.
func (r *Remote) Close() error {
	r.mu.Lock()
	r.closed = true
	started, cancel := r.started, r.cancel
	r.mu.Unlock()
	if started {
		cancel()
		<-r.stopped
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release(nil)
	if r.opts.Transport == nil {
		r.src.client.CloseIdleConnections()
	}
	return nil
}

// Ready tells whether keys are at hand now, so that Key would not have to wait for the first ones.
func (r *Remote) Ready() bool { return r.current() != nil }

// Generation changes whenever the key material does; it is 0 before the first keys.
func (r *Remote) Generation() uint64 {
	if s := r.set.Load(); s != nil {
		return s.generation
	}
	return 0
}

// FetchedAt is the time of the last good fetch; zero before the first one.
func (r *Remote) FetchedAt() time.Time {
	if s := r.set.Load(); s != nil {
		return s.fetchedAt
	}
	return time.Time{}
}

// Status is what an operator wants to know of a set.
type Status struct {
	Issuer      string
	URL         string    // of the JWKS, once known
	Keys        []KeyInfo // in the issuer's order
	FetchedAt   time.Time // last good fetch
	NextAttempt time.Time
	LastError   string // of the last attempt; empty if it was good
	LastFailure string // of the last attempt that was not good, since the set was made
	Generation  uint64
	Stale       bool   // there were keys, but too long ago
	Fetches     uint64 // attempts that were good, since the set was made
	Failures    uint64 // attempts that were not

	LastFailureAt time.Time
}

// Status tells the state of the set. URLs in it, also those in errors, are without user-info and query: keys may be
// behind a password.
func (r *Remote) Status() Status {
	status := Status{Issuer: r.opts.Issuer, URL: r.opts.URL}
	if s := r.set.Load(); s != nil {
		status.URL, status.FetchedAt, status.Generation = s.uri, s.fetchedAt, s.generation
		status.Stale = r.stale(s)
		status.Keys = InfoOf(s.keys...)
	}
	status.URL = bareURL(status.URL)
	r.mu.Lock()
	defer r.mu.Unlock()
	status.NextAttempt, status.Fetches, status.Failures = r.next, r.fetches, r.failed
	status.LastFailure, status.LastFailureAt = r.failure, r.failedAt
	if r.lastErr != nil {
		status.LastError = r.failure
	}
	return status
}

// Find returns the one key that fits the query, if it is at hand.
func (r *Remote) Find(q token.Query) (token.Key, bool) {
	if s := r.current(); s != nil {
		return choose(s.keys, q)
	}
	return token.Key{}, false
}

// Key returns the one key that fits the query. It waits at most two seconds: for the first keys, or for one refresh,
// shared by all, when the kid is unknown. Where 2048 requests wait already it does not. Its errors are
// token.ErrNoSuchKey and *token.UnavailableError.
//
// "No such key" is said only on the issuer's own word, as of its last answer. Where the last attempt to ask it failed
// or is not over in time, its keys may have changed since, and a token that names a new one may be good: that is
// "unavailable". It costs no more than the other answer: when the issuer is asked, and who waits for that, does not depend
// on how the last attempt ended, so random kids sent during an outage cause no more of either.
func (r *Remote) Key(ctx context.Context, q token.Query) (token.Key, error) {
	s := r.current()
	if s != nil {
		if k, found := choose(s.keys, q); found {
			return k, nil
		}
	}
	begun := time.Now()
	var deadline <-chan time.Time
	for asked := 0; ; {
		var wait <-chan struct{}
		switch {
		case s == nil:
			wait = r.attempt()
		case asked < maxAsks && s.askedAt.Before(begun):
			wait = r.ask()
			asked++
		}
		if wait == nil {
			// A refresh may have ended since we looked.
			if s = r.current(); s != nil {
				if k, found := choose(s.keys, q); found {
					return k, nil
				}
			}
			return token.Key{}, r.refusal(s, nil)
		}
		if deadline == nil {
			if !r.enter() {
				return token.Key{}, r.refusal(s, errCrowded)
			}
			defer r.waiting.Add(-1)
			timer := time.NewTimer(MaxWait)
			defer timer.Stop()
			deadline = timer.C
		}
		select {
		case <-wait:
		case <-deadline:
			return token.Key{}, r.refusal(r.current(), errTimeout)
		case <-ctx.Done():
			return token.Key{}, r.unavailable(ctx.Err())
		}
		if s = r.current(); s != nil {
			if k, found := choose(s.keys, q); found {
				return k, nil
			}
		}
	}
}

// current is the set while it may serve. "I cannot check" is not "you are wrong": a stale set is no set.
func (r *Remote) current() *set {
	if s := r.set.Load(); s != nil && !r.stale(s) {
		return s
	}
	return nil
}

func (r *Remote) stale(s *set) bool { return time.Since(s.fetchedAt) > r.opts.MaxStale }

// refusal is the answer where no key fits. late says why the request waits no longer, if it would have to.
func (r *Remote) refusal(s *set, late error) error {
	r.mu.Lock()
	sure := s != nil && late == nil && r.lastErr == nil
	r.mu.Unlock()
	if sure {
		return token.ErrNoSuchKey
	}
	return r.unavailable(late)
}

func (r *Remote) unavailable(late error) error {
	s := r.set.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	reason := errUnsure
	switch {
	case s == nil:
		reason = errNotFetched
	case r.stale(s):
		reason = errStale
	}
	for _, also := range []error{late, r.lastErr} {
		if also != nil {
			reason = fmt.Errorf("%w: %w", reason, also)
		}
	}
	retry := MaxWait
	if r.underWay == nil {
		retry = (time.Until(r.next) + time.Second - 1).Truncate(time.Second)
	}
	return &token.UnavailableError{RetryAfter: min(max(retry, minRetry), maxRetry), Err: reason}
}

// attempt returns what to wait for when an attempt is under way, else nil.
func (r *Remote) attempt() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.underWay
}

// ask joins the attempt under way or asks for one. It returns nil when an unknown kid asked too short a time ago, so
// that random kids cannot make us a flood of fetches; nothing of the kid is remembered.
func (r *Remote) ask() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.underWay != nil {
		return r.underWay
	}
	if r.closed || (!r.lastAsk.IsZero() && time.Since(r.lastAsk) < askInterval) {
		return nil
	}
	r.lastAsk = time.Now()
	r.underWay = make(chan struct{})
	signal(r.wake)
	return r.underWay
}

// enter lets a request wait, unless as many as may do so already: an issuer that hangs must not make us hold every
// request that a flood of tokens can open.
func (r *Remote) enter() bool {
	if r.waiting.Add(1) > maxWaiting {
		r.waiting.Add(-1)
		return false
	}
	return true
}

// release lets all waiting requests look again and announces what they may wait for next. It needs the lock.
func (r *Remote) release(next chan struct{}) {
	if r.underWay != nil {
		close(r.underWay)
	}
	r.underWay = next
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
