package gatehouse

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// viewBody is the body of a view, for matchers that read it through Caddy's
// placeholder. Views share one body, which can be read once: it is read through
// the request that they are views of, where Caddy puts it back.
type viewBody struct {
	of   *http.Request
	text io.Reader // nil: not asked for yet
}

// Read implements io.Reader.
func (b *viewBody) Read(p []byte) (int, error) {
	if b.text == nil {
		value, _ := b.of.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Get("http.request.body")
		switch value := value.(type) {
		case string:
			b.text = strings.NewReader(value)
		case caddyhttp.RequestBodyLimitError:
			// In the form from which Caddy makes this error again.
			return 0, caddyhttp.HandlerError{Err: value.Err, StatusCode: http.StatusRequestEntityTooLarge}
		default:
			return 0, errors.New("the request body cannot be read")
		}
	}
	return b.text.Read(p)
}

// Close implements io.Closer. The body itself is the server's to close.
func (b *viewBody) Close() error { return nil }
