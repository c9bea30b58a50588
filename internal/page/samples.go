package page

import (
	"html/template"
	"strings"
	"time"
)

// Samples are refusals with a code in all the shapes that a page has: bare,
// with everything, and where what was sent is lost. The second one is the usual
// case, and is what a preview shows.
func Samples(code string) []Refusal {
	bare := Refusal{Status: sampleStatus(code), Code: code}
	full := bare
	full.RequestID = "3f2b8c1e-9d54-4a7b-8f60-2c1d5e7a9b34"
	full.Time = time.Date(2030, 1, 2, 15, 4, 5, 0, time.UTC)
	full.Method, full.ReturnTo = "GET", "/sample?a=b"
	switch code {
	case "locked_out", "throttled", "keys_unavailable", "status_429", "status_503":
		full.RetryAfter = 15 * time.Minute
	case "address_denied":
		full.Address = "192.0.2.1"
	case "step_up_required":
		full.MaxAge, full.ACRValues = "300", "urn:example:mfa"
	}
	lost := full
	lost.Method, lost.ReturnTo = "POST", ""
	lost.RetryAfter, lost.Returned, lost.Address = 5*time.Hour, true, "2001:db8::1"
	lost.Params = map[string]string{"roles": "admin", "scopes": "write:users", "claim": "department", "address": "192.0.2.1"}
	said := full
	said.Message = "A sentence of the operator’s own."
	return []Refusal{bare, full, lost, said}
}

func sampleBrand() Brand {
	return Brand{
		Name: "Sample", Color: defaultColor, Logo: template.URL("data:image/svg+xml;base64,PHN2Zy8+"),
		Login:  "https://login.example.com/?to={return_to}&lang={lang}&max_age={max_age}&acr={acr_values}",
		Logout: "/logout?to={return_to}", Home: "/", Support: "mailto:help@example.com?subject={request_id}",
		RequestAccess: "https://help.example.com/?id={request_id}", Links: []Link{{"Status", "https://status.example.com/"}},
	}
}

// sampleStatus is the status that goes with a code; for what has no page of its
// own any status of that page will do.
func sampleStatus(code string) int {
	switch {
	case code == "credentials_ambiguous", code == "request_ambiguous", code == "other":
		return 400
	case strings.HasPrefix(code, "token_"), strings.HasPrefix(code, "credentials_"), code == "step_up_required", code == "status_401":
		return 401
	case strings.HasSuffix(code, "_missing"), strings.HasSuffix(code, "_denied"), code == "locked_out", code == "throttled", code == "status_403":
		return 403
	case code == "status_404":
		return 404
	case code == "too_early":
		return 425
	case code == "status_429":
		return 429
	case code == "internal_error", code == "status_500":
		return 500
	default:
		return 503
	}
}
