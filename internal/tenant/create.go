package tenant

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// Endpoints that create applications and grants.
const (
	CreateApplication Endpoint = "create-application"
	CreateGrant       Endpoint = "create-grant"
	DeleteApplication Endpoint = "delete-application"
)

// creatable are the members that POST /api/v2/clients knows, with their JSON
// types.
var creatable = map[string]string{
	"name": "string", "description": "string", "app_type": "string",
	"token_endpoint_auth_method": "string", "client_authentication_methods": "object",
	"jwt_configuration": "object", "grant_types": "array", "oidc_conformant": "boolean", "is_first_party": "boolean",
}

// routeCreation finds what handles a request that creates or deletes an
// application, or creates a grant; false if it is none of these.
func (t *Tenant) routeCreation(c *call, parts []string) bool {
	route := c.r.Method + " " + parts[0]
	switch {
	case route == "POST clients" && len(parts) == 1:
		c.endpoint, c.pattern, c.handle = CreateApplication, apiPrefix+"clients", t.withToken(t.createApplication)
	case route == "POST client-grants" && len(parts) == 1:
		c.endpoint, c.pattern, c.handle = CreateGrant, apiPrefix+"client-grants", t.withToken(t.createGrant)
	case route == "DELETE clients" && len(parts) == 2:
		c.endpoint, c.pattern, c.clientID = DeleteApplication, apiPrefix+"clients/{id}", parts[1]
		c.handle = t.withToken(t.deleteApplication)
	default:
		return false
	}
	return true
}

// createApplication handles POST /api/v2/clients. The application is bare: what
// is not sent stays absent, but for the grant types. The answer is the whole
// object, whatever the token may read.
func (t *Tenant) createApplication(c *call, granted scopes) answer {
	if !granted.any("create:clients") {
		return insufficientScope("create:clients")
	}
	var sent map[string]json.RawMessage
	if json.Unmarshal(c.body, &sent) != nil || sent == nil {
		return invalidBody("'Expected type object' on the body.")
	}
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		switch want, known := creatable[name]; {
		case !known:
			return invalidBody(fmt.Sprintf("'Additional properties not allowed: %s'.", name))
		case jsonType(sent[name]) != want:
			return invalidBody(fmt.Sprintf("'Expected type %s but found type %s' on property %s.", want, jsonType(sent[name]), name))
		}
	}
	if _, named := sent["name"]; !named {
		return invalidBody("'Missing required property: name'.")
	}
	_, method := sent["token_endpoint_auth_method"]
	_, methods := sent["client_authentication_methods"]
	if method && methods {
		return invalidBody("token_endpoint_auth_method and client_authentication_methods exclude each other.")
	}
	if methods && !granted.any("create:client_credentials") {
		return insufficientScope("create:client_credentials")
	}
	key, bad := firstKey(sent["client_authentication_methods"], methods)
	if bad != nil {
		return *bad
	}

	made := &application{grants: map[string]scopes{}, certs: 1}
	made.Application = Application{Shape: Bare, ClientID: randomAlphanumerics(32), GrantTypes: usualGrants(), withoutJWT: true}
	made.apply(sent)
	if key != nil {
		made.keys, made.AuthenticationMethods = []registeredKey{*key}, keyMethod(key.ID)
	}
	if made.AppType != keysOnly {
		made.setSecret(randomText(64), byAdding, t.now(), Propagation{})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.apps[made.ClientID] = made
	t.order = append(t.order, made.ClientID)
	return jsonAnswer(http.StatusCreated, made.object(allReadScopes))
}

var allReadScopes = scopes(readScopes)

// firstKey reads the key of client_authentication_methods, fully defined:
//
//	{"private_key_jwt":{"credentials":[{"credential_type":"public_key","name":"...","pem":"...","alg":"RS256"}]}}
func firstKey(raw json.RawMessage, there bool) (*registeredKey, *answer) {
	if !there {
		return nil, nil
	}
	var sent struct {
		PrivateKeyJWT struct {
			Credentials []keyOrder `json:"credentials"`
		} `json:"private_key_jwt"`
	}
	if json.Unmarshal(raw, &sent) != nil || len(sent.PrivateKeyJWT.Credentials) != 1 {
		bad := invalidBody("client_authentication_methods must have one credential of private_key_jwt.")
		return nil, &bad
	}
	key, err := newRegisteredKey(sent.PrivateKeyJWT.Credentials[0])
	if err != nil {
		bad := invalidBody(err.Error())
		return nil, &bad
	}
	return &key, nil
}

// createGrant handles POST /api/v2/client-grants, for the Management API.
func (t *Tenant) createGrant(c *call, granted scopes) answer {
	if !granted.any("create:client_grants") {
		return insufficientScope("create:client_grants")
	}
	var sent struct {
		ClientID string   `json:"client_id"`
		Audience string   `json:"audience"`
		Scope    []string `json:"scope"`
	}
	if json.Unmarshal(c.body, &sent) != nil {
		return invalidBody("'Expected type object' on the body.")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	app := t.apps[sent.ClientID]
	switch {
	case app == nil:
		return noSuchClient()
	case sent.Audience != t.Audience():
		return apiError(http.StatusBadRequest, "invalid_body", "There is no API with this audience")
	case app.grants[sent.Audience] != nil:
		return apiError(http.StatusConflict, "grant_conflict", "A resource with the same identifier already exists.")
	}
	app.grants[sent.Audience] = append(scopes{}, sent.Scope...)
	return jsonAnswer(http.StatusCreated, map[string]any{
		"id": "cgr_" + randomAlphanumerics(16), "client_id": sent.ClientID, "audience": sent.Audience, "scope": sent.Scope,
	})
}

// deleteApplication handles DELETE /api/v2/clients/{id}.
func (t *Tenant) deleteApplication(c *call, granted scopes) answer {
	if !granted.any("delete:clients") {
		return insufficientScope("delete:clients")
	}
	t.RemoveApplication(c.clientID)
	return answer{status: http.StatusNoContent, contentType: "application/json; charset=utf-8"}
}

// IssueToken gives a Management API token with these scopes, such as the
// dashboard's API Explorer shows.
func (t *Tenant) IssueToken(granted ...string) string {
	value := randomText(128)
	t.tokens.add(value, granted, t.now(), t.lifetime)
	return value
}

// Scopes gives what an application may do with the Management API.
func (t *Tenant) Scopes(clientID string) []string {
	var granted []string
	t.withApplication(clientID, func(a *application) { granted = slices.Clone(a.grants[t.Audience()]) })
	return granted
}
