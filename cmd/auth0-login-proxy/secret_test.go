package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWhoMayReadALocalSecret: its owner and a group, which alone reads it where Kubernetes
// mounts a Secret; nobody else, and nobody but its owner may write it.
func TestWhoMayReadALocalSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("x", 40)), 0o600))
	for mode, may := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o440: true, 0o640: true, 0o444: false, 0o604: false, 0o660: false, 0o602: false} {
		require.NoError(t, os.Chmod(file, mode))
		secret, made, err := localSecret(file)
		assert.False(t, made)
		if may {
			require.NoError(t, err, "%04o", mode)
			assert.Equal(t, strings.Repeat("x", 40), secret)
		} else {
			assert.ErrorContains(t, err, "by other users", "%04o", mode)
		}
	}
}

// TestSeveralMakeOneLocalSecret: one of them makes it, all have the same, and no other
// file stays.
func TestSeveralMakeOneLocalSecret(t *testing.T) {
	for range 100 {
		path := filepath.Join(t.TempDir(), "secret")
		var all sync.WaitGroup
		var mu sync.Mutex
		makers := 0
		secrets := map[string]bool{}
		for range 4 {
			all.Go(func() {
				secret, made, err := localSecret(path)
				mu.Lock()
				defer mu.Unlock()
				assert.NoError(t, err)
				secrets[secret] = true
				if made {
					makers++
				}
			})
		}
		all.Wait()
		assert.Len(t, secrets, 1)
		assert.Equal(t, 1, makers)
		files, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		assert.Len(t, files, 1)
	}
}

// TestALocalSecretWithoutLinks is made, too, and one that is there stays.
func TestALocalSecretWithoutLinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	noLinks := func(string, string) error { return errors.ErrUnsupported }
	require.NoError(t, makeLocalSecret(path, noLinks))
	first, made, err := localSecret(path)
	require.NoError(t, err)
	assert.False(t, made)
	assert.Len(t, first, 43)
	assert.ErrorIs(t, makeLocalSecret(path, os.Link), fs.ErrExist)
	again, _, err := localSecret(path)
	require.NoError(t, err)
	assert.Equal(t, first, again)
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, files, 1)
}

// TestALongLocalSecret is never cut.
func TestALongLocalSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("x", 4095)+"\n"), 0o600))
	secret, _, err := localSecret(path)
	require.NoError(t, err)
	assert.Len(t, secret, 4095)
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("x", 4097)), 0o600))
	_, _, err = localSecret(path)
	assert.ErrorContains(t, err, "longer than 4096 bytes")
}
