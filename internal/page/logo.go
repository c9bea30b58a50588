package page

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"image/png"
	"io"
	"net/http"
)

// MaxLogoBytes is the size up to which a logo is embedded in every page.
const MaxLogoBytes = 24 << 10

// LoadLogo makes the data: URI under which a logo is embedded, so that a page
// needs no second request. The kind is told by the content, never by the name,
// which is only used in errors.
func LoadLogo(name string, data []byte) (template.URL, error) {
	switch {
	case len(data) == 0:
		return "", fmt.Errorf("logo %s: the file is empty; expected a png, svg or webp image", name)
	case len(data) > MaxLogoBytes:
		return "", fmt.Errorf("logo %s: %d bytes; at most %d (24 KiB) are embedded in a page", name, len(data), MaxLogoBytes)
	}
	kind, err := logoKind(data)
	if err != nil {
		return "", fmt.Errorf("logo %s: %w", name, err)
	}
	//nolint:gosec // the kind is one of three constants and base64 has no special characters
	return template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data)), nil
}

func logoKind(data []byte) (string, error) {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		if _, err := png.DecodeConfig(bytes.NewReader(data)); err != nil {
			return "", fmt.Errorf("damaged png image: %w", err)
		}
		return "image/png", nil
	case len(data) > 16 && string(data[:4]) == "RIFF" && string(data[8:15]) == "WEBPVP8":
		return "image/webp", nil
	}
	if root, err := xmlRoot(data); err == nil && root == "svg" {
		return "image/svg+xml", nil
	} else if err != nil && bytes.Contains(data, []byte("<svg")) {
		return "", fmt.Errorf("damaged svg image: %w", err)
	}
	return "", fmt.Errorf("found %s; expected a png, svg or webp image", http.DetectContentType(data))
}

// xmlRoot reads the whole document, since a browser shows nothing of a broken
// one, and returns the name of its root element. Scripts need no look: an svg
// in an img element runs none.
func xmlRoot(data []byte) (string, error) {
	root := ""
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) && root != "" {
			return root, nil
		}
		if err != nil {
			return root, err
		}
		if e, ok := t.(xml.StartElement); ok && root == "" {
			root = e.Name.Local
		}
	}
}
