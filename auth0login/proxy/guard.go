package proxy

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"vault-plugin-secrets-auth0/auth0login"
)

// errForbidden is the error of reading what has a secret in it that must not pass.
var errForbidden = errors.New("a secret that must not pass")

// secrets are what must not pass: local secrets towards Auth0, real ones towards the
// application. They are found as they are, percent-encoded, and in HTTP Basic.
type secrets []string

// realOf are those of credentials with which an attempt was made. A private key is found by
// each of its lines, however they are separated.
func realOf(c auth0login.Credentials, sent string) secrets {
	if !c.ByAssertion() {
		return c.ClientSecrets
	}
	real := secrets{sent}
	for line := range strings.Lines(c.PrivateKey) {
		if line = strings.TrimSpace(line); len(line) >= MinLocalSecret && !strings.HasPrefix(line, "-") {
			real = append(real, line)
		}
	}
	return real
}

func (s secrets) in(text string) bool {
	return slices.ContainsFunc(s, func(secret string) bool { return strings.Contains(text, secret) })
}

func (s secrets) encodedIn(text string) bool {
	return s.in(text) || strings.Contains(text, "%") && s.in(unescaped(text))
}

// inName is in for the name of a header, of which upper and lower case may have changed.
func (s secrets) inName(name string) bool {
	return slices.ContainsFunc(s, func(secret string) bool {
		return len(name) >= len(secret) && strings.Contains(strings.ToLower(name), strings.ToLower(secret))
	})
}

// inHeader says whether one is in a header, but for Authorization if that is left out.
func (s secrets) inHeader(header http.Header, authorization bool) bool {
	for name, values := range header {
		isAuthorization := name == "Authorization"
		if isAuthorization && !authorization {
			continue
		}
		for _, value := range values {
			if s.inName(name) || s.encodedIn(value) {
				return true
			}
			if _, credentials, ok := strings.Cut(value, " "); ok && isAuthorization && s.encodedIn(decoded(credentials)) {
				return true
			}
		}
	}
	return false
}

// decoded gives what is in base64 of any of the usual kinds, or nothing.
func decoded(text string) string {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if plain, err := encoding.DecodeString(text); err == nil {
			return string(plain)
		}
	}
	return ""
}

// unescaped decodes all that is percent-encoded, and leaves the rest as it is.
func unescaped(text string) string {
	var plain strings.Builder
	for {
		before, after, found := strings.Cut(text, "%")
		plain.WriteString(before)
		if !found {
			return plain.String()
		}
		text = after
		if len(after) < 2 {
			plain.WriteByte('%')
			continue
		}
		if b, err := hex.DecodeString(after[:2]); err == nil {
			plain.Write(b)
			text = after[2:]
		} else {
			plain.WriteByte('%')
		}
	}
}

// guarded passes on what is read until a secret comes, of which nothing passes: it holds
// back what may be the beginning of one.
type guarded struct {
	io.ReadCloser
	forbidden secrets
	longest   int
	held      []byte
	err       error
}

func (s secrets) guard(body io.ReadCloser) io.ReadCloser {
	g := &guarded{ReadCloser: body, forbidden: s}
	for _, secret := range s {
		g.longest = max(g.longest, len(secret))
	}
	return g
}

// Read implements io.Reader.
func (g *guarded) Read(p []byte) (int, error) {
	for {
		free := len(g.held) - max(g.longest-1, 0)
		if g.err != nil {
			free = len(g.held)
		}
		if free > 0 {
			n := copy(p, g.held[:free])
			g.held = g.held[n:]
			return n, nil
		}
		if g.err != nil {
			return 0, g.err
		}
		buffer := make([]byte, 4<<10)
		n, err := g.ReadCloser.Read(buffer)
		g.held, g.err = append(g.held, buffer[:n]...), err
		if g.forbidden.in(string(g.held)) {
			g.held, g.err = nil, errForbidden
		}
	}
}
