package auth0

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
)

// Counts is what clients have sent, and what they got. Clients can share one, at the
// same time or one after the other. The zero value is ready for use.
type Counts struct {
	requests [len(endpoints)][len(statusClasses)]atomic.Uint64
	tokens   atomic.Uint64
}

// RequestCount is how many requests to an endpoint were answered with a class of
// statuses. A request that was sent again counts again.
type RequestCount struct {
	Endpoint string // method and path, such as GET /api/v2/clients/{id}
	Status   string // one of statusClasses
	Number   uint64
}

// statusClasses are classes of an answer's status. That the rate limit was reached is
// one of its own. The first is that there was no answer, the last for what HTTP does
// not know.
var statusClasses = [...]string{"none", "2xx", "3xx", "4xx", "429", "5xx", "other"}

func statusClass(status int) string {
	switch {
	case status == 0:
		return "none"
	case status == http.StatusTooManyRequests:
		return "429"
	case status >= 200 && status < 600:
		return string(rune('0'+status/100)) + "xx"
	default:
		return "other"
	}
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
	c.requests[slices.Index(endpoints[:], e)][slices.Index(statusClasses[:], statusClass(status))].Add(1)
}

// Requests are the requests that were sent, all endpoints and classes of statuses in
// the same order each time, whether there were any or not. Two endpoints with the same
// method and path are one.
func (c *Counts) Requests() []RequestCount {
	var all []RequestCount
	at := map[[2]string]int{}
	for i, e := range endpoints {
		for j, class := range statusClasses {
			count := RequestCount{e.Method + " " + e.Path, class, c.requests[i][j].Load()}
			key := [2]string{count.Endpoint, class}
			if before, ok := at[key]; ok {
				all[before].Number += count.Number
				continue
			}
			at[key] = len(all)
			all = append(all, count)
		}
	}
	return all
}

// Tokens is how many access tokens Auth0 has issued.
func (c *Counts) Tokens() uint64 { return c.tokens.Load() }
