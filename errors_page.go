package gatehouse

import (
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-gatehouse/gatehouse/internal/page"
)

// varyOn lists what the choice of a body depends on, so that no cache hands one
// client's answer to another.
const varyOn = "Accept, Accept-Language, Sec-Fetch-Mode, Sec-Fetch-Dest, X-Requested-With, HX-Request"

// teller turns a refusal into a response. Nothing else in the module writes one.
type teller struct {
	log     *zap.Logger
	pages   *page.Pages
	detail  string
	queries []string // parameters that carry tokens
	cors    *crossOrigin
	formats formats
	framed  bool       // some other site may show the pages in a frame
	buffers *sync.Pool // of *[]byte
	now     func() time.Time

	challenge challenger
	onRefusal string
	privacy   privacy
	outages   *outages
	events    *emitter        // nil: nobody is told
	recent    *recentRefusals // nil: none are kept
}

func newTeller(log *zap.Logger, pages *page.Pages, challenge challenger, detail string, sources tokenSources) *teller {
	t := &teller{log: log, pages: pages, challenge: challenge, detail: detail, now: time.Now}
	for i := range sources {
		if sources[i].From == fromQuery {
			t.queries = append(t.queries, sources[i].Name)
		}
	}
	return t
}

// refuse answers r with the refusal, or returns the error by which the server
// answers it.
func (t *teller) refuse(w http.ResponseWriter, r *http.Request, no *refusal) (err error) {
	defer func() {
		if p := recover(); p != nil {
			// Not an error for the server: an error route with a file server would
			// answer with the protected file.
			t.log.Error("panic while refusing; the refusal has no body", t.privacy.panicked(p), zap.ByteString("stack", debug.Stack()))
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusInternalServerError)
			err = nil
		}
	}()
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	id := requestID(r)
	t.markAccessLog(r, no)
	t.record(r, no)
	t.emit(r, no)
	if no.code == codeHidden {
		// For gRPC too: a status in trailers would tell it from what is missing.
		// No placeholders: neither may an error route that tells them.
		t.cors.allow(w.Header(), r) // as for all that passes
		return notFound(w, r, no.standIn)
	}
	repl.Set("http.gatehouse.code", string(no.code))
	repl.Set("http.gatehouse.rule", t.privacy.rule(no.rule))
	repl.Set("http.gatehouse.request_id", id)
	kind := page.Choose(r.Header, isUpgrade(r), t.formats.find(r))
	if t.onRefusal == onRefusalError && kind != page.GRPC {
		return t.fail(w, r, no)
	}
	t.write(w, r, no, id, kind)
	return nil
}

// notFound sends the request the site's own way for what does not exist. The
// path goes too: an error route with a file server would find the hidden file.
// What takes its place is near by, for error routes may go by path.
func notFound(w http.ResponseWriter, r *http.Request, standIn string) error {
	r.URL.Path, r.URL.RawPath = standIn, ""
	// The server restores the original request for its error routes. The URL
	// is shared with the one it keeps.
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && orig.URL != nil {
		orig.URL.Path, orig.URL.RawPath = r.URL.Path, ""
	}
	keepFromCaches(w.Header())
	return caddyhttp.Error(http.StatusNotFound, nil)
}

// write sends headers and body.
func (t *teller) write(w http.ResponseWriter, r *http.Request, no *refusal, id string, kind page.Body) {
	effect := t.challenge.effect(no.code)
	lang := t.pages.Language(r.Header.Get("Accept-Language"))

	h := &headerBlock{header: w.Header()}
	t.setHeaders(h, r, no, effect)
	if kind == page.GRPC {
		writeGRPC(w, no, effect)
		return
	}

	told := t.told(r, no, id, kind)
	if kind == page.HTML && t.redirect(w, r, &told, lang) {
		return
	}
	t.send(w, r, h, told, kind, lang)
}

// send writes status and body, and the headers that go with the body.
func (t *teller) send(w http.ResponseWriter, r *http.Request, h *headerBlock, told page.Refusal, kind page.Body, lang string) {
	buf, _ := t.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer t.buffers.Put(buf)
	body, csp, err := t.pages.Render((*buf)[:0], kind, lang, r.Host, told)
	if err != nil {
		t.log.Error("rendering a refusal; it is sent without a body", zap.Error(err))
		body, csp = nil, ""
	}
	*buf = body[:0]
	if kind == page.HTML {
		h.set("Content-Security-Policy", csp)
		if !t.framed {
			h.set("X-Frame-Options", "DENY")
		}
	}
	delete(h.header, "Content-Type")
	if contentType := kind.ContentType(); contentType != "" && len(body) > 0 {
		h.set("Content-Type", contentType)
	}
	h.set("Content-Language", lang)
	h.set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(told.Status)
	if r.Method != http.MethodHead {
		// A client that went away has no use for the error.
		_, _ = w.Write(body) //nolint:gosec // G705: internal/page escapes all that it reflects, and its tests attack that
	}
}

// told is the refusal as the page package is told of it.
func (t *teller) told(r *http.Request, no *refusal, id string, kind page.Body) page.Refusal {
	effect := t.challenge.effect(no.code)
	told := page.Refusal{
		Status: effect.status, Code: string(no.code),
		Error: effect.oauthError, ErrorDescription: effect.oauthText,
		RequestID: id, Time: t.now(), RetryAfter: no.retryAfter,
		Message: no.message, Params: t.tell(no), Method: originalMethod(r),
		ACRValues: strings.Join(no.acr, " "),
	}
	if no.maxAge > 0 {
		told.MaxAge = strconv.Itoa(int(no.maxAge / time.Second))
	}
	if kind == page.HTML {
		told.ReturnTo = page.ReturnTo(originalMethod(r), originalURI(r), t.queries)
		if addr := clientAddress(r); no.code == codeAddressDenied && addr.IsValid() && told.Params == nil {
			told.Address = addr.String()
		}
	}
	t.privacy.restrain(&told)
	return told
}

// setHeaders sets what a refusal carries whatever its body is.
func (t *teller) setHeaders(h *headerBlock, r *http.Request, no *refusal, e effect) {
	t.setCommon(h)
	t.cors.tellRefusal(h.header, r, no.code)
	if e.challenge {
		h.set("Www-Authenticate", t.challenge.header(no, e))
	}
	if no.retryAfter > 0 {
		h.set("Retry-After", strconv.Itoa(seconds(no.retryAfter)))
	}
}

// setCommon sets what every refusal carries, and removes what earlier handlers
// meant for a response of their own: what describes its bytes, what would lead
// away from ours, and what is for caches.
func (t *teller) setCommon(h *headerBlock) {
	for _, name := range [...]string{
		"Accept-Ranges", "Age", "Content-Digest", "Content-Disposition", "Content-Encoding", "Content-Length", "Content-Md5", "Content-Range",
		"Content-Security-Policy-Report-Only", "Digest", "Etag", "Last-Modified", "Link", "Location", "Refresh", "Repr-Digest", "Retry-After", "Www-Authenticate",
	} {
		delete(h.header, name)
	}
	dropCaching(h.header)
	h.set("Cache-Control", "no-store")
	h.set("Vary", varyOn)
	h.set("X-Content-Type-Options", "nosniff")
	h.set("Referrer-Policy", "same-origin")
	h.set("X-Robots-Tag", "noindex, nofollow")
}

// dropCaching removes what some caches obey before Cache-Control: CDNs the
// fields that are named for them (RFC 9213), nginx its own.
func dropCaching(h http.Header) {
	for _, name := range [...]string{"Edge-Control", "Expires", "Pragma", "Surrogate-Control", "X-Accel-Expires"} {
		delete(h, name)
	}
	for name := range h {
		if strings.HasSuffix(name, "-Cache-Control") {
			delete(h, name)
		}
	}
}

// keepFromCaches is for a 404 that the site's error routes answer.
func keepFromCaches(h http.Header) {
	dropCaching(h)
	h.Set("Cache-Control", "no-store")
}

// headerBlock sets header fields from one piece of memory: http.Header.Set
// takes one for each field, a dozen for each refusal.
type headerBlock struct {
	header http.Header
	values [12]string
	used   int
}

// set takes names in their canonical spelling alone.
func (b *headerBlock) set(name, value string) {
	if b.used == len(b.values) {
		b.header[name] = []string{value}
		return
	}
	b.values[b.used] = value
	b.header[name] = b.values[b.used : b.used+1 : b.used+1] // who appends gets memory of their own
	b.used++
}

// writeGRPC answers in trailers alone: gRPC carries its status there, and HTTP
// is always 200.
func writeGRPC(w http.ResponseWriter, no *refusal, e effect) {
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", strconv.Itoa(page.GRPCStatus(e.status, false)))
	h.Set("Grpc-Message", page.GRPCMessage(string(no.code)))
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}

// tell gives the page what it may say about what is missing.
func (t *teller) tell(no *refusal) map[string]string {
	switch {
	case t.detail == detailFull, t.detail == detailRole && no.code == codeRoleMissing:
		return no.lacks
	}
	return nil
}

func originalMethod(r *http.Request) string {
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return orig.Method
	}
	return r.Method
}

func originalURI(r *http.Request) string {
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return orig.RequestURI
	}
	return r.RequestURI
}

// originalPath is the path that the client asked for.
func originalPath(r *http.Request) string {
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && orig.URL != nil {
		return orig.URL.Path
	}
	return r.URL.Path
}

// seconds rounds up: a client that comes back early is refused again.
func seconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}
