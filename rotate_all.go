package auth0secrets

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"
)

const (
	// rotateAllConcurrency is how many roles a pass over all of them works on at
	// a time. The client holds to the tenant's rate limit.
	rotateAllConcurrency = 32
	// rotateAllPause is the time between two passes, while roles are left.
	rotateAllPause = 15 * time.Second
)

// rotateAllEntry is the stored order to rotate all roles. Each secret carries the
// number of the last order before it was made, so which roles are done follows
// from their own state, whatever the clocks say: nothing more has to be stored,
// and a restart goes on where the last process was.
type rotateAllEntry struct {
	Format     int       `json:"format"`
	Number     int       `json:"number"`
	StartedAt  time.Time `json:"started_at"`
	Force      bool      `json:"force,omitempty"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	Total      int       `json:"total,omitempty"` // roles that there were when it was finished
}

func readRotateAll(ctx context.Context, storage logical.Storage) (*rotateAllEntry, error) {
	return readEntry(ctx, storage, storageRotateAll, func(r *rotateAllEntry) int { return r.Format })
}

func writeRotateAll(ctx context.Context, storage logical.Storage, entry *rotateAllEntry) error {
	entry.Format = entryFormat
	return writeEntry(ctx, storage, storageRotateAll, entry)
}

// unfinished says whether there is something to do.
func (r *rotateAllEntry) unfinished() bool { return r != nil && r.FinishedAt.IsZero() }

// done says whether the role's current secret was made since the order.
func (r *rotateAllEntry) done(state rotationState) bool {
	return state.Current != nil && state.Current.Order >= r.Number
}

// toRequest says whether the role's rotation has to be asked for, or forced,
// which is done once for an order: what has failed then is left to the retries
// that its state plans.
func (r *rotateAllEntry) toRequest(state rotationState, forced bool) bool {
	underWay := state.Next != nil && !state.Scheduled || state.Asked || state.Requested
	return !underWay || (r.Force && !state.Forced && !forced)
}

// forcedRoles are the roles whose rotation this process has forced, with the
// number of the order for which it did.
type forcedRoles map[string]int

// orderRotateAll stores the order. One that is under way stays as it is, but
// for becoming a forced one, and is not new; but roles that fail do not keep the
// others from being rotated again.
func (b *backend) orderRotateAll(ctx context.Context, storage logical.Storage, force bool) (order *rotateAllEntry, isNew bool, err error) {
	over, err := b.rotateAllThatIsOver(ctx, storage)
	if err != nil {
		return nil, false, err
	}
	return b.storeOrder(ctx, storage, force, over)
}

// storeOrder is orderRotateAll once it is known which order, if any, is over.
func (b *backend) storeOrder(
	ctx context.Context, storage logical.Storage, force bool, over int,
) (order *rotateAllEntry, isNew bool, err error) {
	b.commitLock.Lock()
	defer b.commitLock.Unlock()
	order, err = readRotateAll(ctx, storage)
	if err != nil {
		return nil, false, err
	}
	isNew = !order.unfinished() || order.Number == over
	switch {
	case isNew:
		number := 1
		if order != nil {
			number = order.Number + 1
		}
		order = &rotateAllEntry{Number: number, StartedAt: b.now().UTC(), Force: force}
	case force && !order.Force:
		order.Force = true
	default:
		return order, false, nil
	}
	if err := writeRotateAll(ctx, storage, order); err != nil {
		return nil, false, err
	}
	b.lastOrder.Store(int64(order.Number))
	return order, isNew, nil
}

// rotateAllThatIsOver is the number of the order under way if it has done what it
// could, 0 if not: each role is done, or fails. By the time that it is known
// another order may have been given.
func (b *backend) rotateAllThatIsOver(ctx context.Context, storage logical.Storage) (int, error) {
	order, err := readRotateAll(ctx, storage)
	if err != nil || !order.unfinished() {
		return 0, err
	}
	left := 0
	_, _, err = b.eachRole(ctx, storage, func(_ string, set *servedSet) {
		if state := set.role.Rotation; !order.done(state) && state.LastError == "" {
			left++
		}
	})
	if err != nil || left > 0 {
		return 0, err
	}
	return order.Number, nil
}

// rotateAll carries out stored orders until the run ends. It rests while there
// is none.
func (s *scheduler) rotateAll(run *schedulerRun) {
	forced := forcedRoles{}
	for run.ctx.Err() == nil {
		left, requested, err := s.b.rotateAllPass(run.ctx, run.storage, forced)
		if err == nil && requested > 0 { // what was asked for may be done already
			left, _, err = s.b.rotateAllPass(run.ctx, run.storage, forced)
		}
		if err != nil && run.ctx.Err() == nil {
			s.b.Logger().Error("rotation of all roles cannot go on", "error", err)
		}
		var again <-chan time.Time
		if err != nil || left > 0 {
			again = time.After(rotateAllPause)
		}
		select {
		case <-run.ctx.Done():
		case <-s.ordered:
		case <-again:
		}
	}
}

// rotateAllPass asks for the rotation of all roles that are not done. It says
// how many were left when it came to them, and of how many of those it asked for
// the rotation.
func (b *backend) rotateAllPass(ctx context.Context, storage logical.Storage, forced forcedRoles) (left, requested int, err error) {
	order, err := readRotateAll(ctx, storage)
	if err != nil || order == nil {
		return 0, 0, err
	}
	b.lastOrder.Store(int64(order.Number))
	if !order.unfinished() {
		return 0, 0, nil
	}
	var pass errgroup.Group
	pass.SetLimit(rotateAllConcurrency)
	names, unreadable, err := b.eachRole(ctx, storage, func(name string, set *servedSet) {
		if order.done(set.role.Rotation) {
			return
		}
		left++
		wasForced := forced[name] == order.Number
		if order.toRequest(set.role.Rotation, wasForced) {
			requested++
			if order.Force {
				forced[name] = order.Number
			}
			pass.Go(func() error { return b.rotateOneOfAll(ctx, storage, name, order, wasForced) })
		}
	})
	if err := errors.Join(err, pass.Wait()); err != nil {
		return left, requested, err
	}
	left += len(unreadable)
	if left == 0 {
		return 0, 0, b.finishRotateAll(ctx, storage, order, len(names))
	}
	return left, requested, nil
}

// rotateOneOfAll asks for one role's rotation. That Auth0 refuses it is the
// role's to show and to retry.
func (b *backend) rotateOneOfAll(ctx context.Context, storage logical.Storage, name string, order *rotateAllEntry, wasForced bool) error {
	role, err := b.own(ctx, storage, name)
	if err != nil {
		return err
	}
	defer role.release()
	if role.entry == nil || order.done(role.entry.Rotation) || !order.toRequest(role.entry.Rotation, wasForced) {
		return nil
	}
	if err := b.requestRotation(ctx, role, order.Force); err != nil && role.entry.Rotation.LastError == "" {
		return err
	}
	return nil
}

func (b *backend) finishRotateAll(ctx context.Context, storage logical.Storage, done *rotateAllEntry, roles int) error {
	b.commitLock.Lock()
	defer b.commitLock.Unlock()
	order, err := readRotateAll(ctx, storage)
	if err != nil || order == nil || order.Number != done.Number || !order.unfinished() {
		return err
	}
	order.FinishedAt, order.Total = b.now().UTC(), roles
	b.Logger().Info("all roles are rotated", "started", order.StartedAt)
	b.event(ctx, eventRotateAll, pathRotateAllName, logical.EventMetadataModified, "true")
	return writeRotateAll(ctx, storage, order)
}
