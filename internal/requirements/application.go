package requirements

import (
	"strings"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// AppTypeNotSet stands for an app_type that is not set, as in most applications that
// were made by API or Terraform.
const AppTypeNotSet = "not_set"

// AppType is the application's app_type, or AppTypeNotSet.
func AppType(app *auth0.Application) string {
	if app.AppType == "" {
		return AppTypeNotSet
	}
	return app.AppType
}

// ThirdParty says whether the application is known to belong to somebody else than
// the tenant's owner.
func ThirdParty(app *auth0.Application) bool { return app.IsFirstParty != nil && !*app.IsFirstParty }

// PerhapsThirdParty is why an application may belong to somebody else; "": it does not.
func PerhapsThirdParty(app *auth0.Application) string {
	switch {
	case ThirdParty(app):
		return "it is a third-party application"
	case app.Hides("is_first_party"):
		return "it may be a third-party application: the engine may not see that"
	}
	return ""
}

// Unfit is why the application's client secret cannot be rotated; "": it can.
func Unfit(app *auth0.Application) string {
	switch {
	case app.Global != nil && *app.Global:
		return "it is the tenant's global client"
	case app.AppType == "spa", app.AppType == "native":
		return "it is public (app_type " + app.AppType + "), so it has no client secret to rotate"
	case app.AppType == "express_configuration": // it authenticates by keys alone
		return "it has no client secret to rotate (app_type " + app.AppType + ")"
	case app.TokenEndpointAuthMethod != nil && *app.TokenEndpointAuthMethod == "none":
		return "it is public (token_endpoint_auth_method none), so it has no client secret to rotate"
	}
	if _, ok := app.ClientAuthenticationMethods["private_key_jwt"]; ok {
		return "it authenticates by private_key_jwt, not by a client secret: its role is one with credential_type=private_key"
	}
	for method := range app.ClientAuthenticationMethods {
		if strings.Contains(method, "tls_client_auth") {
			return "it authenticates by a TLS client certificate, not by a client secret"
		}
	}
	return ""
}

// UnfitForKeys is why the application's keys cannot be rotated; "": they can.
func UnfitForKeys(app *auth0.Application) string {
	if app.Global != nil && *app.Global {
		return "it is the tenant's global client"
	}
	if _, ok := app.ClientAuthenticationMethods["private_key_jwt"]; ok {
		return ""
	}
	if app.Hides("client_authentication_methods") {
		return "Auth0 did not show how it authenticates: grant " + auth0.ScopeReadClientCredentials + " to the engine's application"
	}
	return "it does not authenticate by private_key_jwt: in Auth0, register a key of its own under Credentials, and choose Private Key JWT. Or leave out credential_type"
}

// Unchecked names what the token's scopes do not show. That says nothing of the
// application; what they show and is absent is simply not set.
func Unchecked(app *auth0.Application) []string {
	var unseen, warnings []string
	for _, field := range []string{"app_type", "token_endpoint_auth_method", "global", "is_first_party", "jwt_configuration"} {
		if app.Hides(field) {
			unseen = append(unseen, field)
		}
	}
	if len(unseen) > 0 {
		warnings = append(warnings, "Auth0 did not show "+strings.Join(unseen, ", ")+
			" of the application, so the engine could not check that it has a client secret of its own, nor what else a rotation changes. Grant "+
			auth0.ScopeReadClients+" to let it check")
	}
	// One that has a method by secret has none by key.
	if app.Hides("client_authentication_methods") && !app.Hides("token_endpoint_auth_method") && app.TokenEndpointAuthMethod == nil {
		warnings = append(warnings, "Auth0 did not show client_authentication_methods of the application, so the engine could not check "+
			"that it logs in by a secret, and not by a key. Grant "+auth0.ScopeReadClientKeys+" to let it check")
	}
	return warnings
}

// SideEffects say what else a rotation changes, and whether somebody else may own the
// application. auth0Makes: Auth0 makes the secrets (secret_source=auth0).
func SideEffects(app *auth0.Application, auth0Makes bool) []string {
	var warnings []string
	if ThirdParty(app) {
		warnings = append(warnings, "it is a third-party application (is_first_party false): somebody else may own it, and has to learn of each new secret")
	}
	if alg, signs := signsByHS256(app); signs {
		warnings = append(warnings, "the application's ID tokens are signed with its client secret ("+alg+"): "+
			"each rotation changes their signing key, and tokens signed with the earlier one no longer verify")
	}
	if auth0Makes && SecretEncoded(app) {
		warnings = append(warnings, "the application expects a base64-encoded client secret (jwt_configuration.secret_encoded), "+
			"but Auth0 makes an unencoded one: use secret_source=vault")
	}
	return warnings
}

// signsByHS256 says whether the client secret is the key of ID tokens: by the
// setting, or because there is none.
func signsByHS256(app *auth0.Application) (how string, signs bool) {
	switch {
	case app.Hides("jwt_configuration"):
		return "", false
	case app.JWTConfiguration == nil, app.JWTConfiguration.Alg == "":
		return "jwt_configuration.alg is not set, which means HS256", true
	}
	return "jwt_configuration.alg HS256", app.JWTConfiguration.Alg == "HS256"
}

// SecretEncoded says whether the application is known to take its secret for
// base64.
func SecretEncoded(app *auth0.Application) bool {
	return app != nil && app.JWTConfiguration != nil && app.JWTConfiguration.SecretEncoded != nil && *app.JWTConfiguration.SecretEncoded
}
