package auth0secrets

import (
	"fmt"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// manyApplications is a configured engine in a tenant with these applications,
// by client ID: their names.
func manyApplications(t *testing.T, names map[string]string) *testEnv {
	t.Helper()
	env := configuredEnv(t)
	for id, name := range names {
		env.auth0.add(id, "secret-of-"+id).Name = name
	}
	return env
}

func TestApplicationsThatCouldBeRoles(t *testing.T) {
	env := manyApplications(t, map[string]string{"web": "Shop", "spa": "Browser", "jwt": "Keys"})
	env.auth0.apps["spa"].AppType = "spa"
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	resp := env.must(logical.ListOperation, "applications/", nil)
	assert.Equal(t, []string{testAppID, "jwt", "web"}, resp.Data["keys"])
	assert.Equal(t, 5, resp.Data[fieldTotal])
	info := resp.Data["key_info"].(map[string]any)
	assert.Equal(t, map[string]any{"name": "Shop", "app_type": "regular_web"}, info["web"])
	assert.Equal(t, "app", info[testAppID].(map[string]any)["role"])

	page := env.must(logical.ListOperation, "applications/", map[string]any{fieldPage: 1, fieldPerPage: 3})
	assert.Equal(t, []string{"web"}, page.Data["keys"], "of the last two one cannot be a role")
	env.refused(400, "per_page must be between 1 and 100", logical.ListOperation, "applications/", map[string]any{fieldPage: 0, fieldPerPage: 101})
	env.refused(400, "only for use with page", logical.ListOperation, "applications/", map[string]any{fieldPerPage: 10})
	env.refused(400, "must not be negative", logical.ListOperation, "applications/", map[string]any{fieldPage: -1})
	env.auth0.grantScopes(scopeUpdateClientKeys)
	env.refused(400, "none of the scopes that let it list applications", logical.ListOperation, "applications/", nil)
}

// TestAllPagesAreListed, as far as Auth0 lets anybody page.
func TestAllPagesAreListed(t *testing.T) {
	names := map[string]string{}
	for i := range 248 {
		names[fmt.Sprintf("many%03d", i)] = "x"
	}
	env := manyApplications(t, names)
	before := env.auth0.count("list")
	assert.Len(t, env.must(logical.ListOperation, "applications/", nil).Data["keys"], 249)
	assert.Equal(t, 3, env.auth0.count("list")-before)
	for i := range 900 {
		env.auth0.add(fmt.Sprintf("more%03d", i), "x-secret")
	}
	resp := env.must(logical.ListOperation, "applications/", nil)
	require.Len(t, resp.Warnings, 1)
	assert.Contains(t, resp.Warnings[0], "more than the 1000")
}

func TestImportOfManyRoles(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := manyApplications(t, map[string]string{"eu1": "Shop (EU)", "eu2": "shop eu", "us": "Shop US", "spa": "Shop Browser", "other": "Other", "odd": "***"})
		env.auth0.apps["spa"].AppType = "spa"
		env.auth0.apps["us"].JWTConfiguration.Alg = "HS256"
		env.write("roles/shop-us", map[string]any{fieldClientID: testAppID})
		order := map[string]any{fieldFilterName: "shop*", fieldTTL: "1m", fieldRotationSchedule: "0 3 * * *", fieldDryRun: true}
		dry := env.write("roles-import", order)
		assert.Equal(t, []string{"shop-us"}, env.must(logical.ListOperation, "roles/", nil).Data["keys"])

		reads := env.auth0.count("get")
		order[fieldDryRun] = false
		resp := env.write("roles-import", order)
		assert.Equal(t, dry.Data[fieldImported], resp.Data[fieldImported])
		assert.Equal(t, dry.Data[fieldSkipped], resp.Data[fieldSkipped])
		imported := resp.Data[fieldImported].(map[string]any)
		require.Len(t, imported, 3)
		assert.Equal(t, map[string]any{fieldClientID: "eu1", "name": "Shop (EU)"}, imported["shop-eu"])
		assert.Equal(t, "eu2", imported["shop-eu-eu2"].(map[string]any)[fieldClientID])
		assert.NotEmpty(t, imported["shop-us-us"].(map[string]any)["warnings"], "ID tokens are signed with the secret")
		skipped := resp.Data[fieldSkipped].(map[string]any)
		require.Len(t, skipped, 1)
		assert.Contains(t, skipped["spa"].(map[string]any)["reason"], "it is public")
		assert.Equal(t, reads, env.auth0.count("get"), "the list has all that is needed")
		assert.Equal(t, "secret-of-eu1", env.read("creds/shop-eu")[fieldClientSecret])
		role := env.read("roles/shop-us-us")
		assert.Equal(t, int64(60), role[fieldTTL])
		assert.Equal(t, "0 3 * * *", role[fieldRotationSchedule])
		assert.Zero(t, env.auth0.count("set"))

		again := env.write("roles-import", order)
		assert.Empty(t, again.Data[fieldImported])
		assert.Contains(t, again.Data[fieldSkipped].(map[string]any)["eu1"].(map[string]any)["reason"], "is under role")

		env.write("roles-import", map[string]any{fieldClientIDs: "odd," + testEngineID, fieldRolePrefix: "auth0-"})
		assert.Equal(t, "odd", env.read("roles/auth0-odd")[fieldClientID])
	})
}

func TestImportRefusals(t *testing.T) {
	env := manyApplications(t, map[string]string{"web": "Shop"})
	for text, sent := range map[string]map[string]any{
		"say which applications":         {fieldTTL: "1m"},
		"ttl must be at least":           {fieldFilterName: "*", fieldTTL: "1s"},
		"exclude each other":             {fieldFilterName: "*", fieldRotationPeriod: "1h", fieldRotationSchedule: "0 3 * * *"},
		"cannot begin a role's name":     {fieldFilterName: "*", fieldRolePrefix: "a/b"},
		`password policy "x" makes no s`: {fieldFilterName: "*", fieldPasswordPolicy: "x"},
	} {
		env.refused(400, text, logical.UpdateOperation, "roles-import", sent)
	}
	resp := env.write("roles-import", map[string]any{fieldClientIDs: "missing"})
	assert.Contains(t, resp.Warnings[0], "none of the tenant's applications (3) matches")
	assert.Contains(t, resp.Warnings[1], `application "missing" was not found`)
	env.auth0.grantScopes(scopeUpdateClientKeys, scopeReadClients)
	resp = env.write("roles-import", map[string]any{fieldFilterName: "shop"})
	assert.Contains(t, resp.Data[fieldSkipped].(map[string]any)["web"].(map[string]any)["reason"], "cannot be read from Auth0")
}
