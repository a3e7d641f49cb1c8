package auth0secrets

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/rotation"
)

const foreignSecret = "a-secret-that-somebody-set-in-the-dashboard"

// setForeign changes the application's secret behind the engine's back.
func (env *testEnv) setForeign(secret string) {
	env.auth0.mu.Lock()
	defer env.auth0.mu.Unlock()
	env.auth0.set(testAppID, secret)
}

func driftEnv(t *testing.T, role map[string]any) *testEnv {
	t.Helper()
	env := configuredEnv(t)
	settings := map[string]any{fieldClientID: testAppID, fieldTTL: "15m"}
	for field, value := range role {
		settings[field] = value
	}
	env.write("roles/app", settings)
	return env
}

// TestDriftIsAdopted within the period: the foreign secret is served first, ours
// as a fallback, and the next rotation ends it.
func TestDriftIsAdopted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, nil)
		sleep(24 * time.Hour)
		assert.NotEmpty(t, env.read("roles/app")[fieldDriftCheckedAt])
		assert.NotContains(t, env.read("roles/app"), fieldDriftDetectedAt)
		assert.Equal(t, []string{testAppSecret}, env.read("creds/app")[fieldClientSecrets])

		env.setForeign(foreignSecret)
		sleep(24 * time.Hour)
		assert.Equal(t, []string{foreignSecret, testAppSecret}, env.read("creds/app")[fieldClientSecrets])
		resp := env.must(logical.ReadOperation, "roles/app", nil)
		assert.NotEmpty(t, resp.Data[fieldDriftDetectedAt])
		assert.Equal(t, 2, resp.Data[fieldVersion])
		assert.Contains(t, resp.Warnings[0], "changed outside Vault")
		assert.Contains(t, env.read("status")[fieldDrifted], "app")
		assert.Equal(t, 1, env.eventCount(eventDrift))
		assert.Zero(t, env.eventCount(eventRotate))

		sleep(72 * time.Hour) // the same finding again is none
		env.restart()
		sleep(24 * time.Hour)
		assert.Equal(t, []string{foreignSecret, testAppSecret}, env.read("creds/app")[fieldClientSecrets])
		assert.Equal(t, 1, env.eventCount(eventDrift))

		env.write("rotate/app", nil)
		sleep(16 * time.Minute)
		creds := env.read("creds/app")
		assert.Equal(t, env.auth0.secret(testAppID), creds[fieldClientSecret])
		assert.NotContains(t, creds[fieldClientSecrets], foreignSecret)
		assert.NotContains(t, env.read("roles/app"), fieldDriftDetectedAt)
		assert.Empty(t, env.read("status")[fieldDrifted])
	})
}

// TestDriftIsFoundWhenASecretIsStaged, at once; leases are waited for as if
// nothing had happened, and the secret that Auth0 has is in every new set.
func TestDriftIsFoundWhenASecretIsStaged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, nil)
		env.setForeign(foreignSecret)
		answer := env.write("rotate/app", nil)
		sleep(time.Second)
		role := env.read("roles/app")
		assert.Equal(t, string(rotation.Staged), role[fieldPhase])
		assert.Equal(t, answer.Data[fieldReadyAt], role[fieldReadyAt])
		secrets := env.read("creds/app")[fieldClientSecrets].([]string)
		require.Len(t, secrets, 3)
		assert.Equal(t, foreignSecret, secrets[0])
		assert.Equal(t, testAppSecret, secrets[2])
		sleep(15*time.Minute + 5*time.Second)
		assert.Equal(t, secrets[1], env.auth0.secret(testAppID))
		assert.Equal(t, []string{secrets[1], foreignSecret}, env.read("creds/app")[fieldClientSecrets])
	})
}

// TestDriftBackToOurs: somebody sets our secret again.
func TestDriftBackToOurs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, nil)
		env.setForeign(foreignSecret)
		sleep(24 * time.Hour)
		env.setForeign(testAppSecret)
		sleep(24 * time.Hour)
		assert.Equal(t, []string{testAppSecret, foreignSecret}, env.read("creds/app")[fieldClientSecrets])
	})
}

func TestDriftWithoutTheScope(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := newEnv(t)
		env.auth0.grantScopes(scopeUpdateClientKeys, scopeReadClients)
		resp := env.write("config", engineConfig(nil))
		assert.Contains(t, resp.Warnings[0], "drift cannot be seen")
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldClientSecret: testAppSecret})
		before := env.auth0.count("get")
		env.setForeign(foreignSecret)
		sleep(72 * time.Hour)
		assert.Equal(t, before, env.auth0.count("get"), "nothing is asked that cannot be answered")
		read := env.must(logical.ReadOperation, "roles/app", nil)
		assert.Equal(t, string(driftUnavailable), read.Data[fieldDriftDetection])
		assert.Contains(t, read.Warnings[0], "drift cannot be seen")
		assert.Equal(t, string(driftUnavailable), env.read("status")[fieldDriftDetection])
		assert.Equal(t, []string{testAppSecret}, env.read("creds/app")[fieldClientSecrets])
	})
}

func TestDriftCheckPeriod(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, nil)
		env.refused(400, "drift_check_period must be 0 (never) or at least 10s", logical.UpdateOperation, "config", map[string]any{fieldDriftCheckPeriod: "9s"})
		env.write("config", map[string]any{fieldDriftCheckPeriod: "1m"})
		before := env.auth0.count("get")
		sleep(time.Hour)
		assert.Equal(t, 60, env.auth0.count("get")-before)
		env.write("config", map[string]any{fieldDriftCheckPeriod: 0})
		sleep(72 * time.Hour)
		assert.Equal(t, 60, env.auth0.count("get")-before)
		assert.Equal(t, string(driftOff), env.read("roles/app")[fieldDriftDetection])
	})
}

// TestAFailedDriftCheck changes nothing, is shown, and is made again.
func TestAFailedDriftCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, nil)
		env.auth0.interfereWith(func(string, string, func()) error { return noAnswer("get application") })
		env.setForeign(foreignSecret)
		sleep(24 * time.Hour)
		role := env.read("roles/app")
		assert.Contains(t, role[fieldDriftCheckError], "no clear answer")
		assert.NotContains(t, role, fieldLastError)
		assert.Equal(t, []string{testAppSecret}, env.read("creds/app")[fieldClientSecrets])
		env.auth0.interfereWith(nil)
		sleep(time.Hour)
		assert.NotContains(t, env.read("roles/app"), fieldDriftCheckError)
		assert.Equal(t, foreignSecret, env.read("creds/app")[fieldClientSecret])
	})
}

// TestAnApplicationThatBecamePublic is told of, and nothing of it is adopted.
func TestAnApplicationThatBecamePublic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := driftEnv(t, nil)
		env.setForeign(foreignSecret)
		env.auth0.mu.Lock()
		public := *env.auth0.apps[testAppID]
		public.AppType = "spa"
		env.auth0.apps[testAppID] = &public
		env.auth0.mu.Unlock()
		sleep(24 * time.Hour)
		assert.Contains(t, env.read("roles/app")[fieldDriftCheckError], "can no longer be a role: it is public")
		assert.Equal(t, []string{testAppSecret}, env.read("creds/app")[fieldClientSecrets])
	})
}

// TestDriftChecksAreSpread over the period, each application's at its own time.
func TestDriftChecksAreSpread(t *testing.T) {
	now := time.Date(2026, 11, 21, 3, 4, 5, 6, time.UTC)
	perHour := make([]int, 24)
	for i := range 2400 {
		id := "application" + string(rune('a'+i%26)) + time.Duration(i).String()
		slot := driftSlot(id, 24*time.Hour, now)
		require.True(t, slot.After(now) && !slot.After(now.Add(24*time.Hour)))
		require.Equal(t, slot.Add(24*time.Hour), driftSlot(id, 24*time.Hour, slot))
		perHour[slot.Hour()]++
	}
	for hour, n := range perHour {
		assert.InDelta(t, 100, n, 50, "hour %d", hour)
	}
}

func (env *testEnv) eventCount(kind string) int {
	n := 0
	for _, event := range env.events.Events {
		if string(event.Type) == kind {
			n++
		}
	}
	return n
}
