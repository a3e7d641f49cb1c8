package auth0secrets

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/rotation"
)

func TestStatusCountsAndNamesWhatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldRotationPeriod: "5h"})
		for _, id := range []string{"second", "third"} {
			env.auth0.add(id, "secret-of-"+id)
			env.write("roles/"+id, map[string]any{fieldClientID: id, fieldTTL: 60})
		}
		env.write("rotate/second", nil)
		status := env.read("status")
		assert.Equal(t, 3, status[fieldRoles])
		assert.Equal(t, map[string]any{"steady": 2, "staged": 1, "propagating": 0}, status[fieldPhases])
		assert.Equal(t, 0, status[fieldOverdue])
		assert.Empty(t, status[fieldFailing])
		assert.Equal(t, inRFC3339(time.Now()), status[fieldServingSince])
		assert.Equal(t, inRFC3339(time.Now().Add(time.Minute+rotation.HandOutMargin)), status[fieldNextVaultRotation])
		assert.Equal(t, inRFC3339(time.Now().Add(time.Hour)), status[fieldTokenExpires])
		assert.Equal(t, 50, status[fieldRateLimit])

		env.auth0.interfereWith(func(op, _ string, _ func()) error { return noAnswer(op) })
		sleep(2 * time.Minute)
		status = env.read("status")
		assert.Equal(t, 1, status[fieldOverdue])
		failing := status[fieldFailing].(map[string]any)["second"].(map[string]any)
		assert.Contains(t, failing[fieldLastError], "connection lost")
		assert.Positive(t, failing[fieldFailures])
		env.auth0.interfereWith(nil)
		sleep(time.Hour)
		status = env.read("status")
		assert.Equal(t, 0, status[fieldOverdue])
		assert.Empty(t, status[fieldFailing])
	})
}

func TestListShowsWhereEachRoleStands(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, map[string]any{fieldRotationPeriod: "5h"})
		env.auth0.add("other", "other-secret")
		env.write("roles/other", map[string]any{fieldClientID: "other"})
		list := env.must(logical.ListOperation, "roles/", nil).Data
		assert.Equal(t, []string{"app", "other"}, list["keys"])
		assert.Equal(t, map[string]any{
			"app":   map[string]any{fieldClientID: testAppID, fieldCredentialType: "client_secret", fieldPhase: "steady", fieldNextVaultRotation: inRFC3339(time.Now().Add(5 * time.Hour))},
			"other": map[string]any{fieldClientID: "other", fieldCredentialType: "client_secret", fieldPhase: "steady"},
		}, list["key_info"])
	})
}

func TestPatchChangesOnlyWhatExists(t *testing.T) {
	env := newEnv(t)
	env.refused(400, "not configured yet", logical.PatchOperation, "config", map[string]any{fieldRequestTimeout: 7})
	env.write("config", engineConfig(nil))
	env.must(logical.PatchOperation, "config", map[string]any{fieldRequestTimeout: 7})
	config := env.read("config")
	assert.Equal(t, int64(7), config[fieldRequestTimeout])
	assert.Equal(t, testDomain, config[fieldDomain])

	env.refused(400, `role "app" does not exist`, logical.PatchOperation, "roles/app", map[string]any{fieldClientID: testAppID})
	env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldRotationPeriod: "1h"})
	env.must(logical.PatchOperation, "roles/app", map[string]any{fieldTTL: 60})
	role := env.read("roles/app")
	assert.Equal(t, int64(60), role[fieldTTL])
	assert.Equal(t, int64(3600), role[fieldRotationPeriod])
}

func TestPasswordPolicyMakesTheNextSecret(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.system.SetPasswordPolicy("ours", func() (string, error) { return "made-by-our-policy-made-by-our-policy", nil })
		role := map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldPasswordPolicy: "missing"}
		env.refused(400, `: there must be one at sys/policies/password/missing, of at least 32 characters`, logical.UpdateOperation, "roles/app", role)
		env.system.SetPasswordPolicy("short", func() (string, error) { return strings.Repeat("é", 31), nil })
		role[fieldPasswordPolicy] = "short"
		env.refused(400, `password policy "short" makes secrets of 31 characters that could be guessed: it has to make at least 32`,
			logical.UpdateOperation, "roles/app", role)
		role[fieldPasswordPolicy] = "ours"
		env.write("roles/app", role)
		env.refused(400, "password_policy is only for roles with secret_source=vault", logical.UpdateOperation, "roles/app",
			map[string]any{fieldSecretSource: "auth0"})
		env.write("rotate/app", map[string]any{fieldForce: true})
		assert.Equal(t, "made-by-our-policy-made-by-our-policy", env.auth0.secret(testAppID))

		// a policy that is gone later is an error that is shown, and heals
		sleep(time.Hour)
		env.system.DeletePasswordPolicy("ours")
		env.refused(400, `password policy "ours" makes no secret`, logical.UpdateOperation, "rotate/app", nil)
		assert.Contains(t, env.read("roles/app")[fieldLastError], "makes no secret")
		assert.Equal(t, "made-by-our-policy-made-by-our-policy", env.read("creds/app")[fieldClientSecret])
		env.write("roles/app", map[string]any{fieldPasswordPolicy: ""})
		env.write("rotate/app", nil)
		assert.Len(t, env.read("creds/app")[fieldFallbackClientSecret], 64)
	})
}

func TestPasswordPolicyIsEncodedWhereAuth0Decodes(t *testing.T) {
	env := configuredEnv(t)
	yes := true
	env.auth0.apps[testAppID].JWTConfiguration.SecretEncoded = &yes
	env.system.SetPasswordPolicy("ours", func() (string, error) { return "made?by?our?policy?made?by?our?policy", nil })
	env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldPasswordPolicy: "ours"})
	env.write("rotate/app", map[string]any{fieldForce: true})
	assert.Equal(t, base64.StdEncoding.EncodeToString([]byte("made?by?our?policy?made?by?our?policy")), env.auth0.secret(testAppID))
}

// TestEventsTellWhatHappens, without a secret.
func TestEventsTellWhatHappens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		env.write("roles/app", map[string]any{fieldTTL: 30})
		env.write("rotate/app", nil)
		sleep(2 * time.Minute)
		env.auth0.interfereWith(func(op, _ string, _ func()) error { return noAnswer(op) })
		_, err := env.request(logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
		require.Error(t, err)
		env.must(logical.DeleteOperation, "roles/app", nil)
		env.must(logical.DeleteOperation, "config", nil)
		var kinds []string
		for _, sent := range env.events.Events {
			kinds = append(kinds, string(sent.Type))
			text, err := json.Marshal(sent.Event.GetMetadata().AsMap())
			require.NoError(t, err)
			env.noSecretIn("an event", string(text))
		}
		assert.Equal(t, []string{
			eventConfigWrite, eventRoleCreate, eventRoleUpdate, eventRotateStaged, eventRotate, eventCredsChange,
			eventRotateStaged, eventRotateFail, eventRoleDelete, eventConfigDelete,
		}, kinds)
		staged := env.events.Events[3].Event.GetMetadata().AsMap()
		assert.Equal(t, map[string]any{
			"path": "roles/app", "data_path": "creds/app", "modified": "true", "name": "app",
			"client_id": testAppID, "version": "1", "phase": "staged",
		}, staged)
	})
}
