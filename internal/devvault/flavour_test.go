package devvault

import (
	"fmt"
	"os"
	"os/exec"
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
// that the other one does. OpenBao's is what its stand-in takes, which passes it
// on as one for Vault.
func TestConfigurationOfEachFlavour(t *testing.T) {
	vault, bao := configuration(t, "Vault v1.21.0", "raft"), configuration(t, "OpenBao v2.7.1", "raft")
	assert.Contains(t, read(t, vault.config), "\ndisable_mlock = true\n")
	assert.NotContains(t, read(t, vault.config), "audit")
	assert.Contains(t, read(t, bao.config), "\nunsafe_allow_api_audit_creation = true\n")
	assert.NotContains(t, read(t, bao.config), "mlock")
	assert.Equal(t, []string{"Vault", "vault"}, []string{vault.Product(), vault.Command()})
	assert.Equal(t, []string{"OpenBao", "bao"}, []string{bao.Product(), bao.Command()})

	said, err := standIn(t, "server", "-config", bao.config)
	require.NoError(t, err, said)
	assert.Equal(t, "server -config "+bao.config+".vault\n", said)
	assert.Contains(t, read(t, bao.config+".vault"), "\ndisable_mlock = true\n")
	said, err = standIn(t, "server", "-config", vault.config)
	require.Error(t, err)
	assert.Contains(t, said, "unknown or unsupported field disable_mlock")
	cmd := exec.CommandContext(t.Context(), "testdata/stand-in-for-bao", "server", "-config", bao.config)
	cmd.Env = append(environment(), "REAL_VAULT=echo", "VAULT_ADDR=http://127.0.0.1:1")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "a variable of Vault's is in the environment")
	said, err = standIn(t, "server", "-dev")
	require.Error(t, err, said)
	said, err = standIn(t, "read", "auth0/creds/shop")
	require.NoError(t, err)
	assert.Equal(t, "read auth0/creds/shop\n", said)
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

// standIn runs OpenBao's stand-in, with an echo for the real Vault.
func standIn(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "testdata/stand-in-for-bao", args...)
	cmd.Env = append(environment(), "REAL_VAULT=echo")
	out, err := cmd.CombinedOutput()
	return string(out), err
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
	t.Setenv("BAO_BIN", "internal/devvault/testdata/stand-in-for-bao") // from the repository's root
	got, err = Binary(t.Context())
	require.NoError(t, err)
	assert.True(t, filepath.IsAbs(got), got)
	assert.FileExists(t, got)
	t.Setenv("BAO_BIN", "/nowhere/bao")
	_, err = Binary(t.Context())
	require.Error(t, err)
}
