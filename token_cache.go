package auth0secrets

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// Tokens that readers share are held in memory only: never stored, never logged.
//
// A token is handed out until min_ttl of its life is left. Then the next reader has
// another one fetched, however many ask. Somewhat before that, a reader has it fetched in
// the background and does not wait. While Auth0 cannot be reached, the held token is
// handed out as long as it is good for leastLeft.

const (
	// leastLeft is how long a token is good at least that is handed out because there is
	// no fresher one.
	leastLeft = 30 * time.Second
	// tokenPatience is how long a reader waits for a fresher token while the held one would do.
	tokenPatience = 2 * time.Second
	// tokenPause is the time between attempts to fetch a token, after one that failed. Readers
	// meanwhile share its error.
	tokenPause = time.Second
	// maxTokenAhead is how long before it is needed another token is fetched in the background.
	maxTokenAhead = time.Minute
)

// tokenIdentity is everything that makes a token. Readers share a token only if all of it is
// the same.
type tokenIdentity struct {
	TokenRole    string
	Domain       string // of the tenant
	Role         string // by whose application; "": the engine's own
	ClientID     string
	Audience     string
	Scopes       string // with spaces between
	Organization string
}

// heldToken is a token to hand out.
type heldToken struct {
	auth0.AccessToken
	// Stale says why there is no fresher token. Nil: none is needed yet.
	Stale error
}

// fetchToken gets a token from Auth0. It returns when the context ends.
type fetchToken func(context.Context) (auth0.AccessToken, error)

var (
	// errSlow is why there is no fresher token while one is still being fetched.
	errSlow = errors.New("Auth0 has not answered yet")
	// errStopping is why none is fetched after Clean.
	errStopping = logical.CodedError(http.StatusServiceUnavailable, "the engine is being stopped: try again")
)

// tokenCache holds tokens. It is safe for concurrent use.
type tokenCache struct {
	now     func() time.Time
	flights sync.WaitGroup
	mu      sync.Mutex
	stopped bool // no fetch begins any more
	entries map[tokenIdentity]*tokenEntry
}

func newTokenCache(now func() time.Time) *tokenCache {
	return &tokenCache{now: now, entries: map[tokenIdentity]*tokenEntry{}}
}

// tokenEntry is what is known of an identity. tokenCache.mu guards it. Once it is dropped, only
// readers that came before still get the token that is being fetched for it.
type tokenEntry struct {
	token    auth0.AccessToken // zero: there is none
	got      time.Time
	flight   *tokenFlight // nil: none is being fetched
	failure  error        // of the last fetch; nil: it brought the token
	failedAt time.Time
}

// tokenFlight is a fetch under way. The fields may be read when done is closed.
type tokenFlight struct {
	done  chan struct{}
	token auth0.AccessToken
	err   error
}

// get returns a token that is good for minTTL, or for half of its life where that is less.
//
// One that does not say when it expires is not held: only readers that wait for the same
// fetch share it.
func (c *tokenCache) get(ctx context.Context, id tokenIdentity, minTTL time.Duration, fetch fetchToken) (heldToken, error) {
	c.mu.Lock()
	e := c.entries[id]
	if e == nil {
		e = &tokenEntry{}
		c.entries[id] = e
	}
	now := c.now()
	held, spare := e.token, e.spare(minTTL, now)
	failedLately := e.failure != nil && now.Sub(e.failedAt) < tokenPause
	switch {
	case spare > 0 && (failedLately || spare > e.ahead(minTTL)):
		c.mu.Unlock()
		return heldToken{AccessToken: held}, nil
	case failedLately:
		defer c.mu.Unlock()
		return fallback(held, now, e.failure)
	}
	f := c.fetch(ctx, e, fetch)
	c.mu.Unlock()
	if spare > 0 {
		return heldToken{AccessToken: held}, nil
	}

	var late <-chan time.Time
	if leftUntil(held.ExpiresAt, now) > leastLeft+tokenPatience {
		timer := time.NewTimer(tokenPatience)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-f.done:
	case <-late:
		return fallback(held, c.now(), errSlow)
	case <-ctx.Done():
		return heldToken{}, ctx.Err()
	}
	if f.err != nil {
		return fallback(held, c.now(), f.err)
	}
	return heldToken{AccessToken: f.token}, nil
}

// spare returns for how long the held token can still be handed out. Zero or less: there
// is none, or not any more.
func (e *tokenEntry) spare(minTTL time.Duration, now time.Time) time.Duration {
	return leftUntil(e.token.ExpiresAt, now) - e.least(minTTL)
}

// leftUntil returns how long a token lives yet: by the clock that says less. The monotonic
// one stands still while the machine sleeps, and the wall clock may be put back.
func leftUntil(end, now time.Time) time.Duration {
	return min(end.Sub(now), end.Round(0).Sub(now.Round(0)))
}

// least returns how long a token has to be good: minTTL, at most half of what Auth0 gives.
func (e *tokenEntry) least(minTTL time.Duration) time.Duration { return min(minTTL, e.life()/2) }

// ahead returns how long before it is needed another token is fetched.
func (e *tokenEntry) ahead(minTTL time.Duration) time.Duration {
	return min(maxTokenAhead, (e.life()-e.least(minTTL))/10)
}

func (e *tokenEntry) life() time.Duration { return e.token.ExpiresAt.Sub(e.got) }

// fallback returns the held token if it is good for a while, unless Auth0 has said that
// there is to be none.
func fallback(held auth0.AccessToken, now time.Time, why error) (heldToken, error) {
	if saidNo(why) || leftUntil(held.ExpiresAt, now) < leastLeft {
		return heldToken{}, why
	}
	return heldToken{AccessToken: held, Stale: why}, nil
}

// saidNo reports whether Auth0 has refused a token, and not merely could not be reached.
// That it refuses the secrets is no such answer: while a rotation is unsettled or
// propagates, Auth0 may refuse all that the engine knows.
func saidNo(err error) bool {
	upstream, ok := errors.AsType[*auth0.Error](err)
	if !ok {
		return !errors.Is(err, errSlow)
	}
	return upstream.Class == auth0.Refused && upstream.Status != 0 && !auth0.SecretRefused(err)
}

// fetch has a token fetched, unless that is under way. c.mu is held. A reader that gives
// up does not end it: others may wait for it.
func (c *tokenCache) fetch(ctx context.Context, e *tokenEntry, fetch fetchToken) *tokenFlight {
	if e.flight != nil {
		return e.flight
	}
	f := &tokenFlight{done: make(chan struct{})}
	if c.stopped {
		f.err = errStopping
		close(f.done)
		return f
	}
	e.flight = f
	asked := c.now()
	c.flights.Go(func() {
		f.token, f.err = fetch(context.WithoutCancel(ctx))
		c.mu.Lock()
		defer c.mu.Unlock()
		e.flight, e.failure, e.failedAt = nil, f.err, c.now()
		if f.err == nil && !f.token.ExpiresAt.IsZero() {
			e.token, e.got = f.token, asked
		}
		close(f.done)
	})
	return f
}

// stop waits for the fetches under way. No other begins.
func (c *tokenCache) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.flights.Wait()
}

// drop forgets tokens: whoever asks from now on has another one fetched.
func (c *tokenCache) drop(which func(tokenIdentity) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.entries {
		if which(id) {
			delete(c.entries, id)
		}
	}
}
