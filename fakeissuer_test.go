package gatehouse

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fakeIssuer serves discovery and its keys over loopback http, or fails to as a
// test wants.
type fakeIssuer struct {
	*signer // its first key
	fetches atomic.Int64
	keys    atomic.Pointer[string]
	fault   atomic.Pointer[http.HandlerFunc]
}

func newFakeIssuer(t testing.TB) *fakeIssuer {
	t.Helper()
	f := new(fakeIssuer)
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	f.signer = newSigner(t, srv.URL)
	f.kid = "first"
	f.publish(f.signer)
	return f
}

func (f *fakeIssuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/keys" {
		f.fetches.Add(1)
	}
	fault := f.fault.Load()
	switch {
	case fault != nil:
		(*fault)(w, r)
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": f.issuer, "jwks_uri": f.issuer + "/keys"})
	case r.URL.Path == "/keys":
		_, _ = w.Write([]byte(*f.keys.Load()))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// newKey makes a further key of the issuer, which is not published yet.
func (f *fakeIssuer) newKey(t testing.TB, kid string) *signer {
	t.Helper()
	key := newSigner(t, f.issuer)
	key.kid = kid
	return key
}

// publish makes these the issuer's keys.
func (f *fakeIssuer) publish(keys ...*signer) {
	set := jwks(keys...)
	f.keys.Store(&set)
}

// fail makes the issuer answer everything with fault, until it is healed.
func (f *fakeIssuer) fail(fault http.HandlerFunc) { f.fault.Store(&fault) }

func (f *fakeIssuer) heal() { f.fault.Store(nil) }

func jwks(keys ...*signer) string {
	list := make([]string, 0, len(keys))
	for _, key := range keys {
		kid := ""
		if key.kid != "" {
			kid = fmt.Sprintf(`,"kid":%q`, key.kid)
		}
		list = append(list, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q%s}`, publicX(key.private), kid))
	}
	return `{"keys":[` + strings.Join(list, ",") + `]}`
}

// caddyfile has so many sites that trust the issuer.
func (f *fakeIssuer) caddyfile(sites int) string {
	var b strings.Builder
	for i := range sites {
		fmt.Fprintf(&b, ":%d {\n%s}\n", 10080+i, f.gated(""))
	}
	return b.String()
}

// gated is the body of a site that trusts the issuer, found by discovery unless
// the options say otherwise.
func (f *fakeIssuer) gated(options string) string {
	return fmt.Sprintf(`
	route {
		gatehouse {
			issuer %s {
				audience panel
				%s
			}
			public /login
		}
		%s
	}
`, f.issuer, options, nextHandler)
}

const nextHandler = `header ` + reachedHeader + ` ran
		respond "next"`

// faults is what issuers, and what stands in front of them, have been seen to
// answer instead of their keys. Each takes evil along, whose keys must never be
// believed.
func faults(evil *signer, elsewhere string) map[string]http.HandlerFunc {
	set := jwks(evil)
	return map[string]http.HandlerFunc{
		"gone": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"slow": func(w http.ResponseWriter, r *http.Request) {
			for i := range set {
				_, _ = w.Write([]byte(set[i : i+1]))
				_ = http.NewResponseController(w).Flush()
				if !pause(r, 100*time.Millisecond) {
					return
				}
			}
		},
		"hanging":             func(_ http.ResponseWriter, r *http.Request) { pause(r, time.Hour) },
		"hanging-in-the-body": hangInBody(set),
		"500":                 status(http.StatusInternalServerError, set),
		"500-for-a-year": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=31536000")
			status(http.StatusInternalServerError, set)(w, r)
		},
		"html":     status(http.StatusOK, "<!doctype html><title>Sign in</title>"),
		"redirect": http.RedirectHandler(elsewhere, http.StatusFound).ServeHTTP,
		"empty":    status(http.StatusOK, `{"keys":[]}`),
		"garbage":  status(http.StatusOK, "\x00\xff\x1b[2J"),
		"huge":     status(http.StatusOK, strings.Repeat(" ", 10<<20)+set),
	}
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

// hangInBody sends the first half and keeps the rest.
func hangInBody(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(body[:len(body)/2]))
		_ = http.NewResponseController(w).Flush()
		pause(r, time.Hour)
	}
}

// pause waits, and tells whether the client still does.
func pause(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
