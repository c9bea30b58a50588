package keyset

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// badAnswers is what issuers, their proxies and those in between have been seen to give instead of keys.
func badAnswers() map[string]handler {
	good := setOf(edJWK("evil"))
	tooMany := make([]string, maxKeys+1)
	for i := range tooMany {
		tooMany[i] = edJWK(string(rune('a' + i)))
	}
	redirect := func(to string) handler { return replies(302, "", "Location", to) }
	return map[string]handler{
		"connection refused":                  down,
		"no answer at all":                    hangs,
		"headers, then nothing":               hangsInBody,
		"a 500":                               replies(500, good),
		"a 500 that may be kept for years":    replies(500, good, "Cache-Control", "max-age=31536000"),
		"a 404":                               replies(404, good),
		"a 204":                               replies(204, ""),
		"a 206 with a part of it":             replies(206, good),
		"HTML with status 200":                replies(200, "<html>Maintenance</html>", "Cache-Control", "max-age=31536000"),
		"garbage":                             replies(200, "\x00\x01\x02"),
		"an empty body":                       replies(200, ""),
		"an empty set":                        replies(200, `{"keys":[]}`, "ETag", `"empty"`),
		"a set of unusable keys":              replies(200, setOf(edJWK("a", "use", "enc"))),
		"ten megabytes":                       replies(200, strings.Repeat(" ", 10<<20)+good),
		"a hundred and one keys":              replies(200, setOf(tooMany...)),
		"a redirect to another host":          redirect("https://evil.example/keys"),
		"a redirect to another port":          redirect("https://id.example:8443/keys"),
		"a redirect to plain http":            redirect("http://id.example/keys"),
		"a redirect to plain http, same port": redirect("http://id.example:443/keys"),
		"a redirect to this machine":          redirect("http://localhost/keys"),
		"a redirect with a password":          redirect("https://a:b@id.example/hop3"),
		"a chain of four redirects":           redirect("/hop1"),
		"a redirect to nowhere":               replies(302, ""),
		"a redirect to itself":                redirect(jwksURL),
	}
}

// answerAll puts the bad answer in place, and good keys behind every redirect that must not be followed.
func answerAll(i *issuer, bad handler) {
	evil := replies(200, setOf(edJWK("evil")))
	for _, u := range []string{"https://evil.example/keys", "https://id.example:8443/keys", "http://id.example/keys", "http://id.example:443/keys", "http://localhost/keys", "https://a:b@id.example/hop3", "https://id.example/hop4"} {
		i.answer(u, evil)
	}
	for from, to := range map[string]string{"/hop1": "/hop2", "/hop2": "/hop3", "/hop3": "/hop4"} {
		i.answer("https://id.example"+from, replies(302, "", "Location", to))
	}
	i.answer(jwksURL, bad)
}

// The keys are out of reach, or something else answers in their place. "I cannot check" is not "you are wrong": the
// visitor is told to come back, nothing from the bad answer is taken, and nobody has to restart the server after.
func TestAttackBadAnswerAtStartIsUnavailableThenHeals(t *testing.T) {
	for name, bad := range badAnswers() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				answerAll(i, bad)
				r := start(t, i, nil)
				begun := time.Now()
				wantUnavailable(t, r, "evil")
				if waited := time.Since(begun); waited > MaxWait {
					t.Fatalf("the request waited %s", waited)
				}
				if r.Ready() || r.Generation() != 0 {
					t.Fatal("there are keys")
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if status := r.Status(); status.LastError == "" || time.Until(status.NextAttempt) > 10*time.Second {
					t.Fatalf("status %+v", status)
				}
				i.answer(jwksURL, replies(200, setOf(edJWK("a"))))
				time.Sleep(15 * time.Second)
				wantKey(t, r, "a")
				if status := r.Status(); status.LastError != "" {
					t.Fatalf("status %+v", status)
				}
			})
		})
	}
}

// A good set is there, and then the issuer is hijacked, restarted or broken. What was verified yesterday is still
// verified, nothing is added, and the issuer is asked again within seconds whatever the bad answer says of its age.
func TestAttackBadAnswerNeverReplacesAGoodSet(t *testing.T) {
	for name, bad := range badAnswers() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.answer(jwksURL, replies(200, setOf(edJWK("a")), "ETag", `"good"`))
				r := start(t, i, nil)
				wantKey(t, r, "a")
				answerAll(i, bad)
				time.Sleep(2 * time.Hour)
				wantKey(t, r, "a")
				wantUnavailable(t, r, "evil")
				if r.Generation() != 1 || r.Status().LastError == "" {
					t.Fatalf("status %+v", r.Status())
				}
				if in := time.Until(r.Status().NextAttempt); in > 6*time.Minute {
					t.Fatalf("next attempt in %s", in)
				}
				i.answer(jwksURL, replies(200, setOf(edJWK("b"))))
				time.Sleep(6 * time.Minute)
				wantKey(t, r, "b")
			})
		})
	}
}

func TestThreeRedirectsOnTheSameHostAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(301, "", "Location", "https://ID.example:443/hop2"))
		i.answer("https://ID.example:443/hop2", replies(302, "", "Location", "https://id.example/hop3"))
		i.answer("https://id.example/hop3", replies(307, "", "Location", "/hop4"))
		i.answer("https://id.example/hop4", replies(200, setOf(edJWK("a"))))
		wantKey(t, start(t, i, nil), "a")
	})
}

func TestABodyThatHangsEndsAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, hangsInBody)
		r := start(t, i, nil)
		time.Sleep(fetchTimeout - time.Millisecond)
		synctest.Wait()
		if r.Status().LastError != "" {
			t.Fatal("gave up too early")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if r.Status().LastError == "" {
			t.Fatal("still waiting after five seconds")
		}
	})
}

func TestAnUnchangedSetIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a")), "ETag", `W/"one"`))
		r := start(t, i, nil)
		wantKey(t, r, "a")
		first := r.Status().FetchedAt
		i.answer(jwksURL, func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("If-None-Match") != `W/"one"` {
				return replies(500, "")(req)
			}
			return replies(304, "", "Cache-Control", "max-age=7200")(req)
		})
		time.Sleep(time.Hour)
		wantKey(t, r, "a")
		status := r.Status()
		if status.Generation != 1 || !status.FetchedAt.After(first) || status.LastError != "" {
			t.Fatalf("status %+v", status)
		}
		if in := time.Until(status.NextAttempt); in < 65*time.Minute {
			t.Fatalf("the max-age of the 304 was not taken: next attempt in %s", in)
		}
	})
}

func TestANotModifiedThatNobodyAskedForIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(304, ""))
		r := start(t, i, nil)
		wantUnavailable(t, r, "a")
		i.answer(jwksURL, replies(200, setOf(edJWK("a")))) // no ETag: none to ask with
		time.Sleep(2 * time.Second)
		wantKey(t, r, "a")
		i.answer(jwksURL, replies(304, ""))
		time.Sleep(time.Hour)
		wantKey(t, r, "a")
		if r.Status().LastError == "" {
			t.Fatal("the 304 was taken for an answer")
		}
	})
}

func TestAnETagTooLongToSendBackIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, replies(200, setOf(edJWK("a")), "ETag", strings.Repeat("x", maxETag+1)))
		r := start(t, i, nil)
		time.Sleep(2 * time.Hour)
		wantKey(t, r, "a")
		if sent := i.last.Header.Get("If-None-Match"); sent != "" || i.asked(jwksURL) < 2 {
			t.Fatalf("sent %d bytes", len(sent))
		}
	})
}

func TestWhenTheNextRefreshIs(t *testing.T) {
	for name, c := range map[string]struct {
		header   []string
		maxStale time.Duration
		age      time.Duration // 80 % of it, ±10 %
	}{
		"nothing said":                 {nil, 0, time.Hour},
		"ten minutes":                  {[]string{"Cache-Control", "public, max-age=600"}, 0, 10 * time.Minute},
		"quoted, in capitals":          {[]string{"Cache-Control", `Public, Max-Age="600"`}, 0, 10 * time.Minute},
		"in a second header line":      {[]string{"Cache-Control", "public", "Cache-Control", "max-age=600"}, 0, 10 * time.Minute},
		"some of it spent in a cache":  {[]string{"Cache-Control", "max-age=1200", "Age", "600"}, 0, 10 * time.Minute},
		"nothing":                      {[]string{"Cache-Control", "max-age=0"}, 0, 5 * time.Minute},
		"no-store":                     {[]string{"Cache-Control", "no-store, max-age=86400"}, 0, 5 * time.Minute},
		"no-cache":                     {[]string{"Cache-Control", "no-cache"}, 0, 5 * time.Minute},
		"a year":                       {[]string{"Cache-Control", "max-age=31536000"}, 48 * time.Hour, 24 * time.Hour},
		"more than a number can hold":  {[]string{"Cache-Control", "max-age=99999999999999999999"}, 48 * time.Hour, 24 * time.Hour},
		"negative":                     {[]string{"Cache-Control", "max-age=-1"}, 0, time.Hour},
		"not a number":                 {[]string{"Cache-Control", "max-age=soon"}, 0, time.Hour},
		"an Age that is not a number":  {[]string{"Cache-Control", "max-age=600", "Age", "old"}, 0, 10 * time.Minute},
		"older than its own max-age":   {[]string{"Cache-Control", "max-age=600", "Age", "99999999999999"}, 0, 5 * time.Minute},
		"only a cache's own allowance": {[]string{"Cache-Control", "s-maxage=86400"}, 0, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer()
				i.answer(jwksURL, replies(200, setOf(edJWK("a")), c.header...))
				r := start(t, i, nil, func(o *Options) { o.MaxStale = c.maxStale })
				wantKey(t, r, "a")
				in := time.Until(r.Status().NextAttempt)
				if least, most := c.age*72/100, c.age*88/100; in < least || in > most {
					t.Fatalf("next attempt in %s, want %s to %s", in, least, most)
				}
				time.Sleep(in - time.Second)
				if i.asked(jwksURL) != 1 {
					t.Fatal("asked too early")
				}
				time.Sleep(2 * time.Second)
				if i.asked(jwksURL) != 2 {
					t.Fatal("not asked in time")
				}
			})
		})
	}
}

func TestRetriesBackOffFromASecondToFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.answer(jwksURL, down)
		r := start(t, i, nil)
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300} {
			synctest.Wait()
			in := time.Until(r.Status().NextAttempt)
			if least, most := want*time.Second*9/10, want*time.Second*11/10; in < least || in > most {
				t.Fatalf("next attempt in %s, want about %d s", in, want)
			}
			time.Sleep(in)
		}
	})
}

func TestBackOffNeverOverflows(t *testing.T) {
	for _, failures := range []int{-1, 0, 1, 9, 10, 63, 64, 1 << 40} {
		if d := backOff(failures); d < 900*time.Millisecond || d > 330*time.Second {
			t.Errorf("after %d failures: %s", failures, d)
		}
	}
}

// The limits above are tried against the real HTTP client and a real TLS server, which a fake cannot stand in for.
func TestRedirectAndSizeLimitsOverRealTLS(t *testing.T) {
	good := setOf(edJWK("a"))
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(good)) }))
	defer elsewhere.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "caddy-gatehouse" || r.Header.Get("Cookie") != "" || r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = w.Write([]byte(good))
	})
	for from, to := range map[string]string{"/one": "/good", "/two": "/one", "/three": "/two", "/four": "/three", "/out": elsewhere.URL, "/loop": "/loop"} {
		mux.Handle(from, http.RedirectHandler(to, http.StatusFound))
	}
	mux.HandleFunc("/localhost", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://localhost:"+must(url.Parse("http://"+r.Host)).Port()+"/good", http.StatusFound)
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(good + strings.Repeat(" ", maxBytes)))
	})
	mux.HandleFunc("/full", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(good + strings.Repeat(" ", maxBytes-len(good))))
	})
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	client := newClient(server.Client().Transport)
	for path, says := range map[string]string{
		"/good": "", "/three": "", "/full": "",
		"/four": "more than 3", "/loop": "more than 3", "/out": "another host", "/localhost": "another host",
		"/big": "more than 524288 bytes", "/gone": "status 404",
	} {
		t.Run(path, func(t *testing.T) {
			a, err := get(t.Context(), client, server.URL+path, "")
			if says == "" {
				if err != nil || !strings.HasPrefix(string(a.body), good) {
					t.Fatalf("got %d bytes, %v", len(a.body), err)
				}
			} else if err == nil || !strings.Contains(err.Error(), says) {
				t.Fatalf("got %v, want an error that says %q", err, says)
			}
		})
	}
	if _, err := get(t.Context(), newClient(nil), server.URL+"/good", ""); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("a certificate nobody trusts: got %v", err)
	}
}
