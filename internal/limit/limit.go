// Package limit remembers how much somebody has done lately, and says when they may go on. It knows nothing of HTTP.
//
// Both questions it answers are the generic cell rate algorithm (GCRA, ITU-T I.371): one number a key, the theoretical
// arrival time, from which the exact time to wait follows. A key is a digest, so that no address and no name is kept.
package limit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"
)

// Key stands for whom and what is counted.
type Key [16]byte

// Rate is so many within a time, all at once if need be.
type Rate struct {
	N   int           // at least 1
	Per time.Duration // more than 0
}

// interval is the time after which one more is allowed.
func (r Rate) interval() int64 { return max(int64(r.Per)/int64(r.N), 1) }

// burst is how far ahead of time somebody may be: exactly N at once.
func (r Rate) burst() int64 { return r.interval() * int64(r.N) }

// Lock is what many failures lead to.
type Lock struct {
	Failures Rate
	Ban      time.Duration // more than 0
}

// Store keeps the records. Implementations serve many goroutines.
type Store interface {
	// Spend counts one for the key. It returns 0 if the rate allows it, else how long to wait; then nothing is counted.
	Spend(k Key, r Rate, now time.Time) (wait time.Duration)

	// Fail counts a failure for the key. It returns 0 until the rate of failures is passed, from then on how long the
	// ban lasts. A ban is not prolonged.
	Fail(k Key, l Lock, now time.Time) (wait time.Duration)

	// Banned says how many keys are banned.
	Banned(now time.Time) int

	// Used says how many records hold something, and Size how many there can be.
	Used(now time.Time) int
	Size() int
}

// Keys makes keys that nobody outside can guess or aim at: which records share a place in the store is a secret of this
// process.
type Keys struct{ secret [32]byte }

// NewKeys draws a secret.
func NewKeys() *Keys {
	k := new(Keys)
	_, _ = rand.Read(k.secret[:]) // never fails: it ends the process instead
	return k
}

// Key digests the parts. Each is told apart from the next by its length.
func (k *Keys) Key(parts ...string) Key {
	var buf [256]byte
	text := append(buf[:0], k.secret[:]...)
	for _, part := range parts {
		text = binary.AppendUvarint(text, uint64(len(part)))
		text = append(text, part...)
	}
	sum := sha256.Sum256(text)
	return Key(sum[:16])
}

// String is for logs.
func (r Rate) String() string { return strconv.Itoa(r.N) + " in " + r.Per.String() }
