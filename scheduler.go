package auth0secrets

import (
	"context"
	"errors"
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
	// unreadableRetry is the wait after an entry that cannot be read, which will
	// not change by itself.
	unreadableRetry = time.Hour

	// clockTolerance is how much the wall clock may be put right at a time
	// without being called stepped.
	clockTolerance = 2 * time.Second
)

// scheduler runs the rotation procedure of each role when it is due: one
// goroutine, armed for the next due time. The index of due times is in memory
// and is rebuilt from storage in the background when it starts; every change of
// a role puts it right.
//
// It waits by the monotonic clock. When the wall clock is stepped, by which
// schedules go, all roles are looked at again.
type scheduler struct {
	b    *backend
	now  func() time.Time // the wall clock
	base time.Time        // due times are counted from here, by the monotonic clock

	woken   chan struct{}
	ordered chan struct{} // there is a new order to rotate all roles

	mu     sync.Mutex
	due    *queue.PriorityQueue // key: role; priority: nanoseconds from base
	idle   time.Duration        // from base; nothing in due is due before
	visits int                  // how often all roles were to be looked at again
	run    *schedulerRun        // nil: not running
	looked clockReading
}

// clockReading is a time by both clocks.
type clockReading struct {
	wall      time.Time // without a monotonic reading
	sinceBase time.Duration
}

// schedulerRun is the time between a start and a stop.
type schedulerRun struct {
	ctx     context.Context // the run's lifetime, not a call's
	cancel  context.CancelFunc
	work    sync.WaitGroup
	storage logical.Storage
}

func newScheduler(b *backend, now func() time.Time) *scheduler {
	s := &scheduler{
		b: b, now: now, base: time.Now(), due: queue.New(), woken: make(chan struct{}, 1), ordered: make(chan struct{}, 1),
	}
	s.looked = s.readClock()
	return s
}

func (s *scheduler) readClock() clockReading {
	return clockReading{wall: s.now().Round(0), sinceBase: time.Since(s.base)}
}

// checkClock has all roles looked at again if the wall clock was stepped since
// the last time.
func (s *scheduler) checkClock() {
	reading := s.readClock()
	s.mu.Lock()
	step := reading.wall.Sub(s.looked.wall) - (reading.sinceBase - s.looked.sinceBase)
	s.looked = reading
	s.mu.Unlock()
	if step.Abs() > clockTolerance {
		s.b.Logger().Warn("the clock was stepped: all roles are looked at again", "by", step)
		s.revisit()
	}
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
	s.visits++
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

// schedule sets when the role is looked at next. Zero: never.
func (s *scheduler) schedule(name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.due.PopByKey(name)
	if !at.IsZero() {
		s.push(name, at)
	}
}

// scheduleAfter is schedule for a time that was decided upon a while ago, when
// visit gave visits. If all roles were to be looked at again since, what was
// decided may be out of date.
func (s *scheduler) scheduleAfter(visits int, name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.due.PopByKey(name)
	if visits != s.visits {
		at = s.now()
	}
	if !at.IsZero() {
		s.push(name, at)
	}
}

// visit says how often all roles were to be looked at again.
func (s *scheduler) visit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.visits
}

// scheduleNew is schedule for a role that has no time yet.
func (s *scheduler) scheduleNew(name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.push(name, at)
}

// push adds to the index, unless the role is in it. s.mu is held.
func (s *scheduler) push(name string, at time.Time) {
	due := time.Since(s.base) + at.Sub(s.now())
	if err := s.due.Push(&queue.Item{Key: name, Priority: int64(due)}); err == nil {
		s.idle = min(s.idle, due)
	}
	s.wake()
}

// takeDue removes what is due and returns it, with the time until what comes
// next. False: nothing does.
func (s *scheduler) takeDue() (names []string, until time.Duration, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Since(s.base)
	if s.idle > now && s.due.Len() > 0 {
		return nil, s.idle - now, true
	}
	for s.due.Len() > 0 {
		item, err := s.due.Pop()
		if err != nil {
			return names, 0, false
		}
		if until := time.Duration(item.Priority) - now; until > 0 {
			_ = s.due.Push(item)
			s.idle = time.Duration(item.Priority)
			return names, until, true
		}
		names = append(names, item.Key)
	}
	return names, 0, false
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
		names, until, more := s.takeDue()
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
		if more {
			timer.Reset(until)
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
	work, done := s.b.beyondRequest(ctx)
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
	staged, visits := role.entry.Rotation.Next, b.scheduler.visit()
	wake, err := b.rotate(ctx, role, state)
	if err != nil && !wake.After(b.now()) { // not even the failure could be stored
		b.scheduler.retryLater(ctx, role.name, err)
		return err
	}
	if after := role.entry.Rotation; after.Next != nil && staged == nil && !after.Forced {
		b.drift.want(role.name, b.now())
	}
	b.scheduler.scheduleAfter(visits, role.name, b.nextLook(role, wake))
	return err
}

func (s *scheduler) retryLater(ctx context.Context, name string, err error) {
	if ctx.Err() == nil {
		s.b.Logger().Error("rotation cannot go on", "role", name, "error", err)
	}
	wait := storageRetry
	var unreadable *unreadableError
	if errors.As(err, &unreadable) {
		wait = unreadableRetry
	}
	s.schedule(name, s.now().Add(wait))
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
