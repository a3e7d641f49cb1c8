package devvault

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// program is a shell script.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700))
	return path
}

func TestFlavourIsWhatTheBinarySays(t *testing.T) {
	for says, product := range map[string]string{
		"Vault v1.21.0, built 2025-10-21T17:30:41Z":  "Vault",
		"Vault v1.21.0+ent (abc), built 2025-10-21":  "Vault",
		"OpenBao v2.7.1 (abc), committed 2026-10-01": "OpenBao",
		"Consul v1.22.0": "",
		"a wrapper around OpenBao v2.7.1, but not the bao": "",
	} {
		got, err := Product(t.Context(), program(t, fmt.Sprintf("echo '%s'", says)))
		assert.Equal(t, product, got, says)
		assert.Equal(t, product == "", err != nil, says)
	}
	_, err := Product(t.Context(), program(t, "exit 1"))
	require.Error(t, err)
}

// TestConfigurationOfEachFlavour: each server is told what it knows, and nothing
// that only the other one does.
func TestConfigurationOfEachFlavour(t *testing.T) {
	vault, bao := configuration(t, "Vault v1.21.0", "raft"), configuration(t, "OpenBao v2.7.1", "raft")
	assert.Contains(t, read(t, vault.config), "\ndisable_mlock = true\n")
	assert.NotContains(t, read(t, vault.config), "audit")
	assert.Contains(t, read(t, bao.config), "\nunsafe_allow_api_audit_creation = true\n")
	assert.NotContains(t, read(t, bao.config), "mlock")
	assert.Equal(t, []string{"Vault", "vault"}, []string{vault.Product(), vault.Command()})
	assert.Equal(t, []string{"OpenBao", "bao"}, []string{bao.Product(), bao.Command()})
}

func configuration(t *testing.T, says, storage string) *Server {
	t.Helper()
	server, err := newServer(t.Context(), ServerOptions{Bin: program(t, fmt.Sprintf("echo '%s'", says)), WorkDir: t.TempDir(), Storage: storage})
	require.NoError(t, err)
	return server
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

// TestBinaryIsTheOneThatIsNamed: OpenBao's before Vault's.
func TestBinaryIsTheOneThatIsNamed(t *testing.T) {
	bao, vault := program(t, ""), program(t, "")
	t.Setenv("VAULT_BIN", vault)
	t.Setenv("BAO_BIN", "")
	got, err := Binary(t.Context())
	require.NoError(t, err)
	assert.Equal(t, vault, got)
	t.Setenv("BAO_BIN", bao)
	got, err = Binary(t.Context())
	require.NoError(t, err)
	assert.Equal(t, bao, got)
	t.Setenv("BAO_BIN", "scripts/vault.sh") // a program; from the repository's root
	got, err = Binary(t.Context())
	require.NoError(t, err)
	assert.True(t, filepath.IsAbs(got), got)
	assert.FileExists(t, got)
	t.Setenv("BAO_BIN", "/nowhere/bao")
	_, err = Binary(t.Context())
	require.Error(t, err)
}
