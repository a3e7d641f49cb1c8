package auth0secrets

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/queue"
)

const (
	// concurrentRotations bounds the rotations that run at the same time. It is
	// well above what a tenant's rate limit lets through, so that applications
	// that hang leave room for the others.
	concurrentRotations = 64

	// storageRetry is the wait after an error that could not be stored, such as
	// one of storage itself.
	storageRetry = 10 * time.Second
)

// scheduler runs the rotation procedure of each role when it is due: one
// goroutine, armed for the next due time. The index of due times is in memory
// and is rebuilt from storage in the background when it starts; every change of
// a role puts it right.
type scheduler struct {
	b   *backend
	now func() time.Time

	woken   chan struct{}
	ordered chan struct{} // there is a new order to rotate all roles

	mu  sync.Mutex
	due *queue.PriorityQueue // key: role; priority: due time in Unix nanoseconds
	run *schedulerRun        // nil: not running
}

// schedulerRun is the time between a start and a stop.
type schedulerRun struct {
	ctx     context.Context // the run's lifetime, not a call's
	cancel  context.CancelFunc
	work    sync.WaitGroup
	storage logical.Storage
}

func newScheduler(b *backend, now func() time.Time) *scheduler {
	return &scheduler{b: b, now: now, due: queue.New(), woken: make(chan struct{}, 1), ordered: make(chan struct{}, 1)}
}

// start does nothing if the scheduler runs already.
func (s *scheduler) start(storage logical.Storage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	run := &schedulerRun{ctx: ctx, cancel: cancel, storage: storage}
	run.work.Go(func() { s.rebuild(run, s.scheduleNew) })
	run.work.Go(func() { s.loop(run) })
	run.work.Go(func() { s.rotateAll(run) })
	s.run = run
}

// stop ends the background work and waits for it.
func (s *scheduler) stop() {
	s.mu.Lock()
	run := s.run
	s.run = nil
	s.mu.Unlock()
	if run != nil {
		run.cancel()
		run.work.Wait()
	}
}

// wakeRotateAll makes the scheduler look at the order to rotate all roles.
func (s *scheduler) wakeRotateAll() {
	select {
	case s.ordered <- struct{}{}:
	default:
	}
}

// revisit looks at every role again, because something has changed for all.
func (s *scheduler) revisit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run := s.run; run != nil {
		run.work.Go(func() { s.rebuild(run, s.schedule) })
	}
}

// wake makes the scheduler look at the clock and the index again.
func (s *scheduler) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// schedule sets when the role is looked at next. Zero: never. A time with a
// monotonic reading is taken by that: after a step of the wall clock it would
// otherwise look due and not be, over and over.
func (s *scheduler) schedule(name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.due.PopByKey(name)
	if at.IsZero() {
		return
	}
	now := s.now()
	_ = s.due.Push(&queue.Item{Key: name, Priority: now.Add(at.Sub(now)).UnixNano()})
	s.wake()
}

// scheduleNew is schedule for a role that has no time yet.
func (s *scheduler) scheduleNew(name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.due.Push(&queue.Item{Key: name, Priority: at.UnixNano()})
	s.wake()
}

// takeDue removes what is due and returns it, with the time of what comes next.
func (s *scheduler) takeDue() (names []string, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for now := s.now(); s.due.Len() > 0; {
		item, err := s.due.Pop()
		if err != nil {
			return names, next
		}
		if at := time.Unix(0, item.Priority); at.After(now) {
			_ = s.due.Push(item)
			return names, at
		}
		names = append(names, item.Key)
	}
	return names, time.Time{}
}

func (s *scheduler) loop(run *schedulerRun) {
	slots := make(chan struct{}, concurrentRotations)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-run.ctx.Done():
			return
		case <-timer.C:
		case <-s.woken:
		}
		names, next := s.takeDue()
		for _, name := range names {
			select {
			case slots <- struct{}{}:
			case <-run.ctx.Done():
				return
			}
			run.work.Go(func() {
				defer func() { <-slots }()
				s.attend(run.ctx, run.storage, name)
			})
		}
		if !next.IsZero() {
			timer.Reset(next.Sub(s.now()))
		}
	}
}

// attend brings one role forward and sets when to look at it again.
func (s *scheduler) attend(ctx context.Context, storage logical.Storage, name string) {
	if name == rootRotation {
		s.attendRoot(ctx, storage)
		return
	}
	role, err := s.b.own(ctx, storage, name)
	if err != nil {
		s.retryLater(ctx, name, err)
		return
	}
	defer role.release()
	if role.entry == nil {
		return
	}
	work, done := context.WithTimeout(ctx, upstreamPatience)
	defer done()
	if err := s.b.checkDriftIfDue(work, role); err != nil {
		s.retryLater(ctx, name, err)
		return
	}
	_ = s.b.advance(work, role, role.entry.Rotation) // stored, and scheduled again
}

// advance rotates from a state as far as is due, and keeps the schedule right.
// The error of Auth0 that it returns is stored and will be retried.
func (b *backend) advance(ctx context.Context, role *ownedRole, state rotationState) error {
	staged := role.entry.Rotation.Next
	wake, err := b.rotate(ctx, role, state)
	if err != nil && !wake.After(b.now()) { // not even the failure could be stored
		b.scheduler.retryLater(ctx, role.name, err)
		return err
	}
	if after := role.entry.Rotation; after.Next != nil && staged == nil && !after.Forced {
		b.drift.want(role.name, b.now())
	}
	b.scheduler.schedule(role.name, b.nextLook(role, wake))
	return err
}

func (s *scheduler) retryLater(ctx context.Context, name string, err error) {
	if ctx.Err() == nil {
		s.b.Logger().Error("rotation cannot go on", "role", name, "error", err)
	}
	s.schedule(name, s.now().Add(storageRetry))
}

// rebuild fills the index from storage, and the memory from which credentials
// are read with it. Reads do not wait for it.
func (s *scheduler) rebuild(run *schedulerRun, schedule func(string, time.Time)) {
	ctx := run.ctx
	schedule(rootRotation, s.now())
	for ctx.Err() == nil {
		names, err := run.storage.List(ctx, storageRoles)
		if err == nil {
			for _, name := range names {
				if !strings.HasSuffix(name, "/") {
					schedule(name, s.now())
				}
			}
			return
		}
		s.b.Logger().Error("the roles cannot be listed", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(storageRetry):
		}
	}
}
