package keyset

import (
	"strings"
	"testing"
	"time"
)

func TestOptionsThatCanWork(t *testing.T) {
	for name, o := range map[string]Options{
		"a JWKS URL, whatever the issuer is called": {Issuer: "not a url", URL: "https://id.example/keys?v=2"},
		"an issuer with metadata":                   {Issuer: "https://id.example/realms/acme/"},
		"plain http on localhost":                   {URL: "http://localhost:8080/keys"},
		"plain http on LOCALHOST":                   {URL: "http://LOCALHOST/keys"},
		"plain http on 127.0.0.0/8":                 {URL: "http://127.8.9.10/keys"},
		"plain http on ::1":                         {URL: "http://[::1]:80/keys"},
		"https on loopback":                         {URL: "https://127.0.0.1/keys"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := o.Check(); err != nil {
				t.Fatal(err)
			}
			if r, err := NewRemote(o); err != nil || r.Ready() || r.Generation() != 0 {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestOptionsThatAreMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		says string
	}{
		"nothing":                           {Options{}, "issuer"},
		"an issuer that is no URL":          {Options{Issuer: "acme"}, "https"},
		"an issuer on plain http":           {Options{Issuer: "http://id.example"}, "localhost"},
		"an issuer with a query":            {Options{Issuer: "https://id.example/?a=b"}, "query"},
		"an issuer with an empty query":     {Options{Issuer: "https://id.example/?"}, "query"},
		"keys on plain http":                {Options{URL: "http://id.example/keys"}, "localhost"},
		"keys on a private address":         {Options{URL: "http://192.168.1.1/keys"}, "localhost"},
		"a host that only looks like one":   {Options{URL: "http://localhost.evil.example/keys"}, "localhost"},
		"a decimal loopback address":        {Options{URL: "http://2130706433/keys"}, "localhost"},
		"a loopback address with a zone":    {Options{URL: "http://[::1%25eth0]/keys"}, "localhost"},
		"a file URL":                        {Options{URL: "file:///etc/keys.json"}, "https"},
		"no host":                           {Options{URL: "https:///keys"}, "host"},
		"a port but no host":                {Options{URL: "https://:443/keys"}, "host"},
		"an opaque URL":                     {Options{URL: "https:keys"}, "host"},
		"a password":                        {Options{URL: "https://u:hunter2@id.example/keys"}, "password"},
		"a user in front of the host":       {Options{URL: "https://localhost@id.example/keys"}, "password"},
		"a fragment":                        {Options{URL: "https://id.example/keys#k1"}, "fragment"},
		"an empty fragment":                 {Options{URL: "https://id.example/keys#"}, "fragment"},
		"not a URL, with a password inside": {Options{URL: "https://u:hunter2@id.example:port/"}, "not a URL"},
		"a negative max_stale":              {Options{URL: "https://id.example/keys", MaxStale: -time.Second}, "max_stale"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.o.Check()
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want an error that says %q", err, c.says)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("the error prints the password: %v", err)
			}
			if _, err := NewRemote(c.o); err == nil {
				t.Fatal("NewRemote took it")
			}
		})
	}
}
