package auth0secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/requirements"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// Against those who may write roles or the configuration, an upstream that means no
// good, and defects of the plugin's own: some were tried in a review, and have to fail.

// tenantEnv is an engine with the real client, configured for a simulated tenant.
func tenantEnv(t *testing.T) (*testEnv, *tenant.Tenant) {
	t.Helper()
	env := newEnv(t)
	env.realAPI = true
	tn := newTenant(t)
	env.use(tn)
	return env, tn
}

func newTenant(t *testing.T) *tenant.Tenant {
	t.Helper()
	tn, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(tn.Close)
	return tn
}

// use configures the engine for a tenant.
func (env *testEnv) use(tn *tenant.Tenant) {
	env.t.Helper()
	engine := tn.AddManagementApplication(scopeUpdateClientKeys, scopeReadClients, scopeReadClientKeys)
	env.auth0.every = append(env.auth0.every, engine.ClientSecret)
	env.write("config", map[string]any{
		fieldDomain: tn.Domain(), fieldClientID: engine.ClientID, fieldClientSecret: engine.ClientSecret, fieldCACert: tn.CACert(),
	})
}

// TestNothingThatUpstreamSaysIsShown: a validation error that quotes what was sent, in
// whatever form. What was sent is staged, so it is served, and may yet be set.
func TestNothingThatUpstreamSaysIsShown(t *testing.T) {
	for _, encoding := range []tenant.Encoding{
		tenant.Plain, tenant.JSONEscaped, tenant.Base64, tenant.Hex, tenant.URLEscaped, tenant.HTMLEntities, tenant.CutOff, tenant.Reversed,
	} {
		t.Run(string(encoding), func(t *testing.T) {
			env, tn := tenantEnv(t)
			env.system.SetPasswordPolicy("strong", func() (string, error) { return `k3"vQ9<rT2&zW8xL5nB7cD1fG4hJ6mP0s`, nil })
			shop := tn.AddApplication(tenant.Application{Shape: tenant.Full})
			env.write("roles/shop", map[string]any{fieldClientID: shop.ClientID, fieldPasswordPolicy: "strong"})
			tn.Inject(tenant.Fault{Endpoint: tenant.UpdateApplication, Kind: tenant.Echo, Encoding: encoding})
			_, err := env.request(logical.UpdateOperation, "rotate/shop", map[string]any{fieldForce: true})
			requireCoded(t, err, 400, "set secret: Auth0 refused (400")
			role := env.read("roles/shop")
			assert.Equal(t, "set secret: Auth0 refused (400 invalid_request)", role[fieldLastError])
			assert.NotContains(t, env.log.String(), "Cannot process")

			tn.Inject(tenant.Fault{Endpoint: tenant.Token, Kind: tenant.Echo, Encoding: encoding})
			_, err = env.request(logical.UpdateOperation, "config", map[string]any{fieldRequestTimeout: 20})
			require.Error(t, err)
			assert.NotContains(t, err.Error(), "Cannot process")
		})
	}
}

// TestForceIsNotHeldUpByOneHeader: Auth0 is well again, though it said that it would not
// be for a day.
func TestForceIsNotHeldUpByOneHeader(t *testing.T) {
	for name, fault := range map[string]tenant.Fault{
		"a day":     {Kind: tenant.RateLimited, RetryAfter: 24 * time.Hour},
		"year 2200": {Kind: tenant.Headers, Status: 429, Headers: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "7258118400"}},
		"overflow":  {Kind: tenant.Headers, Headers: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9223372036854775807"}},
	} {
		t.Run(name, func(t *testing.T) {
			env, tn := tenantEnv(t)
			shop := tn.AddApplication(tenant.Application{Shape: tenant.Full})
			env.write("roles/shop", map[string]any{fieldClientID: shop.ClientID})
			fault.Endpoint, fault.Times = tenant.UpdateApplication, 1
			tn.Inject(fault)
			_, err := env.request(logical.UpdateOperation, "rotate/shop", map[string]any{fieldForce: true})
			if fault.Kind == tenant.RateLimited || fault.Status == 429 {
				requireCoded(t, err, 429, "Auth0 limits the rate")
			}
			env.write("rotate/shop", map[string]any{fieldForce: true})
			assert.NotEqual(t, shop.ClientSecret, tn.Secret(shop.ClientID))
			assert.Equal(t, tn.Secret(shop.ClientID), env.read("creds/shop")[fieldClientSecret])
		})
	}
}

// TestNamesMoveNoCursor: whoever names an application does not write to the terminal of
// who lists it.
func TestNamesMoveNoCursor(t *testing.T) {
	env, tn := tenantEnv(t)
	tn.AddApplication(tenant.Application{Name: "shop\x1b]0;pwned\x07\x1b[2K\r\u202e", Shape: tenant.Full})
	for _, resp := range []*logical.Response{
		env.must(logical.ListOperation, "applications/", nil),
		env.write("roles-import", map[string]any{fieldFilterName: "*", fieldDryRun: true}),
	} {
		shown, err := json.Marshal(resp)
		require.NoError(t, err)
		assert.Contains(t, string(shown), `"shop]0;pwned[2K"`)
	}
}

// TestAnApplicationIsNotLedAway to a tenant of somebody who may write the configuration.
func TestAnApplicationIsNotLedAway(t *testing.T) {
	env, tn := tenantEnv(t)
	shop := tn.AddApplication(tenant.Application{Shape: tenant.Full})
	env.write("roles/shop", map[string]any{fieldClientID: shop.ClientID})
	app := auth0login.New(auth0login.SourceFunc(func(context.Context) (auth0login.Credentials, error) {
		text, err := json.Marshal(env.read("creds/shop"))
		require.NoError(t, err)
		return auth0login.ParseCredentials(text)
	}), auth0login.Domain(tn.Domain()))
	callback := oauth2.Config{RedirectURL: "https://shop.example.com/callback"}
	address, err := app.AuthCodeURL(t.Context(), callback, "state")
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(address, "https://"+tn.Domain()+"/authorize"))

	evil := newTenant(t)
	env.must(logical.DeleteOperation, "roles/shop", nil)
	env.use(evil)
	env.write("roles/shop", map[string]any{fieldClientID: evil.AddApplication(tenant.Application{}).ClientID})
	_, err = app.AuthCodeURL(t.Context(), callback, "state")
	require.ErrorContains(t, err, `"`+tn.Domain()+`" is expected`)
}

// TestAPanicIsAnErrorOfItsRequest, not the end of every mount; and it is logged without
// values.
func TestAPanicIsAnErrorOfItsRequest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldTTL: 60, fieldRotationPeriod: 3600})
		panics := func(string, string, func()) error { panic(errors.New("with " + testAppSecret)) }
		env.auth0.interfereWith(panics)
		env.refused(500, "the plugin met a defect of its own", logical.UpdateOperation, "rotate/app", map[string]any{fieldForce: true})
		sleep(2 * time.Hour) // in the background, too
		assert.Contains(t, env.log.String(), "this is a defect of the plugin")
		assert.Contains(t, env.log.String(), "SetSecret:")
		assert.Contains(t, env.log.String(), `"background work for app"`)
		assert.NotContains(t, env.log.String(), testAppSecret)

		env.auth0.interfereWith(nil)
		env.write("rotate/app", map[string]any{fieldForce: true})
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
	})
}

// TestAPanicInTheBackgroundIsTriedAgainAfterPanicRetry, and not more often: each fills the log with a stack.
func TestAPanicInTheBackgroundIsTriedAgainAfterPanicRetry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		var boom atomic.Bool
		var panics atomic.Int64
		env.system.SetPasswordPolicy("boom", func() (string, error) {
			if boom.Load() {
				panics.Add(1)
				panic("a defect")
			}
			return strings.Repeat("k9", 20), nil
		})
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldPasswordPolicy: "boom", fieldTTL: 60, fieldRotationPeriod: 3600})
		boom.Store(true)
		sleep(time.Hour - time.Minute - 30*time.Second)
		before := panics.Load()
		sleep(10*time.Minute + 30*time.Second)
		assert.LessOrEqual(t, panics.Load()-before, int64(12), "panicRetry is a minute")
	})
}

func TestAttackPanicInABulkRotation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		var boom atomic.Bool
		env.system.SetPasswordPolicy("boom", func() (string, error) {
			if boom.Load() {
				panic("a defect")
			}
			return strings.Repeat("k9", 20), nil
		})
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldPasswordPolicy: "boom"})
		boom.Store(true)
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(time.Minute)
		assert.Contains(t, env.log.String(), "this is a defect of the plugin")
		boom.Store(false)
		sleep(time.Hour)
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID))
		assert.NotNil(t, env.read("rotate-all")[fieldFinishedAt])
	})
}

// A panic between own's lock and its return does not leave the role locked.
func TestAttackPanicInOwnUnlocksTheRole(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.hooks = &hookedStorage{Storage: env.storage}
		env.restart()
		env.write("roles/app", map[string]any{fieldClientID: testAppID})
		env.hooks.get.set(func(key string) error {
			if key == storageRoles+"app" {
				panic("a defect")
			}
			return nil
		})
		env.refused(500, "defect of its own", logical.UpdateOperation, "rotate/app", nil)
		env.hooks.get.unset()
		sleep(2 * time.Hour)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		_, err := env.b.HandleRequest(ctx, &logical.Request{Operation: logical.UpdateOperation, Path: "rotate/app", Storage: env.engineStorage(), Data: map[string]any{"force": true}})
		require.NoError(t, err)
	})
}

// A panic in rotate-root does not drop the engine's own secret from what is due.
func TestAttackPanicInRotateRootIsRetried(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("config", map[string]any{fieldRotationPeriod: 3600})
		sleep(time.Minute)
		env.auth0.interfereWith(func(op, id string, commit func()) error {
			if op == "set" && id == testEngineID {
				commit()
				panic("a defect")
			}
			return nil
		})
		env.refused(500, "defect of its own", logical.UpdateOperation, "rotate-root", nil)
		env.auth0.interfereWith(nil)
		sleep(24 * time.Hour)
		config, err := readConfig(context.Background(), env.storage)
		require.NoError(t, err)
		assert.False(t, config.Rotation.Unsettled(), "a day later the attempt is still not settled (invariant 12)")
		assert.Greater(t, config.Rotation.Version(), 2, "nor has the hourly schedule done anything")
	})
}

// A panic in a rotation does not leave the attempt unsettled.
func TestAttackPanicInForcedRotationIsSettled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.write("config", map[string]any{fieldDriftCheckPeriod: 0})
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldSecretSource: "auth0"})
		sleep(time.Minute)
		env.auth0.interfereWith(func(op, _ string, commit func()) error {
			if op == "rotate" {
				commit()
				panic("a defect")
			}
			return nil
		})
		env.refused(500, "defect of its own", logical.UpdateOperation, "rotate/app", nil)
		env.auth0.interfereWith(nil)
		sleep(24 * time.Hour)
		assert.Equal(t, env.auth0.secret(testAppID), env.read("creds/app")[fieldClientSecret], "a day later what is served is still dead")
	})
}

// Who may name an application does not get round a list of client IDs.
func TestAttackAnApplicationNamedLikeAnAllowedClientID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		const other = "forbiddenforbiddenforbidden00000"
		env.auth0.add(other, "secret-of-the-forbidden-application").Name = testAppID
		env.write("config", map[string]any{fieldAllowedApplications: []string{testAppID}})
		_, err := env.request(logical.UpdateOperation, "roles/x", map[string]any{fieldClientID: other})
		require.Error(t, err, "only client ID %s is allowed", testAppID)
	})
}

// A role that is being made while the list is restricted is not stored.
func TestAttackRestrictionWhileARoleIsMade(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.auth0.interfereWith(func(op, id string, _ func()) error {
			if op == "get" && id == testAppID {
				env.auth0.interfereWith(nil)
				env.write("config", map[string]any{fieldAllowedApplications: []string{"nothing"}})
			}
			return nil
		})
		_, err := env.request(logical.UpdateOperation, "roles/app", map[string]any{fieldClientID: testAppID})
		require.Error(t, err, "config says that it may not become a role, and said so before the role was stored")
	})
}

func scopedEnv(t *testing.T, scopes ...string) (*testEnv, *tenant.Tenant) {
	t.Helper()
	env, tn := tenantEnv(t)
	engine := tn.AddManagementApplication(scopes...)
	env.write("config", map[string]any{fieldClientID: engine.ClientID, fieldClientSecret: engine.ClientSecret})
	return env, tn
}

// Whoever can bring the token endpoint to say 429 or 5xx cannot plant a secret.
func TestAttackPlantingWhileLoginsAreLimited(t *testing.T) {
	for _, kind := range []tenant.FaultKind{tenant.RateLimited, tenant.ServerError, tenant.HTMLFromProxy} {
		t.Run(string(kind), func(t *testing.T) {
			env, tn := scopedEnv(t, scopeUpdateClientKeys, scopeReadClients)
			shop := tn.AddApplication(tenant.Application{Shape: tenant.Full})
			tn.Inject(tenant.Fault{Endpoint: tenant.Token, ClientID: shop.ClientID, Kind: kind})
			_, err := env.request(logical.UpdateOperation, "roles/shop", map[string]any{fieldClientID: shop.ClientID, fieldClientSecret: "a-secret-that-I-know-and-sign-ID-tokens-with"})
			if err == nil {
				t.Errorf("planted; creds/shop says %v first", env.read("creds/shop")[fieldClientSecret])
			}
		})
	}
}

// With is_first_party hidden, roles-import does not take in somebody else's application.
func TestAttackThirdPartyIsHidden(t *testing.T) {
	env, tn := scopedEnv(t, scopeUpdateClientKeys, "read:client_credentials")
	tn.AddApplication(tenant.Application{Shape: tenant.Full, ThirdParty: true, Name: "somebody else's", Alg: "HS256"})
	resp := env.write("roles-import", map[string]any{fieldFilterName: "somebody*"})
	for name, about := range resp.Data[fieldImported].(map[string]any) {
		text := fmt.Sprint(about)
		assert.True(t, strings.Contains(text, "is_first_party") || strings.Contains(text, "third-party"), "%s was taken in, and nothing says that it may be somebody else's", name)
		assert.True(t, strings.Contains(text, "jwt_configuration") || strings.Contains(text, "ID tokens"), "nor that its secret may sign ID tokens")
	}
}

// With read:clients alone the methods of authentication are hidden, which is said.
func TestAttackKeyedApplicationIsSaid(t *testing.T) {
	env, tn := scopedEnv(t, scopeUpdateClientKeys, scopeReadClients)
	shop := tn.AddApplication(tenant.Application{Shape: tenant.Full, AuthenticationMethods: map[string]any{"private_key_jwt": map[string]any{"credentials": []any{}}}})
	conn, err := env.b.connect(t.Context(), env.storage)
	require.NoError(t, err)
	app, err := conn.api.Application(t.Context(), shop.ClientID)
	require.NoError(t, err)
	require.True(t, app.Hides("client_authentication_methods"))
	assert.Contains(t, strings.Join(requirements.Unchecked(app), " "), "client_authentication_methods", "a check that could not be made is a warning that says so (DESIGN 7)")
	_, err = env.request(logical.UpdateOperation, "roles/shop", map[string]any{fieldClientID: shop.ClientID, fieldClientSecret: shop.ClientSecret})
	requireCoded(t, err, 400, "or the application does not log in by a secret")
}

// Who forces several roles at once is told at once which have to wait.
func TestAttackSeveralForced(t *testing.T) {
	env, tn := tenantEnv(t)
	for _, name := range []string{"a", "b", "c"} {
		env.write("roles/"+name, map[string]any{fieldClientID: tn.AddApplication(tenant.Application{Shape: tenant.Full}).ClientID})
	}
	tn.Inject(tenant.Fault{Endpoint: tenant.UpdateApplication, Kind: tenant.RateLimited, RetryAfter: time.Hour, Times: 2})
	for _, name := range []string{"a", "b"} {
		_, err := env.request(logical.UpdateOperation, "rotate/"+name, map[string]any{fieldForce: true})
		requireCoded(t, err, 429, "limits the rate")
	}
	start := time.Now()
	_, _ = env.request(logical.UpdateOperation, "rotate/c", map[string]any{fieldForce: true})
	assert.Less(t, time.Since(start), 10*time.Minute, "far less than the hour that Auth0 asks for")
}

// A role with a policy that has become too short can be rotated and changed.
func TestAttackStoredShortPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		env.system.SetPasswordPolicy("short", func() (string, error) { return "Ab3-Ab3-Ab3-Ab3-Ab3-", nil })
		env.write("roles/app", map[string]any{fieldClientID: testAppID})
		role, err := readRole(context.Background(), env.storage, "app")
		require.NoError(t, err)
		role.PasswordPolicy = "short" // as version ab40330 has stored it
		require.NoError(t, writeRole(context.Background(), env.storage, "app", role))
		env.restart()
		_, err = env.request(logical.UpdateOperation, "roles/app", map[string]any{fieldDisableRotation: true})
		assert.NoError(t, err, "a setting that has nothing to do with the policy")
		env.write("rotate-all", map[string]any{fieldForce: true})
		sleep(24 * time.Hour)
		assert.NotEqual(t, testAppSecret, env.auth0.secret(testAppID), "a leaked secret is never replaced")
	})
}

// An answer that quotes the request puts no secret into the errors of auth0login.
func TestAttackErrorsOfAuth0loginQuoteNothing(t *testing.T) {
	const secret = "a-client-secret-that-nobody-sees"
	for _, status := range []int{500, 400, 401, 307} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				w.WriteHeader(status)
				_, _ = w.Write(append([]byte("cannot process "), body...))
			}))
			defer server.Close()
			domain := strings.TrimPrefix(server.URL, "https://")
			app := auth0login.New(auth0login.SourceFunc(func(context.Context) (auth0login.Credentials, error) {
				return auth0login.Credentials{Domain: domain, ClientID: "shop", ClientSecrets: []string{secret}}, nil
			}), auth0login.Domain(domain))
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, server.Client())
			_, err := app.ClientCredentials(ctx, clientcredentials.Config{}).Token()
			require.Error(t, err)
			assert.NotContains(t, err.Error(), secret)
		})
	}
}

// A long wait is tried again each minute, by the role that met the header, too.
func TestAttackOneHeaderStopsNoRole(t *testing.T) {
	for _, endpoint := range []tenant.Endpoint{tenant.RotateSecret, tenant.Token} {
		t.Run(string(endpoint), func(t *testing.T) {
			env, tn := tenantEnv(t)
			shop := tn.AddApplication(tenant.Application{Shape: tenant.Full})
			env.write("roles/shop", map[string]any{fieldClientID: shop.ClientID, fieldSecretSource: "auth0"})
			env.restart() // no token at hand
			tn.Inject(tenant.Fault{Endpoint: endpoint, Kind: tenant.RateLimited, RetryAfter: time.Hour, Times: 1})
			_, err := env.request(logical.UpdateOperation, "rotate/shop", nil)
			requireCoded(t, err, 429, "limits the rate")
			at, err := time.Parse(time.RFC3339, env.read("roles/shop")[fieldRetryAt].(string))
			require.NoError(t, err)
			assert.Less(t, time.Until(at), 3*time.Minute, "SECURITY.md and docs/auth0.md: a long wait is tried again each minute")
		})
	}
}

// After a breach: the same for rotate-all force=true, which is the emergency.
func TestAttackOneHeaderStopsNoBulkForce(t *testing.T) {
	env, tn := tenantEnv(t)
	shop := tn.AddApplication(tenant.Application{Shape: tenant.Full})
	env.write("roles/shop", map[string]any{fieldClientID: shop.ClientID})
	tn.Inject(tenant.Fault{Endpoint: tenant.UpdateApplication, Kind: tenant.RateLimited, RetryAfter: time.Hour, Times: 1})
	env.write("rotate-all", map[string]any{fieldForce: true})
	var left time.Duration
	require.Eventually(t, func() bool {
		at, ok := env.read("roles/shop")[fieldRetryAt].(string)
		if !ok {
			return false
		}
		parsed, _ := time.Parse(time.RFC3339, at)
		left = time.Until(parsed)
		return true
	}, stormPatience, 10*time.Millisecond)
	assert.Less(t, left, 3*time.Minute)
}

// A name that could not be read: 'does not name it' is not known.
func TestAttackANameThatCannotBeReadIsSaid(t *testing.T) {
	env, tn := scopedEnv(t, scopeUpdateClientKeys)
	shop := tn.AddApplication(tenant.Application{Shape: tenant.Full, Name: "shop-1"})
	env.write("config", map[string]any{fieldAllowedApplications: "shop-*"})
	_, err := env.request(logical.UpdateOperation, "roles/shop", map[string]any{fieldClientID: shop.ClientID, fieldSkipImport: true})
	require.Error(t, err)
	assert.Contains(t, err.Error(), "read:clients", "the reason is that the name cannot be read, and which scope would mend it")
}
