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
	"sync"
)

// Binary is the path of an OpenBao, if BAO_BIN says one; else that of a real
// Vault: VAULT_BIN, else a vault on PATH, else one that scripts/vault.sh builds
// once. It may take minutes the first time, and says so on standard error. It has
// to be called from within the repository.
func Binary(ctx context.Context) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	script := filepath.Join("scripts", "vault.sh")
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, script)); err == nil {
			cmd := exec.CommandContext(ctx, filepath.Join(dir, script)) //nolint:gosec // our own script
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return "", fmt.Errorf("no Vault: %w", err)
			}
			return strings.TrimSpace(string(out)), nil
		}
	}
	return "", fmt.Errorf("%s is not above the working directory", script)
}

// flavour is how a server wants to be treated: a Vault, or an OpenBao. All that
// differs is here.
type flavour struct {
	product  string // what it calls itself
	command  string // what its users call it
	prefix   string // of its environment variables
	settings string // of its server, in HCL, beside those that both know
}

var flavours = []flavour{
	{product: "Vault", command: "vault", prefix: "VAULT_", settings: "disable_mlock = true\n"},
	// OpenBao locks no memory. It takes audit devices from its configuration, and
	// by the API only where it is told to.
	{product: "OpenBao", command: "bao", prefix: "BAO_", settings: "unsafe_allow_api_audit_creation = true\n"},
}

// flavoursKnown are the flavours of binaries that were asked.
var flavoursKnown sync.Map

// flavourOf asks a binary what it is.
func flavourOf(ctx context.Context, bin string) (flavour, error) {
	if known, ok := flavoursKnown.Load(bin); ok {
		return known.(flavour), nil //nolint:forcetypeassert // nothing else is stored
	}
	out, err := exec.CommandContext(ctx, bin, "version").Output()
	if err != nil {
		return flavour{}, fmt.Errorf("%s version: %w", bin, err)
	}
	for _, f := range flavours {
		if strings.HasPrefix(string(out), f.product+" v") {
			flavoursKnown.Store(bin, f)
			return f, nil
		}
	}
	return flavour{}, fmt.Errorf("%s is neither a Vault nor an OpenBao: it says %q", bin, out)
}

// Product is what a binary calls itself: Vault, or OpenBao.
func Product(ctx context.Context, bin string) (string, error) {
	f, err := flavourOf(ctx, bin)
	return f.product, err
}
