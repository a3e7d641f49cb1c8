package auth0secrets

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// canLogIn says whether an engine that starts on what is stored can log in.
func (env *testEnv) canLogIn() bool {
	env.t.Helper()
	config, err := readConfig(context.Background(), env.storage)
	require.NoError(env.t, err)
	_, err = (&fakeClient{env.auth0, env.b.clientSettings(config)}).Grant(context.Background())
	return err == nil
}

// whenLogin is called before each login, from now on.
func (f *fakeAuth0) whenLogin(fn func(auth0.Config) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onLogin = fn
}

func TestRotateRootReplacesTheEnginesOwnSecret(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		assert.Nil(t, env.write("rotate-root", nil))
		secret := env.auth0.secret(testEngineID)
		assert.NotEqual(t, testEngineSecret, secret)
		assert.True(t, env.canLogIn())
		sleep(time.Hour)
		config, err := readConfig(t.Context(), env.storage)
		require.NoError(t, err)
		assert.Equal(t, []string{secret}, inClear(config.Rotation.Logins(env.b.rootClock())))
		assert.Equal(t, "2000-01-01T00:00:00Z", env.read("config")[fieldLastVaultRotation])
		env.write("roles/app", map[string]any{fieldClientID: testAppID})
		assert.Equal(t, string(eventRootRotate), string(env.events.Events[1].Type))
	})
}

func TestRotateRootNeedsAConfiguration(t *testing.T) {
	env := newEnv(t)
	env.refused(400, "not configured yet", logical.UpdateOperation, "rotate-root", nil)
}

// TestRotateRootStoresBeforeItSends, and logs in whatever Auth0 accepts.
func TestRotateRootStoresBeforeItSends(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.auth0.whenSet(func(_, secret string) {
			config, err := readConfig(context.Background(), env.storage)
			require.NoError(t, err)
			require.True(t, config.Rotation.Holds(rotation.Secret(secret)))
		})
		env.write("rotate-root", nil)
		env.auth0.whenSet(nil)
		env.storage.FailPut(true)
		_, err := env.request(logical.UpdateOperation, "rotate-root", nil)
		require.Error(t, err)
		env.storage.FailPut(false)
		assert.Equal(t, 1, env.auth0.count("set"))
	})
}

// TestRotateRootLosesNothing: a lost answer, a crash after it, and storage that
// fails then; the engine logs in all the same, and ends with the same secret.
func TestRotateRootLosesNothing(t *testing.T) {
	for name, committed := range map[string]bool{"took effect": true, "did not": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := configuredEnv(t)
				synctest.Wait()
				env.auth0.interfereWith(func(_, _ string, commit func()) error {
					if committed {
						commit()
					}
					env.storage.FailPut(true)
					return noAnswer("set secret")
				})
				env.refused(502, "no clear answer", logical.UpdateOperation, "rotate-root", nil)
				synctest.Wait()
				env.storage.FailPut(false)
				require.True(t, env.canLogIn())
				env.auth0.interfereWith(nil)
				env.restart()
				sleep(time.Minute)
				require.True(t, env.canLogIn())
				assert.NotEqual(t, testEngineSecret, env.auth0.secret(testEngineID))
				config, err := readConfig(t.Context(), env.storage)
				require.NoError(t, err)
				assert.Equal(t, env.auth0.secret(testEngineID), string(config.Rotation.Current()))
			})
		})
	}
}

func TestRotateRootRefusedChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.auth0.interfereWith(func(_, _ string, _ func()) error {
			return refusal("set secret", 403, auth0.CodeInsufficientScope, "Insufficient scope")
		})
		env.refused(400, "Insufficient scope", logical.UpdateOperation, "rotate-root", nil)
		assert.Contains(t, env.read("config")[fieldLastError], "Insufficient scope")
		env.auth0.interfereWith(nil)
		sleep(5 * time.Hour)
		assert.Equal(t, testEngineSecret, env.auth0.secret(testEngineID), "a refused request is over")
		env.write("rotate-root", nil)
		assert.NotContains(t, env.read("config"), fieldLastError)
	})
}

// TestRotateRootWaitsUntilTheNewSecretIsEverywhere, and keeps both if it never is.
func TestRotateRootWaitsUntilTheNewSecretIsEverywhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		propagated := time.Now().Add(20 * time.Second)
		env.auth0.whenLogin(func(c auth0.Config) error {
			if time.Now().Before(propagated) && c.Secrets[0] != testEngineSecret {
				return refusal("token", 401, "access_denied", "Unauthorized")
			}
			return nil
		})
		began := time.Now()
		env.write("rotate-root", nil)
		assert.Equal(t, 20*time.Second, time.Since(began))

		propagated = time.Now().Add(1000 * time.Hour)
		env.refused(502, "a login with it failed", logical.UpdateOperation, "rotate-root", nil)
		config, err := readConfig(t.Context(), env.storage)
		require.NoError(t, err)
		assert.Equal(t, []string{string(config.Rotation.Next()), string(config.Rotation.Current())}, inClear(config.Rotation.Logins(env.b.rootClock()))[:2], "both are kept")
	})
}

func TestRootIsRotatedBySchedule(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := newEnv(t)
		env.write("config", engineConfig(map[string]any{fieldRotationSchedule: "0 3 * * *"}))
		assert.Equal(t, "2000-01-01T03:00:00Z", env.read("config")[fieldNextVaultRotation])
		sleep(3*time.Hour - time.Second)
		assert.Zero(t, env.auth0.count("set"))
		sleep(time.Second)
		assert.Equal(t, 1, env.auth0.count("set"))
		env.restart()
		sleep(24 * time.Hour)
		assert.Equal(t, 2, env.auth0.count("set"))
		env.write("config", map[string]any{fieldDisableRotation: true})
		sleep(72 * time.Hour)
		assert.Equal(t, 2, env.auth0.count("set"))
		assert.True(t, env.canLogIn())
	})
}

// TestAKeyThatIsNotProvenReplacesNone: the old one is removed only once a login with
// the new one has succeeded.
func TestAKeyThatIsNotProvenReplacesNone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env, key := keyedEnv(t)
		env.auth0.whenLogin(func(c auth0.Config) error {
			if len(c.Secrets) == 1 && c.Secrets[0] != key {
				return refusal("token", 401, "access_denied", "Unauthorized")
			}
			return nil
		})
		env.refused(502, "a login with it failed", logical.UpdateOperation, "rotate-root", nil)
		assert.Zero(t, env.auth0.count("retire"))
		assert.Contains(t, env.keys(), key)
		env.auth0.whenLogin(nil)
		sleep(time.Hour)
		assert.Equal(t, 1, env.auth0.count("retire"))
		assert.NotContains(t, env.keys(), key)
	})
}
