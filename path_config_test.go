package auth0secrets

import (
	"encoding/pem"
	"net/http/httptest"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
)

func engineConfig(changes map[string]any) map[string]any {
	data := map[string]any{fieldDomain: testDomain, fieldClientID: testEngineID, fieldClientSecret: testEngineSecret}
	for field, value := range changes {
		data[field] = value
	}
	return data
}

func TestConfigShowsEverythingButTheSecret(t *testing.T) {
	env := newEnv(t)
	assert.Nil(t, env.must(logical.ReadOperation, "config", nil))
	assert.Nil(t, env.write("config", engineConfig(nil)))
	config := env.read("config")
	assert.NotEmpty(t, config[fieldLastVaultRotation])
	delete(config, fieldLastVaultRotation)
	assert.Equal(t, map[string]any{
		fieldRotationPeriod: int64(0), fieldRotationSchedule: "", fieldRotationWindow: int64(0), fieldFailures: 0,
		fieldDomain: testDomain, fieldClientID: testEngineID, fieldAudience: "https://" + testDomain + "/api/v2/",
		fieldAuthMethod: "client_secret_post", fieldDriftCheckPeriod: int64(86400), fieldCACert: "", fieldAllowedApplications: []string{"*"}, fieldRequestTimeout: int64(30), fieldPropagationDelay: int64(30), fieldVerifyConnection: true,
		fieldDisableRotation: false, fieldScopes: []string{scopeUpdateClientKeys, scopeReadClients, scopeReadClientKeys},
	}, config)
}

func TestConfigUpdateChangesOnlyWhatWasSent(t *testing.T) {
	env := newEnv(t)
	env.write("config", engineConfig(map[string]any{fieldPropagationDelay: "0s", fieldAudience: "https://own/api/v2/", fieldRequestTimeout: 5}))
	env.write("config", map[string]any{fieldVerifyConnection: false})
	before := env.read("config")
	assert.Equal(t, int64(0), before[fieldPropagationDelay])
	assert.Equal(t, int64(5), before[fieldRequestTimeout])
	assert.Equal(t, "https://own/api/v2/", before[fieldAudience])
	stored, err := readConfig(t.Context(), env.storage)
	require.NoError(t, err)
	assert.Equal(t, testEngineSecret, string(stored.Rotation.Current()))
}

func TestConfigRefusesWhatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		data map[string]any
		text string
	}{
		"no domain":        {map[string]any{fieldClientID: "x", fieldClientSecret: "y"}, "domain is missing"},
		"no client id":     {map[string]any{fieldDomain: testDomain, fieldClientSecret: "y"}, "client_id is missing"},
		"no secret":        {map[string]any{fieldDomain: testDomain, fieldClientID: "x"}, "client_secret or private_key is missing"},
		"scheme":           {engineConfig(map[string]any{fieldDomain: "https://" + testDomain}), "without scheme and path"},
		"path":             {engineConfig(map[string]any{fieldDomain: testDomain + "/api"}), "without scheme and path"},
		"query":            {engineConfig(map[string]any{fieldDomain: testDomain + "?x"}), "without scheme and path"},
		"user":             {engineConfig(map[string]any{fieldDomain: "me@" + testDomain}), "without scheme and path"},
		"empty port":       {engineConfig(map[string]any{fieldDomain: testDomain + ":"}), "without scheme and path"},
		"blank":            {engineConfig(map[string]any{fieldDomain: "exa mple"}), "without scheme and path"},
		"client id":        {engineConfig(map[string]any{fieldClientID: "a/b"}), "is not a client ID"},
		"no certificate":   {engineConfig(map[string]any{fieldCACert: "hello"}), "holds no PEM certificate"},
		"short time-out":   {engineConfig(map[string]any{fieldRequestTimeout: 0}), "request_timeout must be between"},
		"long propagation": {engineConfig(map[string]any{fieldPropagationDelay: "2h"}), "propagation_delay must be at most"},
		"negative":         {engineConfig(map[string]any{fieldPropagationDelay: -1}), "negative"},
		"unknown field":    {engineConfig(map[string]any{"domian": "x"}), `unknown field "domian"`},
		"null":             {engineConfig(map[string]any{fieldAudience: nil}), `field "audience" is null`},
		"not a bool":       {engineConfig(map[string]any{fieldVerifyConnection: "maybe"}), "verify_connection"},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			env.refused(400, c.text, logical.UpdateOperation, "config", c.data)
			assert.Nil(t, env.must(logical.ReadOperation, "config", nil), "nothing may be stored")
			assert.Zero(t, env.auth0.count("grant"), "Auth0 must not be asked")
		})
	}
}

func TestConfigRefusesCredentialsThatDoNotWorkAndKeepsTheOldOnes(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.grant = refusal("token", 401, "access_denied", "Unauthorized")
	env.refused(400, "Auth0 does not accept these credentials, nothing was stored: token: Auth0 refused (401 access_denied): Unauthorized",
		logical.UpdateOperation, "config", map[string]any{fieldClientID: "other"})
	env.auth0.grant = &auth0.Error{Class: auth0.Refused, Op: "token", Message: "no such host"}
	env.refused(400, "the tenant cannot be reached with this configuration, nothing was stored: token: not sent: no such host",
		logical.UpdateOperation, "config", map[string]any{fieldClientID: "other"})
	env.auth0.grant = noAnswer("token")
	env.refused(502, "verify_connection=false stores it without a check", logical.UpdateOperation, "config", map[string]any{fieldClientID: "other"})
	assert.Equal(t, testEngineID, env.read("config")[fieldClientID])

	env.write("config", map[string]any{fieldClientID: "other", fieldVerifyConnection: false})
	assert.Equal(t, "other", env.read("config")[fieldClientID])
	assert.Empty(t, env.read("config")[fieldScopes], "scopes of other credentials say nothing about these")
}

func TestConfigChecksScopes(t *testing.T) {
	env := newEnv(t)
	env.auth0.grantScopes(scopeReadClients)
	env.refused(400, "lacks the scope update:client_keys", logical.UpdateOperation, "config", engineConfig(nil))

	env.auth0.grantScopes(scopeUpdateClientKeys)
	resp := env.write("config", engineConfig(nil))
	require.Len(t, resp.Warnings, 2)
	assert.Contains(t, resp.Warnings[0], "scope read:clients was not granted")
	assert.Contains(t, resp.Warnings[1], "scope read:client_keys was not granted")

	env.auth0.grantScopes() // not said
	resp = env.write("config", engineConfig(nil))
	require.Len(t, resp.Warnings, 1)
	assert.Contains(t, resp.Warnings[0], "did not say which scopes")
}

// someCA is a certificate in PEM.
func someCA(t *testing.T) string {
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

func TestConfigStaysWithItsRoles(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	asked := env.auth0.count("grant")
	env.refused(400, "domain cannot be changed while roles exist", logical.UpdateOperation, "config", map[string]any{fieldDomain: "other.auth0.com"})
	assert.Equal(t, asked, env.auth0.count("grant"), "credentials must not go to a domain that is refused")
	env.refused(400, `is role "app": the engine's own application cannot be a role`, logical.UpdateOperation, "config", map[string]any{fieldClientID: testAppID})
	env.refused(400, "cannot be deleted while roles exist", logical.DeleteOperation, "config", nil)
	env.write("config", map[string]any{fieldDomain: testDomain, fieldRequestTimeout: 10})

	env.must(logical.DeleteOperation, "roles/app", nil)
	asked = env.auth0.count("grant")
	env.refused(400, "domain cannot be changed without the credential", logical.UpdateOperation, "config", map[string]any{fieldDomain: "other.auth0.com"})
	env.refused(400, "domain cannot be changed without the credential", logical.PatchOperation, "config", map[string]any{fieldDomain: "other.auth0.com", fieldVerifyConnection: false})
	env.refused(400, "ca_cert cannot be changed without the credential", logical.PatchOperation, "config", map[string]any{fieldCACert: someCA(t)})
	env.refused(400, "audience cannot be changed without the credential", logical.UpdateOperation, "config", map[string]any{fieldAudience: "https://other/"})
	assert.Equal(t, asked, env.auth0.count("grant"), "stored credentials must go nowhere new")
	env.write("config", map[string]any{fieldAudience: "https://" + testDomain + "/api/v2/", fieldCACert: ""}) // no change
	env.write("config", map[string]any{fieldDomain: "Other.auth0.com", fieldClientSecret: testEngineSecret})
	assert.Equal(t, "other.auth0.com", env.read("config")[fieldDomain])
	assert.Nil(t, env.must(logical.DeleteOperation, "config", nil))
	assert.Nil(t, env.must(logical.ReadOperation, "config", nil))
}

func TestDeletingWhatOnlyVaultKnowsIsWarnedOf(t *testing.T) {
	env := configuredEnv(t)
	env.refused(400, "rotation_period 10s is too short: it must be 0, or at least 20s", logical.UpdateOperation, "config", map[string]any{fieldRotationPeriod: "10s"})
	env.write("rotate-root", nil)
	resp := env.must(logical.DeleteOperation, "config", nil)
	require.Len(t, resp.Warnings, 1)
	assert.Contains(t, resp.Warnings[0], "only Vault knew the credential")
}

func TestConfigStorageFailureKeepsTheOldConfiguration(t *testing.T) {
	env := configuredEnv(t)
	env.storage.FailPut(true)
	_, err := env.request(logical.UpdateOperation, "config", map[string]any{fieldRequestTimeout: 7})
	require.Error(t, err)
	env.storage.FailPut(false)
	assert.Equal(t, int64(30), env.read("config")[fieldRequestTimeout])
}

// TestAConfigurationThatAnotherNodeHasWrittenIsReadAnew.
func TestAConfigurationThatAnotherNodeHasWrittenIsReadAnew(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	require.Equal(t, false, env.read("status")[fieldDisableRotation])
	config, err := readConfig(t.Context(), env.storage)
	require.NoError(t, err)
	config.Disabled = true
	require.NoError(t, writeConfig(t.Context(), env.storage, config))
	require.Equal(t, false, env.read("status")[fieldDisableRotation])
	env.b.InvalidateKey(t.Context(), storageConfig)
	assert.Equal(t, true, env.read("status")[fieldDisableRotation])
}

// TestSecretsAreSealWrapped: a prefix is one only if it ends in a slash.
func TestSecretsAreSealWrapped(t *testing.T) {
	assert.ElementsMatch(t, []string{"config", "role/"}, newEnv(t).b.PathsSpecial.SealWrapStorage)
	assert.Equal(t, "config", storageConfig)
	assert.Equal(t, "role/", storageRoles)
}
