package auth0secrets

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	pathTokensSynopsis    = "Get an access token, with a lease."
	pathTokensDescription = `
Answers with an access token for the token role's API. Readers share one, unless
the token role says otherwise. It is good for min_ttl at least. While Auth0
cannot be reached, it may be good for as little as 30 s, and a warning says why.

Its lease lasts as long as the token, at most as long as the mount allows, and
cannot be renewed: read again. Auth0 cannot revoke an access token: revoking the
lease only makes Vault forget it, and the token stays valid until expires_at.`

	// secretTypeToken is the type of the leases of tokens/, which are for any API. The name is
	// of when there was the Management API only, and stays: a lease that exists is
	// revoked by its type, and one of an unknown type never could be.
	secretTypeToken = "auth0_management_token"

	fieldAccessToken = "access_token"
	fieldTokenType   = "token_type"
	fieldExpiresAt   = "expires_at"
	fieldExpiresIn   = "expires_in"

	descAccessToken = "The access token: to be sent as Authorization: Bearer."
	descTokenType   = "Always Bearer."
	descTokenScopes = "Scopes of the token. Where Auth0 does not say, those that were asked for."
	descExpiresAt   = "When the token expires. Until then it is valid, whatever becomes of its lease. Absent where Auth0 does not say."
	descExpiresIn   = "Seconds until the token expires. Absent where Auth0 does not say."
	// The Agents of OpenBao 2.7 and of older Vaults take whatever has metadata for an entry
	// of kv version 2, and one without a deletion_time for deleted.
	descTokenMetadata = "Metadata of the token role. Absent where there is none. Templates of OpenBao's Agent take an answer that has it for a deleted entry of kv: leave it empty for these."
	descTokenAud      = "Identifier of the API that the token is for."

	// unknownLifetime is the lease of a token that does not say how long it lives.
	unknownLifetime = 5 * time.Minute
)

func (b *backend) pathTokens() []*framework.Path {
	return []*framework.Path{{
		Pattern:      "tokens/" + framework.GenericNameRegex(fieldName) + "$",
		DisplayAttrs: namedVerb("get", "token"),
		Fields:       fieldSchemas{fieldName: stringField(descTokenRoleName)},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: readsActive(b.tokenRead, pathTokensSynopsis, answersWith(fieldSchemas{
				fieldAccessToken: required(sensitiveField(descAccessToken)),
				fieldTokenType:   required(stringField(descTokenType)),
				fieldScopes:      required(listField(descTokenScopes)),
				fieldExpiresAt:   timeField(descExpiresAt),
				fieldExpiresIn:   intField(descExpiresIn),
				fieldDomain:      required(stringField(descDomain)),
				fieldAudience:    required(stringField(descTokenAud)),
				fieldMetadata:    mapField(descTokenMetadata),
			}, exampleToken)),
		},
		HelpSynopsis:    pathTokensSynopsis,
		HelpDescription: strings.TrimSpace(pathTokensDescription),
	}}
}

func (b *backend) tokenRead(ctx context.Context, req *logical.Request, d *framework.FieldData) (resp *logical.Response, err error) {
	defer func() {
		if err != nil {
			b.counters.tokensRefused.Add(1)
		}
	}()
	name := d.Get(fieldName).(string)
	role, err := b.tokenRoles.get(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	conn, err := b.connect(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	token, err := b.token(ctx, req.Storage, conn, name, role)
	if err != nil {
		return nil, err
	}
	scopes := token.Scopes
	if scopes == nil { // RFC 6749: they are those that were asked for
		scopes = role.Scopes
	}
	data := map[string]any{
		fieldAccessToken: token.Value, fieldTokenType: "Bearer", fieldScopes: scopes,
		fieldDomain: conn.config.Domain, fieldAudience: cmp.Or(role.Audience, conn.config.audience()),
	}
	if len(role.Metadata) > 0 { // see descTokenMetadata
		data[fieldMetadata] = role.Metadata
	}
	lease := unknownLifetime
	if !token.ExpiresAt.IsZero() {
		lease = max(leftUntil(token.ExpiresAt, b.now()), time.Second).Truncate(time.Second)
		data[fieldExpiresAt], data[fieldExpiresIn] = inRFC3339(token.ExpiresAt), inSeconds(lease)
	}
	// Else Vault caps the lease, with a warning at each read, which hides the other one.
	if longest := time.Duration(b.maxLease.Load()); longest > 0 {
		lease = min(lease, longest)
	}
	resp = b.Secret(secretTypeToken).Response(data, nil)
	resp.Secret.TTL, resp.Secret.MaxTTL = lease, lease
	b.counters.tokens.Add(1)
	if token.Stale != nil {
		b.counters.tokensStale.Add(1)
		resp.AddWarning("there is no fresher token than this one, which was held: " + token.Stale.Error())
	}
	b.readEvent(ctx, eventTokenCreate, req.Path, fieldScopes, strings.Join(scopes, " "))
	return resp, nil
}
