package gatehouse

import (
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
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
	now     func() time.Time

	challenge string // the challenge where no credential came
}

func newTeller(log *zap.Logger, pages *page.Pages, realm, detail string, sources tokenSources) *teller {
	t := &teller{log: log, pages: pages, detail: detail, now: time.Now}
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm)
	t.challenge = `Bearer realm="` + quoted + `"`
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
			t.log.Error("panic while refusing; the refusal has no body", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusInternalServerError)
			err = nil
		}
	}()
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	id, _ := repl.GetString("http.request.uuid")
	if id == "" {
		id = uuid.NewString()
	}
	repl.Set("http.gatehouse.code", string(no.code))
	repl.Set("http.gatehouse.rule", no.rule.name)
	repl.Set("http.gatehouse.request_id", id)
	t.record(r, no, id)

	if no.code == codeHidden {
		// For gRPC too: a status in trailers would tell it from what is missing.
		return notFound(w, r, id)
	}
	t.write(w, r, no, id, page.Choose(r.Header, isUpgrade(r), page.Auto))
	return nil
}

// notFound sends the request the site's own way for what does not exist. The
// path goes too: an error route with a file server would find the hidden file.
func notFound(w http.ResponseWriter, r *http.Request, id string) error {
	r.URL.Path, r.URL.RawPath = "/"+id, ""
	// The server restores the original request for its error routes. The URL
	// is shared with the one it keeps.
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && orig.URL != nil {
		orig.URL.Path, orig.URL.RawPath = r.URL.Path, ""
	}
	w.Header().Set("Cache-Control", "no-store")
	return caddyhttp.Error(http.StatusNotFound, nil)
}

// write sends headers and body.
func (t *teller) write(w http.ResponseWriter, r *http.Request, no *refusal, id string, kind page.Body) {
	effect := no.code.effect()
	lang := t.pages.Language(r.Header.Get("Accept-Language"))

	h := w.Header()
	t.setHeaders(h, no, effect)
	if kind == page.GRPC {
		writeGRPC(w, no, effect)
		return
	}

	told := page.Refusal{
		Status: effect.status, Code: string(no.code),
		Error: effect.oauthError, ErrorDescription: effect.oauthText,
		RequestID: id, Time: t.now(), RetryAfter: no.retryAfter,
		Message: no.message, Params: t.tell(no), Method: originalMethod(r),
	}
	if kind == page.HTML {
		told.ReturnTo = page.ReturnTo(originalMethod(r), originalURI(r), t.queries)
	}
	body, csp, err := t.pages.Render(nil, kind, lang, r.Host, told)
	if err != nil {
		t.log.Error("rendering a refusal; it is sent without a body", zap.Error(err))
		body, csp = nil, ""
	}
	if kind == page.HTML {
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Frame-Options", "DENY")
	}
	h.Del("Content-Type")
	if contentType := kind.ContentType(); contentType != "" && len(body) > 0 {
		h.Set("Content-Type", contentType)
	}
	h.Set("Content-Language", lang)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(effect.status)
	if r.Method != http.MethodHead {
		// A client that went away has no use for the error.
		_, _ = w.Write(body) //nolint:gosec // G705: internal/page escapes all that it reflects, and its tests attack that
	}
}

// setHeaders sets what every refusal carries, and removes what earlier
// handlers meant for a response of their own.
func (t *teller) setHeaders(h http.Header, no *refusal, e effect) {
	for _, name := range []string{"Etag", "Last-Modified", "Content-Encoding", "Expires", "Www-Authenticate", "Retry-After", "Location"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", varyOn)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	if e.challenge {
		h.Set("WWW-Authenticate", t.challengeFor(no, e))
	}
	if no.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds(no.retryAfter)))
	}
}

func (t *teller) challengeFor(no *refusal, e effect) string {
	if e.oauthError == "" {
		return t.challenge
	}
	text := t.challenge + `, error="` + e.oauthError + `", error_description="` + e.oauthText + `"`
	// RFC 9470, section 3: what the new sign-in must be.
	if no.maxAge > 0 {
		text += `, max_age="` + strconv.Itoa(int(no.maxAge/time.Second)) + `"`
	}
	if len(no.acr) > 0 {
		text += `, acr_values="` + strings.Join(no.acr, " ") + `"`
	}
	return text
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

// record writes one line for each refusal. No token, cookie, header or query
// value is in it.
func (t *teller) record(r *http.Request, no *refusal, id string) {
	entry := t.log.Check(no.code.effect().level, "refused")
	if entry == nil {
		return
	}
	entry.Write(append(t.fields(r, no), zap.String("request_id", id))...)
}

// fields tell the log of a refusal, or of what would have been one.
func (t *teller) fields(r *http.Request, no *refusal) []zap.Field {
	fields := []zap.Field{
		zap.String("code", string(no.code)),
		zap.Int("status", no.code.effect().status),
		zap.String("cause", no.cause),
		zap.String("rule", no.rule.name),
		zap.String("source", no.rule.source),
		zap.String("client_ip", clientAddress(r).String()),
		zap.String("method", originalMethod(r)),
		zap.String("host", r.Host),
	}
	if no.err != nil {
		fields = append(fields, zap.Error(no.err))
	}
	return fields
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
