package gatehouse

import "testing"

// What scanners ask every host for, and what looks like it and must be served.
func TestSensitiveFilesAsARule(t *testing.T) {
	s := newSite(t, "deny sensitive_files\npublic *")
	for _, path := range []string{
		"/.env", "/.env.production", "/app/.ENV", "/.git/config", "/sub/.git/HEAD", "/.gitignore", "/.svn/entries", "/.hg/store", "/.htaccess", "/.htpasswd",
		"/wp-config.php", "/WP-Config.php.bak", "/wp-config.php~", "/blog/wp-config.txt", "/wp-config.php.save", "/dump.sql", "/dump.sql.gz", "/DB.SQL", "/backup.sqlite3",
		"/index.php.bak", "/index.php.old", "/index.php.orig", "/.index.php.swp", "/index.php~", "/%23index.php%23", "/id_rsa", "/.ssh/id_rsa", "/id_ed25519",
		"/server.pem", "/server.key", "/cert.pfx", "/.DS_Store", "/.aws/credentials", "/configuration.php", "/config.inc.php", "/web.config", "/etc/hestia.conf",
		"/mysqlPassword", "/.env/", "/.git", "/a/.git/", "/dump.sql/", "/.env.", "/.env%20", "//.env", "/.well-known/../.env", "/.well-known/%2e%2e/.env", "/.well-known.sql",
	} {
		if w := s.do(ask{target: "http://example.com" + path}); w.Code != 403 && w.Code != 400 || w.Header().Get(reachedHeader) != "" {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	for _, path := range []string{
		"/", "/index.php", "/.well-known/acme-challenge/x", "/.well-known/security.txt", "/.well-known/key.pem", "/environment", "/env", "/git", "/gitea/x", "/keys", "/monkey",
		"/api/sql", "/old", "/bak", "/pem/x", "/wp-content/x.js", "/wp-login.php", "/config", "/sql.html", "/favicon.ico", "/page~x",
	} {
		if w := s.do(ask{target: path}); w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
