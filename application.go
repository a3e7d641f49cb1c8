package auth0secrets

import (
	"context"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// Scopes of the Management API that the engine uses: see requirements.Scopes.
const (
	scopeUpdateClientKeys = auth0.ScopeUpdateClientKeys
	scopeReadClients      = auth0.ScopeReadClients
	scopeReadClientKeys   = auth0.ScopeReadClientKeys
)

// examineApplication reads the application of a new role, unless it is known, and
// refuses one that cannot be a role. It warns of what it could not see: absent never
// means no. It returns nil if the token may not read applications.
func examineApplication(
	ctx context.Context, api managementAPI, role *roleEntry, known *auth0.Application,
) (*auth0.Application, []string, error) {
	clientID, unfit := role.ClientID, requirements.Unfit
	if role.keys() {
		unfit = requirements.UnfitForKeys
	}
	app, err := known, error(nil)
	if app == nil {
		app, err = api.Application(ctx, clientID)
	}
	switch {
	case auth0.HasCode(err, auth0.CodeUnknownApplication):
		return nil, nil, badRequest("application %q does not exist in the tenant: check %s", clientID, fieldClientID)
	case auth0.HasCode(err, auth0.CodeInsufficientScope):
		return nil, []string{"the application could not be checked: the engine's grant has neither " +
			scopeReadClients + " nor " + scopeReadClientKeys}, nil
	case err != nil:
		return nil, nil, err
	}
	if reason := unfit(app); reason != "" {
		return nil, nil, badRequest("application %q cannot be a role: %s", clientID, reason)
	}
	if role.keys() { // it would be refused otherwise
		return app, nil, nil
	}
	return app, append(requirements.Unchecked(app), requirements.SideEffects(app, role.SecretSource == rotation.Auth0)...), nil
}
