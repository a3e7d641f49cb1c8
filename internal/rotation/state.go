package rotation

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// State is the stored state of a target: its secrets and its rotation. It is never
// changed; this package makes another. Readers see its View.
type State struct{ r record }

// Format implements fmt.Formatter for every verb and flag: a state holds secrets.
func (State) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalJSON gives the stored form, secrets included.
func (s State) MarshalJSON() ([]byte, error) { return json.Marshal(s.r) }

// UnmarshalJSON reads the stored form, that of version 0.1.0-dev of 2026-11 and
// before (stored_format_1.go) included.
func (s *State) UnmarshalJSON(data []byte) error {
	var stored struct {
		record
		format1
	}
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	s.r = stored.upgrade(stored.record)
	return nil
}

// version is one secret of a target.
type version struct {
	Number int    `json:"version"`
	Value  Secret `json:"value"`
	// MadeAt is when the secret was made; zero if it was imported or found.
	MadeAt time.Time `json:"made_at,omitzero"`
	// Bulk is the number of the last bulk rotation that had been ordered when the
	// secret was made, imported or found: that one, and those before it, do not
	// concern the secret.
	Bulk int `json:"bulk,omitempty"`
	// Exported: it is a key that somebody may hold.
	Exported bool `json:"exported,omitempty"`
}

// cause is who asked for the rotation that is under way, or is to begin.
type cause string

const (
	byNobody   cause = ""         // none is under way; the schedule may begin one
	bySchedule cause = "schedule" // it waits for its window, and while paused
	byOperator cause = "operator"
	byBulk     cause = "bulk"
)

// attempt is how the attempt at Auth0 stands.
type attempt string

const (
	notBegun attempt = ""        // nothing is under way at Auth0
	sent     attempt = "sent"    // stored before the request is sent; found after a crash, it may have taken effect
	unclear  attempt = "unclear" // it had no clear answer, and may have taken effect
	partial  attempt = "partial" // it has not, but some of its requests may have: a key may be registered, and not in use
)

// record is the stored form of a State:
//
//	{"current":{"version":3,"value":"..."},"next":{"version":4,"value":"..."},
//	 "staged_at":"...","staged_ttl":900000000000,"cause":"schedule","attempt":"sent",...}
type record struct {
	// Keys: the secrets are private keys, which Auth0 accepts two at a time: see keys.go.
	Keys bool `json:"keys,omitempty"`

	// Current is accepted by Auth0 as far as is known. Nil only until the first
	// rotation of a role that was created with skip_import.
	Current *version `json:"current,omitempty"`
	// Next is durable and served, and may already be what Auth0 accepts: see
	// Attempt. It is dropped only on a definite answer.
	Next *version `json:"next,omitempty"`
	// Previous is served until FallbackUntil, since it may still be accepted
	// somewhere. Without FallbackUntil it is our last secret before somebody else set
	// Current: see DriftedAt.
	Previous *version `json:"previous,omitempty"`
	// Earlier were Previous when a forced rotation came before FallbackUntil, the last
	// one first. Some of Auth0's servers may still accept nothing else, so they are
	// served until the last rotation has propagated.
	Earlier versions `json:"earlier,omitempty"`
	// Rejected were Next once. Auth0 has refused their form, but only after an
	// attempt that had no clear answer: they may be accepted against all likelihood,
	// until a secret that was set later has propagated.
	Rejected versions `json:"rejected,omitempty"`

	StagedAt time.Time `json:"staged_at,omitzero"`
	// StagedTTL is the longest lease that a holder without Next can have. It is
	// fixed when Next is staged: later settings do not shorten leases given out.
	StagedTTL time.Duration `json:"staged_ttl,omitempty"`
	// Unproven: Auth0 does not tell whether it accepts the next key, so that also with
	// force the key is used only when it has propagated.
	Unproven bool `json:"unproven,omitempty"`
	// FallbackUntil is when the previous secret stops being served, by the clock of
	// the node that rotated: see fallbackEnd. It stays in storage after that time.
	FallbackUntil time.Time `json:"fallback_until,omitzero"`
	// FallbackFor is how long it is served, by whichever clock.
	FallbackFor  time.Duration `json:"fallback_for,omitempty"`
	LastRotation time.Time     `json:"last_rotation,omitzero"`
	// ScheduledFrom is when the schedule was set: earlier times do not count.
	ScheduledFrom time.Time `json:"scheduled_from,omitzero"`

	// Cause is kept until the rotation is through, whatever fails on the way, and
	// also if a bulk rotation then asks for it, too.
	Cause cause `json:"cause,omitempty"`
	// Force: an operator has asked not to wait for leases.
	Force bool `json:"force,omitempty"`
	// Bulk is the number of the last bulk rotation that this target carries, and
	// BulkForce its force; BulkWaits: Auth0 has refused that, so leases are waited for.
	// It is done when no secret of the set is older.
	Bulk      int  `json:"bulk,omitempty"`
	BulkForce bool `json:"bulk_force,omitempty"`
	BulkWaits bool `json:"bulk_waits,omitempty"`

	Attempt attempt `json:"attempt,omitempty"`
	// AttemptBulk is the number of the last bulk rotation when Auth0 was asked to
	// make a secret.
	AttemptBulk int `json:"attempt_bulk,omitempty"`
	// Hidden: Auth0 has made a secret that it does not show. No login works until one
	// of the engine's own is set.
	Hidden bool `json:"hidden,omitempty"`

	// DriftedAt is when Current was found in Auth0, set by somebody else. Previous
	// is ours then, and stays as a fallback until the next rotation.
	DriftedAt time.Time `json:"drifted_at,omitzero"`

	// LongestTTL is the longest lease that was given out under an earlier ttl; such
	// leases live until LongestUntil at the latest. LongestKept: the ttl was lowered
	// since the set last changed. Then LongestTTL counts until the next rotation is
	// through: readers without a lease may go by the ttl that they read first with the
	// set, as the Vault Secrets Operator did before 1.4.0.
	LongestTTL   time.Duration `json:"longest_ttl,omitempty"`
	LongestUntil time.Time     `json:"longest_until,omitzero"`
	LongestKept  bool          `json:"longest_kept,omitempty"`

	Failures  int       `json:"failures,omitempty"`
	LastError string    `json:"last_error,omitempty"`
	RetryAt   time.Time `json:"retry_at,omitzero"`
}

func (r record) equal(other record) bool { return reflect.DeepEqual(r, other) }

// number is that of the current secret, 0 if there is none yet.
func (r record) number() int {
	if r.Current == nil {
		return 0
	}
	return r.Current.Number
}

// madeSince says whether neither the present secret nor the next one is older than a
// bulk rotation.
func (r record) madeSince(bulk int) bool {
	return (r.Current == nil || r.Current.Bulk >= bulk) && (r.Next == nil || r.Next.Bulk >= bulk)
}

// inBulk says whether a bulk rotation asks for what is under way, or is to begin.
func (r record) inBulk() bool { return r.Bulk > 0 && !r.madeSince(r.Bulk) }

// outlived says whether a key that is older than a bulk rotation is accepted yet, though
// another one is used.
func (r record) outlived(bulk int) bool { return r.Keys && r.Previous != nil && r.Previous.Bulk < bulk }

// forced says whether leases are not waited for.
func (r record) forced() bool {
	return r.Force || (r.inBulk() || r.outlived(r.Bulk)) && r.BulkForce && !r.BulkWaits
}

// doubtful says whether Auth0 may accept a rejected secret: none was set since. Then
// the next one waits for no window.
func (r record) doubtful() bool {
	return slices.ContainsFunc(r.Rejected, func(v version) bool { return v.Number > r.number() })
}

// mayBeLive says whether an attempt may have taken effect without a record of it.
func (r record) mayBeLive() bool { return r.Attempt == sent || r.Attempt == unclear }

// held says whether somebody may log in with a secret of the set, so that leases
// have to be waited for.
func (r record) held(set Settings) bool { return set.TTL > 0 && r.Current != nil && !r.Hidden }

// served is the set in the order in which an application tries it: two are enough
// for a reader at every instant. Empty until a first secret is known to be
// accepted.
func (r record) served() []Secret {
	switch {
	case r.Current == nil:
		return nil
	case r.Keys: // accepted for as long as anybody holds it
		return []Secret{r.Current.Value}
	}
	return r.inOrder(r.Current, r.Next, r.Previous)
}

// inOrder is the values of the secrets that there are, with the earlier and the rejected
// ones at the end, each once.
func (r record) inOrder(secrets ...*version) []Secret {
	for i := range r.Earlier {
		secrets = append(secrets, &r.Earlier[i])
	}
	for i := range r.Rejected {
		secrets = append(secrets, &r.Rejected[i])
	}
	values := make([]Secret, 0, len(secrets))
	for _, secret := range secrets {
		if secret != nil && !slices.Contains(values, secret.Value) {
			values = append(values, secret.Value)
		}
	}
	return values
}

// Imported is the state of a target whose present secret is known. bulk is the
// number of the last bulk rotation: it, and those before, do not concern it.
func Imported(secret Secret, bulk int, now time.Time) State {
	return State{record{
		Current: &version{Number: 1, Value: secret, Bulk: bulk}, LastRotation: now, ScheduledFrom: now,
	}}
}

// Unknown is the state of a target whose present secret is not known, and is replaced
// at once.
func Unknown(now time.Time) State {
	return State{record{Cause: byOperator, Force: true, ScheduledFrom: now}}
}

// Holds says whether the secret is one of the target's.
func (s State) Holds(secret Secret) bool {
	return slices.Contains(s.r.inOrder(s.r.Current, s.r.Next, s.r.Previous), secret)
}

// IsCurrent says whether the secret is the present one.
func (s State) IsCurrent(secret Secret) bool {
	return s.r.Current != nil && s.r.Current.Value == secret
}

// Current is the present secret, "" if there is none yet.
func (s State) Current() Secret {
	if s.r.Current == nil {
		return ""
	}
	return s.r.Current.Value
}

// Next is the secret that is staged, "" if there is none.
func (s State) Next() Secret {
	if s.r.Next == nil {
		return ""
	}
	return s.r.Next.Value
}

// Logins are the secrets with which the target itself logs in, in the order in
// which it tries them: the next one first, which nobody else holds.
func (s State) Logins(clk Clock) []Secret {
	r := s.r.propagated(clk)
	return r.inOrder(r.Next, r.Current, r.Previous)
}

// Version is the number of the current secret, 0 if there is none yet.
func (s State) Version() int { return s.r.number() }

// DriftedAt is when the present secret was found in Auth0, set by somebody else.
// Zero: it is the engine's own.
func (s State) DriftedAt() time.Time { return s.r.DriftedAt }

// Unsettled says whether Auth0 may accept a secret that is not the current one, by
// an attempt whose outcome is not known, or one that it does not show.
func (s State) Unsettled() bool {
	return s.r.mayBeLive() || s.r.Hidden || s.r.doubtful() || s.r.Keys && s.r.begun()
}

// Awaited is the secret of the served set that a reader may not have yet, and for which
// a rotation waits: what is staged; of keys, the present one.
func (s State) Awaited() Secret {
	if s.r.Keys {
		return s.Current()
	}
	return s.Next()
}

// KnownSince is when the present secret was made; if it was imported or found, when
// that was.
func (s State) KnownSince() time.Time {
	if s.r.Current != nil && !s.r.Current.MadeAt.IsZero() {
		return s.r.Current.MadeAt
	}
	return later(s.r.LastRotation, s.r.DriftedAt)
}

// Leases is how long leases may live that were given out before now.
type Leases struct {
	TTL   time.Duration
	Until time.Time
}

// LeasesAt is what a later target for the same secret has to wait for, if the
// present ttl ends now.
func (s State) LeasesAt(ttl time.Duration, now time.Time) Leases {
	r := s.r.ttlChanged(ttl, now)
	return Leases{TTL: r.LongestTTL, Until: r.LongestUntil}
}

// WithLeases has a new target wait for leases of an earlier one.
func (s State) WithLeases(l Leases) State {
	s.r.LongestTTL, s.r.LongestUntil = l.TTL, l.Until
	return s
}

// TTLChanged remembers how long leases of the earlier ttl can live, and who may
// still go by it.
func (s State) TTLChanged(earlier time.Duration, now time.Time) State {
	return State{s.r.ttlChanged(earlier, now)}
}

func (r record) ttlChanged(earlier time.Duration, now time.Time) record {
	r.LongestTTL = max(earlier, r.earlierTTL(now))
	r.LongestUntil = later(r.LongestUntil, now.Add(earlier+HandOutMargin))
	r.LongestKept = true
	return r
}

// Rescheduled notes that the schedule was set: its earlier times do not count.
func (s State) Rescheduled(now time.Time) State {
	s.r.ScheduledFrom = now
	return s
}

// Concerned says whether a bulk rotation is to be asked of the target: its secret
// is older, and it does not carry the request, or not the force, yet.
func (s State) Concerned(bulk int, force bool) bool {
	return (!s.r.madeSince(bulk) || force && s.r.outlived(bulk)) && (s.r.Bulk < bulk || s.r.Bulk == bulk && force && !s.r.BulkForce)
}

// Asked takes in who wants a rotation. The next Run begins it.
func (s State) Asked(a Ask) State { return State{s.r.asked(a)} }

// Carries says whether the target was asked for a bulk rotation, and Done whether
// its secret is newer than that, and an older key is no longer accepted.
func (s State) Carries(bulk int) bool { return s.r.Bulk == bulk }

// Replaced says whether its secret is newer, whatever becomes of an older key.
func (s State) Replaced(bulk int) bool { return s.r.madeSince(bulk) }

// Done is explained at Carries.
func (s State) Done(bulk int) bool {
	return s.r.madeSince(bulk) && !s.r.outlived(bulk)
}

// unwanted takes back the wish for a rotation, and drops its failures, which no attempt
// would ever end.
func (r record) unwanted() record {
	r.Cause, r.Failures, r.LastError, r.RetryAt = byNobody, 0, "", time.Time{}
	return r
}

// CalledOff takes a bulk rotation back if no request was sent to Auth0 for it. It drops
// a secret that was staged for it: by the record that was never sent. A rotation that
// was under way before goes on. False: there is nothing to take back.
func (s State) CalledOff(bulk int) (State, bool) {
	r := s.r
	if r.Bulk != bulk || !r.inBulk() || s.Unsettled() {
		return s, false
	}
	if r.Cause == byBulk && (r.Next == nil || r.Next.Bulk >= bulk) {
		if r.Keys { // parts of it may be at Auth0: it is the next one, whenever that is
			return State{r.unwanted().withoutBulk()}, true
		}
		r.Next, r.StagedAt, r.StagedTTL = nil, time.Time{}, 0
		r = r.unwanted()
	}
	return State{r.withoutBulk()}, true
}

func (r record) withoutBulk() record {
	r.Bulk, r.BulkForce, r.BulkWaits = 0, false, false
	return r
}
