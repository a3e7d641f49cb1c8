package auth0secrets

import (
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
)

const (
	keyedID = "keyedkeyedkeyedkeyedkeyedkeyed00"
)

// keyRole starts an engine with a role "app" of an application that has a key of its
// own.
func keyRole(t *testing.T, settings map[string]any) *testEnv {
	t.Helper()
	env := newEnv(t)
	env.auth0.addKeyed(keyedID, foreignKey)
	env.write("config", map[string]any{
		fieldDomain: testDomain, fieldClientID: testEngineID, fieldClientSecret: testEngineSecret,
	})
	env.write("roles/app", merged(map[string]any{fieldClientID: keyedID, fieldCredentialType: "private_key", fieldTTL: "10m"}, settings))
	return env
}

// ownKeys are the keys that the application uses, without the foreign one.
func (env *testEnv) ownKeys() []string {
	return slices.DeleteFunc(env.auth0.keysAt(keyedID), func(key string) bool { return key == foreignKey })
}

// asserts tells whether Auth0 would accept an assertion that is read now.
func (env *testEnv) asserts() bool {
	env.t.Helper()
	signed := env.read("assertions/app")[fieldClientAssertion].(string)
	env.auth0.mu.Lock()
	defer env.auth0.mu.Unlock()
	return env.auth0.verifies(keyedID, signed)
}

func (env *testEnv) removeForeignKey() {
	_, err := env.auth0.RetireKey(env.t.Context(), keyedID, foreignKey)
	require.NoError(env.t, err)
}

func TestAKeyNeverLeavesVault(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, nil)
		role := env.read("roles/app")
		assert.Equal(t, "private_key", role[fieldCredentialType])
		assert.Equal(t, "RS256", role[fieldSigningAlgorithm])
		assert.Equal(t, 2048, role[fieldKeyBits])
		assert.Equal(t, false, role[fieldExportable])
		assert.Equal(t, "steady", role[fieldPhase])
		assert.Equal(t, 1, role[fieldVersion])
		assert.Len(t, env.ownKeys(), 1)

		answer := env.read("assertions/app")
		assert.Equal(t, assertion.Type, answer[fieldClientAssertionType])
		assert.Equal(t, keyedID, answer[fieldClientID])
		assert.Equal(t, inRFC3339(time.Now().Add(time.Minute)), answer[fieldExpiresAt])
		assert.True(t, env.asserts())
		env.refused(400, "read client assertions at assertions/app", logical.ReadOperation, "creds/app", nil)
		env.refused(400, "read client assertions at assertions/app", logical.ReadOperation, "static-creds/app", nil)
		assert.NotContains(t, env.log.String(), "PRIVATE KEY")
	})
}

func TestTheApplicationsOtherKeyStays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, nil)
		assert.Contains(t, env.auth0.keysAt(keyedID), foreignKey)
		env.refused(400, "no room for another key", logical.UpdateOperation, "rotate/app", nil)
		assert.Contains(t, env.auth0.keysAt(keyedID), foreignKey)
		assert.True(t, env.asserts())
		env.removeForeignKey()
		time.Sleep(time.Minute) // it is tried again by itself
		assert.Len(t, env.ownKeys(), 2)
	})
}

func TestAStagedRotationOfAKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, map[string]any{fieldExportable: true})
		env.removeForeignKey()
		first := env.read("creds/app")
		answer := env.write("rotate/app", nil).Data
		assert.Equal(t, "staged", answer[fieldPhase])
		assert.Equal(t, inRFC3339(time.Now().Add(31*time.Second)), answer[fieldReadyAt])
		assert.Len(t, env.ownKeys(), 2, "Auth0 accepts both")
		assert.Equal(t, first[fieldPrivateKey], env.read("creds/app")[fieldPrivateKey])

		time.Sleep(32 * time.Second)
		assert.Equal(t, "propagating", env.read("rotate/app")[fieldPhase])
		second := env.read("creds/app")
		assert.NotEqual(t, first[fieldPrivateKey], second[fieldPrivateKey])
		assert.Contains(t, env.ownKeys(), first[fieldPrivateKey], "a lease of it may live")

		time.Sleep(10*time.Minute + 2*time.Second)
		assert.Equal(t, "steady", env.read("rotate/app")[fieldPhase])
		assert.Equal(t, []string{second[fieldPrivateKey].(string)}, env.ownKeys())
	})
}

func TestAForcedRotationOfAKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, map[string]any{fieldExportable: true})
		env.removeForeignKey()
		first := env.read("creds/app")[fieldPrivateKey]
		answer := env.write("rotate/app", map[string]any{fieldForce: true}).Data
		assert.Equal(t, "steady", answer[fieldPhase])
		assert.Equal(t, 2, answer[fieldVersion])
		assert.NotContains(t, env.ownKeys(), first)
		assert.Len(t, env.ownKeys(), 1)
	})
}

// TestAForcedRotationWithoutProof: where Auth0 does not tell whether it accepts the key,
// the old one is not removed before the new one has propagated.
func TestAForcedRotationWithoutProof(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, nil)
		env.removeForeignKey()
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "accepts key" {
				return refusal(op, 403, "access_denied", "not for you")
			}
			return nil
		})
		answer := env.write("rotate/app", map[string]any{fieldForce: true}).Data
		assert.Equal(t, "staged", answer[fieldPhase])
		assert.Len(t, env.ownKeys(), 2)
		time.Sleep(29 * time.Second)
		assert.Len(t, env.ownKeys(), 2)
		time.Sleep(5 * time.Second)
		assert.Equal(t, "steady", env.read("rotate/app")[fieldPhase])
		assert.Len(t, env.ownKeys(), 1)

		env.write("rotate/app", map[string]any{fieldForce: true})
		assert.Len(t, env.ownKeys(), 2)
		env.auth0.interfereWith(nil)
		answer = env.write("rotate/app", map[string]any{fieldForce: true}).Data
		assert.Equal(t, "steady", answer[fieldPhase], "by force, Auth0 is asked again")
	})
}

func TestARemovedKeyIsDrift(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, nil)
		key := env.ownKeys()[0]
		_, err := env.auth0.RetireKey(t.Context(), keyedID, key)
		require.NoError(t, err)
		time.Sleep(25 * time.Hour)
		assert.Contains(t, env.read("roles/app"), fieldDriftDetectedAt)
		assert.Contains(t, env.read("status")[fieldDrifted], "app")
		env.write("rotate/app", map[string]any{fieldForce: true})
		assert.NotContains(t, env.read("roles/app"), fieldDriftDetectedAt)
		assert.True(t, env.asserts())
	})
}

func TestDeletingARoleRemovesItsKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := keyRole(t, nil)
		env.must(logical.DeleteOperation, "roles/app", nil)
		assert.Empty(t, env.ownKeys())
		env.write("roles/app", map[string]any{fieldClientID: keyedID, fieldCredentialType: "private_key", fieldExportable: true})
		resp := env.must(logical.DeleteOperation, "roles/app", nil)
		assert.Len(t, env.ownKeys(), 1, "somebody may hold it")
		assert.Contains(t, resp.Warnings[0], "keys that were exportable")
	})
}

func TestSettingsOfKeys(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.addKeyed(keyedID)
	keyed := map[string]any{fieldClientID: keyedID, fieldCredentialType: "private_key"}
	for text, with := range map[string]map[string]any{
		"is not known: it is client_secret or private_key":            {fieldCredentialType: "password"},
		"secret_source is only for roles with credential_type=client": {fieldSecretSource: "vault"},
		"password_policy is only for roles":                           {fieldPasswordPolicy: "p"},
		"skip_import is only for roles":                               {fieldSkipImport: true},
		"client_secret is only for roles":                             {fieldClientSecret: "x"},
		"it is one of RS256, RS384, PS256":                            {fieldSigningAlgorithm: "HS256"},
		"it is one of 2048, 3072, 4096":                               {fieldKeyBits: 1024},
		"its role is one with credential_type=private_key":            {fieldCredentialType: "client_secret"},
		"does not authenticate by private_key_jwt":                    {fieldClientID: testAppID},
	} {
		env.refused(400, text, logical.UpdateOperation, "roles/app", merged(keyed, with))
	}
	env.refused(400, "key_bits is only for roles with credential_type=private_key", logical.UpdateOperation, "roles/app",
		map[string]any{fieldClientID: testAppID, fieldKeyBits: 2048})
	env.write("roles/app", merged(keyed, map[string]any{fieldSigningAlgorithm: "PS256"}))
	env.refused(400, "signing_algorithm cannot be changed", logical.PatchOperation, "roles/app", map[string]any{fieldSigningAlgorithm: "RS256"})
	env.refused(400, "credential_type cannot be changed", logical.PatchOperation, "roles/app", map[string]any{fieldCredentialType: "client_secret"})
	env.must(logical.PatchOperation, "roles/app", map[string]any{fieldKeyBits: 4096})
	assert.Equal(t, 4096, env.read("roles/app")[fieldKeyBits])
}

func TestKeysNeedTheirScopes(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.addKeyed(keyedID)
	env.auth0.grantScopes(scopeUpdateClientKeys, scopeReadClients, scopeReadClientKeys)
	env.refused(400, "lacks read:client_credentials, create:client_credentials", logical.UpdateOperation, "roles/app",
		map[string]any{fieldClientID: keyedID, fieldCredentialType: "private_key"})
	assert.Empty(t, env.auth0.keysAt(keyedID))
}

func TestTokensByAKey(t *testing.T) {
	env := keyRole(t, nil)
	env.write("token-roles/t", map[string]any{fieldRole: "app", fieldAudience: exampleAPI})
	assert.NotEmpty(t, env.read("tokens/t")[fieldAccessToken])
}

// TestARoleWhoseFirstKeyIsRefusedGoes: the application's slot is full.
func TestARoleWhoseFirstKeyIsRefusedGoes(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.addKeyed(keyedID, foreignKey, "another")
	_, err := env.request(logical.UpdateOperation, "roles/app", map[string]any{fieldClientID: keyedID, fieldCredentialType: "private_key"})
	requireCoded(t, err, 400, auth0.ErrNoRoom.Error())
	assert.Empty(t, env.must(logical.ListOperation, "roles/", nil).Data["keys"])
}
