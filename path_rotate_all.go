package auth0secrets

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	pathRotateAllName        = "rotate"
	pathRotateAllSynopsis    = "Rotate the client secrets of all roles."
	pathRotateAllDescription = `
A write orders the rotation of every role and answers at once; the work goes on
in the background, at the rate that Auth0 allows, also after a restart of Vault.
With force=true (after a breach) no lease is waited for. Writing again meanwhile
changes nothing but for force; once each role is done or fails, it is another
order. A read says how far it is.

A role is done when its current secret was made after the order: one that was
staged before it is rotated once more.`

	fieldDone        = "done"
	fieldWaiting     = "waiting"
	fieldFailed      = "failed"
	fieldFailedRoles = "failed_roles"
	fieldStartedAt   = "started_at"
	fieldFinishedAt  = "finished_at"
	fieldSecondsLeft = "seconds_left"

	descTotal       = "How many roles there are, or were when the last order was finished. 0 when there never was one."
	descDone        = "How many roles have a current secret that was made after the order."
	descWaiting     = "How many roles are still to be rotated, or staged and waiting for leases to end."
	descFailed      = "How many of the roles that are not done failed at their last attempt; they will be tried again."
	descFailedRoles = "Of each failed role: last_error, failures and retry_at."
	descStartedAt   = "When the rotation of all roles was ordered. Absent when it never was."
	descFinishedAt  = "When all roles were done. Absent until then."
	descSecondsLeft = "How long it is expected to take until all roles are done, in seconds. 0 when they are."
)

func (b *backend) pathRotateAll() []*framework.Path {
	answer := answersWith(fieldSchemas{
		fieldTotal:       required(intField(descTotal)),
		fieldDone:        required(intField(descDone)),
		fieldWaiting:     required(intField(descWaiting)),
		fieldFailed:      required(intField(descFailed)),
		fieldFailedRoles: required(mapField(descFailedRoles)),
		fieldForce:       required(boolField(descForce, false)),
		fieldStartedAt:   timeField(descStartedAt),
		fieldFinishedAt:  timeField(descFinishedAt),
		fieldSecondsLeft: required(intField(descSecondsLeft)),
	}, exampleRotateAll)
	write := writes(b.rotateAllWrite, "Order the rotation of all roles.", answer, framework.RequestExample{
		Description: "After a breach: replace all secrets at once.",
		Data:        map[string]any{fieldForce: true},
	})
	write.DisplayAttrs = namedVerb("rotate", "all-roles")
	return []*framework.Path{{
		Pattern:      pathRotateAllName + "/?$",
		DisplayAttrs: named("rotation-of-all-roles"),
		Fields:       fieldSchemas{fieldForce: boolField(descForce, false)},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: write,
			logical.ReadOperation:   reads(b.rotateAllRead, "See how far the rotation of all roles is.", answer),
		},
		HelpSynopsis:    pathRotateAllSynopsis,
		HelpDescription: strings.TrimSpace(pathRotateAllDescription),
	}}
}

func (b *backend) rotateAllWrite(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	if _, err := b.connect(ctx, req.Storage); err != nil {
		return nil, err
	}
	force, _ := sentBool(d, fieldForce)
	order, isNew, err := b.orderRotateAll(ctx, req.Storage, force)
	if err != nil {
		return nil, err
	}
	b.scheduler.wakeRotateAll()
	data, err := b.rotateAllProgress(ctx, req.Storage, order)
	if err != nil {
		return nil, err
	}
	resp := &logical.Response{Data: data}
	if !isNew {
		resp.AddWarning("the order of " + inRFC3339(order.StartedAt) + " is still being carried out: this is how far it is, and no other was given")
	}
	if order.Force {
		resp.AddWarning("secrets are set without waiting for leases: holders of older ones fail until they read again")
	}
	return resp, nil
}

func (b *backend) rotateAllRead(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	order, err := readRotateAll(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	if !order.unfinished() {
		return rotateAllAtRest(order), nil
	}
	data, err := b.rotateAllProgress(ctx, req.Storage, order)
	return &logical.Response{Data: data}, err
}

// rotateAllAtRest is the answer when nothing is under way: what came of the last
// order; nil: there never was one.
func rotateAllAtRest(order *rotateAllEntry) *logical.Response {
	atRest := orderProgress{failed: map[string]any{}}
	if order == nil {
		resp := &logical.Response{Data: atRest.data(&rotateAllEntry{})}
		resp.AddWarning("the rotation of all roles was never ordered")
		return resp
	}
	atRest.total, atRest.done = order.Total, order.Total
	return &logical.Response{Data: atRest.data(order)}
}

// orderProgress is how far an order is.
type orderProgress struct {
	total, done int
	failed      map[string]any // by role
	left        time.Duration
}

func (p orderProgress) data(order *rotateAllEntry) map[string]any {
	data := map[string]any{
		fieldTotal: p.total, fieldDone: p.done, fieldFailed: len(p.failed), fieldWaiting: p.total - p.done - len(p.failed),
		fieldFailedRoles: p.failed, fieldForce: order.Force, fieldSecondsLeft: inSeconds(p.left.Round(time.Second)),
	}
	putTimes(data, map[string]time.Time{fieldStartedAt: order.StartedAt, fieldFinishedAt: order.FinishedAt})
	return data
}

// rotateAllProgress counts how far an order is that is being carried out.
func (b *backend) rotateAllProgress(ctx context.Context, storage logical.Storage, order *rotateAllEntry) (map[string]any, error) {
	mount, err := b.loadMountSettings(ctx, storage)
	if err != nil {
		return nil, err
	}
	now, progress := b.now(), orderProgress{failed: map[string]any{}}
	names, unreadable, err := b.eachRole(ctx, storage, func(name string, set *servedSet) {
		state := set.role.Rotation
		if order.done(state) {
			progress.done++
			return
		}
		if order.Force && state.LastError == "" {
			progress.left = max(progress.left, state.RetryAt.Sub(now))
		} else {
			progress.left = max(progress.left, timeLeft(set, mount, now))
		}
		if state.LastError != "" {
			progress.failed[name] = failureData(state)
		}
	})
	if err != nil {
		return nil, err
	}
	maps.Copy(progress.failed, unreadable)
	progress.total = len(names)
	progress.left = max(progress.left, timeAtPace(progress.total-progress.done, progress.done, now.Sub(order.StartedAt)))
	return progress.data(order), nil
}

// timeLeft is how long one role still takes.
func timeLeft(set *servedSet, mount mountSettings, now time.Time) time.Duration {
	state, settings := set.role.Rotation, set.role.settings(mount)
	switch {
	case state.Next == nil && settings.Source == sourceVault:
		return state.leadTime(settings, now)
	case state.Next == nil:
		return 0
	}
	at, planned := state.activateAt(settings, set.clock(now))
	if !planned {
		return 0
	}
	return max(at.Sub(now), state.RetryAt.Sub(now), 0)
}

// lowestRate is the lowest rate limit that Auth0 has, in requests a second.
const lowestRate = 2

// timeAtPace is how long so many rotations take at the pace so far, or at the
// lowest rate limit that Auth0 has if that says nothing yet.
func timeAtPace(rotations, done int, since time.Duration) time.Duration {
	each := time.Second / lowestRate
	if since > 0 && done > 0 {
		each = min(each, since/time.Duration(done))
	}
	return time.Duration(rotations) * each
}
