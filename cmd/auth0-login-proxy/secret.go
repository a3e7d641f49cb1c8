package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"vault-plugin-secrets-auth0/auth0login/proxy"
)

// localSecret reads a local secret, or makes one if there is no such file.
func localSecret(path string) (secret string, made bool, err error) {
	err = makeLocalSecret(path)
	made = err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", false, fmt.Errorf("make the local secret: %w", err)
	}
	file, err := os.Open(path) //nolint:gosec // the user says which file
	if err != nil {
		return "", false, fmt.Errorf("read the local secret: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return "", false, fmt.Errorf("read the local secret: %w", err)
	}
	// A group may read it: in Kubernetes that is the only way for a program that is not
	// root's to read a Secret (fsGroup, defaultMode 0440).
	if mode := info.Mode().Perm(); mode&0o027 != 0 && runtime.GOOS != "windows" { // which has no such modes
		return "", false, fmt.Errorf("%s can be read or written by other users (mode %04o): chmod 600 it, and better replace the secret", path, mode)
	}
	text := make([]byte, 4097)
	n, err := file.Read(text)
	if err != nil && n == 0 {
		return "", false, fmt.Errorf("read the local secret: %s: %w", path, err)
	}
	secret = strings.TrimSpace(string(text[:n]))
	if err := proxy.CheckLocalSecret(secret); err != nil {
		return "", false, fmt.Errorf("%s: %w; if there is no such file, one is made", path, err)
	}
	return secret, made, nil
}

// makeLocalSecret writes a random secret to a file that is not there.
func makeLocalSecret(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the user says which file
	if err != nil {
		return err
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	_, err = file.WriteString(base64.RawURLEncoding.EncodeToString(random) + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}
