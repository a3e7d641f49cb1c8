//go:build integration

package integration

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/auth0login"
)

// TestCommandsOfMakeDev: what make dev prints to try can be run as it stands, and ends
// with a rotated secret in the file that an Agent renders.
func TestCommandsOfMakeDev(t *testing.T) {
	t.Parallel()
	awaitTurn(t)
	vault, _ := server()
	demo, err := filepath.Abs("../bin/demo")
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", demo, "../scripts/demo").CombinedOutput() // make has built it
	require.NoError(t, err, string(out))
	stay := exec.CommandContext(t.Context(), demo, "-stay")
	stay.Dir, stay.Env = "..", append(os.Environ(), "VAULT_BIN="+vault, "TMPDIR="+t.TempDir())
	stay.Cancel = func() error { return stay.Process.Signal(os.Interrupt) }
	printed, err := stay.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, stay.Start())

	script, file := "set -euo pipefail\n", ""
	for lines := bufio.NewScanner(printed); lines.Scan(); {
		if command, ok := strings.CutPrefix(lines.Text(), "  "); ok {
			script += command + "\n"
			if _, cat, ok := strings.Cut(command, "; cat "); ok {
				file = cat
			}
		}
		if strings.Contains(lines.Text(), "Ctrl-C") {
			break
		}
	}
	require.NotEmpty(t, file)
	shell := exec.CommandContext(t.Context(), "bash", "-c", script)
	shell.Dir = ".."
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	tried, err := os.Create(filepath.Join(t.TempDir(), "tried"))
	require.NoError(t, err)
	shell.Stdout, shell.Stderr = tried, tried
	require.NoError(t, shell.Start())
	t.Cleanup(func() { _ = syscall.Kill(-shell.Process.Pid, syscall.SIGTERM) }) // the Agent
	if err := shell.Wait(); err != nil {
		text, _ := os.ReadFile(tried.Name())
		t.Fatalf("%v\n%s", err, text)
	}
	source := auth0login.File(file)
	require.Eventually(t, func() bool {
		c, err := source.Credentials(t.Context())
		return err == nil && len(c.ClientSecrets) > 1
	}, patience, 50*time.Millisecond)

	require.NoError(t, stay.Process.Signal(os.Interrupt))
	assert.NoError(t, stay.Wait(), "that is how it ends")
	assert.NoFileExists(t, file)
}
