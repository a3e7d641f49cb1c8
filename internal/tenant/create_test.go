package tenant

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
