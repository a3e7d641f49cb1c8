package rotation

import "time"

// View is a state at a moment, as readers see it. Times that mean nothing then are zero.
type View struct {
	Phase   Phase
	Version int      // of the current secret; 0: none yet
	Served  []Secret // in the order in which an application tries them

	StagedAt, ReadyAt time.Time // of Next: when it was staged, and when no live lease lacks it
	FallbackUntil     time.Time // until when the previous secret is served
	LastRotation      time.Time
	NextRotation      time.Time // when the next rotation takes effect
	DriftedAt         time.Time // when the present secret was found, set by somebody else

	LastError string    // of the last attempt; "": it did not fail
	Failures  int       // in a row
	RetryAt   time.Time // of an attempt that failed: when the next is made, also by schedule
	Overdue   bool      // a step is due and not done, perhaps because it failed

	Forced   bool // no lease is waited for
	UnderWay bool // something is asked for, staged, or at Auth0 without a clear answer
}

// View is the state at clk.Now, as readers see it.
func (s State) View(set Settings, clk Clock) View {
	r := s.r.propagated(clk).pinned(clk)
	v := View{
		Version: r.number(), Served: r.served(),
		FallbackUntil: r.fallbackEnd(clk), LastRotation: r.LastRotation, DriftedAt: r.DriftedAt,
		LastError: r.LastError, Failures: r.Failures,
		Forced: r.forced(), UnderWay: r.begun() || r.asksNow() || s.Unsettled(),
	}
	switch {
	case r.begun():
		v.Phase, v.StagedAt, v.ReadyAt = Staged, r.StagedAt, r.readyAt(clk)
	case !r.FallbackUntil.IsZero():
		v.Phase = Propagating
	default:
		v.Phase = Steady
	}
	if at, planned := r.nextEffect(set, clk); planned {
		v.NextRotation = at
	}
	if v.LastError != "" {
		d := decide(set, r, clk)
		if v.RetryAt = d.wake; d.action != doNothing {
			v.RetryAt = clk.Now
		}
	}
	r.RetryAt = time.Time{}
	v.Overdue = decide(set, r, clk).action != doNothing
	return v
}

// Served are the secrets that are served at a moment, in the order in which an
// application tries them, and until when the previous one is; zero: there is no end.
func (s State) Served(clk Clock) (secrets []Secret, until time.Time) {
	r := s.r.propagated(clk)
	if r.Keys {
		return r.served(), time.Time{}
	}
	return r.served(), r.fallbackEnd(clk)
}

// UntilChange is how long the served set stays as it is, as far as is known. False:
// no change is planned. Of a change that is overdue it is a few seconds, never the
// time to the one after it.
func (s State) UntilChange(set Settings, clk Clock) (time.Duration, bool) {
	return s.r.propagated(clk).pinned(clk).untilChange(set, clk)
}

// LastRotation is when the current secret was set in Auth0, or imported; and
// ScheduledFrom, since when the schedule counts.
func (s State) LastRotation() time.Time { return s.r.LastRotation }

// LastChange is when the served set changed last, or changes by itself, as far as the
// state says.
func (s State) LastChange() time.Time {
	return later(later(s.r.StagedAt, s.r.LastRotation), later(s.r.DriftedAt, s.r.FallbackUntil))
}

// ScheduledFrom is explained at LastRotation.
func (s State) ScheduledFrom() time.Time { return s.r.ScheduledFrom }
