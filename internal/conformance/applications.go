package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

const docClient = "https://auth0.com/docs/api/management/v2/clients/get-clients-by-id"

var applicationAssumptions = []Assumption{
	{"application-bare", "What was not set when an application was made by API is absent: `app_type`, `token_endpoint_auth_method`, `jwt_configuration.alg`.",
		Recorded, "recorded traffic of Auth0's Terraform provider: TestAccClientGrant", []string{readClients}, checkApplicationBare},
	{"application-fields", "`fields=client_id,name` gives these, and no secret.",
		Recorded, "recorded traffic of Auth0's Terraform provider (signing_keys come along)", []string{readClients, createGrants}, func(t *trial) (string, bool) {
			app := t.theApp()
			got := t.api(http.MethodGet, "clients/"+app.ClientID+"?fields=client_id,name&include_fields=true", nil)
			return fmt.Sprintf("%d with %s", got.status, got.members()),
				got.status == http.StatusOK && got.text("client_id") == app.ClientID && got.has("name") && !got.has("client_secret")
		}},
	{"application-without-keys", "A token with read:clients alone is given the settings of an application, and no `client_secret`.",
		Documented, docClient, []string{createGrants}, checkApplicationWithoutKeys},
	{"application-forbidden-field", "Naming a field that the token may not read is answered with 403, or the field is left out.",
		Recorded, "https://github.com/auth0/terraform-provider-auth0/issues/774 has the 403", []string{createGrants}, func(t *trial) (string, bool) {
			got := t.apiAs(t.reader(), http.MethodGet, "clients/"+t.theApp().ClientID+"?fields=client_id,client_secret&include_fields=true", nil)
			if got.status == http.StatusOK {
				return "200 with " + got.members(), !got.has("client_secret")
			}
			return got.String(), got.isError(http.StatusForbidden, "")
		}},
	{"application-deleted", "DELETE of an application is 204. GET and PATCH then are 404 inexistent_client.",
		Recorded, "recorded traffic of Auth0's Terraform provider: TestAccDataSourceClientNonexistentID (GET)", []string{readClients, updateKeys}, func(t *trial) (string, bool) {
			path := "clients/" + t.make("deleted", nil).ClientID // if it is not deleted, Close does that
			deleted, read := t.api(http.MethodDelete, path, nil), t.api(http.MethodGet, path, nil)
			set := t.api(http.MethodPatch, path, map[string]any{"client_secret": t.newSecret()})
			return fmt.Sprintf("DELETE: %d. GET: %s. PATCH: %s", deleted.status, read, set), deleted.status == http.StatusNoContent &&
				read.isError(http.StatusNotFound, "inexistent_client") && set.isError(http.StatusNotFound, "inexistent_client")
		}},
	{"error-bad-token", "A bad token is refused with 401 in the usual form, with `attributes` and without `errorCode`.",
		Recorded, "https://github.com/auth0/go-auth0/issues/22 (status and message)", []string{createGrants}, func(t *trial) (string, bool) {
			got := t.apiAs("not-a-token", http.MethodGet, "clients/"+t.theApp().ClientID, nil)
			return fmt.Sprintf("%s; with %s", got, got.members()),
				got.isError(http.StatusUnauthorized, "") && got.has("attributes") && !got.has("errorCode")
		}},
	{"error-missing-scope", "A token that lacks the scope is refused with 403 insufficient_scope, which says which would do.",
		Documented, "https://auth0.com/docs/api/management/v2/clients/patch-clients-by-id", []string{createGrants}, func(t *trial) (string, bool) {
			got := t.apiAs(t.reader(), http.MethodPatch, "clients/"+t.theApp().ClientID, map[string]any{"client_secret": t.newSecret()})
			return got.String(), got.isError(http.StatusForbidden, "insufficient_scope") && strings.Contains(got.text("message"), updateKeys)
		}},
	{"error-invalid-body", "A body of the wrong form is refused with 400 invalid_body.",
		Recorded, "recorded traffic of Auth0's Terraform provider", []string{updateKeys, createGrants}, func(t *trial) (string, bool) {
			got := t.api(http.MethodPatch, "clients/"+t.theApp().ClientID, map[string]any{"client_secret": 5})
			return got.String(), got.isError(http.StatusBadRequest, "invalid_body")
		}},
}

func checkApplicationBare(t *trial) (string, bool) {
	app := t.make("bare", nil)
	defer t.discard(app)
	got := t.api(http.MethodGet, "clients/"+app.ClientID, nil)
	t.expect(http.StatusOK, got, "it could not be read")
	var there []string
	for _, name := range []string{"app_type", "token_endpoint_auth_method"} {
		if got.has(name) {
			there = append(there, fmt.Sprintf("%s %v", name, got.object[name]))
		}
	}
	jwt, _ := got.object["jwt_configuration"].(map[string]any)
	if alg, ok := jwt["alg"]; ok {
		there = append(there, fmt.Sprintf("jwt_configuration.alg %v", alg))
	}
	if len(there) == 0 {
		return "all three are absent", true
	}
	return "present: " + strings.Join(there, ", "), false
}

// reader is a token of theApp, with read:clients and nothing else.
func (t *trial) reader() string {
	app := t.theApp()
	return t.read.get(t, func(t *trial) string {
		return t.await(app)
	})
}

func checkApplicationWithoutKeys(t *trial) (string, bool) {
	// What the engine looks at.
	names := []string{
		"client_id", "name", "app_type", "global", "is_first_party", "token_endpoint_auth_method", "jwt_configuration",
		"grant_types", "client_authentication_methods", "client_secret",
	}
	got := t.apiAs(t.reader(), http.MethodGet, "clients/"+t.theApp().ClientID, nil)
	shown := got.members(names...)
	absent := strings.Join(slices.DeleteFunc(names, got.has), ", ")
	settings := got.has("app_type") && got.has("token_endpoint_auth_method") && got.has("grant_types") && got.has("is_first_party")
	return fmt.Sprintf("%d with %s; absent: %s", got.status, shown, absent),
		got.status == http.StatusOK && settings && !got.has("client_secret")
}
