package devstack

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestTheTenantCountsTheLoginsOfAnApplication: those that work, those that work with
// a fallback, and those that do not.
func TestTheTenantCountsTheLoginsOfAnApplication(t *testing.T) {
	auth0, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(auth0.Close)
	app := auth0.AddApplication(tenant.Application{})
	secrets := []string{"another", app.ClientSecret}
	a := &Application{
		Source: auth0login.SourceFunc(func(context.Context) (auth0login.Credentials, error) {
			return auth0login.Credentials{Domain: auth0.Domain(), ClientID: app.ClientID, ClientSecrets: secrets}, nil
		}),
		Every: time.Millisecond, HTTP: auth0.HTTPClient(),
	}
	run := func(until func(tenant.LoginStats) bool) tenant.LoginStats {
		stop := a.Start(t.Context())
		require.Eventually(t, func() bool { return until(auth0.Stats().Logins) }, time.Minute, time.Millisecond)
		stop()
		return auth0.Stats().Logins
	}
	logins := run(func(l tenant.LoginStats) bool { return l.Accepted > 5 })
	assert.Positive(t, logins.FellBack)
	assert.Zero(t, logins.Refused)
	assert.Zero(t, logins.Undecided)

	earlier := logins.Attempts.Refused
	secrets = []string{"one", "two"}
	logins = run(func(l tenant.LoginStats) bool { return l.Refused > 5 })
	assert.Zero(t, logins.Undecided)
	assert.Equal(t, 5*logins.Refused, logins.Attempts.Refused-earlier, "each secret twice, and the last word")
}
