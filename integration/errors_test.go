//go:build integration

package integration

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestDefiniteErrors shows each error of the contract as a caller of Vault gets
// it: its status and its text.
func TestDefiniteErrors(t *testing.T) {
	t.Parallel()
	needs(t, "read:clients")
	s := newSuite(t, "inmem")
	app := s.addApplication(nil)
	good := s.Config()
	config := func(field string, value any) map[string]any {
		data := s.Config()
		data[field] = value
		return data
	}
	role := func(more map[string]any) map[string]any {
		data := map[string]any{"client_id": app.ClientID}
		for field, value := range more {
			data[field] = value
		}
		return data
	}
	const write, read = logical.Operation(logical.UpdateOperation), logical.Operation(logical.ReadOperation)

	s.refused(400, "this mount is not configured yet", write, "roles/app", role(nil))
	s.refused(400, "without scheme and path", write, "config", config("domain", "https://"+s.Tenant.Domain()+"/"))
	s.refused(400, "Auth0 does not accept these credentials, nothing was stored: token: Auth0 refused (401 access_denied): the client ID is not known, or its secret or key is not accepted",
		write, "config", config("client_secret", "wrong"))
	s.Tenant.SetScopes(s.Engine.ClientID, "read:clients")
	s.refused(400, "lacks the scope update:client_keys", write, "config", good)
	s.Tenant.SetScopes(s.Engine.ClientID, scopes(t)...)
	s.refused(400, "cannot be reached with this configuration, nothing was stored: token: not sent: its certificate is signed by an unknown authority", write, "config", config("ca_cert", otherCA(t)))
	s.refused(400, "holds no PEM certificate", write, "config", config("ca_cert", "nonsense"))
	s.refused(400, `unknown field "doman"`, write, "config", config("doman", "x"))
	s.refused(400, "invalid duration", write, "config", config("propagation_delay", "soon"))
	// the SDK's error would quote it, and Vault's log would have it
	s.refused(400, "client_secret must be a string", write, "config", config("client_secret", []string{s.Engine.ClientSecret}))
	s.write("config", good)

	s.refused(400, "does not exist in the tenant", write, "roles/app", role(map[string]any{"client_id": "unknownunknownunknownunknown0000"}))
	s.refused(400, "is the engine's own", write, "roles/app", role(map[string]any{"client_id": s.Engine.ClientID}))
	for _, c := range []struct {
		change func(*tenant.Application)
		text   string
	}{
		{func(a *tenant.Application) { a.AppType = "spa" }, "it is public (app_type spa)"},
		{func(a *tenant.Application) { a.AppType = "native" }, "it is public (app_type native)"},
		{func(a *tenant.Application) { a.TokenEndpointAuthMethod = "none" }, "it is public (token_endpoint_auth_method none)"},
		{func(a *tenant.Application) { a.Global = true }, "it is the tenant's global client"},
		{func(a *tenant.Application) {
			a.AuthenticationMethods = map[string]any{"private_key_jwt": map[string]any{"credentials": []any{}}}
		}, "it authenticates by private_key_jwt"},
		{func(a *tenant.Application) {
			a.AuthenticationMethods = map[string]any{"tls_client_auth": map[string]any{"credentials": []any{}}}
		}, "it authenticates by a TLS client certificate"},
	} {
		unfit := s.addApplication(c.change)
		s.refused(400, c.text, write, "roles/app", map[string]any{"client_id": unfit.ClientID})
	}
	s.refused(400, `unknown field "clientid"`, write, "roles/app", role(map[string]any{"clientid": "x"}))
	s.refused(400, "is above the longest lease that this mount allows", write, "roles/app", role(map[string]any{"ttl": "9000h"}))
	s.refused(400, "ttl must be at least 10s", write, "roles/app", role(map[string]any{"ttl": "9s"}))
	s.refused(400, "(twice the ttl)", write, "roles/app", role(map[string]any{"ttl": "60s", "rotation_period": "119s"}))
	s.refused(400, "is not the application's present secret", write, "roles/app", role(map[string]any{"client_secret": "wrong"}))
	s.write("roles/app", role(nil))
	s.refused(400, `is under role "app" already`, write, "roles/again", role(nil))
	s.refused(400, "client_id cannot be changed", write, "roles/app", map[string]any{"client_id": "other"})
	s.refused(400, "domain cannot be changed while roles exist", write, "config", config("domain", "other.auth0.com"))
	s.refused(400, "cannot be deleted while roles exist", logical.DeleteOperation, "config", nil)
	s.refused(400, "the engine's own application cannot be a role", write, "config", config("client_id", app.ClientID))

	for _, path := range []string{"creds/missing", "static-creds/missing", "rotate/missing"} {
		s.refused(400, `role "missing" does not exist`, read, path, nil)
	}
	s.refused(400, `role "missing" does not exist`, write, "rotate/missing", nil)
	for _, operation := range []logical.Operation{read, write} { // an empty variable must not rotate everything
		for _, path := range []string{"rotate", "rotate/"} {
			s.refused(400, "say which role: rotate/<name>. To rotate all of them, write to rotate-all", operation, path, nil)
		}
		s.refused(400, "roles are rotated at rotate/<name>", operation, "rotate-role/app", nil)
		s.refused(400, `"my:app" is not a name`, operation, "roles/my:app", nil)
	}
	s.refused(400, `unknown field "forced"`, write, "rotate/app", map[string]any{"forced": true})
	absent, err := s.request(read, "roles/missing", nil)
	require.NoError(t, err)
	assert.Nil(t, absent, "404")
}

// TestMissingScopes at the time of need.
func TestMissingScopes(t *testing.T) {
	t.Parallel()
	s := newSuite(t, "inmem", "update:client_keys")
	answer := s.write("config", s.Config())
	require.Len(t, answer.Warnings, 2)
	app := s.addApplication(nil)
	s.refused(400, "Three ways out", logical.UpdateOperation, "roles/app", map[string]any{"client_id": app.ClientID})
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "client_secret": app.ClientSecret, "ttl": "10s"})

	s.Tenant.SetScopes(s.Engine.ClientID, "read:clients")
	s.Tenant.ExpireTokens()
	s.refused(400, "set secret: Auth0 refused (403 insufficient_scope): the token lacks the scope for this: update:client_keys", logical.UpdateOperation, "rotate/app", map[string]any{"force": true})
	assert.Contains(t, s.read("roles/app")["last_error"], "update:client_keys")
	assert.Equal(t, app.ClientSecret, s.read("creds/app")["client_secret"])
	s.Tenant.SetScopes(s.Engine.ClientID, "update:client_keys")
	s.Tenant.ExpireTokens()
	s.awaitVersion("app", "2")
}

// TestExpiredTokenIsRefreshedOnce: nobody notices.
func TestExpiredTokenIsRefreshed(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", nil)
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID})
	s.Tenant.ExpireTokens()
	s.write("rotate/app", map[string]any{"force": true})
	assert.Equal(t, s.Tenant.Secret(app.ClientID), s.read("creds/app")["client_secret"])
}

// TestProxyIsNotAuth0: a refusal that Auth0 did not write is not one.
func TestProxyIsNotAuth0(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", nil)
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	s.Tenant.Inject(tenant.Fault{Endpoint: tenant.UpdateApplication, Kind: tenant.HTMLFromProxy, Status: 403})
	s.refused(502, "no clear answer from Auth0", logical.UpdateOperation, "rotate/app", map[string]any{"force": true})
	assert.Len(t, s.read("creds/app")["client_secrets"], 2)
	s.Tenant.ClearFaults()
	s.awaitVersion("app", "2")
}

// otherCA is a certificate that has nothing to do with the tenant's.
func otherCA(t *testing.T) string {
	t.Helper()
	other, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(other.Close)
	return other.CACert()
}
