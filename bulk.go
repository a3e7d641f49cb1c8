package auth0secrets

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-auth0/internal/rotation"
)

const (
	// pathRotateAllName is the path of the rotation of all roles.
	pathRotateAllName = "rotate-all"

	// dueBulk is the rotation of all roles among what is due. No role can have this
	// name.
	dueBulk = "rotate-all/"

	// bulkConcurrency is how many roles are asked at a time. The client holds to the
	// tenant's rate limit.
	bulkConcurrency = 32
	// bulkPause is how long after a role is done it is looked whether all are.
	bulkPause = time.Second
)

// underWay says whether there is something to do, or to wait for.
func (e *bulkEntry) underWay() bool {
	return e != nil && e.FinishedAt.IsZero() && e.CalledOffAt.IsZero()
}

// concerns says whether a role is to be asked. What format 1 ordered does not
// concern secrets that are newer by the clock: it did not number imports.
func (e *bulkEntry) concerns(state rotation.State) bool {
	if e.Unnumbered && state.KnownSince().After(e.StartedAt) {
		return false
	}
	return e.AskedAt.IsZero() && e.CalledOffAt.IsZero() && state.Concerned(e.Number, e.Force)
}

// bulkChange is what an order of a rotation of all roles did.
type bulkChange int

const (
	bulkGoesOn bulkChange = iota // one was under way, and stays as it is
	bulkForced                   // one was under way, and is forced now
	bulkBegun
)

// startBulk stores a new rotation of all roles, unless one is under way. One in which
// every role is done or fails is not: roles that fail do not keep the others from
// being rotated again.
func (b *backend) startBulk(ctx context.Context, storage logical.Storage, force bool) (*bulkEntry, bulkChange, error) {
	over, err := b.bulkThatIsOver(ctx, storage)
	if err != nil {
		return nil, bulkGoesOn, err
	}
	return b.storeBulk(ctx, storage, force, over)
}

// storeBulk is startBulk once the number of the rotation that is over, if any, is
// known.
func (b *backend) storeBulk(ctx context.Context, storage logical.Storage, force bool, over int) (*bulkEntry, bulkChange, error) {
	b.commitLock.Lock()
	defer b.commitLock.Unlock()
	defer func() { b.due.Set(dueBulk, b.now()) }() // a write that failed may have taken effect
	bulk, err := readBulk(ctx, storage)
	if err != nil {
		return nil, bulkGoesOn, err
	}
	change := bulkBegun
	switch {
	case !bulk.underWay() || bulk.Number == over:
		number := 1
		if bulk != nil {
			number = bulk.Number + 1
		}
		bulk = &bulkEntry{Number: number, StartedAt: b.now().UTC(), Force: force}
	case force && !bulk.Force:
		bulk.Force, bulk.AskedAt, change = true, time.Time{}, bulkForced
	default:
		return bulk, bulkGoesOn, nil
	}
	if err := writeBulk(ctx, storage, bulk); err != nil {
		b.bulkNumber.Store(unknownBulkNumber) // it may have been stored all the same
		return nil, bulkGoesOn, err
	}
	b.bulkNumber.Store(int64(bulk.Number))
	return bulk, change, nil
}

// bulkThatIsOver is the number of the rotation under way if it has done what it
// could, 0 if not: each role is done, or fails. By the time that it is known another
// may have been ordered.
func (b *backend) bulkThatIsOver(ctx context.Context, storage logical.Storage) (int, error) {
	bulk, err := readBulk(ctx, storage)
	if err != nil || !bulk.underWay() || bulk.AskedAt.IsZero() {
		return 0, err
	}
	count, err := b.countBulk(ctx, storage, bulk)
	if err != nil || count.waiting > 0 {
		return 0, err
	}
	return bulk.Number, nil
}

// callOffBulk has no role asked any more. What was asked already is taken back by
// takeBack. Nil: there is nothing to call off.
func (b *backend) callOffBulk(ctx context.Context, storage logical.Storage) (*bulkEntry, error) {
	b.commitLock.Lock()
	defer b.commitLock.Unlock()
	defer func() { b.due.Set(dueBulk, b.now().Add(bulkLockPatience)) }() // for what the request does not reach
	bulk, err := readBulk(ctx, storage)
	if err != nil || bulk == nil || !bulk.FinishedAt.IsZero() {
		return nil, err
	}
	if !bulk.CalledOffAt.IsZero() {
		return bulk, nil // again, for what could not be reached
	}
	bulk.CalledOffAt = b.now().UTC()
	return bulk, writeBulk(ctx, storage, bulk)
}

// takeBack takes the request back from each role that has not begun, and says from
// how many. One whose next secret Auth0 may have goes on.
func (b *backend) takeBack(ctx context.Context, storage logical.Storage, bulk *bulkEntry) (roles int, err error) {
	var count atomic.Int64
	err = b.eachOfBulk(ctx, storage, func(state rotation.State) bool {
		_, ok := state.CalledOff(bulk.Number)
		return ok
	}, func(role *ownedRole) error {
		state, ok := role.entry.Rotation.CalledOff(bulk.Number)
		if !ok {
			return nil
		}
		count.Add(1)
		return b.changeRequest(ctx, role, state)
	})
	return int(count.Load()), err
}

// changeRequest stores that a role is asked for a rotation, or no longer asked, and
// has it attended to.
func (b *backend) changeRequest(ctx context.Context, role *ownedRole, state rotation.State) error {
	mount, err := b.loadMount(ctx, role.storage)
	if err != nil {
		return err
	}
	if err := b.saveRotation(ctx, role, mount, state); err != nil {
		return err
	}
	b.due.Set(role.name, b.now())
	return nil
}

// attendBulk asks the roles that a rotation of all concerns, or takes that back, and
// notes when they are done. It says when to look again: what roles do sets it, too.
func (b *backend) attendBulk(ctx context.Context, storage logical.Storage) (next time.Time) {
	bulk, err := readBulk(ctx, storage)
	switch {
	case err != nil:
	case bulk == nil || !bulk.FinishedAt.IsZero():
	case !bulk.CalledOffAt.IsZero():
		_, err = b.takeBack(ctx, storage, bulk)
	default:
		if bulk.AskedAt.IsZero() {
			err = b.askAll(ctx, storage, bulk)
		}
		err = errors.Join(err, b.finishBulk(ctx, storage))
	}
	if err != nil {
		return b.retryLater(ctx, storageBulk, err)
	}
	return time.Time{}
}

// askAll has every role that is concerned carry the request, and notes that they do.
// They go on by themselves: none waits for another.
func (b *backend) askAll(ctx context.Context, storage logical.Storage, bulk *bulkEntry) error {
	err := b.eachOfBulk(ctx, storage, bulk.concerns, func(role *ownedRole) error {
		present, err := readBulk(ctx, storage) // it may have been called off, or forced
		if err != nil || present == nil || !present.underWay() || !present.concerns(role.entry.Rotation) {
			return err
		}
		ask := rotation.Ask{By: rotation.BulkRotation, Bulk: present.Number, Force: present.Force}
		return b.changeRequest(ctx, role, role.entry.Rotation.Asked(ask))
	})
	if err != nil {
		return err
	}
	return b.updateBulk(ctx, storage, bulk, func(stored *bulkEntry) { stored.AskedAt = b.now().UTC() })
}

// bulkLockPatience is how long a role that somebody else is busy with is waited for.
const bulkLockPatience = 10 * time.Second

// eachOfBulk does something to each role whose state calls for it. One whose entry
// cannot be read is passed over: it cannot be rotated either.
func (b *backend) eachOfBulk(
	ctx context.Context, storage logical.Storage, wanted func(rotation.State) bool, do func(*ownedRole) error,
) error {
	var group errgroup.Group
	group.SetLimit(bulkConcurrency)
	_, _, err := b.eachRole(ctx, storage, func(name string, set *servedSet) {
		if !wanted(set.role.Rotation) {
			return
		}
		group.Go(func() (err error) {
			defer b.caught(func(failure error) { err = failure }, "bulk rotation of "+name)
			waits, cancel := context.WithTimeout(ctx, bulkLockPatience)
			defer cancel()
			role, err := b.own(waits, storage, name)
			if err != nil {
				return err
			}
			defer role.release()
			if role.entry == nil {
				return nil
			}
			return do(role)
		})
	})
	return errors.Join(err, group.Wait())
}

// finishBulk notes that all roles are done, if they are.
func (b *backend) finishBulk(ctx context.Context, storage logical.Storage) error {
	bulk, err := readBulk(ctx, storage)
	if err != nil || !bulk.underWay() || bulk.AskedAt.IsZero() {
		return err
	}
	count, err := b.countBulk(ctx, storage, bulk)
	if err != nil || count.done < count.total {
		return err
	}
	err = b.updateBulk(ctx, storage, bulk, func(stored *bulkEntry) {
		stored.FinishedAt, stored.Total = b.now().UTC(), count.total
	})
	if err == nil && !bulk.FinishedAt.IsZero() {
		b.Logger().Info("all roles are rotated", "started", bulk.StartedAt)
		b.event(ctx, eventRotateAll, pathRotateAllName, logical.EventMetadataModified, "true")
	}
	return err
}

// updateBulk changes the stored rotation, unless another one or another force was
// ordered meanwhile. bulk is what is stored then.
func (b *backend) updateBulk(ctx context.Context, storage logical.Storage, bulk *bulkEntry, change func(stored *bulkEntry)) error {
	b.commitLock.Lock()
	defer b.commitLock.Unlock()
	stored, err := readBulk(ctx, storage)
	if err != nil || stored == nil {
		return err
	}
	if stored.Number == bulk.Number && stored.Force == bulk.Force && stored.underWay() {
		change(stored)
		err = writeBulk(ctx, storage, stored)
	}
	*bulk = *stored
	return err
}

// bulkCount is how far a rotation of all roles is.
type bulkCount struct {
	total, done, waiting int
	failed               map[string]any // by role
	left                 time.Duration
}

// countBulk counts how far a rotation is that is under way.
func (b *backend) countBulk(ctx context.Context, storage logical.Storage, bulk *bulkEntry) (bulkCount, error) {
	count := bulkCount{failed: map[string]any{}}
	mount, err := b.loadMount(ctx, storage)
	if err != nil {
		return count, err
	}
	now := b.now()
	_, unreadable, err := b.eachRole(ctx, storage, func(name string, set *servedSet) {
		state := set.role.Rotation
		switch {
		case !state.Carries(bulk.Number) && !bulk.concerns(state):
			return
		case state.Done(bulk.Number):
			count.done++
			count.total++
			return
		}
		count.total++
		view := set.view(mount, now)
		if view.Failures > 0 { // the rate limit alone is no failure
			count.failed[name] = failureData(view)
		} else {
			count.waiting++
		}
		count.left = max(count.left, view.NextRotation.Sub(now))
	})
	if err != nil {
		return count, err
	}
	count.total += len(unreadable)
	maps.Copy(count.failed, unreadable)
	count.left = max(count.left, timeAtPace(count.total-count.done, count.done, now.Sub(bulk.StartedAt)))
	return count, nil
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
