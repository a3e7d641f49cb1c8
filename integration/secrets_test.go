//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/devstack"
)

// TestSecretsLeaveOnlyInAnswers: after rotations of all kinds, reads with and
// without a lease, wrapped ones, a token and an error, no secret is in the audit
// log, in any other log, or readable in raft's files (which finish searches, as
// after every test).
func TestSecretsLeaveOnlyInAnswers(t *testing.T) {
	t.Parallel()
	s := configured(t, "raft", map[string]any{"propagation_delay": "0s"})
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "client_secret": app.ClientSecret, "ttl": "10s"})
	s.write("rotate/app", nil)
	s.awaitVersion("app", "2")
	s.write("rotate/app", map[string]any{"force": true})
	s.write("rotate-root", nil)
	s.read("static-creds/app")
	s.write("token-roles/all", map[string]any{"scopes": strings.Join(scopes(t), ",")})
	token := s.read("tokens/all")["access_token"].(string)
	s.seen[token] = true
	s.refused(400, "client_secret is taken only when a role is created", logical.UpdateOperation, "roles/app", map[string]any{"client_secret": "a-canary-in-a-request"})
	s.seen["a-canary-in-a-request"] = true

	client, err := s.Vault.Client().Clone()
	require.NoError(t, err)
	client.SetToken(s.Vault.Token())
	client.SetWrappingLookupFunc(func(string, string) string { return "5m" })
	wrapped, err := client.Logical().ReadWithContext(t.Context(), devstack.Mount+"/creds/app")
	require.NoError(t, err)
	require.NotNil(t, wrapped.WrapInfo)
	assert.Nil(t, wrapped.Data)
	opened, err := s.Vault.Client().Logical().UnwrapWithContext(t.Context(), wrapped.WrapInfo.Token)
	require.NoError(t, err)
	assert.Equal(t, s.Tenant.Secret(app.ClientID), opened.Data["client_secret"])

	audit, err := os.ReadFile(filepath.Join(s.Dir, auditLog))
	require.NoError(t, err)
	assert.Contains(t, string(audit), "hmac-sha256:", "or it would not be an audit log")
	assert.Contains(t, string(audit), devstack.Mount+"/creds/app")
}

// TestThePluginLeavesNoCoreDump behind, with secrets in it.
func TestThePluginLeavesNoCoreDump(t *testing.T) {
	t.Parallel()
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_CORE, &limit))
	limit.Cur = limit.Max // or Vault would pass on that there are none
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_CORE, &limit))
	s := newSuite(t, "inmem")
	plugins := s.Vault.Plugins()
	if len(plugins) == 0 {
		t.Skip("processes are not shown here")
	}
	for _, pid := range plugins {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		require.NoError(t, err)
		assert.Regexp(t, `Max core file size +0 +0 `, string(limits))
	}
}
