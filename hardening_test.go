package auth0secrets

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// Against those who may write roles or the configuration, an upstream that means no
// good, and defects of the plugin's own.

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
