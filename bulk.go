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

	// dueBulk is the key of the rotation of all roles. No role can have this name.
	dueBulk = "rotate-all/"

	// bulkConcurrency is how many roles are asked at a time. The client keeps to the
	// rate limit.
	bulkConcurrency = 32
	// bulkPause is how long after a role's rotation the engine checks whether all are
	// done.
	bulkPause = time.Second
)

// underWay reports whether the rotation is neither finished nor called off.
func (e *bulkEntry) underWay() bool {
	return e != nil && e.FinishedAt.IsZero() && e.CalledOffAt.IsZero()
}

// concerns reports whether a role has to be asked. Format 1 did not number imports:
// there, secrets that are newer by the clock are not concerned.
func (e *bulkEntry) concerns(state rotation.State) bool {
	if e.Unnumbered && state.KnownSince().After(e.StartedAt) {
		return false
	}
	return e.AskedAt.IsZero() && e.CalledOffAt.IsZero() && state.Concerned(e.Number, e.Force)
}

// ask is what each role is asked.
func (e *bulkEntry) ask() rotation.Ask {
	return rotation.Ask{By: rotation.BulkRotation, Bulk: e.Number, Force: e.Force}
}

// bulkChange is the effect of an order to rotate all roles.
type bulkChange int

const (
	bulkGoesOn bulkChange = iota // one was under way, and stays as it is
	bulkForced                   // one was under way, and is forced now
	bulkBegun
)

// startBulk stores a new rotation of all roles, unless one is under way. If every
// role of that one is done or fails, a new one begins: failing roles do not keep the
// others from being rotated again.
func (b *backend) startBulk(ctx context.Context, storage logical.Storage, force bool) (*bulkEntry, bulkChange, error) {
	over, err := b.bulkThatIsOver(ctx, storage)
	if err != nil {
		return nil, bulkGoesOn, err
	}
	return b.storeBulk(ctx, storage, force, over)
}

// storeBulk is startBulk, given the number of the rotation that may be replaced.
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

// bulkThatIsOver returns the number of the rotation under way if each of its roles is
// done or fails, else 0.
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

// callOffBulk stores that no more roles are to be asked. takeBack does the rest. Nil:
// there is nothing to call off.
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

// takeBack takes the request back from each role that has not begun, and returns how
// many. A role whose next secret Auth0 may have goes on.
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

// changeRequest stores a role's state after it was asked for a rotation, or no longer
// is, and schedules the role.
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

// attendBulk carries the stored rotation of all roles on: it asks roles, takes
// requests back, or notes that all are done. It returns when to retry after an error.
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

// askAll stores the request in every role that it concerns, then notes that all were
// asked. Each role goes on by itself: none waits for another.
func (b *backend) askAll(ctx context.Context, storage logical.Storage, bulk *bulkEntry) error {
	err := b.eachOfBulk(ctx, storage, bulk.concerns, func(role *ownedRole) error {
		present, err := readBulk(ctx, storage) // it may have been called off, or forced
		if err != nil || present == nil || !present.underWay() || !present.concerns(role.entry.Rotation) {
			return err
		}
		return b.changeRequest(ctx, role, role.entry.Rotation.Asked(present.ask()))
	})
	if err != nil {
		return err
	}
	return b.updateBulk(ctx, storage, bulk, func(stored *bulkEntry) { stored.AskedAt = b.now().UTC() })
}

// bulkLockPatience is how long to wait for a role that another request is changing.
const bulkLockPatience = 10 * time.Second

// eachOfBulk calls do for each role whose state is wanted. It skips entries that
// cannot be read: they cannot be rotated either.
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

// finishBulk stores that all roles are done, once they are.
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

// updateBulk changes the stored rotation, unless another order replaced it or forced
// it meanwhile. bulk becomes what is stored.
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

// bulkCount is the progress of a rotation of all roles.
type bulkCount struct {
	total, done, waiting int
	failed               map[string]any // by role
	left                 time.Duration
}

// countBulk counts the progress of a rotation that is under way.
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
		next := view.NextRotation
		if state.Replaced(bulk.Number) {
			next = view.FallbackUntil // the key before is removed then
		}
		if bulk.concerns(state) { // it is not asked yet, and until then its schedule says when
			next = state.Asked(bulk.ask()).View(set.role.settings(mount), set.clock(now)).NextRotation
		}
		count.left = max(count.left, next.Sub(now))
	})
	if err != nil {
		return count, err
	}
	count.total += len(unreadable)
	maps.Copy(count.failed, unreadable)
	count.left = max(count.left, timeAtPace(count.total-count.done, count.done, now.Sub(bulk.StartedAt)))
	return count, nil
}

// lowestRate is Auth0's lowest rate limit, in requests a second.
const lowestRate = 2

// timeAtPace estimates how long so many rotations take: at the pace so far, at worst
// at Auth0's lowest rate limit.
func timeAtPace(rotations, done int, since time.Duration) time.Duration {
	each := time.Second / lowestRate
	if since > 0 && done > 0 {
		each = min(each, since/time.Duration(done))
	}
	return time.Duration(rotations) * each
}
