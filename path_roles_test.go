package auth0secrets

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
)

func TestRoleImportsThePresentSecretWithoutRotation(t *testing.T) {
	for name, data := range map[string]map[string]any{
		"by reading": {fieldClientID: testAppID},
		"by value":   {fieldClientID: testAppID, fieldClientSecret: testAppSecret},
	} {
		t.Run(name, func(t *testing.T) {
			env := configuredEnv(t)
			assert.Nil(t, env.write("roles/app", data))
			assert.Equal(t, testAppSecret, env.read("creds/app")[fieldClientSecret])
			assert.Zero(t, env.auth0.count("set")+env.auth0.count("rotate"))
			role := env.read("roles/app")
			assert.Equal(t, "steady", role[fieldPhase])
			assert.Equal(t, 1, role[fieldVersion])
			assert.Equal(t, int64(900), role[fieldTTL])
			assert.Equal(t, "vault", role[fieldSecretSource])
			assert.NotContains(t, role, fieldNextVaultRotation, "without a schedule no rotation is planned")
		})
	}
}

func TestRoleWithoutReadScopesIsImportedByValueWithAWarning(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.grantScopes(scopeUpdateClientKeys)
	env.refused(400, "is not the application's present secret, or the application does not log in by a secret: Auth0 refuses a login with it",
		logical.UpdateOperation, "roles/app", map[string]any{fieldClientID: testAppID, fieldClientSecret: "planted-by-somebody"})
	env.refused(400, "Three ways out: send it as client_secret; grant the engine's application the scope read:client_keys; or replace it at once with skip_import=true",
		logical.UpdateOperation, "roles/app", map[string]any{fieldClientID: testAppID})
	resp := env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldClientSecret: testAppSecret})
	require.Len(t, resp.Warnings, 1, "a login proves the secret")
	assert.Contains(t, resp.Warnings[0], "the application could not be checked")
	assert.Equal(t, testAppSecret, env.read("creds/app")[fieldClientSecret])
}

// TestASecretThatCannotBeProvenIsTakenWithAWarning only where Auth0 has definitely said
// neither yes nor no: else whoever makes it limit logins could plant one.
func TestASecretThatCannotBeProvenIsTakenWithAWarning(t *testing.T) {
	for status, failure := range map[int]error{
		200: refusal("token", 403, "access_denied", auth0.ReasonNotAuthorized),
		429: &auth0.Error{Class: auth0.Limited, Op: "token"}, 502: noAnswer("token"),
	} {
		env := configuredEnv(t)
		env.auth0.grantScopes(scopeUpdateClientKeys, scopeReadClients)
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "accepts" {
				return failure
			}
			return nil
		})
		sent := map[string]any{fieldClientID: testAppID, fieldClientSecret: testAppSecret}
		if status != 200 {
			env.refused(status, "client_secret could not be proven by a login", logical.UpdateOperation, "roles/app", sent)
			continue
		}
		resp := env.write("roles/app", sent)
		require.Len(t, resp.Warnings, 1)
		assert.Contains(t, resp.Warnings[0], "client_secret could not be proven")
	}
}

func TestAllowedApplications(t *testing.T) {
	for _, c := range []struct {
		allowed any
		fits    bool
	}{
		{"*", true}, {[]string{"*"}, true}, {testAppID, true}, {"shop-*", true}, {"SHOP-*", true}, {"pay-*,*-eu", true},
		{"", false}, {[]string{}, false}, {"pay-*", false}, {testAppID[:10] + "*", false}, {"shop", false}, {"Shop-EU", false},
	} {
		env := configuredEnv(t)
		env.auth0.apps[testAppID].Name = "Shop-EU"
		env.write("config", map[string]any{fieldAllowedApplications: c.allowed})
		if c.fits {
			env.write("roles/app", map[string]any{fieldClientID: testAppID})
			env.write("config", map[string]any{fieldAllowedApplications: ""})
			env.restart()
			assert.Equal(t, []string{}, env.read("config")[fieldAllowedApplications])
			assert.Equal(t, testAppSecret, env.read("creds/app")[fieldClientSecret], "a role that exists stays")
			continue
		}
		env.refused(400, "may not become a role of this mount: allowed_applications in config does not name it",
			logical.UpdateOperation, "roles/app", map[string]any{fieldClientID: testAppID})
		imported := env.write("roles-import", map[string]any{fieldFilterName: "*"}).Data
		assert.NotContains(t, imported[fieldImported], "shop-eu")
		assert.Contains(t, imported[fieldSkipped].(map[string]any)[testAppID].(map[string]any)["reason"], "may not become a role")
	}
}

// TestANameThatCannotBeReadMatchesNoPattern but *.
func TestANameThatCannotBeReadMatchesNoPattern(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.grantScopes(scopeUpdateClientKeys)
	sent := map[string]any{fieldClientID: testAppID, fieldClientSecret: testAppSecret}
	env.write("config", map[string]any{fieldAllowedApplications: "?*,**"})
	env.refused(400, "may not become a role", logical.UpdateOperation, "roles/app", sent)
	env.write("config", map[string]any{fieldAllowedApplications: "shop," + testAppID})
	env.write("roles/app", sent)
}

func TestThirdPartyApplicationsAreSaidToBeThat(t *testing.T) {
	env := configuredEnv(t)
	no := false
	env.auth0.apps[testAppID].IsFirstParty, env.auth0.apps[testAppID].Name = &no, "Payroll"
	about := env.must(logical.ListOperation, "applications/", nil).Data["key_info"].(map[string]any)[testAppID].(map[string]any)
	assert.Equal(t, true, about["third_party"])
	order := map[string]any{fieldFilterName: "*"}
	report := env.write("roles-import", order).Data
	assert.Empty(t, report[fieldImported])
	assert.Contains(t, report[fieldSkipped].(map[string]any)[testAppID].(map[string]any)["reason"], "third-party")
	order[fieldThirdParty] = true
	taken := env.write("roles-import", order).Data[fieldImported].(map[string]any)["payroll"].(map[string]any)
	assert.Contains(t, taken["warnings"].([]string)[0], "is_first_party false")
}

// TestAbsentIsNotHidden: most applications that were made by API have none of these
// fields, whatever the scopes are.
func TestAbsentIsNotHidden(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.apps[testAppID] = &auth0.Application{ClientID: testAppID, Name: "bare", ClientSecret: env.auth0.apps[testAppID].ClientSecret}
	about := env.must(logical.ListOperation, "applications/", nil).Data["key_info"].(map[string]any)[testAppID].(map[string]any)
	assert.Equal(t, "not_set", about["app_type"])
	assert.Empty(t, env.write("roles-import", map[string]any{fieldFilterAppType: "regular_web", fieldDryRun: true}).Data[fieldImported])
	resp := env.write("roles-import", map[string]any{fieldFilterAppType: "not_set", fieldDryRun: true})
	assert.Contains(t, resp.Data[fieldImported], "bare")
	resp = env.write("roles/app", map[string]any{fieldClientID: testAppID})
	require.Len(t, resp.Warnings, 1)
	assert.Contains(t, resp.Warnings[0], "jwt_configuration.alg is not set, which means HS256")
}

func TestRoleSkipImportRotatesAtOnce(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldSkipImport: true})
	creds := env.read("creds/app")
	assert.Equal(t, env.auth0.secret(testAppID), creds[fieldClientSecret])
	assert.NotEqual(t, testAppSecret, creds[fieldClientSecret])
	assert.Len(t, creds[fieldClientSecret], 64)
	assert.Empty(t, creds[fieldFallbackClientSecret], "what was there before is unknown to the engine")
	assert.Equal(t, 1, env.read("roles/app")[fieldVersion])
}

func TestRoleSkipImportRefusedLeavesNoRole(t *testing.T) {
	env := configuredEnv(t)
	env.auth0.interfereWith(func(op, _ string, _ func()) error {
		if op == "set" {
			return refusal("set secret", 403, auth0.CodeInsufficientScope, "Insufficient scope, expected any of: update:client_keys")
		}
		return nil
	})
	env.refused(400, "set secret: Auth0 refused (403 insufficient_scope): Insufficient scope, expected any of: update:client_keys",
		logical.UpdateOperation, "roles/app", map[string]any{fieldClientID: testAppID, fieldSkipImport: true})
	assert.Nil(t, env.must(logical.ReadOperation, "roles/app", nil))
	env.auth0.interfereWith(nil)
	env.write("roles/other", map[string]any{fieldClientID: testAppID}) // the application is free
}

func TestRoleSkipImportWithoutAClearAnswerKeepsTheSecret(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.losesAnswers("set", always)
		resp := env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldSkipImport: true})
		require.Len(t, resp.Warnings, 2)
		assert.Contains(t, resp.Warnings[0], "replaced at once")
		assert.Contains(t, resp.Warnings[1], "not confirmed yet")
		env.refused(503, "has no credentials yet", logical.ReadOperation, "creds/app", nil)
		live := env.auth0.secret(testAppID)
		env.auth0.interfereWith(nil)
		sleep(backoffMin)
		assert.Equal(t, live, env.read("creds/app")[fieldClientSecret], "the same secret is confirmed")
	})
}

func TestRoleRefusesApplicationsThatCannotBeOne(t *testing.T) {
	yes, none := true, "none"
	for name, c := range map[string]struct {
		change func(*auth0.Application)
		text   string
	}{
		"spa":             {func(a *auth0.Application) { a.AppType = "spa" }, "it is public (app_type spa)"},
		"native":          {func(a *auth0.Application) { a.AppType = "native" }, "it is public (app_type native)"},
		"none":            {func(a *auth0.Application) { a.TokenEndpointAuthMethod = &none }, "it is public (token_endpoint_auth_method none)"},
		"keys only":       {func(a *auth0.Application) { a.AppType = "express_configuration" }, "it has no client secret to rotate"},
		"global":          {func(a *auth0.Application) { a.Global = &yes }, "it is the tenant's global client"},
		"private_key_jwt": {authenticatesBy("private_key_jwt"), "it authenticates by private_key_jwt"},
		"tls":             {authenticatesBy("tls_client_auth"), "it authenticates by a TLS client certificate"},
		"no secret":       {func(a *auth0.Application) { a.ClientSecret = nil }, "Auth0 shows no client secret of the application, though the engine may read it"},
		"own tls":         {authenticatesBy("self_signed_tls_client_auth"), "it authenticates by a TLS client certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			env := configuredEnv(t)
			c.change(env.auth0.apps[testAppID])
			env.refused(400, c.text, logical.UpdateOperation, "roles/app", map[string]any{fieldClientID: testAppID})
			assert.Nil(t, env.must(logical.ReadOperation, "roles/app", nil))
		})
	}
}

func authenticatesBy(method string) func(*auth0.Application) {
	return func(a *auth0.Application) {
		a.TokenEndpointAuthMethod = nil
		a.ClientAuthenticationMethods = map[string]json.RawMessage{method: json.RawMessage(`{}`)}
	}
}

func TestRoleWarnsOfSideEffectsAndOfWhatItCouldNotSee(t *testing.T) {
	env := configuredEnv(t)
	yes := true
	app := env.auth0.apps[testAppID]
	app.JWTConfiguration = &auth0.JWTConfiguration{Alg: "HS256", SecretEncoded: &yes}
	app.AppType, app.Global, app.Hidden = "", nil, []string{"app_type", "global"}
	resp := env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldSecretSource: "auth0"})
	require.Len(t, resp.Warnings, 3)
	assert.Contains(t, resp.Warnings[0], "did not show app_type, global")
	assert.Contains(t, resp.Warnings[1], "HS256")
	assert.Contains(t, resp.Warnings[2], "secret_encoded")
}

func TestRoleRefusesWrongInput(t *testing.T) {
	for name, c := range map[string]struct {
		data map[string]any
		text string
	}{
		"no application":         {map[string]any{}, "client_id is missing"},
		"unknown application":    {map[string]any{fieldClientID: "unknown"}, `application "unknown" does not exist in the tenant`},
		"not a client id":        {map[string]any{fieldClientID: "../config"}, "is not a client ID"},
		"the engine's own":       {map[string]any{fieldClientID: testEngineID}, "is the engine's own"},
		"unknown field":          {map[string]any{fieldClientID: testAppID, "period": 5}, `unknown field "period"`},
		"other name":             {map[string]any{fieldClientID: testAppID, fieldName: "other"}, "differs from the one in the path"},
		"short ttl":              {map[string]any{fieldClientID: testAppID, fieldTTL: 9}, "ttl must be at least 10s"},
		"zero ttl":               {map[string]any{fieldClientID: testAppID, fieldTTL: 0}, "ttl must be at least 10s"},
		"ttl above the mount":    {map[string]any{fieldClientID: testAppID, fieldTTL: "25h"}, "is above the longest lease that this mount allows, 24h0m0s"},
		"short period":           {map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldRotationPeriod: 119}, "(twice the ttl)"},
		"period beyond reason":   {map[string]any{fieldClientID: testAppID, fieldRotationPeriod: "90000h"}, "must be at most 87600h"},
		"secret of another type": {map[string]any{fieldClientID: testAppID, fieldClientSecret: []any{testEngineSecret}}, "client_secret must be a string"},
		"secret of a file":       {map[string]any{fieldClientID: testAppID, fieldClientSecret: testAppSecret + "\n"}, "a line break around it"},
		"unknown source":         {map[string]any{fieldClientID: testAppID, fieldSecretSource: "okta"}, `secret_source "okta" is not known`},
		"empty secret":           {map[string]any{fieldClientID: testAppID, fieldClientSecret: ""}, "client_secret is empty"},
		"contradiction":          {map[string]any{fieldClientID: testAppID, fieldClientSecret: "x", fieldSkipImport: true}, "contradict each other"},
		"not the present one":    {map[string]any{fieldClientID: testAppID, fieldClientSecret: "wrong"}, "is not the application's present secret"},
		"null":                   {map[string]any{fieldClientID: testAppID, fieldTTL: nil}, `field "ttl" is null`},
	} {
		t.Run(name, func(t *testing.T) {
			env := configuredEnv(t)
			env.refused(400, c.text, logical.UpdateOperation, "roles/app", c.data)
			assert.Nil(t, env.must(logical.ReadOperation, "roles/app", nil))
			assert.Zero(t, env.auth0.count("set")+env.auth0.count("rotate"))
		})
	}
}

func TestRoleNeedsAConfiguration(t *testing.T) {
	env := newEnv(t)
	env.refused(400, `this mount is not configured yet: write domain, client_id and client_secret to its path "config" first`,
		logical.UpdateOperation, "roles/app", map[string]any{fieldClientID: testAppID})
}

func TestRoleIsTheOnlyOneOfItsApplication(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	env.refused(400, `is under role "app" already`, logical.UpdateOperation, "roles/App", map[string]any{fieldClientID: testAppID})
	env.restart()
	env.refused(400, `is under role "app" already`, logical.UpdateOperation, "roles/App", map[string]any{fieldClientID: testAppID})
	env.must(logical.DeleteOperation, "roles/app", nil)
	env.write("roles/App", map[string]any{fieldClientID: testAppID})
	assert.Equal(t, []string{"App"}, env.must(logical.ListOperation, "roles/", nil).Data["keys"])
}

// TestReservationWithoutItsRoleIsVoid: a crash between the two writes of a
// create leaves the application free.
func TestReservationWithoutItsRoleIsVoid(t *testing.T) {
	env := configuredEnv(t)
	require.NoError(t, writeApplication(t.Context(), env.storage, testAppID, &applicationEntry{Role: "lost"}))
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	env.refused(400, `is under role "app" already`, logical.UpdateOperation, "roles/lost", map[string]any{fieldClientID: testAppID})
}

func TestRoleUpdateChangesOnlyWhatWasSent(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldRotationPeriod: "1h", fieldSecretSource: "auth0"})
	env.write("roles/app", map[string]any{fieldTTL: 30})
	role := env.read("roles/app")
	assert.Equal(t, int64(30), role[fieldTTL])
	assert.Equal(t, int64(3600), role[fieldRotationPeriod])
	assert.Equal(t, "auth0", role[fieldSecretSource])

	env.refused(400, "client_id cannot be changed", logical.UpdateOperation, "roles/app", map[string]any{fieldClientID: "other"})
	env.refused(400, "(twice the ttl)", logical.UpdateOperation, "roles/app", map[string]any{fieldTTL: "45m"})
	env.refused(400, "client_secret is taken only when a role is created", logical.UpdateOperation, "roles/app", map[string]any{fieldClientSecret: "x"})
	env.refused(400, "client_secret is taken only when a role is created", logical.UpdateOperation, "roles/app",
		map[string]any{fieldClientSecret: testAppSecret}) // or an update would tell whether a guess is right
	resp := env.write("roles/app", map[string]any{fieldSkipImport: true})
	assert.Contains(t, resp.Warnings[0], "nothing was rotated")
	assert.Equal(t, testAppSecret, env.auth0.secret(testAppID))

	env.write("roles/app", map[string]any{fieldRotationPeriod: 0})
	assert.NotContains(t, env.read("roles/app"), fieldNextVaultRotation)
}

func TestRoleSaysThatTheMountCapsItsLeases(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "2h"})
	env.system.MaxLeaseTTLVal = time.Hour
	resp := env.must(logical.ReadOperation, "roles/app", nil)
	require.Len(t, resp.Warnings, 1)
	assert.Contains(t, resp.Warnings[0], "leases last 1h0m0s")
	assert.Equal(t, time.Hour, env.must(logical.ReadOperation, "creds/app", nil).Secret.TTL)
	assert.Equal(t, int64(3600), env.read("creds/app")[fieldTTL])
}

func TestRoleDeleteLeavesTheApplicationAsItIs(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	env.write("rotate/app", nil)
	env.must(logical.DeleteOperation, "roles/app", nil)
	assert.Equal(t, testAppSecret, env.auth0.secret(testAppID))
	assert.Zero(t, env.auth0.count("set"))
	env.refused(400, `role "app" does not exist`, logical.ReadOperation, "creds/app", nil)
	env.refused(400, `role "app" does not exist`, logical.ReadOperation, "static-creds/app", nil)
	env.refused(400, `role "app" does not exist`, logical.UpdateOperation, "rotate/app", nil)
	env.refused(400, `role "app" does not exist`, logical.ReadOperation, "rotate/app", nil)
	assert.Nil(t, env.must(logical.ReadOperation, "roles/app", nil))
	env.must(logical.DeleteOperation, "roles/app", nil) // again: no error
}

// TestRoleMadeAnewWaitsForLeasesOfTheDeletedOne: they hold the same secret.
func TestRoleMadeAnewWaitsForLeasesOfTheDeletedOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: "1h"})
		old := env.newHolder("app")
		env.must(logical.DeleteOperation, "roles/app", nil)
		env.write("roles/again", map[string]any{fieldClientID: testAppID, fieldTTL: "10s"})
		env.write("rotate/again", nil)
		for time.Now().Before(old.expires) {
			require.True(t, old.holds(env.auth0.secret(testAppID)))
			sleep(time.Minute)
		}
		sleep(time.Minute)
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
	})
}

func TestLoweringTheTTLSaysThatTheNextRotationStillWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		assert.Nil(t, env.write("roles/app", map[string]any{fieldTTL: 3600}))
		assert.Contains(t, env.write("roles/app", map[string]any{fieldTTL: 60}).Warnings, "the next staged rotation still waits for readers "+
			"that go by the earlier ttl (1h0m0s); those after it do not")
		sleep(24 * time.Hour)
		assert.Equal(t, inRFC3339(time.Now().Add(time.Hour+rotation.HandOutMargin)), env.write("rotate/app", nil).Data[fieldReadyAt])
	})
}

// TestAnApplicationGetsOneRoleThoughTwoAreMadeAtOnce: that it is free is looked at
// again when the role is stored.
func TestAnApplicationGetsOneRoleThoughTwoAreMadeAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		inTheWay := true
		env.auth0.interfereWith(func(op, _ string, _ func()) error {
			if op == "get" && inTheWay {
				inTheWay = false
				env.write("roles/other", map[string]any{fieldClientID: testAppID})
			}
			return nil
		})
		env.refused(400, `is under role "other" already`, logical.UpdateOperation, "roles/app", map[string]any{fieldClientID: testAppID})
		assert.Nil(t, env.must(logical.ReadOperation, "roles/app", nil))
	})
}

// TestAnApplicationIsReservedBeforeItsRoleIsStored: a crash in between leaves a
// reservation, which is void, and never a role without one.
func TestAnApplicationIsReservedBeforeItsRoleIsStored(t *testing.T) {
	env := newEnv(t)
	env.stop()
	env.hooks = &hookedStorage{Storage: env.storage}
	env.start()
	env.write("config", engineConfig(nil))
	env.hooks.put.set(func(key string) error {
		if key != storageRoles+"app" {
			return nil
		}
		reserved, err := readEntry[applicationEntry](t.Context(), env.storage, storageApplication+testAppID)
		require.NoError(t, err)
		require.NotNil(t, reserved)
		return errors.New("storage fails")
	})
	_, err := env.request(logical.UpdateOperation, "roles/app", map[string]any{fieldClientID: testAppID})
	require.Error(t, err)
	env.hooks.put.unset()
	env.write("roles/other", map[string]any{fieldClientID: testAppID})
}
