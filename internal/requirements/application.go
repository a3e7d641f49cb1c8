package requirements

import (
	"slices"
	"strings"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// publicAppTypes are the kinds of application that have no client secret.
var publicAppTypes = []string{"spa", "native"}

// Unfit is why the application's client secret cannot be rotated; "" if
// nothing speaks against it.
func Unfit(app *auth0.Application) string {
	switch {
	case app.Global != nil && *app.Global:
		return "it is the tenant's global client"
	case slices.Contains(publicAppTypes, app.AppType):
		return "it is public (app_type " + app.AppType + "), so it has no client secret to rotate"
	case app.TokenEndpointAuthMethod != nil && *app.TokenEndpointAuthMethod == "none":
		return "it is public (token_endpoint_auth_method none), so it has no client secret to rotate"
	}
	if _, ok := app.ClientAuthenticationMethods["private_key_jwt"]; ok {
		return "it authenticates by private_key_jwt, not by a client secret"
	}
	for method := range app.ClientAuthenticationMethods {
		if strings.Contains(method, "tls_client_auth") {
			return "it authenticates by a TLS client certificate (" + method + "), not by a client secret"
		}
	}
	return ""
}

// Unchecked names what the token's scopes did not let anybody see: never taken
// for a no.
func Unchecked(app *auth0.Application) []string {
	var unseen []string
	if app.AppType == "" {
		unseen = append(unseen, "app_type")
	}
	if app.TokenEndpointAuthMethod == nil && app.ClientAuthenticationMethods == nil {
		unseen = append(unseen, "token_endpoint_auth_method")
	}
	if app.Global == nil {
		unseen = append(unseen, "global")
	}
	if len(unseen) == 0 {
		return nil
	}
	return []string{"Auth0 did not show " + strings.Join(unseen, ", ") +
		" of the application, so the engine could not check that it has a client secret of its own. Grant " +
		ScopeReadClients + " to let it check"}
}

// SideEffects say what else a rotation changes. auth0Makes: Auth0 is to make
// the secrets (secret_source=auth0).
func SideEffects(app *auth0.Application, auth0Makes bool) []string {
	var warnings []string
	if jwt := app.JWTConfiguration; jwt != nil {
		if jwt.Alg == "HS256" {
			warnings = append(warnings, "the application's ID tokens are signed with its client secret (jwt_configuration.alg HS256): "+
				"each rotation changes their signing key, and tokens signed with the earlier one no longer verify")
		}
		if auth0Makes && SecretEncoded(app) {
			warnings = append(warnings, "the application expects a base64-encoded client secret (jwt_configuration.secret_encoded), "+
				"but Auth0 makes an unencoded one: use secret_source=vault")
		}
	}
	return warnings
}

// SecretEncoded says whether the application is known to take its secret for
// base64.
func SecretEncoded(app *auth0.Application) bool {
	return app != nil && app.JWTConfiguration != nil && app.JWTConfiguration.SecretEncoded != nil && *app.JWTConfiguration.SecretEncoded
}
