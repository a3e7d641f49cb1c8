package devvault

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Template is what an Agent renders, in the syntax of consul-template, and
// where to.
type Template struct {
	Contents    string
	Destination string
}

// AgentOptions are how a Vault Agent, or OpenBao's, is started: both take the
// same configuration. It logs in by AppRole.
type AgentOptions struct {
	Bin       string
	WorkDir   string // for configuration, credentials and log; must exist
	VaultAddr string
	RoleID    string
	SecretID  string
	Templates []Template
}

// Agent is a running Vault Agent.
type Agent struct {
	process *process
}

// StartAgent starts a Vault Agent. What it renders appears some time later.
func StartAgent(_ context.Context, o AgentOptions) (*Agent, error) {
	files := map[string]string{"role-id": o.RoleID, "secret-id": o.SecretID}
	var text strings.Builder
	fmt.Fprintf(&text, `vault {
  address = %q
}
auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = %q
      secret_id_file_path                 = %q
      remove_secret_id_file_after_reading = false
    }
  }
}
template_config {
  exit_on_retry_failure = false
}
`, o.VaultAddr, filepath.Join(o.WorkDir, "role-id"), filepath.Join(o.WorkDir, "secret-id"))
	for i, template := range o.Templates {
		source := fmt.Sprintf("template-%d.ctmpl", i)
		files[source] = template.Contents
		fmt.Fprintf(&text, "template {\n  source      = %q\n  destination = %q\n  perms       = \"0600\"\n}\n",
			filepath.Join(o.WorkDir, source), template.Destination)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(o.WorkDir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	return runAgent(o.Bin, o.WorkDir, text.String(), "")
}

// Stop ends the agent.
func (a *Agent) Stop(ctx context.Context) error { return a.process.stop(ctx) }
