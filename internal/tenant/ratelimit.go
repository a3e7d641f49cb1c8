package tenant

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// RateLimit is a limit, a token bucket: the tenant's for /api/v2, or the one that
// /oauth/token has of its own. Auth0 has, for /api/v2, 2 a second for free tenants;
// 16 a second with bursts of 50 for paid ones. With PerSecond and Window 0 there is
// none; /api/v2 sends the headers all the same.
type RateLimit struct {
	PerSecond float64 // how fast the bucket fills; of no use with a Window
	Burst     int     // what it holds; 0: PerSecond, at least 1
	// Window has the bucket filled all at once at the end of each, counted from
	// when the limit was set. X-RateLimit-Reset is then always the next such time.
	Window time.Duration
}

const (
	headerLimit     = "X-RateLimit-Limit"
	headerRemaining = "X-RateLimit-Remaining"
	headerReset     = "X-RateLimit-Reset"
)

// SetRateLimit sets the rate limit, with full buckets.
func (t *Tenant) SetRateLimit(limit RateLimit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buckets = newBuckets(limit, t.now())
}

// SetTokenLimit sets the rate limit of /oauth/token, with a full bucket. A request
// for a token that meets it counts neither as an accepted login nor as a refused one.
func (t *Tenant) SetTokenLimit(limit RateLimit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tokenBuckets = newBuckets(limit, t.now())
}

// bucket is a rate limit and what is left of it.
type bucket struct {
	RateLimit
	endpoint Endpoint  // whose alone it is; Any: of all that have this limit
	left     float64   // at most Burst
	at       time.Time // when left was true; with a Window, when the present one began
}

// newBuckets gives the tenant's bucket and the one that GET /clients has besides,
// as it was recorded: bursts of 5, 100 a minute. Without a limit there are none.
func newBuckets(limit RateLimit, now time.Time) []*bucket {
	if limit.PerSecond <= 0 && limit.Window <= 0 {
		return nil
	}
	if limit.Burst <= 0 {
		limit.Burst = max(1, int(math.Ceil(limit.PerSecond)))
	}
	return []*bucket{
		{limit, Any, float64(limit.Burst), now},
		{RateLimit{PerSecond: 100.0 / 60, Burst: 5}, ListApplications, 5, now},
	}
}

// bucketsOf gives the buckets that a call takes from, filled.
func (t *Tenant) bucketsOf(c *call, now time.Time) (own []*bucket) {
	var all []*bucket
	switch {
	case c.management():
		all = t.buckets
	case c.endpoint == Token:
		all = t.tokenBuckets
	}
	for _, b := range all {
		if b.endpoint == Any || b.endpoint == c.endpoint {
			b.fill(now)
			own = append(own, b)
		}
	}
	return own
}

// takeRate takes one from each bucket of a call; false, and none taken, if one of
// them is empty.
func (t *Tenant) takeRate(c *call, now time.Time) bool {
	own := t.bucketsOf(c, now)
	if slices.ContainsFunc(own, func(b *bucket) bool { return b.left < 1 }) {
		return false
	}
	for _, b := range own {
		b.left--
	}
	return true
}

// describeRate sets X-RateLimit-Limit (what the bucket holds), -Remaining, and
// -Reset: the epoch second when a request is possible again if nothing remains,
// else when the bucket is full. Of a call's buckets it is the one with less left.
func (t *Tenant) describeRate(header map[string]string, c *call, now time.Time) {
	if c.management() {
		header[headerLimit], header[headerRemaining], header[headerReset] = "1000", "1000", epoch(now)
	}
	if own := t.bucketsOf(c, now); len(own) > 0 {
		least := slices.MinFunc(own, func(a, b *bucket) int { return int(a.left) - int(b.left) })
		header[headerLimit] = strconv.Itoa(least.Burst)
		header[headerRemaining] = strconv.Itoa(int(least.left))
		header[headerReset] = epoch(least.reset(now))
	}
}

// fill adds what has come since b.at.
func (b *bucket) fill(now time.Time) {
	since := now.Sub(b.at)
	if b.Window > 0 {
		if ended := since.Truncate(b.Window); ended > 0 {
			b.left, b.at = float64(b.Burst), b.at.Add(ended)
		}
	} else if since > 0 {
		b.left, b.at = min(float64(b.Burst), b.left+since.Seconds()*b.PerSecond), now
	}
}

// reset is the time for X-RateLimit-Reset.
func (b *bucket) reset(now time.Time) time.Time {
	if b.Window > 0 {
		return b.at.Add(b.Window)
	}
	missing := float64(b.Burst) - b.left
	if b.left < 1 {
		missing = 1 - b.left
	}
	return now.Add(time.Duration(missing / b.PerSecond * float64(time.Second)))
}

// epoch gives a time in whole seconds, rounded up: not before it.
func epoch(at time.Time) string {
	return strconv.FormatInt(at.Add(time.Second-1).Unix(), 10)
}
