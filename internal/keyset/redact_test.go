package keyset

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A URL of keys may carry a password of its own, and errors quote URLs. Who reads
// a status learns which host failed, and nothing that opens it.
func TestAttackSecretsOfURLsFromErrors(t *testing.T) {
	const known = `https://id.example.com/keys?token=s3cret "s3cret s3cret`
	for name, c := range map[string]struct{ text, want string }{
		"a query":                      {"GET https://a.example/keys?token=s3cret: no", "GET https://a.example/keys no"},
		"a user with a password":       {"https://user:s3cret@a.example:8443/keys failed", "https://a.example:8443/keys failed"},
		"a password with an at sign":   {"https://user:s3@cret@a.example/x", "https://a.example/x"},
		"a user without a path":        {"proxy http://s3cret@proxy.example: refused", "proxy http://proxy.example: refused"},
		"a fragment":                   {"https://a.example/#s3cret", "https://a.example/"},
		"a scheme in capitals":         {"HTTPS://s3cret@a.example/?s3cret", "HTTPS://a.example/"},
		"another scheme":               {"redis://:s3cret@db.example/0?x=s3cret", "redis://db.example/0"},
		"two URLs":                     {"https://a.example/?s3cret then https://b.example/?s3cret", "https://a.example/ then https://b.example/"},
		"a known URL with spaces":      {"get " + known + ": no", "get https://id.example.com/keys: no"},
		"a known URL, quoted":          {fmt.Sprintf("Get %q: no", known), `Get "https://id.example.com/keys": no`},
		"no URL":                       {"dial tcp 192.0.2.1:443: connection refused", "dial tcp 192.0.2.1:443: connection refused"},
		"a URL that has nothing of it": {"https://a.example/keys answered with status 500", "https://a.example/keys answered with status 500"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Redact(c.text, known)
			if got != c.want || strings.Contains(got, "s3") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// The last failure stays to be read, with its time, when fetches are good again;
// whether they are is told beside it. What opens the keys is told nowhere: not in
// the status, and not by the error that a request is refused with.
func TestStatusTellsTheLastFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const secretURL = jwksURL + "?token=s3cret"
		i := newIssuer()
		i.answer(secretURL, down)
		r := remote(t, i, func(o *Options) { o.URL = secretURL })
		began := time.Now()
		r.Start(nil)
		synctest.Wait()
		failed := r.Status()
		if failed.LastError == "" || failed.LastFailure != failed.LastError || !failed.LastFailureAt.Equal(began) || !strings.Contains(failed.LastError, jwksURL) {
			t.Errorf("after a failure: %+v", failed)
		}
		refused := wantUnavailable(t, r, "a").Error()
		i.answer(secretURL, replies(200, setOf(edJWK("a"))))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		good := r.Status()
		if good.LastError != "" || good.LastFailure == "" || good.Fetches != 1 || len(good.Keys) != 1 || good.Keys[0].Type != "OKP" || good.Keys[0].Thumbprint == "" {
			t.Errorf("after a good fetch: %+v", good)
		}
		if all := fmt.Sprintf("%+v %+v %s", failed, good, refused); strings.Contains(all, "s3cret") {
			t.Errorf("the query is told: %s", all)
		}
	})
}
