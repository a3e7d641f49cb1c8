package auth0secrets

import (
	"math"
	"time"
)

// What is stored of a role's secrets and rotation, and how it changes: part of
// the state machine (state_machine.go), and as pure.

// secretVersion is one client secret of an application.
type secretVersion struct {
	Version int       `json:"version"`
	Value   sensitive `json:"value"`
	// MadeAt is when the secret was made; zero if it was imported or found.
	MadeAt time.Time `json:"made_at,omitzero"`
	// Order is the last order to rotate all roles before the secret was made.
	Order int `json:"order,omitempty"`
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
	// it is ours from before somebody else set Current: see DriftedAt.
	Previous *secretVersion `json:"previous,omitempty"`
	// Rejected is a former Next that may be accepted against all likelihood, until
	// another secret has been set, and has settled: see rejected.
	Rejected *secretVersion `json:"rejected,omitempty"`

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
	// such leases live until LongestUntil at the latest. LongestKept: the ttl was
	// lowered since the set last changed. Readers without a lease may go by the ttl
	// that they were told first with the set (the Vault Secrets Operator does), so
	// that it counts until the next rotation is through.
	LongestTTL   time.Duration `json:"longest_ttl,omitempty"`
	LongestUntil time.Time     `json:"longest_until,omitzero"`
	LongestKept  bool          `json:"longest_kept,omitempty"`

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
	for _, other := range []*secretVersion{s.Previous, s.Rejected, s.Next} {
		if other != nil {
			set = append(set, *other)
		}
	}
	return set
}

// servedValues are the secrets of the set, in the order in which an application
// tries them.
func (s rotationState) servedValues() []string {
	served := s.servedSecrets()
	values := make([]string, len(served))
	for i, secret := range served {
		values[i] = string(secret.Value)
	}
	return values
}

// holds says whether the secret is one of the role's.
func (s rotationState) holds(secret sensitive) bool {
	for _, known := range []*secretVersion{s.Current, s.Next, s.Previous, s.Rejected} {
		if known != nil && known.Value == secret {
			return true
		}
	}
	return false
}

// settlesAt is when the settling phase ends; zero: it has. SettledAt may have been
// set by a node whose clock was behind: this process waits a whole delay itself.
func (s rotationState) settlesAt(set rotationSettings, clk rotationClock) time.Time {
	if s.SettledAt.IsZero() {
		return time.Time{}
	}
	return later(s.SettledAt, clk.ServingSince.Add(set.PropagationDelay))
}

// settled ends the settling phase when its time has come.
func (s rotationState) settled(set rotationSettings, clk rotationClock) rotationState {
	over := !clk.Now.Before(s.settlesAt(set, clk)) || s.SettledAt.Sub(clk.Now) > maxPropagationDelay
	if !s.SettledAt.IsZero() && over {
		s.Previous, s.Rejected, s.SettledAt = nil, nil, time.Time{}
	}
	return s
}

// requested asks for a rotation now, which also ends the wait after a failure.
// While one is staged that changes nothing else, but that it no longer depends on
// the schedule, and with force no longer on leases.
func (s rotationState) requested(force bool) rotationState {
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
		Rejected:     s.Rejected,
		SettledAt:    now.Add(set.PropagationDelay),
		LastRotation: now,
		LongestTTL:   s.LongestTTL,
		LongestUntil: s.LongestUntil,
	}.settled(set, rotationClock{Now: now})
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
		next := *s.Next
		next.Version++
		s.Next = &next
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
// the next one. It stays as a fallback, since an earlier attempt may have had
// another outcome: one without a clear answer, or one before a crash.
func (s rotationState) rejected() rotationState {
	if s.Next == nil {
		return s
	}
	if s.Unclear || s.Rejected == nil {
		s.Rejected = s.Next
	}
	s.Next, s.StagedAt, s.StagedTTL, s.Scheduled, s.Unclear = nil, time.Time{}, 0, false, false
	s.Requested = true
	return s
}

// ttlChanged remembers how long leases of the earlier ttl can live, and who may
// still go by it.
func (s rotationState) ttlChanged(earlier time.Duration, now time.Time) rotationState {
	s.LongestTTL = max(earlier, s.earlierTTL(now))
	s.LongestUntil = later(s.LongestUntil, now.Add(earlier+handOutMargin))
	s.LongestKept = true
	return s
}

// retryBackoff doubles from 10 s to 1 h with the number of failures; jitter
// takes away up to half of it, never going below 10 s.
func retryBackoff(failures int, jitter float64) time.Duration {
	full := min(float64(backoffMax), float64(backoffMin)*math.Pow(2, float64(max(failures, 1)-1)))
	return max(backoffMin, time.Duration(full*(1-jitter/2)))
}
