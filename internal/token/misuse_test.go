package token_test

import (
	"crypto/ed25519"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// An ID token tells the panel's login page who signed in, and lies about in browsers, logs and analytics. Issuer,
// signature and often audience are those of an access token. Where the issuer marks access tokens (RFC 9068), `types`
// keeps the two apart.
func TestAttackIDTokenAsAccessToken(t *testing.T) {
	idToken := claimsWith("nonce", `"n-0S6_WzA2Mj"`, "at_hash", `"77QmUPtjPfzWtF2AnpK9RQ"`, "auth_time", "1799999000", "azp", `"panel"`)
	access := claimsWith("client_id", `"panel"`, "scope", `"read:sites"`)
	strict := policy()
	strict.Types = []string{"at+jwt"}
	for _, c := range []struct {
		name, header, claims string
		lax, strict          bool
	}{
		{"an access token as RFC 9068 has it", `{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}`, access, true, true},
		{"an access token under the long name", `{"alg":"EdDSA","kid":"ed","typ":"application/at+jwt"}`, access, true, true},
		{"an ID token", `{"alg":"EdDSA","kid":"ed","typ":"JWT"}`, idToken, true, false},
		{"an ID token without typ", `{"alg":"EdDSA","kid":"ed"}`, idToken, true, false},
		{"an ID token that says so", `{"alg":"EdDSA","kid":"ed","typ":"id+jwt"}`, idToken, false, false},
		{"a logout token", `{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}`, idToken, false, false},
		{"a typ that only holds the right one", `{"alg":"EdDSA","kid":"ed","typ":"JWT at+jwt"}`, idToken, false, false},
		{"a typ in a list", `{"alg":"EdDSA","kid":"ed","typ":["at+jwt"]}`, idToken, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := compact("EdDSA", c.header, c.claims)
			for v, good := range map[*token.Verifier]bool{verifier(policy(), publicKeys()): c.lax, verifier(strict, publicKeys()): c.strict} {
				if good {
					accept(t, v, raw)
				} else {
					refuse(t, v, raw, token.Invalid)
				}
			}
		})
	}
}

// Two tenants name their key alike, as "1" or "main". One tenant's signature must not pass for the other's, whichever
// of the two the token says it is from.
func TestAttackSameKeyIDInTwoIssuers(t *testing.T) {
	ours, theirs := ed25519.NewKeyFromSeed(secret()[:32]), ed25519.NewKeyFromSeed(secret()[1:33])
	other := policy()
	other.Issuer = "https://other.example"
	judges := map[string]*token.Verifier{
		issuer:       verifier(policy(), keySet{newKey("main", ours.Public())}),
		other.Issuer: verifier(other, keySet{newKey("main", theirs.Public())}),
	}
	signed := func(key ed25519.PrivateKey, iss string) string {
		input := enc(`{"alg":"EdDSA","kid":"main"}`) + "." + enc(claimsWith("iss", `"`+iss+`"`))
		return input + "." + enc(ed25519.Sign(key, []byte(input)))
	}
	accept(t, judges[issuer], signed(ours, issuer))
	accept(t, judges[other.Issuer], signed(theirs, other.Issuer))
	for name, raw := range map[string]string{
		"theirs in our name": signed(theirs, issuer), "ours in their name": signed(ours, other.Issuer),
	} {
		for _, v := range judges {
			t.Run(name, func(t *testing.T) { refuse(t, v, raw, token.Invalid) })
		}
	}
	// And neither judge takes an honest token of the other.
	refuse(t, judges[issuer], signed(theirs, other.Issuer), token.Invalid)
	refuse(t, judges[other.Issuer], signed(ours, issuer), token.Invalid)
}

// Secrets that everybody tries first: none at all, that of the examples, and zeros in place of the real one.
func TestAttackGuessedSecret(t *testing.T) {
	p := policy()
	p.Algorithms = token.SecretAlgorithms()
	v := verifier(p, keySet{hmacKey()})
	for _, alg := range token.SecretAlgorithms() {
		input := enc(fmt.Sprintf(`{"alg":%q,"kid":"hmac"}`, alg)) + "." + enc(goodClaims)
		accept(t, v, input+"."+enc(signHMAC(secret(), alg, []byte(input))))
		for name, guess := range map[string][]byte{
			"nothing": nil, "secret": []byte("secret"), "zeros": make([]byte, 64), "a part of it": secret()[:63], "the kid": []byte("hmac"),
			"its base64url": []byte(enc(secret())), "it and a newline": append(secret(), '\n'),
		} {
			t.Run(alg+" "+name, func(t *testing.T) {
				refuse(t, v, input+"."+enc(signHMAC(guess, alg, []byte(input))), token.Invalid)
			})
		}
	}
}

// The parts of a public key as a JWKS shows them, raw and in base64url: another way to turn it into an HMAC secret.
func TestAttackMembersOfAPublicJWKAsSecret(t *testing.T) {
	point := must(keys().p256.PublicKey.Bytes())
	secrets := policy()
	secrets.Algorithms = token.SecretAlgorithms()
	for kid, c := range map[string]struct {
		key    token.Key
		member []byte
	}{
		"rsa":  {rsaKey(), keys().rsa.N.Bytes()},
		"p256": {p256Key(), point[1:33]},
		"ed":   {edKey(), keys().ed.Public().(ed25519.PublicKey)},
	} {
		for name, text := range map[string][]byte{"raw": c.member, "in base64url": []byte(enc(c.member)), "whole point": point} {
			t.Run(kid+" "+name, func(t *testing.T) {
				input := enc(`{"alg":"HS256","kid":"`+kid+`"}`) + "." + enc(goodClaims)
				forged := input + "." + enc(signHMAC(text, "HS256", []byte(input)))
				refuse(t, verifier(policy(), publicKeys()), forged, token.Invalid)
				refuse(t, verifier(policy(), anyway(c.key)), forged, token.Invalid)
				refuse(t, verifier(secrets, anyway(c.key)), forged, token.Invalid)
			})
		}
	}
}

// The forger says where to get the key, and waits there: with a key that fits, or to see our address from inside
// (server-side request forgery). Neither a token nor a key set makes us call anybody.
func TestAttackURLsInTokensAndKeysAreNeverFetched(t *testing.T) {
	trap, calls := listen(t)
	evil := "http://" + trap
	attacker := ed25519.NewKeyFromSeed(secret()[:32])
	evilKey := okp("evil", attacker.Public(), "")
	issuerSite := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"jku":"%s/set","keys":[%s]}`, evil,
			okp("ed", keys().ed.Public(), fmt.Sprintf(`,"jku":"%s/a","x5u":"%s/b","x5c":["%s/c"]`, evil, evil, evil)))
	}))
	defer issuerSite.Close()
	remote := must(keyset.NewRemote(keyset.Options{Issuer: issuer, URL: issuerSite.URL}))
	remote.Start(nil)
	v := verifier(policy(), remote)
	for _, member := range []string{
		fmt.Sprintf(`"jku":"%s/jwks"`, evil), fmt.Sprintf(`"x5u":"%s/chain.pem"`, evil), `"jwk":` + evilKey,
		fmt.Sprintf(`"x5c":["%s/cert"]`, evil), fmt.Sprintf(`"jwk":{"x5u":"%s/k"},"x5t":"%s","x5t#S256":"%s"`, evil, evil, evil),
		fmt.Sprintf(`"iss":"%s","cty":"%s","url":"%s"`, evil, evil, evil),
	} {
		for _, kid := range []string{"ed", "evil", evil + "/kid"} {
			header := fmt.Sprintf(`{"alg":"EdDSA","kid":%q,%s}`, kid, member)
			input := enc(header) + "." + enc(claimsWith("jku", `"`+evil+`/claim"`))
			refuse(t, v, input+"."+enc(ed25519.Sign(attacker, []byte(input))), token.Invalid)
		}
		accept(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":"ed",`+member+`}`, goodClaims))
	}
	// A token that names the trap as its issuer is judged by nobody who would ask there.
	refuse(t, v, edToken(claimsWith("iss", `"`+evil+`"`)), token.Invalid)
	if err := remote.Close(); err != nil {
		t.Fatal(err)
	}
	// Ours is the first call the trap sees: connections are taken in the order in which they come.
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", trap)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Read(make([]byte, 1)) // until the trap has counted and closed it
	_ = conn.Close()
	if n := calls.Load(); n != 1 {
		t.Errorf("somebody followed a URL: %d calls", n-1)
	}
}

// listen counts connections and closes them.
func listen(t *testing.T) (address string, calls *atomic.Int64) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String(), calls
}

func okp(kid string, public any, more string) string {
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q,"kid":%q%s}`, enc([]byte(public.(ed25519.PublicKey))), kid, more)
}
