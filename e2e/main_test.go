// Package e2e holds tests that need real counterparts: an OpenID provider, a
// client that signs in there, an upstream, a browser. It is a module of its
// own, so that what they depend on stays out of the product.
package e2e

import (
	"fmt"
	"log/slog"
	"os"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// beCaddy makes this program the command that a test runs.
const beCaddy = "E2E_BE_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(beCaddy) != "" {
		caddycmd.Main()
		return
	}
	// The example provider logs every request to the default logger.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	code := m.Run()
	if err := chromium.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the browser:", err)
		code = 1
	}
	os.Exit(code)
}
