package gatehouse

import "testing"

// Tomcat strips parameters before it decodes: /;%2fx%2fy/admin is /admin there,
// and /x/y/admin to who decodes first. The rule must hold for both.
func TestEncodedSlashBehindAParameter(t *testing.T) {
	s := newSite(t, "ambiguous_paths allow *\npublic /x/*\nrequire /admin/* role admin")
	token := s.token(t, nil)
	for _, target := range []string{"/;%2fx%2fy/admin", "/;%2Fx%2Fy/%61dmin/users", "/;%2fx%2fy/admin%2fusers", "/;%2fx;%2fy/;/admin"} {
		s.expect(refusedWith(403, codeRoleMissing), ask{target: "/", token: token, change: setTargetOf(t, target)})
		s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/", change: setTargetOf(t, target)})
	}
	s.expect(pass(), ask{target: "/", token: token, change: setTargetOf(t, "/api/vhosts/%2F;a=b/admin")})
}

// To an upstream that splits before it decodes, /public%2fx is one name, and not
// in the folder /public: a registry's package, or a queue, of that name.
func TestEncodedSlashDoesNotWidenAPublicFolder(t *testing.T) {
	s := newSite(t, "ambiguous_paths allow *\npublic /public/*\npublic GET /")
	for _, target := range []string{"/public%2fx", "/public%2Fx/y", "/%2fpublic/x", "/%2f", "/public%2f"} {
		s.expect(refusedWith(401, codeCredentialsMissing), ask{target: "/", change: setTargetOf(t, target)})
	}
	for _, target := range []string{"/public/x%2fy", "/public/%2f", "/public/"} {
		s.expect(pass(), ask{target: "/", change: setTargetOf(t, target)})
	}
}

// A path of a rule that holds an escape is compared in its escaped form: letters
// in capitals and needless escapes must not slip past it.
func TestRuleWithAnEscapeInItsPath(t *testing.T) {
	s := newSite(t, "ambiguous_paths allow *\ndeny /my%20files/*\ndeny /api/%2f/*")
	token := s.token(t, nil)
	for _, target := range []string{"/my%20files/x", "/MY%20files/x", "/%6dy%20files/x", "//my%20files//x", "/my%20files", "/my%20files;x/y", "//host/my%20files/x", "/api/%2F/x", "/API/%2f/x"} {
		s.expect(refusedWith(403, codePathDenied), ask{target: "/", token: token, change: setTargetOf(t, target)})
	}
}
