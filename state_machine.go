package auth0secrets

import (
	"math"
	"time"
)

// The rotation state machine. It is pure: settings, a stored state and a clock
// go in; the next state and the action to take come out. Storage, Auth0 and
// randomness are the business of its caller (rotation.go), which keeps one
// rule: the state that a decision returns is durable before its action is
// taken.
//
//	         rotate, or due - max_ttl            ready_at
//	steady ---------------------------> staged ------------> settling
//	  ^                                    (PATCH accepted)      |
//	  +----------------------------------------------------------+
//	                     propagation_delay has passed
//
// force=true sends the staged secret without waiting. secret_source=auth0 has
// nothing to stage: Auth0 makes the secret, and an intent stands in the state
// from before the request until its outcome is known.

// phase is where a role stands in a rotation.
type phase string

const (
	phaseSteady   phase = "steady"   // served: current
	phaseStaged   phase = "staged"   // served: current, next. Auth0 accepts current
	phaseSettling phase = "settling" // served: current (the new one), previous
)

// secretSource says who makes an application's next secret.
type secretSource string

const (
	sourceVault secretSource = "vault" // the engine; can be staged
	sourceAuth0 secretSource = "auth0" // Auth0's rotate-secret; cannot be known in advance
)

const (
	// handOutMargin covers the way of an answer from the engine to the moment
	// at which Vault registers its lease: a lease of the old set may begin that
	// much after the new set is served, and is waited for too.
	handOutMargin = time.Second

	// minLease is the shortest lease and the shortest ttl of a role.
	minLease = 10 * time.Second

	// A wait after a failure is between these. One that looks longer was stored
	// before the clock was set back, and is over.
	backoffMin = 10 * time.Second
	backoffMax = time.Hour

	// maxPropagationDelay is the longest settling phase. One that looks longer
	// was stored before the clock was set back, and is over.
	maxPropagationDelay = time.Hour
)

// secretVersion is one client secret of an application.
type secretVersion struct {
	Version int       `json:"version"`
	Value   sensitive `json:"value"`
	// MadeAt is when the secret was made; zero if it was imported or found.
	MadeAt time.Time `json:"made_at,omitzero"`
	// Order is the last order to rotate all roles before the secret was made.
	Order int `json:"order,omitempty"`
}

// rotationSettings is the part of a role's and the mount's settings that
// decides when and how a rotation happens.
type rotationSettings struct {
	TTL time.Duration // of a lease; 0: nobody holds the secret
	// RotationPeriod or Schedule says when a rotation takes effect by itself.
	// Neither: only on request.
	RotationPeriod time.Duration
	Schedule       schedule
	// ScheduledFrom is when the schedule was set: earlier times do not count.
	ScheduledFrom time.Time
	// Window is how long after its time a scheduled rotation may still take
	// effect. 0: at any time.
	Window time.Duration
	// Paused: nothing begins or takes effect by itself.
	Paused           bool
	Source           secretSource
	PropagationDelay time.Duration // until a new secret is accepted everywhere at Auth0
	Order            int           // of the last order to rotate all roles
}

// schedule gives the next time after another; zero if there is none.
type schedule interface {
	Next(after time.Time) time.Time
}

// rotationClock is what the machine knows of time.
type rotationClock struct {
	Now time.Time
	// ServingSince is when this process began to serve the role's present set:
	// its publication, or the start of the mount if it was stored before that.
	ServingSince time.Time
}

// rotationState is what is stored of a role's secrets and rotation.
type rotationState struct {
	// Current is accepted by Auth0 as far as is known. Nil only until the first
	// rotation of a role that was created with skip_import.
	Current *secretVersion `json:"current,omitempty"`
	// Next is durable and served, and may already be what Auth0 accepts if an
	// attempt to set it had no clear answer. It is never replaced, only
	// promoted.
	Next *secretVersion `json:"next,omitempty"`
	// Previous may still be accepted somewhere until SettledAt. Without SettledAt
	// it is a fallback until the next rotation: see adopted and rejected.
	Previous *secretVersion `json:"previous,omitempty"`

	StagedAt time.Time `json:"staged_at,omitzero"`
	// StagedTTL is the longest lease that a holder without Next can have. It is
	// fixed when Next is staged: later settings do not shorten leases given out.
	StagedTTL    time.Duration `json:"staged_ttl,omitempty"`
	SettledAt    time.Time     `json:"settled_at,omitzero"`
	LastRotation time.Time     `json:"last_rotation,omitzero"`

	// Requested asks for a rotation that is not due by schedule. Forced asks
	// not to wait for leases.
	Requested bool `json:"requested,omitempty"`
	Forced    bool `json:"forced,omitempty"`
	// Scheduled is set while Next is staged by schedule: it is also the
	// schedule, and not only the leases, that says when it takes effect.
	Scheduled bool `json:"scheduled,omitempty"`

	// Asked is set from before a rotate-secret request is sent until its outcome
	// is known. Of the engine's own secret: from before Next is sent for the first
	// time until it is accepted.
	Asked bool `json:"asked,omitempty"`
	// Order is that of the rotation under way: see secretVersion.
	Order int `json:"order,omitempty"`
	// OwnSecret is set when Auth0 made a secret that it does not show: only a
	// secret of the engine's own ends that.
	OwnSecret bool `json:"own_secret,omitempty"`

	// DriftedAt is when Current was found in Auth0, set by somebody else.
	// Previous is ours then, and stays as a fallback until the next rotation.
	DriftedAt time.Time `json:"drifted_at,omitzero"`

	// LongestTTL is the longest lease that was given out under an earlier ttl;
	// such leases live until LongestUntil at the latest.
	LongestTTL   time.Duration `json:"longest_ttl,omitempty"`
	LongestUntil time.Time     `json:"longest_until,omitzero"`

	Failures  int       `json:"failures,omitempty"`
	LastError string    `json:"last_error,omitempty"`
	RetryAt   time.Time `json:"retry_at,omitzero"`
	// Unclear is set while an attempt may have taken effect without our knowing.
	Unclear bool `json:"unclear,omitempty"`
}

func (s rotationState) phase() phase {
	switch {
	case s.Next != nil:
		return phaseStaged
	case !s.SettledAt.IsZero():
		return phaseSettling
	default:
		return phaseSteady
	}
}

// version is that of the current secret, 0 if there is none yet.
func (s rotationState) version() int {
	if s.Current == nil {
		return 0
	}
	return s.Current.Version
}

// servedSecrets is the set in the order in which an application tries it.
// Empty until a first secret is known to be accepted.
func (s rotationState) servedSecrets() []secretVersion {
	if s.Current == nil {
		return nil
	}
	set := []secretVersion{*s.Current}
	for _, other := range []*secretVersion{s.Previous, s.Next} {
		if other != nil {
			set = append(set, *other)
		}
	}
	return set
}

// rotationAction is what a decision asks its caller to do.
type rotationAction int

const (
	actionNone           rotationAction = iota
	actionGenerateSecret                // make a secret, hand it to staged()
	actionSetSecret                     // send Next to Auth0, report accepted() or failed()
	actionRotateSecret                  // let Auth0 make one, report accepted(), hidden() or failed()
	actionReadBack                      // an earlier actionRotateSecret had no clear answer: find out, report found() or as above
)

// rotationDecision is one step: store State, then take Action.
type rotationDecision struct {
	State  rotationState
	Action rotationAction
	// Wake is when to decide again if nothing else happens; zero: never.
	Wake time.Time
}

// decideRotation is the state machine's only decision. It has no side effects.
func decideRotation(set rotationSettings, st rotationState, clk rotationClock) rotationDecision {
	st = st.settled(clk.Now)
	switch {
	case st.Next != nil:
		return decideStaged(set, st, clk)
	case st.Asked:
		return decideUpstream(st, actionReadBack, clk)
	case !st.SettledAt.IsZero() && !st.Forced:
		return rotationDecision{State: st, Wake: st.SettledAt}
	}
	due, scheduled := st.rotationDue(set, clk.Now)
	if !scheduled || clk.Now.Before(due) {
		return rotationDecision{State: st, Wake: due}
	}
	if set.Source == sourceVault || st.OwnSecret {
		return decideUpstream(st, actionGenerateSecret, clk)
	}
	d := decideUpstream(st, actionRotateSecret, clk)
	if d.Action == actionRotateSecret {
		d.State.Asked, d.State.Order = true, set.Order
	}
	return d
}

func decideStaged(set rotationSettings, st rotationState, clk rotationClock) rotationDecision {
	if at, planned := st.activateAt(set, clk); !planned || clk.Now.Before(at) {
		return rotationDecision{State: st, Wake: at}
	}
	return decideUpstream(st, actionSetSecret, clk)
}

// decideUpstream holds an action back while an earlier failure is waited out.
func decideUpstream(st rotationState, action rotationAction, clk rotationClock) rotationDecision {
	if wait := st.RetryAt.Sub(clk.Now); wait > 0 && wait <= backoffMax {
		return rotationDecision{State: st, Wake: st.RetryAt}
	}
	return rotationDecision{State: st, Action: action}
}

// settled ends the settling phase when its time has come.
func (s rotationState) settled(now time.Time) rotationState {
	if left := s.SettledAt.Sub(now); !s.SettledAt.IsZero() && (left <= 0 || left > maxPropagationDelay) {
		s.Previous, s.SettledAt = nil, time.Time{}
	}
	return s
}

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

// holdersTTL is the longest lease that a holder of the present set can have.
func (s rotationState) holdersTTL(set rotationSettings, now time.Time) time.Duration {
	if now.Before(s.LongestUntil) && s.LongestTTL > set.TTL {
		return s.LongestTTL
	}
	return set.TTL
}

// requested asks for a rotation now, which also ends the wait after a failure.
// While one is staged that changes nothing, but that it no longer depends on the
// schedule, and with force no longer on leases.
func (s rotationState) requested(force bool) rotationState {
	if s.Next != nil && !force && !s.Scheduled {
		return s
	}
	s.Requested = s.Next == nil && !s.Asked
	s.Scheduled = false
	s.Forced = s.Forced || force
	s.RetryAt = time.Time{}
	return s
}

// staged takes in the next secret that actionGenerateSecret asked for.
func (s rotationState) staged(set rotationSettings, next sensitive, now time.Time) rotationState {
	s.Order = set.Order
	s.Next = &secretVersion{Version: s.version() + 1, Value: next, MadeAt: now, Order: s.Order}
	s.StagedAt, s.StagedTTL = now, s.holdersTTL(set, now)
	s.Requested, s.Scheduled = false, !s.Requested
	if s.Current == nil || s.OwnSecret || set.TTL == 0 {
		s.Forced = true // no holder to wait for, or none that could still log in
	}
	return s
}

// accepted takes in the secret that Auth0 has set, on its positive answer.
func (s rotationState) accepted(set rotationSettings, value sensitive, now time.Time) rotationState {
	made := now
	if s.Next != nil {
		made = s.Next.MadeAt
	}
	return s.settling(set, secretVersion{Value: value, MadeAt: made, Order: s.Order}, now)
}

// found takes in the secret that was read back after a rotate-secret request of
// unknown outcome. It may also be one that somebody else has set, so nothing is
// claimed of when it was made.
func (s rotationState) found(set rotationSettings, value sensitive, now time.Time) rotationState {
	return s.settling(set, secretVersion{Value: value}, now)
}

// settling makes a secret the current one.
func (s rotationState) settling(set rotationSettings, current secretVersion, now time.Time) rotationState {
	current.Version = s.version() + 1
	return rotationState{
		Current:      &current,
		Previous:     s.Current,
		SettledAt:    now.Add(set.PropagationDelay),
		LastRotation: now,
		LongestTTL:   s.LongestTTL,
		LongestUntil: s.LongestUntil,
	}.settled(now)
}

// adopted takes in the secret that was read back from Auth0. If it is another
// one than any of ours, somebody else has set it. False: it is ours, or an
// attempt of ours is still on its way, so that nothing follows from it.
func (s rotationState) adopted(found sensitive, now time.Time) (rotationState, bool) {
	underWay := s.Current == nil || s.Asked || s.Unclear || !s.SettledAt.IsZero()
	if underWay || found == s.Current.Value || (s.Next != nil && found == s.Next.Value) {
		return s, false
	}
	s.Previous, s.DriftedAt = s.Current, now
	s.Current = &secretVersion{Version: s.version() + 1, Value: found}
	if s.Next != nil {
		s.Next = &secretVersion{Version: s.Next.Version + 1, Value: s.Next.Value, MadeAt: s.Next.MadeAt}
	}
	return s, true
}

// hidden takes in that Auth0 has made a secret and does not show it.
func (s rotationState) hidden() rotationState {
	s.Asked, s.Requested, s.OwnSecret = false, true, true
	return s
}

// outcome is how an attempt at Auth0 failed.
type outcome int

const (
	outcomeUnclear  outcome = iota // it may have taken effect
	outcomeRefused                 // it has not
	outcomeRejected                // it has not: this secret will not do
	outcomeLimited                 // it has not: the rate limit
	outcomeNotSent                 // it has not: it was never sent
)

// failure is an attempt at Auth0 that did not succeed.
type failure struct {
	Outcome outcome
	Text    string
	// First: it was the first rotate-secret request under its intent, so that it
	// decides what has become of that.
	First bool
	// RetryAfter is how long the rate limit asks to wait.
	RetryAfter time.Duration
	// Jitter in [0,1) spreads the retries of many roles.
	Jitter float64
}

// failed takes in a failed attempt. Nothing is discarded, whatever the answer:
// what may be live stays served, and the same secret is sent again.
func (s rotationState) failed(f failure, now time.Time) rotationState {
	s.LastError = f.Text
	if f.Outcome == outcomeLimited {
		s.RetryAt = now.Add(min(f.RetryAfter, backoffMax))
	} else {
		s.Failures++
		s.RetryAt = now.Add(retryBackoff(s.Failures, f.Jitter))
	}
	switch f.Outcome {
	case outcomeUnclear:
		s.Unclear = true
		return s
	case outcomeRejected:
		return s.rejected()
	case outcomeRefused:
		// A refused force is an ordinary staged rotation from here on: by the time
		// Auth0 accepts it, holders need not fail any more.
		if s.Next != nil && s.Current != nil && !s.OwnSecret {
			s.Forced = false
		}
	case outcomeLimited, outcomeNotSent:
	}
	if f.First && s.Asked {
		s.Asked, s.Requested = false, true // a later one says nothing about the first
	}
	return s
}

// rejected makes room for another secret, after Auth0 has refused the form of
// the next one. It stays as a fallback until then: before a crash there may have
// been an attempt of another outcome.
func (s rotationState) rejected() rotationState {
	if s.Next == nil {
		return s
	}
	s.Previous = s.Next
	s.Next, s.StagedAt, s.StagedTTL, s.Scheduled, s.Unclear = nil, time.Time{}, 0, false, false
	s.Requested = true
	return s
}

// ttlChanged remembers how long leases of the earlier ttl can live.
func (s rotationState) ttlChanged(earlier time.Duration, now time.Time) rotationState {
	until := now.Add(earlier + handOutMargin)
	if now.Before(s.LongestUntil) {
		earlier = max(earlier, s.LongestTTL)
		if s.LongestUntil.After(until) {
			until = s.LongestUntil
		}
	}
	s.LongestTTL, s.LongestUntil = earlier, until
	return s
}

// retryBackoff doubles from 10 s to 1 h with the number of failures; jitter
// takes away up to half of it, never going below 10 s.
func retryBackoff(failures int, jitter float64) time.Duration {
	full := min(float64(backoffMax), float64(backoffMin)*math.Pow(2, float64(max(failures, 1)-1)))
	return max(backoffMin, time.Duration(full*(1-jitter/2)))
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
		at = s.SettledAt
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
