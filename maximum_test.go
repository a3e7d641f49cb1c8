package auth0secrets

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAMaximumThatVaultDoesNotTellIsNone: the SDK's client of the system view answers 0 for an
// error. A lease that the mount caps must not become one of a second by that.
func TestAMaximumThatVaultDoesNotTellIsNone(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "2h"})
	env.system.MaxLeaseTTLVal = time.Hour
	require.NoError(t, env.b.PeriodicFunc(t.Context(), &logical.Request{Storage: env.storage}))
	env.system.MaxLeaseTTLVal = 0
	assert.Equal(t, time.Hour, env.must(logical.ReadOperation, "creds/app", nil).Secret.TTL)
}
