package auth0secrets

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/rotation"
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
	fieldRoles         = "roles"
	fieldPhases        = "phases"
	fieldOverdue       = "overdue"
	fieldFailing       = "failing"
	fieldDrifted       = "drifted"
	fieldServingSince  = "serving_since"
	fieldTokenExpires  = "management_token_expires_at"
	fieldRateLimit     = "rate_limit"
	fieldRateLimitLeft = "rate_limit_remaining"
	fieldRateReset     = "rate_limit_reset"

	descRoles         = "How many roles there are."
	descPhases        = "How many roles are in each phase."
	descOverdue       = "How many roles have a step of a rotation that is due and not done."
	descFailing       = "Of each role whose last attempt at Auth0 failed: last_error, failures and retry_at."
	descNextOfAll     = "When the next rotation of any role takes effect. Absent when none is planned."
	descDrifted       = "Of each role whose present secret was set outside Vault: when it was found."
	descServingSince  = "When this process began to serve the mount. Staged rotations wait a whole ttl from then."
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
				fieldRoles:             required(intField(descRoles)),
				fieldPhases:            required(mapField(descPhases)),
				fieldOverdue:           required(intField(descOverdue)),
				fieldFailing:           required(mapField(descFailing)),
				fieldDriftDetection:    required(stringField(descDriftDetection)),
				fieldDrifted:           required(mapField(descDrifted)),
				fieldNextVaultRotation: timeField(descNextOfAll),
				fieldDisableRotation:   required(boolField(descDisableMount, false)),
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
	mount, err := b.loadMount(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	count := newRoleCount(b.now(), mount)
	names, unreadable, err := b.eachRole(ctx, req.Storage, count.add)
	if err != nil {
		return nil, err
	}
	count.total = len(names)
	maps.Copy(count.failing, unreadable)
	data := count.data()
	data[fieldDisableRotation] = mount.Paused
	data[fieldServingSince] = inRFC3339(b.served.servingSince)
	data[fieldDriftDetection] = string(b.driftDetection())
	if conn := b.connection.Load(); conn != nil {
		upstreamStatusData(conn.api, data)
	}
	return &logical.Response{Data: data}, nil
}

// roleCount sums up roles.
type roleCount struct {
	now     time.Time
	mount   mountSettings
	total   int
	phases  map[string]any
	overdue int
	failing map[string]any
	drifted map[string]any
	next    time.Time
}

func newRoleCount(now time.Time, mount mountSettings) *roleCount {
	return &roleCount{
		now: now, mount: mount, failing: map[string]any{}, drifted: map[string]any{},
		phases: map[string]any{string(rotation.Steady): 0, string(rotation.Staged): 0, string(rotation.Propagating): 0},
	}
}

func (c *roleCount) add(name string, set *servedSet) {
	view := set.view(c.mount, c.now)
	phase := string(view.Phase)
	c.phases[phase] = c.phases[phase].(int) + 1 //nolint:forcetypeassert // see newRoleCount
	if view.Overdue {
		c.overdue++
	}
	if view.LastError != "" {
		c.failing[name] = failureData(view)
	}
	if !view.DriftedAt.IsZero() {
		c.drifted[name] = inRFC3339(view.DriftedAt)
	}
	if at := view.NextRotation; !at.IsZero() && (c.next.IsZero() || at.Before(c.next)) {
		c.next = at
	}
}

func (c *roleCount) data() map[string]any {
	data := map[string]any{fieldRoles: c.total, fieldPhases: c.phases, fieldOverdue: c.overdue, fieldFailing: c.failing, fieldDrifted: c.drifted}
	if !c.next.IsZero() {
		data[fieldNextVaultRotation] = inRFC3339(c.next)
	}
	return data
}

// upstreamStatusData adds what is known of the Management API.
func upstreamStatusData(api managementAPI, data map[string]any) {
	if expires := api.TokenExpiresAt(); !expires.IsZero() {
		data[fieldTokenExpires] = inRFC3339(expires)
	}
	limit := api.RateLimit()
	if limit.SeenAt.IsZero() {
		return
	}
	if limit.Limit >= 0 {
		data[fieldRateLimit] = limit.Limit
	}
	if limit.Remaining >= 0 {
		data[fieldRateLimitLeft] = limit.Remaining
	}
	if !limit.Reset.IsZero() {
		data[fieldRateReset] = inRFC3339(limit.Reset)
	}
}
