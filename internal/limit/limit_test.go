package limit

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
	"unsafe"
)

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// What is allowed at once is allowed, one more is not, and the time to wait is
// exact: a moment before it is too early, and then exactly one more is allowed.
func TestSpend(t *testing.T) {
	for _, r := range []Rate{{1, time.Second}, {5, time.Minute}, {600, time.Minute}, {7, time.Hour}, {1000, time.Millisecond}, {6, 10}} {
		t.Run(fmt.Sprint(r), func(t *testing.T) {
			table, k, now := NewTable(), NewKeys().Key("x"), begin
			for i := range r.N {
				if wait := table.Spend(k, r, now); wait != 0 {
					t.Fatalf("%d of %d: wait %s", i+1, r.N, wait)
				}
			}
			for range 3 {
				wait := table.Spend(k, r, now)
				if wait <= 0 || wait > r.Per {
					t.Fatalf("one too many: wait %s", wait)
				}
				if again := table.Spend(k, r, now.Add(wait-1)); again != 1 {
					t.Fatalf("a nanosecond early: wait %s", again)
				}
				now = now.Add(wait)
				if again := table.Spend(k, r, now); again != 0 {
					t.Fatalf("in time: wait %s", again)
				}
			}
			now = now.Add(r.Per)
			for i := range r.N {
				if wait := table.Spend(k, r, now); wait != 0 {
					t.Fatalf("after a rest, %d of %d: wait %s", i+1, r.N, wait)
				}
			}
		})
	}
}

// However requests come, no window holds more than twice the rate, and in the
// long run no more than the rate passes.
func TestSpendNeverExceedsTheRate(t *testing.T) {
	r := Rate{N: 20, Per: time.Second}
	rng := rand.New(rand.NewPCG(1, 2))
	table, k, now := NewTable(), NewKeys().Key("x"), begin
	passed := 0
	for range 20000 {
		now = now.Add(time.Duration(rng.IntN(int(10 * time.Millisecond))))
		if table.Spend(k, r, now) == 0 {
			passed++
		}
	}
	if most := r.N + int(now.Sub(begin)/time.Duration(r.interval())); passed > most || passed < most*9/10 {
		t.Errorf("%d passed in %s, want up to %d", passed, now.Sub(begin), most)
	}
}

// The failure after the allowed ones begins the ban; it ends when it was said to,
// whatever is tried meanwhile, and then counting begins anew.
func TestFail(t *testing.T) {
	l := Lock{Failures: Rate{N: 3, Per: time.Minute}, Ban: 15 * time.Minute}
	table, k, now := NewTable(), NewKeys().Key("x"), begin
	for round := range 2 {
		for i := range 3 {
			if wait := table.Fail(k, l, now.Add(time.Duration(i)*time.Second)); wait != 0 {
				t.Fatalf("round %d, failure %d: wait %s", round, i+1, wait)
			}
		}
		now = now.Add(3 * time.Second)
		if wait := table.Fail(k, l, now); wait != l.Ban {
			t.Fatalf("round %d: the failure too many: wait %s", round, wait)
		}
		if n := table.Banned(now); n != 1 {
			t.Errorf("%d are banned", n)
		}
		for _, after := range []time.Duration{time.Second, time.Minute, l.Ban - 1} {
			if wait := table.Fail(k, l, now.Add(after)); wait != l.Ban-after {
				t.Fatalf("round %d, %s later: wait %s", round, after, wait)
			}
		}
		now = now.Add(l.Ban)
		if n := table.Banned(now); n != 0 {
			t.Errorf("%d are banned after it", n)
		}
	}
}

// Slow failures, as of a person, are never too many.
func TestSlowFailures(t *testing.T) {
	l := Lock{Failures: Rate{N: 3, Per: time.Minute}, Ban: time.Hour}
	table, k := NewTable(), NewKeys().Key("x")
	for i := range 1000 {
		if wait := table.Fail(k, l, begin.Add(time.Duration(i)*20*time.Second)); wait != 0 {
			t.Fatalf("failure %d: wait %s", i+1, wait)
		}
	}
}

// An attacker with a million addresses must not get their first ban forgotten,
// nor more memory.
func TestAttackFloodingABanAway(t *testing.T) {
	l := Lock{Failures: Rate{N: 1, Per: time.Minute}, Ban: time.Hour}
	table, keys := NewTable(), NewKeys()
	banned := make([]Key, 0, 1000)
	for i := range 1000 {
		k := keys.Key("early", fmt.Sprint(i))
		table.Fail(k, l, begin)
		if table.Fail(k, l, begin) != l.Ban {
			t.Fatal("not banned")
		}
		banned = append(banned, k)
	}
	for i := range 4 * Entries {
		k := keys.Key("late", fmt.Sprint(i))
		table.Fail(k, l, begin.Add(time.Second))
		table.Fail(k, l, begin.Add(time.Second))
	}
	for i, k := range banned {
		if wait := table.Fail(k, l, begin.Add(time.Minute)); wait != l.Ban-time.Minute {
			t.Fatalf("ban %d: wait %s", i, wait)
		}
	}
}

// Fresh records of a flood give way, a used-up rate does not.
func TestAttackFloodingAThrottleAway(t *testing.T) {
	r := Rate{N: 100, Per: time.Minute}
	table, keys := NewTable(), NewKeys()
	k := keys.Key("greedy")
	for table.Spend(k, r, begin) == 0 {
	}
	for i := range 2 * Entries {
		table.Spend(keys.Key("flood", fmt.Sprint(i)), r, begin)
	}
	if table.Spend(k, r, begin) == 0 {
		t.Error("a flood of others gave the rate back")
	}
}

// A full table refuses newcomers their own record, not their requests' answer.
func TestTableFullOfBans(t *testing.T) {
	b := new(bucket)
	now := begin.UnixNano()
	for i := range b.records {
		b.records[i] = record{key: Key{byte(i + 1)}, until: now + 1}
	}
	if b.find(Key{99}, now) != &b.shared || b.find(Key{98}, now) != &b.shared {
		t.Error("a ban gave way")
	}
	if e := b.find(Key{99}, now+1); e == &b.shared || e.key != (Key{99}) {
		t.Error("an ended ban does not give way")
	}
}

func TestSizeIsAsStated(t *testing.T) {
	if got := unsafe.Sizeof(bucket{}) * buckets; got > Bytes+buckets*8 {
		t.Errorf("a table takes %d bytes, want %d and a lock a bucket", got, Bytes)
	}
	if Entries < 100_000 {
		t.Errorf("%d entries", Entries)
	}
}

// Parts are told apart: "ab","c" is not "a","bc".
func TestKeysOfParts(t *testing.T) {
	k := NewKeys()
	one, again := k.Key("a"), k.Key("a")
	if one != again || k.Key("ab", "c") == k.Key("a", "bc") || one == k.Key("a", "") || one == NewKeys().Key("a") {
		t.Error("keys are mixed up")
	}
}

func TestTableServesManyGoroutines(t *testing.T) {
	table, keys := NewTable(), NewKeys()
	r := Rate{N: 1000, Per: time.Hour}
	var wg sync.WaitGroup
	var mu sync.Mutex
	passed := 0
	for range 8 {
		wg.Go(func() {
			n := 0
			for range 500 {
				if table.Spend(keys.Key("x"), r, begin) == 0 {
					n++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			passed += n
		})
	}
	wg.Wait()
	if passed != r.N {
		t.Errorf("%d passed, want %d", passed, r.N)
	}
}

func BenchmarkSpend(b *testing.B) {
	table, keys := NewTable(), NewKeys()
	r := Rate{N: 1 << 30, Per: time.Hour}
	b.ReportAllocs()
	for b.Loop() {
		table.Spend(keys.Key("rule", "192.0.2.1"), r, begin)
	}
}

// What is counted is in use until it would be forgotten.
func TestUsed(t *testing.T) {
	table, keys := NewTable(), NewKeys()
	for i := range 10 {
		table.Spend(keys.Key("x", fmt.Sprint(i)), Rate{N: 1, Per: time.Minute}, begin)
	}
	if now, later := table.Used(begin), table.Used(begin.Add(time.Minute)); now != 10 || later != 0 || table.Size() < Entries {
		t.Errorf("%d in use of %d, and %d a minute later; want 10 and 0", now, table.Size(), later)
	}
}
