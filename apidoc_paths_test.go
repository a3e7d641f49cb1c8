package auth0secrets

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
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
	Refusals []apiRefusal
}

// apiSample is an example request and its answer; Extra ones are not declared by the code.
type apiSample struct {
	Text     string
	Data     map[string]any
	Answer   map[string]any
	Warnings []string
}

// apiForced is how far a rotation is that was forced.
var apiForced = map[string]any{
	fieldPhase: string(rotation.Propagating), fieldVersion: 2, fieldFallbackUntil: "2026-02-04T08:45:29Z",
	fieldLastVaultRotation: exampleStagedAt, fieldNextVaultRotation: "2026-03-06T08:44:59Z", fieldFailures: 0,
}

// apiRefusal is a request that is refused with a 400.
type apiRefusal struct {
	Operation logical.Operation // "": update
	Sent      map[string]any
	When      string // what is special about the request, or was the case before
	Given     func(t *testing.T, env *testEnv)
}

const (
	apiEngineSecret = "documented-secret-of-the-engine"
	apiShopSecret   = "documented-secret-of-the-shop"
	apiPublicApp    = "3q0bYHktZ8nD1FxQ5cT9eSlR7gWi2OaM"
	apiReaderApp    = "4r1cZIluA9oE2GyR6dU0fTmS8hXj3PbN"
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
	for id, name := range map[string]string{apiReaderApp: "User reader", apiFailingApp: "Failing"} {
		app := env.auth0.add(id, "documented-secret-of-"+id)
		app.Name, app.AppType = name, "non_interactive"
	}
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

func unconfigured(t *testing.T, env *testEnv) {
	withoutRole(t, env)
	env.must(logical.DeleteOperation, "config", nil)
}

func withoutRole(_ *testing.T, env *testEnv) { env.must(logical.DeleteOperation, "roles/shop", nil) }

func granted(scopes ...string) func(*testing.T, *testEnv) {
	return func(_ *testing.T, env *testEnv) { env.auth0.grantScopes(scopes...) }
}

// apiCommon are refusals of every path.
var apiCommon = []struct {
	path string
	apiRefusal
}{
	{"status", apiRefusal{Operation: logical.ReadOperation, When: "a field that the path does not have", Sent: map[string]any{"colour": "red"}}},
	{"roles/shop", apiRefusal{When: "a field that is null", Sent: map[string]any{fieldTTL: nil}}},
	{"roles/shop", apiRefusal{When: "a name that is not that of the path", Sent: map[string]any{fieldName: "other"}}},
	{"roles/my shop", apiRefusal{When: "a name with other characters"}},
	{"rotate", apiRefusal{When: "no name: an empty variable rotates nothing"}},
	{"rotate-role/shop", apiRefusal{}},
	{"config", apiRefusal{When: "a secret that is no string", Sent: map[string]any{fieldClientSecret: 1}}},
	{"config", apiRefusal{When: "a secret as it comes from a file or from echo", Sent: map[string]any{fieldClientSecret: "...\n"}}},
	{"roles/shop", apiRefusal{When: "no configuration yet", Sent: map[string]any{fieldClientID: exampleAppID}, Given: unconfigured}},
}

// planRefusals are refusals of the fields that say when something rotates.
func planRefusals() []apiRefusal {
	return []apiRefusal{
		{Sent: map[string]any{fieldRotationPeriod: "5s"}},
		{Sent: map[string]any{fieldRotationPeriod: "876000h"}},
		{Sent: map[string]any{fieldRotationSchedule: "daily"}},
		{Sent: map[string]any{fieldRotationSchedule: "0 3 * * *", fieldRotationPeriod: "720h"}},
		{Sent: map[string]any{fieldRotationWindow: "2h"}},
		{Sent: map[string]any{fieldRotationSchedule: "0 3 * * *", fieldRotationWindow: "1m"}},
		{Sent: map[string]any{fieldRotationSchedule: "0 3 30 2 *"}},
	}
}

// apiSections are the paths, in the order of the document.
func apiSections() []apiSection {
	return []apiSection{
		{
			Path: "config", Concrete: "config",
			Needs:    [][]string{{fieldDomain}, {fieldClientID}, {fieldClientSecret, fieldPrivateKey}},
			Refusals: append(configRefusals(), planRefusals()...),
		},
		{Path: "rotate-root", Concrete: "rotate-root", Refusals: []apiRefusal{{
			When: "configured with private_key, and without the scopes to replace it", Given: func(_ *testing.T, env *testEnv) {
				env.auth0.keys, env.auth0.every = testKeys()[:1], append(env.auth0.every, testKeys()[0])
				env.write("config", map[string]any{fieldPrivateKey: testKeys()[0]})
			},
		}}},
		{
			Path: "roles/:name", Concrete: "roles/shop", Needs: [][]string{{fieldClientID}},
			Refusals: append(roleRefusals(), planRefusals()...),
		},
		{Path: "roles", Concrete: "roles/"},
		{Path: "applications", Concrete: "applications/", Refusals: []apiRefusal{
			{Operation: logical.ListOperation, Sent: map[string]any{fieldPage: -1}},
			{Operation: logical.ListOperation, Sent: map[string]any{fieldPage: 0, fieldPerPage: 101}},
			{Operation: logical.ListOperation, Sent: map[string]any{fieldPerPage: 50}},
			{Operation: logical.ListOperation, When: "the scope for it was not granted", Given: granted(scopeUpdateClientKeys)},
		}},
		{
			Path: "roles-import", Concrete: "roles-import",
			Needs: [][]string{{fieldFilterAppType, fieldFilterName, fieldClientIDs}},
			Refusals: []apiRefusal{
				{Sent: map[string]any{fieldRotationPeriod: "720h"}},
				{Sent: map[string]any{fieldFilterName: "*", fieldRolePrefix: "/"}},
				{Sent: map[string]any{fieldFilterName: "*", fieldTTL: "5s"}, When: "settings that no role could have: see roles/:name"},
			},
		},
		{Path: "creds/:name", Concrete: "creds/shop", Lease: 900, Refusals: []apiRefusal{unknownRoleRefusal()}},
		{Path: "static-creds/:name", Concrete: "static-creds/shop", Refusals: []apiRefusal{unknownRoleRefusal()}},
		{
			Path: "rotate/:name", Concrete: "rotate/shop", Refusals: []apiRefusal{unknownRoleRefusal()},
			Extra: []apiSample{{Text: "Rotate without downtime. Nothing is sent.", Answer: exampleTimeline}}, Answer: apiForced,
			Warnings: []string{"the secret is set without waiting for leases: holders of older ones fail until they read again"},
		},
		{
			Path: "rotate-all", Concrete: "rotate-all",
			Warnings: []string{"secrets are set without waiting for leases: holders of older ones fail until they read again"},
		},
		{Path: "status", Concrete: "status"},
		{Path: "metrics", Concrete: "metrics"},
		{
			Path: "token-roles/:name", Concrete: "token-roles/reader", Needs: [][]string{{fieldScopes}}, Refusals: []apiRefusal{
				{When: "no scopes"},
				{Sent: map[string]any{fieldScopes: []string{"read users"}}},
				{Sent: map[string]any{fieldScopes: []string{"delete:users"}}},
				{Sent: map[string]any{fieldScopes: []string{"read:users"}, fieldRole: "nobody"}},
				{Operation: logical.PatchOperation, When: "there is no such token role", Sent: map[string]any{fieldRole: "shop"}},
			},
		},
		{Path: "token-roles", Concrete: "token-roles/"},
		{Path: "tokens/:name", Concrete: "tokens/reader", Lease: 86400, Refusals: tokenRefusals(), Warnings: []string{
			"Auth0 cannot revoke an access token: revoking the lease does not end it, it is valid until " + exampleDueAt,
		}},
	}
}

func tokenRefusals() []apiRefusal {
	return []apiRefusal{
		{Operation: logical.ReadOperation, When: "there is no such token role"},
		{Operation: logical.ReadOperation, When: "Auth0 does not say which scopes it granted", Given: func(_ *testing.T, env *testEnv) {
			env.write("token-roles/reader", map[string]any{fieldScopes: []string{scopeReadClients}})
			env.auth0.honoursScope, env.auth0.scopes = false, nil
		}},
		{Operation: logical.ReadOperation, When: "the application has more scopes", Given: func(_ *testing.T, env *testEnv) {
			env.auth0.honoursScope = false
			env.write("token-roles/reader", map[string]any{fieldScopes: []string{scopeReadClients}})
		}},
	}
}

func unknownRoleRefusal() apiRefusal {
	return apiRefusal{Operation: logical.ReadOperation, When: "there is no such role", Given: withoutRole}
}

func configRefusals() []apiRefusal {
	return []apiRefusal{
		{Sent: apiConfig(map[string]any{fieldDomain: nil}), Given: unconfigured},
		{Sent: apiConfig(map[string]any{fieldClientID: nil}), Given: unconfigured},
		{Sent: apiConfig(map[string]any{fieldClientSecret: nil}), Given: unconfigured},
		{Sent: map[string]any{fieldDomain: "https://" + exampleDomain}},
		{Sent: map[string]any{fieldDomain: "other.eu.auth0.com"}},
		{Sent: map[string]any{fieldDomain: "other.eu.auth0.com"}, When: "no roles, and no credentials along", Given: withoutRole},
		{Sent: map[string]any{fieldAudience: "https://other.eu.auth0.com/api/v2/"}},
		{Sent: map[string]any{fieldClientID: exampleAppID}},
		{Sent: map[string]any{fieldClientSecret: "...", fieldPrivateKey: "..."}},
		{Sent: map[string]any{fieldClientSecret: apiEngineSecret}, When: "a secret that rotate-root has replaced", Given: func(_ *testing.T, env *testEnv) {
			env.write("rotate-root", nil)
		}},
		{Sent: map[string]any{fieldClientSecret: "wrong"}},
		{Sent: map[string]any{fieldPrivateKey: "no key"}},
		{Sent: map[string]any{fieldSigningAlgorithm: "RS256"}},
		{Sent: map[string]any{fieldPrivateKey: "...", fieldSigningAlgorithm: "HS256"}},
		{Sent: map[string]any{fieldClientSecret: "...", fieldCACert: "no certificate"}},
		{Sent: map[string]any{fieldClientSecret: "...", fieldCACert: "ca.pem"}},
		{Sent: map[string]any{fieldRequestTimeout: "2m"}},
		{Sent: map[string]any{fieldPropagationDelay: "2h"}},
		{Sent: map[string]any{fieldDriftCheckPeriod: "1s"}},
		{Sent: map[string]any{fieldRequestTimeout: "20s"}, When: "the tenant cannot be reached", Given: func(_ *testing.T, env *testEnv) {
			env.auth0.grant = &auth0.Error{Class: auth0.Refused, Op: "token", Message: "no such host"}
		}},
		{Sent: map[string]any{fieldRequestTimeout: "20s"}, When: "the scope is missing", Given: granted(scopeReadClients)},
		{Operation: logical.DeleteOperation, When: "there are roles"},
	}
}

func roleRefusals() []apiRefusal {
	newRole := func(when string, sent map[string]any, given ...func(*testing.T, *testEnv)) apiRefusal {
		return apiRefusal{When: when, Sent: sent, Given: func(t *testing.T, env *testEnv) {
			withoutRole(t, env)
			for _, more := range given {
				more(t, env)
			}
		}}
	}
	unfitRole := func(when string, change func(*auth0.Application)) apiRefusal {
		return newRole(when, map[string]any{fieldClientID: exampleAppID}, func(_ *testing.T, env *testEnv) { change(env.auth0.apps[exampleAppID]) })
	}
	return []apiRefusal{
		{Sent: map[string]any{fieldRotationSchedule: "* * * * *"}},
		newRole("a new role", map[string]any{fieldTTL: "15m"}),
		newRole("a new role", map[string]any{fieldClientID: "no/id"}),
		newRole("a new role", map[string]any{fieldClientID: "nobody"}),
		newRole("a new role", map[string]any{fieldClientID: apiPublicApp}),
		unfitRole("a new role, of the tenant's global client", func(app *auth0.Application) { yes := true; app.Global = &yes }),
		unfitRole("a new role, of a public client", func(app *auth0.Application) { none := "none"; app.TokenEndpointAuthMethod = &none }),
		unfitRole("a new role, of an application with a key", authenticatesBy("private_key_jwt")),
		unfitRole("a new role, of an application with a certificate", authenticatesBy("tls_client_auth")),
		newRole("a new role", map[string]any{fieldClientID: exampleEngineID}),
		newRole("a new role", map[string]any{fieldClientID: exampleAppID}, func(_ *testing.T, env *testEnv) {
			env.write("roles/webshop", map[string]any{fieldClientID: exampleAppID})
		}),
		newRole("a new role", map[string]any{fieldClientID: exampleAppID, fieldClientSecret: "wrong"}),
		newRole("a new role, without the scope to read secrets", map[string]any{fieldClientID: exampleAppID},
			granted(scopeUpdateClientKeys, scopeReadClients)),
		newRole("a new role, without the scope to read secrets", map[string]any{fieldClientID: exampleAppID, fieldClientSecret: "wrong"},
			granted(scopeUpdateClientKeys, scopeReadClients)),
		unfitRole("a new role, of an application without a secret", func(app *auth0.Application) { app.ClientSecret = nil }),
		newRole("a new role, where allowed_applications is pay-*", map[string]any{fieldClientID: exampleAppID}, func(_ *testing.T, env *testEnv) {
			env.auth0.apps[exampleAppID].Name = "shop"
			env.write("config", map[string]any{fieldAllowedApplications: "pay-*"})
		}),
		newRole("the same, of an application whose name the engine may not read", map[string]any{fieldClientID: exampleAppID},
			granted(scopeUpdateClientKeys), func(_ *testing.T, env *testEnv) {
				env.write("config", map[string]any{fieldAllowedApplications: "pay-*"})
			}),
		newRole("a new role", map[string]any{fieldClientID: exampleAppID, fieldPasswordPolicy: "missing"}),
		newRole("a policy that makes short secrets", map[string]any{fieldClientID: exampleAppID, fieldPasswordPolicy: "pin"},
			func(_ *testing.T, env *testEnv) {
				env.system.PasswordPolicies = map[string]logical.PasswordGenerator{"pin": func() (string, error) { return "7341", nil }}
			}),
		{Sent: map[string]any{fieldClientID: "another"}},
		{Sent: map[string]any{fieldClientSecret: "another"}},
		{Sent: map[string]any{fieldClientSecret: ""}},
		{Sent: map[string]any{fieldClientSecret: "...", fieldSkipImport: true}},
		{Sent: map[string]any{fieldTTL: "5s"}},
		{Sent: map[string]any{fieldTTL: "48h"}},
		{Sent: map[string]any{fieldSecretSource: "somebody"}},
		{Sent: map[string]any{fieldSecretSource: "auth0", fieldPasswordPolicy: "policy"}},
		{Operation: logical.PatchOperation, When: "there is no such role", Sent: map[string]any{fieldTTL: "15m"}, Given: withoutRole},
	}
}

// apiUndocumented are beginnings of refusals that no request alone can have.
var apiUndocumented = []string{
	"the configuration cannot be used",        // what is checked before excludes that
	"the configuration was changed meanwhile", // a race
	" was made meanwhile",                     // a race
}
