package gatehouse

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

const (
	streamsCloseAtExpiry = "close_at_expiry"

	// streamGrace is how long a request may go on once its token would be refused:
	// one that came at the last moment is still answered.
	streamGrace = 500 * time.Millisecond
)

func (g *Gatehouse) checkStreams() error {
	if g.Streams != "" && g.Streams != streamsCloseAtExpiry {
		return fmt.Errorf("streams: found %q; expected %s", g.Streams, streamsCloseAtExpiry)
	}
	return nil
}

// compileStreams returns nil where streams may outlast their tokens. A gate that
// only observes ends none.
func (g *Gatehouse) compileStreams(ctx caddy.Context, log *zap.Logger) *streamEnder {
	if g.Streams == "" || g.Observe {
		return nil
	}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		server.RegisterConnContext(rememberConn)
	}
	return &streamEnder{log: log, now: time.Now}
}

type connKey struct{}

// rememberConn makes a connection known to its requests. Each gate of a server
// registers it; the first one does it.
func rememberConn(ctx context.Context, conn net.Conn) context.Context {
	if ctx.Value(connKey{}) != nil {
		return ctx
	}
	return context.WithValue(ctx, connKey{}, conn)
}

// streamEnder ends exchanges that outlast the token they passed with. It sets no
// deadline on a connection that may serve another request: what it does to one
// ends it.
type streamEnder struct {
	log *zap.Logger
	now func() time.Time
}

// serve is next.ServeHTTP for a visitor. It costs one timer and no goroutine.
func (e *streamEnder) serve(w http.ResponseWriter, r *http.Request, id *identity, next caddyhttp.Handler) error {
	if e == nil || id == nil {
		return next.ServeHTTP(w, r)
	}
	s := &stream{streamEnder: e, w: w, major: r.ProtoMajor, before: r.Context(), began: e.now(), until: id.until.Add(streamGrace)}
	left := s.until.Sub(s.began)
	ctx, cancel := context.WithCancel(s.before)
	s.cancel = cancel
	// In place, as placeholders such as {http.request.method} read this very value.
	*r = *r.WithContext(ctx)
	if s.major == 3 {
		// Nothing but a deadline ends a write here. The stream is this request's
		// alone, so that nothing lingers.
		control := http.NewResponseController(w)
		s.deadline = time.Now().Add(left)
		_, _ = control.SetReadDeadline(s.deadline), control.SetWriteDeadline(s.deadline)
	}
	s.mu.Lock()
	s.timer = time.AfterFunc(left, s.end)
	s.mu.Unlock()
	defer s.release(r)
	return next.ServeHTTP(w, r)
}

// stream is one exchange while the next handler serves it.
type stream struct {
	*streamEnder
	w      http.ResponseWriter
	major  int             // version of HTTP
	before context.Context //nolint:containedctx // it is put back
	cancel context.CancelFunc
	began  time.Time
	until  time.Time

	deadline time.Time // of HTTP/3's stream

	mu       sync.Mutex
	timer    *time.Timer
	released bool
	ended    bool
	cut      bool // the client has noticed
}

// end runs when the time has come. Cancelling is what handlers listen to, and
// what releases an upstream; it looks like a client that left, so that no
// upstream is blamed. The client is cut off besides, whatever the handler does.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released {
		return
	}
	if left := s.until.Sub(s.now()); left > 0 { // the clock was set back
		s.timer.Reset(left)
		return
	}
	s.ended = true
	s.cancel()
	s.cut = s.cutOff()
}

// release gives the request back when the next handler is done with it. After it
// nothing touches the connection, which may serve the next request.
func (s *stream) release(r *http.Request) {
	s.mu.Lock()
	s.released = true
	s.timer.Stop()
	if !s.deadline.IsZero() && !time.Now().Before(s.deadline) {
		s.ended = true // by the deadline, which was faster than the timer
	}
	s.mu.Unlock()
	s.cancel()
	// Error routes come after us; what they ask is not over.
	*r = *r.WithContext(s.before)
	if !s.ended {
		return
	}
	s.record(r)
	if !s.cut {
		// A response cut short must not look complete.
		panic(http.ErrAbortHandler)
	}
}

func (s *stream) record(r *http.Request) {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	id, _ := repl.GetString("http.request.uuid")
	s.log.Info("stream ended with its token", zap.String("request_id", id), zap.String("proto", r.Proto),
		zap.Duration("duration", s.now().Sub(s.began)))
}

// cutOff ends the client's side of an exchange whose handler may be at work just
// now, and reports whether the client is sure to notice.
func (s *stream) cutOff() bool {
	switch s.major {
	case 1:
		conn, known := s.before.Value(connKey{}).(net.Conn)
		if known {
			_ = conn.Close() // it is closed whatever it says, and a hijacked one too
		}
		return known
	case 2:
		// A deadline in the past resets the stream at once.
		return http.NewResponseController(innermost(s.w)).SetWriteDeadline(s.began) == nil
	}
	return false
}

// innermost is the server's own writer. Those around it keep deadlines in fields
// that their handler's goroutine alone may touch.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = outer.Unwrap()
	}
}
