package tenant

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// RateLimit is the tenant's limit for /api/v2, a token bucket. Auth0 has 2 a
// second for free tenants; 16 a second with bursts of 50 for paid ones. With
// PerSecond and Window 0 there is none; the headers are sent all the same.
type RateLimit struct {
	PerSecond float64 // how fast the bucket fills; of no use with a Window
	Burst     int     // what it holds; 0: PerSecond, at least 1
	// Window has the bucket filled all at once at the end of each, counted from
	// when the limit was set. X-RateLimit-Reset is then always the next such time.
	Window time.Duration
}

// recorded is the limit that GET /clients has besides, in a tenant that has a limit
// at all: bursts of 5, 100 a minute.
var recorded = RateLimit{PerSecond: 100.0 / 60, Burst: 5}

// SetRateLimit sets the rate limit, with full buckets.
func (t *Tenant) SetRateLimit(limit RateLimit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits = newLimits(limit, t.now())
}

// saidWhenUnlimited is the limit that the headers tell when there is none.
const saidWhenUnlimited = 1000

func (l RateLimit) unlimited() bool { return l.PerSecond <= 0 && l.Window <= 0 }

const (
	headerLimit     = "X-RateLimit-Limit"
	headerRemaining = "X-RateLimit-Remaining"
	headerReset     = "X-RateLimit-Reset"
)

// limits are the buckets of the tenant and of its list of applications.
type limits struct{ tenant, list *bucket }

func newLimits(limit RateLimit, now time.Time) limits {
	l := limits{tenant: newBucket(limit, now)}
	if !limit.unlimited() {
		l.list = newBucket(recorded, now)
	}
	return l
}

// of gives the buckets that an endpoint's requests take from, filled.
func (l limits) of(endpoint Endpoint, now time.Time) []*bucket {
	buckets := []*bucket{l.tenant}
	if endpoint == ListApplications && l.list != nil {
		buckets = append(buckets, l.list)
	}
	for _, b := range buckets {
		b.fill(now)
	}
	return buckets
}

// take takes one from each bucket of an endpoint; false, and none taken, if one
// of them is empty.
func (l limits) take(endpoint Endpoint, now time.Time) bool {
	buckets := l.of(endpoint, now)
	if slices.ContainsFunc(buckets, func(b *bucket) bool { return b.left < 1 }) {
		return false
	}
	for _, b := range buckets {
		b.left--
	}
	return true
}

// describe sets X-RateLimit-Limit (what the bucket holds), -Remaining, and
// -Reset: the epoch second when a request is possible again if nothing remains,
// else when the bucket is full. Of an endpoint's buckets it is the one with less
// left.
func (l limits) describe(header map[string]string, endpoint Endpoint, now time.Time) {
	least := slices.MinFunc(l.of(endpoint, now), func(a, b *bucket) int { return int(a.left) - int(b.left) })
	header[headerLimit] = strconv.Itoa(least.limit.Burst)
	header[headerRemaining] = strconv.Itoa(int(least.left))
	header[headerReset] = epoch(least.reset(now))
}

// bucket is a rate limit and what is left of it.
type bucket struct {
	limit RateLimit
	left  float64   // at most limit.Burst
	at    time.Time // when left was true; with a Window, when the present one began
}

func newBucket(limit RateLimit, now time.Time) *bucket {
	if limit.Burst <= 0 {
		limit.Burst = max(1, int(math.Ceil(limit.PerSecond)))
	}
	if limit.unlimited() {
		limit.Burst = saidWhenUnlimited
	}
	return &bucket{limit, float64(limit.Burst), now}
}

// fill adds what has come since b.at.
func (b *bucket) fill(now time.Time) {
	since := now.Sub(b.at)
	switch {
	case b.limit.unlimited():
		b.left = float64(b.limit.Burst)
	case b.limit.Window > 0:
		if ended := since.Truncate(b.limit.Window); ended > 0 {
			b.left, b.at = float64(b.limit.Burst), b.at.Add(ended)
		}
	case since > 0:
		b.left, b.at = min(float64(b.limit.Burst), b.left+since.Seconds()*b.limit.PerSecond), now
	}
}

// reset is the time for X-RateLimit-Reset.
func (b *bucket) reset(now time.Time) time.Time {
	missing := float64(b.limit.Burst) - b.left
	if b.left < 1 {
		missing = 1 - b.left
	}
	switch {
	case b.limit.unlimited():
		return now
	case b.limit.Window > 0:
		return b.at.Add(b.limit.Window)
	}
	return now.Add(time.Duration(missing / b.limit.PerSecond * float64(time.Second)))
}

// epoch gives a time in whole seconds, rounded up: not before it.
func epoch(at time.Time) string {
	seconds := at.Unix()
	if at.Nanosecond() > 0 {
		seconds++
	}
	return strconv.FormatInt(seconds, 10)
}
