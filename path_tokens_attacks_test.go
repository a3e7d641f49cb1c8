package auth0secrets

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheEnginesTokenAfterItsAPIMoved: it may have all scopes, and is not handed out for
// the API that the token role names, which was the Management API once.
func TestTheEnginesTokenAfterItsAPIMoved(t *testing.T) {
	for name, changed := range map[string]map[string]any{
		"audience": {fieldAudience: "https://other.example.com/api/v2/"},
		"domain":   {fieldDomain: "other.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			env := configuredEnv(t)
			env.auth0.honoursScope = true
			env.write("token-roles/reader", map[string]any{fieldAudience: "https://" + testDomain + "/api/v2/", fieldScopes: "read:clients"})
			env.read("tokens/reader")
			env.auth0.honoursScope = false
			env.write("config", engineConfig(changed))
			env.refused(400, "role is missing", logical.ReadOperation, "tokens/reader", nil)
		})
	}
}

// TestNoFetchBeginsAfterClean: what waits for those under way would panic, and take the
// mounts along that share the process.
func TestNoFetchBeginsAfterClean(t *testing.T) {
	env := tokenEnv(t, nil)
	env.b.Cleanup(t.Context())
	before := env.got(0)
	env.refused(503, "being stopped", logical.ReadOperation, "tokens/orders", nil)
	assert.Zero(t, env.got(before))
}

// TestASecretThatIsNotKnownYetRefusesNoReader: Auth0 has made one, and its answer was
// lost. Nor does one that was changed outside Vault and is not found yet.
func TestASecretThatIsNotKnownYetRefusesNoReader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := tokenEnv(t, nil)
		env.write("roles/shop", map[string]any{fieldSecretSource: "auth0"})
		first := env.read("tokens/orders")[fieldAccessToken]
		sleep(55*time.Minute + 30*time.Second)
		env.auth0.interfereWith(func(op, _ string, commit func()) error {
			if op == "rotate" {
				commit()
				return noAnswer(op)
			}
			return nil
		})
		_, err := env.request(logical.UpdateOperation, "rotate/shop", nil)
		require.Error(t, err)
		resp := env.must(logical.ReadOperation, "tokens/orders", nil)
		assert.Equal(t, first, resp.Data[fieldAccessToken])
		require.Len(t, resp.Warnings, 1)
		assert.Contains(t, resp.Warnings[0], "all client secrets were refused")
		env.auth0.interfereWith(nil)
		sleep(2 * time.Minute)
		resp = env.must(logical.ReadOperation, "tokens/orders", nil)
		assert.NotEqual(t, first, resp.Data[fieldAccessToken])
		assert.Empty(t, resp.Warnings)
	})
}

// TestEachReadOfTokensCountsOnce, whatever comes of it.
func TestEachReadOfTokensCountsOnce(t *testing.T) {
	env := tokenEnv(t, nil)
	env.read("tokens/orders")
	env.refused(400, "does not exist", logical.ReadOperation, "tokens/none", nil)
	env.must(logical.DeleteOperation, "roles/shop", nil)
	env.refused(400, "does not exist", logical.ReadOperation, "tokens/orders", nil)
	env.must(logical.DeleteOperation, "config", nil)
	_, err := env.request(logical.ReadOperation, "tokens/orders", nil)
	require.Error(t, err)
	assert.EqualValues(t, 1, env.b.counters.tokens.Load())
	assert.EqualValues(t, 3, env.b.counters.tokensRefused.Load())
}
