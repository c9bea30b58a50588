package token_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-gatehouse/gatehouse/internal/keyset"
	"github.com/caddy-gatehouse/gatehouse/internal/token"
)

const jsonSuite = "JSONTestSuite"

// jsonPlace is where foreign JSON gets in. A place for whole documents takes one object, whatever its members; any
// JSON value may be a member. An error means that the JSON was not read.
type jsonPlace struct {
	name  string
	whole bool
	read  func(t *testing.T, data []byte) error
}

var errNotRead = errors.New("not read as JSON")

func jsonPlaces() []jsonPlace {
	v := verifier(policy(), keySet{edKey()})
	return []jsonPlace{
		{"header", true, func(_ *testing.T, data []byte) error {
			_, err := token.Parse(enc(data)+"."+enc(goodClaims)+".AAAA", vectorLimit)
			if e, ok := errors.AsType[*token.Error](err); ok && e.Reason == "header has no alg string" {
				return nil // its JSON was good
			}
			return err
		}},
		{"header member", false, func(t *testing.T, data []byte) error {
			return judgeLarge(t, v, compact("EdDSA", `{"alg":"EdDSA","kid":"ed","x":`+string(data)+`}`, goodClaims))
		}},
		{"claims", true, func(t *testing.T, data []byte) error {
			if judgeLarge(t, v, edToken(string(data))) == nil {
				t.Error("claims without issuer, subject and end were accepted")
			}
			if !token.DecodesClaims(data) {
				return errNotRead
			}
			return nil
		}},
		{"claims member", false, func(t *testing.T, data []byte) error {
			return judgeLarge(t, v, edToken(`{"x":`+string(data)+","+goodClaims[1:]))
		}},
		{"key set", true, func(_ *testing.T, data []byte) error {
			_, _, err := keyset.ParseSet(data)
			if err != nil && strings.Contains(err.Error(), `it has no "keys"`) {
				return nil // its JSON was good
			}
			return err
		}},
		{"key set member", false, func(_ *testing.T, data []byte) error {
			return readsKeys(`{"x":`+string(data)+`,"keys":[`+suiteKey("a", "")+`]}`, 1)
		}},
		{"key member", false, func(_ *testing.T, data []byte) error {
			return readsKeys(`{"keys":[`+suiteKey("a", "")+","+suiteKey("b", `,"x5c":`+string(data))+`]}`, 2)
		}},
	}
}

func judgeLarge(t *testing.T, v *token.Verifier, raw string) error {
	t.Helper()
	u, err := token.Parse(raw, vectorLimit)
	if err != nil {
		return err
	}
	_, err = v.Verify(t.Context(), u)
	return err
}

func suiteKey(kid, more string) string {
	return `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"` + kid + `"` + more + `}`
}

func readsKeys(set string, want int) error {
	found, warnings, err := keyset.ParseSet([]byte(set))
	if err == nil && (len(found) != want || len(warnings) > 0) {
		return errors.New(strings.Join(warnings, "; "))
	}
	return err
}

// What is JSON is read in every place it may stand in, what is not JSON in none. Where RFC 8259 leaves the choice, the
// list names what we read.
func TestVectorsOfJSONTestSuite(t *testing.T) {
	folder := filepath.Join(vectors(t), jsonSuite, "test_parsing")
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	y := newTally(t, jsonSuite)
	places := jsonPlaces()
	for _, f := range files {
		kind, _, named := strings.Cut(f.Name(), "_")
		if !named || filepath.Ext(f.Name()) != ".json" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(folder, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		isObject := json.Valid(data) && bytes.HasPrefix(bytes.TrimSpace(data), []byte("{"))
		for _, p := range places {
			y.judged(f.Name()+" as "+p.name, kind == "y" && (isObject || !p.whole), p.read(t, data))
		}
	}
	y.done(318 * 7)
}
