package auth0secrets

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// keyedEnv is an engine that authenticates by private_key_jwt.
func keyedEnv(t *testing.T) (env *testEnv, key string) {
	t.Helper()
	env = newEnv(t)
	key = testKeys()[0]
	env.auth0.keys, env.auth0.every = []string{key}, append(env.auth0.every, key)
	env.auth0.grantScopes(append([]string{scopeUpdateClientKeys, scopeReadClients, scopeReadClientKeys}, auth0.KeyScopes...)...)
	env.write("config", map[string]any{fieldDomain: testDomain, fieldClientID: testEngineID, fieldPrivateKey: key})
	return env, key
}

func (env *testEnv) keys() []string {
	env.auth0.mu.Lock()
	defer env.auth0.mu.Unlock()
	return env.auth0.keys
}

func TestConfigWithAPrivateKey(t *testing.T) {
	env, key := keyedEnv(t)
	config := env.read("config")
	assert.Equal(t, "private_key_jwt", config[fieldAuthMethod])
	assert.Equal(t, "RS256", config[fieldSigningAlgorithm])
	env.write("config", map[string]any{fieldSigningAlgorithm: "PS256", fieldRequestTimeout: "10s"})
	assert.Equal(t, "PS256", env.read("config")[fieldSigningAlgorithm])
	env.write("config", map[string]any{fieldRequestTimeout: "20s"})
	assert.Equal(t, "PS256", env.read("config")[fieldSigningAlgorithm])

	for text, sent := range map[string]map[string]any{
		"exclude each other":           {fieldPrivateKey: key, fieldClientSecret: "x"},
		"is not known to Auth0":        {fieldSigningAlgorithm: "HS256"},
		"private_key cannot be used":   {fieldPrivateKey: "nonsense"},
		"private_key must be a string": {fieldPrivateKey: []any{key}},
	} {
		env.refused(400, text, logical.UpdateOperation, "config", sent)
	}
	env.write("config", map[string]any{fieldClientSecret: testEngineSecret})
	assert.NotContains(t, env.read("config"), fieldSigningAlgorithm)
	assert.Equal(t, "client_secret_post", env.read("config")[fieldAuthMethod])
	env.refused(400, "only for use with private_key", logical.UpdateOperation, "config", map[string]any{fieldSigningAlgorithm: "RS256"})

	env.auth0.grantScopes(scopeUpdateClientKeys, scopeReadClients, scopeReadClientKeys)
	resp := env.write("config", map[string]any{fieldPrivateKey: key})
	require.Len(t, resp.Warnings, 1)
	assert.Contains(t, resp.Warnings[0], "rotate-root cannot replace the engine's key")
}

func TestRotateRootReplacesTheKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env, key := keyedEnv(t)
		assert.Nil(t, env.write("rotate-root", nil))
		require.Len(t, env.keys(), 1)
		assert.NotEqual(t, key, env.keys()[0])
		assert.True(t, env.canLogIn())
		assert.Equal(t, "RS256", env.read("config")[fieldSigningAlgorithm])
		sleep(time.Hour)
		env.restart()
		assert.True(t, env.canLogIn())
		assert.Zero(t, env.auth0.count("set"), "its client secret is of no use, and stays as it is")
	})
}

// TestRotateRootOfAKeyWithoutScopes has changed nothing, and says what it needs.
func TestRotateRootOfAKeyWithoutScopes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env, key := keyedEnv(t)
		env.auth0.grantScopes(scopeUpdateClientKeys, "read:client_credentials", "create:client_credentials", "update:client_credentials")
		env.refused(400, "lacks delete:client_credentials", logical.UpdateOperation, "rotate-root", nil)
		assert.Equal(t, []string{key}, env.keys())
		assert.Contains(t, env.read("config")[fieldLastError], "delete:client_credentials")
		env.auth0.grantScopes(append([]string{scopeUpdateClientKeys}, auth0.KeyScopes...)...)
		env.write("rotate-root", nil)
		assert.NotContains(t, env.keys(), key)
	})
}

// TestAKeyIsNeverLostOnTheWay: whichever step fails, and whether or not it took
// effect, the engine logs in, and ends up with one key.
func TestAKeyIsNeverLostOnTheWay(t *testing.T) {
	for _, step := range []string{"enable", "retire"} {
		for name, fault := range map[string]func(commit func()) error{
			"lost before": func(func()) error { return noAnswer(step) },
			"lost after":  func(commit func()) error { commit(); return noAnswer(step) },
			"refused":     func(func()) error { return refusal(step, 403, "x", "no") },
		} {
			t.Run(step+" "+name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					env, key := keyedEnv(t)
					env.auth0.interfereWith(func(op, _ string, commit func()) error {
						if op == step {
							return fault(commit)
						}
						return nil
					})
					_, err := env.request(logical.UpdateOperation, "rotate-root", nil)
					require.Error(t, err)
					assert.NotEmpty(t, env.read("config")[fieldLastError])
					assert.True(t, env.canLogIn())
					env.restart()
					assert.True(t, env.canLogIn())
					env.auth0.interfereWith(nil)
					sleep(3 * time.Hour)
					if name == "refused" && step == "enable" {
						assert.Equal(t, []string{key}, env.keys(), "nothing has changed there")
						env.write("rotate-root", nil)
					}
					assert.Len(t, env.keys(), 1)
					assert.NotContains(t, env.keys(), key)
					assert.True(t, env.canLogIn())
				})
			})
		}
	}
}
