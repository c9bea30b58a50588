package gatehouse

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"
)

// fuzzSources are what FuzzTokenExtraction chooses from.
var fuzzSources = []*TokenSource{
	{From: fromHeader, Name: "authorization", Scheme: "Bearer"},
	{From: fromHeader, Name: "X-Token"},
	{From: fromCookie, Name: "session"},
	{From: fromQuery, Name: "access_token"},
	{From: fromWebSocket},
	{From: fromHeader, Name: "X-Auth", Scheme: "Token"},
	{From: fromCookie, Name: "__Host-token"},
	{From: fromQuery, Name: "jwt"},
}

// fuzzRequest is what a client writes; several lines of one header are parted by
// line breaks, which none can hold.
type fuzzRequest struct{ authorization, token, auth, cookie, protocol, query string }

// FuzzTokenExtraction looks for requests whose credential is not the one of the
// first source that has any, of which two could be taken, or that reach the next
// handler with a token that should be gone, or without what is none.
func FuzzTokenExtraction(f *testing.F) {
	const jwt = "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJ4In0.c2ln"
	for _, seed := range []fuzzRequest{
		{},
		{authorization: "Bearer " + jwt},
		{authorization: "bearer  " + jwt + " "},
		{authorization: "Bearer\t" + jwt, cookie: "session=" + jwt},
		{authorization: "Bearer"},
		{authorization: "Bearer " + jwt + "\nBearer " + jwt},
		{authorization: "Basic YTpi\nBearer " + jwt},
		{authorization: "Bearer " + jwt + ", Bearer " + jwt},
		{authorization: "Basic YTpi", token: jwt},
		{auth: "Token " + jwt, token: jwt},
		{authorization: "Bearer " + jwt, query: "access_token=" + jwt},
		{cookie: "theme=dark; session=" + jwt + "; lang=de"},
		{cookie: "session=" + jwt + "\nsession=; __Host-token=\"" + jwt + "\""},
		{cookie: " session =x;session=y;;=z;session"},
		{query: "a=1&access_token=" + jwt + "&b=2"},
		{query: "access%5Ftoken=" + jwt + "&access_token="},
		{query: "access_token=%zz&jwt=" + jwt},
		{query: "a=1;access_token=" + jwt},
		{query: "a+b=%20&&=&access_token=x+y&%gg=1&jwt"},
		{protocol: "chat, bearer, " + jwt},
		{protocol: "bearer\n" + jwt + ",chat"},
		{protocol: "bearer, a, bearer, b"},
		{protocol: "Bearer,,bearer,bearer"},
	} {
		for _, configured := range []uint16{0, 0x0001, 0x001f, 0x041f, 0x02ff, 0x07ff} {
			f.Add(seed.authorization, seed.token, seed.auth, seed.cookie, seed.protocol, seed.query, configured)
		}
	}
	f.Fuzz(func(t *testing.T, authorization, token, auth, cookie, protocol, query string, configured uint16) {
		sources := chooseSources(configured)
		in := fuzzRequest{authorization, token, auth, cookie, protocol, query}
		r := in.request()
		if r == nil {
			return // no server lets it through
		}
		checkFind(t, sources, r)
		for _, all := range []bool{false, true} {
			checkConceal(t, sources, in.request(), in.request(), all)
		}
	})
}

// chooseSources takes those whose bit is set, beginning anywhere; none at all is
// the default.
func chooseSources(configured uint16) tokenSources {
	var chosen []*TokenSource
	for i := range fuzzSources {
		at := (i + int(configured>>8)) % len(fuzzSources)
		if configured&(1<<at) != 0 {
			chosen = append(chosen, fuzzSources[at])
		}
	}
	return newTokenSources(chosen)
}

// request is what the server hands to the gate; nil if it refuses it itself.
func (in fuzzRequest) request() *http.Request {
	header := http.Header{"Accept": {"text/html"}, "X-Other": {"a", "b"}}
	for name, text := range map[string]string{
		"Authorization": in.authorization, "X-Token": in.token, "X-Auth": in.auth, "Cookie": in.cookie, protocolHeader: in.protocol,
	} {
		if text == "" {
			continue
		}
		for line := range strings.SplitSeq(text, "\n") {
			if !httpguts.ValidHeaderFieldValue(line) {
				return nil
			}
			header[name] = append(header[name], strings.Trim(line, " \t"))
		}
	}
	uri := "/x?" + in.query
	u, err := url.ParseRequestURI(uri)
	if err != nil || strings.ContainsAny(in.query, " \r\n") {
		return nil
	}
	r := &http.Request{Method: http.MethodGet, URL: u, RequestURI: uri, Header: header, Host: "panel.example"}
	original := *r
	original.URL = new(url.URL)
	*original.URL = *u
	return r.WithContext(context.WithValue(context.Background(), caddyhttp.OriginalRequestCtxKey, original))
}

// checkFind compares what was found with each source alone, read in another way.
func checkFind(t *testing.T, sources tokenSources, r *http.Request) {
	t.Helper()
	got, no := sources.find(r)
	for _, s := range sources {
		tokens := read(s, r)
		if len(tokens) == 0 {
			continue
		}
		switch {
		case got.from != s.From:
			t.Fatalf("found %+v though an earlier source, %+v, has %q", got, s, tokens)
		case len(tokens) > 1 && (no == nil || no.code != codeCredentialsAmbiguous):
			t.Fatalf("%+v holds %q, and the verdict is %v", s, tokens, no)
		case len(tokens) == 1 && no == nil && got.raw != tokens[0]:
			t.Fatalf("found %+v, want %q", got, tokens[0])
		case no == nil && got.raw == "":
			t.Fatal("an empty token was found")
		}
		return
	}
	if !got.missing() || no != nil {
		t.Fatalf("found %+v, %v in none of %+v", got, no, sources)
	}
}

// read lists the tokens that others would see in one source.
func read(s TokenSource, r *http.Request) (tokens []string) {
	switch s.From {
	case fromHeader:
		lines := r.Header.Values(s.Name)
		if s.Scheme == "" {
			return lines
		}
		for _, line := range lines {
			words := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' })
			if len(words) > 0 && strings.EqualFold(words[0], s.Scheme) {
				// All lines count, since others may look at another one.
				return append([]string{strings.Trim(line[len(words[0]):], " \t")}, lines[1:]...)
			}
		}
	case fromCookie:
		for _, c := range r.CookiesNamed(s.Name) {
			if c.Value != "" {
				tokens = append(tokens, c.Value)
			}
		}
	case fromQuery:
		// Leaves out pairs that cannot be decoded and semicolons, which is less than ours.
		if all, err := url.ParseQuery(r.URL.RawQuery); err != nil || len(all[s.Name]) == 0 {
			tokens, _ := oneOf(s.read(r))
			return tokens
		}
		return r.URL.Query()[s.Name]
	case fromWebSocket:
		offered := strings.FieldsFunc(strings.Join(r.Header.Values(protocolHeader), ","), func(c rune) bool { return c == ',' })
		offered = slices.DeleteFunc(offered, func(p string) bool { return strings.Trim(p, " \t") == "" })
		for i, p := range offered {
			if strings.EqualFold(strings.Trim(p, " \t"), bearerProtocol) {
				tokens = append(tokens, strings.Trim(append(offered, "")[i+1], " \t"))
			}
		}
	}
	return tokens
}

func oneOf(raw string, count int) ([]string, int) {
	if count == 0 {
		return nil, 0
	}
	return slices.Repeat([]string{raw}, count), count
}

// checkConceal compares a request whose tokens were taken out with itself before.
func checkConceal(t *testing.T, sources tokenSources, r, before *http.Request, all bool) {
	t.Helper()
	sources.conceal(r, all)
	touched := map[string]bool{}
	var cookies, parameters []string
	for _, s := range sources {
		switch {
		case s.From == fromQuery:
			parameters = append(parameters, s.Name)
		case s.From == fromWebSocket:
			touched[protocolHeader] = true
			checkProtocols(t, r, before)
		case !all:
		case s.From == fromCookie:
			touched["Cookie"] = true
			cookies = append(cookies, s.Name)
		case s.From == fromHeader:
			if found, count := s.read(r); count > 0 {
				t.Fatalf("%s still holds %q", s.Name, found)
			}
			if _, count := s.read(before); count > 0 {
				touched[s.Name] = true
			}
		}
	}
	checkHeaders(t, r, before, touched)
	checkCookies(t, r, before, cookies)
	checkQuery(t, r, before, parameters)
}

func checkHeaders(t *testing.T, r, before *http.Request, touched map[string]bool) {
	t.Helper()
	for name := range maps.Keys(before.Header) {
		if !touched[name] && !slices.Equal(r.Header[name], before.Header[name]) {
			t.Fatalf("%s became %q from %q", name, r.Header[name], before.Header[name])
		}
	}
	for name := range r.Header {
		if before.Header[name] == nil {
			t.Fatalf("%s is new: %q", name, r.Header[name])
		}
	}
}

func checkCookies(t *testing.T, r, before *http.Request, names []string) {
	t.Helper()
	gone := func(c *http.Cookie) bool { return slices.Contains(names, c.Name) }
	if left := r.Cookies(); slices.ContainsFunc(left, gone) {
		t.Fatalf("cookies %v hold one of %v", left, names)
	}
	text := func(cookies []*http.Cookie) (out []string) {
		for _, c := range slices.DeleteFunc(cookies, gone) {
			out = append(out, c.String())
		}
		return out
	}
	if got, want := text(r.Cookies()), text(before.Cookies()); !slices.Equal(got, want) {
		t.Fatalf("cookies %q, want %q", got, want)
	}
}

func checkQuery(t *testing.T, r, before *http.Request, names []string) {
	t.Helper()
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		t.Fatal("the original request is gone")
	}
	_, uri, _ := strings.Cut(r.RequestURI, "?")
	_, originalURI, _ := strings.Cut(original.RequestURI, "?")
	want, _ := url.ParseQuery(before.URL.RawQuery)
	for _, name := range names {
		delete(want, name)
	}
	for place, query := range map[string]string{
		"query": r.URL.RawQuery, "request line": uri, "original query": original.URL.RawQuery, "original request line": originalURI,
	} {
		if got, _ := url.ParseQuery(query); !reflect.DeepEqual(got, want) {
			t.Fatalf("%s is %q, want %v from %q without %v", place, query, want, before.URL.RawQuery, names)
		}
		for pair := range strings.SplitSeq(query, "&") {
			key, _, _ := strings.Cut(pair, "=")
			if key, err := url.QueryUnescape(key); err == nil && pair != "" && slices.Contains(names, key) {
				t.Fatalf("%s still has %q", place, pair)
			}
		}
	}
}

// checkProtocols wants the list as it was, but for what follows a `bearer`.
func checkProtocols(t *testing.T, r, before *http.Request) {
	t.Helper()
	var want []string
	token := false
	for _, p := range splitList(before.Header[protocolHeader]) {
		if !token {
			want = append(want, p)
		}
		token = strings.EqualFold(p, bearerProtocol)
	}
	if got := splitList(r.Header[protocolHeader]); !slices.Equal(got, want) {
		t.Fatalf("protocols %q, want %q from %q", got, want, before.Header[protocolHeader])
	}
}
