package auth0secrets

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	pathTokensSynopsis    = "Get a Management API access token, with a lease."
	pathTokensDescription = `
Gets a new access token from Auth0 with the scopes of the token role. Its lease
lasts as long as the token, at most as long as the mount allows, and cannot be
renewed: read again.

Auth0 cannot revoke an access token: revoking the lease only makes Vault forget
it, and the token stays valid until expires_at.`

	// secretTypeToken is the type of the leases of tokens/.
	secretTypeToken = "auth0_management_token"

	fieldAccessToken = "access_token"
	fieldTokenType   = "token_type"
	fieldExpiresAt   = "expires_at"

	descAccessToken = "The access token: to be sent as Authorization: Bearer."
	descTokenType   = "Always Bearer."
	descTokenScopes = "Scopes of the token: those of the token role."
	descExpiresAt   = "When the token expires. Until then it is valid, whatever becomes of its lease."
	descTokenAud    = "Base URL of the Management API, which is the token's audience."

	// unknownLifetime is the lease of a token that does not say how long it lives.
	unknownLifetime = 5 * time.Minute
)

func (b *backend) pathTokens() []*framework.Path {
	return []*framework.Path{{
		Pattern:      "tokens/" + framework.GenericNameRegex(fieldName) + "$",
		DisplayAttrs: namedVerb("get", "management-token"),
		Fields:       fieldSchemas{fieldName: stringField(descTokenRoleName)},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: readsActive(b.tokenRead, pathTokensSynopsis, answersWith(fieldSchemas{
				fieldAccessToken: required(sensitiveField(descAccessToken)),
				fieldTokenType:   required(stringField(descTokenType)),
				fieldScopes:      required(listField(descTokenScopes)),
				fieldExpiresAt:   timeField(descExpiresAt),
				fieldDomain:      required(stringField(descDomain)),
				fieldAudience:    required(stringField(descTokenAud)),
			}, exampleToken)),
		},
		HelpSynopsis:    pathTokensSynopsis,
		HelpDescription: strings.TrimSpace(pathTokensDescription),
	}}
}

func (b *backend) tokenRead(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name := d.Get(fieldName).(string)
	role, err := readEntry[tokenRoleEntry](ctx, req.Storage, storageTokenRoles+name)
	if err != nil {
		return nil, err
	}
	if role == nil {
		return nil, unknownTokenRole(name)
	}
	conn, err := b.connect(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	token, err := b.newToken(ctx, req.Storage, conn, role)
	if err != nil {
		return nil, err
	}
	if err := fitsTokenRole(role, token); err != nil {
		return nil, err
	}
	data := map[string]any{
		fieldAccessToken: token.Value, fieldTokenType: "Bearer", fieldScopes: token.Scopes,
		fieldDomain: conn.config.Domain, fieldAudience: conn.config.audience(),
	}
	lease, until := unknownLifetime, "it expires"
	if !token.ExpiresAt.IsZero() {
		lease = max(token.ExpiresAt.Sub(b.now()), time.Second).Truncate(time.Second)
		until = inRFC3339(token.ExpiresAt)
		data[fieldExpiresAt] = until
	}
	resp := b.Secret(secretTypeToken).Response(data, nil)
	resp.Secret.TTL, resp.Secret.MaxTTL = lease, lease
	b.counters.tokens.Add(1)
	b.readEvent(ctx, eventTokenCreate, req.Path, fieldScopes, strings.Join(token.Scopes, " "))
	resp.AddWarning("Auth0 cannot revoke an access token: revoking the lease does not end it, it is valid until " + until)
	return resp, nil
}
