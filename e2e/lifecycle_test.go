package e2e

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// TestExpiry uses one token before and after its end, as the provider set it.
func TestExpiry(t *testing.T) {
	p := startProvider(t)
	g := startGate(t, p.issuer(), t.TempDir())
	c := g.api(t)
	c.send(t, "GET", "/domains", bearer(p.signIn(t, panelClient, memberName).access)).mustPass(t)

	p.setLifetime(4 * time.Second)
	short := p.signIn(t, panelClient, memberName).access
	c.send(t, "GET", "/domains", bearer(short)).mustPass(t)
	exp, _ := claimsOf(t, short)["exp"].(float64)
	time.Sleep(time.Until(time.Unix(int64(exp), 0)) + 100*time.Millisecond)

	a := c.send(t, "GET", "/domains", bearer(short))
	told := a.mustRefuse(t, http.StatusUnauthorized, "token_expired")
	a.mustChallenge(t, "invalid_token")
	if told.Error != "invalid_token" || told.LoginURL == "" {
		t.Errorf("error %q and login_url %q", told.Error, told.LoginURL)
	}
	// Expired and forged is forged; expired and lacking a role is expired.
	a = c.send(t, "GET", "/domains", bearer(tampered(t, short, "sub", adminID)))
	a.mustRefuse(t, http.StatusUnauthorized, "token_invalid")
	a = c.send(t, "GET", "/admin/users", bearer(short))
	a.mustRefuse(t, http.StatusUnauthorized, "token_expired")
	// On a public path it means anonymous.
	c.send(t, "GET", "/status", bearer(short)).mustPass(t).mustHave(t, map[string]string{"X-User": ""})
}

// TestKeyRotation replaces the provider's key while the gate serves.
func TestKeyRotation(t *testing.T) {
	p := startProvider(t)
	g := startGate(t, p.issuer(), t.TempDir())
	c := g.api(t)
	old := p.signIn(t, panelClient, memberName).access
	c.send(t, "GET", "/domains", bearer(old)).mustPass(t)

	p.rotateKey(t)
	c.send(t, "GET", "/domains", bearer(p.signIn(t, panelClient, memberName).access)).mustPass(t)
	// The old key is gone from the set, so what it signed is worth nothing.
	for range 20 {
		a := c.send(t, "GET", "/domains", bearer(old))
		a.mustRefuse(t, http.StatusUnauthorized, "token_invalid")
	}
	// Asking again for each would let anybody with an old token flood the provider.
	if n := p.keyFetch.Load(); n != 2 {
		t.Errorf("the keys were fetched %d times, want once before and once after", n)
	}
}

// TestReload loads the same configuration again while the gate serves: what
// was fetched is kept, or each reload of a busy host would ask the provider.
func TestReload(t *testing.T) {
	p := startProvider(t)
	g := startGate(t, p.issuer(), t.TempDir())
	c := g.api(t)
	member := p.signIn(t, panelClient, memberName).access
	for range 5 {
		c.send(t, "GET", "/domains", bearer(member)).mustPass(t)
		g.load(t)
	}
	c.send(t, "GET", "/domains", bearer(member)).mustPass(t)
	if n := p.keyFetch.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times, want once", n)
	}
}

// TestProviderOutOfReach proves the first rule of the product: "I cannot check"
// is not "you are wrong". It is never a 401, and never open.
func TestProviderOutOfReach(t *testing.T) {
	p := startProvider(t)
	member := p.signIn(t, panelClient, memberName).access

	t.Run("keys never obtained", func(t *testing.T) {
		p.down.Store(true)
		defer p.down.Store(false)
		c := startGate(t, p.issuer(), t.TempDir()).api(t)
		a := c.send(t, "GET", "/domains", bearer(member))
		told := a.mustRefuse(t, http.StatusServiceUnavailable, "keys_unavailable")
		a.mustNotChallenge(t)
		if a.Header.Get("Retry-After") == "" || told.RetryAfter < 1 {
			t.Errorf("Retry-After %q, retry_after %d", a.Header.Get("Retry-After"), told.RetryAfter)
		}
		// Who brings nothing needs no keys to be told to sign in, and public stays open.
		c.send(t, "GET", "/domains").mustRefuse(t, http.StatusUnauthorized, "credentials_missing")
		began := time.Now()
		c.send(t, "GET", "/status", bearer(member)).mustPass(t)
		if took := time.Since(began); took > time.Second {
			t.Errorf("a public path waited %s for keys", took)
		}
		p.down.Store(false)
		eventually(t, 30*time.Second, "the gate to find the provider again", func() bool {
			return c.send(t, "GET", "/domains", bearer(member)).StatusCode == http.StatusOK
		})
	})
	t.Run("a restart meanwhile", func(t *testing.T) {
		dir := t.TempDir()
		t.Run("before", func(t *testing.T) {
			startGate(t, p.issuer(), dir).api(t).send(t, "GET", "/domains", bearer(member)).mustPass(t)
			eventually(t, 10*time.Second, "the keys to be stored", func() bool {
				kept, err := filepath.Glob(filepath.Join(dir, "gatehouse", "keys", "*.json"))
				return err == nil && len(kept) == 1
			})
		})
		p.down.Store(true)
		defer p.down.Store(false)
		c := startGate(t, p.issuer(), dir).api(t)
		c.send(t, "GET", "/domains", bearer(member)).mustPass(t)
		c.send(t, "GET", "/domains", bearer(tampered(t, member, "sub", adminID))).mustRefuse(t, http.StatusUnauthorized, "token_invalid")
	})
}
