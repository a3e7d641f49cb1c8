// Package lease keeps what an application has read from Vault, and reads it again in
// time: one read for all who need it, and not too often while Vault fails.
package lease

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// ReadTimeout is how long one read may take, with the client's own retries.
	ReadTimeout = 30 * time.Second
	// Pause is the least time between two reads, if Vault fails, or if Auth0 or an API
	// refuses for long what was read.
	Pause = time.Second
)

// Part is the part of a lease after which it is read again, as Vault Agent does with
// leases that cannot be renewed: 85 to 95 %, so that not all read at once.
func Part() float64 {
	return 0.85 + 0.1*rand.Float64() //nolint:gosec // spreads the load, guards nothing
}

// Past reports whether a time has come, by the monotonic clock or the wall clock: the first
// stands still while a machine sleeps, and the other may be put back.
func Past(at time.Time) bool {
	now := time.Now()
	return !now.Before(at) || !now.Round(0).Before(at.Round(0))
}

// Held is what was read.
type Held[T any] struct {
	Value     T
	ReadAgain time.Time // from then on it is read again, by who asks for it
	End       time.Time // from then on who asks for it waits for that
}

// Keeper keeps what was read last. It reads when it is asked: nothing runs meanwhile.
type Keeper[T any] struct {
	path string
	ask  func(ctx context.Context, asked time.Time) (*Held[T], error)

	mu     sync.Mutex
	held   *Held[T]
	last   *Reading  // under way, or the last one
	ended  time.Time // when the last one ended
	failed error     // what came of that
}

// NewKeeper is a keeper of what ask reads at the path. A lease counts from before the
// request, from asked, so that it is never taken to be longer than it is.
func NewKeeper[T any](path string, ask func(ctx context.Context, asked time.Time) (*Held[T], error)) *Keeper[T] {
	return &Keeper[T]{path: path, ask: ask}
}

// Reading is one read. All who need it share it, and it goes on when one of them leaves.
type Reading struct {
	Began time.Time
	done  chan struct{} // closed when it has ended
	err   error         // to be read after that
}

func (r *Reading) underWay() bool {
	if r == nil {
		return false
	}
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// Present gives what is held, and the read that is under way if it is to be read again.
// Without anything held there is always a read.
func (k *Keeper[T]) Present(ctx context.Context) (*Held[T], *Reading) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	switch {
	case k.held == nil, k.last.underWay():
		return k.held, k.read(ctx)
	case !Past(k.held.ReadAgain), k.failed != nil && now.Sub(k.ended) < Pause:
		return k.held, nil
	}
	return k.held, k.read(ctx)
}

// Held is what is held; nil: nothing was read yet.
func (k *Keeper[T]) Held() *Held[T] {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held
}

// LastError is why the last read has failed; nil if it has not.
func (k *Keeper[T]) LastError() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed
}

// JustFailed is why the last read has failed, if that was less than a Pause ago; else nil.
func (k *Keeper[T]) JustFailed() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.ended) >= Pause {
		return nil
	}
	return k.failed
}

// Refresh reads ahead of time. The read begins after the call, and at least a Pause after
// the last one ended. All who wait share it.
func (k *Keeper[T]) Refresh(ctx context.Context) error {
	k.mu.Lock()
	before := k.last
	k.mu.Unlock()
	for {
		k.mu.Lock()
		r, calm := k.last, time.Until(k.ended.Add(Pause))
		if r == before && !r.underWay() {
			r = nil
			if calm <= 0 {
				r = k.read(ctx)
			}
		}
		k.mu.Unlock()
		if r != nil {
			if err := k.Await(ctx, r); r != before || ctx.Err() != nil {
				return err
			}
			continue // it began before the call
		}
		select {
		case <-ctx.Done():
			return k.unread(ctx.Err())
		case <-time.After(calm):
		}
	}
}

// Await waits for a read, as long as the context lets it.
func (k *Keeper[T]) Await(ctx context.Context, r *Reading) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return k.unread(ctx.Err())
	}
}

func (k *Keeper[T]) unread(why error) error { return fmt.Errorf("read %s: %w", k.path, why) }

// read starts to read, unless it is under way. k.mu must be held.
func (k *Keeper[T]) read(ctx context.Context) *Reading {
	if k.last.underWay() {
		return k.last
	}
	r := &Reading{Began: time.Now(), done: make(chan struct{})}
	k.last = r
	ctx, enough := context.WithTimeout(context.WithoutCancel(ctx), ReadTimeout)
	go func() {
		defer enough()
		fresh, err := k.ask(ctx, r.Began)
		k.mu.Lock()
		defer k.mu.Unlock()
		if err != nil {
			r.err = k.unread(err)
		} else {
			k.held = fresh
		}
		k.ended, k.failed = time.Now(), r.err
		close(r.done)
	}()
	return r
}
