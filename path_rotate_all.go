package auth0secrets

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	pathRotateAllSynopsis    = "Rotate the client secrets and keys of all roles."
	pathRotateAllDescription = `
A write rotates every role whose secret or key was made, imported or found before it,
and no other. It answers at once. The work goes on in the background, at the rate that
Auth0 allows, also after a restart of Vault. With force=true (after a breach) it
waits for no lease. Each role carries the request itself: one that fails is tried
again and holds up no other.

Writing again meanwhile changes nothing, except that force=true forces the rotation
under way. Once each role is done or fails, a write begins another one. A read shows
the progress. A delete calls off what has not begun: it drops secrets that were
handed out but never sent to Auth0. A key that is registered goes on to be used.`

	fieldDone        = "done"
	fieldWaiting     = "waiting"
	fieldFailed      = "failed"
	fieldFailedRoles = "failed_roles"
	fieldStartedAt   = "started_at"
	fieldFinishedAt  = "finished_at"
	fieldCalledOffAt = "called_off_at"
	fieldSecondsLeft = "seconds_left"

	descTotal       = "How many roles the rotation concerns, or did when it was finished. 0 when there never was one."
	descDone        = "How many of them have a secret or key that was made since."
	descWaiting     = "How many of them are still to be rotated, or staged and waiting."
	descFailed      = "How many of them failed at their last attempt, the rate limit aside; they will be tried again."
	descFailedRoles = "Of each failed role: last_error, failures and retry_at."
	descStartedAt   = "When the rotation of all roles was asked for. Absent when it never was."
	descFinishedAt  = "When all roles were done. Absent until then."
	descCalledOffAt = "When it was called off. Absent when it was not."
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
		fieldCalledOffAt: timeField(descCalledOffAt),
		fieldSecondsLeft: required(intField(descSecondsLeft)),
	}, exampleRotateAll)
	write := writes(b.rotateAllWrite, "Rotate all roles, or force the rotation that is under way.", answer, framework.RequestExample{
		Description: "After a breach: replace all secrets at once.",
		Data:        map[string]any{fieldForce: true},
	})
	write.DisplayAttrs = namedVerb("rotate", "all-roles")
	return []*framework.Path{{
		Pattern:      pathRotateAllName + "$",
		DisplayAttrs: named("rotation-of-all-roles"),
		Fields:       fieldSchemas{fieldForce: boolField(descForce, false)},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: write,
			logical.ReadOperation:   readsActive(b.rotateAllRead, "See how far the rotation of all roles is.", answer),
			logical.DeleteOperation: deletes(b.rotateAllDelete, "Call off what has not begun of a rotation of all roles."),
		},
		HelpSynopsis:    pathRotateAllSynopsis,
		HelpDescription: strings.TrimSpace(pathRotateAllDescription),
	}}
}

func (b *backend) rotateAllWrite(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	if _, err := b.connect(ctx, req.Storage); err != nil {
		return nil, err
	}
	force, _ := sent[bool](d, fieldForce)
	bulk, change, err := b.startBulk(ctx, req.Storage, force)
	if err != nil {
		return nil, err
	}
	count, err := b.countBulk(ctx, req.Storage, bulk)
	if err != nil {
		return nil, err
	}
	resp := &logical.Response{Data: count.data(bulk)}
	switch change {
	case bulkForced:
		resp.AddWarning("the rotation of " + inRFC3339(bulk.StartedAt) + " that is under way is forced now")
	case bulkGoesOn:
		resp.AddWarning("the rotation of " + inRFC3339(bulk.StartedAt) + " is still under way: this is how far it is, and no other was begun")
	}
	if bulk.Force {
		resp.AddWarning("secrets are set without waiting for leases: holders of older ones fail until they read again")
	}
	return resp, nil
}

func (b *backend) rotateAllRead(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	bulk, err := readBulk(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	switch {
	case bulk == nil:
		resp := &logical.Response{Data: bulkCount{failed: map[string]any{}}.data(&bulkEntry{})}
		resp.AddWarning("the rotation of all roles was never asked for")
		return resp, nil
	case !bulk.FinishedAt.IsZero():
		return &logical.Response{Data: bulkCount{total: bulk.Total, done: bulk.Total, failed: map[string]any{}}.data(bulk)}, nil
	}
	count, err := b.countBulk(ctx, req.Storage, bulk)
	return &logical.Response{Data: count.data(bulk)}, err
}

func (b *backend) rotateAllDelete(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	bulk, err := b.callOffBulk(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	var calledOff int
	var count bulkCount
	if bulk != nil {
		if calledOff, err = b.takeBack(ctx, req.Storage, bulk); err != nil {
			return nil, err
		}
		if count, err = b.countBulk(ctx, req.Storage, bulk); err != nil {
			return nil, err
		}
	}
	all, goOn := calledOff+count.total, count.total-count.done
	if all == 0 {
		return onlyWarnings([]string{"no rotation of all roles is under way: nothing was called off"}, nil)
	}
	text := fmt.Sprintf("roles for which it was called off: %d of %d; rotated already: %d", calledOff, all, count.done)
	if goOn > 0 {
		text += fmt.Sprintf("; going on, since Auth0 may have their next secret: %d", goOn)
	}
	return onlyWarnings([]string{text}, nil)
}

// data is the answer.
func (c bulkCount) data(bulk *bulkEntry) map[string]any {
	data := map[string]any{
		fieldTotal: c.total, fieldDone: c.done, fieldWaiting: c.total - c.done - len(c.failed), fieldFailed: len(c.failed),
		fieldFailedRoles: c.failed, fieldForce: bulk.Force, fieldSecondsLeft: inSeconds(c.left.Round(time.Second)),
	}
	putTimes(data, map[string]time.Time{
		fieldStartedAt: bulk.StartedAt, fieldFinishedAt: bulk.FinishedAt, fieldCalledOffAt: bulk.CalledOffAt,
	})
	return data
}
