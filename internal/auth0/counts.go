package auth0

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// Counts is what clients have sent, and what they got. Clients can share one, at the
// same time or one after the other. The zero value is ready for use.
type Counts struct {
	mu       sync.Mutex
	requests map[RequestCount]uint64 // without Number
	tokens   atomic.Uint64
}

// RequestCount is how many requests to an endpoint were answered with a class of
// statuses. A request that was sent again counts again.
type RequestCount struct {
	Endpoint string // method and path, such as GET /api/v2/clients/{id}
	Status   string // one of statusClasses
	Number   uint64
}

// statusClasses are classes of an answer's status: none is that there was no answer,
// other is what HTTP does not know.
var statusClasses = []string{"none", "2xx", "3xx", "4xx", "429", "5xx", "other"}

func statusClass(status int) string {
	class := strconv.Itoa(status/100) + "xx"
	switch {
	case status == 0:
		return "none"
	case status == http.StatusTooManyRequests:
		return "429"
	case slices.Contains(statusClasses, class):
		return class
	}
	return "other"
}

type endpointKey struct{}

// to is a context for requests to an endpoint. Those of the oauth2 library, which asks
// for tokens, have none.
func to(ctx context.Context, e *Endpoint) context.Context {
	return context.WithValue(ctx, endpointKey{}, e)
}

// sent counts a request; status 0: there was no answer.
func (c *Counts) sent(ctx context.Context, status int) {
	e, ok := ctx.Value(endpointKey{}).(*Endpoint)
	if !ok {
		e = endpointToken
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests = map[RequestCount]uint64{}
	}
	c.requests[RequestCount{Endpoint: e.name(), Status: statusClass(status)}]++
}

// Requests are the requests that were sent: all endpoints and classes of statuses, in
// the same order each time, whether there were any or not.
func (c *Counts) Requests() []RequestCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []RequestCount
	for _, e := range endpoints {
		if slices.ContainsFunc(all, func(r RequestCount) bool { return r.Endpoint == e.name() }) {
			continue // two that differ in what is sent
		}
		for _, class := range statusClasses {
			count := RequestCount{Endpoint: e.name(), Status: class}
			count.Number = c.requests[count]
			all = append(all, count)
		}
	}
	return all
}

// Tokens is how many access tokens Auth0 has issued.
func (c *Counts) Tokens() uint64 { return c.tokens.Load() }
