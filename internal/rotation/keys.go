package rotation

import "time"

// Keys. Auth0 accepts two keys of an application at a time, so no login has to be
// refused: the next key is registered beside the present one, used once Auth0 accepts
// it everywhere, and the one before is removed when nobody can use it any more.
//
//	       asked for, or due           ready_at, and proven
//	steady -----------------> staged -----------------------> propagating
//	  ^     (Auth0 has both)                 (the next one is served)  |
//	  +----------------------------------------------------------------+
//	              fallback_until: Auth0 has removed the previous one
//
// Each step at Auth0 may be repeated. There are never more than two keys: while one is
// to be removed, no other is made. With force, nothing is waited for but the proof.
//
// The record of a target that has keys, Keys, says of them:
//
//	Next without StagedAt    made, and perhaps registered: see Attempt
//	Next with StagedAt       Auth0 has said that it is registered
//	Previous                 registered, and to be removed at FallbackUntil

// AssertionLifetime is how long an assertion is good that is handed out: so long a key
// that nobody holds may be needed after the last one was signed with it.
const AssertionLifetime = time.Minute

// NoKey is the state of a target for which a key is made at once.
func NoKey(now time.Time) State {
	return State{record{Keys: true, Cause: byOperator, Force: true, ScheduledFrom: now}}
}

// Exported notes that the keys which are, or will be, in use may be known outside.
func (s State) Exported() State {
	for _, key := range []**version{&s.r.Current, &s.r.Next} {
		if *key != nil {
			known := **key
			known.Exported = true
			*key = &known
		}
	}
	return s
}

// WithoutUnused drops a next key that Auth0 has refused, so that another one is made.
func (s State) WithoutUnused() State {
	if s.r.Keys && !s.Registered() {
		s.r.Next = nil
	}
	return s
}

// Registered says whether Auth0 may have a next key, in use or not.
func (s State) Registered() bool {
	return s.r.Keys && s.r.Next != nil && (s.r.begun() || s.r.Attempt != notBegun)
}

// Key is a private key that Auth0 may have the public half of.
type Key struct {
	Secret   Secret
	Exported bool // somebody may hold it
}

// Keys are all keys of the target that may be registered at Auth0.
func (s State) Keys() []Key {
	var keys []Key
	for _, v := range []*version{s.r.Current, s.r.Next, s.r.Previous} {
		if s.r.Keys && v != nil {
			keys = append(keys, Key{v.Value, v.Exported})
		}
	}
	return keys
}

// begun says whether the next secret is staged. A key is when Auth0 has it.
func (r record) begun() bool { return r.Next != nil && (!r.Keys || !r.StagedAt.IsZero()) }

func (r record) decideKey(set Settings, clk Clock) decision {
	switch {
	case r.mayBeLive():
		return r.upstream(doSet, set, clk)
	case r.begun():
		at, planned := r.activation(set, clk)
		if !planned || clk.Now.Before(at) {
			return decision{record: r, wake: at}
		}
		return r.upstream(doConfirm, set, clk)
	case r.Previous != nil:
		if at := r.fallbackEnd(clk); !r.forced() && clk.Now.Before(at) {
			return decision{record: r, wake: at}
		}
		return r.upstream(doRetire, set, clk)
	}
	due, planned := r.due(set, clk.Now)
	switch {
	case !planned || clk.Now.Before(due):
		return decision{record: r, wake: due}
	case r.Next != nil: // Auth0 has refused it, and nobody holds it
		return r.upstream(doSet, set, clk)
	default:
		return r.upstream(doGenerate, set, clk)
	}
}

// keyOutcome takes in what came of a step at Auth0. False: it failed.
func (r record) keyOutcome(set Settings, did action, o Outcome, first bool, clk Clock) (record, bool) {
	switch {
	case did == doSet && o.Result == Accepted:
		if !r.Unproven { // else it may not be accepted this time either: that is proven next
			r = r.succeeded()
		}
		r.Attempt, r.StagedAt, r.StagedTTL, r.Unproven = notBegun, clk.Now, set.PropagationDelay, false
		return r, true
	case did == doSet:
		return r.keyFailed(o, first, clk), false
	case did == doConfirm && o.Result == Accepted:
		return r.switched(set, clk.Now), true
	case did == doConfirm && o.Result == Untold && !clk.Now.Before(r.readyAt(clk)):
		return r.switched(set, clk.Now), true
	case did == doConfirm && o.Result == Untold:
		r.Unproven = true
		return r.succeeded(), true
	case did == doRetire && o.Result == Accepted:
		r.Previous, r.FallbackUntil, r.FallbackFor = nil, time.Time{}, 0
		return r.succeeded(), true
	case did == doRetire && o.Result == Found:
		return r.swapped(clk.Now).succeeded(), true
	}
	failed := r.waitsAfter(o, clk)
	if did == doConfirm && o.Result == Refused {
		failed.Attempt, failed.StagedAt, failed.StagedTTL, failed.Unproven = unclear, time.Time{}, 0, true // it is registered again
	}
	return failed, false
}

func (r record) succeeded() record {
	r.Failures, r.LastError, r.RetryAt = 0, "", time.Time{}
	return r
}

// keyFailed takes in a failure. A key that was not registered stays, for the next
// attempt: nobody holds it. That one is not forced: see refused.
func (r record) keyFailed(o Outcome, first bool, clk Clock) record {
	r = r.waitsAfter(o, clk)
	switch {
	case o.Result == Unclear:
		r.Attempt = unclear
	case first && o.Result != Refused && o.Result != Rejected:
		r.Attempt = partial
	case first:
		r.Attempt = notBegun
		if r.Current != nil {
			r.Force, r.BulkWaits = false, r.BulkForce
		}
	}
	return r
}

// switched makes the next key the current one. The one before stays at Auth0 for those
// who may use it yet.
func (r record) switched(set Settings, now time.Time) record {
	current := *r.Next
	current.Number = r.number() + 1
	after := record{
		Keys: true, Current: &current, Previous: r.Current, LastRotation: now, ScheduledFrom: r.ScheduledFrom,
		LongestTTL: r.LongestTTL, LongestUntil: r.LongestUntil,
		Bulk: r.Bulk, BulkForce: r.BulkForce, BulkWaits: r.BulkWaits,
	}
	if r.Current != nil {
		after.FallbackFor = r.usedFor(set, now)
		after.FallbackUntil = now.Add(after.FallbackFor)
	}
	if after.inBulk() {
		after.Cause = byBulk
	}
	return after
}

// usedFor is how long the present key may be used when another one is served.
func (r record) usedFor(set Settings, now time.Time) time.Duration {
	switch {
	case r.forced():
		return 0
	case r.Current.Exported:
		return max(AssertionLifetime, r.holdersTTL(set, now)) + HandOutMargin
	default:
		return AssertionLifetime + HandOutMargin
	}
}

// swapped takes the previous key, which Auth0 accepts, in place of the current one,
// which it does not: somebody has removed that.
func (r record) swapped(now time.Time) record {
	found := *r.Previous
	found.Number, found.Exported = r.number()+1, found.Exported || r.Current.Exported // it is what is handed out from now on
	r.Previous, r.Current, r.DriftedAt = r.Current, &found, now
	r.FallbackUntil, r.FallbackFor = now, 0
	return r
}

// KeysCompared takes in which keys Auth0 accepts, while no request of ours was on its
// way. False: nothing follows from it.
func KeysCompared(s State, enabled func(Secret) bool, clk Clock) (State, bool) {
	r := s.r.pinned(clk)
	if r.mayBeLive() {
		return s, false
	}
	changed := false
	if r.begun() && !enabled(r.Next.Value) { // it is registered again
		r.Attempt, r.StagedAt, r.StagedTTL, changed = unclear, time.Time{}, 0, true
	}
	switch {
	case r.Current == nil:
	case enabled(r.Current.Value):
		changed = changed || !r.DriftedAt.IsZero()
		r.DriftedAt = time.Time{}
	case r.Previous != nil && enabled(r.Previous.Value):
		return State{r.swapped(clk.Now)}, true
	case r.DriftedAt.IsZero():
		r.DriftedAt, changed = clk.Now, true
	}
	return State{r}, changed
}
