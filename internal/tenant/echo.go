package tenant

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Encoding is how the fault Echo writes what it was sent.
type Encoding string

// The encodings. Those that escape do so with every character, as none forbids
// it: an escape that leaves alphanumerics alone would hide no secret.
const (
	Plain        Encoding = "plain" // the default
	JSONEscaped  Encoding = "json"
	Base64       Encoding = "base64"
	Hex          Encoding = "hex"
	URLEscaped   Encoding = "url"
	HTMLEntities Encoding = "html"
	CutOff       Encoding = "cut-off" // the first three quarters: most of a secret
	Reversed     Encoding = "reversed"
)

var encodings = map[Encoding]func(string) string{
	"":           func(s string) string { return s },
	Plain:        func(s string) string { return s },
	JSONEscaped:  func(s string) string { return each(`\u%04x`, s) },
	Base64:       func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	Hex:          func(s string) string { return hex.EncodeToString([]byte(s)) },
	URLEscaped:   func(s string) string { return each("%%%02X", s) },
	HTMLEntities: func(s string) string { return each("&#%d;", s) },
	CutOff:       func(s string) string { return s[:len(s)*3/4] },
	Reversed: func(s string) string {
		runes := []rune(s)
		slices.Reverse(runes)
		return string(runes)
	},
}

// each formats every byte.
func each(format, s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

// echo gives an error whose message has the body of the request and its
// Authorization header in it.
func echo(c *call, f *activeFault) answer {
	encode := encodings[f.Encoding]
	return c.errorAnswer(f.statusOr(http.StatusBadRequest), "invalid_request", fmt.Sprintf("Cannot process %s of %s",
		encode(string(c.body)), encode(c.r.Header.Get("Authorization"))))
}
