// Package devvault runs real Vault servers and Vault Agents as child processes,
// for the integration tests and the demo; or OpenBao's, in their place.
package devvault

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Binary is the path of an OpenBao, if BAO_BIN says one; else that of a real
// Vault: VAULT_BIN, else a vault on PATH, else one that scripts/vault.sh builds
// once. It may take minutes the first time, and says so on standard error. It has
// to be called from within the repository.
func Binary(ctx context.Context) (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "vault.sh")) //nolint:gosec // our own script
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("no Vault: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// repository is the folder above the working directory that has scripts/vault.sh.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "scripts", "vault.sh")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("scripts/vault.sh is not above the working directory")
}
