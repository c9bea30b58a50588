package gatehouse

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
)

// Requests without a credential, which anybody can send without end, must not
// push out the refusals that somebody asks about, nor may observed ones; and
// nothing makes the list grow.
func TestAttackFloodingRefusalsAway(t *testing.T) {
	s := newSite(t, `
		require /admin/* role admin
		require /seen/* {
			role admin
			observe
		}`)
	token := s.token(t, nil)
	s.expect(refusedWith(403, codeRoleMissing), ask{target: "/admin/x", token: token})
	for range 10_000 {
		s.do(ask{target: "/"})
	}
	for range recentEach + 1 {
		s.do(ask{target: "/seen/x", token: token})
	}
	if left := s.app.recent.leftOut.Load(); left == 0 {
		t.Error("a flood is kept at any speed")
	}
	kept := s.app.recent.list()
	if n := len(kept); n != 2*recentEach+1 || n != s.app.recent.count() {
		t.Errorf("%d are kept, want %d", n, 2*recentEach+1)
	}
	if !strings.Contains(string(kept[len(kept)-1]), `"role_missing"`) || !strings.Contains(string(kept[0]), `"observed":true`) {
		t.Errorf("the first and the last: %s %s", kept[0], kept[len(kept)-1])
	}
}

// The last refusals are kept, newest first, however many there were; what comes
// too fast to be asked about is left out and counted.
func TestRecentRefusalsAreTheLast(t *testing.T) {
	k, now := newRecentRefusals(), time.Now()
	no := refused(codePathDenied, "")
	add := func(id int) {
		if k.due(no, now) {
			k.add(no, now, []zap.Field{zap.Int("id", id)})
		}
	}
	for id := range 10_000 {
		now = now.Add(recentFor / recentEach)
		add(id)
	}
	list := k.list()
	if len(list) != recentEach || k.leftOut.Load() != 0 {
		t.Fatalf("%d are kept, %d left out", len(list), k.leftOut.Load())
	}
	for i, text := range list {
		if want := fmt.Sprintf(`"id":%d}`, 9999-i); !strings.HasSuffix(string(text), want) {
			t.Fatalf("%d is %s, want %s", i, text, want)
		}
	}
	now = now.Add(-recentFor) // a clock that was set back keeps nothing out
	add(10_000)
	now = now.Add(recentFor)
	for id := range 10_000 {
		add(id)
	}
	if len(k.list()) != recentEach || k.leftOut.Load() == 0 {
		t.Errorf("%d are kept of a flood, %d left out", len(k.list()), k.leftOut.Load())
	}
}

// A token may hold what is very long: each refusal keeps to its size, is JSON, and
// still says what it was.
func TestAttackLongRefusals(t *testing.T) {
	s := newSite(t, "require /admin/* role admin")
	roles := make([]string, 60)
	for i := range roles {
		roles[i] = strings.Repeat(`"`, 60) + fmt.Sprint(i)
	}
	s.expect(refusedWith(403, codeRoleMissing), ask{target: "/admin/x", token: s.token(t, claims{"roles": roles[:32], "sub": strings.Repeat("x", 500)})})
	kept := s.app.recent.list()
	var entry struct {
		Code string
		Cut  bool
		ID   string `json:"request_id"`
	}
	if err := json.Unmarshal(kept[0], &entry); err != nil || entry.Code != "role_missing" || !entry.Cut || entry.ID == "" || len(kept[0]) > maxRecent {
		t.Errorf("%v, %d bytes: %s", err, len(kept[0]), kept[0])
	}
	if s.app.recent.find(entry.ID) == nil {
		t.Error("it is not found by its id")
	}
}

// Gates refuse while administrators read.
func TestRecentRefusalsServeManyGoroutines(t *testing.T) {
	s := newSite(t, "deny /x")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 300 {
				s.do(ask{target: "/x"})
				s.do(ask{target: "/"})
			}
		})
		wg.Go(func() {
			for range 50 {
				for _, text := range s.app.recent.list() {
					if !json.Valid(text) {
						t.Errorf("half a refusal: %s", text)
					}
				}
				_ = s.app.report(time.Now())
			}
		})
	}
	wg.Wait()
}

// BenchmarkRecent states what keeping refusals adds to one: where each is kept,
// and in a flood, of which most are left out.
func BenchmarkRecent(b *testing.B) {
	signer := newBenchSigner(b, "EdDSA")
	server := signer.site(b, "require /admin/* role admin")
	kept := findGate(server.Routes).gate.teller
	recent := kept.recent
	for _, c := range []routeCase{{name: "no_token", refused: true}, {name: "role_missing", path: "/admin/x", token: func(int) string { return "" }, refused: true}} {
		if c.token != nil {
			token := signer.token(b)
			c.token = func(int) string { return token }
		}
		now := time.Now()
		slowly := func() time.Time {
			now = now.Add(recentFor)
			return now
		}
		for _, how := range []struct {
			name   string
			recent *recentRefusals
			now    func() time.Time
		}{{"none_kept", nil, time.Now}, {"flood", recent, time.Now}, {"each_kept", recent, slowly}} {
			b.Run(c.name+"/"+how.name, func(b *testing.B) {
				kept.recent, kept.now = how.recent, how.now
				c.run(b, server, false)
			})
		}
	}
}
