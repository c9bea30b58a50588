package gatehouse

import (
	"net/http"
	"strings"
	"testing"
)

// Scanners ask every host for these.
func TestSensitiveFilesAreCovered(t *testing.T) {
	for kind, names := range map[string]string{
		"environment":       ".env .env.local .env.production .ENV .env.bak .env~ prod.env .env.txt",
		"version control":   ".git .git/config .git/HEAD .gitignore .gitlab-ci.yml .github .svn .svn/entries .hg .bzr .cvs .gitconfig",
		"servers":           ".htaccess .htpasswd .HTACCESS .htaccess.bak web.config web.config.bak .user.ini php.ini",
		"WordPress":         "wp-config.php wp-config.php.bak wp-config.php.save wp-config.php~ wp-config.txt wp-config-backup.php WP-CONFIG.PHP",
		"other panels":      "configuration.php configuration.php-dist LocalSettings.php config.inc.php hestia.conf mysql.conf miniserv.users mysqlPassword adminPass settings.py",
		"databases":         "dump.sql dump.sql.gz DUMP.SQL.GZ backup.sql.zip dump.sql.2024-01-31.gz site.sqlite site.sqlite3 data.mdb a.dump site.sql.tar.bz2",
		"backups":           "index.php.bak index.php.old index.php.orig index.php.save x.backup index.php~ .index.php.swp index.php.swo #index.php# a.bak.1 config.bak.zip",
		"keys":              "id_rsa id_dsa id_ecdsa id_ed25519 server.pem server.key server.pfx a.p12 a.jks a.kdbx a.ppk server.key.gpg authorized_keys .ssh .ssh/config",
		"clouds and shells": ".aws .aws/credentials .kube .docker .npmrc .netrc .bash_history .my.cnf .pgpass terraform.tfstate terraform.tfstate.backup credentials.json",
		"desktops":          ".DS_Store .ds_store Thumbs.db .idea .vscode",
		"Windows' ends":     ".env. .env%20 wp-config.php... web.config::$DATA dump.sql:x",
		"projects":          "composer.json composer.lock docker-compose.yml Dockerfile",
	} {
		for name := range strings.FieldsSeq(names) {
			for _, path := range []string{"/" + name, "/a/b/" + name, "/" + name + "/", "//" + name, "/.well-known2/" + name} {
				if path = strings.ReplaceAll(path, "%20", " "); !isSensitiveFile(path) {
					t.Errorf("%s: %q is not covered", kind, path)
				}
			}
		}
	}
}

// A rule that blocks what a panel serves would be turned off, and then it
// protects nothing.
func TestSensitiveFilesLeaveTheRestAlone(t *testing.T) {
	for kind, paths := range map[string]string{
		"panels":        "/ /login /admin/ /panel/settings /environment /environments/1 /env /gitlab /git /github/x /keys /key /api/v1/keys.json /backup /backups/1 /backup/new /sql /phpmyadmin/ /databases/old /old/x /save /config /configuration",
		"files":         "/index.php /wp-login.php /wp-admin/admin.php /settings.html /app.js /jquery.hotkeys.min.js /img/key.svg /img/backup.png /style.old.css /save.svg /monkey /keyboard.js /index.html.gz /readme.txt /v1.2.3 /release-2024.01.31 /app.key.js",
		"domains":       "/domains/example.com /domains/www.old.example.com /domains/db.backup.example.org /dns/api.key.example.net /mail/bob@dev.env.example.com /domains/example.com:8443 /sites/sql.example.com",
		"standards":     "/.well-known/acme-challenge/x /.well-known/security.txt /.well-known/x.key /.well-known/.env /.well-known/openid-configuration /.well-known/pki-validation/a.bak",
		"dots":          "/... /.x /a..b /.hidden /.well-known",
		"homes":         "/~ /~ada/ /~ada/x /#",
		"REST resource": "/api/dump /api/users/id /v2/registry/manifests/latest /api/composer /api/thumbs /events/2024-01-31",
	} {
		for path := range strings.FieldsSeq(paths) {
			if isSensitiveFile(path) {
				t.Errorf("%s: %q is blocked", kind, path)
			}
		}
	}
}

// Folders below another /.well-known are not the standards' one, and its name in
// other letters is not its name.
func TestWellKnownIsNoWayAround(t *testing.T) {
	for _, path := range []string{"/.WELL-KNOWN/.env", "/x/.well-known/.git/config", "//.well-known/.env", "/.well-known", "/.well-known.bak"} {
		if want := path != "/.well-known"; isSensitiveFile(path) != want {
			t.Errorf("%s: covered %t, want %t", path, !want, want)
		}
	}
	s := newSite(t, "public *\ndeny sensitive_files")
	for _, target := range []string{"/.git/config", "/a/.ENV", "/%2egit/config", "/.git;x/config", "/;/.git", "//host/.git", "/x.bak;y", "/.env/x.png", "/.env?x=/.well-known/", "/.e%6ev", "//.well-known/.env"} {
		s.expect(refusedWith(403, codePathDenied), ask{target: "/", change: setTargetOf(t, target)})
	}
	for _, target := range []string{"/.well-known/../.git", "/.well-known/..;/.git", "/.well-known/%2e%2e/.git", "/.well-known%2f..%2f.git", `/.well-known\..\.git`} {
		s.expect(refusedWith(400, codeRequestAmbiguous), ask{target: "/", change: setTargetOf(t, target)})
	}
	s.expect(pass(), ask{target: "/.well-known/acme-challenge/x"})
}

// setTargetOf gives a request a raw target.
func setTargetOf(t *testing.T, target string) func(*http.Request) {
	return func(r *http.Request) { setTarget(t, r, target) }
}
