//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/auth0login/vaulttokens"
	"vault-plugin-secrets-auth0/internal/devvault"
)

const ordersPolicy = `path "auth0/tokens/orders" { capabilities = ["read"] }`

// withTokenRole is a suite with a token role orders, for the Management API.
func withTokenRole(t *testing.T) *suite {
	t.Helper()
	s := configured(t, "inmem", nil)
	s.write("token-roles/orders", map[string]any{"scopes": scopes(t)})
	return s
}

// TestExampleOfATokenFile: examples/vault-agent/token.hcl.
func TestExampleOfATokenFile(t *testing.T) {
	t.Parallel()
	s := withTokenRole(t)
	dir := s.agentDir()
	s.addAppRole(ordersPolicy, dir)
	config := example(t, "vault-agent/token.hcl", "http://127.0.0.1:8200", s.Vault.Addr(), "/etc/shop", dir, "/run/shop", dir)
	agent, err := devvault.StartAgent(s.Vault.Binary(), dir, config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = agent.Stop(context.Background()) })

	file := filepath.Join(dir, "token.json")
	var rendered map[string]string
	s.eventually("it is rendered", func() bool {
		text, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(text, &rendered) == nil
	})
	s.remember(rendered["access_token"])
	assert.Len(t, rendered, 4)
	assert.NotEmpty(t, rendered["access_token"])
	assert.NotEmpty(t, rendered["expires_at"])
	assert.Equal(t, s.Tenant.Audience(), rendered["audience"])
	assert.Equal(t, s.Tenant.Domain(), rendered["domain"])
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// TestExampleOfAProxy: examples/vault-proxy/proxy.hcl, and an application that has no token
// for Vault, or one that is of no use, reads tokens through it.
func TestExampleOfAProxy(t *testing.T) {
	t.Parallel()
	s := withTokenRole(t)
	dir, err := os.MkdirTemp("", "shop") //nolint:usetesting // a socket's path is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.addAppRole(ordersPolicy, dir)
	config := filepath.Join(dir, "proxy.hcl")
	writeFile(t, config, example(t, "vault-proxy/proxy.hcl", "http://127.0.0.1:8200", s.Vault.Addr(), "/etc/shop", dir, "/run/shop", dir,
		`socket_user  = "shop"`, fmt.Sprintf("socket_user = %q", fmt.Sprint(os.Getuid())),
		`socket_group = "shop"`, fmt.Sprintf("socket_group = %q", fmt.Sprint(os.Getgid()))))
	cmd := exec.Command(s.Vault.Binary(), "proxy", "-log-level=trace", "-config", config)
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	proxy, err := devvault.StartProgram(cmd, filepath.Join(s.agentDir(), "proxy.log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = proxy.Stop(context.Background()) })

	settings := api.DefaultConfig()
	settings.Address = "unix://" + filepath.Join(dir, "vault.sock")
	client, err := api.NewClient(settings)
	require.NoError(t, err)
	client.SetToken("of no use")
	tokens := vaulttokens.New(t.Context(), client, vaulttokens.Config{
		Path: "auth0/tokens/orders", Domain: s.Tenant.Domain(), Audience: s.Tenant.Audience(),
	})
	s.eventually("the proxy answers", func() bool { _, err := tokens.Token(); return err == nil })
	info, err := os.Stat(filepath.Join(dir, "vault.sock"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	first, err := tokens.Token()
	require.NoError(t, err)
	s.remember(first.AccessToken)

	s.write("token-roles/orders", map[string]any{"scopes": scopes(t)}) // drops it
	second, err := tokens.Refused(t.Context(), first)
	require.NoError(t, err, "the proxy keeps no token")
	s.remember(second.AccessToken)
	assert.NotEqual(t, first.AccessToken, second.AccessToken)

	_, err = client.Logical().ReadWithContext(t.Context(), "auth0/config")
	var refused *api.ResponseError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, 403, refused.StatusCode, "it may do nothing else")
}
