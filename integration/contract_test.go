//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestPrivateKey: the engine authenticates with a key, and replaces it, also
// when answers get lost on the way and Vault is restarted.
func TestPrivateKey(t *testing.T) {
	t.Parallel()
	s := newSuite(t, "raft")
	key, err := assertion.NewPrivateKey(assertion.MinKeyBits)
	require.NoError(t, err)
	scopes := append(append([]string{}, devstack.AllScopes...), auth0.KeyScopes...)
	engine := s.Tenant.AddKeyApplication(publicPEM(t, key), "PS256", scopes...)
	config := s.Config()
	delete(config, "client_secret")
	config["client_id"], config["private_key"], config["signing_algorithm"] = engine.ClientID, key, "PS256"
	s.write("config", config)
	s.seen[key] = true // and so must not be in a log
	assert.Equal(t, "private_key_jwt", s.read("config")["token_endpoint_auth_method"])
	first, _ := s.Tenant.Keys(engine.ClientID)

	s.write("rotate-root", nil)
	second, enabled := s.Tenant.Keys(engine.ClientID)
	require.Len(t, second, 1)
	assert.Equal(t, second, enabled)
	assert.NotEqual(t, first, second)

	s.Tenant.Inject(tenant.Fault{Endpoint: tenant.CreateCredential, Kind: tenant.ResetAfterCommit, Times: 1})
	s.refused(502, "enable key: no clear answer from Auth0", logical.UpdateOperation, "rotate-root", nil)
	require.NoError(t, s.Vault.Restart(t.Context()))
	s.eventually("the key is replaced all the same", func() bool {
		registered, _ := s.Tenant.Keys(engine.ClientID)
		return len(registered) == 1 && registered[0] != second[0]
	})
	s.Tenant.ExpireTokens()
	app := s.addApplication(nil)
	s.eventually("the engine logs in", func() bool {
		_, err := s.request(logical.UpdateOperation, "roles/app", map[string]any{"client_id": app.ClientID})
		return err == nil
	})
	s.Tenant.SetScopes(engine.ClientID, devstack.AllScopes...)
	s.refused(400, "lacks read:client_credentials, create:client_credentials", logical.UpdateOperation, "rotate-root", nil)
}

// TestForeignKeysStay: rotating the engine's key touches no credential but its own
// two, and says whose keys leave it no room before it registers anything.
func TestForeignKeysStay(t *testing.T) {
	t.Parallel()
	s := newSuite(t, "inmem")
	key, err := assertion.NewPrivateKey(assertion.MinKeyBits)
	require.NoError(t, err)
	engine := s.Tenant.AddKeyApplication(publicPEM(t, key), "RS256", append(slices.Clone(scopes(t)), auth0.KeyScopes...)...)
	config := s.Config()
	delete(config, "client_secret")
	config["client_id"], config["private_key"] = engine.ClientID, key
	s.write("config", config)
	s.remember(key)
	own := s.Tenant.Credentials(engine.ClientID)
	foreign := []tenant.Credential{
		s.Tenant.AddCredential(engine.ClientID), s.Tenant.AddCredential(engine.ClientID, tenant.SignedRequestObject),
	}
	stay := func(all ...tenant.Credential) (others []tenant.Credential) {
		t.Helper()
		registered := s.Tenant.Credentials(engine.ClientID)
		for _, credential := range all {
			require.Contains(t, registered, credential)
		}
		return slices.DeleteFunc(registered, func(c tenant.Credential) bool {
			return slices.ContainsFunc(all, func(known tenant.Credential) bool { return known.ID == c.ID })
		})
	}

	s.write("rotate-root", nil) // the pool has room for just one more
	mine := stay(foreign...)
	require.Len(t, mine, 1)
	assert.NotEqual(t, own[0].KID, mine[0].KID)

	fourth := s.Tenant.AddCredential(engine.ClientID)
	all := slices.Concat(foreign, []tenant.Credential{fourth, mine[0]})
	s.refused(400, "are registered, and there is room for no more", logical.UpdateOperation, "rotate-root", nil)
	s.refused(400, fourth.ID+" (kid "+fourth.KID+")", logical.UpdateOperation, "rotate-root", nil)
	s.refused(400, mine[0].ID+" (kid "+mine[0].KID+"), the engine's own", logical.UpdateOperation, "rotate-root", nil)
	assert.Empty(t, stay(all...))

	s.Tenant.RemoveCredential(engine.ClientID, fourth.ID)
	s.Tenant.RemoveCredential(engine.ClientID, foreign[0].ID)
	used := s.Tenant.AddCredential(engine.ClientID, tenant.PrivateKeyJWT)
	s.refused(400, "are in use for private_key_jwt, which has room for no more", logical.UpdateOperation, "rotate-root", nil)
	assert.Empty(t, stay(foreign[1], used, mine[0]))
	s.Tenant.ExpireTokens()
	s.write("config", map[string]any{"request_timeout": "20s"}) // the present key still works
}

// publicPEM is the public half of a private key, by a tool of its own.
func publicPEM(t *testing.T, key string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "openssl", "pkey", "-pubout")
	command.Stdin = strings.NewReader(key)
	public, err := command.Output()
	require.NoError(t, err)
	return string(public)
}

// TestDrift: a secret is changed in the dashboard while an application logs in.
func TestDrift(t *testing.T) {
	t.Parallel()
	needs(t, "read:client_keys")
	s := configured(t, "inmem", map[string]any{"propagation_delay": "1h", "drift_check_period": "10s"})
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	s.Tenant.SetSecretInDashboard(app.ClientID, "a-secret-that-was-set-in-the-dashboard")
	s.eventually("it is adopted", func() bool {
		return s.read("creds/app")["client_secret"] == "a-secret-that-was-set-in-the-dashboard"
	})
	creds := s.read("creds/app")
	assert.Equal(t, app.ClientSecret, creds["fallback_client_secret"])
	role := s.must(logical.ReadOperation, "roles/app", nil)
	assert.NotEmpty(t, role.Data["drift_detected_at"])
	assert.Contains(t, strings.Join(role.Warnings, "\n"), "changed outside Vault")
	assert.Contains(t, s.read("status")["drifted"], "app")
	s.write("rotate/app", map[string]any{"force": true})
	assert.Nil(t, s.read("roles/app")["drift_detected_at"])
	assert.Equal(t, s.Tenant.Secret(app.ClientID), s.read("creds/app")["client_secret"])
}

// TestDiscovery: what the tenant has, and roles of all that fit.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	needs(t, "read:client_keys")
	s := configured(t, "inmem", nil)
	for i := range 130 {
		s.addApplication(func(a *tenant.Application) { a.Name = fmt.Sprintf("Service %03d", i) })
	}
	s.addApplication(func(a *tenant.Application) { a.Name, a.AppType = "Service Browser", "spa" })
	listed := s.must(logical.ListOperation, "applications/", nil)
	assert.Len(t, listed.Data["keys"], 130)
	assert.Equal(t, "132", fmt.Sprint(listed.Data["total"]))

	page, err := s.Vault.Client().Logical().ReadWithDataWithContext(t.Context(), devstack.Mount+"/applications",
		map[string][]string{"list": {"true"}, "page": {"1"}, "per_page": {"100"}})
	require.NoError(t, err)
	assert.Len(t, page.Data["keys"], 31)

	order := map[string]any{"filter_name": "service *", "ttl": "15m", "rotation_period": "720h"}
	report := s.write("roles-import", order)
	assert.Len(t, report.Data["imported"], 130)
	assert.Len(t, report.Data["skipped"], 1)
	assert.Equal(t, "2592000", fmt.Sprint(s.read("roles/service-007")["rotation_period"]))
	report = s.write("roles-import", order)
	assert.Empty(t, report.Data["imported"])
	assert.Len(t, report.Data["skipped"], 131)
	assert.Zero(t, s.Tenant.Stats().Requests["PATCH /api/v2/clients/{id} 200"])
}

// TestManagementTokens: leased, with the scopes of their role and no others.
func TestManagementTokens(t *testing.T) {
	t.Parallel()
	needs(t, "read:client_keys")
	s := configured(t, "inmem", nil)
	reader := s.addApplication(nil)
	s.Tenant.SetScopes(reader.ClientID, "read:users")
	s.write("roles/user-reader", map[string]any{"client_id": reader.ClientID})
	require.NotEmpty(t, s.write("token-roles/all", map[string]any{"scopes": "read:clients"}).Warnings)
	s.refused(400, "Auth0 granted more than the token role's scopes", logical.ReadOperation, "tokens/all", nil)
	s.refused(400, "lacks delete:users", logical.UpdateOperation, "token-roles/users", map[string]any{"scopes": "read:users,delete:users", "role": "user-reader"})
	s.write("token-roles/users", map[string]any{"scopes": "read:users", "role": "user-reader"})
	token := s.must(logical.ReadOperation, "tokens/users", nil)
	assert.Equal(t, []any{"read:users"}, token.Data["scopes"])
	assert.False(t, token.Renewable)
	assert.InDelta(t, 24*3600, token.LeaseDuration, 600)
	assert.Empty(t, token.Warnings)
	require.NoError(t, s.Vault.Client().Sys().RevokePrefixWithContext(t.Context(), devstack.Mount+"/tokens"))

	s.Tenant.HonourScope(true)                                           // a tenant with an Action that narrows tokens
	s.write("token-roles/all", map[string]any{"scopes": "read:clients"}) // which forgets that there was none
	assert.Equal(t, []any{"read:clients"}, s.read("tokens/all")["scopes"])
	assert.Empty(t, s.errorsInLog())
}

// TestEventsAreTaken by a real Vault: one that it refuses is in the plugin's log.
func TestEventsAreTaken(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", map[string]any{"propagation_delay": "0s"})
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	s.write("rotate/app", map[string]any{"force": true})
	s.write("rotate-root", nil)
	s.must(logical.DeleteOperation, "roles/app", nil)
	s.must(logical.DeleteOperation, "config", nil)
	log := s.log()
	assert.Contains(t, log, "the engine's own secret is a new one")
	assert.NotContains(t, log, "event not sent")
}

// TestOpenAPI: what a real Vault says of the mount is a valid document, and
// path-help answers for every path.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := newSuite(t, "inmem")
	client := s.Vault.Client()
	raw, err := client.Logical().ReadRawWithContext(t.Context(), "sys/internal/specs/openapi")
	require.NoError(t, err)
	defer raw.Body.Close()
	body, err := io.ReadAll(raw.Body)
	require.NoError(t, err)
	var whole map[string]any
	require.NoError(t, json.Unmarshal(body, &whole))
	ours := map[string]any{}
	for path, item := range whole["paths"].(map[string]any) {
		if strings.HasPrefix(path, "/"+devstack.Mount+"/") {
			ours[path] = item
		}
	}
	require.Len(t, ours, 16, "of %v", slices.Collect(maps.Keys(ours)))
	whole["paths"] = ours // the rest is not ours to answer for
	schemas := whole["components"].(map[string]any)["schemas"].(map[string]any)
	maps.DeleteFunc(schemas, func(name string, _ any) bool { return !strings.HasPrefix(name, "Auth0") })
	require.Greater(t, len(schemas), 15)
	body, err = json.Marshal(whole)
	require.NoError(t, err)
	document, err := openapi3.NewLoader().LoadFromData(body)
	require.NoError(t, err)
	require.NoError(t, document.Validate(t.Context()))

	for path := range ours {
		help, err := client.Help(strings.NewReplacer("{name}", "x").Replace(strings.TrimPrefix(path, "/")))
		require.NoError(t, err, path)
		assert.NotEmpty(t, help.Help, path)
	}
	help, err := client.Help(devstack.Mount)
	require.NoError(t, err)
	assert.Contains(t, help.Help, "rotates the client secrets of Auth0 applications")
}
