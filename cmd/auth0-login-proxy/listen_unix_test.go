//go:build unix

package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestABusySocketIsNotStale: one whose process has no time for us is left to it.
func TestABusySocketIsNotStale(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a full queue refuses, as nobody does")
	}
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer func() { _ = syscall.Close(fd) }()
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	require.NoError(t, syscall.Listen(fd, 0))
	for range 5 { // until there is no room for another one
		c, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		defer func() { _ = c.Close() }()
	}
	assert.ErrorContains(t, removeStale(path), "may listen at")
	assert.FileExists(t, path)
}

// TestASocketIsNeverOpenToOthers, not even between its making and its mode.
func TestASocketIsNeverOpenToOthers(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "s")
	l, err := listenUnix(path)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	info, err = file.Stat()
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o666), info.Mode().Perm(), "what the process's umask was is so again")
}

// TestAdminByNameIsOnThisMachine: a name's address is known when it is listened at.
func TestAdminByNameIsOnThisMachine(t *testing.T) {
	w := newWorld(t)
	s, err := readSettings(w.args("-admin=localhost:0"), nil)
	require.NoError(t, err)
	s.admin = "0.0.0.0:0" // as where localhost is another address
	ended, end := context.WithCancel(t.Context())
	end()
	err = s.serve(ended, io.Discard, nil)
	assert.ErrorContains(t, err, "-admin")
	assert.ErrorIs(t, err, errUsage)
}
