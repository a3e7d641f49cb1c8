package auth0secrets

import (
	"context"
	"maps"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/rotation"
)

// status is how the rotations of the whole mount are doing, from memory as far as
// it is loaded.
func (b *backend) status(ctx context.Context, storage logical.Storage) (map[string]any, error) {
	count, err := b.countRoles(ctx, storage)
	if err != nil {
		return nil, err
	}
	data := count.data()
	data[fieldConfigured] = count.mount.Configured
	data[fieldDisableRotation] = count.mount.Paused
	data[fieldServingSince] = inRFC3339(b.served.servingSince)
	data[fieldDriftDetection] = string(b.driftDetection())
	if conn := b.connection.Load(); conn != nil {
		upstreamStatusData(conn.api, data)
	}
	return data, nil
}

// countRoles sums up all roles.
func (b *backend) countRoles(ctx context.Context, storage logical.Storage) (*roleCount, error) {
	mount, err := b.loadMount(ctx, storage)
	if err != nil {
		return nil, err
	}
	count := newRoleCount(b.now(), mount)
	names, unreadable, err := b.eachRole(ctx, storage, count.add)
	if err != nil {
		return nil, err
	}
	count.total = len(names)
	maps.Copy(count.failing, unreadable)
	return count, nil
}

// roleCount sums up roles.
type roleCount struct {
	now     time.Time
	mount   mountSettings
	total   int
	phases  map[rotation.Phase]int
	paused  int
	overdue int
	failing map[string]any
	drifted map[string]any
	next    time.Time
	oldest  time.Time // when the oldest secret was set in Auth0, imported or found; zero: there is none
}

func newRoleCount(now time.Time, mount mountSettings) *roleCount {
	return &roleCount{
		now: now, mount: mount, failing: map[string]any{}, drifted: map[string]any{},
		phases: map[rotation.Phase]int{rotation.Steady: 0, rotation.Staged: 0, rotation.Propagating: 0},
	}
}

func (c *roleCount) add(name string, set *servedSet) {
	view := set.view(c.mount, c.now)
	c.phases[view.Phase]++
	if set.role.settings(c.mount).Paused {
		c.paused++
	}
	if view.Overdue {
		c.overdue++
	}
	if view.Failures > 0 { // the rate limit alone is no failure
		c.failing[name] = failureData(view)
	}
	if !view.DriftedAt.IsZero() {
		c.drifted[name] = inRFC3339(view.DriftedAt)
	}
	if at := view.NextRotation; !at.IsZero() && (c.next.IsZero() || at.Before(c.next)) {
		c.next = at
	}
	if at := latest(view.LastRotation, view.DriftedAt); !at.IsZero() && (c.oldest.IsZero() || at.Before(c.oldest)) {
		c.oldest = at
	}
}

func (c *roleCount) data() map[string]any {
	phases := map[string]any{}
	for phase, number := range c.phases {
		phases[string(phase)] = number
	}
	data := map[string]any{
		fieldRoles: c.total, fieldPhases: phases, fieldPaused: c.paused, fieldOverdue: c.overdue,
		fieldFailing: c.failing, fieldDrifted: c.drifted,
	}
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
