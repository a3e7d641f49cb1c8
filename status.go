package auth0secrets

import (
	"context"
	"maps"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/rotation"
)

// status sums up the rotations of the mount. It reads storage only for roles that are
// not loaded yet.
func (b *backend) status(ctx context.Context, storage logical.Storage) (map[string]any, error) {
	count, err := b.countRoles(ctx, storage)
	if err != nil {
		return nil, err
	}
	phases := map[string]any{}
	for phase, number := range count.phases {
		phases[string(phase)] = number
	}
	data := map[string]any{
		fieldConfigured: count.mount.Configured, fieldDisableRotation: count.mount.Paused,
		fieldServingSince: inRFC3339(b.served.servingSince), fieldDriftDetection: string(b.driftDetection()),
		fieldRoles: count.total, fieldPhases: phases, fieldPaused: count.paused, fieldOverdue: count.overdue,
		fieldFailing: count.failing, fieldDrifted: count.drifted, fieldTokens: b.counters.tokenCounts(),
	}
	putTimes(data, map[string]time.Time{fieldNextVaultRotation: count.next})
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
	count := &roleCount{
		now: b.now(), mount: mount, failing: map[string]any{}, drifted: map[string]any{},
		phases: map[rotation.Phase]int{rotation.Steady: 0, rotation.Staged: 0, rotation.Propagating: 0},
	}
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

// upstreamStatusData adds what is known of the Management API.
func upstreamStatusData(api managementAPI, data map[string]any) {
	limit := api.RateLimit()
	putTimes(data, map[string]time.Time{fieldTokenExpires: api.TokenExpiresAt()})
	if limit.SeenAt.IsZero() {
		return
	}
	putTimes(data, map[string]time.Time{fieldRateReset: limit.Reset})
	for field, requests := range map[string]int{fieldRateLimit: limit.Limit, fieldRateLimitLeft: limit.Remaining} {
		if requests >= 0 {
			data[field] = requests
		}
	}
}
