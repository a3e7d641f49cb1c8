//go:build integration

package integration

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestStagedRotationRefusesNoLogin is what the engine is for: a real Agent, an
// application that logs in 25 times a second, and a tenant that counts.
func TestStagedRotationRefusesNoLogin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		propagation tenant.Propagation
		delay       string
		rotations   int
	}{
		"no propagation":            {tenant.Propagation{}, "0s", 2},
		"old one until the end":     {tenant.Propagation{Delay: 4 * time.Second, Mode: tenant.OldOnly}, "5s", 1},
		"each node at its own time": {tenant.Propagation{Delay: 4 * time.Second, Mode: tenant.Mixed}, "5s", 2},
		"both accepted for a while": {tenant.Propagation{Delay: 4 * time.Second, Mode: tenant.BothAccepted}, "5s", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := configured(t, "inmem", map[string]any{"propagation_delay": c.delay})
			s.Tenant.SetPropagation(c.propagation)
			app := s.addApplication(nil)
			s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
			began := time.Now()
			stop := s.startApplication("app")
			s.eventually("logins", func() bool { return s.Tenant.Stats().Logins.Accepted > 20 })
			for i := range c.rotations {
				require.Equal(t, "staged", s.write("rotate/app", nil).Data["phase"])
				s.awaitVersion("app", fmt.Sprint(2+i))
				s.awaitPhase("app", "steady")
			}
			stop()
			logins := s.Tenant.Stats().Logins
			t.Logf("logins: %d, refused: %d (fell back to the second secret: %d) in %s",
				logins.Accepted, logins.Refused, logins.FellBack, time.Since(began).Round(time.Second))
			assert.Zero(t, logins.Refused)
			assert.Zero(t, logins.Undecided)
			assert.Positive(t, logins.FellBack, "or the test shows nothing: the served order has to matter")
			assert.Len(t, s.Tenant.SecretHistory(app.ClientID), 1+c.rotations)
		})
	}
}

// TestRotationByAuth0: secret_source=auth0, with and without the scope to read
// what Auth0 makes.
func TestRotationByAuth0(t *testing.T) {
	t.Parallel()
	needs(t, "read:client_keys")
	s := configured(t, "inmem", map[string]any{"propagation_delay": "0s"})
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s", "secret_source": "auth0"})
	s.write("rotate/app", nil)
	history := s.Tenant.SecretHistory(app.ClientID)
	require.Len(t, history, 2)
	assert.Equal(t, "rotate-secret", history[1].By)
	assert.Equal(t, history[1].Value, s.read("creds/app")["client_secret"])

	s.Tenant.SetScopes(s.Engine.ClientID, "update:client_keys")
	s.Tenant.ExpireTokens()
	s.write("rotate/app", nil)
	assert.Equal(t, s.Tenant.Secret(app.ClientID), s.read("creds/app")["client_secret"])
	history = s.Tenant.SecretHistory(app.ClientID)
	assert.Equal(t, "patch", history[len(history)-1].By, "Auth0 did not show its secret, so one of our own was set")
}

// TestLostAnswerOfAuth0IsRecovered: the answer to a rotation is lost after it
// took effect; the application's secret is found again.
func TestLostAnswerOfAuth0IsRecovered(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"vault", "auth0"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			s := configured(t, "inmem", map[string]any{"propagation_delay": "0s"})
			app := s.addApplication(nil)
			s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s", "secret_source": source})
			s.Tenant.Inject(tenant.Fault{Endpoint: tenant.UpdateApplication, Kind: tenant.ResetAfterCommit, Times: 1})
			s.Tenant.Inject(tenant.Fault{Endpoint: tenant.RotateSecret, Kind: tenant.ResetAfterCommit, Times: 1})
			_, err := s.Vault.Client().Logical().WriteWithContext(t.Context(), devstack.Mount+"/rotate/app", map[string]any{"force": true})
			require.ErrorContains(t, err, "no clear answer from Auth0")
			if source == "vault" {
				assert.Contains(t, s.read("creds/app")["client_secrets"], s.Tenant.Secret(app.ClientID))
			}
			s.awaitVersion("app", "2")
			assert.Equal(t, s.Tenant.Secret(app.ClientID), s.read("creds/app")["client_secret"])
		})
	}
}

// TestRestartWhileStaged: Vault goes down and comes back, on storage that lasts.
func TestRestartWhileStaged(t *testing.T) {
	t.Parallel()
	s := configured(t, "raft", map[string]any{"propagation_delay": "0s"})
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	s.write("rotate/app", nil)
	before := s.read("creds/app")["client_secrets"]
	require.Len(t, before, 2)

	down := time.Now().Truncate(time.Second)
	require.NoError(t, s.Vault.Restart(t.Context()))
	s.eventually("the plugin answers", func() bool {
		_, err := s.request(logical.ReadOperation, "creds/app", nil)
		return err == nil
	})
	ready := time.Time{}
	creds, role := s.read("creds/app"), s.read("roles/app")
	if role["phase"] == "staged" { // or this machine is so busy that the time is over
		assert.Equal(t, before, creds["client_secrets"], "the staged secret is still the same")
		var err error
		ready, err = time.Parse(time.RFC3339, role["ready_at"].(string))
		require.NoError(t, err)
	}
	s.awaitVersion("app", "2")
	changes := s.Tenant.SecretHistory(app.ClientID)
	require.Len(t, changes, 2)
	set := changes[1].At
	assert.Equal(t, before.([]any)[1], changes[1].Value)
	assert.False(t, set.Before(ready), "set in Auth0 at %s, before ready_at %s", set, ready)
	since, err := time.Parse(time.RFC3339, s.read("status")["serving_since"].(string))
	require.NoError(t, err)
	assert.False(t, since.Before(down), "it has been served anew since the restart")
	assert.GreaterOrEqual(t, set.Sub(since), 10*time.Second, "a whole ttl from then")
}

// TestCredentialsAreReadWhileAuth0IsDown, and a rotation that is due meanwhile
// heals.
func TestCredentialsAreReadWhileAuth0IsDown(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", map[string]any{"propagation_delay": "0s"})
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	s.write("config", map[string]any{"request_timeout": "2s", "verify_connection": false})
	s.Tenant.SetDown(true)
	s.write("rotate/app", nil) // staging needs no Auth0
	s.eventually("an attempt has failed", func() bool { return s.read("roles/app")["last_error"] != nil })
	assert.Len(t, s.read("creds/app")["client_secrets"], 2)
	assert.Equal(t, app.ClientSecret, s.read("static-creds/app")["client_secret"])
	assert.Contains(t, s.read("roles/app")["last_error"], "no clear answer from Auth0")
	s.Tenant.SetDown(false)
	s.awaitVersion("app", "2")
	assert.Equal(t, s.Tenant.Secret(app.ClientID), s.read("creds/app")["client_secret"])
}

// TestScheduledRotation takes effect by itself. (In a cluster it goes on and on.)
func TestScheduledRotation(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", map[string]any{"propagation_delay": "0s"})
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s", "rotation_period": "20s"})
	imported, err := time.Parse(time.RFC3339, s.read("roles/app")["last_vault_rotation"].(string))
	require.NoError(t, err)
	s.awaitVersion("app", "2")
	changes := s.Tenant.SecretHistory(app.ClientID)
	assert.GreaterOrEqual(t, changes[1].At.Sub(imported), 20*time.Second)
}

func TestLeases(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", nil)
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "42s"})
	lease := s.must(logical.ReadOperation, "creds/app", nil)
	assert.Equal(t, 42, lease.LeaseDuration)
	assert.False(t, lease.Renewable)
	assert.NotEmpty(t, lease.LeaseID)
	sys := s.Vault.Client().Sys()
	static := s.must(logical.ReadOperation, "static-creds/app", nil)
	assert.Empty(t, static.LeaseID)

	require.NoError(t, sys.RevokeWithContext(t.Context(), lease.LeaseID))
	for range 5 {
		s.read("creds/app")
	}
	require.NoError(t, sys.RevokePrefixWithContext(t.Context(), devstack.Mount+"/creds"))
	for range 5 {
		s.read("creds/app")
	}
	require.NoError(t, sys.UnmountWithContext(t.Context(), devstack.Mount))
	assert.Equal(t, app.ClientSecret, s.Tenant.Secret(app.ClientID))
	assert.Empty(t, s.errorsInLog())
}

// TestLeaseExpires by itself, without an error.
func TestLeaseExpires(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", nil)
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	lease := s.must(logical.ReadOperation, "creds/app", nil)
	s.eventually("the lease is gone", func() bool {
		_, err := s.Vault.Client().Sys().LookupWithContext(t.Context(), lease.LeaseID)
		return err != nil
	})
	assert.Empty(t, s.errorsInLog())
	s.write("roles/app", map[string]any{"ttl": "10m"})
	lease = s.must(logical.ReadOperation, "creds/app", nil)
	_, err := s.Vault.Client().Sys().RenewWithContext(t.Context(), lease.LeaseID, 0)
	require.ErrorContains(t, err, "not renewable")
}

func TestAgentRendersCredentials(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", nil)
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	file, err := s.StartAgent(t.Context(), "app")
	require.NoError(t, err)
	credentials, err := auth0login.File(file).Credentials(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{app.ClientSecret}, credentials.ClientSecrets)
	assert.Equal(t, s.Tenant.Domain(), credentials.Domain)
	before, err := os.Stat(file)
	require.NoError(t, err)
	s.write("rotate/app", map[string]any{"force": true})
	s.eventually("the file has the new secret", func() bool {
		credentials, err := auth0login.File(file).Credentials(t.Context())
		return err == nil && credentials.ClientSecrets[0] == s.Tenant.Secret(app.ClientID)
	})
	after, err := os.Stat(file)
	require.NoError(t, err)
	assert.True(t, after.ModTime().After(before.ModTime()))
}
