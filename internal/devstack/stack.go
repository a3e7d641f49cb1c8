// Package devstack puts together what the engine works with, as real parts: a
// simulated Auth0 tenant, a Vault server with the plugin, Vault Agents, and
// applications that log in. It is for the integration tests and the demo.
package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/vault/api"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

const (
	// Program is the plugin's binary.
	Program = "vault-plugin-secrets-auth0"
	// PluginName is that of its catalog entry, and so the type of its mounts.
	PluginName = "auth0"
	// Mount is where the engine is mounted.
	Mount = "auth0"

	// pluginFolder is Vault's plugin directory, in the stack's.
	pluginFolder = "plugins"
)

// AllScopes are those of the Management API that the engine can use.
var AllScopes = []string{"update:client_keys", "read:clients", "read:client_keys"}

// Options are how a stack is started.
type Options struct {
	WorkDir string // for Vault's files, logs and the plugin; must exist
	Plugin  string // the plugin's binary
	Vault   string // Vault's binary
	Storage string // "inmem", or "raft", which survives a restart
	Scopes  []string
	// Unmounted leaves it to the caller to register and mount the plugin, whose
	// binary is in Vault's plugin directory.
	Unmounted bool
	LogLevel  string // of Vault; "": trace
	Settings  string // more of Vault's configuration, in HCL
	// StartVault is what starts Vault; nil: devvault.StartServer.
	StartVault func(context.Context, devvault.ServerOptions) (*devvault.Server, error)
}

// Stack is a tenant and a Vault with the engine mounted, not configured yet.
type Stack struct {
	Tenant *tenant.Tenant
	Engine tenant.Application // the machine-to-machine application of the engine
	Vault  *devvault.Server
	Dir    string
	agents []*devvault.Program
}

// PluginBinary is the plugin to run: PLUGIN_BIN, or bin/ of the repository.
func PluginBinary(repository string) (string, error) {
	binary := os.Getenv("PLUGIN_BIN")
	if binary == "" {
		binary = filepath.Join(repository, "bin", Program)
	}
	if _, err := os.Stat(binary); err != nil { //nolint:gosec // whoever runs the tests says which plugin
		return "", fmt.Errorf("the plugin is not built (%w): run make build", err)
	}
	return filepath.Abs(binary)
}

// Start starts the tenant and Vault, and mounts the plugin.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	s := &Stack{Dir: o.WorkDir}
	defer func() {
		if err != nil {
			s.Stop(context.WithoutCancel(ctx))
		}
	}()
	if s.Tenant, err = tenant.Start(tenant.Options{}); err != nil {
		return nil, err
	}
	if o.Scopes == nil {
		o.Scopes = AllScopes
	}
	s.Engine = s.Tenant.AddManagementApplication(o.Scopes...)
	plugins, err := filepath.EvalSymlinks(o.WorkDir)
	if err != nil {
		return nil, err
	}
	plugins = filepath.Join(plugins, pluginFolder)
	if err := os.MkdirAll(plugins, 0o750); err != nil {
		return nil, err
	}
	binary, err := s.copyPlugin(Program, o.Plugin) // OpenBao may register it when it starts
	if err != nil {
		return nil, err
	}
	if o.StartVault == nil {
		o.StartVault = devvault.StartServer
	}
	s.Vault, err = o.StartVault(ctx, devvault.ServerOptions{
		Bin: o.Vault, PluginDir: plugins, WorkDir: o.WorkDir, Storage: o.Storage, LogLevel: o.LogLevel, Settings: o.Settings,
	})
	if err != nil || o.Unmounted {
		return s, err
	}
	if err := s.Vault.RegisterPlugin(ctx, PluginName, binary, ""); err != nil {
		return nil, err
	}
	return s, s.Vault.EnableSecrets(ctx, Mount, PluginName, "")
}

// copyPlugin puts a plugin's binary into Vault's plugin directory under the name. The
// kernel copies it: in this process's memory the race detector would shadow all of it.
func (s *Stack) copyPlugin(name, binary string) (_ string, err error) {
	program, err := os.Open(binary) //nolint:gosec // the caller's choice
	if err != nil {
		return "", err
	}
	defer func() { _ = program.Close() }()
	file := filepath.Join(s.Dir, pluginFolder, name)
	copied, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o700) //nolint:gosec // a program
	if err != nil {
		return "", err
	}
	_, err = io.Copy(copied, program)
	return file, errors.Join(err, copied.Close())
}

// AddPlugin puts a plugin's binary into Vault's plugin directory under the name,
// and registers it.
func (s *Stack) AddPlugin(ctx context.Context, name, binary string) error {
	copied, err := s.copyPlugin(name, binary)
	if err != nil {
		return err
	}
	return s.Vault.RegisterPlugin(ctx, name, copied, "")
}

// Config is what is written to config.
func (s *Stack) Config() map[string]any {
	return map[string]any{
		"domain":        s.Tenant.Domain(),
		"client_id":     s.Engine.ClientID,
		"client_secret": s.Tenant.Secret(s.Engine.ClientID),
		"ca_cert":       s.Tenant.CACert(),
	}
}

// Write writes to a path of the mount.
func (s *Stack) Write(ctx context.Context, path string, data map[string]any) (*api.Secret, error) {
	return s.Vault.Client().Logical().WriteWithContext(ctx, Mount+"/"+path, data)
}

// Read reads a path of the mount.
func (s *Stack) Read(ctx context.Context, path string) (*api.Secret, error) {
	return s.Vault.Client().Logical().ReadWithContext(ctx, Mount+"/"+path)
}

// ApplicationPolicy lets an application read its own credentials, and nothing else.
func ApplicationPolicy(role string) string { return readPolicy("creds/" + role) }

func readPolicy(path string) string {
	return fmt.Sprintf("path \"%s/%s\" {\n  capabilities = [\"read\"]\n}\n", Mount, path)
}

// Template renders the credentials of a role as JSON.
func Template(path string) string {
	return fmt.Sprintf(`{{ with secret %q }}{{ .Data | toJSON }}{{ end }}`, path)
}

// leasedTemplate is Template, and [LeaseEnd] can tell from it when the lease ends.
func leasedTemplate(path string) string {
	return fmt.Sprintf(`{{ with secret %q }}{{ .Data | toJSON | sprig_trimSuffix "}" }},"rendered_at":{{ timestamp "unix" }},"lease_duration":{{ .LeaseDuration }}}{{ end }}`, path)
}

// keyTemplate renders the private key of a role.
func keyTemplate(path string) string {
	return fmt.Sprintf(`{{ with secret %q }}{{ .Data.private_key }}{{ end }}`, path)
}

// AgentConfig is the configuration of an Agent that takes the token in a file, and renders
// a template into another.
func AgentConfig(vaultAddr, tokenFile, template, file string) string {
	return fmt.Sprintf(`vault {
  address = %q
}
auto_auth {
  method "token_file" {
    config = {
      token_file_path = %q
    }
  }
}
template_config {
  exit_on_retry_failure = false
}
template {
  contents    = %q
  destination = %q
  perms       = "0640"
}
`, vaultAddr, tokenFile, template, file)
}

// StartAgent starts a Vault Agent that may read a role's credentials and renders them
// into the returned file, and waits for the file.
func (s *Stack) StartAgent(ctx context.Context, role string) (file string, err error) {
	return s.startAgent(ctx, "creds/"+role, leasedTemplate, func(file string) error {
		_, err := auth0login.File(file).Credentials(ctx)
		return err
	})
}

// StartKeyAgent is StartAgent for the private key of an exportable role: the file is the
// PEM alone, for [auth0login.KeyFile].
func (s *Stack) StartKeyAgent(ctx context.Context, role string) (file string, err error) {
	return s.startAgent(ctx, "creds/"+role, keyTemplate, func(file string) error {
		_, err := auth0login.KeyFile(file, auth0login.Credentials{Domain: s.Tenant.Domain(), ClientID: role}).Credentials(ctx)
		return err
	})
}

// StartTokenAgent is StartAgent for the access tokens of a token role: see [TokenFile].
func (s *Stack) StartTokenAgent(ctx context.Context, tokenRole string) (file string, err error) {
	return s.startAgent(ctx, "tokens/"+tokenRole, leasedTemplate, func(file string) error {
		_, err := TokenFile(file).Token()
		return err
	})
}

// startAgent starts an Agent that may read a path, and waits until what it renders can be
// read.
func (s *Stack) startAgent(
	ctx context.Context, path string, template func(path string) string, read func(file string) error,
) (file string, err error) {
	client, name := s.Vault.Client(), "agent-"+strings.ReplaceAll(path, "/", "-")
	if err := client.Sys().PutPolicyWithContext(ctx, name, readPolicy(path)); err != nil {
		return "", err
	}
	token, err := client.Auth().Token().CreateWithContext(ctx, &api.TokenCreateRequest{Policies: []string{name}})
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.Dir, name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	tokenFile := filepath.Join(dir, "token")
	if err := os.WriteFile(tokenFile, []byte(token.Auth.ClientToken), 0o600); err != nil {
		return "", err
	}
	file = filepath.Join(dir, "rendered")
	config := AgentConfig(s.Vault.Addr(), tokenFile, template(Mount+"/"+path), file)
	agent, err := devvault.StartAgent(s.Vault.Binary(), dir, config)
	if err != nil {
		return "", err
	}
	s.agents = append(s.agents, agent)
	return file, agent.WaitUntil(ctx, "rendering", func() bool { return read(file) == nil })
}

// Stop stops everything that was started. It is safe to call it twice.
func (s *Stack) Stop(ctx context.Context) {
	for _, agent := range s.agents {
		_ = agent.Stop(ctx)
	}
	s.agents = nil
	_ = s.Vault.Stop(ctx)
	s.Vault = nil
	if s.Tenant != nil {
		s.Tenant.Close()
	}
}
