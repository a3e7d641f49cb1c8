package auth0secrets

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
)

func TestTokenOfTheEngine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.auth0.honoursScope = true
		assert.Nil(t, env.write("token-roles/reader", map[string]any{fieldScopes: "read:clients"}))
		assert.Equal(t, map[string]any{fieldScopes: []string{"read:clients"}, fieldRole: ""}, env.read("token-roles/reader"))
		assert.Equal(t, []string{"reader"}, env.must(logical.ListOperation, "token-roles/", nil).Data["keys"])

		resp := env.must(logical.ReadOperation, "tokens/reader", nil)
		assert.NotEmpty(t, resp.Data[fieldAccessToken])
		assert.Equal(t, []string{"read:clients"}, resp.Data[fieldScopes])
		assert.Equal(t, 24*time.Hour, resp.Secret.TTL)
		assert.False(t, resp.Secret.Renewable)
		require.Len(t, resp.Warnings, 1)
		assert.Contains(t, resp.Warnings[0], "cannot revoke an access token")
		again := env.must(logical.ReadOperation, "tokens/reader", nil)
		assert.NotEqual(t, resp.Data[fieldAccessToken], again.Data[fieldAccessToken], "each reader has one of his own")

		env.must(logical.DeleteOperation, "token-roles/reader", nil)
		env.refused(400, `token role "reader" does not exist`, logical.ReadOperation, "tokens/reader", nil)
	})
}

// TestATokenWithMoreThanTheRoleIsNotHandedOut, which is what Auth0 makes unless
// the tenant prevents it.
func TestATokenWithMoreThanTheRoleIsNotHandedOut(t *testing.T) {
	env := configuredEnv(t)
	resp := env.write("token-roles/reader", map[string]any{fieldScopes: "read:clients"})
	require.Len(t, resp.Warnings, 1)
	assert.Contains(t, resp.Warnings[0], "no token can be handed out")
	env.refused(400, "Auth0 granted more than the token role's scopes (update:client_keys, read:client_keys)", logical.ReadOperation, "tokens/reader", nil)
	env.auth0.grantScopes("read:clients")
	assert.Equal(t, []string{"read:clients"}, env.read("tokens/reader")[fieldScopes])
	env.auth0.grantScopes("update:client_keys")
	env.refused(400, "the grant of the engine's application lacks read:clients", logical.ReadOperation, "tokens/reader", nil)
	env.auth0.scopes = nil
	env.refused(400, "Auth0 did not say which scopes the token carries", logical.ReadOperation, "tokens/reader", nil)
}

func TestTokenRoleRefusals(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.honoursScope = true
	for text, sent := range map[string]map[string]any{
		"scopes is missing":       {},
		"is not a scope":          {fieldScopes: []string{"read users"}},
		"lacks read:users":        {fieldScopes: "read:clients,read:users"},
		`role "x" does not exist`: {fieldScopes: "read:clients", fieldRole: "x"},
	} {
		env.refused(400, text, logical.UpdateOperation, "token-roles/reader", sent)
	}
	env.refused(400, "does not exist: create it", logical.PatchOperation, "token-roles/reader", map[string]any{fieldScopes: "read:clients"})
	env.write("token-roles/reader", map[string]any{fieldScopes: "read:clients"})
	env.must(logical.PatchOperation, "token-roles/reader", map[string]any{fieldScopes: "read:clients,read:client_keys"})
	assert.Len(t, env.read("token-roles/reader")[fieldScopes], 2)
}

// TestTokenByTheApplicationOfARole logs in as that, with the role's secrets.
func TestTokenByTheApplicationOfARole(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/user-reader", map[string]any{fieldClientID: testAppID, fieldTTL: "15m"})
		var asked []auth0.Config
		newAPI := env.b.newAPI
		env.b.newAPI = func(c auth0.Config) (managementAPI, error) {
			asked = append(asked, c)
			return newAPI(c)
		}
		env.auth0.grantScopes("read:users")
		env.write("token-roles/reader", map[string]any{fieldScopes: "read:users", fieldRole: "user-reader"})
		env.write("rotate/user-reader", nil)
		env.read("tokens/reader")
		last := asked[len(asked)-1]
		assert.Equal(t, testAppID, last.ClientID)
		assert.Equal(t, env.read("creds/user-reader")[fieldClientSecrets], last.Secrets)
	})
}

// TestEventsOfReads are sent where somebody can subscribe, and only there.
func TestEventsOfReads(t *testing.T) {
	for version, want := range map[string]int{"1.21.0": 0, "1.21.0+ent": 1} {
		t.Run(version, func(t *testing.T) {
			env := newEnv(t)
			env.system.PluginEnvironment.VaultVersion = version
			env.write("config", engineConfig(nil))
			env.write("roles/app", map[string]any{fieldClientID: testAppID})
			env.auth0.honoursScope = true
			env.write("token-roles/reader", map[string]any{fieldScopes: "read:clients"})
			env.read("creds/app")
			env.read("static-creds/app")
			env.read("tokens/reader")
			env.b.readEvents.work.Wait()
			assert.Equal(t, want, env.eventCount(eventCredsCreate))
			assert.Equal(t, want, env.eventCount(eventTokenCreate))
		})
	}
}
