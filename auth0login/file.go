package auth0login

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
)

// File is a [Source] that reads a file which Vault Agent renders, for instance by
// the template
//
//	{{ with secret "auth0/creds/shop" }}{{ .Data | toJSON }}{{ end }}
//
// It is read for each login, so that a change takes effect at once. Vault Agent
// replaces files atomically; should something else leave it half written or take it
// away, the credentials that were read last go on to be used.
func File(path string) Source { return &file{path: path, read: ParseCredentials} }

// KeyFile is a [Source] that reads a private key in PEM from a file which Vault Agent
// renders, for instance by the template
//
//	{{ with secret "auth0/creds/shop" }}{{ .Data.private_key }}{{ end }}
//
// The rest is in c: the domain, the client ID and, unless it is RS256, the signing
// algorithm. Leave its KID empty: that of each key is its thumbprint, as the engine
// registers them. Like [File], it reads the file for each login, and goes on with the last
// key while there is no whole one in it.
func KeyFile(path string, c Credentials) Source {
	return &file{path: path, read: func(text []byte) (Credentials, error) {
		c := c
		c.PrivateKey = string(text)
		return c.checked()
	}}
}

type file struct {
	path string
	read func(text []byte) (Credentials, error)

	mu     sync.Mutex
	text   []byte       // that was read last and is good
	last   *Credentials // what is in it
	failed error        // why the last read has failed
}

func (f *file) Credentials(context.Context) (Credentials, error) {
	text, err := os.ReadFile(f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && f.last != nil && bytes.Equal(text, f.text) {
		f.failed = nil
		return *f.last, nil
	}
	var c Credentials
	if err == nil {
		c, err = f.parse(text)
	}
	f.failed = err
	if err == nil {
		f.text, f.last = text, &c
	} else if f.last != nil {
		return *f.last, nil
	}
	return c, err
}

// LastError is why the file could not be read when it was last; nil if it could.
func (f *file) LastError() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// Refresh says why the file cannot be read, if it cannot.
func (f *file) Refresh(context.Context) error {
	text, err := os.ReadFile(f.path)
	if err == nil {
		_, err = f.parse(text)
	}
	return err
}

func (f *file) parse(text []byte) (Credentials, error) {
	c, err := f.read(text)
	if err != nil {
		return Credentials{}, fmt.Errorf("%s: %w", f.path, err)
	}
	return c, nil
}
