package devstack

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestTheAPICountsTheCallsOfAService: a token that it refuses is counted, one that has
// ended is not sent.
func TestTheAPICountsTheCallsOfAService(t *testing.T) {
	auth0, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(auth0.Close)
	stack := &Stack{Tenant: auth0}
	token := &oauth2.Token{AccessToken: "no.good.token"}
	service := stack.StartService(t.Context(), oauth2.StaticTokenSource(token), tenant.DefaultAPI, "", time.Millisecond)
	require.Eventually(t, func() bool { return service.Calls().Refused > 0 }, time.Minute, time.Millisecond)
	service.Stop()
	assert.Zero(t, service.Calls().Accepted)
	assert.Zero(t, service.Without())

	ended := &oauth2.Token{AccessToken: "no.good.token", Expiry: time.Now()}
	service = stack.StartService(t.Context(), oauth2.StaticTokenSource(ended), tenant.DefaultAPI, "", time.Millisecond)
	require.Eventually(t, func() bool { return service.Without() > 0 }, time.Minute, time.Millisecond)
	service.Stop()
	assert.Zero(t, service.Calls())
}
