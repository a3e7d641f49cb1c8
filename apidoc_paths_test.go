package auth0secrets

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/rotation"
)

// apiSection documents a path. What the code declares is not repeated here.
type apiSection struct {
	Path     string     // as in the document: roles/:name
	Concrete string     // as in the examples: roles/shop
	Needs    [][]string // one field of each group has to be sent, to create what the path stands for if it stands for something
	Lease    int        // of its answers, in seconds; 0: none
	Extra    []apiSample
	Answer   map[string]any // that of the example which the code declares
	Warnings []string       // of the answers to examples of the code
}

// apiSample is an example request and its answer; Extra ones are not declared by the code.
type apiSample struct {
	Operation logical.Operation // of an Extra one; "": update
	Path      string            // in place of the section's
	Text      string
	Data      map[string]any
	Answer    map[string]any
	Warnings  []string
}

// apiForced is how far a rotation is that was forced.
var apiForced = map[string]any{
	fieldPhase: string(rotation.Propagating), fieldVersion: 2, fieldFallbackUntil: "2026-02-04T08:45:29Z",
	fieldLastVaultRotation: exampleStagedAt, fieldNextVaultRotation: "2026-03-06T08:44:59Z", fieldFailures: 0,
}

// apiKey is credentials of a role of keys.
var apiKey = map[string]any{
	fieldDomain: exampleDomain, fieldClientID: exampleKeyedID, fieldPrivateKey: "...", fieldKID: exampleAssertion[fieldKID],
	fieldSigningAlgorithm: "RS256", fieldRotationPeriod: 0, fieldLastVaultRotation: exampleImportedAt, fieldTTL: 900,
}

const (
	apiEngineSecret = "documented-secret-of-the-engine"
	apiShopSecret   = "documented-secret-of-the-shop"
	apiPublicApp    = "3q0bYHktZ8nD1FxQ5cT9eSlR7gWi2OaM"
	apiFailingApp   = "5s2dAJmvB0pF3HzS7eV1gUnT9iYk4QcO"
)

// apiTenant is an engine that is not configured, and the tenant of the examples.
func apiTenant(t *testing.T) *testEnv {
	t.Helper()
	env := newEnv(t)
	env.auth0.honoursScope = true
	env.auth0.grantScopes(scopeUpdateClientKeys, scopeReadClients, scopeReadClientKeys)
	delete(env.auth0.apps, testAppID)
	delete(env.auth0.apps, testEngineID)
	env.auth0.add(exampleEngineID, apiEngineSecret).AppType = "non_interactive"
	env.auth0.add(exampleAppID, apiShopSecret).Name = "Shop"
	public := env.auth0.add(apiPublicApp, "documented-secret-of-the-browser")
	public.Name, public.AppType = "Browser", "spa"
	for id, name := range map[string]string{apiFailingApp: "Failing"} {
		app := env.auth0.add(id, "documented-secret-of-"+id)
		app.Name, app.AppType = name, "non_interactive"
	}
	env.auth0.addKeyed(exampleKeyedID)
	return env
}

// apiConfigured is an engine that is configured as in the examples.
func apiConfigured(t *testing.T) *testEnv {
	t.Helper()
	env := apiTenant(t)
	env.write("config", apiConfig(nil))
	return env
}

// apiEnv is one with the role of the examples.
func apiEnv(t *testing.T) *testEnv {
	t.Helper()
	env := apiConfigured(t)
	env.write("roles/shop", map[string]any{fieldClientID: exampleAppID})
	return env
}

// apiConfig is the configuration of the examples, changed. Nil leaves a field out.
func apiConfig(change map[string]any) map[string]any {
	config := merged(map[string]any{
		fieldDomain: exampleDomain, fieldClientID: exampleEngineID, fieldClientSecret: apiEngineSecret,
	}, change)
	for field, value := range config {
		if value == nil {
			delete(config, field)
		}
	}
	return config
}

// apiSections are the paths, in the order of the document.
func apiSections() []apiSection {
	return []apiSection{
		{Path: "config", Concrete: "config", Needs: [][]string{{fieldDomain}, {fieldClientID}, {fieldClientSecret, fieldPrivateKey}}},
		{Path: "rotate-root", Concrete: "rotate-root"},
		{Path: "roles/:name", Concrete: "roles/shop", Needs: [][]string{{fieldClientID}}, Extra: []apiSample{{
			Path: "roles/orders", Text: "Keys in place of secrets, for an application that authenticates by private_key_jwt.",
			Data:     map[string]any{fieldClientID: exampleKeyedID, fieldCredentialType: string(credentialKey), fieldExportable: true},
			Warnings: []string{"some of Auth0's servers may refuse the new key for 30s (propagation_delay): let applications read from this role after that"},
		}}},
		{Path: "roles", Concrete: "roles/"},
		{Path: "applications", Concrete: "applications/"},
		{Path: "roles-import", Concrete: "roles-import", Needs: [][]string{{fieldFilterAppType, fieldFilterName, fieldClientIDs}}},
		{Path: "creds/:name", Concrete: "creds/shop", Lease: 900, Extra: []apiSample{{
			Operation: logical.ReadOperation, Path: "creds/orders", Text: "Of an exportable role of keys:", Answer: apiKey,
		}}},
		{Path: "static-creds/:name", Concrete: "static-creds/shop"},
		{Path: "assertions/:name", Concrete: "assertions/orders"},
		{
			Path: "rotate/:name", Concrete: "rotate/shop",
			Extra: []apiSample{{Text: "Rotate without downtime. Nothing is sent.", Answer: exampleTimeline}}, Answer: apiForced,
			Warnings: []string{"the secret is set without waiting for leases: holders of older ones fail until they read again"},
		},
		{
			Path: "rotate-all", Concrete: "rotate-all",
			Warnings: []string{"secrets are set without waiting for leases: holders of older ones fail until they read again"},
		},
		{Path: "status", Concrete: "status"},
		{Path: "metrics", Concrete: "metrics"},
		{Path: "token-roles/:name", Concrete: "token-roles/reader"},
		{Path: "token-roles", Concrete: "token-roles/"},
		{Path: "tokens/:name", Concrete: "tokens/reader", Lease: 86400},
	}
}
