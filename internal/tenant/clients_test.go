package tenant

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVisibilityPerScope(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{Shape: Full})
	keyed := f.AddApplication(Application{AuthenticationMethods: map[string]any{"private_key_jwt": map[string]any{"credentials": []any{}}}})

	open := []string{"app_type", "client_id", "description", "name"}
	settings := []string{"callbacks", "global", "grant_types", "is_first_party", "jwt_configuration", "token_endpoint_auth_method"}
	secrets := []string{"client_secret", "signing_keys"}
	for scope, want := range map[string][]string{
		"read:clients":            slices.Concat(open, settings),
		"read:client_keys":        slices.Concat(open, settings, secrets),
		"read:client_credentials": slices.Concat(open, secrets),
	} {
		f.token = f.tokenFor(scope)
		got := f.api(http.MethodGet, "clients/"+app.ClientID, "")
		assert.Equal(t, http.StatusOK, got.status, scope)
		assert.ElementsMatch(t, want, slices.Collect(maps.Keys(got.object)), scope)

		got = f.api(http.MethodGet, "clients/"+keyed.ClientID, "")
		assert.NotContains(t, got.object, "token_endpoint_auth_method", scope)
		_, sees := got.object["client_authentication_methods"]
		assert.Equal(t, scope != "read:clients", sees, scope)
	}

	f.token = f.tokenFor("update:client_keys")
	got := f.api(http.MethodGet, "clients/"+app.ClientID, "")
	assert.Equal(t, http.StatusForbidden, got.status)
	assert.JSONEq(t, `{"statusCode":403,"error":"Forbidden","errorCode":"insufficient_scope",
		"message":"Insufficient scope, expected any of: read:clients,read:client_keys,read:client_credentials"}`, string(got.body))
	assert.Equal(t, http.StatusForbidden, f.api(http.MethodGet, "clients", "").status)
}

func TestFieldsOfAnApplication(t *testing.T) {
	f := start(t, "read:client_keys")
	app := f.AddApplication(Application{
		ClientID: "id", Name: "shop", AppType: "native", TokenEndpointAuthMethod: "client_secret_basic", ClientSecret: "s",
		Global: true, Alg: "HS256", SecretEncoded: true, GrantTypes: []string{"client_credentials"},
	})
	assert.JSONEq(t, `{"client_id":"id","name":"shop","description":"","app_type":"native","signing_keys":[{"cert":"simulated certificate 1 of id"}],
		"token_endpoint_auth_method":"client_secret_basic","client_secret":"s","global":true,"is_first_party":true,
		"jwt_configuration":{"alg":"HS256","secret_encoded":true,"lifetime_in_seconds":36000},
		"callbacks":["http://localhost:3000/callback"],"grant_types":["client_credentials"]}`, string(f.api(http.MethodGet, "clients/id", "").body))

	assert.JSONEq(t, `{"name":"shop","client_secret":"s"}`,
		string(f.api(http.MethodGet, "clients/id?fields=name,client_secret,nonsense&include_fields=true", "").body))
	got := f.api(http.MethodGet, "clients/id?fields=name,client_secret&include_fields=false", "")
	assert.NotContains(t, got.object, "name")
	assert.NotContains(t, got.object, "client_secret")
	assert.Contains(t, got.object, "client_id")
	assert.Equal(t, "invalid_query_string", f.api(http.MethodGet, "clients/id?include_fields=maybe", "").code())

	f.UpdateApplication(app.ClientID, func(a *Application) { a.TokenEndpointAuthMethod, a.Name, a.ClientID = "", "renamed", "other" })
	got = f.api(http.MethodGet, "clients/id", "")
	assert.NotContains(t, got.object, "token_endpoint_auth_method")
	assert.Equal(t, "renamed", got.object["name"])
	assert.Equal(t, []string{"s"}, f.values("id"), "the secret has not been touched")
}

func TestFieldsThatTheTokenMayNotRead(t *testing.T) {
	f := start(t, "read:clients")
	app := f.AddApplication(Application{})
	for _, path := range []string{"clients/" + app.ClientID, "clients"} {
		assert.Equal(t, http.StatusOK, f.api(http.MethodGet, path, "").status, "without fields: what it may read")
		assert.Equal(t, http.StatusOK, f.api(http.MethodGet, path+"?fields=client_secret&include_fields=false", "").status)
		assert.JSONEq(t, `{"statusCode":403,"error":"Forbidden","errorCode":"insufficient_scope",
			"message":"You cannot read the following fields: client_secret, signing_keys"}`,
			string(f.api(http.MethodGet, path+"?fields=name,client_secret,nonsense,signing_keys", "").body))
	}
	f.DropUnreadableFields(true)
	got := f.api(http.MethodGet, "clients/"+app.ClientID+"?fields=name,client_secret", "")
	assert.JSONEq(t, `{"name":"`+app.Name+`"}`, string(got.body))
	f.token = f.tokenFor("read:client_credentials")
	f.DropUnreadableFields(false)
	assert.Equal(t, http.StatusOK, f.api(http.MethodGet, "clients?fields=name,client_secret", "").status)
	assert.Contains(t, f.api(http.MethodGet, "clients?fields=name,global", "").message(), "global")
}

func TestDefaultsOfAnApplication(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{Shape: Full})
	assert.Regexp(t, `^[a-zA-Z0-9]{32}$`, app.ClientID)
	assert.Regexp(t, `^[a-zA-Z0-9_-]{64}$`, app.ClientSecret)
	assert.Equal(t, []string{"regular_web", "client_secret_post", "RS256"}, []string{app.AppType, app.TokenEndpointAuthMethod, app.Alg})
	assert.Equal(t, "none", f.AddApplication(Application{Shape: Full, AppType: "spa"}).TokenEndpointAuthMethod)
	assert.Panics(t, func() { f.AddApplication(app) }, "the ID is taken")
	assert.Panics(t, func() { f.SetScopes("nobody") })
}

// Half of the applications are as API and Terraform make them, and differ from
// the others in what their objects show alone.
func TestEveryOtherApplicationIsBare(t *testing.T) {
	f := start(t, allScopes...)
	bare := []string{"app_type", "token_endpoint_auth_method", "jwt_configuration"}
	for i := range 8 {
		app := f.AddApplication(Application{})
		got := f.api(http.MethodGet, "clients/"+app.ClientID, "").object
		jwt, _ := got["jwt_configuration"].(map[string]any)
		switch i % 4 {
		case 0:
			assert.Equal(t, Bare, app.Shape)
			assert.NotContains(t, got, "app_type")
			assert.NotContains(t, got, "token_endpoint_auth_method")
			assert.NotContains(t, got, "jwt_configuration")
		case 2:
			assert.NotContains(t, got, "app_type")
			assert.NotContains(t, got, "token_endpoint_auth_method")
			assert.Equal(t, map[string]any{"secret_encoded": false, "lifetime_in_seconds": 36000.0}, jwt, "without alg")
		default:
			assert.Equal(t, Full, app.Shape)
			assert.Subset(t, slices.Collect(maps.Keys(got)), bare)
			assert.Equal(t, "RS256", jwt["alg"])
		}
		assert.True(t, f.accepts(app, app.ClientSecret, ""))
		basic := map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(app.ClientID+":"+app.ClientSecret))}
		assert.Equal(t, http.StatusOK, f.ask(map[string]string{"grant_type": "client_credentials"}, basic).status)
	}
	assert.False(t, f.accepts(f.AddApplication(Application{Shape: Bare, AppType: "spa", ClientSecret: "s"}), "s", ""), "a public one has no use for it")
}

func TestABareApplicationShowsWhatWasGiven(t *testing.T) {
	f := start(t, allScopes...)
	app := f.AddApplication(Application{Shape: Bare, Alg: "RS256", AppType: "sso_integration"})
	got := f.api(http.MethodGet, "clients/"+app.ClientID, "").object
	assert.Equal(t, "sso_integration", got["app_type"])
	assert.Equal(t, "RS256", got["jwt_configuration"].(map[string]any)["alg"])
	assert.NotContains(t, got, "token_endpoint_auth_method")
	f.UpdateApplication(app.ClientID, func(a *Application) { a.Alg, a.AppType = "", "" })
	got = f.api(http.MethodGet, "clients/"+app.ClientID, "").object
	assert.NotContains(t, got, "jwt_configuration")
	assert.NotContains(t, got, "app_type")
	got = f.api(http.MethodPatch, "clients/"+app.ClientID, `{"jwt_configuration":{"lifetime_in_seconds":36000}}`).object
	assert.Equal(t, map[string]any{"secret_encoded": false, "lifetime_in_seconds": 36000.0}, got["jwt_configuration"])
	got = f.api(http.MethodPatch, "clients/"+app.ClientID, `{"jwt_configuration":{"secret_encoded":true}}`).object
	assert.Equal(t, map[string]any{"secret_encoded": true, "lifetime_in_seconds": 36000.0}, got["jwt_configuration"])
	got = f.api(http.MethodPatch, "clients/"+app.ClientID, `{"jwt_configuration":{"alg":"HS256"}}`).object
	assert.Equal(t, map[string]any{"alg": "HS256", "secret_encoded": true, "lifetime_in_seconds": 36000.0}, got["jwt_configuration"])
}

func TestKindsWithASecret(t *testing.T) {
	f := start(t, allScopes...)
	for _, kind := range []string{"resource_server", "sso_integration"} {
		app := f.AddApplication(Application{AppType: kind})
		assert.Equal(t, app.ClientSecret, f.api(http.MethodGet, "clients/"+app.ClientID, "").object["client_secret"])
		assert.Equal(t, http.StatusOK, f.patch(app.ClientID, "new").status)
		assert.True(t, f.accepts(app, "new", ""))
	}
}

func TestAKindThatHasKeysOnly(t *testing.T) {
	f := start(t, append([]string{"create:clients"}, allScopes...)...)
	for _, shape := range []Shape{Bare, Full} {
		app := f.AddApplication(Application{Shape: shape, AppType: "express_configuration", ClientSecret: "s"})
		assert.Empty(t, app.ClientSecret)
		got := f.api(http.MethodGet, "clients/"+app.ClientID, "").object
		assert.NotContains(t, got, "client_secret")
		assert.NotContains(t, got, "token_endpoint_auth_method")
		assert.Equal(t, http.StatusBadRequest, f.patch(app.ClientID, "new").status)
		assert.Equal(t, http.StatusBadRequest, f.api(http.MethodPost, "clients/"+app.ClientID+"/rotate-secret", "").status)
		assert.Empty(t, f.values(app.ClientID))
		assert.False(t, f.accepts(app, "", ""))
	}
	made := f.api(http.MethodPost, "clients", `{"name":"x","app_type":"express_configuration"}`)
	assert.Equal(t, http.StatusCreated, made.status)
	assert.NotContains(t, made.object, "client_secret")
	assert.NotContains(t, f.EverySecret(), "")
}

// Names are as people type them, and JSON can carry them all.
func TestNamesAreSentAsTheyAre(t *testing.T) {
	f := start(t, "read:clients")
	const name = "a\x1b[2J\x00\n\x7f\u009b\u202e \"quoted\" </script>"
	app := f.AddApplication(Application{Name: name})
	got := f.api(http.MethodGet, "clients/"+app.ClientID, "")
	assert.Equal(t, name, got.object["name"])
	assert.Contains(t, string(got.body), `a\u001b[2J\u0000\n`)
	f.UpdateApplication(app.ClientID, func(a *Application) { a.ThirdParty = true })
	assert.Contains(t, string(f.api(http.MethodGet, "clients/"+app.ClientID, "").body), `"is_first_party":false`)
}

func TestListGoesThroughAllApplications(t *testing.T) {
	f := start(t, "read:clients") // has one application: its own
	for i := range 4 {
		f.AddApplication(Application{ClientID: fmt.Sprint("app", i)})
	}
	f.RemoveApplication("app1")
	var ids []string
	for page := range 3 {
		got := f.api(http.MethodGet, fmt.Sprintf("clients?page=%d&per_page=2&include_totals=true&fields=client_id", page), "")
		require.Equal(t, http.StatusOK, got.status)
		assert.InDelta(t, 4, got.object["total"], 0)
		assert.InDelta(t, 2*page, got.object["start"], 0)
		for _, c := range got.object["clients"].([]any) {
			assert.Len(t, c, 1)
			ids = append(ids, c.(map[string]any)["client_id"].(string))
		}
	}
	assert.Equal(t, []string{"app0", "app2", "app3"}, ids[1:])
	assert.Equal(t, byte('['), f.api(http.MethodGet, "clients", "").body[0])
	for _, query := range []string{"page=-1", "per_page=0", "per_page=101", "page=x", "include_totals=1"} {
		assert.Equal(t, "invalid_query_string", f.api(http.MethodGet, "clients?"+query, "").code(), query)
	}
}

func TestPatchSetsTheSecretThatIsSent(t *testing.T) {
	f := start(t, "update:client_keys")
	app := f.AddApplication(Application{})
	got := f.patch(app.ClientID, "new")
	assert.Equal(t, http.StatusOK, got.status)
	assert.Equal(t, app.ClientID, got.object["client_id"])
	assert.NotContains(t, got.object, "client_secret", "the token may not read it")
	assert.Equal(t, []string{app.ClientSecret, "new"}, f.values(app.ClientID))
	assert.False(t, f.accepts(app, app.ClientSecret, ""))
	assert.True(t, f.accepts(app, "new", ""))

	for _, scope := range []string{"read:client_keys", "read:client_credentials"} {
		f.token = f.tokenFor("update:client_keys", scope)
		assert.Equal(t, "newer", f.patch(app.ClientID, "newer").object["client_secret"], scope)
	}
}

func TestPatchRefusals(t *testing.T) {
	f := start(t, "update:client_keys")
	app := f.AddApplication(Application{})
	keyed := f.AddApplication(Application{AuthenticationMethods: map[string]any{"private_key_jwt": map[string]any{}}})
	clients, reads := f.tokenFor("update:clients"), f.tokenFor("read:clients", "read:client_keys")
	secretly := `{"client_secret":"` + strings.Repeat("x", 257) + `"}`
	for name, c := range map[string]struct {
		token, id, body string
		status          int
		code, message   string
	}{
		"not an object":       {f.token, app.ClientID, `[1]`, 400, "invalid_body", "Payload validation error: "},
		"null":                {f.token, app.ClientID, `null`, 400, "invalid_body", "Payload validation error: "},
		"a number":            {f.token, app.ClientID, `{"client_secret":5}`, 400, "invalid_body", "'Expected type string but found type number' on property client_secret"},
		"null secret":         {f.token, app.ClientID, `{"client_secret":null}`, 400, "invalid_body", "found type null"},
		"empty":               {f.token, app.ClientID, `{"client_secret":""}`, 400, "invalid_body", "too short (0 chars), minimum 1"},
		"too long":            {f.token, app.ClientID, secretly, 400, "invalid_body", "too long (257 chars), maximum 256"},
		"other member":        {f.token, app.ClientID, `{"client_secret":"x","name":"x"}`, 403, "insufficient_scope", "expected any of: update:clients"},
		"only the wrong one":  {clients, app.ClientID, `{"client_secret":"x"}`, 403, "insufficient_scope", "expected any of: update:client_keys"},
		"no update scope":     {reads, app.ClientID, `{"client_secret":"x"}`, 403, "insufficient_scope", "expected any of: update:clients,update:client_keys"},
		"unknown member":      {clients, app.ClientID, `{"nonsense":1}`, 400, "invalid_body", "'Additional properties not allowed: nonsense'"},
		"unknown application": {f.token, "nobody", `{"client_secret":"x"}`, 404, "inexistent_client", "The client does not exist"},
		"private_key_jwt":     {f.token, keyed.ClientID, `{"client_secret":"x"}`, 400, "invalid_body", "private_key_jwt"},
		"both methods": {clients, app.ClientID, `{"token_endpoint_auth_method":"none","client_authentication_methods":{}}`,
			400, "invalid_body", "exclude each other"},
	} {
		got := f.apiAs(t.Context(), c.token, http.MethodPatch, "clients/"+c.id, c.body)
		assert.Equal(t, c.status, got.status, name)
		assert.InDelta(t, c.status, got.object["statusCode"], 0, name)
		assert.Equal(t, c.code, got.code(), name)
		assert.Contains(t, got.message(), c.message, name)
	}
	assert.Equal(t, []string{app.ClientSecret}, f.values(app.ClientID))
	assert.Equal(t, []string{keyed.ClientSecret}, f.values(keyed.ClientID))

	longest := strings.Repeat("é", 256)
	assert.Equal(t, http.StatusOK, f.patch(app.ClientID, longest).status)
	assert.Equal(t, longest, f.Secret(app.ClientID))
	assert.Equal(t, http.StatusOK, f.apiAs(t.Context(), clients, http.MethodPatch, "clients/"+app.ClientID, `{"name":"renamed"}`).status)
	assert.Equal(t, "renamed", f.Applications()[1].Name)
}

func TestRotateSecretMakesANewOne(t *testing.T) {
	f := start(t, "update:client_keys", "read:client_keys")
	app := f.AddApplication(Application{SecretEncoded: true})
	before := f.api(http.MethodGet, "clients/"+app.ClientID, "").object
	got := f.api(http.MethodPost, "clients/"+app.ClientID+"/rotate-secret", "")
	assert.Equal(t, http.StatusOK, got.status)
	secret := got.object["client_secret"].(string)
	assert.Len(t, secret, 64)
	assert.NotEqual(t, app.ClientSecret, secret)
	assert.NotEqual(t, before["signing_keys"], got.object["signing_keys"])
	history := f.SecretHistory(app.ClientID)
	require.Len(t, history, 2)
	assert.Equal(t, SecretChange{At: f.clock.Now(), Value: secret, By: "rotate-secret"}, history[1])

	f.token = f.tokenFor("update:client_keys")
	blind := f.api(http.MethodPost, "clients/"+app.ClientID+"/rotate-secret", "")
	assert.Equal(t, http.StatusOK, blind.status)
	assert.NotContains(t, blind.object, "client_secret", "the token may not read it")
	assert.Len(t, f.values(app.ClientID), 3)

	keyed := f.AddApplication(Application{AuthenticationMethods: map[string]any{"private_key_jwt": map[string]any{}}})
	assert.Equal(t, http.StatusBadRequest, f.api(http.MethodPost, "clients/"+keyed.ClientID+"/rotate-secret", "").status)
	assert.Equal(t, "inexistent_client", f.api(http.MethodPost, "clients/nobody/rotate-secret", "").code())
	f.token = f.tokenFor("read:client_keys")
	assert.Equal(t, "insufficient_scope", f.api(http.MethodPost, "clients/"+app.ClientID+"/rotate-secret", "").code())
	assert.Len(t, f.values(app.ClientID), 3)
}

func TestSecretHistoryTellsWho(t *testing.T) {
	f := start(t, "update:client_keys")
	app := f.AddApplication(Application{})
	f.patch(app.ClientID, "two")
	f.SetSecretInDashboard(app.ClientID, "three")
	f.UpdateApplication(app.ClientID, func(a *Application) { a.ClientSecret = "four" })
	var by []string
	for _, c := range f.SecretHistory(app.ClientID) {
		by = append(by, c.By)
	}
	assert.Equal(t, []string{"added", "patch", "dashboard", "dashboard"}, by)
	assert.Equal(t, []string{app.ClientSecret, "two", "three", "four"}, f.values(app.ClientID))
	assert.Subset(t, f.EverySecret(), append(f.values(app.ClientID), f.token))
	f.RemoveApplication(app.ClientID)
	assert.Nil(t, f.SecretHistory(app.ClientID))
	assert.Equal(t, "inexistent_client", f.patch(app.ClientID, "five").code())
}

func TestUnknownEndpointsAnswerJSON(t *testing.T) {
	f := start(t, allScopes...)
	app := f.AddApplication(Application{})
	for _, c := range [][2]string{
		{http.MethodPut, "clients/" + app.ClientID}, {http.MethodPut, "clients"}, {http.MethodGet, "users"},
		{http.MethodGet, "clients/" + app.ClientID + "/rotate-secret"}, {http.MethodGet, "clients/"},
	} {
		got := f.api(c[0], c[1], "")
		assert.Equal(t, http.StatusNotFound, got.status, c)
		assert.InDelta(t, 404, got.object["statusCode"], 0, c)
	}
	assert.Equal(t, http.StatusNotFound, f.do(t.Context(), http.MethodGet, "/oauth/token", "", nil).status)
}

func TestCreateApplicationAndGrant(t *testing.T) {
	f := start(t, "create:clients", "create:client_grants", "delete:clients")
	made := f.api(http.MethodPost, "clients", `{"name":"engine","app_type":"non_interactive","grant_types":["client_credentials"],"token_endpoint_auth_method":"client_secret_post"}`)
	require.Equal(t, http.StatusCreated, made.status, "%s", made.body)
	id, secret := made.object["client_id"].(string), made.object["client_secret"].(string)
	assert.Equal(t, http.StatusForbidden, f.logIn(id, secret, f.Audience(), nil).status, "not authorised yet")

	grant := `{"client_id":"` + id + `","audience":"` + f.Audience() + `","scope":["read:clients"]}`
	assert.Equal(t, http.StatusCreated, f.api(http.MethodPost, "client-grants", grant).status)
	assert.Equal(t, http.StatusConflict, f.api(http.MethodPost, "client-grants", grant).status)
	assert.Equal(t, "read:clients", f.logIn(id, secret, f.Audience(), nil).object["scope"])
	assert.Equal(t, []string{"read:clients"}, f.Scopes(id))

	assert.Equal(t, http.StatusNoContent, f.api(http.MethodDelete, "clients/"+id, "").status)
	assert.Equal(t, http.StatusNotFound, f.api(http.MethodPost, "client-grants", grant).status)
	assert.Equal(t, http.StatusUnauthorized, f.logIn(id, secret, f.Audience(), nil).status)
}

// What a request leaves out stays absent, but for the grant types.
func TestCreatedApplicationsAreBare(t *testing.T) {
	f := start(t, "create:clients")
	made := f.api(http.MethodPost, "clients", `{"name":"least"}`).object
	for _, name := range []string{"app_type", "token_endpoint_auth_method", "jwt_configuration"} {
		assert.NotContains(t, made, name)
	}
	assert.Equal(t, true, made["is_first_party"])
	id, secret := made["client_id"].(string), made["client_secret"].(string)
	got := f.logIn(id, secret, "", nil)
	assert.Equal(t, http.StatusForbidden, got.status)
	assert.Contains(t, got.object["error_description"], `You need to create a "client-grant"`, "its secret is good")

	made = f.api(http.MethodPost, "clients", `{"name":"most","app_type":"resource_server","is_first_party":false,
		"token_endpoint_auth_method":"client_secret_basic","jwt_configuration":{"alg":"RS256"}}`).object
	assert.Equal(t, "resource_server", made["app_type"])
	assert.Equal(t, "client_secret_basic", made["token_endpoint_auth_method"])
	assert.Equal(t, false, made["is_first_party"])
	assert.Equal(t, map[string]any{"alg": "RS256", "secret_encoded": false, "lifetime_in_seconds": 36000.0}, made["jwt_configuration"])
}

func TestCreationIsRefused(t *testing.T) {
	f := start(t, "create:clients", "create:client_grants")
	for body, says := range map[string]string{
		`[]`:                           "Expected type object",
		`{}`:                           "Missing required property: name",
		`{"name":1}`:                   "Expected type string but found type number",
		`{"name":"x","surprise":true}`: "Additional properties not allowed: surprise",
		`{"name":"x","token_endpoint_auth_method":"none","client_authentication_methods":{}}`: "exclude each other",
	} {
		got := f.api(http.MethodPost, "clients", body)
		assert.Equal(t, http.StatusBadRequest, got.status, body)
		assert.Contains(t, got.message(), says)
	}
	got := f.api(http.MethodPost, "clients", `{"name":"x","client_authentication_methods":{"private_key_jwt":{"credentials":[]}}}`)
	assert.Equal(t, "insufficient_scope", got.code())
	app := f.AddApplication(Application{})
	assert.Equal(t, http.StatusBadRequest, f.api(http.MethodPost, "client-grants", `{"client_id":"`+app.ClientID+`","audience":"other"}`).status)

	other := f.tokenFor("read:clients")
	for _, request := range [][2]string{{http.MethodPost, "clients"}, {http.MethodPost, "client-grants"}, {http.MethodDelete, "clients/" + app.ClientID}} {
		got := f.apiAs(t.Context(), other, request[0], request[1], `{"name":"x"}`)
		assert.Equal(t, "insufficient_scope", got.code(), request)
	}
}
