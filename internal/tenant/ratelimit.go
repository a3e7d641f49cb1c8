package tenant

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// RateLimit is the tenant's limit for /api/v2, a token bucket. Auth0 has 2 a
// second for free tenants; 16 a second with bursts of 50 for paid ones. With
// PerSecond 0 there is none; the headers are sent all the same.
type RateLimit struct {
	PerSecond float64 // how fast the bucket fills
	Burst     int     // what it holds; 0: PerSecond, at least 1
}

// SetRateLimit sets the rate limit, with a full bucket.
func (t *Tenant) SetRateLimit(limit RateLimit) { t.limit.set(limit, t.now()) }

// saidWhenUnlimited is the limit that the headers tell when there is none.
const saidWhenUnlimited = 1000

// bucket is the rate limit and what is left of it.
type bucket struct {
	mu    sync.Mutex
	limit RateLimit
	left  float64   // at most limit.Burst
	at    time.Time // when left was true
}

func (b *bucket) set(limit RateLimit, now time.Time) {
	if limit.Burst <= 0 {
		limit.Burst = max(1, int(math.Ceil(limit.PerSecond)))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit, b.left, b.at = limit, float64(limit.Burst), now
}

func (b *bucket) unlimited() bool { return b.limit.PerSecond <= 0 }

// take takes one from the bucket; false if it is empty.
func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	if b.unlimited() {
		return true
	}
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// fill adds what has come since b.at. b.mu must be held.
func (b *bucket) fill(now time.Time) {
	if since := now.Sub(b.at).Seconds(); since > 0 {
		b.left = min(float64(b.limit.Burst), b.left+since*b.limit.PerSecond)
		b.at = now
	}
}

// describe sets X-RateLimit-Limit (what the bucket holds), -Remaining, and
// -Reset: the epoch second when a request is possible again if nothing remains,
// else when the bucket is full.
func (b *bucket) describe(h http.Header, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	limit, left, missing := float64(b.limit.Burst), math.Floor(b.left), 0.0
	switch {
	case b.unlimited():
		limit, left = saidWhenUnlimited, saidWhenUnlimited-1
	case left == 0:
		missing = (1 - b.left) / b.limit.PerSecond
	default:
		missing = (limit - b.left) / b.limit.PerSecond
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(int(limit)))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(int(left)))
	h.Set("X-RateLimit-Reset", epoch(now.Add(time.Duration(missing*float64(time.Second)))))
}

// epoch gives a time in whole seconds, rounded up: not before it.
func epoch(at time.Time) string {
	seconds := at.Unix()
	if at.Nanosecond() > 0 {
		seconds++
	}
	return strconv.FormatInt(seconds, 10)
}
