package page

import "strings"

// GRPCStatus is the gRPC status code that says the same as an HTTP status. A
// hidden refusal is NOT_FOUND. It never returns 0, which would mean OK.
func GRPCStatus(httpStatus int, hidden bool) int {
	const (
		invalidArgument   = 3
		notFound          = 5
		permissionDenied  = 7
		resourceExhausted = 8
		internal          = 13
		unavailable       = 14
		unauthenticated   = 16
	)
	if hidden {
		return notFound
	}
	switch httpStatus {
	case 400:
		return invalidArgument
	case 401:
		return unauthenticated
	case 403:
		return permissionDenied
	case 404:
		return notFound
	case 429:
		return resourceExhausted
	case 425, 503:
		return unavailable
	default:
		return internal
	}
}

// GRPCMessage percent-encodes a sentence for the grpc-message trailer, as the
// gRPC protocol over HTTP/2 demands: everything outside printable ASCII, and
// the percent sign.
func GRPCMessage(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '%' {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
