// Package e2e holds tests that need real counterparts: an OpenID provider, a
// client that signs in there, an upstream, a browser. It is a module of its
// own, so that what they depend on stays out of the product.
package e2e

import (
	"log/slog"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	// The example provider logs every request to the default logger.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}
