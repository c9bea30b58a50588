package token

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// Policy is what one issuer's tokens must be. Every field without a stated default is required.
type Policy struct {
	Issuer      string           // iss must be this, byte for byte
	Audiences   []string         // aud must name one of them
	AnyAudience bool             // instead of Audiences: aud is not compared
	Algorithms  []string         // alg must be one of them; public-key algorithms or HMAC, never both
	Types       []string         // typ must be one of them, "" stands for an absent one; nil: JWT, at+jwt or absent
	Leeway      time.Duration    // allowed between the issuer's clock and ours, for exp and nbf
	MaxAge      time.Duration    // how old iat may be; 0: it does not matter
	Subject     ClaimPath        // the claim that says who it is about; zero: sub
	Now         func() time.Time // the clock
}

// Verifier judges the tokens of one issuer. It never changes and serves many goroutines.
type Verifier struct {
	policy    Policy
	types     []string
	noType    bool
	keys      Keys
	verifiers map[string]jws.Verifier
	decoders  sync.Pool // of *jsontext.Decoder, for their buffers
}

// NewVerifier checks a policy and copies it.
func NewVerifier(p Policy, keys Keys) (*Verifier, error) {
	switch {
	case p.Issuer == "":
		return nil, errors.New("found no issuer, expected the iss of its tokens")
	case len(p.Audiences) == 0 && !p.AnyAudience:
		return nil, errors.New("found no audience, expected at least one, or any")
	case len(p.Audiences) > 0 && p.AnyAudience:
		return nil, errors.New("found audiences beside any, expected one or the other")
	case slices.Contains(p.Audiences, ""):
		return nil, errors.New("found an empty audience, expected a name")
	case p.Leeway < 0 || p.MaxAge < 0:
		return nil, errors.New("found a negative leeway or max_age, expected a duration")
	case p.Subject.wild:
		return nil, fmt.Errorf("found subject claim %.64q with a wildcard, expected one claim", p.Subject)
	case p.Now == nil:
		return nil, errors.New("found no clock, expected one")
	case keys == nil:
		return nil, errors.New("found no keys, expected some")
	}
	v := &Verifier{policy: p, keys: keys, verifiers: make(map[string]jws.Verifier)}
	v.policy.Audiences = slices.Clone(p.Audiences)
	if p.Subject.IsZero() {
		v.policy.Subject = ClaimPath{literal: "sub", levels: []level{{name: "sub"}}}
	}
	if err := v.setAlgorithms(p.Algorithms); err != nil {
		return nil, err
	}
	if err := v.setTypes(p.Types); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Verifier) setAlgorithms(names []string) error {
	if len(names) == 0 {
		return errors.New("found no algorithms, expected at least one")
	}
	secret := isSecretAlgorithm(names[0])
	for _, name := range names {
		if !KnownAlgorithm(name) {
			return fmt.Errorf("found algorithm %.32q, expected some of %s", name,
				strings.Join(append(DefaultAlgorithms(), SecretAlgorithms()...), " "))
		}
		// RFC 8725 section 2.1: where both are allowed, a public key can be passed off as a secret.
		if isSecretAlgorithm(name) != secret {
			return fmt.Errorf("found algorithm %s beside %s, expected either HMAC or public-key algorithms", name, names[0])
		}
		alg := canonicalAlgorithm(name)
		verifier, err := jws.NewVerifier(jwa.SignatureAlgorithm(alg))
		if err != nil {
			return fmt.Errorf("algorithm %s: %w", alg, err)
		}
		v.verifiers[alg] = verifier
	}
	return nil
}

func (v *Verifier) setTypes(types []string) error {
	if types == nil {
		types = []string{"JWT", "at+jwt", ""}
	}
	if len(types) == 0 {
		return errors.New("found an empty list of types, expected at least one")
	}
	for _, typ := range types {
		if typ == "" {
			v.noType = true
			continue
		}
		short := mediaType(typ)
		if short == "" {
			return fmt.Errorf("found type %q, expected a media type", typ)
		}
		v.types = append(v.types, short)
	}
	return nil
}

// mediaType brings a typ into the short form of RFC 7515 section 4.1.9. Only ASCII letters are folded: Unicode has
// other letters that become ASCII ones.
func mediaType(typ string) string {
	lower := []byte(typ)
	for i, b := range lower {
		if 'A' <= b && b <= 'Z' {
			lower[i] = b + 'a' - 'A'
		}
	}
	if short, ok := strings.CutPrefix(string(lower), "application/"); ok && !strings.Contains(short, "/") {
		return short
	}
	return string(lower)
}

// Verify judges a token: algorithm, key, signature, and only then the claims. What would be forged or foreign whatever
// the time is said before what has to do with time, so that "expired" is never told about a token that was not ours.
func (v *Verifier) Verify(ctx context.Context, u *Unverified) (c *Claims, err error) {
	defer func() {
		if r := recover(); r != nil {
			c, err = nil, &Error{Reason: "panic", Err: fmt.Errorf("%v\n%s", r, debug.Stack())}
		}
	}()
	if fault := v.checkSignature(ctx, u); fault != nil {
		return nil, fault
	}
	dec, ok := v.decoders.Get().(*jsontext.Decoder)
	if !ok {
		dec = new(jsontext.Decoder)
	}
	all, ok := decodeClaims(dec, u.payload)
	v.decoders.Put(dec)
	if !ok {
		return nil, invalid("claims are not one JSON object with unique names")
	}
	c, fault := v.checkClaims(all, &u.header)
	if fault != nil {
		return nil, fault
	}
	return c, nil
}

func (v *Verifier) checkSignature(ctx context.Context, u *Unverified) *Error {
	alg := canonicalAlgorithm(u.header.algorithm)
	if _, ok := v.verifiers[alg]; !ok { // nobody looks for a key that could not be used
		return invalid("alg is not allowed")
	}
	q := Query{KeyID: u.header.keyID, HasKeyID: u.header.hasKeyID, Algorithm: alg}
	key, err := v.keys.Key(ctx, q)
	if err != nil {
		return keyFault(err)
	}
	fault := v.checkMatch(alg, key, u.signingInput, u.signature)
	if fault == nil {
		return nil
	}
	if renewer, ok := v.keys.(Renewer); ok {
		if other, found := renewer.Renew(ctx, q, key); found {
			return v.checkMatch(alg, other, u.signingInput, u.signature)
		}
	}
	return fault
}

// checkMatch is the only place where a signature meets a key.
func (v *Verifier) checkMatch(alg string, key Key, signingInput, signature []byte) *Error {
	verifier, ok := v.verifiers[alg]
	if !ok {
		return invalid("alg is not allowed")
	}
	if !key.Fits(alg) { // whoever picked it: a key never verifies what it is not for
		return invalid("key does not fit alg")
	}
	// Its error may quote the token, so it is not passed on.
	if verifier.Verify(signingInput, signature, key.material) != nil {
		return invalid("signature does not match")
	}
	return nil
}

func keyFault(err error) *Error {
	if unavailable, ok := errors.AsType[*UnavailableError](err); ok {
		return &Error{Kind: Unavailable, Reason: "keys unavailable", RetryAfter: unavailable.RetryAfter, Err: err}
	}
	switch {
	case errors.Is(err, ErrNoSuchKey):
		return &Error{Kind: Invalid, Reason: "no such key", Err: err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: Unavailable, Reason: "gave up waiting for keys", Err: err}
	default:
		return &Error{Reason: "looking for the key failed", Err: err}
	}
}
