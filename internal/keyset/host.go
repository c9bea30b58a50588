package keyset

import (
	"slices"

	"go.uber.org/zap"
)

// Host is what a running configuration lends to the sets that it uses.
type Host struct {
	Store Store       // keeps the last good set; nil: it is not kept
	Log   *zap.Logger // nil: no log
}

// Leave takes back what h lent. A configuration that failed to load is gone, and its log and store with it, while the
// one before goes on: what that one lent is in use again.
func (r *Remote) Leave(h *Host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.hosts) > 0 && r.hosts[len(r.hosts)-1] == h
	r.hosts = slices.DeleteFunc(r.hosts, func(other *Host) bool { return other == h })
	if last && len(r.hosts) > 0 {
		signal(r.restock)
	}
}

// host returns the store, which may be nil, and the log to use now.
func (r *Remote) host() (Store, *zap.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var h Host
	if n := len(r.hosts); n > 0 {
		h = *r.hosts[n-1]
	}
	if h.Log == nil {
		return h.Store, zap.NewNop()
	}
	return h.Store, h.Log.With(zap.String("issuer", r.opts.Issuer))
}

func (r *Remote) log() *zap.Logger {
	_, log := r.host()
	return log
}
