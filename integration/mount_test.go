//go:build integration

package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestRotateRoot: the engine's own secret, while a new one takes its time to
// reach Auth0's nodes; and Vault is restarted afterwards.
func TestRotateRoot(t *testing.T) {
	t.Parallel()
	s := configured(t, "raft", map[string]any{"propagation_delay": "4s"})
	s.Tenant.SetPropagation(tenant.Propagation{Delay: 3 * time.Second, Mode: tenant.OldOnly})
	s.write("rotate-root", nil)
	history := s.Tenant.SecretHistory(s.Engine.ClientID)
	require.Len(t, history, 2)
	require.NoError(t, s.Vault.Restart(t.Context()))
	app := s.addApplication(nil)
	s.eventually("the engine logs in after the restart", func() bool {
		_, err := s.request(logical.UpdateOperation, "roles/app", s.withSecret("roles/app", map[string]any{"client_id": app.ClientID}))
		return err == nil
	})
	assert.Nil(t, s.read("config")["last_error"])

	// an answer that is lost after the new secret was set
	s.Tenant.Inject(tenant.Fault{Endpoint: tenant.UpdateApplication, Kind: tenant.ResetAfterCommit, Times: 1})
	s.Tenant.ExpireTokens()
	s.refused(502, "no clear answer from Auth0", logical.UpdateOperation, "rotate-root", nil)
	s.eventually("it is rotated all the same", func() bool { return s.read("config")["last_error"] == nil })
	s.Tenant.ExpireTokens()
	s.write("rotate/app", map[string]any{"force": true})
}

// TestRotateAll: many roles at once, while one of them cannot be rotated, and
// Vault is restarted in the middle.
func TestRotateAll(t *testing.T) {
	t.Parallel()
	s := configured(t, "raft", map[string]any{"propagation_delay": "0s"})
	apps := map[string]tenant.Application{}
	for i := range 10 {
		name := fmt.Sprint("app", i)
		apps[name] = s.addApplication(nil)
		s.write("roles/"+name, map[string]any{"client_id": apps[name].ClientID, "ttl": "10s"})
	}
	stuck := s.Tenant.Inject(tenant.Fault{Endpoint: tenant.UpdateApplication, ClientID: apps["app3"].ClientID, Kind: tenant.ServerError, Status: 503})
	answer := s.write("rotate-all", map[string]any{"force": true})
	require.NotEmpty(t, answer.Warnings)
	s.eventually("nine are done", func() bool { return fmt.Sprint(s.read("rotate-all")["done"]) == "9" })
	s.eventually("one failed", func() bool { return fmt.Sprint(s.read("rotate-all")["failed"]) == "1" })
	status := s.read("status")
	assert.Contains(t, status["failing"], "app3")
	assert.Equal(t, "10", fmt.Sprint(status["roles"]))
	require.NoError(t, s.Vault.Restart(t.Context()))
	stuck()
	s.eventually("it is still under way", func() bool {
		progress, err := s.request(logical.ReadOperation, "rotate-all", nil)
		return err == nil && progress.Data["started_at"] == answer.Data["started_at"]
	})
	s.eventually("all are done", func() bool { return s.read("rotate-all")["finished_at"] != nil })
	for name, app := range apps {
		assert.Equal(t, s.Tenant.Secret(app.ClientID), s.read("creds/" + name)["client_secret"])
		assert.NotEqual(t, app.ClientSecret, s.Tenant.Secret(app.ClientID))
	}
	listed := s.must(logical.ListOperation, "roles/", nil)
	assert.Len(t, listed.Data["key_info"], 10)
}

// TestRotateAllIsForcedOrCalledOff while it is under way. A role that is made
// meanwhile is not concerned.
func TestRotateAllIsForcedOrCalledOff(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", map[string]any{"propagation_delay": "1h"})
	app, later := s.addApplication(nil), s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10m"})
	started := s.write("rotate-all", nil)
	assert.Equal(t, "1", fmt.Sprint(started.Data["waiting"]))
	s.awaitPhase("app", "staged")
	s.write("roles/later", map[string]any{"client_id": later.ClientID, "ttl": "10m"})
	forced := s.write("rotate-all", map[string]any{"force": true})
	assert.Equal(t, started.Data["started_at"], forced.Data["started_at"], "the one that is under way")
	assert.Contains(t, fmt.Sprint(forced.Warnings), "is forced now")
	s.awaitPhase("app", "propagating")
	assert.NotNil(t, s.read("roles/app")["fallback_until"])
	s.eventually("it is through", func() bool { return s.read("rotate-all")["finished_at"] != nil })
	assert.Equal(t, "1", fmt.Sprint(s.read("rotate-all")["total"]))
	assert.Equal(t, later.ClientSecret, s.Tenant.Secret(later.ClientID))

	s.must(logical.DeleteOperation, "roles/later", nil)
	s.write("rotate-all", nil) // which waits until the last rotation has propagated
	off := s.must(logical.DeleteOperation, "rotate-all", nil)
	assert.Contains(t, fmt.Sprint(off.Warnings), "called off: 1 of 1; rotated already: 0")
	assert.NotNil(t, s.read("rotate-all")["called_off_at"])
	none := s.must(logical.DeleteOperation, "rotate-all", nil)
	assert.Contains(t, fmt.Sprint(none.Warnings), "nothing was called off")
	assert.Equal(t, "propagating", s.phase("app"))
	assert.Len(t, s.Tenant.SecretHistory(app.ClientID), 2)
}

// TestSettingsOfAScheduledRole in a real Vault: cron, window, patch, policy.
func TestSettingsOfAScheduledRole(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", nil)
	client := s.Vault.Client()
	policy := "length = 40\nrule \"charset\" {\n  charset = \"abcdefghij0123456789\"\n}\n"
	_, err := client.Logical().WriteWithContext(t.Context(), "sys/policies/password/ours", map[string]any{"policy": policy})
	require.NoError(t, err)
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{
		"client_id": app.ClientID, "ttl": "10s", "rotation_schedule": "0 3 1 1 *", "rotation_window": "1h", "password_policy": "ours",
	})
	role := s.read("roles/app")
	next, err := time.Parse(time.RFC3339, role["next_vault_rotation"].(string))
	require.NoError(t, err)
	assert.Equal(t, "01-01 03:00", next.Format("01-02 15:04"))
	assert.Equal(t, "0 3 1 1 *", s.read("creds/app")["rotation_schedule"])
	s.refused(400, "exclude each other", logical.UpdateOperation, "roles/app", map[string]any{"rotation_period": "1h"})
	_, err = client.Logical().JSONMergePatch(t.Context(), devstack.Mount+"/roles/app", map[string]any{"ttl": "20s"})
	require.NoError(t, err)
	assert.Equal(t, "20", fmt.Sprint(s.read("roles/app")["ttl"]))
	_, err = client.Logical().JSONMergePatch(t.Context(), devstack.Mount+"/roles/missing", map[string]any{"ttl": "20s"})
	require.ErrorContains(t, err, "does not exist")
	s.write("rotate/app", map[string]any{"force": true})
	assert.Len(t, s.Tenant.Secret(app.ClientID), 40)
	s.write("config", map[string]any{"disable_automated_rotation": true})
	assert.Nil(t, s.read("roles/app")["next_vault_rotation"])
}
