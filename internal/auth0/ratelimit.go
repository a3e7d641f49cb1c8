package auth0

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	defaultRetryAfter = 10 * time.Second // for a 429 that does not say
	minRetryAfter     = time.Second
	maxRetryAfter     = time.Hour

	// firstCalls are let go before the first answer.
	firstCalls = 8
	// probeEvery is the time between calls when none is left: the slowest tenant
	// has room for one more after it.
	probeEvery = 500 * time.Millisecond
	// heedFor is how long an answer says something of the limit.
	heedFor = time.Minute
	// maxReserve is how many calls of the tenant's burst are left to others.
	maxReserve = 5
)

// RateLimit is what the Management API's answers last said of the tenant's
// rate limit (X-RateLimit-Limit, -Remaining, -Reset).
type RateLimit struct {
	Limit     int       // -1: the answer did not say
	Remaining int       // -1: the answer did not say
	Reset     time.Time // by Auth0's clock; zero: the answer did not say
	SeenAt    time.Time // zero: no answer has said anything yet
}

// RateLimit gives the last seen rate limit.
func (c *Client) RateLimit() RateLimit {
	c.limits.mu.Lock()
	defer c.limits.mu.Unlock()
	return c.limits.seen
}

// Limits is what is known of a tenant's rate limit, and lets calls go one after
// the other, in the order in which they came. Clients of the same tenant can
// share one, at the same time or one after the other.
//
// Auth0's limit is a token bucket: each answer says how many calls are left in
// it. So many are let go, less those that Auth0 may have counted since, and a few
// for whoever else uses the tenant. When none is left, one goes after probeEvery
// and its answer says how far the bucket has filled meanwhile. So the tenant's
// whole rate is used, whatever it is, and next to nothing is turned away.
type Limits struct {
	mu    sync.Mutex
	seen  RateLimit
	until time.Time // no call before, since Auth0 said so

	heeded   time.Time // when an answer last said something of the limit
	answered bool      // there was an answer
	left     int       // calls that may go
	inFlight int       // calls that have gone and not ended
	ended    int       // calls that have ended

	probes *rate.Limiter // has one if the last call went probeEvery ago; nil: none went yet
	queue  []*turn       // calls that wait
	timer  *time.Timer   // for the first of the queue; nil: none
}

// turn is a call's turn.
type turn struct {
	limits *Limits
	come   chan struct{} // closed: the call may go
	ended  int           // how many had ended when it went
}

// observe learns from the call's answer.
func (t *turn) observe(status int, h http.Header) {
	l := t.limits
	now := time.Now()
	seen, ok := parseRateLimit(h, now)
	limited := status == http.StatusTooManyRequests
	var hold time.Duration
	if limited {
		hold = retryAfter(h, now)
	} else if ok && seen.Remaining == 0 {
		hold, _ = untilReset(h, now)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered = true
	if ok {
		l.seen = seen
	}
	if limited {
		l.heeded, l.left = now, 0
	} else if ok && seen.Remaining >= 0 {
		// Auth0 may have counted after this one all calls that have not ended, or
		// that had not when it went: answers come in any order.
		others := l.inFlight - 1 + l.ended - t.ended
		l.heeded, l.left = now, seen.Remaining-others-min(max(seen.Limit, 0)/10, maxReserve)
	}
	// Answers come in any order: a hold is only ever made longer.
	if until := now.Add(hold); hold > 0 && until.After(l.until) {
		l.until = until
	}
	l.dispatch(now)
}

// wait returns when a call may be sent; then done has to be called when it has
// ended. If ctx ends sooner than that, it returns a Limited error, at once where
// that is known before.
func (l *Limits) wait(ctx context.Context, op string) (*turn, error) {
	t := &turn{limits: l, come: make(chan struct{})}
	l.mu.Lock()
	now := time.Now()
	if end, ok := ctx.Deadline(); ok && l.until.After(end) {
		defer l.mu.Unlock()
		return nil, &Error{Class: Limited, Op: op, RetryAfter: max(l.until.Sub(now), minRetryAfter)}
	}
	l.queue = append(l.queue, t)
	l.dispatch(now)
	l.mu.Unlock()

	select {
	case <-t.come:
		return t, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.queue, t); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
	} else { // it may go, but will not
		l.inFlight--
		l.left++
		l.probes = nil
	}
	now = time.Now()
	l.dispatch(now)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, &Error{Class: Limited, Op: op, RetryAfter: max(l.until.Sub(now), minRetryAfter)}
	}
	return nil, noAnswer(op, ctx.Err(), nil)
}

// done says that the call has ended, however it did.
func (t *turn) done() {
	l := t.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	l.ended++
}

// dispatch lets those go who may, and sets the timer for the next. l.mu is held.
func (l *Limits) dispatch(now time.Time) {
	for len(l.queue) > 0 {
		if at := l.next(now); at.After(now) {
			l.wakeAt(at.Sub(now))
			return
		}
		first := l.queue[0]
		l.queue = l.queue[1:]
		first.ended = l.ended
		close(first.come)
		l.left--
		l.inFlight++
		if l.probes == nil {
			l.probes = rate.NewLimiter(rate.Every(probeEvery), 1)
		}
		l.probes.AllowN(now, 1)
	}
}

// next is when the next call may go; not after now: at once.
func (l *Limits) next(now time.Time) time.Time {
	free := l.answered && now.Sub(l.heeded) > heedFor
	room := l.left > 0 || (!l.answered && l.inFlight < firstCalls)
	if free || room || l.probes == nil {
		return l.until
	}
	missing := 1 - l.probes.TokensAt(now)
	return later(l.until, now.Add(time.Duration(missing*float64(probeEvery))))
}

func (l *Limits) wakeAt(wait time.Duration) {
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timer = time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dispatch(time.Now())
	})
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// parseRateLimit reads the X-RateLimit headers; false if there are none.
func parseRateLimit(h http.Header, now time.Time) (RateLimit, bool) {
	number := func(name string) int {
		n, err := strconv.Atoi(h.Get(name))
		if err != nil || n < 0 {
			return -1
		}
		return n
	}
	r := RateLimit{Limit: number("X-RateLimit-Limit"), Remaining: number("X-RateLimit-Remaining"), SeenAt: now}
	if reset := number("X-RateLimit-Reset"); reset > 0 {
		r.Reset = time.Unix(int64(reset), 0)
	}
	return r, r.Limit >= 0 || r.Remaining >= 0
}

// retryAfter says how long a 429 asks to wait, from minRetryAfter to
// maxRetryAfter: by Retry-After (seconds or a date), else X-RateLimit-Reset.
func retryAfter(h http.Header, now time.Time) time.Duration {
	wait := defaultRetryAfter
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		wait = bounded(float64(seconds))
	} else if date, err := http.ParseTime(value); err == nil {
		wait = bounded(date.Sub(serverTime(h, now)).Seconds())
	} else if reset, ok := untilReset(h, now); ok {
		wait = reset
	}
	return max(wait, minRetryAfter)
}

// untilReset says how long it is to X-RateLimit-Reset, 0 to maxRetryAfter;
// false if the header is not there.
func untilReset(h http.Header, now time.Time) (time.Duration, bool) {
	r, _ := parseRateLimit(h, now)
	if r.Reset.IsZero() {
		return 0, false
	}
	return bounded(r.Reset.Sub(serverTime(h, now)).Seconds()), true
}

// serverTime is the time of the answer by the clock that has set its other
// times, if it says so: the two clocks need not agree.
func serverTime(h http.Header, now time.Time) time.Time {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		return date
	}
	return now
}

// bounded makes a duration of seconds, 0 to maxRetryAfter, without overflow.
func bounded(seconds float64) time.Duration {
	return time.Duration(min(max(seconds, 0), maxRetryAfter.Seconds()) * float64(time.Second))
}
