package rotation

import (
	"math"
	"slices"
	"time"
)

// When the steps of a rotation are.

const (
	// HandOutMargin covers the way of an answer from the engine to the moment at
	// which Vault registers its lease: a lease of the old set may begin that much
	// after the new set is served, and is waited for too.
	HandOutMargin = time.Second

	// A wait after a failure is between these. One that looks longer was stored by
	// a node whose clock was ahead, and is over.
	backoffMin = 10 * time.Second
	backoffMax = time.Hour
	limitedMin = time.Second // where the rate limit does not say how long to wait

	// MaxPropagationDelay is the longest time for which a previous secret is served.
	MaxPropagationDelay = time.Hour

	// clockSkew is how far apart the clocks of two nodes may be. A time that another
	// node has stored may be that much too early; one that lies ahead is never believed.
	clockSkew = time.Hour

	// A reader learns of a change that is overdue that it comes in notAtOnce to soon. The
	// Vault Secrets Operator (since 1.3.0) takes two seconds or less for a change that is
	// just about to come, and reports an error if it does not.
	soon, notAtOnce = 10 * time.Second, 3 * time.Second
)

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// ahead says whether a time lies further ahead than clocks may differ, by either
// clock: schedules go by the wall clock, which may have been put back.
func ahead(at, now time.Time) bool {
	return at.Sub(now) > clockSkew || at.Round(0).Sub(now.Round(0)) > clockSkew
}

// pinned replaces times that lie ahead, because the clock of the node that stored them
// was ahead: nothing waits for them, and no wait that they stood for is cut short.
func (r record) pinned(clk Clock) record {
	if r.fallbackAhead(clk) {
		r.FallbackUntil = r.fallbackEnd(clk)
	}
	if ahead(r.LastRotation, clk.Now) {
		r.LastRotation = clk.Now
	}
	switch {
	case !r.StagedAt.After(clk.Now):
	case r.Keys:
		r.StagedAt = clk.Now
	default:
		r.StagedAt = clk.Since
	}
	if ahead(r.ScheduledFrom, clk.Now) {
		r.ScheduledFrom = clk.Now
	}
	if r.DriftedAt.After(clk.Now) {
		r.DriftedAt = clk.Now
	}
	if end := clk.Now.Add(r.LongestTTL + HandOutMargin); r.LongestUntil.After(end) {
		r.LongestUntil = end
	}
	if r.RetryAt.Sub(clk.Now) > backoffMax {
		r.RetryAt = clk.Now
	}
	return r
}

// fallbackEnd is when the previous secret stops being served; zero: there is no
// such time. Another node's clock may have been behind or ahead, so this process
// waits all of the propagation itself, unless it was over long ago.
func (r record) fallbackEnd(clk Clock) time.Time {
	if r.FallbackUntil.IsZero() {
		return time.Time{}
	}
	here := clk.Since.Add(r.fallbackLasts())
	switch {
	case r.fallbackAhead(clk):
		return here
	case clk.Now.Sub(r.FallbackUntil) > clockSkew && !r.Keys: // who holds a key has not read again during an outage
		return r.FallbackUntil
	default:
		return later(r.FallbackUntil, here)
	}
}

func (r record) fallbackLasts() time.Duration {
	if r.Keys {
		return r.FallbackFor
	}
	return min(r.FallbackFor, MaxPropagationDelay)
}

// fallbackAhead says whether the end of the fallback is further ahead than it can be,
// by this node's clock.
func (r record) fallbackAhead(clk Clock) bool {
	return !r.FallbackUntil.IsZero() && r.FallbackUntil.Sub(clk.Now) > r.fallbackLasts()
}

// propagated drops the previous secret, and those before it, when its time has come. That follows from the
// stored times, and need not be written. A previous key has to be removed at Auth0.
func (r record) propagated(clk Clock) record {
	if !r.Keys && !r.FallbackUntil.IsZero() && !clk.Now.Before(r.fallbackEnd(clk)) {
		r.Previous, r.Earlier, r.FallbackUntil, r.FallbackFor = nil, nil, time.Time{}, 0
		r.Rejected = slices.DeleteFunc(slices.Clone(r.Rejected), func(v version) bool { return v.Number <= r.number() })
		if len(r.Rejected) == 0 {
			r.Rejected = nil
		}
	}
	return r
}

// due is when the next rotation has to begin: now if it was asked for, else early
// enough that it takes effect on schedule. False: never by itself.
func (r record) due(set Settings, now time.Time) (time.Time, bool) {
	if r.asksNow() {
		return now, true
	}
	at, ok := r.nextRotation(set, now)
	if !ok {
		return time.Time{}, false
	}
	return at.Add(-r.leadTime(set, now)), true
}

// asksNow says whether somebody asks for a rotation that is not begun yet.
func (r record) asksNow() bool {
	return r.Cause == byOperator || r.Cause == byBulk || r.inBulk() || r.doubtful()
}

// nextRotation is when the next rotation by schedule takes effect, if it is not
// begun yet.
func (r record) nextRotation(set Settings, now time.Time) (time.Time, bool) {
	return r.takesEffect(set, now.Add(r.leadTime(set, now)))
}

// leadTime is how long a rotation has to begin before it takes effect.
func (r record) leadTime(set Settings, now time.Time) time.Duration {
	if r.Keys {
		return set.PropagationDelay + HandOutMargin
	}
	if set.Source != Vault || !r.held(set) {
		return 0
	}
	return r.holdersTTL(set, now) + HandOutMargin
}

// takesEffect is the first time, not before the earliest one, at which the
// schedule lets a rotation take effect. False: none.
func (r record) takesEffect(set Settings, earliest time.Time) (time.Time, bool) {
	var at time.Time
	switch {
	case set.Paused || r.LastRotation.IsZero():
		return time.Time{}, false
	case set.Period > 0:
		at = r.LastRotation.Add(set.Period)
	case set.Schedule != nil:
		at = set.Schedule.Next(later(r.LastRotation, r.ScheduledFrom))
		if set.Window > 0 && !at.Add(set.Window).After(earliest) {
			at = set.Schedule.Next(earliest.Add(-set.Window)) // that one was missed
		}
	}
	if at.IsZero() {
		return time.Time{}, false
	}
	return later(at, earliest), true
}

// activation is when the staged secret is set in Auth0: when no live lease lacks it
// and, if the schedule has staged it, not before the schedule lets it. False: not
// until the settings change.
func (r record) activation(set Settings, clk Clock) (time.Time, bool) {
	at := clk.Now
	if r.waits(set) {
		// Relative to now, by the monotonic clock: a step of the wall clock, by which
		// the schedule goes, must not shorten the wait for leases.
		at = clk.Now.Add(r.readyAt(clk).Sub(clk.Now))
	}
	scheduled := set.Period > 0 || set.Schedule != nil
	if r.Cause != bySchedule || r.inBulk() || r.Hidden || r.doubtful() || (!scheduled && !set.Paused) {
		return at, true // a schedule that was taken away leaves what has begun
	}
	return r.takesEffect(set, later(later(at, clk.Now), r.RetryAt))
}

// waits says whether Next is used at readyAt only.
func (r record) waits(set Settings) bool {
	if r.Keys {
		return !r.forced() || r.Unproven
	}
	return r.held(set) && !r.forced()
}

// readyAt is when no live lease lacks Next any more: this process has served the
// set since clk.Since. A key is ready when it has propagated.
func (r record) readyAt(clk Clock) time.Time {
	if r.StagedTTL == 0 { // nobody holds a secret of the set
		return r.StagedAt
	}
	return later(r.StagedAt, clk.Since).Add(r.StagedTTL + HandOutMargin)
}

// holdersTTL is how long a holder of the present set may be without the next one.
func (r record) holdersTTL(set Settings, now time.Time) time.Duration {
	return max(set.TTL, r.earlierTTL(now))
}

// earlierTTL is the longest earlier ttl that a reader may still go by.
func (r record) earlierTTL(now time.Time) time.Duration {
	if r.LongestKept || now.Before(r.LongestUntil.Add(clockSkew)) {
		return r.LongestTTL
	}
	return 0
}

// nextEffect is when the next rotation takes effect, begun or not. False: none is
// planned.
func (r record) nextEffect(set Settings, clk Clock) (time.Time, bool) {
	begins := later(clk.Now, r.RetryAt)
	switch {
	case r.Keys && r.mayBeLive() && !r.forced():
		return begins.Add(r.leadTime(set, clk.Now)), true
	case r.mayBeLive(), r.Hidden:
		return begins, true
	case r.begun():
		at, planned := r.activation(set, clk)
		return later(at, r.RetryAt), planned
	case r.forced():
		return begins, r.asksNow()
	}
	begins = later(begins, r.fallbackEnd(clk))
	if r.asksNow() {
		return begins.Add(r.leadTime(set, clk.Now)), true
	}
	return r.nextRotation(set, begins)
}

// untilChange is how long the served set stays as it is, as far as is known. False:
// no change is planned. Of a change that is overdue it is a few seconds, never the
// time to the one after it.
func (r record) untilChange(set Settings, clk Clock) (time.Duration, bool) {
	var at time.Time
	planned := true
	switch {
	case r.Keys:
		at, planned = r.nextEffect(set, clk)
	case r.mayBeLive(), r.Hidden:
		at = clk.Now
	case r.Next != nil:
		at, planned = r.activation(set, clk)
		now := r
		now.RetryAt = time.Time{}
		if due, _ := now.activation(set, clk); !due.After(clk.Now) {
			at = due // only an earlier failure is waited out: it is overdue
		}
	case !r.FallbackUntil.IsZero() && !r.forced():
		at = r.fallbackEnd(clk)
	default:
		at, planned = r.due(set, clk.Now)
	}
	if !planned {
		return 0, false
	}
	if at.After(clk.Now) {
		return at.Sub(clk.Now), true
	}
	return min(soon, max(notAtOnce, r.RetryAt.Sub(clk.Now))), true
}

// retryBackoff doubles from 10 s to 1 h with the number of failures; jitter
// takes away up to half of it, never going below 10 s.
func retryBackoff(failures int, jitter float64) time.Duration {
	full := min(float64(backoffMax), float64(backoffMin)*math.Pow(2, float64(max(failures, 1)-1)))
	return max(backoffMin, time.Duration(full*(1-jitter/2)))
}
