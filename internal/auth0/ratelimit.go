package auth0

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	defaultRetryAfter = 10 * time.Second // for a 429 that does not say
	minRetryAfter     = time.Second
	maxRetryAfter     = time.Hour
	unknownPace       = 2           // calls per second: the lowest limit that Auth0 has
	paceFor           = time.Minute // after a hold
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

// Limits is what is known of a tenant's rate limit. Clients of the same tenant
// can share one, at the same time or one after the other.
//
// It holds calls back once Auth0 has shown its limit, and lets them go
// one after the other when the hold ends. Before that it costs nothing.
//
//	free -> (429, or nothing remaining) -> held until a time -> paced for a minute -> free
type Limits struct {
	mu    sync.Mutex
	seen  RateLimit
	until time.Time     // no call before
	pace  *rate.Limiter // nil: free
}

// observe learns from an answer.
func (l *Limits) observe(status int, h http.Header) {
	now := time.Now()
	seen, ok := parseRateLimit(h, now)
	var hold time.Duration
	if status == http.StatusTooManyRequests {
		hold = retryAfter(h, now)
	} else if ok && seen.Remaining == 0 {
		hold, _ = untilReset(h, now)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if ok {
		l.seen = seen
	}
	// Answers come in any order: a hold is only ever made longer.
	if until := now.Add(hold); hold > 0 && until.After(l.until) {
		pace := rate.Limit(unknownPace)
		if l.seen.Limit > 0 {
			pace = rate.Limit(l.seen.Limit)
		}
		l.until, l.pace = until, rate.NewLimiter(pace, 1)
	}
}

// wait returns when a call may be sent. If ctx ends sooner than that, it
// returns a Limited error at once.
func (l *Limits) wait(ctx context.Context, op string) error {
	for {
		wait, slot := l.reserve()
		if wait <= 0 {
			return nil
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
			l.giveBack(slot)
			return &Error{Class: Limited, Op: op, RetryAfter: max(wait, minRetryAfter)}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			l.giveBack(slot)
			return noAnswer(op, ctx.Err(), nil)
		case <-timer.C:
		}
		if !l.held() { // else an answer has made the hold longer meanwhile
			return nil
		}
	}
}

// reserve takes the next free slot and says how long it is until then.
func (l *Limits) reserve() (time.Duration, *rate.Reservation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.pace != nil && now.After(l.until.Add(paceFor)) {
		l.pace = nil
	}
	if l.pace == nil {
		return 0, nil
	}
	slot := l.pace.ReserveN(later(now, l.until), 1)
	return slot.DelayFrom(now), slot
}

// giveBack frees a slot that will not be used. The limiter's clock must not go
// back, and during a hold it stands at its end.
func (l *Limits) giveBack(slot *rate.Reservation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot.CancelAt(later(time.Now(), l.until))
}

func (l *Limits) held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.until)
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
