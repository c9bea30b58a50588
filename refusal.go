package gatehouse

import (
	"time"

	"go.uber.org/zap/zapcore"
)

// code names one reason to refuse. The same word is in the body, on the page,
// in the log and in the placeholder {http.gatehouse.code}.
type code string

const (
	codeCredentialsMissing   code = "credentials_missing"
	codeCredentialsMalformed code = "credentials_malformed"
	codeCredentialsAmbiguous code = "credentials_ambiguous"
	codeTokenInvalid         code = "token_invalid"
	codeTokenExpired         code = "token_expired"
	codeTokenNotYetValid     code = "token_not_yet_valid" //nolint:gosec // G101: a code, not a credential
	codeStepUpRequired       code = "step_up_required"
	codeRoleMissing          code = "role_missing"
	codeClaimMissing         code = "claim_missing"
	codeScopeMissing         code = "scope_missing"
	codeAddressDenied        code = "address_denied"
	codePathDenied           code = "path_denied"
	codeOriginDenied         code = "origin_denied"
	codeLockedOut            code = "locked_out"
	codeThrottled            code = "throttled"
	codeRequestAmbiguous     code = "request_ambiguous"
	codeTooEarly             code = "too_early"
	codeKeysUnavailable      code = "keys_unavailable"
	codeInternalError        code = "internal_error"
	codeHidden               code = "hidden"
)

// effect is what a code means on the wire and in the log.
type effect struct {
	status int
	// challenge says that the refusal carries WWW-Authenticate. Only where
	// (other) credentials would help: RFC 9110, section 11.6.1.
	challenge bool
	// oauthError and oauthText are the words of RFC 6750, section 3.1.
	oauthError, oauthText string
	level                 zapcore.Level
}

// Error codes of RFC 6750, section 3.1.
const (
	invalidToken   = "invalid_token"
	invalidRequest = "invalid_request"
)

// effect is the one table from code to answer. What is not in it is our own
// failure: an unknown code must refuse too.
func (c code) effect() effect {
	switch c {
	case codeCredentialsMissing:
		return effect{status: 401, challenge: true, level: zapcore.DebugLevel}
	case codeCredentialsMalformed:
		return effect{401, true, invalidToken, "The access token is malformed", zapcore.InfoLevel}
	case codeCredentialsAmbiguous:
		return effect{400, true, invalidRequest, "The request carries more than one access token", zapcore.InfoLevel}
	case codeTokenInvalid:
		return effect{401, true, invalidToken, "The access token is not valid", zapcore.WarnLevel}
	case codeTokenExpired:
		return effect{401, true, invalidToken, "The access token expired", zapcore.InfoLevel}
	case codeTokenNotYetValid:
		return effect{401, true, invalidToken, "The access token is not valid yet", zapcore.InfoLevel}
	case codeStepUpRequired:
		return effect{401, true, "insufficient_user_authentication", "A more recent or a stronger sign-in is required", zapcore.InfoLevel}
	case codeScopeMissing:
		return effect{status: 403, oauthError: "insufficient_scope", oauthText: "The access token lacks a required scope", level: zapcore.InfoLevel}
	case codeRoleMissing, codeClaimMissing, codeAddressDenied, codePathDenied, codeOriginDenied:
		return effect{status: 403, level: zapcore.InfoLevel}
	case codeThrottled:
		return effect{status: 403, level: zapcore.InfoLevel}
	case codeLockedOut:
		return effect{status: 403, level: zapcore.WarnLevel}
	case codeRequestAmbiguous:
		return effect{status: 400, level: zapcore.InfoLevel}
	case codeTooEarly:
		return effect{status: 425, level: zapcore.DebugLevel}
	case codeKeysUnavailable:
		return effect{status: 503, level: zapcore.ErrorLevel}
	case codeHidden:
		return effect{status: 404, level: zapcore.InfoLevel}
	case codeInternalError:
	}
	return effect{status: 500, level: zapcore.ErrorLevel}
}

// rejectsCredential says that a credential was forged, foreign or malformed. One
// that is missing, or was good once, is not.
func (c code) rejectsCredential() bool {
	return c == codeTokenInvalid || c == codeCredentialsMalformed
}

// refusal is a verdict against a request. A nil *refusal is not a pass by
// itself: judge returns the visitor beside it.
type refusal struct {
	code code
	// rule is the rule that refused, empty where none did.
	rule ruleID
	// cause is the exact reason. It is for logs only.
	cause string
	err   error
	// message is the operator's own sentence for the visitor.
	message string
	// lacks names what is missing, by the catalogue's parameter names.
	lacks      map[string]string
	retryAfter time.Duration
	// maxAge and acr say what a new sign-in must be (RFC 9470).
	maxAge time.Duration
	acr    []string
	// hiddenBy is a rule that wants the refusal told as if there were nothing.
	hiddenBy *requirement
	// visitor is who was refused, once recognised. Error routes may greet those
	// who met something hidden.
	visitor *identity
	// standIn is a path that does not exist, near the hidden one.
	standIn string
	// from is where the credential was; empty without one.
	from string
	// token is what the log may say of a token that was refused.
	token *tokenFacts
	// locksOut says that a lock-out begins with this refusal.
	locksOut bool
	// need is what a rule asked for, for the log: see have.
	need []string
}

// of notes who was refused.
func (f *refusal) of(who *visitor) *refusal {
	if f != nil {
		f.visitor, f.from = who.identity, who.from
	}
	return f
}

// in notes where the credential was, on a copy: the refusal of a token may be
// remembered for the next one.
func (f *refusal) in(c credential) *refusal {
	if f == nil || c.missing() {
		return f
	}
	out := *f
	out.from = c.from
	return &out
}

func (f *refusal) Error() string {
	s := string(f.code)
	if f.cause != "" {
		s += ": " + f.cause
	}
	if f.err != nil {
		s += ": " + f.err.Error()
	}
	return s
}

func (f *refusal) Unwrap() error { return f.err }

func refused(c code, cause string) *refusal { return &refusal{code: c, cause: cause} }
