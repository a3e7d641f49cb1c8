package auth0

import (
	"net/http"
	"slices"
	"strings"
)

// Endpoint is an endpoint of Auth0 that the client uses, and what for. The
// requests are made of these values, and the table in docs/auth0.md, too.
type Endpoint struct {
	Method string
	Path   string // below https://<domain>
	Sends  string // members of the body, or of the query
	Reads  string // members of the answer
	// Scopes of the Management API: AnyOf needs one of them; AllOf, all.
	AnyOf, AllOf []string
	Without      string // what happens without them
}

// lacking says that a token has not the scopes for the endpoint.
func (e *Endpoint) lacking() string {
	if e.AnyOf != nil {
		return reasonScope + ": one of " + strings.Join(e.AnyOf, ", ")
	}
	return reasonScope + ": " + strings.Join(e.AllOf, ", ")
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

var (
	endpointToken = &Endpoint{
		Method: http.MethodPost, Path: "/oauth/token",
		Sends: "`grant_type`, `client_id`, `client_secret` (or `client_assertion_type`, `client_assertion`), `audience`, `scope`",
		Reads: "`access_token`, `token_type`, `expires_in`, `scope`",
	}
	endpointApplications = &Endpoint{
		Method: http.MethodGet, Path: "/api/v2/clients",
		Sends: "`page`, `per_page`, `include_totals`, `include_fields`, `fields`", Reads: "`total`, `clients`: see the fields below",
		AnyOf: readScopes, Without: "`applications` and `roles-import` are refused",
	}
	endpointApplication = &Endpoint{
		Method: http.MethodGet, Path: "/api/v2/clients/{id}",
		Sends: "`include_fields`, `fields`", Reads: "see the fields below",
		AnyOf: readScopes, Without: "a role is made without a check, which a warning says; it needs `client_secret` or `skip_import`",
	}
	endpointSetSecret = &Endpoint{
		Method: http.MethodPatch, Path: "/api/v2/clients/{id}",
		Sends: "`client_secret`", Reads: "`client_id`, and `client_secret` if it is shown",
		AllOf: []string{ScopeUpdateClientKeys}, Without: "no secret can be rotated: `config` is refused",
	}
	endpointRotateSecret = &Endpoint{
		Method: http.MethodPost, Path: "/api/v2/clients/{id}/rotate-secret",
		Sends: "nothing", Reads: "`client_id`, and `client_secret` if it is shown; else the engine sets one of its own",
		AllOf: []string{ScopeUpdateClientKeys}, Without: "no secret can be rotated: `config` is refused",
	}
	endpointCredentials = &Endpoint{
		Method: http.MethodGet, Path: "/api/v2/clients/{id}/credentials",
		Sends: "nothing", Reads: "`id`, `kid` of each",
		AllOf: []string{ScopeReadClientCredentials}, Without: withoutKeyScope,
	}
	endpointCreateCredential = &Endpoint{
		Method: http.MethodPost, Path: "/api/v2/clients/{id}/credentials",
		Sends: "`credential_type`, `name`, `pem`, `alg`, `kid`", Reads: "`id`",
		AllOf: []string{scopeCreateClientCredentials}, Without: withoutKeyScope,
	}
	endpointEnableKeys = &Endpoint{
		Method: http.MethodPatch, Path: "/api/v2/clients/{id}",
		Sends: "`client_authentication_methods`", Reads: "`client_id`",
		AllOf: []string{scopeUpdateClientCredentials}, Without: withoutKeyScope,
	}
	endpointDeleteCredential = &Endpoint{
		Method: http.MethodDelete, Path: "/api/v2/clients/{id}/credentials/{credential}",
		Sends: "nothing", Reads: "nothing",
		AllOf: []string{scopeDeleteClientCredentials}, Without: withoutKeyScope,
	}
)

const withoutKeyScope = "`rotate-root` cannot replace the engine's key"

// endpoints are all that there are.
var endpoints = [...]*Endpoint{
	endpointToken, endpointApplications, endpointApplication, endpointSetSecret, endpointRotateSecret,
	endpointCredentials, endpointCreateCredential, endpointEnableKeys, endpointDeleteCredential,
}

// fieldGroup are fields of an application that the same scopes show.
type fieldGroup struct {
	fields  []string
	scopes  []string // one of them shows the fields
	without string   // what happens without them
}

func (g fieldGroup) shownBy(granted []string) bool {
	return slices.ContainsFunc(g.scopes, func(scope string) bool { return slices.Contains(granted, scope) })
}

// CanReadSecrets says whether scopes let client secrets be read.
func CanReadSecrets(granted []string) bool { return secretFields.shownBy(granted) }

var (
	openFields = fieldGroup{
		fields: []string{"client_id", "name", "app_type"}, scopes: readScopes,
		without: "a role is made without a check, which a warning says",
	}
	settingFields = fieldGroup{
		fields: []string{"global", "is_first_party", "token_endpoint_auth_method", "jwt_configuration"},
		scopes: []string{ScopeReadClients, ScopeReadClientKeys},
		without: "whether the application is fit to be a role, third-party, or signs ID tokens with its secret is checked in part, " +
			"which a warning says",
	}
	secretFields = fieldGroup{
		fields: []string{"client_authentication_methods", "client_secret"}, scopes: []string{ScopeReadClientKeys, ScopeReadClientCredentials},
		without: "a new role needs `client_secret` or `skip_import`; drift is not seen",
	}
	fieldGroups = []fieldGroup{openFields, settingFields, secretFields}

	// applicationFields are those of a client object that Application has.
	applicationFields = slices.Concat(openFields.fields, settingFields.fields, secretFields.fields)
)

// fieldsFor are the fields of an application to ask for with these scopes; nil
// scopes: unknown, so all. To ask for one that the token may not read is refused
// by some tenants.
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

// Table is what the client asks of Auth0, as two tables of Markdown: endpoints,
// and fields of applications.
func Table() string {
	var b strings.Builder
	b.WriteString("| endpoint | what is sent | what is read | scope | without it |\n|---|---|---|---|---|\n")
	for _, e := range endpoints {
		scope, without := "none", ""
		switch {
		case e.AnyOf != nil:
			scope, without = quoted(e.AnyOf, " or "), e.Without
		case e.AllOf != nil:
			scope, without = quoted(e.AllOf, " and "), e.Without
		}
		b.WriteString("| " + strings.Join([]string{"`" + e.Method + " " + e.Path + "`", e.Sends, e.Reads, scope, without}, " | ") + " |\n")
	}
	b.WriteString("\n| fields of an application | scope, one of | without it |\n|---|---|---|\n")
	for _, g := range fieldGroups {
		b.WriteString("| " + quoted(g.fields, ", ") + " | " + quoted(g.scopes, ", ") + " | " + g.without + " |\n")
	}
	return b.String()
}

func quoted(names []string, between string) string {
	return "`" + strings.Join(names, "`"+between+"`") + "`"
}
