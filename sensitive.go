package gatehouse

import "strings"

// wellKnown is where standards put files that must be served (RFC 8615).
const wellKnown = "/.well-known/"

// isSensitiveFile reports a path on which some segment is a file or folder that
// never belongs on the web. Scanners ask every host for these.
func isSensitiveFile(path string) bool {
	if strings.HasPrefix(path, wellKnown) {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		// Windows drops dots and spaces at the end, and takes what follows a colon
		// for a part of the file.
		name, _, _ := strings.Cut(segment, ":")
		if name = strings.TrimRight(name, ". "); name != "" && isSensitiveName(strings.ToLower(name)) {
			return true
		}
	}
	return false
}

// isSensitiveName judges one segment, in lower case.
func isSensitiveName(name string) bool {
	if len(name) > 1 && (name[len(name)-1] == '~' || name[0] == '#' && name[len(name)-1] == '#') {
		return true // editors' leftovers
	}
	return name[0] == '.' && isSensitiveDotName(name) || isSensitiveWholeName(name) ||
		isConfigurationScript(name) || hasSensitiveExtension(name)
}

// isSensitiveDotName knows hidden files and folders. Version control and Apache
// keep several beside each other, such as .gitignore and .htpasswd.
func isSensitiveDotName(name string) bool {
	for _, prefix := range [...]string{".env", ".git", ".svn", ".hg", ".bzr", ".ht"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case ".aws", ".azure", ".bash_history", ".bash_profile", ".bashrc", ".config", ".cvs", ".docker", ".dockercfg", ".dockerenv",
		".ds_store", ".idea", ".kube", ".my.cnf", ".mysql_history", ".netrc", ".npmrc", ".pgpass", ".profile", ".psql_history",
		".pypirc", ".s3cfg", ".ssh", ".terraform", ".user.ini", ".vscode", ".yarnrc", ".zsh_history":
		return true
	}
	return false
}

// isSensitiveWholeName knows files of applications and panels whose extension
// says nothing.
func isSensitiveWholeName(name string) bool {
	switch name {
	case "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "authorized_keys",
		"composer.json", "composer.lock", "docker-compose.yml", "docker-compose.yaml", "dockerfile", "web.config",
		"appsettings.json", "credentials.json", "secrets.yml", "database.yml", "php.ini", "debug.log", "thumbs.db",
		// CyberPanel, HestiaCP, Webmin
		"mysqlpassword", "adminpass", "settings.py", "hestia.conf", "mysql.conf", "miniserv.conf", "miniserv.users":
		return true
	}
	return false
}

// isConfigurationScript knows scripts that hold passwords, under every name that
// begins with theirs: wp-config.php.save is served as text.
func isConfigurationScript(name string) bool {
	for _, script := range [...]string{"wp-config", "configuration.php", "localsettings.php", "config.inc.php"} {
		if strings.HasPrefix(name, script) {
			return true
		}
	}
	return false
}

// hasSensitiveExtension looks at the extension below packing: dump.sql.gz holds
// what dump.sql does. Names within are not extensions, for panels have domains in
// their paths: www.old.example.com.
func hasSensitiveExtension(name string) bool {
	for {
		dot := strings.LastIndexByte(name, '.')
		if dot < 0 {
			return false
		}
		switch extension := name[dot+1:]; extension {
		case "sql", "sqlite", "sqlite3", "mdb", "dump", "dmp",
			"bak", "backup", "old", "orig", "save", "swp", "swo",
			"pem", "key", "pfx", "p12", "jks", "keystore", "kdbx", "ppk",
			"env", "tfstate":
			return true
		default:
			if !isPacking(extension) {
				return false
			}
		}
		name = name[:dot]
	}
}

// isPacking knows what tools put behind the name of a file that they pack,
// encrypt or number.
func isPacking(extension string) bool {
	switch extension {
	case "gz", "bz2", "xz", "zst", "lz4", "br", "z", "zip", "7z", "rar", "tar", "tgz", "gpg", "asc", "enc", "txt":
		return true
	}
	return strings.Trim(extension, "0123456789-_") == ""
}
