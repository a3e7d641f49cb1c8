package auth0

import (
	"net/http"
	"slices"
	"strings"
)

// Endpoint is an endpoint of Auth0 that the client uses. Every request is made of one.
type Endpoint struct {
	Method string
	Path   string   // below https://<domain>
	Scopes []string // of the Management API, one of which is needed; none: it needs no token
}

// name is what is counted.
func (e *Endpoint) name() string { return e.Method + " " + e.Path }

// lacking says that a token has not the scopes for the endpoint.
func (e *Endpoint) lacking() string {
	if len(e.Scopes) == 1 {
		return reasonScope + ": " + e.Scopes[0]
	}
	return reasonScope + ": one of " + strings.Join(e.Scopes, ", ")
}

// Scopes of the Management API.
const (
	ScopeReadClients           = "read:clients"
	ScopeReadClientKeys        = "read:client_keys"
	ScopeReadClientCredentials = "read:client_credentials"
	ScopeUpdateClientKeys      = "update:client_keys"

	scopeCreateClientCredentials = "create:client_credentials"
	scopeUpdateClientCredentials = "update:client_credentials"
	scopeDeleteClientCredentials = "delete:client_credentials"
)

var readScopes = []string{ScopeReadClients, ScopeReadClientKeys, ScopeReadClientCredentials}

// KeyScopes are those that registering, enabling and removing keys needs.
var KeyScopes = []string{
	ScopeReadClientCredentials, scopeCreateClientCredentials, scopeUpdateClientCredentials, scopeDeleteClientCredentials,
}

const (
	pathClients     = "/api/v2/clients"
	pathClient      = pathClients + "/{id}"
	pathCredentials = pathClient + "/credentials"
)

var (
	endpointToken        = &Endpoint{Method: http.MethodPost, Path: "/oauth/token"}
	endpointRevoke       = &Endpoint{Method: http.MethodPost, Path: "/oauth/revoke"}
	endpointApplications = &Endpoint{http.MethodGet, pathClients, readScopes}
	endpointApplication  = &Endpoint{http.MethodGet, pathClient, readScopes}
	endpointSetSecret    = &Endpoint{http.MethodPatch, pathClient, []string{ScopeUpdateClientKeys}}
	endpointRotateSecret = &Endpoint{http.MethodPost, pathClient + "/rotate-secret", []string{ScopeUpdateClientKeys}}

	endpointCredentials      = &Endpoint{http.MethodGet, pathCredentials, []string{ScopeReadClientCredentials}}
	endpointCreateCredential = &Endpoint{http.MethodPost, pathCredentials, []string{scopeCreateClientCredentials}}
	endpointEnableKeys       = &Endpoint{http.MethodPatch, pathClient, []string{scopeUpdateClientCredentials}}
	endpointDeleteCredential = &Endpoint{http.MethodDelete, pathCredentials + "/{credential}", []string{scopeDeleteClientCredentials}}
)

// endpoints are all that there are.
var endpoints = []*Endpoint{
	endpointToken, endpointRevoke, endpointApplications, endpointApplication, endpointSetSecret, endpointRotateSecret,
	endpointCredentials, endpointCreateCredential, endpointEnableKeys, endpointDeleteCredential,
}

// fieldGroup are fields of an application that the same scopes show.
type fieldGroup struct {
	fields []string
	scopes []string // one of them shows the fields
}

func (g fieldGroup) shownBy(granted []string) bool {
	return slices.ContainsFunc(g.scopes, func(scope string) bool { return slices.Contains(granted, scope) })
}

// CanReadSecrets says whether scopes let client secrets be read.
func CanReadSecrets(granted []string) bool { return secretFields.shownBy(granted) }

var (
	openFields    = fieldGroup{[]string{"client_id", "name", "app_type"}, readScopes}
	settingFields = fieldGroup{
		[]string{"global", "is_first_party", "token_endpoint_auth_method", "jwt_configuration"},
		[]string{ScopeReadClients, ScopeReadClientKeys},
	}
	secretFields = fieldGroup{
		[]string{"client_authentication_methods", "client_secret"},
		[]string{ScopeReadClientKeys, ScopeReadClientCredentials},
	}
	fieldGroups = []fieldGroup{openFields, settingFields, secretFields}

	// applicationFields are those of a client object that Application has.
	applicationFields = slices.Concat(openFields.fields, settingFields.fields, secretFields.fields)
)

// fieldsFor are the fields of an application to ask for with these scopes; nil scopes:
// unknown, so all. Some tenants refuse to be asked for one that the token may not read.
func fieldsFor(granted []string) []string {
	if granted == nil {
		return applicationFields
	}
	fields := slices.Clone(openFields.fields)
	for _, group := range []fieldGroup{settingFields, secretFields} {
		if group.shownBy(granted) {
			fields = append(fields, group.fields...)
		}
	}
	return fields
}
