// Package due attends to each of many keys when its time has come. One goroutine waits
// for the next of them:
//
//	index := due.New(time.Now, func(ctx context.Context, key string) time.Time {
//		rotate(ctx, key)
//		return nextTime(key)
//	})
//	index.Set("shop", at)
//	index.Start()
//	defer index.Stop()
//
// Times are by the wall clock, but it waits by the monotonic one: after a step of the
// wall clock it attends to all keys again.
package due

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/queue"
)

const (
	// concurrency is how many keys it attends to at the same time. It is well above
	// what a tenant's rate limit lets through, so that keys that wait leave room for
	// others.
	concurrency = 64

	// clockTolerance is the most by which the wall clock may be corrected at a time
	// without counting as stepped.
	clockTolerance = 2 * time.Second
)

// Index is the keys and their times. It is in memory: after a start the caller sets
// them again.
type Index struct {
	now    func() time.Time // the wall clock
	attend func(ctx context.Context, key string) (next time.Time)
	base   time.Time // times are counted from here, by the monotonic clock

	running context.Context // from Start to Stop, not a call's
	stop    context.CancelFunc
	woken   chan struct{}
	work    sync.WaitGroup

	mu      sync.Mutex
	started bool
	keys    map[string]*entry
	queue   *queue.PriorityQueue // of those that have a time; priority: nanoseconds from base
	idle    time.Duration        // from base; nothing in the queue is due before
	looked  reading
}

// entry is the state of a key.
type entry struct {
	attended  bool      // it is being attended to
	again     time.Time // the earliest time that was set meanwhile; zero: none
	forgotten bool      // meanwhile, and not set again
}

// reading is a time by both clocks.
type reading struct {
	wall      time.Time // without a monotonic reading
	sinceBase time.Duration
}

// New makes an index that is not started yet. attend does the work for one key, and
// says when to come back; zero: not before its time is set again. It is called for a
// key only when its last call for that key has returned. Its context ends with Stop.
func New(now func() time.Time, attend func(ctx context.Context, key string) (next time.Time)) *Index {
	x := &Index{
		now: now, attend: attend, base: time.Now(),
		woken: make(chan struct{}, 1), keys: map[string]*entry{}, queue: queue.New(),
	}
	x.running, x.stop = context.WithCancel(context.Background())
	x.looked = x.readClocks()
	return x
}

// Start begins to attend to keys that are due. It does nothing after the first call, or
// after Stop.
func (x *Index) Start() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.started || x.running.Err() != nil {
		return
	}
	x.started = true
	x.work.Go(x.loop)
}

// Stop ends it for good, and waits for calls of attend that are under way.
func (x *Index) Stop() {
	x.mu.Lock()
	x.stop()
	x.mu.Unlock()
	x.work.Wait()
}

// Set sets the time of a key; zero: none. For a key that is being attended to, it is the
// latest time at which that happens again.
func (x *Index) Set(key string, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	k := x.keys[key]
	if k == nil {
		k = &entry{}
		x.keys[key] = k
	}
	if k.attended {
		k.again, k.forgotten = earlier(k.again, at), false
		return
	}
	x.place(key, at)
}

// Forget drops a key. A call of attend for it that is under way goes on.
func (x *Index) Forget(key string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if k := x.keys[key]; k != nil && k.attended {
		k.forgotten, k.again = true, time.Time{}
		return
	}
	delete(x.keys, key)
	_, _ = x.queue.PopByKey(key)
}

// Len is how many keys there are.
func (x *Index) Len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, k := range x.keys {
		if !k.forgotten {
			n++
		}
	}
	return n
}

// Again makes every key due, because something has changed for all.
func (x *Index) Again() {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.now()
	for key, k := range x.keys {
		switch {
		case k.forgotten:
		case k.attended:
			k.again = earlier(k.again, now)
		default:
			x.place(key, now)
		}
	}
}

// CheckClock makes every key due if the wall clock was stepped since the last call, and
// says by how much.
func (x *Index) CheckClock() (step time.Duration) {
	read := x.readClocks()
	x.mu.Lock()
	step = read.wall.Sub(x.looked.wall) - (read.sinceBase - x.looked.sinceBase)
	x.looked = read
	x.mu.Unlock()
	if step.Abs() <= clockTolerance {
		return 0
	}
	x.Again()
	return step
}

func (x *Index) readClocks() reading {
	return reading{wall: x.now().Round(0), sinceBase: time.Since(x.base)}
}

// place puts a key into the queue, or takes it out. x.mu is held.
func (x *Index) place(key string, at time.Time) {
	_, _ = x.queue.PopByKey(key)
	if at.IsZero() {
		return
	}
	due := time.Since(x.base) + at.Sub(x.now())
	if err := x.queue.Push(&queue.Item{Key: key, Priority: int64(due)}); err == nil {
		x.idle = min(x.idle, due)
	}
	select {
	case x.woken <- struct{}{}:
	default:
	}
}

// takeDue removes the keys that are due from the queue and returns them, with the time
// until the next one. False: there is none.
func (x *Index) takeDue() (keys []string, until time.Duration, more bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Since(x.base)
	if x.idle > now && x.queue.Len() > 0 {
		return nil, x.idle - now, true
	}
	for x.queue.Len() > 0 {
		item, err := x.queue.Pop()
		if err != nil {
			return keys, 0, false
		}
		if until := time.Duration(item.Priority) - now; until > 0 {
			_ = x.queue.Push(item)
			x.idle = time.Duration(item.Priority)
			return keys, until, true
		}
		x.keys[item.Key].attended = true
		keys = append(keys, item.Key)
	}
	return keys, 0, false
}

func (x *Index) loop() {
	slots := make(chan struct{}, concurrency)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-x.running.Done():
			return
		case <-timer.C:
		case <-x.woken:
		}
		keys, until, more := x.takeDue()
		for _, key := range keys {
			select {
			case slots <- struct{}{}:
			case <-x.running.Done():
				return
			}
			x.work.Go(func() {
				defer func() { <-slots }()
				x.attendTo(key)
			})
		}
		if more {
			timer.Reset(until)
		}
	}
}

// attendTo attends to one key, and puts it back into the queue.
func (x *Index) attendTo(key string) {
	x.mu.Lock()
	k := x.keys[key]
	forgotten := k.forgotten
	x.mu.Unlock()
	var next time.Time
	if !forgotten {
		next = x.attend(x.running, key)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	k.attended = false
	if k.forgotten {
		delete(x.keys, key)
		return
	}
	x.place(key, earlier(k.again, next))
	k.again = time.Time{}
}

// earlier is the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
