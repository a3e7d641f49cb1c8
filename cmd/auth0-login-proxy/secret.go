package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"vault-plugin-secrets-auth0/auth0login/proxy"
)

// maxSecretFile is how long the file of a local secret may be.
const maxSecretFile = 4096

// localSecret reads a local secret, or makes one if there is no such file.
func localSecret(path string) (secret string, made bool, err error) {
	// Nothing is written where there is one: its folder may be read-only, as in Kubernetes.
	secret, err = readLocalSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, false, err
	}
	err = makeLocalSecret(path, os.Link)
	made = err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) { // else another process was first
		return "", false, fmt.Errorf("make the local secret: %w", err)
	}
	secret, err = readLocalSecret(path)
	return secret, made, err
}

func readLocalSecret(path string) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the user says which file
	if err != nil {
		return "", fmt.Errorf("read the local secret: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("read the local secret: %w", err)
	}
	// A group may read it: in Kubernetes that is the only way for a program that is not
	// root's to read a Secret (fsGroup, defaultMode 0440).
	if mode := info.Mode().Perm(); mode&0o027 != 0 && runtime.GOOS != "windows" { // which has no such modes
		return "", fmt.Errorf("%s can be read or written by other users (mode %04o): chmod 600 it, and better replace the secret", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	secret := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", fmt.Errorf("read the local secret: %w", err)
	case len(text) > maxSecretFile:
		return "", fmt.Errorf("%s is longer than %d bytes: that is no local secret", path, maxSecretFile)
	case secret == "":
		return "", fmt.Errorf("%s is empty: remove it, and a local secret is made, or write the application's there", path)
	}
	if err := proxy.CheckLocalSecret(secret); err != nil {
		return "", fmt.Errorf("%s: %w; if there is no such file, one is made", path, err)
	}
	return secret, nil
}

// makeLocalSecret makes a file with a random secret that has all of it from the moment
// it is there, whenever this process ends and however many do the same.
func makeLocalSecret(path string, link func(from, to string) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // for this user alone
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	_, err = file.WriteString(base64.RawURLEncoding.EncodeToString(random) + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	err = link(file.Name(), path)
	if err != nil && !errors.Is(err, fs.ErrExist) { // file systems without links: the last of several that start at once wins
		return os.Rename(file.Name(), path)
	}
	return err
}
