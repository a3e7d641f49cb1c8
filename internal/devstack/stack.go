// Package devstack puts together what the engine works with, as real parts: a
// simulated Auth0 tenant, a Vault server with the plugin, Vault Agents, and
// applications that log in. It is for the integration tests and the demo.
package devstack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

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
	Nodes     int    // of Vault; more than one: a cluster with raft storage
	LogLevel  string // of Vault; "": trace
	Settings  string // more of Vault's configuration, in HCL
}

// Stack is a tenant and a Vault with the engine mounted, not configured yet.
type Stack struct {
	Tenant *tenant.Tenant
	Engine tenant.Application // the machine-to-machine application of the engine
	Vault  *devvault.Server
	// Cluster is there if there are several nodes; Vault is its front then.
	Cluster *devvault.Cluster
	Dir     string
	agents  []*devvault.Agent
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
	plugins, err := pluginDir(o)
	if err != nil {
		return nil, err
	}
	if err := s.startVault(ctx, o, plugins); err != nil {
		return nil, err
	}
	if o.Unmounted {
		return s, nil
	}
	version, err := PluginVersion(ctx, o.Plugin)
	if err != nil {
		return nil, err
	}
	if err := s.Vault.RegisterPlugin(ctx, PluginName, filepath.Join(plugins, Program), version); err != nil {
		return nil, err
	}
	return s, s.Vault.EnableSecrets(ctx, Mount, PluginName, version)
}

func (s *Stack) startVault(ctx context.Context, o Options, plugins string) (err error) {
	server := devvault.ServerOptions{
		Bin: o.Vault, PluginDir: plugins, WorkDir: o.WorkDir, Storage: o.Storage, LogLevel: o.LogLevel, Settings: o.Settings,
	}
	if o.Nodes < 2 {
		s.Vault, err = devvault.StartServer(ctx, server)
		return err
	}
	if s.Cluster, err = devvault.StartCluster(ctx, server, o.Nodes); err == nil {
		s.Vault = s.Cluster.Front
	}
	return err
}

// pluginDir is a directory with nothing but the plugin in it.
func pluginDir(o Options) (string, error) {
	dir, err := filepath.EvalSymlinks(o.WorkDir)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, pluginFolder)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	return dir, copyProgram(o.Plugin, filepath.Join(dir, Program))
}

func copyProgram(from, to string) error {
	program, err := os.ReadFile(from) //nolint:gosec // the caller's choice
	if err != nil {
		return err
	}
	return os.WriteFile(to, program, 0o700) //nolint:gosec // a program
}

// AddPlugin puts a plugin's binary into Vault's plugin directory under the name,
// and registers it.
func (s *Stack) AddPlugin(ctx context.Context, name, binary string) error {
	program := filepath.Join(s.Dir, pluginFolder, name)
	if err := copyProgram(binary, program); err != nil {
		return err
	}
	return s.Vault.RegisterPlugin(ctx, name, program, "")
}

// PluginVersion is what a binary of the plugin says with -version.
func PluginVersion(ctx context.Context, plugin string) (string, error) {
	out, err := exec.CommandContext(ctx, plugin, "-version").Output()
	if err != nil {
		return "", fmt.Errorf("%s -version: %w", plugin, err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "v") && strings.Count(word, ".") >= 2 {
			return word, nil
		}
	}
	return "", fmt.Errorf("%s -version says no version: %q", plugin, out)
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
func ApplicationPolicy(role string) string {
	return fmt.Sprintf("path \"%s/creds/%s\" {\n  capabilities = [\"read\"]\n}\n", Mount, role)
}

// StartAgent starts a Vault Agent that may read a role's credentials and
// renders them into the returned file, and waits for the file.
func (s *Stack) StartAgent(ctx context.Context, role string) (file string, err error) {
	policy := "app-" + role
	if err := s.Vault.Client().Sys().PutPolicyWithContext(ctx, policy, ApplicationPolicy(role)); err != nil {
		return "", err
	}
	roleID, secretID, err := s.Vault.AppRole(ctx, policy, policy)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.Dir, "agent-"+role)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	file = filepath.Join(dir, "credentials.json")
	agent, err := devvault.StartAgent(ctx, devvault.AgentOptions{
		Bin: s.Vault.Binary(), WorkDir: dir, VaultAddr: s.Vault.Addr(), RoleID: roleID, SecretID: secretID,
		Templates: []devvault.Template{{Contents: Template(Mount, role), Destination: file}},
	})
	if err != nil {
		return "", err
	}
	s.agents = append(s.agents, agent)
	return file, waitFor(ctx, func() bool {
		_, err := auth0login.File(file).Credentials(ctx)
		return err == nil
	})
}

func waitFor(ctx context.Context, condition func() bool) error {
	for !condition() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// Fingerprint names a secret without telling it.
func Fingerprint(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:3])
}

// Stop stops everything that was started. It is safe to call it twice.
func (s *Stack) Stop(ctx context.Context) {
	for _, agent := range s.agents {
		_ = agent.Stop(ctx)
	}
	s.agents = nil
	if s.Cluster != nil {
		s.Cluster.Stop(ctx)
		s.Cluster, s.Vault = nil, nil
	}
	if s.Vault != nil {
		_ = s.Vault.Stop(ctx)
		s.Vault = nil
	}
	if s.Tenant != nil {
		s.Tenant.Close()
	}
}
