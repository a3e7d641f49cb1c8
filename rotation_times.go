package auth0secrets

import "time"

// When the steps of a rotation are: part of the state machine
// (state_machine.go), and as pure.

// rotationDue is when the next rotation has to begin: now for a requested one,
// else early enough that it takes effect on schedule. False: never by itself.
func (s rotationState) rotationDue(set rotationSettings, now time.Time) (time.Time, bool) {
	if s.Requested {
		return now, true
	}
	at, ok := s.nextRotation(set, now)
	if !ok {
		return time.Time{}, false
	}
	return at.Add(-s.leadTime(set, now)), true
}

// nextRotation is when the next rotation by schedule takes effect, if it is not
// begun yet.
func (s rotationState) nextRotation(set rotationSettings, now time.Time) (time.Time, bool) {
	return s.takesEffect(set, now.Add(s.leadTime(set, now)))
}

// leadTime is how long a rotation has to begin before it takes effect.
func (s rotationState) leadTime(set rotationSettings, now time.Time) time.Duration {
	if set.Source != sourceVault || set.TTL == 0 {
		return 0
	}
	return s.holdersTTL(set, now) + handOutMargin
}

// takesEffect is the first time, not before the earliest one, at which the
// schedule lets a rotation take effect. False: none.
func (s rotationState) takesEffect(set rotationSettings, earliest time.Time) (time.Time, bool) {
	var at time.Time
	switch {
	case set.Paused || s.LastRotation.IsZero():
		return time.Time{}, false
	case set.RotationPeriod > 0:
		at = s.LastRotation.Add(set.RotationPeriod)
	case set.Schedule != nil:
		at = set.Schedule.Next(later(s.LastRotation, set.ScheduledFrom))
		if set.Window > 0 && !at.Add(set.Window).After(earliest) {
			at = set.Schedule.Next(earliest.Add(-set.Window)) // that one was missed
		}
	}
	if at.IsZero() {
		return time.Time{}, false
	}
	return later(at, earliest), true
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// activateAt is when the staged secret is set in Auth0: at once if forced, when
// no live lease lacks it otherwise, and, if it was staged by schedule, not
// before the schedule lets it. False: not until the settings change.
func (s rotationState) activateAt(set rotationSettings, clk rotationClock) (time.Time, bool) {
	if s.Forced {
		return clk.Now, true
	}
	// Relative to now, by the monotonic clock: a step of the wall clock, by which
	// the schedule goes, must not shorten the wait for leases.
	at := clk.Now.Add(s.readyAt(clk).Add(handOutMargin).Sub(clk.Now))
	scheduled := set.RotationPeriod > 0 || set.Schedule != nil
	if !s.Scheduled || !scheduled && !set.Paused {
		return at, true // a schedule that was taken away leaves what has begun
	}
	return s.takesEffect(set, later(at, clk.Now))
}

// readyAt is when no live lease lacks Next any more. A time of staging that
// lies ahead of the clock (it was set back) says nothing and is passed over:
// this process has served the set since ServingSince.
func (s rotationState) readyAt(clk rotationClock) time.Time {
	since := clk.ServingSince
	if s.StagedAt.After(since) && !s.StagedAt.After(clk.Now) {
		since = s.StagedAt
	}
	return since.Add(s.StagedTTL)
}

// holdersTTL is how long a holder of the present set may be without the next one.
func (s rotationState) holdersTTL(set rotationSettings, now time.Time) time.Duration {
	return max(set.TTL, s.earlierTTL(now))
}

// earlierTTL is the longest earlier ttl that somebody may still go by.
func (s rotationState) earlierTTL(now time.Time) time.Duration {
	if s.LongestKept || now.Before(s.LongestUntil) {
		return s.LongestTTL
	}
	return 0
}

// nextEffect is when the next rotation takes effect, begun or not. False: none
// is planned.
func (s rotationState) nextEffect(set rotationSettings, clk rotationClock) (time.Time, bool) {
	if s.Next != nil {
		return s.activateAt(set, clk)
	}
	return s.nextRotation(set, clk.Now)
}

// overdue says whether a step is due and not done, be it that it failed.
func (s rotationState) overdue(set rotationSettings, clk rotationClock) bool {
	s.RetryAt = time.Time{}
	return decideRotation(set, s, clk).Action != actionNone
}

// untilSetChanges is how long the served set stays as it is, as far as is
// known. False: no change is planned. Of a change that is overdue it is a short
// time, never the time to the one after it.
func (s rotationState) untilSetChanges(set rotationSettings, clk rotationClock) (time.Duration, bool) {
	var at time.Time
	planned := true
	switch {
	case s.Next != nil:
		at, planned = s.activateAt(set, clk)
	case s.Asked:
		at = clk.Now
	case !s.SettledAt.IsZero():
		at = s.settlesAt(set, clk)
	default:
		at, planned = s.rotationDue(set, clk.Now)
	}
	if !planned {
		return 0, false
	}
	if at.After(clk.Now) {
		return at.Sub(clk.Now), true
	}
	return min(minLease, max(0, s.RetryAt.Sub(clk.Now))), true
}
