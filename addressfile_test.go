package gatehouse

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestAddressFileLines(t *testing.T) {
	file := t.TempDir() + "/office"
	writeFile(t, file, "# the office\r\n192.0.2.0/24 # ground floor\n\n  198.51.100.7\t\n203.0.113.10-203.0.113.12\n203.0.113.20 - 203.0.113.20\n::ffff:10.0.0.1\n::ffff:10.1.0.0/112\n2001:db8::/32\n2001:dead::5-2001:dead::9\n::ffff:172.16.0.1-172.16.0.3")
	f, err := openAddressFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for addresses, want := range map[string]bool{
		"192.0.2.0 192.0.2.255 198.51.100.7 203.0.113.10 203.0.113.11 203.0.113.12 203.0.113.20 10.0.0.1 10.1.0.0 10.1.255.255 2001:db8::1 2001:dead::5 2001:dead::9 172.16.0.1 172.16.0.3": true,
		"192.0.1.255 192.0.3.0 198.51.100.8 203.0.113.9 203.0.113.13 203.0.113.21 10.0.0.2 10.2.0.0 2001:db9:: 2001:dead::4 2001:dead::a 172.16.0.4 ::1 0.0.0.0":                            false,
	} {
		for text := range strings.FieldsSeq(addresses) {
			if f.contains(netip.MustParseAddr(text)) != want {
				t.Errorf("%s is in the file: %t", text, !want)
			}
		}
	}
}

// A line that is not understood is no address that is left out: the operator
// would believe that it holds.
func TestBadAddressFileLines(t *testing.T) {
	for _, line := range []string{
		"office.example.com", "192.0.2.0/33", "192.0.2.1/24", "192.0.2.", "192.0.2.1,192.0.2.2", "192.0.2.1 192.0.2.2", "192.0.2.9-192.0.2.1", "192.0.2.1-", "-192.0.2.1", "-", "192.0.2.1-2001:db8::1",
		"192.0.2.1-192.0.2.2-192.0.2.3", "192.0.2.0/24-192.0.3.0/24", "fe80::1%eth0", "fe80::1%eth0-fe80::2%eth0", "private_ranges", "010.0.0.1", "::ffff:0:0/90", "*", "0x7f000001", "192.0.2.1;", "\ufeff192.0.2.1",
	} {
		file := t.TempDir() + "/list"
		writeFile(t, file, "192.0.2.77\n"+line+"\n")
		if _, err := openAddressFile(file); err == nil || !strings.Contains(err.Error(), file+":2: ip: ") {
			t.Errorf("%q: %v", line, err)
		}
	}
	for name, text := range map[string]string{"empty": "", "blank": "\n \n", "only comments": "# nobody\n", "a line too long": strings.Repeat("#", 1<<17)} {
		file := t.TempDir() + "/list"
		writeFile(t, file, text)
		if _, err := openAddressFile(file); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := openAddressFile(t.TempDir() + "/none"); err == nil {
		t.Error("a missing file: no error")
	}
}

// observedFile is an address file under two looks.
func observedFile(t *testing.T, text string) (*addressFile, func() []string) {
	t.Helper()
	file := t.TempDir() + "/list"
	writeFile(t, file, text)
	f, err := openAddressFile(file)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.InfoLevel)
	log := zap.New(core)
	return f, func() (messages []string) {
		f.refresh(log)
		f.refresh(log)
		for _, entry := range logs.TakeAll() {
			messages = append(messages, entry.Level.String())
		}
		return messages
	}
}

var (
	oldAddress = netip.MustParseAddr("192.0.2.1")
	newAddress = netip.MustParseAddr("192.0.2.2")
)

// A list that breaks while the server runs must neither lock everybody out nor
// let everybody in.
func TestBadNewAddressFileKeepsTheOldTable(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"bad":         func(file string) error { return os.WriteFile(file, []byte("192.0.2.2\noffice\n"), 0o600) },
		"empty":       func(file string) error { return os.Truncate(file, 0) },
		"cut short":   func(file string) error { return os.Truncate(file, 6) },
		"comments":    func(file string) error { return os.WriteFile(file, []byte("# moved to another file\n"), 0o600) },
		"missing":     os.Remove,
		"a directory": func(file string) error { _ = os.Remove(file); return os.Mkdir(file, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			f, look := observedFile(t, "192.0.2.1\n")
			if err := spoil(f.name); err != nil {
				t.Fatal(err)
			}
			if got := look(); len(got) != 1 || got[0] != "warn" {
				t.Errorf("logged %v, want one warning", got)
			}
			if !f.contains(oldAddress) || f.contains(newAddress) {
				t.Error("the old table is gone")
			}
			if got := look(); len(got) != 0 {
				t.Errorf("warned of the same file again: %v", got)
			}
			_ = os.Remove(f.name)
			writeFile(t, f.name, "192.0.2.2\n# mended\n")
			if look(); f.contains(oldAddress) || !f.contains(newAddress) {
				t.Error("the mended file is not in force")
			}
		})
	}
}

// Tools that copy times, and editors that swap files, leave size and time as
// they were.
func TestSwappedAddressFileOfTheSameSizeAndTime(t *testing.T) {
	f, look := observedFile(t, "192.0.2.1\n")
	info, err := os.Stat(f.name)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, f.name+".new", "192.0.2.2\n")
	if err := os.Chtimes(f.name+".new", info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.name+".new", f.name); err != nil {
		t.Fatal(err)
	}
	if got := look(); len(got) != 1 || !f.contains(newAddress) {
		t.Errorf("the file that took its place is not in force: %v", got)
	}
}

// A file that is being written holds a good list that is too short: of denied
// addresses, the missing ones would be let in.
func TestAddressFileIsNotReadWhileItIsWritten(t *testing.T) {
	f, _ := observedFile(t, "192.0.2.1\n192.0.2.2\n")
	log := zap.NewNop()
	writeFile(t, f.name, "192.0.2.1\n")
	f.refresh(log)
	if !f.contains(newAddress) {
		t.Fatal("half a file was read at once")
	}
	writeFile(t, f.name, "192.0.2.1\n192.0.2.2\n192.0.2.3\n")
	f.refresh(log)
	if f.contains(netip.MustParseAddr("192.0.2.3")) {
		t.Fatal("a file that had just changed was read")
	}
	if f.refresh(log); !f.contains(netip.MustParseAddr("192.0.2.3")) {
		t.Error("the settled file is not in force")
	}
}

// The app looks at files for as long as it runs, and not after.
func TestAddressFilesArePolledUntilTheAppStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := observedFile(t, "192.0.2.1\n")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			pollAddressFiles(ctx, map[string]*addressFile{f.name: f}, zap.NewNop())
		}()
		writeFile(t, f.name, "192.0.2.2\n# new\n")
		time.Sleep(2*addressFilePoll + 1)
		synctest.Wait()
		if !f.contains(newAddress) {
			t.Error("a changed file is not in force after two looks")
		}
		cancel()
		<-done
		writeFile(t, f.name, "192.0.2.1\n# newer still\n")
		time.Sleep(10 * addressFilePoll)
		if f.contains(oldAddress) {
			t.Error("the file is looked at after the end")
		}
	})
}

// One list is read once for all gates, and a reload reads it anew, even a
// reload that comes before the next look.
func TestGatesShareAnAddressFile(t *testing.T) {
	s := newSigner(t, testIssuer)
	file := t.TempDir() + "/office"
	writeFile(t, file, "192.0.2.1\n")
	gate := "gatehouse {\nissuer " + testIssuer + " {\nkeys " + s.keyFile + "\naudience panel\n}\nrequire /* ip " + file + "\nrequire /* {\nany {\nip /" + file + "\nrole root\n}\n}\n}\n"
	caddyfile := ":80 {\nroute {\n" + gate + gate + "gatehouse_test_spy id:" + s.keyFile + "\n}\n}"
	site := newSiteFrom(t, s, caddyfile)
	if n := len(site.app.files); n != 1 {
		t.Errorf("the list is open %d times", n)
	}
	site.expect(pass(), ask{target: "/", token: s.token(t, nil)})
	writeFile(t, file, "192.0.2.2\n")
	site.expect(pass(), ask{target: "/", token: s.token(t, nil)})
	again := newSiteFrom(t, s, caddyfile)
	again.expect(refusedWith(403, codeAddressDenied), ask{target: "/", token: s.token(t, nil)})
	// The other configuration goes on with what it has until it looks.
	site.expect(pass(), ask{target: "/", token: s.token(t, nil)})
	for _, f := range site.app.files {
		f.refresh(zap.NewNop())
		f.refresh(zap.NewNop())
	}
	site.expect(refusedWith(403, codeAddressDenied), ask{target: "/", token: s.token(t, nil)})
}
