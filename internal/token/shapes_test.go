package token_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// What the providers send, in their shapes: where the roles and scopes are, and what beside them must not become one.

type shape struct {
	name   string
	path   token.ClaimPath
	roles  []string // by Strings, for roles and groups
	scopes []string // by Words, for scopes
}

// shapes judges a token of the provider, with its usual header, and reads every path.
func shapes(t *testing.T, p token.Policy, header, claims string, want []shape) *token.Claims {
	t.Helper()
	c := accept(t, verifier(p, publicKeys()), compact("RS256", header, claims))
	for _, w := range want {
		t.Run(w.name, func(t *testing.T) {
			if got := c.Strings(w.path); w.roles != nil && !slices.Equal(got, w.roles) {
				t.Errorf("roles %q, want %q", got, w.roles)
			}
			if got := c.Words(w.path); w.scopes != nil && !slices.Equal(got, w.scopes) {
				t.Errorf("scopes %q, want %q", got, w.scopes)
			}
		})
	}
	return c
}

func of(iss, aud string) token.Policy {
	p := policy()
	p.Issuer, p.Audiences = iss, []string{aud}
	return p
}

func join(names ...string) token.ClaimPath { return must(token.JoinClaimPath(names...)) }

func nothing() []string { return []string{} }

func TestClaimShapesOfKeycloak(t *testing.T) {
	const iss = "https://id.hoster.example/realms/customers"
	c := shapes(t, of(iss, "https://panel.hoster.example/"), `{"alg":"RS256","typ":"JWT","kid":"rsa"}`, `{
		"exp":1800000300,"iat":1800000000,"jti":"onrtac:5d0c1f6e-8a0b-4a6e-9b8d-1f3c2b7a9e10","iss":"`+iss+`",
		"aud":["https://panel.hoster.example/","account"],"sub":"f3b1c2d4-5e6f-4a1b-8c9d-0e1f2a3b4c5d","typ":"Bearer","azp":"panel-web",
		"sid":"7c0e4f5a-1b2c-4d3e-9f8a-6b5c4d3e2f1a","acr":"1","allowed-origins":["https://panel.hoster.example"],
		"realm_access":{"roles":["default-roles-customers","offline_access","reseller"]},
		"resource_access":{
			"account":{"roles":["manage-account","view-profile"]},
			"https://panel.hoster.example/":{"roles":["domain-admin","view-profile"]},
			"panel.web":{"roles":["dns"]},
			"broken":{"roles":[7,true,null,{"name":"admin"},["admin"],"mail"]},
			"odd":["admin"],"number":1},
		"scope":"openid email profile","email_verified":true,"preferred_username":"ana@customer.example"}`, []shape{
		{"realm roles", path("realm_access.roles"), []string{"default-roles-customers", "offline_access", "reseller"}, nil},
		{"roles of one client", path("resource_access.account.roles"), []string{"manage-account", "view-profile"}, nil},
		{"roles of a client that is called like a URL", join("resource_access", "https://panel.hoster.example/", "roles"), []string{"domain-admin", "view-profile"}, nil},
		{"roles of a client with a dot in its name", join("resource_access", "panel.web", "roles"), []string{"dns"}, nil},
		{"roles of all clients, each once", path("resource_access.*.roles"), []string{"manage-account", "view-profile", "mail", "domain-admin", "dns"}, nil},
		{"of a client's roles only strings", path("resource_access.broken.roles"), []string{"mail"}, nil},
		{"a client called * is one client", join("resource_access", "*", "roles"), nothing(), nil},
		{"an object is no role", path("resource_access"), nothing(), nil},
		{"scopes", path("scope"), nil, []string{"openid", "email", "profile"}},
		{"a boolean claim is no role", path("email_verified"), nothing(), nothing()},
		{"groups that were not mapped", path("groups"), nothing(), nil},
	})
	if c.Subject() != "f3b1c2d4-5e6f-4a1b-8c9d-0e1f2a3b4c5d" {
		t.Errorf("subject %q", c.Subject())
	}
}

func TestClaimShapesOfAuth0(t *testing.T) {
	const iss = "https://hoster.eu.auth0.com/"
	c := shapes(t, of(iss, "https://api.hoster.example"), `{"alg":"RS256","typ":"JWT","kid":"rsa"}`, `{
		"https://hoster.example/roles":["Billing Admin","support"],"https://hoster.example/plan":{"name":"pro","seats":5},
		"https://hoster.example/level":9,"https://hoster.example/staff":true,
		"https://hoster":{"example/roles":["admin"]},
		"iss":"`+iss+`","sub":"auth0|6552a1b0c3d4e5f607182930","aud":["https://api.hoster.example","https://hoster.eu.auth0.com/userinfo"],
		"iat":1800000000,"exp":1800086400,"scope":"openid profile read:sites","azp":"Zp3mW1Qk8RtY5uIo","permissions":["read:sites","write:sites"]}`, []shape{
		{"roles under a URL", path("https://hoster.example/roles"), []string{"Billing Admin", "support"}, nil},
		{"a URL of another claim", path("https://hoster.example/role"), nothing(), nil},
		{"permissions are an array of whole words", path("permissions"), []string{"read:sites", "write:sites"}, []string{"read:sites", "write:sites"}},
		{"scopes", path("scope"), nil, []string{"openid", "profile", "read:sites"}},
		{"a number is no role", path("https://hoster.example/level"), nothing(), nothing()},
		{"a boolean is no role", path("https://hoster.example/staff"), nothing(), nothing()},
		{"an object is no role", path("https://hoster.example/plan"), nothing(), nothing()},
	})
	if c.Subject() != "auth0|6552a1b0c3d4e5f607182930" {
		t.Errorf("subject %q", c.Subject())
	}
	refuse(t, verifier(of(strings.TrimSuffix(iss, "/"), "https://api.hoster.example"), publicKeys()),
		compact("RS256", `{"alg":"RS256","kid":"rsa"}`, claimsWith("iss", `"`+iss+`"`)), token.Invalid) // its issuer ends in a slash
}

// Entra publishes keys with use and x5c and without alg: each may do what its type can, within the allow-list.
func TestClaimShapesOfEntra(t *testing.T) {
	const iss = "https://login.microsoftonline.com/0a1b2c3d-4e5f-4061-8273-849506a7b8c9/v2.0"
	const app = "api://5e4d3c2b-1a09-4f8e-9d7c-6b5a49382716"
	set := fmt.Sprintf(`{"keys":[{"kty":"RSA","use":"sig","kid":"rsa","x5t":"rsa","n":%q,"e":"AQAB","x5c":["MIIC"],"cloud_instance_name":"microsoftonline.com","issuer":%q}]}`,
		enc(keys().rsa.N.Bytes()), iss)
	published, warnings, err := keyset.ParseSet([]byte(set))
	if err != nil || len(warnings) > 0 || len(published) != 1 || len(published[0].Algorithms()) != 6 {
		t.Fatalf("keys %v, warnings %v, error %v", published, warnings, err)
	}
	const header = `{"typ":"JWT","alg":"RS256","x5t":"rsa","kid":"rsa"}`
	const common = `"aud":"` + app + `","iss":"` + iss + `","iat":1800000000,"nbf":1800000000,"exp":1800004500,"azp":"2f1e0d9c","azpacr":"1",
		"oid":"9c8b7a69-5847-4635-a241-302f1e0d9c8b","tid":"0a1b2c3d-4e5f-4061-8273-849506a7b8c9","uti":"Xk3pT0mQ1E","ver":"2.0"`
	user := `{` + common + `,"sub":"kQ2-7VnU4mZpAqLr0xYtBw","name":"Ana Novak","scp":"Sites.Read Sites.Write","roles":["Panel.Admin","Task Writer"],
		"groups":["d1e2f3a4-b5c6-4d7e-8f90-a1b2c3d4e5f6"],"wids":["62e90394-69f5-4237-9190-012177145e10"]}`
	daemon := `{` + common + `,"sub":"9c8b7a69-5847-4635-a241-302f1e0d9c8b","idtyp":"app","roles":"Sites.Read.All"}`
	p := of(iss, app)
	shapes(t, p, header, user, []shape{
		{"app roles, spaces kept", path("roles"), []string{"Panel.Admin", "Task Writer"}, nil},
		{"scopes in one string", path("scp"), nil, []string{"Sites.Read", "Sites.Write"}},
		{"groups only when they are asked for", path("groups"), []string{"d1e2f3a4-b5c6-4d7e-8f90-a1b2c3d4e5f6"}, nil},
		{"no scope claim", path("scope"), nil, nothing()},
	})
	shapes(t, p, header, daemon, []shape{
		{"a daemon's only role, as a string", path("roles"), []string{"Sites.Read.All"}, nil},
		{"a daemon has no scopes", path("scp"), nil, nothing()},
	})
	v := verifier(p, keyset.NewStatic(published))
	accept(t, v, compact("RS256", header, user))
	refuse(t, v, compact("HS256", `{"alg":"HS256","kid":"rsa"}`, user), token.Invalid)
	p.Algorithms = []string{"RS256"}
	refuse(t, verifier(p, keyset.NewStatic(published)), compact("PS256", `{"alg":"PS256","kid":"rsa"}`, user), token.Invalid)
	// Many groups: Entra leaves them out and says where to ask. Nothing of that is a group.
	shapes(t, of(iss, app), header, `{`+common+`,"sub":"s","_claim_names":{"groups":"src1"},"_claim_sources":{"src1":{"endpoint":"https://graph.example"}}}`,
		[]shape{{"overage", path("groups"), nothing(), nil}})
}

// Cognito's access tokens have no aud but client_id: the operator says `audience any` and a claim rule.
func TestClaimShapesOfCognito(t *testing.T) {
	const iss = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab3dEf9Gh"
	claims := `{"sub":"b3e4f5a6-7081-4293-a4b5-c6d7e8f90123","cognito:groups":["panel-admins","eu-central-1_Ab3dEf9Gh_Google"],"iss":"` + iss + `",
		"version":2,"client_id":"4q1r8tn0c7v2m5k9","origin_jti":"0d1c2b3a","event_id":"9f8e7d6c","token_use":"access",
		"scope":"aws.cognito.signin.user.admin https://api.hoster.example/sites.read","auth_time":1799999700,"exp":1800003300,"iat":1799999700,
		"jti":"5a6b7c8d","username":"ana","custom:level":3}`
	const header = `{"kid":"rsa","alg":"RS256"}`
	p := of(iss, "4q1r8tn0c7v2m5k9")
	refuse(t, verifier(p, publicKeys()), compact("RS256", header, claims), token.Invalid)
	p.Audiences, p.AnyAudience = nil, true
	c := shapes(t, p, header, claims, []shape{
		{"groups under a name with a colon", path("cognito:groups"), []string{"panel-admins", "eu-central-1_Ab3dEf9Gh_Google"}, nil},
		{"scopes, one of them a URL", path("scope"), nil, []string{"aws.cognito.signin.user.admin", "https://api.hoster.example/sites.read"}},
		{"a number is no role", path("custom:level"), nothing(), nothing()},
		{"nor is the version", path("version"), nothing(), nothing()},
	})
	if id, ok := c.Text(path("client_id")); !ok || id != "4q1r8tn0c7v2m5k9" {
		t.Errorf("client_id %q", id)
	}
	if at, ok := c.AuthTime(); !ok || at.Unix() != 1799999700 {
		t.Errorf("auth_time %v", at)
	}
}

// gotrue, which is Supabase's: app_metadata is the service's, user_metadata is what users wrote about themselves.
func TestClaimShapesOfGotrue(t *testing.T) {
	const iss = "https://qwertyuiopasdfghjklz.supabase.co/auth/v1"
	shapes(t, of(iss, "authenticated"), `{"alg":"RS256","kid":"rsa","typ":"JWT"}`, `{
		"iss":"`+iss+`","sub":"1f2e3d4c-5b6a-4789-90ab-cdef01234567","aud":"authenticated","exp":1800003600,"iat":1800000000,
		"email":"ana@customer.example","phone":"","role":"authenticated","aal":"aal2","amr":[{"method":"otp","timestamp":1799999990}],
		"app_metadata":{"provider":"email","providers":["email","github"],"roles":["editor",2,false],"role":"manager","tenant":42},
		"user_metadata":{"roles":["admin"],"role":"admin"},"session_id":"8a7b6c5d","is_anonymous":false}`, []shape{
		{"roles of the service, only strings", path("app_metadata.roles"), []string{"editor"}, nil},
		{"a single role", path("app_metadata.role"), []string{"manager"}, nil},
		{"the database role at the top", path("role"), []string{"authenticated"}, nil},
		{"what the user wrote is somewhere else", path("roles"), nothing(), nil},
		{"a number is no role", path("app_metadata.tenant"), nothing(), nothing()},
		{"a boolean is no role", path("is_anonymous"), nothing(), nothing()},
		{"how they signed in", path("amr.*.method"), []string{"otp"}, nil},
	})
}

// Scopes in every way they are sent: RFC 8693 has one string, Okta and others an array.
func TestClaimShapesOfScopes(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        []string
	}{
		{"one string", `"read:sites write:sites"`, []string{"read:sites", "write:sites"}},
		{"one string with more spaces", `" read:sites  write:sites "`, []string{"read:sites", "write:sites"}},
		{"an array", `["read:sites","write:sites"]`, []string{"read:sites", "write:sites"}},
		{"an array with a space inside a member", `["read:sites write:sites"]`, []string{"read:sites write:sites"}},
		{"only a space separates", `"read:sites,write:sites\twrite:dns\u00a0x"`, []string{"read:sites,write:sites\twrite:dns\u00a0x"}},
		{"numbers and booleans in an array", `["read:sites",1,true,null,{},["x"]]`, []string{"read:sites"}},
		{"a number", `7`, nothing()},
		{"a boolean", `true`, nothing()},
		{"null", `null`, nothing()},
		{"an object", `{"read:sites":true}`, nothing()},
		{"an empty string", `""`, nothing()},
		{"an empty array", `[]`, nothing()},
	} {
		shapes(t, policy(), `{"alg":"RS256","kid":"rsa"}`, claimsWith("scope", c.value), []shape{{c.name, path("scope"), nil, c.want}})
	}
}
