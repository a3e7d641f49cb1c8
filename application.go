package auth0secrets

import (
	"context"
	"errors"
	"slices"
	"strings"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// Scopes of the Management API that the engine uses, and what for.
const (
	scopeUpdateClientKeys = "update:client_keys" // set and rotate client secrets
	scopeReadClients      = "read:clients"       // see what kind of application a role is for
	scopeReadClientKeys   = "read:client_keys"   // read client secrets: import, recovery, drift

	// scopeReadClientCredentials lets client secrets be read, too, and the keys of
	// private_key_jwt.
	scopeReadClientCredentials = "read:client_credentials"
)

// Auth0's codes of refusals that mean something to the engine.
const (
	codeUnknownApplication = "inexistent_client"
	codeInsufficientScope  = "insufficient_scope"
	codeInvalidBody        = "invalid_body"
)

func hasCode(err error, code string) bool {
	var upstream *auth0.Error
	return errors.As(err, &upstream) && upstream.Class == auth0.Refused && upstream.Code == code
}

// publicAppTypes are the kinds of application that have no client secret.
var publicAppTypes = []string{"spa", "native"}

// examineApplication reads the application that a role is to be made of, and
// says whether it can be one. What could not be seen is in the warnings, never
// taken for a no. The application is nil if the token may not read any. One
// that is known already is not read again.
func examineApplication(
	ctx context.Context, api managementAPI, clientID string, source secretSource, known *auth0.Application,
) (*auth0.Application, []string, error) {
	app, err := known, error(nil)
	if app == nil {
		app, err = api.Application(ctx, clientID)
	}
	switch {
	case hasCode(err, codeUnknownApplication):
		return nil, nil, badRequest("application %q does not exist in the tenant: check %s", clientID, fieldClientID)
	case hasCode(err, codeInsufficientScope):
		return nil, []string{"the application could not be checked: the engine's grant has neither " +
			scopeReadClients + " nor " + scopeReadClientKeys}, nil
	case err != nil:
		return nil, nil, err
	}
	if reason := unfit(app); reason != "" {
		return nil, nil, badRequest("application %q cannot be a role: %s", clientID, reason)
	}
	return app, append(uncheckedWarnings(app), sideEffectWarnings(app, source)...), nil
}

// unfit is why the application's client secret cannot be rotated; "" if
// nothing speaks against it.
func unfit(app *auth0.Application) string {
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

// uncheckedWarnings name what the token's scopes do not let the engine see.
func uncheckedWarnings(app *auth0.Application) []string {
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
		scopeReadClients + " to let it check"}
}

// sideEffectWarnings say what else a rotation changes.
func sideEffectWarnings(app *auth0.Application, source secretSource) []string {
	var warnings []string
	if jwt := app.JWTConfiguration; jwt != nil {
		if jwt.Alg == "HS256" {
			warnings = append(warnings, "the application's ID tokens are signed with its client secret (jwt_configuration.alg HS256): "+
				"each rotation changes their signing key, and tokens signed with the earlier one no longer verify")
		}
		if source == sourceAuth0 && secretEncoded(app) {
			warnings = append(warnings, "the application expects a base64-encoded client secret (jwt_configuration.secret_encoded), "+
				"but Auth0 makes an unencoded one: use "+fieldSecretSource+"="+string(sourceVault))
		}
	}
	return warnings
}

func secretEncoded(app *auth0.Application) bool {
	return app != nil && app.JWTConfiguration != nil && app.JWTConfiguration.SecretEncoded != nil && *app.JWTConfiguration.SecretEncoded
}
