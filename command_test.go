package gatehouse

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// internalSite writes a Caddyfile with issuer internal and a storage of its
// own, and runs its app so that there is a key.
func internalSite(t *testing.T, options string) (file string, s *site) {
	t.Helper()
	storage := t.TempDir()
	file = filepath.Join(t.TempDir(), "Caddyfile")
	text := `
{
	storage file_system ` + storage + `
}
:80 {
	route {
		gatehouse {
			issuer internal {
				audience panel
			}
			` + options + `
		}
		header ` + reachedHeader + ` ran
		respond "next"
	}
}`
	writeFile(t, file, text)
	s = newSiteFrom(t, newSigner(t, internalIssuer), text)
	// The harness gives every site a storage of its own; the command must look
	// where the Caddyfile says.
	private, err := loadOrMakeInternalKey(t.Context(), &certmagic.FileStorage{Path: storage})
	if err != nil {
		t.Fatal(err)
	}
	<-s.app.builtin.loaded
	key, err := publicInternalKey(private)
	if err != nil {
		t.Fatal(err)
	}
	s.app.builtin.key.Store(&key)
	return file, s
}

func runToken(t *testing.T, q tokenRequest) (string, error) {
	t.Helper()
	var out bytes.Buffer
	if q.lifetime == 0 {
		q.lifetime = time.Hour
	}
	err := q.run(t.Context(), &out, time.Now())
	return strings.TrimSpace(out.String()), err
}

// What the command mints, the gate accepts, with all that was asked for.
func TestTokenCommand(t *testing.T) {
	file, s := internalSite(t, `
			require /all/* {
				role admin
				scope read write
				claim plan gold
				claim level 3
			}`)
	minted, err := runToken(t, tokenRequest{
		config: file, subject: "ada", roles: []string{"admin"}, scopes: []string{"read", "write"},
		claims: []string{"plan=gold", "level=3", `org={"name":"x"}`},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.expect(pass(), ask{target: "/all/x", token: minted})

	short, err := runToken(t, tokenRequest{config: file, subject: "ada", lifetime: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	s.expect(pass(), ask{target: "/", token: short}) // within leeway

	other, err := runToken(t, tokenRequest{config: file, subject: "ada", audience: []string{"elsewhere"}})
	if err != nil {
		t.Fatal(err)
	}
	s.expect(refusedWith(401, codeTokenInvalid), ask{target: "/", token: other})
}

func TestTokenCommandRefuses(t *testing.T) {
	file, _ := internalSite(t, ``)
	noIssuer := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, noIssuer, ":80 {\n\trespond ok\n}")
	noKey := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, noKey, "{\n\tstorage file_system "+t.TempDir()+"\n}\n:80 {\n\tgatehouse {\n\t\tissuer internal {\n\t\t\taudience panel\n\t\t}\n\t}\n}")
	two := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, two, ":80 {\n\tgatehouse {\n\t\tissuer internal {\n\t\t\taudience a\n\t\t}\n\t}\n}\n:81 {\n\tgatehouse {\n\t\tissuer internal {\n\t\t\taudience b\n\t\t}\n\t}\n}")
	for name, c := range map[string]struct {
		tokenRequest
		want string
	}{
		"a token for nobody":                      {tokenRequest{config: file}, "--subject is empty"},
		"a lifetime that is over":                 {tokenRequest{config: file, subject: "a", lifetime: -time.Hour}, "--lifetime is -1h0m0s"},
		"a claim without a value":                 {tokenRequest{config: file, subject: "a", claims: []string{"plan"}}, `found "plan"; expected name=value`},
		"a claim that another flag sets":          {tokenRequest{config: file, subject: "a", claims: []string{"exp=9999999999"}}, "exp is set by another flag"},
		"a configuration without issuer internal": {tokenRequest{config: noIssuer, subject: "a"}, "found no `issuer internal`"},
		"a configuration that is not there":       {tokenRequest{config: "/no/such/Caddyfile", subject: "a"}, "no such file"},
		"a storage without a key":                 {tokenRequest{config: noKey, subject: "a"}, "start the server with this configuration first"},
		"two issuers internal with two audiences": {tokenRequest{config: two, subject: "a"}, "several issuers internal"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runToken(t, c.tokenRequest)
			if err == nil || !strings.Contains(err.Error(), c.want) || out != "" {
				t.Errorf("got %q, %v; want an error with %q", out, err, c.want)
			}
		})
	}
}

// The command reads the key and never makes one: a key made by another user
// would lock the server out of its own storage.
func TestTokenCommandMakesNoKey(t *testing.T) {
	storage := t.TempDir()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, file, "{\n\tstorage file_system "+storage+"\n}\n:80 {\n\tgatehouse {\n\t\tissuer internal {\n\t\t\taudience panel\n\t\t}\n\t}\n}")
	if _, err := runToken(t, tokenRequest{config: file, subject: "a"}); err == nil {
		t.Fatal("minted without a key")
	}
	err := filepath.WalkDir(storage, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			t.Errorf("the command wrote %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The key is kept for its owner alone, and a second start finds it again.
func TestInternalKeyIsKept(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	first, err := loadOrMakeInternalKey(t.Context(), storage)
	if err != nil {
		t.Fatal(err)
	}
	second, err := loadOrMakeInternalKey(t.Context(), storage)
	if err != nil || !first.Equal(second) {
		t.Fatalf("the second start made another key: %v", err)
	}
	info, err := fs.Stat(osDir(storage.Path), internalKeyName)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file is %v: %v", info, err)
	}
}

// Every key in the header that could make a verifier look elsewhere is absent.
func TestMintedHeader(t *testing.T) {
	private, err := loadOrMakeInternalKey(t.Context(), &certmagic.FileStorage{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	minted, err := mint(private, map[string]any{"sub": "a"})
	if err != nil {
		t.Fatal(err)
	}
	var header map[string]string
	if err := json.Unmarshal(decodeSegment(t, minted, 0), &header); err != nil {
		t.Fatal(err)
	}
	if len(header) != 3 || header["alg"] != "EdDSA" || header["typ"] != "at+jwt" || header["kid"] == "" {
		t.Errorf("header is %v", header)
	}
}
