package auth0

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

const (
	defaultRetryAfter = 10 * time.Second // for a 429 that does not say
	minRetryAfter     = time.Second
	// maxRetryAfter is the longest wait, whatever Auth0 has asked for: one bad header
	// must not stop everything.
	maxRetryAfter = time.Minute
	// maxReset is how far ahead a time of the tenant's limits is believed to be.
	maxReset = 24 * time.Hour

	// urgentEvery is how often an urgent call is let go during a hold.
	urgentEvery = 10 * time.Second

	// firstCalls may be under way at a time while no answer says how many are left.
	firstCalls = 8
	// probeEvery is the time between calls when none is left: the slowest tenant
	// has room for one more after it.
	probeEvery = 500 * time.Millisecond
	// countedAfter is when Auth0 has counted a call, even without an answer yet: one
	// that hangs does not hold up the others.
	countedAfter = 3 * time.Second
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

// RateLimit gives the last seen rate limit: the tenant's, or where only
// applications were listed so far, that of the list.
func (c *Client) RateLimit() RateLimit {
	if seen := c.limits.last(); !seen.SeenAt.IsZero() {
		return seen
	}
	return c.limits.list.last()
}

// Limits is what is known of a tenant's rate limits. Clients of the same tenant can
// share one, at the same time or one after the other. The list of applications has a
// limit of its own, and so have (one for both) the token endpoint and that of revocation.
type Limits struct {
	gate
	list, token gate

	// quotas are Auth0's limits of how many tokens one application gets, alone or for an
	// organization. They hold nobody else up.
	quotaLock sync.Mutex
	quotas    map[string]time.Time // until when there are no more; at most maxRetryAfter ahead
}

// underQuota refuses a request for a token that would exceed a quota.
func (l *Limits) underQuota(ctx context.Context, quota string) error {
	l.quotaLock.Lock()
	defer l.quotaLock.Unlock()
	left := time.Until(l.quotas[quota])
	if left <= 0 {
		delete(l.quotas, quota)
		return nil
	}
	if isUrgent(ctx) {
		return nil
	}
	return &Error{Class: Limited, Op: OpToken, RetryAfter: max(left, minRetryAfter)}
}

// exceeded notes that a quota is exceeded.
func (l *Limits) exceeded(quota string, h http.Header) *Error {
	l.quotaLock.Lock()
	defer l.quotaLock.Unlock()
	wait := retryAfter(h, time.Now())
	if l.quotas == nil {
		l.quotas = map[string]time.Time{}
	}
	l.quotas[quota] = time.Now().Add(wait)
	return &Error{Class: Limited, Op: OpToken, Status: http.StatusTooManyRequests, Code: "too_many_requests", RetryAfter: wait}
}

// exceedsQuota reports whether a 429 is one application's, and not the tenant's.
func exceedsQuota(said *oauth2.RetrieveError) bool {
	return said.Response.StatusCode == http.StatusTooManyRequests && said.ErrorCode == "too_many_requests" &&
		strings.Contains(strings.ToLower(said.ErrorDescription), "quota exceeded")
}

// of is the gate of an endpoint.
func (l *Limits) of(e *Endpoint) *gate {
	if e == endpointApplications {
		return &l.list
	}
	return &l.gate
}

// gate is what is known of one limit. It lets calls go in the order in which they came.
//
// Auth0's limit is a token bucket, and each answer says how many calls are left in it.
// The gate lets so many go, less those that Auth0 may have counted since, and a few
// for other users of the tenant. When none is left, it lets one go after probeEvery,
// whose answer says how far the bucket has filled meanwhile. So the tenant's whole
// rate is used, whatever it is, and Auth0 turns hardly a call away.
//
// When Auth0 says to wait, the gate holds calls, for a minute at most. Then it lets one
// go, whose answer says whether the wait is over. An urgent call goes at once; if its
// answer says that there is no limit any more, the hold ends.
type gate struct {
	mu       sync.Mutex
	seen     RateLimit
	until    time.Time // held, since Auth0 said so
	heldAt   time.Time // when it said so
	urgentAt time.Time // when an urgent call last went all the same

	heeded   time.Time          // when an answer last said how many are left
	left     int                // calls that may go, by that answer
	going    map[*turn]struct{} // calls that have gone and not ended
	ended    int                // how many have ended
	lastGone time.Time

	queue []*turn     // calls that wait
	timer *time.Timer // for the first of the queue; nil: none
}

// turn is a call's turn.
type turn struct {
	gate  *gate
	come  chan struct{} // closed: the call may go
	gone  time.Time     // when it went
	ended int           // how many had ended by then
}

type urgentKey struct{}

// Urgent is a context for calls that go even while others are held because of the rate
// limit: one in urgentEvery.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

func (l *gate) last() RateLimit {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

// observe learns from the call's answer.
func (t *turn) observe(status int, h http.Header) {
	l := t.gate
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
	if ok {
		l.seen = seen
	}
	if limited {
		l.heeded, l.left = now, 0
	} else if ok && seen.Remaining >= 0 {
		// Auth0 may have counted after this one all calls that are under way, or
		// that ended since it went: answers come in any order.
		others := l.underWay(now, t) + l.ended - t.ended
		l.heeded, l.left = now, seen.Remaining-others-min(max(seen.Limit, 0)/10, maxReserve)
	}
	answered := ok || status/100 == 2
	switch until := now.Add(hold); {
	case hold == 0 && answered && t.gone.After(l.heldAt): // it went in spite of the hold, and need not have waited
		l.until = time.Time{}
	case hold > 0 && (until.After(l.until) || t.gone.After(l.heldAt)):
		// Of answers that come in any order the longest hold counts, but a later one
		// knows better.
		l.until, l.heldAt = until, now
	}
	l.dispatch(now)
}

// underWay is how many calls but this one Auth0 may not have counted yet.
func (l *gate) underWay(now time.Time, but *turn) int {
	n := 0
	for t := range l.going {
		if t != but && now.Sub(t.gone) < countedAfter {
			n++
		}
	}
	return n
}

// wait returns when a call may be sent. The caller calls done when the call has ended,
// or unused if it was not sent. The error says that nothing was sent: because ctx has
// ended or would end too soon, or because an urgent call does not wait.
func (l *gate) wait(ctx context.Context, op string) (*turn, error) {
	t := &turn{gate: l, come: make(chan struct{})}
	l.mu.Lock()
	now := time.Now()
	if isUrgent(ctx) && l.until.After(now) {
		defer l.mu.Unlock()
		return l.overtake(t, op, now)
	}
	if end, ok := ctx.Deadline(); ok && l.until.After(end) {
		defer l.mu.Unlock()
		return nil, l.limited(op, now)
	}
	l.queue = append(l.queue, t)
	l.dispatch(now)
	l.mu.Unlock()

	select {
	case <-t.come:
		return t, nil
	case <-ctx.Done():
		return nil, l.leave(ctx, t, op)
	}
}

// admit is wait for token requests, whose answers do not say how many are left. Those
// that are held fail at once.
func (l *gate) admit(ctx context.Context) (*turn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, now := &turn{gate: l}, time.Now()
	switch {
	case !l.until.After(now):
		l.letGo(t, now)
		return t, nil
	case isUrgent(ctx):
		return l.overtake(t, OpToken, now)
	default:
		return nil, l.limited(OpToken, now)
	}
}

func isUrgent(ctx context.Context) bool {
	urgent, _ := ctx.Value(urgentKey{}).(bool)
	return urgent
}

// overtake lets an urgent call go though calls are held, unless another has just
// gone. l.mu is held.
func (l *gate) overtake(t *turn, op string, now time.Time) (*turn, error) {
	if next := l.urgentAt.Add(urgentEvery); next.After(now) {
		return nil, &Error{Class: Limited, Op: op, RetryAfter: max(min(next.Sub(now), l.until.Sub(now)), minRetryAfter)}
	}
	l.urgentAt = now
	l.letGo(t, now)
	return t, nil
}

// limited is the error of a call that is held. l.mu is held.
func (l *gate) limited(op string, now time.Time) *Error {
	return &Error{Class: Limited, Op: op, RetryAfter: max(l.until.Sub(now), minRetryAfter)}
}

// leave takes a call out of the queue whose context has ended.
func (l *gate) leave(ctx context.Context, t *turn, op string) error {
	l.mu.Lock()
	i := slices.Index(l.queue, t)
	if i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
	failure := l.limited(op, time.Now())
	l.mu.Unlock()
	if i < 0 {
		t.unused()
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return failure
	}
	return &Error{Class: Refused, Op: op, Message: reasonGivenUp, cause: context.Canceled}
}

// done says that the call has ended, with an answer or without.
func (t *turn) done() {
	l := t.gate
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.going, t)
	l.ended++
	l.dispatch(time.Now())
}

// unused says that the call was not sent after all: another may go in its place.
func (t *turn) unused() {
	l := t.gate
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.going, t)
	l.left++
	for _, last := range []*time.Time{&l.lastGone, &l.urgentAt} {
		if last.Equal(t.gone) {
			*last = time.Time{}
		}
	}
	l.dispatch(time.Now())
}

// dispatch lets calls go that may, and sets the timer for the next. l.mu is held.
func (l *gate) dispatch(now time.Time) {
	for len(l.queue) > 0 {
		if at := l.next(now); at.After(now) {
			l.wakeAt(at.Sub(now))
			return
		}
		first := l.queue[0]
		l.queue = l.queue[1:]
		l.letGo(first, now)
		close(first.come)
	}
}

// letGo notes that a call goes.
func (l *gate) letGo(t *turn, now time.Time) {
	t.gone, t.ended = now, l.ended
	if l.going == nil {
		l.going = map[*turn]struct{}{}
	}
	l.going[t] = struct{}{}
	l.left--
	l.lastGone = now
}

// next is when the next call may go; not after now: at once.
func (l *gate) next(now time.Time) time.Time {
	room := l.left > 0
	if now.Sub(later(l.heeded, l.until)) > heedFor { // nothing recent is known
		room = l.underWay(now, nil) < firstCalls
	}
	if room {
		return l.until
	}
	return later(l.until, l.lastGone.Add(probeEvery))
}

func (l *gate) wakeAt(wait time.Duration) {
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

// parseRateLimit reads the X-RateLimit headers; false if there are none. A value that
// cannot be true counts as absent.
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
		at, by := time.Unix(int64(reset), 0), serverTime(h, now)
		if at.After(by.Add(-maxReset)) && at.Before(by.Add(maxReset)) {
			r.Reset = at
		}
	}
	return r, r.Limit >= 0 || r.Remaining >= 0
}

// retryAfter says how long a 429 asks to wait, from minRetryAfter to
// maxRetryAfter: by Retry-After (seconds or a date), else X-RateLimit-Reset.
func retryAfter(h http.Header, now time.Time) time.Duration {
	wait := defaultRetryAfter
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil && seconds >= 0 {
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

// serverTime is the time of the answer by the clock of its other times, which need not
// agree with ours; ours if the answer has none, or one that is off by more than
// maxReset.
func serverTime(h http.Header, now time.Time) time.Time {
	if date, err := http.ParseTime(h.Get("Date")); err == nil && date.Sub(now).Abs() < maxReset {
		return date
	}
	return now
}

// bounded makes a duration of seconds, 0 to maxRetryAfter, without overflow.
func bounded(seconds float64) time.Duration {
	return time.Duration(min(max(seconds, 0), maxRetryAfter.Seconds()) * float64(time.Second))
}
