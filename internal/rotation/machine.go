// Package rotation rotates one secret: an application's, or the engine's own. It
// knows nothing of Vault, of Auth0's API, or of its callers, which implement a
// [Target] and run it:
//
//	wake, err := rotation.Run(ctx, target, rotation.Ask{By: rotation.Operator})
//
//	state.go    the stored state, which only this package changes
//	machine.go  the decision what to do next, and what follows from an answer
//	times.go    when the steps are
//	keys.go     the same for private keys, of which Auth0 accepts two
//	run.go      the one driver, and what it needs of a target
//	view.go     a state as readers see it
//
// The machine is pure: settings, a stored state and a clock go in; the next state
// and the action to take come out. The driver keeps one rule: the state that a
// decision returns is durable before its action is taken.
//
//	         asked for, or due - ttl          ready_at
//	steady -------------------------> staged ----------> propagating
//	  ^                               (Auth0 has accepted)      |
//	  +---------------------------------------------------------+
//	                   propagation_delay has passed
//
// A record keeps three things apart. The cause (the schedule, an operator, a bulk
// rotation) decides which windows and pauses a rotation has to wait for; it stays
// through all retries. With force, a rotation does not wait for leases. The attempt
// says whether something may have happened at Auth0: one that may have taken effect is
// repeated as soon as its backoff allows, whatever the schedule says; one that Auth0
// has refused waits under the rules of its cause.
//
// If Auth0 makes the secret there is nothing to stage: the attempt is put on record,
// and then the request is sent.
package rotation

import (
	"slices"
	"time"
)

// Phase is where a target stands in a rotation.
type Phase string

// The phases, with what is served and what Auth0 accepts.
const (
	Steady      Phase = "steady"      // served: current
	Staged      Phase = "staged"      // served: current, next. Auth0 accepts current
	Propagating Phase = "propagating" // served: current (the new one), previous. Auth0 accepts either
)

// Source says who makes the next secret.
type Source string

// The sources.
const (
	Vault Source = "vault" // the engine, which can stage it
	Auth0 Source = "auth0" // Auth0, by rotate-secret: not known in advance
)

// Settings is the part of a target's settings that decides when and how a rotation
// happens.
type Settings struct {
	TTL time.Duration // of a lease; 0: nobody but the engine holds the secret
	// Period or Schedule says when a rotation takes effect by itself. Neither: only
	// when it is asked for.
	Period   time.Duration
	Schedule Schedule
	// Window is how long after its time a scheduled rotation may still take
	// effect. 0: at any time.
	Window           time.Duration
	Paused           bool // nothing begins or takes effect by itself
	Source           Source
	PropagationDelay time.Duration // until a new secret is accepted everywhere at Auth0
	Bulk             int           // number of the last bulk rotation
	Exportable       bool          // keys are handed out
}

// Schedule gives the next time after another; zero if there is none.
type Schedule interface {
	Next(after time.Time) time.Time
}

// Clock is what the machine knows of time and chance.
type Clock struct {
	Now time.Time
	// Since is when this process began to serve the target's present set: its
	// publication, or the start of the mount if it was stored before that.
	Since time.Time
	// Jitter in [0,1) spreads the retries of many targets.
	Jitter float64
}

// action is what a decision asks the driver to do.
type action int

const (
	doNothing  action = iota
	doGenerate        // make a secret, and stage it
	doSet             // send Next to Auth0
	doMake            // let Auth0 make one
	doReadBack        // an earlier doMake had no clear answer: find out what it made
	doConfirm         // make sure that Auth0 accepts Next, a key
	doRetire          // have Auth0 remove Previous, a key
)

// decision is one step: store record, then take the action.
type decision struct {
	record
	action action
	// wake is when to decide again if nothing else happens; zero: never.
	wake time.Time
}

// sends says whether the action is a request to Auth0.
func (d decision) sends() bool { return d.action != doNothing && d.action != doGenerate }

// decide is the machine's only decision. It has no side effects.
func decide(set Settings, r record, clk Clock) decision {
	r = r.propagated(clk).pinned(clk)
	switch {
	case r.Keys:
		return r.decideKey(set, clk)
	case r.Next != nil && (r.mayBeLive() || r.Hidden):
		return r.upstream(doSet, set, clk)
	case r.mayBeLive():
		return r.upstream(doReadBack, set, clk)
	case r.Hidden:
		return r.upstream(doGenerate, set, clk)
	case r.Next != nil:
		at, planned := r.activation(set, clk)
		if !planned || clk.Now.Before(at) {
			return decision{record: r, wake: at}
		}
		return r.upstream(doSet, set, clk)
	case !r.FallbackUntil.IsZero() && !r.forced():
		return decision{record: r, wake: r.fallbackEnd(clk)}
	}
	due, planned := r.due(set, clk.Now)
	switch {
	case !planned || clk.Now.Before(due):
		return decision{record: r, wake: due}
	case set.Source == Vault:
		return r.upstream(doGenerate, set, clk)
	default:
		return r.upstream(doMake, set, clk)
	}
}

// upstream holds an action back while an earlier failure is waited out, and puts an
// attempt on record before it is sent.
func (r record) upstream(do action, set Settings, clk Clock) decision {
	if r.RetryAt.After(clk.Now) {
		return decision{record: r, wake: r.RetryAt}
	}
	if r.Cause == byNobody && do != doRetire {
		r.Cause = bySchedule
	}
	if (do == doSet || do == doMake) && r.Attempt == notBegun {
		r.Attempt, r.AttemptBulk = sent, 0
		if do == doMake {
			r.AttemptBulk = set.Bulk
		}
	}
	return decision{record: r, action: do}
}

// By is who asks for a rotation.
type By int

// Who asks.
const (
	Nobody By = iota // what is due is done
	Operator
	BulkRotation
)

// Ask is what is wanted of a target beside what is due.
type Ask struct {
	By    By
	Force bool // without waiting for leases
	Bulk  int  // number of the bulk rotation
}

// asked takes in a wish for a rotation, which also ends the wait after failures, and
// their count. One that is under way goes on, but no longer depends on the schedule,
// and with force no longer on leases.
func (r record) asked(a Ask) record {
	if a.By == Nobody {
		return r
	}
	if a.By == BulkRotation {
		r.BulkForce = a.Force || (r.Bulk == a.Bulk && r.BulkForce)
		r.Bulk, r.BulkWaits = a.Bulk, false
	}
	switch {
	case a.By == Operator:
		r.Cause, r.Force = byOperator, r.Force || a.Force
		r.Unproven = r.Unproven && !a.Force // it is asked again
	case r.madeSince(a.Bulk): // only the key before is to go
	case r.Cause != byOperator && r.Next == nil:
		r.Cause = byBulk
	}
	r.RetryAt, r.Failures = time.Time{}, 0
	return r
}

// staged takes in the next secret.
func (r record) staged(set Settings, next Secret, now time.Time) record {
	r.Next = &version{Number: r.number() + 1, Value: next, MadeAt: now, Bulk: set.Bulk}
	if r.Keys { // it is staged when Auth0 has it
		r.Next.Exported = set.Exportable
		return r
	}
	r.StagedAt, r.StagedTTL = now, r.holdersTTL(set, now)
	if !r.held(set) {
		r.StagedTTL = 0
	}
	return r
}

// accepted takes in the secret that Auth0 has set, on its positive answer.
func (r record) accepted(set Settings, value Secret, now time.Time) record {
	made := version{Value: value, MadeAt: now, Bulk: r.AttemptBulk}
	if r.Next != nil {
		made = *r.Next
	}
	return r.rotated(set, made, now)
}

// found takes in the secret that was read back after a rotate-secret request of
// unknown outcome. Somebody else may have set it, so it has no MadeAt.
func (r record) found(set Settings, value Secret, now time.Time) record {
	return r.rotated(set, version{Value: value, Bulk: set.Bulk}, now)
}

// maxEarlier bounds what a loop of forced rotations leaves behind.
const maxEarlier = 8

// rotated makes a secret the current one. If a bulk rotation asks for one more, it goes
// on.
func (r record) rotated(set Settings, current version, now time.Time) record {
	current.Number = r.number() + 1
	after := record{
		Current: &current, Previous: r.Current, Earlier: r.Earlier, Rejected: r.Rejected,
		FallbackUntil: now.Add(set.PropagationDelay), FallbackFor: set.PropagationDelay, LastRotation: now, ScheduledFrom: r.ScheduledFrom,
		LongestTTL: r.LongestTTL, LongestUntil: r.LongestUntil,
		Bulk: r.Bulk, BulkForce: r.BulkForce, BulkWaits: r.BulkWaits,
	}
	if r.Previous != nil && !r.FallbackUntil.IsZero() {
		after.Earlier = append(versions{*r.Previous}, r.Earlier[:min(len(r.Earlier), maxEarlier-1)]...)
	}
	if after.inBulk() {
		after.Cause = byBulk
	}
	return after.propagated(Clock{Now: now, Since: now})
}

// hidden takes in that Auth0 has made a secret and does not show it.
func (r record) hidden() record {
	r.Attempt, r.Hidden = notBegun, true
	return r
}

// compared takes in the secret that was read in Auth0 while no request of ours was on
// its way. False: nothing follows from it.
func (r record) compared(set Settings, secret Secret, clk Clock) (record, bool) {
	r = r.propagated(clk).pinned(clk)
	switch {
	case r.Next != nil && secret == r.Next.Value:
		return r.accepted(set, secret, clk.Now), true // that is its acceptance
	case r.Current == nil || r.mayBeLive() || r.Hidden || !r.FallbackUntil.IsZero():
		return r, false
	case secret == r.Current.Value:
		return r, false
	}
	if i := slices.IndexFunc(r.Rejected, func(v version) bool { return v.Value == secret }); i >= 0 {
		return r.rotated(set, r.Rejected[i], clk.Now), true // it was accepted, against all likelihood
	}
	found := version{Value: secret, Bulk: set.Bulk}
	if r.Previous != nil && r.Previous.Value == secret {
		found = *r.Previous
	}
	found.Number = r.number() + 1
	r.Previous, r.Current, r.DriftedAt = r.Current, &found, clk.Now
	if r.Next != nil {
		next := *r.Next
		next.Number++
		r.Next = &next
	}
	if r.Cause == byBulk && r.Next == nil { // it concerned the secret that is gone, and so did its failures
		r = r.unwanted()
	}
	return r, true
}

// Result is how an attempt at Auth0 ended.
type Result int

// The results. Only Unclear leaves open whether the attempt has taken effect.
const (
	Unclear  Result = iota
	Accepted        // it has: Secret is what Auth0 accepts now. Of Retire: it is gone
	Hidden          // it has, and Auth0 does not show the secret it made
	Found           // Secret was read back, and may be somebody else's. Of Retire: it is the only key that Auth0 accepts
	Refused         // it has not
	Rejected        // it has not: Auth0 does not take a secret of this form
	Limited         // it has not: the rate limit, which asks to wait for RetryAfter
	NotSent         // it has not: it never reached Auth0
	Untold          // of Confirm: Auth0 does not tell
)

// Outcome is what came of an attempt at Auth0.
type Outcome struct {
	Result     Result
	Secret     Secret
	RetryAfter time.Duration
	Err        error // why it did not succeed; its text is stored
}

// failed takes in an attempt that did not succeed. first: every earlier attempt with
// the same secret had a clear answer, so this one's is the last word on it. A secret
// that may be live stays, and is sent again.
func (r record) failed(set Settings, o Outcome, first bool, clk Clock) record {
	r = r.waitsAfter(o, clk)
	switch {
	case o.Result == Unclear:
		r.Attempt = unclear
	case o.Result == Rejected && r.Next != nil:
		return r.rejected(first)
	case first && o.Result == Refused:
		return r.refused(set)
	case first:
		r.Attempt = notBegun
	}
	return r
}

// waitsAfter notes a failure, and when the next attempt is.
func (r record) waitsAfter(o Outcome, clk Clock) record {
	r.LastError = o.Err.Error()
	if o.Result == Limited {
		r.RetryAt = clk.Now.Add(min(max(o.RetryAfter, limitedMin), backoffMax))
	} else {
		r.Failures++
		r.RetryAt = clk.Now.Add(retryBackoff(r.Failures, clk.Jitter))
	}
	return r
}

// rejected makes room for another secret. It keeps one that an earlier attempt may have
// set, against all likelihood.
func (r record) rejected(first bool) record {
	if !first {
		r.Rejected = append(r.Rejected[:len(r.Rejected):len(r.Rejected)], *r.Next)
	}
	r.Next, r.StagedAt, r.StagedTTL, r.Attempt = nil, time.Time{}, 0, notBegun
	return r
}

// refused takes in that Auth0 has certainly not done it. A forced rotation is an
// ordinary staged one from here on: by the time Auth0 accepts it, holders need not fail
// any more. The engine's own next secret, which no lease holds, is dropped: the caller
// has the answer.
func (r record) refused(set Settings) record {
	r.Attempt = notBegun
	if r.Next == nil {
		return r
	}
	if set.TTL == 0 {
		r.Next, r.StagedAt, r.Cause, r.Force = nil, time.Time{}, byNobody, false
		return r
	}
	if r.held(set) {
		r.Force, r.BulkWaits = false, r.BulkForce
	}
	return r
}
