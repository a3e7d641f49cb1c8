//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/auth0login/vaultcreds"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestApplicationsThatReadFromVault, without a Vault Agent, go through a staged
// rotation without a refused login; through a forced one, too, as they read again
// when all they have is refused.
func TestApplicationsThatReadFromVault(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"creds", "static-creds"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			s := configured(t, "inmem", map[string]any{"propagation_delay": "5s"})
			app := s.addApplication(nil)
			s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
			source := vaultcreds.New(s.Vault.Client(), devstack.Mount+"/"+path+"/app")
			source.Patience = patience // however busy this machine is
			stop := s.startLogins("app", source, nil)
			s.eventually("logins", func() bool { return s.Tenant.Stats().Logins.Accepted > 20 })
			s.Tenant.SetPropagation(tenant.Propagation{Delay: 4 * time.Second, Mode: tenant.Mixed})
			require.Equal(t, "staged", s.write("rotate/app", nil).Data["phase"])
			s.awaitVersion("app", "2")
			s.awaitPhase("app", "steady")

			s.Tenant.SetPropagation(tenant.Propagation{})
			s.write("rotate/app", map[string]any{"force": true})
			accepted := s.Tenant.Stats().Logins.Accepted
			s.eventually("logins with the forced one", func() bool { return s.Tenant.Stats().Logins.Accepted > accepted+20 })
			stop()
			logins := s.Tenant.Stats().Logins
			t.Logf("logins: %d, refused: %d (fell back: %d)", logins.Accepted, logins.Refused, logins.FellBack)
			assert.Zero(t, logins.Refused)
			assert.Zero(t, logins.Undecided)
			assert.Positive(t, logins.FellBack)
		})
	}
}
