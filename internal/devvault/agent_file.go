package devvault

import (
	"os"
	"os/exec"
	"path/filepath"
)

// StartAgentFile starts a Vault Agent with a configuration as its users write
// it. It works in workDir, where its log is, too.
func StartAgentFile(bin, workDir, config string) (*Agent, error) {
	return runAgent(bin, workDir, config, workDir)
}

// runAgent runs an Agent with a configuration, which it writes into workDir, in dir
// ("": the caller's).
func runAgent(bin, workDir, config, dir string) (*Agent, error) {
	file := filepath.Join(workDir, "agent.hcl")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(bin, "agent", "-log-level=trace", "-config", file) //nolint:gosec,noctx // lives on after the call; ended by Stop
	cmd.Env, cmd.Dir = environment(), dir
	process, err := startProcess(cmd, filepath.Join(workDir, "agent.log"))
	if err != nil {
		return nil, err
	}
	return &Agent{process: process}, nil
}
