package page

import (
	"strconv"
	"strings"
	"testing"
)

func testLanguages() *languages {
	l, err := newLanguages("en", []string{"en", "de", "fr", "pt-BR", "pt", "nb", "he", "id", "zh-Hans", "zh-Hant", "ru", "fil", "es-419"})
	if err != nil {
		panic(err)
	}
	return l
}

func TestLanguage(t *testing.T) {
	l := testLanguages()
	for _, c := range []struct{ name, header, want string }{
		{"nothing", "", "en"},
		{"a browser", "de-CH,de;q=0.9,en;q=0.8", "de"},
		{"an exact region", "pt-BR,pt;q=0.9", "pt-BR"},
		{"another region", "pt-PT", "pt"},
		{"a language that has regions only", "es-ES,es;q=0.9", "es-419"},
		{"the first of equals", "fr, de", "fr"},
		{"the highest weight", "fr;q=0.5, de;q=0.6", "de"},
		{"one that is not there goes to the next", "sw, fr;q=0.1", "fr"},
		{"Belarusian is not Russian", "be", "en"},
		{"Ukrainian is not Russian", "uk-UA,uk", "en"},
		{"a bad tag does not void the rest", "x_!!, €, de;q=0.3", "de"},
		{"a bad weight voids its own tag", "fr;q=zwei, de;q=0.3", "de"},
		{"a refused language", "de;q=0, fr;q=0.1", "fr"},
		{"everything refused", "de;q=0", "en"},
		{"a wildcard", "*", "en"},
		{"a wildcard above a language", "fr;q=0.1, *;q=0.5", "en"},
		{"upper case and underscores", "PT_BR", "pt-BR"},
		{"Norwegian", "no", "nb"},
		{"Nynorsk", "nn-NO", "nb"},
		{"Hebrew by its old code", "iw-IL", "he"},
		{"Indonesian by its old code", "in", "id"},
		{"Tagalog", "tl-PH", "fil"},
		{"Taiwan", "zh-TW", "zh-Hant"},
		{"Hong Kong with script", "zh-Hant-HK", "zh-Hant"},
		{"Hong Kong", "zh-HK", "zh-Hant"},
		{"China", "zh-CN,zh;q=0.9", "zh-Hans"},
		{"Chinese", "zh", "zh-Hans"},
		{"a tag that is too long", strings.Repeat("de-", 20) + "de, fr;q=0.1", "fr"},
		{"after 32 ranges", strings.Repeat("xx,", 32) + "de", "en"},
		{"after 1 KiB", strings.Repeat("x", 1024) + ",de", "en"},
		{"cut at 1 KiB", strings.Repeat("x", 1018) + ",de-CH;q=0", "en"},
		{"commas only", ",,,", "en"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := l.choose(c.header); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if n := testing.AllocsPerRun(100, func() { l.find("de-CH,de;q=0.9") }); n != 0 {
		t.Errorf("%v allocations of a header that is remembered", n)
	}
	if n := testing.AllocsPerRun(100, func() { l.choose("de-CH,de;q=0.9,en-GB;q=0.8,en;q=0.7") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// all are the languages that catalogues are written for.
func all() []string {
	return strings.Fields("en de fr es it pt pt-BR nl sv da nb fi pl cs ro hu bg uk ru tr el ar he fa vi th id ms ja ko zh-Hans zh-Hant bn lo")
}

func TestLanguagesThatBrowsersSend(t *testing.T) {
	l, err := newLanguages("en", all())
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		"pt-BR,pt;q=0.9,en-US;q=0.8": "pt-BR", "pt-PT,pt;q=0.9": "pt", "pt": "pt", "pt-AO": "pt",
		"no": "nb", "nn-NO,nn;q=0.9": "nb", "nb-NO,nb;q=0.9,no;q=0.8": "nb",
		"zh": "zh-Hans", "zh-CN,zh;q=0.9": "zh-Hans", "zh-SG": "zh-Hans", "zh-Hans-CN": "zh-Hans", "cmn": "zh-Hans",
		"zh-TW,zh;q=0.9,en;q=0.8": "zh-Hant", "zh-HK": "zh-Hant", "zh-MO": "zh-Hant", "zh-Hant-TW": "zh-Hant", "zh_TW": "zh-Hant",
		"iw-IL": "he", "he-IL": "he", "in-ID": "id", "id": "id", "mo": "ro", "ji": "en", "jw": "en",
		"es-419,es;q=0.9": "es", "en-GB": "en", "fr-CA": "fr", "ar-EG": "ar", "fa-AF": "fa", "ms-BN": "ms", "lo-LA": "lo", "bn-IN": "bn",
		"be,ru;q=0.1": "ru", "sr-Latn": "en", "yue-HK": "en", "ca,es;q=0.5": "es", "da-DK,sv;q=0.9": "da", "uk-UA,ru;q=0.9": "uk",
	} {
		for range 2 { // the second time from memory
			if got := l.find(header); got != want {
				t.Errorf("%q: got %q, want %q", header, got, want)
			}
		}
	}
	for _, tag := range all() {
		if got := l.find(tag); got != tag {
			t.Errorf("%q: got %q", tag, got)
		}
	}
}

// An attacker sends a new header with every request.
func TestRememberedHeadersAreBounded(t *testing.T) {
	l := testLanguages()
	for i := range 20 * rememberedHeaders {
		if got := l.find("fr-" + strconv.Itoa(i)); got != "fr" {
			t.Fatal(got)
		}
	}
	l.find("de," + strings.Repeat("x", maxRememberedHeader))
	l.remembered.CleanUp()
	if n := l.remembered.EstimatedSize(); n > rememberedHeaders {
		t.Errorf("%d headers are remembered", n)
	}
	for header := range l.remembered.Keys() {
		if len(header) > maxRememberedHeader {
			t.Errorf("a header of %d bytes is remembered", len(header))
		}
	}
}

func TestDirectionIsByScript(t *testing.T) {
	for tag, want := range map[string]string{
		"en": "ltr", "ar": "rtl", "he": "rtl", "fa": "rtl", "ur": "rtl", "yi": "rtl", "dv": "rtl", "az": "ltr", "az-Arab": "rtl", "ar-Latn": "ltr", "ja": "ltr", "zh-Hant": "ltr", "ckb": "rtl",
	} {
		if got := direction(tag); got != want {
			t.Errorf("%s: %s", tag, got)
		}
	}
}

func FuzzLanguage(f *testing.F) {
	for _, s := range []string{"", "de-CH,de;q=0.9,en;q=0.8", "*", "zh-TW;q=.5", "x;;q=1,,", "pt_br ; q=0.3", strings.Repeat("a,", 600)} {
		f.Add(s)
	}
	l := testLanguages()
	known := map[string]bool{}
	for _, tag := range l.byTag {
		known[tag] = true
	}
	f.Fuzz(func(t *testing.T, header string) {
		if got := l.choose(header); !known[got] {
			t.Fatalf("%q gave %q", header, got)
		}
	})
}
