package auth0secrets

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	pathStatusSynopsis    = "See how the rotations of the whole mount are doing."
	pathStatusDescription = `
Counts the roles by phase, names those whose last attempt at Auth0 failed and
why, and shows what is known of the Management API: until when the token at hand
is valid, and the rate limit as last seen. Reading it never calls Auth0. Alert on
overdue, failing and drifted.`
)

const (
	fieldConfigured    = "configured"
	fieldRoles         = "roles"
	fieldPaused        = "paused"
	fieldPhases        = "phases"
	fieldOverdue       = "overdue"
	fieldFailing       = "failing"
	fieldDrifted       = "drifted"
	fieldTokens        = "tokens"
	fieldServingSince  = "serving_since"
	fieldTokenExpires  = "management_token_expires_at"
	fieldRateLimit     = "rate_limit"
	fieldRateLimitLeft = "rate_limit_remaining"
	fieldRateReset     = "rate_limit_reset"

	descConfigured    = "Whether the mount is configured. While it is not, nothing is rotated."
	descPaused        = "How many roles are paused: disable_automated_rotation is set for them, or for the whole mount."
	descRoles         = "How many roles there are."
	descPhases        = "How many roles are in each phase."
	descOverdue       = "How many roles have a step of a rotation that is due and not done."
	descFailing       = "Of each role whose last attempt at Auth0 failed, the rate limit aside: last_error, failures and retry_at."
	descNextOfAll     = "When the next rotation of any role takes effect. Absent when none is planned."
	descDrifted       = "Of each role whose present secret was set outside Vault, or whose present key was removed there: when that was found."
	descTokens        = "Access tokens since this process began: issued by Auth0 (the engine's own included), handed_out at tokens/, stale (those of them that were held already, because Auth0 gave no fresher one), and refused (reads of tokens/ that brought none)."
	descServingSince  = "When this process began to serve the mount. Staged rotations wait a whole ttl from then, those of keys a propagation_delay."
	descTokenExpires  = "When the Management API token at hand expires. Absent when there is none."
	descRateLimit     = "The Management API's rate limit as last seen. Absent when none was."
	descRateLimitLeft = "How many requests the rate limit had left then."
	descRateReset     = "When the rate limit starts anew, as last seen."
)

func (b *backend) pathStatus() []*framework.Path {
	return []*framework.Path{{
		Pattern:      "status$",
		DisplayAttrs: named("status"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: readsActive(b.statusRead, pathStatusSynopsis, answersWith(fieldSchemas{
				fieldConfigured:        required(boolField(descConfigured, false)),
				fieldRoles:             required(intField(descRoles)),
				fieldPaused:            required(intField(descPaused)),
				fieldPhases:            required(mapField(descPhases)),
				fieldOverdue:           required(intField(descOverdue)),
				fieldFailing:           required(mapField(descFailing)),
				fieldDriftDetection:    required(stringField(descDriftDetection)),
				fieldDrifted:           required(mapField(descDrifted)),
				fieldNextVaultRotation: timeField(descNextOfAll),
				fieldDisableRotation:   required(boolField(descDisableMount, false)),
				fieldTokens:            required(mapField(descTokens)),
				fieldServingSince:      required(timeField(descServingSince)),
				fieldTokenExpires:      timeField(descTokenExpires),
				fieldRateLimit:         intField(descRateLimit),
				fieldRateLimitLeft:     intField(descRateLimitLeft),
				fieldRateReset:         timeField(descRateReset),
			}, exampleStatus)),
		},
		HelpSynopsis:    pathStatusSynopsis,
		HelpDescription: strings.TrimSpace(pathStatusDescription),
	}}
}

func (b *backend) statusRead(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	data, err := b.status(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: data}, nil
}
