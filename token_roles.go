package auth0secrets

import (
	"context"
	"regexp"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
)

// storageTokenRoles is where token roles are stored. They hold no secrets.
//
//	token-role/<name>  {"format":1,"scopes":["read:users"],"role":"user-reader"}
const storageTokenRoles = "token-role/"

// tokenRoleEntry is a stored token role.
type tokenRoleEntry struct {
	storedFormat
	Scopes []string `json:"scopes"`
	Role   string   `json:"role,omitempty"` // by whose application tokens are got; "": the engine's own
}

// scopePattern is a scope by RFC 6749.
var scopePattern = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)

// checkTokenRole refuses a token role for which Auth0 would not grant a token.
func (b *backend) checkTokenRole(ctx context.Context, storage logical.Storage, role *tokenRoleEntry) (warnings []string, err error) {
	if len(role.Scopes) == 0 {
		return nil, badRequest("%s is missing: those that the tokens are to carry, such as read:users", fieldScopes)
	}
	for _, scope := range role.Scopes {
		if !scopePattern.MatchString(scope) {
			return nil, badRequest("%q is not a scope: give them as a list, or separated by commas", scope)
		}
	}
	conn, err := b.connect(ctx, storage)
	if err != nil {
		return nil, err
	}
	token, err := b.newToken(ctx, storage, conn, role)
	if err != nil {
		return nil, err
	}
	if err := lacksScopes(role, token); err != nil {
		return nil, err
	}
	if err := fitsTokenRole(role, token); err != nil {
		warnings = append(warnings, "it is stored, but as things are now no token can be handed out: "+err.Error())
	}
	return warnings, nil
}

// newToken gets a new token for the token role.
func (b *backend) newToken(ctx context.Context, storage logical.Storage, conn *connection, role *tokenRoleEntry) (auth0.AccessToken, error) {
	if role.Role == "" {
		return conn.api.NewToken(ctx, role.Scopes)
	}
	set, err := b.lookUp(ctx, storage, role.Role)
	if err != nil {
		return auth0.AccessToken{}, err
	}
	served, _ := set.role.Rotation.Served(set.clock(b.now()))
	settings := b.clientSettings(conn.config)
	settings.ClientID, settings.Secrets, settings.SigningAlgorithm = set.role.ClientID, inClear(served), ""
	api, err := b.newAPI(settings)
	if err != nil {
		return auth0.AccessToken{}, err
	}
	defer api.Close()
	return api.NewToken(ctx, role.Scopes)
}

func lacksScopes(role *tokenRoleEntry, token auth0.AccessToken) error {
	missing := requirements.Missing(role.Scopes, token.Scopes)
	if token.Scopes == nil || len(missing) == 0 {
		return nil
	}
	grantee := "the engine's application"
	if role.Role != "" {
		grantee = "the application of role " + role.Role
	}
	return badRequest("the grant of %s lacks %s: grant it in Auth0, or leave it out of %s", grantee, strings.Join(missing, ", "), fieldScopes)
}

// fitsTokenRole refuses a token with other scopes than the token role's.
func fitsTokenRole(role *tokenRoleEntry, token auth0.AccessToken) error {
	if token.Scopes == nil {
		return badRequest("Auth0 did not say which scopes the token carries, so it was not handed out")
	}
	if err := lacksScopes(role, token); err != nil {
		return err
	}
	if more := requirements.Missing(token.Scopes, role.Scopes); len(more) > 0 {
		return badRequest("Auth0 granted more than the token role's scopes (%s), so the token was not handed out. "+
			"It grants all that an application has, whatever is asked for, unless an Action of the tenant takes some away: "+
			"make an application that is granted just these scopes, make a role of it, and name that as %s", strings.Join(more, ", "), fieldRole)
	}
	return nil
}
