package auth0secrets

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// keyedLocks has a lock for each key. Unlike in a striped table, no key waits for
// another, and waiting ends with the context. They are held while Auth0 is called, so
// no read of credentials takes one.
type keyedLocks struct {
	mu    sync.Mutex
	locks map[string]*keyedLock
}

type keyedLock struct {
	held  *semaphore.Weighted
	users int
}

func newKeyedLocks() *keyedLocks { return &keyedLocks{locks: map[string]*keyedLock{}} }

// lock waits for the key's lock. unlock releases it.
func (k *keyedLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	l := k.locks[key]
	if l == nil {
		l = &keyedLock{held: semaphore.NewWeighted(1)}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()

	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, key)
		}
	}
	if err := l.held.Acquire(ctx, 1); err != nil {
		leave()
		return nil, err
	}
	return func() {
		l.held.Release(1)
		leave()
	}, nil
}
