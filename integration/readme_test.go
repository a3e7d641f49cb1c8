//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// skippedCommands are run by something else: the demo and the tests themselves.
var skippedCommands = []string{"make demo", "make test"}

// readmeCommand is a command of the README with the output that it shows; nil:
// it shows none.
type readmeCommand struct {
	line   string
	output []string
}

// readmeCommands are the commands in blocks of sh and console, in order.
func readmeCommands(t *testing.T) []readmeCommand {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	var commands []readmeCommand
	for _, block := range regexp.MustCompile("(?s)```(sh|console)\n(.*?)```").FindAllSubmatch(readme, -1) {
		for line := range strings.Lines(string(block[2])) {
			line = strings.TrimSuffix(line, "\n")
			if string(block[1]) == "sh" {
				commands = append(commands, readmeCommand{line: line})
			} else if command, ok := strings.CutPrefix(line, "$ "); ok {
				commands = append(commands, readmeCommand{line: command})
			} else {
				last := &commands[len(commands)-1]
				last.output = append(last.output, line)
			}
		}
	}
	return commands
}

// TestCommandsOfTheReadme runs them all, as written and in order, against a real
// Vault that has nothing but the plugin's binary, and compares what they print
// with what the README shows, save for what differs each time.
func TestCommandsOfTheReadme(t *testing.T) {
	t.Parallel()
	s := newSuiteOf(t, devstack.Options{Storage: "inmem", Unmounted: true})
	app := s.addApplication(func(a *tenant.Application) { a.Name = "shop" })
	vault, err := devvault.Binary(t.Context())
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(vault, filepath.Join(bin, "vault")))
	ca := filepath.Join(s.Dir, "ca.pem")
	require.NoError(t, os.WriteFile(ca, []byte(s.Tenant.CACert()), 0o600))
	real := strings.NewReplacer(
		"domain=example.eu.auth0.com client_id=... client_secret=...",
		"domain="+s.Tenant.Domain()+" client_id="+s.Engine.ClientID+" client_secret="+s.Engine.ClientSecret+" ca_cert=@"+ca,
		"DifUedZ0WnJlbTqzEH6S1LSpasThJz37", app.ClientID,
	)
	ran := 0
	for _, command := range readmeCommands(t) {
		if isSkipped(command.line) {
			continue
		}
		shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", real.Replace(command.line))
		shell.Dir = ".."
		shell.Env = append(os.Environ(), "VAULT_ADDR="+s.Vault.Addr(), "VAULT_TOKEN="+s.Vault.Token(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := shell.CombinedOutput()
		require.NoError(t, err, "%s\n%s", command.line, out)
		ran++
		if command.output != nil {
			want, got := masked(command.output), masked(strings.Split(strings.TrimSpace(string(out)), "\n"))
			assert.Equal(t, want, got, command.line)
		}
	}
	assert.Greater(t, ran, 9)
	t.Logf("ran %d commands of the README; skipped by name: %s", ran, strings.Join(skippedCommands, ", "))
	s.seen[s.Tenant.Secret(app.ClientID)] = true
}

func isSkipped(line string) bool {
	for _, skipped := range skippedCommands {
		if strings.HasPrefix(line, skipped) {
			return true
		}
	}
	return false
}

// masks are what differs each time a command is run.
var masks = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "<time>"},
	{regexp.MustCompile(`(auth0/creds/shop/)\w{24}`), "$1<lease>"},
	{regexp.MustCompile(`\b127\.0\.0\.1:\d+`), "<domain>"},
	{regexp.MustCompile(`[\w-]{64}`), "<secret>"},
	{regexp.MustCompile(`\b[A-Za-z0-9]{32}\b`), "<client id>"},
}

// masked puts lines in the form in which they are compared: values that differ
// each time masked, columns one space apart.
func masked(lines []string) []string {
	same := make([]string, len(lines))
	for i, line := range lines {
		for _, mask := range masks {
			line = mask.pattern.ReplaceAllString(line, mask.by)
		}
		same[i] = strings.Join(strings.Fields(line), " ")
	}
	return same
}
