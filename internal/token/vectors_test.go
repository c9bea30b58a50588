package token_test

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

// Public test vectors lie beside the project, never in it. Those of key sets are run here too: they come with
// signatures, and the list of differences is one.

// vectors returns where they are: in GATEHOUSE_VECTORS, an absolute path, or in shared/vectors beside the project.
func vectors(t *testing.T) string {
	t.Helper()
	dir := cmp.Or(os.Getenv("GATEHOUSE_VECTORS"), filepath.Join("..", "..", "..", "shared", "vectors"))
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return dir
	case os.Getenv("CI") == "true":
		t.Fatalf("no public test vectors in %s; set GATEHOUSE_VECTORS to where they are", dir)
	default:
		t.Skipf("NOT RUN: no public test vectors in %s; set GATEHOUSE_VECTORS to where they are", dir)
	}
	return ""
}

func vectorFile(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// difference is why we judge some vectors of one file in another way than the file does.
type difference struct {
	File    string   `json:"file"`
	Vectors []string `json:"vectors"`
	We      string   `json:"we"` // accept or refuse
	Why     string   `json:"why"`
}

var differences = sync.OnceValues(func() ([]difference, error) {
	data, err := os.ReadFile(filepath.Join("testdata", "vectors-differ.json"))
	if err != nil {
		return nil, err
	}
	var list []difference
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return list, dec.Decode(&list)
})

// tally counts the vectors of one file and holds our verdicts against the file's and against the committed list.
type tally struct {
	t      *testing.T
	file   string
	listed map[string]string // vector: what we do
	ran    map[string]bool
}

func newTally(t *testing.T, file string) *tally {
	t.Helper()
	list, err := differences()
	if err != nil {
		t.Fatal(err)
	}
	y := &tally{t: t, file: file, listed: map[string]string{}, ran: map[string]bool{}}
	for _, d := range list {
		if len(d.Why) < 20 || d.We != "accept" && d.We != "refuse" {
			t.Errorf("the list says of %s %v neither what we do nor why", d.File, d.Vectors)
		}
		if d.File != file {
			continue
		}
		for _, id := range d.Vectors {
			if _, twice := y.listed[id]; twice {
				t.Errorf("%s %s is listed twice", file, id)
			}
			y.listed[id] = d.We
		}
	}
	return y
}

// judged takes one verdict: what the file wants of the vector, and the error we refuse it with, if we do.
func (y *tally) judged(id string, want bool, err error) {
	y.t.Helper()
	if y.ran[id] {
		y.t.Errorf("%s %s was run twice", y.file, id)
	}
	y.ran[id] = true
	we := "accept"
	if err != nil {
		we = "refuse"
	}
	listed, isListed := y.listed[id]
	switch differs := want != (err == nil); {
	case differs && !isListed:
		y.t.Errorf("%s %s: we %s it (%v), the file does not, and no list says why", y.file, id, we, err)
	case differs && listed != we:
		y.t.Errorf("%s %s: we %s it, the list says otherwise", y.file, id, we)
	case !differs && isListed:
		y.t.Errorf("%s %s: no longer differs from the file, take it off the list", y.file, id)
	}
}

// done makes sure that the vectors were there: an empty folder passes no test.
func (y *tally) done(least int) {
	y.t.Helper()
	if len(y.ran) < least {
		y.t.Errorf("%s: %d vectors ran, expected at least %d", y.file, len(y.ran), least)
	}
	for _, id := range slices.Sorted(maps.Keys(y.listed)) {
		if !y.ran[id] {
			y.t.Errorf("%s %s is listed and did not run", y.file, id)
		}
	}
	y.t.Logf("%s: %d vectors, %d differ", y.file, len(y.ran), len(y.listed))
}

// A list that names a file nobody runs would hide that the file is gone.
func TestListOfDifferingVectorsNamesOnlyWhatIsRun(t *testing.T) {
	list, err := differences()
	if err != nil {
		t.Fatal(err)
	}
	known := slices.Concat(wycheproofFiles(), []string{jsonSuite})
	for _, d := range list {
		if !slices.Contains(known, d.File) {
			t.Errorf("%s is not among the files that are run", d.File)
		}
	}
}

type jwk struct {
	Keys []json.RawMessage `json:"keys"`
	Kty  string            `json:"kty"`
	Kid  string            `json:"kid"`
	Alg  string            `json:"alg"`
	K    string            `json:"k"`
}

// vectorKeys makes keys of a JWK or JWKS: secrets by our own key check, all else by the parser of key files, which
// refuses a secret in such a place.
func vectorKeys(raw json.RawMessage) (set token.Keys, algorithms []string, err error) {
	var doc jwk
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, nil, err
	}
	members := doc.Keys
	if members == nil {
		members = []json.RawMessage{raw}
	}
	var secrets []token.Key
	for _, m := range members {
		var one jwk
		if err := json.Unmarshal(m, &one); err != nil {
			return nil, nil, err
		}
		if one.Kty != "oct" {
			secrets = nil
			break
		}
		k, err := secretOf(one)
		if err != nil {
			return nil, nil, err
		}
		secrets = append(secrets, k)
	}
	if secrets != nil {
		return keyset.NewStatic(secrets), token.SecretAlgorithms(), nil
	}
	list, _, err := keyset.ParseFile(raw)
	return keyset.NewStatic(list), token.DefaultAlgorithms(), err
}

func secretOf(k jwk) (token.Key, error) {
	bytes, err := base64.RawURLEncoding.DecodeString(k.K)
	if err != nil {
		return token.Key{}, err
	}
	spec := token.KeySpec{ID: k.Kid, Material: bytes}
	if k.Alg != "" {
		spec.Algorithms = []string{k.Alg}
	}
	return token.NewKey(spec)
}

// onlyKey is the key of a set that has one.
func onlyKey(t *testing.T, raw json.RawMessage, alg string) token.Key {
	t.Helper()
	set, _, err := vectorKeys(publicHalf(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	k, err := set.Key(t.Context(), token.Query{Algorithm: alg})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// publicHalf takes the private members off a JWK; a secret is left as it is.
func publicHalf(t *testing.T, raw json.RawMessage) json.RawMessage {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi"} {
		delete(m, name)
	}
	return must(json.Marshal(m))
}

// signatures is a verifier for the signature layer: nothing of its policy but the algorithms is used there.
func signatures(algorithms []string, set token.Keys) *token.Verifier {
	p := policy()
	p.Algorithms = algorithms
	return verifier(p, set)
}

// everyAlgorithm gives the allow-list that has the algorithm in it.
func everyAlgorithm(alg string) []string {
	if slices.Contains(token.SecretAlgorithms(), alg) {
		return token.SecretAlgorithms()
	}
	return token.DefaultAlgorithms()
}

// credential judges a vector as a bearer token of the issuer it names, for any audience, about that issuer.
func credential(t *testing.T, iss string, algorithms []string, set token.Keys, raw string) error {
	t.Helper()
	p := policy()
	p.Issuer, p.Audiences, p.AnyAudience, p.Algorithms = iss, nil, true, algorithms
	u, err := token.Parse(raw, vectorLimit)
	if err != nil {
		return err
	}
	_, err = verifier(p, set).Verify(t.Context(), u)
	return err
}

const vectorLimit = 1 << 20 // some vectors are larger than any token; their size is not what is wrong with them

func wantKind(t *testing.T, name string, err error, want token.Kind) {
	t.Helper()
	if e, ok := errors.AsType[*token.Error](err); !ok || e.Kind != want {
		t.Errorf("%s: %v, want %v", name, err, want)
	}
}

// text is a JSON string as it reads, and any other JSON as it stands.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

func id[T int | string](n T) string { return fmt.Sprint(n) }
