package gatehouse

import (
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"
)

func bodyOf(t testing.TB, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("body is no JSON: %v: %s", err, w.Body)
	}
	return body
}

// What RFC 9470, section 3, has a client read from the header, to the byte.
func TestStepUpChallenge(t *testing.T) {
	s := newSite(t, `
		challenge {
			realm "Panel"
		}
		require /fresh/* fresh 15m
		require /acr/* acr silver gold
		require /both/* {
			fresh 1h
			acr gold
		}
		require /several/* fresh 1h
		require /several/* fresh 90s
		require /several/* acr silver gold platinum
		require /several/* acr gold platinum
		require /several/* acr platinum silver gold
		require /apart/* acr silver
		require /apart/* acr gold
		require /any/* {
			any {
				acr gold
				fresh 5m
			}
		}
		require /kept/* acr bronze silver gold
		require /kept/* acr platinum gold silver
		require /strong/* acr bronze
		require /strong/* fresh 1h
		require /lost/* acr bronze
		require /lost/* acr gold
		require /part/* {
			any {
				role admin
				fresh 1900ms
			}
			fresh 2h
		}`)
	const begin = `Bearer realm="Panel", error="insufficient_user_authentication", error_description="A more recent or a stronger sign-in is required"`
	stale := s.token(t, claims{"auth_time": time.Now().Add(-24 * time.Hour).Unix(), "acr": "bronze"})
	for name, c := range map[string]struct{ target, parameters string }{
		"an age":                                {"/fresh/x", `, max_age="900"`},
		"ways to sign in, in the rule's order":  {"/acr/x", `, acr_values="silver gold"`},
		"both in one rule":                      {"/both/x", `, max_age="3600", acr_values="gold"`},
		"of several rules least age and common": {"/several/x", `, max_age="90", acr_values="gold platinum"`},
		"nothing in common: the first rule's":   {"/apart/x", `, acr_values="silver"`},
		"of an any the way to sign in":          {"/any/x", `, acr_values="gold"`},
		"what another rule takes too":           {"/kept/x", `, acr_values="gold silver"`},
		"an age, and no weaker than before":     {"/strong/x", `, max_age="3600", acr_values="bronze"`},
		"nothing in common: what is missing":    {"/lost/x", `, acr_values="gold"`},
		"a part of a second is left out":        {"/part/x", `, max_age="1"`},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			w := s.expect(refusedWith(401, codeStepUpRequired), ask{target: c.target, token: stale})
			assertRefusalHeaders(t, w, begin+c.parameters, "")
			if got := bodyOf(t, w)["error"]; got != "insufficient_user_authentication" {
				t.Errorf("error is %v", got)
			}
		})
	}
}

// Nobody is asked to sign in anew for what they may not have, and only what is
// stale is asked for.
func TestStepUpIsTheLastQuestion(t *testing.T) {
	s := newSite(t, `
		require /x/* fresh 10m
		require /x/* acr gold
		require /x/* role admin
		require /x/office ip 192.0.2.0/24
		require /when/* {
			when role admin
			fresh 10m
		}
		public /open/*
		require /open/* fresh 10m`)
	now := time.Now().Unix()
	s.expectAll(t, map[string]ruleCase{
		"stale and without the role":   {ask{target: "/x/y", token: s.token(t, nil)}, refusedWith(403, codeRoleMissing)},
		"fresh and without the role":   {ask{target: "/x/y", token: s.token(t, claims{"auth_time": now, "acr": "gold"})}, refusedWith(403, codeRoleMissing)},
		"stale, with the role":         {ask{target: "/x/y", token: s.token(t, claims{"roles": "admin"})}, refusedWith(401, codeStepUpRequired)},
		"stale, from the wrong place":  {ask{target: "/x/office", token: s.token(t, claims{"roles": "admin"}), from: elsewhere}, refusedWith(403, codeAddressDenied)},
		"fresh and strong":             {ask{target: "/x/y", token: s.token(t, claims{"roles": "admin", "auth_time": now, "acr": "gold"})}, pass()},
		"fresh and weak":               {ask{target: "/x/y", token: s.token(t, claims{"roles": "admin", "auth_time": now})}, refusedWith(401, codeStepUpRequired)},
		"nobody has no sign-in to age": {ask{target: "/x/y"}, refusedWith(401, codeCredentialsMissing)},
		"a rule that is not for them":  {ask{target: "/when/y", token: s.token(t, nil)}, pass()},
		"a rule that is for them":      {ask{target: "/when/y", token: s.token(t, claims{"roles": "admin"})}, refusedWith(401, codeStepUpRequired)},
		"a public path":                {ask{target: "/open/y", token: s.token(t, nil)}, pass()},
	})
	s.t = t
	weak := s.do(ask{target: "/x/y", token: s.token(t, claims{"roles": "admin", "auth_time": now})})
	if got, want := weak.Header().Get("WWW-Authenticate"), `Bearer realm="gatehouse", error="insufficient_user_authentication", error_description="A more recent or a stronger sign-in is required", acr_values="gold"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// auth_time is a number of seconds (OpenID Connect Core, section 2). A token
// that says anything else has no time of sign-in to believe.
func TestAuthTime(t *testing.T) {
	s := newSite(t, "require /x fresh 10m")
	now := time.Now()
	ago := func(d time.Duration) int64 { return now.Add(-d).Unix() }
	stale := refusedWith(401, codeStepUpRequired)
	for name, c := range map[string]struct {
		value any
		want  verdict
	}{
		"just now":                          {ago(0), pass()},
		"within the time":                   {ago(9 * time.Minute), pass()},
		"too long ago":                      {ago(11 * time.Minute), stale},
		"absent":                            {nil, stale},
		"with a fraction":                   {float64(ago(time.Minute)) + 0.5, pass()},
		"with a fraction, too long ago":     {float64(ago(time.Hour)) + 0.5, stale},
		"ahead, as clocks are":              {ago(-20 * time.Second), pass()},
		"ahead by more than clocks are":     {ago(-10 * time.Minute), stale},
		"in milliseconds is the far future": {now.UnixMilli(), stale},
		"zero":                              {0, stale},
		"before the epoch":                  {-1, stale},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.expect(c.want, ask{target: "/x", token: s.token(t, claims{"auth_time": c.value})})
		})
	}
	for name, value := range map[string]any{
		"a string": now.UTC().Format(time.RFC3339), "a number in a string": "1795529601", "true": true, "a list": []int64{now.Unix()}, "an object": map[string]any{},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			w := s.do(ask{target: "/x", token: s.token(t, claims{"auth_time": value})})
			if w.Code != 401 || w.Header().Get(reachedHeader) != "" {
				t.Errorf("got %d", w.Code)
			}
		})
	}
}

// A remembered token ages all the same.
func TestFreshRunsOutWhileRemembered(t *testing.T) {
	s := newSite(t, "require /x fresh 10m")
	token := s.token(t, claims{"auth_time": time.Now().Unix()})
	s.expect(pass(), ask{target: "/x", token: token})
	s.gate.gate.authn.now = func() time.Time { return time.Now().Add(11 * time.Minute) }
	s.expect(refusedWith(401, codeStepUpRequired), ask{target: "/x", token: token})
}

// acr is one string, compared exactly.
func TestACR(t *testing.T) {
	s := newSite(t, "require /x acr urn:mace:incommon:iap:silver phr")
	weak := refusedWith(401, codeStepUpRequired)
	for name, c := range map[string]struct {
		value any
		want  verdict
	}{
		"one of them":       {"phr", pass()},
		"a URN":             {"urn:mace:incommon:iap:silver", pass()},
		"another case":      {"PHR", weak},
		"longer":            {"phrh", weak},
		"absent":            {nil, weak},
		"empty":             {"", weak},
		"a list of one":     {[]string{"phr"}, weak},
		"two in one string": {"phr other", weak},
		"a number":          {1, weak},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.expect(c.want, ask{target: "/x", token: s.token(t, claims{"acr": c.value})})
		})
	}
}
