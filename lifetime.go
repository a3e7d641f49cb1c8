package auth0secrets

import (
	"context"
	"time"
)

// How long work may go on: beyond the request that asked for it, and beyond the
// engine's end.

const (
	// upstreamPatience bounds work that goes on beyond its request: the requests
	// to Auth0 that an attempt consists of at most, with a token for each.
	upstreamPatience = 4 * maxRequestTimeout
	// stopPatience is how long such work may go on when the engine stops.
	stopPatience = 5 * time.Second
)

// beyondRequest is a context for work that goes on even if the caller has gone:
// an answer of Auth0 that nobody waits for is an unclear one. It ends soon after
// the engine stops.
func (b *backend) beyondRequest(ctx context.Context) (context.Context, context.CancelFunc) {
	return b.detached(ctx, upstreamPatience)
}

func (b *backend) detached(ctx context.Context, patience time.Duration) (context.Context, context.CancelFunc) {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	forget := context.AfterFunc(b.running, func() {
		timer := time.AfterFunc(stopPatience, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	return work, func() {
		forget()
		cancel()
	}
}

// storagePatience bounds the storing of an outcome.
const storagePatience = 30 * time.Second

// keepOutcome is a context to store what Auth0 has answered: that must not be
// lost because the time for the request is up, or because the engine stops.
func keepOutcome(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), storagePatience)
}
