package rotation

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// untilThree is the time from epoch to the first time of daily.
const untilThree = 15 * time.Hour

// daily is a schedule: each day at three o'clock.
type daily struct{}

func (daily) Next(after time.Time) time.Time {
	at := time.Date(after.Year(), after.Month(), after.Day(), 3, 0, 0, 0, time.UTC)
	if !at.After(after) {
		at = at.AddDate(0, 0, 1)
	}
	return at
}

func vaultSettings() Settings {
	return Settings{TTL: time.Minute, Source: Vault, PropagationDelay: 30 * time.Second}
}

func auth0Settings() Settings {
	set := vaultSettings()
	set.Source = Auth0
	return set
}

// engineSettings are those of the engine's own secret, which nobody else holds.
func engineSettings() Settings {
	set := vaultSettings()
	set.TTL = 0
	return set
}

// everySource is each kind of secret there is.
func everySource() map[string]Settings {
	return map[string]Settings{"vault": vaultSettings(), "auth0": auth0Settings(), "engine": engineSettings()}
}

func steadyState() record {
	return record{Current: &version{Number: 1, Value: "one"}, LastRotation: epoch}
}

// stagedState has a secret staged at epoch, for a cause.
func stagedState(set Settings, why cause) record {
	r := steadyState()
	r.Cause = why
	return r.staged(set, "two", epoch)
}

func at(d time.Duration) Clock {
	return Clock{Now: epoch.Add(d), Since: epoch.Add(-time.Hour)}
}

func byHand(force bool) Ask { return Ask{By: Operator, Force: force} }

// ended is an attempt that did not succeed.
func ended(result Result) Outcome {
	return Outcome{Result: result, Err: errors.New("no"), RetryAfter: 20 * time.Second}
}

// plain are secrets as they can be compared and printed.
func plain(secrets []Secret) []string {
	var values []string
	for _, secret := range secrets {
		values = append(values, string(secret))
	}
	return values
}

func served(r record) []string { return plain(r.served()) }

// phaseOf is the phase as it is to be seen.
func phaseOf(r record, set Settings, clk Clock) Phase { return State{r}.View(set, clk).Phase }

// onRecord goes through the times until an attempt at Auth0 is on record.
func onRecord(t *testing.T, set Settings, r record, times ...time.Duration) record {
	t.Helper()
	for _, when := range times {
		d := decide(set, r, at(when))
		if d.action == doGenerate {
			d = decide(set, d.staged(set, "two", epoch.Add(when)), at(when))
		}
		if r = d.record; r.Attempt == sent {
			return r
		}
	}
	require.Fail(t, "nothing was sent")
	return r
}

func TestATargetWithoutScheduleRestsUntilAsked(t *testing.T) {
	d := decide(vaultSettings(), steadyState(), at(1000*time.Hour))
	assert.Equal(t, doNothing, d.action)
	assert.True(t, d.wake.IsZero())
	d = decide(vaultSettings(), steadyState().asked(byHand(false)), at(0))
	assert.Equal(t, doGenerate, d.action)
	assert.Equal(t, steadyState(), steadyState().asked(Ask{}), "nobody asks")
}

func TestStagedSecretIsSentOnlyWhenNoLeaseLacksIt(t *testing.T) {
	set := vaultSettings()
	st := steadyState().asked(byHand(false)).staged(set, "two", epoch)
	require.Equal(t, Staged, phaseOf(st, set, at(0)))
	ready := set.TTL + HandOutMargin

	d := decide(set, st, at(ready-time.Nanosecond))
	assert.Equal(t, doNothing, d.action)
	assert.Equal(t, epoch.Add(ready), d.wake)
	assert.Equal(t, notBegun, d.Attempt)
	d = decide(set, st, at(ready))
	assert.Equal(t, doSet, d.action)
	assert.Equal(t, sent, d.Attempt, "it is on record before it is sent")
}

func TestStagedSecretWaitsAWholeTTLAfterAStart(t *testing.T) {
	set := vaultSettings()
	st := stagedState(set, byOperator)
	clk := Clock{Now: epoch.Add(time.Hour), Since: epoch.Add(time.Hour)}
	d := decide(set, st, clk)
	assert.Equal(t, doNothing, d.action)
	assert.Equal(t, clk.Now.Add(set.TTL+HandOutMargin), d.wake)
	assert.Equal(t, clk.Now.Add(set.TTL+HandOutMargin), State{st}.View(set, clk).ReadyAt)
}

func TestScheduledRotationIsStagedAheadAndTakesEffectOnTime(t *testing.T) {
	set := vaultSettings()
	set.Period = time.Hour
	stageAt := time.Hour - set.TTL - HandOutMargin
	d := decide(set, steadyState(), at(stageAt-time.Nanosecond))
	assert.Equal(t, doNothing, d.action)
	assert.Equal(t, epoch.Add(stageAt), d.wake)
	d = decide(set, steadyState(), at(stageAt))
	require.Equal(t, doGenerate, d.action)
	require.Equal(t, bySchedule, d.Cause)
	d = decide(set, d.staged(set, "two", epoch.Add(stageAt)), at(stageAt))
	assert.Equal(t, epoch.Add(time.Hour), d.wake)
}

func TestForceSendsWithoutWaitingAndOnlyThen(t *testing.T) {
	set := vaultSettings()
	staged := stagedState(set, byOperator)
	assert.Equal(t, doNothing, decide(set, staged.asked(byHand(false)), at(0)).action)
	forced := decide(set, staged.asked(byHand(true)), at(0))
	assert.Equal(t, doSet, forced.action)
	assert.Equal(t, "two", string(forced.Next.Value))
	again := staged.asked(byHand(true)).asked(byHand(false))
	assert.Equal(t, doSet, decide(set, again, at(0)).action, "it is not taken back by who asks for less")
}

func TestAcceptedSecretPropagatesThenIsAlone(t *testing.T) {
	set := vaultSettings()
	st := stagedState(set, byOperator).accepted(set, "two", epoch)
	assert.Equal(t, Propagating, phaseOf(st, set, at(0)))
	assert.Equal(t, 2, State{st}.Version())
	assert.Equal(t, []string{"two", "one"}, served(st))
	d := decide(set, st, at(set.PropagationDelay-time.Nanosecond))
	assert.Equal(t, epoch.Add(set.PropagationDelay), d.wake)
	assert.Equal(t, Propagating, phaseOf(d.record, set, at(set.PropagationDelay-time.Nanosecond)))
	d = decide(set, st, at(set.PropagationDelay))
	assert.Equal(t, Steady, phaseOf(d.record, set, at(set.PropagationDelay)))
	assert.Equal(t, []string{"two"}, served(d.record))

	set.PropagationDelay = 0
	atOnce := steadyState().accepted(set, "two", epoch)
	assert.Equal(t, Steady, phaseOf(atOnce, set, at(0)))
	assert.Equal(t, []string{"two"}, served(atOnce))
}

func TestARequestWhilePropagatingIsStagedAfterwardsAndForceAtOnce(t *testing.T) {
	set := vaultSettings()
	st := steadyState().accepted(set, "two", epoch)
	d := decide(set, st.asked(byHand(false)), at(0))
	assert.Equal(t, doNothing, d.action)
	assert.Equal(t, epoch.Add(set.PropagationDelay), d.wake)
	d = decide(set, d.record, at(set.PropagationDelay))
	assert.Equal(t, doGenerate, d.action)
	d = decide(set, st.asked(byHand(true)), at(0))
	require.Equal(t, doGenerate, d.action)
	st = d.staged(set, "three", epoch)
	assert.Equal(t, []string{"two", "three", "one"}, served(st))
	assert.Equal(t, doSet, decide(set, st, at(0)).action)
}

// TestTheServedOrderIsTheOneInWhichItIsTried: two secrets are enough for a reader
// at every instant, so those that may be accepted come before those that will
// hardly be.
func TestTheServedOrderIsTheOneInWhichItIsTried(t *testing.T) {
	r := record{
		Current:  &version{Number: 3, Value: "current"},
		Next:     &version{Number: 4, Value: "next"},
		Previous: &version{Number: 2, Value: "previous"},
		Earlier:  versions{{Number: 1, Value: "earlier"}},
		Rejected: versions{{Number: 3, Value: "rejected"}, {Number: 3, Value: "rejected too"}},
		Cause:    byOperator, LastRotation: epoch, StagedAt: epoch,
		FallbackUntil: epoch.Add(30 * time.Second), FallbackFor: 30 * time.Second,
	}
	assert.Equal(t, []string{"current", "next", "previous", "earlier", "rejected", "rejected too"}, served(r))
	assert.Equal(t, []string{"next", "current", "previous", "earlier", "rejected", "rejected too"}, plain(State{r}.Logins(at(0))),
		"the target itself begins with the one that nobody else holds")
	now, until := State{r}.Served(at(0))
	assert.Equal(t, served(r), plain(now))
	assert.Equal(t, epoch.Add(30*time.Second), until)
	now, until = State{r}.Served(at(time.Minute))
	assert.Equal(t, []string{"current", "next"}, plain(now))
	assert.True(t, until.IsZero())

	r.Earlier, r.Rejected = nil, versions{{Value: "previous"}, {Value: "other"}}
	assert.Equal(t, []string{"current", "next", "previous", "other"}, served(r), "each is served once")
	r.Current = nil
	assert.Empty(t, served(r), "nothing is known to be accepted")
}

// TestNoAnswerDiscardsNothing: after any failure the same secret is served and
// sent again.
func TestNoAnswerDiscardsNothing(t *testing.T) {
	set := vaultSettings()
	staged := stagedState(set, byOperator)
	for _, result := range []Result{Unclear, Refused, Limited, NotSent} {
		for _, first := range []bool{true, false} {
			st := onRecord(t, set, staged, time.Hour).failed(set, ended(result), first, at(time.Hour))
			assert.Equal(t, served(staged), served(st))
			assert.Equal(t, "no", st.LastError)
			d := decide(set, st, at(time.Hour))
			assert.Equal(t, doNothing, d.action, "waits before it tries again")
			d = decide(set, st, at(2*time.Hour))
			assert.Equal(t, doSet, d.action)
			assert.Equal(t, "two", string(d.Next.Value))
		}
	}
}

// TestOnlyAFirstAttemptSaysWhatHasBecomeOfIt: a definite answer to a later one says
// nothing of an earlier one that had none.
func TestOnlyAFirstAttemptSaysWhatHasBecomeOfIt(t *testing.T) {
	for name, set := range everySource() {
		for _, result := range []Result{Refused, Limited, NotSent} {
			st := onRecord(t, set, steadyState().asked(byHand(true)), 0)
			assert.Equal(t, notBegun, st.failed(set, ended(result), true, at(0)).Attempt, name)
			crashed := st.failed(set, ended(result), false, at(0))
			assert.Equal(t, sent, crashed.Attempt, name)
			assert.True(t, State{crashed}.Unsettled(), name)
			noAnswer := st.failed(set, ended(Unclear), true, at(0))
			assert.Equal(t, unclear, noAnswer.Attempt, name)
			noAnswer = noAnswer.failed(set, ended(result), false, at(0))
			assert.Equal(t, unclear, noAnswer.Attempt, name)
			if set.Source == Vault {
				assert.Equal(t, "two", string(noAnswer.Next.Value), "it may be live")
			}
		}
	}
}

// TestTheScheduleAlsoTellsWhenToRetryWhatItBegan: what Auth0 has certainly not done
// goes by the schedule as if it had not been tried.
func TestTheScheduleAlsoTellsWhenToRetryWhatItBegan(t *testing.T) {
	for name, set := range everySource() {
		set.Schedule, set.Window = daily{}, time.Hour
		for _, result := range []Result{Refused, Limited, NotSent, Rejected} {
			st := onRecord(t, set, steadyState(), untilThree-set.TTL-HandOutMargin, untilThree)
			require.Equal(t, bySchedule, st.Cause)
			st = st.failed(set, ended(result), true, at(untilThree))

			assert.NotEqual(t, doNothing, decide(set, st, at(untilThree+5*time.Minute)).action, "%s %d: the window is open", name, result)
			closed := decide(set, st, at(untilThree+time.Hour))
			assert.Equal(t, doNothing, closed.action, "%s %d", name, result)
			tomorrow := untilThree + 24*time.Hour
			if st.Next == nil && st.held(set) && set.Source == Vault {
				tomorrow -= set.TTL + HandOutMargin // another one has to be staged
			}
			assert.Equal(t, epoch.Add(tomorrow), closed.wake, "%s %d", name, result)
			assert.NotEqual(t, doNothing, decide(set, closed.record, at(tomorrow)).action, "%s %d", name, result)

			paused := set
			paused.Paused = true
			for _, when := range []time.Duration{untilThree + 5*time.Minute, tomorrow, 1000 * time.Hour} {
				d := decide(paused, st, at(when))
				assert.Equal(t, doNothing, d.action, "%s %d", name, result)
				assert.True(t, d.wake.IsZero(), "%s %d", name, result)
			}
		}
	}
}

// TestWhatSomebodyAskedForIsRetriedWhateverTheScheduleSays: the cause is kept
// through all failures.
func TestWhatSomebodyAskedForIsRetriedWhateverTheScheduleSays(t *testing.T) {
	for name, set := range everySource() {
		set.Schedule, set.Window, set.Paused = daily{}, time.Hour, true
		for _, ask := range []Ask{byHand(false), byHand(true), {By: BulkRotation, Bulk: 1}} {
			for _, result := range []Result{Unclear, Refused, Limited, NotSent, Rejected} {
				if set.TTL == 0 && result == Refused {
					continue // is given up: see TestARefusedSecretThatNobodyHoldsIsGivenUp
				}
				st := onRecord(t, set, steadyState().asked(ask), 0, time.Hour)
				why := st.Cause
				st = st.failed(set, ended(result), true, at(time.Hour))
				assert.Equal(t, why, st.Cause, "%s %d", name, result)
				assert.NotEqual(t, doNothing, decide(set, st, at(2*time.Hour)).action, "%s %d", name, result)
			}
		}
	}
}

// TestAnAttemptThatMayBeLiveIsMadeAgain as soon as its backoff allows, whatever
// window, pause, schedule and leases say.
func TestAnAttemptThatMayBeLiveIsMadeAgain(t *testing.T) {
	for name, hinder := range map[string]func(*Settings){
		"paused":             func(set *Settings) { set.Paused, set.Period = true, time.Hour },
		"paused, no times":   func(set *Settings) { set.Paused = true },
		"out of its window":  func(set *Settings) { set.Schedule, set.Window = daily{}, time.Minute },
		"its schedule ended": func(*Settings) {},
		"leases live long":   func(set *Settings) { set.TTL = 1000 * time.Hour },
	} {
		for _, why := range []cause{bySchedule, byOperator, byBulk} {
			for _, how := range []attempt{sent, unclear} {
				set := vaultSettings()
				hinder(&set)
				next := stagedState(set, why)
				next.Attempt, next.RetryAt = how, epoch.Add(20*time.Second)
				made := steadyState()
				made.Cause, made.Attempt, made.RetryAt = why, how, epoch.Add(20*time.Second)
				for want, st := range map[action]record{doSet: next, doReadBack: made} {
					d := decide(set, st, at(20*time.Second-time.Nanosecond))
					assert.Equal(t, doNothing, d.action, name)
					assert.Equal(t, st.RetryAt, d.wake, name)
					d = decide(set, st, at(20*time.Second))
					assert.Equal(t, want, d.action, name)
					assert.Equal(t, st, d.record, "%s: nothing is new that would have to be stored", name)
					view := State{st}.View(set, at(time.Minute))
					assert.True(t, view.Overdue, name)
					assert.True(t, view.UnderWay, name)
				}
			}
		}
	}
}

func TestRefusedForceBecomesAnOrdinaryStagedRotation(t *testing.T) {
	set := vaultSettings()
	forced := onRecord(t, set, stagedState(set, byOperator).asked(byHand(true)), 0)
	st := forced.failed(set, ended(Refused), true, at(0))
	assert.False(t, st.Force)
	assert.Equal(t, doNothing, decide(set, st, at(backoffMin)).action)
	assert.Equal(t, doSet, decide(set, st, at(set.TTL+HandOutMargin)).action)
	// an unclear one is tried again as soon as may be: the secret may be live
	st = forced.failed(set, ended(Unclear), true, at(0))
	assert.Equal(t, doSet, decide(set, st, at(backoffMin)).action)
}

func TestForceIsKeptWhereAuth0HasRefusedNothing(t *testing.T) {
	set := vaultSettings()
	forced := onRecord(t, set, stagedState(set, byOperator).asked(byHand(true)), 0)
	for _, result := range []Result{Limited, NotSent, Unclear, Rejected} {
		st := forced.failed(set, ended(result), true, at(0))
		assert.True(t, st.Force, result)
		d := decide(set, st, at(20*time.Second))
		if d.action == doGenerate { // another secret, for the one rejected
			d = decide(set, d.staged(set, "three", epoch.Add(20*time.Second)), at(20*time.Second))
		}
		assert.Equal(t, doSet, d.action, result)
	}
	// nor is there anybody to wait for where nobody can log in
	for _, st := range []record{forced.hidden(), Unknown(epoch).r.staged(set, "two", epoch)} {
		st.Attempt = sent
		st = st.failed(set, ended(Refused), true, at(0))
		assert.True(t, st.Force)
		assert.Equal(t, doSet, decide(set, st, at(backoffMin)).action)
	}
}

// TestARefusedSecretThatNobodyHoldsIsGivenUp: the operator has the answer, and the
// schedule makes another attempt with another secret.
func TestARefusedSecretThatNobodyHoldsIsGivenUp(t *testing.T) {
	set := engineSettings()
	set.Period = time.Hour
	for _, ask := range []Ask{byHand(false), byHand(true)} {
		asked := onRecord(t, set, steadyState().asked(ask), 0)
		st := asked.failed(set, ended(Refused), true, at(0))
		assert.Nil(t, st.Next)
		assert.Equal(t, byNobody, st.Cause)
		assert.False(t, st.Force)
		assert.False(t, State{st}.View(set, at(0)).UnderWay)
		assert.Equal(t, []string{"one"}, plain(State{st}.Logins(at(0))))
		d := decide(set, st, at(time.Minute))
		assert.Equal(t, doNothing, d.action, "nobody asks any more")
		assert.Equal(t, epoch.Add(time.Hour), d.wake, "but the schedule will")
	}

	byItself := onRecord(t, set, steadyState(), time.Hour)
	require.Equal(t, bySchedule, byItself.Cause)
	st := byItself.failed(set, ended(Refused), true, at(time.Hour))
	assert.Nil(t, st.Next)
	d := decide(set, st, at(time.Hour))
	assert.Equal(t, doNothing, d.action, "waited out")
	assert.Equal(t, epoch.Add(time.Hour+backoffMin), d.wake)
	assert.Equal(t, doGenerate, decide(set, st, at(time.Hour+backoffMin)).action)

	// an earlier attempt may have set it: then the refusal of a later one ends nothing
	for _, result := range []Result{Refused, Limited, NotSent} {
		st = byItself.failed(set, ended(Unclear), true, at(time.Hour)).failed(set, ended(result), false, at(2*time.Hour))
		assert.Equal(t, "two", string(st.Next.Value))
		assert.Equal(t, doSet, decide(set, st, at(3*time.Hour)).action)
	}
	// what Auth0 has not judged is sent again as it is
	for _, result := range []Result{Limited, NotSent} {
		st = byItself.failed(set, ended(result), true, at(time.Hour))
		assert.Equal(t, "two", string(st.Next.Value))
		assert.Equal(t, doSet, decide(set, st, at(2*time.Hour)).action)
	}
}

func TestAuth0MakesTheSecretOnlyUnderAnIntent(t *testing.T) {
	set := auth0Settings()
	d := decide(set, steadyState().asked(byHand(false)), at(0))
	require.Equal(t, doMake, d.action)
	require.Equal(t, sent, d.Attempt, "the intent is in the state before the request")
	// whatever happened then: after a crash it is read back
	assert.Equal(t, doReadBack, decide(set, d.record, at(time.Hour)).action)

	refused := d.failed(set, ended(Refused), true, at(0))
	assert.Equal(t, doMake, decide(set, refused, at(time.Hour)).action)
	noAnswer := d.failed(set, ended(Unclear), true, at(0))
	assert.Equal(t, doReadBack, decide(set, noAnswer, at(time.Hour)).action)
	// the refusal of a later request says nothing about the unclear one
	noAnswer = noAnswer.failed(set, ended(Refused), false, at(0))
	assert.Equal(t, doReadBack, decide(set, noAnswer, at(10*time.Hour)).action)
	// nor does what becomes of the read-back after a crash
	for _, result := range []Result{Refused, Limited, NotSent, Rejected} {
		after := d.failed(set, ended(result), false, at(0))
		assert.Equal(t, doReadBack, decide(set, after, at(10*time.Hour)).action)
	}
	// what was read back may be somebody else's: nothing is claimed of it
	found := d.found(set, "two", epoch)
	assert.Equal(t, &version{Number: 2, Value: "two"}, found.Current)
	assert.Equal(t, notBegun, found.Attempt)
	assert.Equal(t, byNobody, found.Cause)
	made := d.accepted(set, "two", epoch)
	assert.Equal(t, &version{Number: 2, Value: "two", MadeAt: epoch}, made.Current)
	assert.Equal(t, epoch, State{made}.KnownSince())
	assert.Equal(t, epoch.Add(time.Hour), State{d.found(set, "two", epoch.Add(time.Hour))}.KnownSince())
	staged := stagedState(vaultSettings(), byOperator).accepted(set, "two", epoch.Add(time.Hour))
	assert.Equal(t, epoch, State{staged}.KnownSince(), "it was made when it was staged")
}

// TestARejectedSecretIsReplacedByAnother: what Auth0 refuses for its form it would
// refuse for ever. Nothing is left of one that was never sent before.
func TestARejectedSecretIsReplacedByAnother(t *testing.T) {
	set := vaultSettings()
	first := onRecord(t, set, stagedState(set, byOperator), time.Hour)
	st := first.failed(set, ended(Rejected), true, at(set.TTL))
	assert.Equal(t, doNothing, decide(set, st, at(set.TTL)).action, "not at once")
	assert.Equal(t, doGenerate, decide(set, st, at(time.Hour)).action)
	assert.Equal(t, []string{"one"}, served(st), "its first attempt was its only one")
	assert.False(t, State{st}.Holds("two"))
	assert.False(t, State{st}.Unsettled())
	st = st.staged(set, "three", epoch.Add(time.Hour))
	assert.Equal(t, []string{"one", "three"}, served(st))

	// after a crash nobody knows of the attempt before: it stays, as a fallback, until
	// another is accepted
	st = first.failed(set, ended(Rejected), false, at(set.TTL))
	assert.Equal(t, []string{"one", "two"}, served(st))
	assert.True(t, State{st}.Holds("two"))
	assert.True(t, State{st}.Unsettled(), "Auth0 may have it, against all likelihood")
	st = st.staged(set, "three", epoch.Add(time.Hour))
	assert.Equal(t, []string{"one", "three", "two"}, served(st))
	assert.Equal(t, doNothing, decide(set, st, at(time.Hour)).action, "leases lack the new one")
	accepted := st.accepted(set, "three", epoch.Add(2*time.Hour))
	assert.Equal(t, []string{"three", "one", "two"}, served(accepted), "either may be accepted somewhere yet")
	assert.Equal(t, []string{"three"}, served(accepted.propagated(at(2*time.Hour+set.PropagationDelay))))
	set.PropagationDelay = 0
	assert.Equal(t, []string{"three"}, served(st.accepted(set, "three", epoch.Add(2*time.Hour))))
}

// TestRejectionsLoseNothingThatMayBeLive, however many there are.
func TestRejectionsLoseNothingThatMayBeLive(t *testing.T) {
	set := vaultSettings()
	st := stagedState(set, byOperator)
	for _, next := range []Secret{"three", "four", "five"} {
		st = st.failed(set, ended(Unclear), true, at(0)).failed(set, ended(Rejected), false, at(0))
		st = st.staged(set, next, epoch)
	}
	assert.Equal(t, []string{"one", "five", "two", "three", "four"}, served(st))
	// one that was rejected at once is not among them
	other := st.failed(set, ended(Rejected), true, at(0)).staged(set, "six", epoch)
	assert.Equal(t, []string{"one", "six", "two", "three", "four"}, served(other))
	assert.Equal(t, []string{"one", "five", "two", "three", "four"}, served(st), "a state never changes")
	// two states that come of one do not share what they add
	st, other = st.failed(set, ended(Rejected), false, at(0)), other.failed(set, ended(Rejected), false, at(0))
	assert.Equal(t, []string{"one", "two", "three", "four", "five"}, served(st))
	assert.Equal(t, []string{"one", "two", "three", "four", "six"}, served(other))
}

// TestTheEndOfAnEarlierRotationLosesNothingOfThisOne: what was rejected since, in a
// forced rotation, may be live until another secret has been set and has propagated.
func TestTheEndOfAnEarlierRotationLosesNothingOfThisOne(t *testing.T) {
	set := vaultSettings()
	st := steadyState().accepted(set, "two", epoch).asked(byHand(true)).staged(set, "three", epoch)
	st = onRecord(t, set, st, 0).failed(set, ended(Unclear), true, at(0)).failed(set, ended(Rejected), false, at(0))
	assert.Equal(t, []string{"two", "one", "three"}, served(st))
	before := st
	st = st.propagated(at(set.PropagationDelay))
	assert.Equal(t, []string{"two", "three"}, served(st))
	assert.Equal(t, []string{"two", "one", "three"}, served(before), "a state never changes")
	st = st.staged(set, "four", epoch).accepted(set, "four", epoch.Add(time.Hour))
	assert.Equal(t, []string{"four", "two", "three"}, served(st))
	assert.Equal(t, []string{"four"}, served(st.propagated(at(time.Hour+set.PropagationDelay))))
	assert.Nil(t, st.propagated(at(time.Hour+set.PropagationDelay)).Rejected)
	assert.Nil(t, steadyState().accepted(set, "two", epoch).propagated(at(set.PropagationDelay)).Rejected)

	// what was rejected before goes, and what was rejected since stays
	st = steadyState().accepted(set, "two", epoch)
	st.Rejected = versions{{Number: 2, Value: "before"}, {Number: 3, Value: "since"}, {Number: 3, Value: "since too"}}
	before = st
	assert.Equal(t, []string{"two", "since", "since too"}, served(st.propagated(at(set.PropagationDelay))))
	assert.Equal(t, []string{"two", "one", "before", "since", "since too"}, served(before), "a state never changes")
}

// TestForcedAgainBeforeItHasPropagatedServesWhatWasBefore, until all of it has: some of
// Auth0's servers may still accept the first one only.
func TestForcedAgainBeforeItHasPropagatedServesWhatWasBefore(t *testing.T) {
	set := vaultSettings()
	first := steadyState().accepted(set, "two", epoch)
	second := first.accepted(set, "three", epoch.Add(20*time.Second))
	assert.Equal(t, []string{"three", "two", "one"}, served(second))
	third := second.accepted(set, "four", epoch.Add(40*time.Second))
	assert.Equal(t, []string{"four", "three", "two", "one"}, served(third))
	assert.Equal(t, []string{"three", "two", "one"}, served(second), "a state never changes")
	assert.Equal(t, []string{"four", "three", "two", "one"}, served(third.propagated(at(40*time.Second+set.PropagationDelay-1))))
	assert.Equal(t, []string{"four"}, served(third.propagated(at(40*time.Second+set.PropagationDelay))))
	assert.Equal(t, []string{"three", "two"}, served(first.propagated(at(time.Minute)).accepted(set, "three", epoch.Add(time.Minute))),
		"what has propagated is not served again")
	for i := range 100 {
		third = third.accepted(set, Secret(strconv.Itoa(i)), epoch.Add(41*time.Second))
	}
	assert.Len(t, served(third), 2+maxEarlier)
}

// TestWhereARejectedSecretMayBeLiveTheNextOneWaitsForNoWindow, nor while paused; but
// for leases it does.
func TestWhereARejectedSecretMayBeLiveTheNextOneWaitsForNoWindow(t *testing.T) {
	for name, set := range map[string]Settings{"vault": vaultSettings(), "engine": engineSettings()} {
		set.Schedule, set.Window = daily{}, time.Hour
		st := onRecord(t, set, steadyState(), untilThree-set.TTL-HandOutMargin, untilThree)
		rejected := st.failed(set, ended(Rejected), true, at(untilThree))
		later := untilThree + 2*time.Hour
		set.Paused = true
		assert.Equal(t, doNothing, decide(set, rejected, at(later)).action, "%s: of the first attempt nothing is left", name)

		rejected = st.failed(set, ended(Unclear), true, at(untilThree)).failed(set, ended(Rejected), false, at(untilThree))
		assert.True(t, State{rejected}.Unsettled(), name)
		d := decide(set, rejected, at(later))
		require.Equal(t, doGenerate, d.action, name)
		st = d.staged(set, "three", epoch.Add(later))
		if set.TTL > 0 {
			assert.Equal(t, doNothing, decide(set, st, at(later)).action, name)
		}
		st = onRecord(t, set, st, later+set.TTL+HandOutMargin)
		st = st.accepted(set, "three", epoch.Add(later+set.TTL+HandOutMargin))
		assert.False(t, State{st}.Unsettled(), "%s: another one is set", name)
		assert.True(t, State{st}.Holds("two"), name)
	}
}

// TestARejectedSecretReadInAuth0IsOurs: it was accepted, against all likelihood.
func TestARejectedSecretReadInAuth0IsOurs(t *testing.T) {
	set := vaultSettings()
	st := stagedState(set, byOperator).failed(set, ended(Unclear), true, at(0)).failed(set, ended(Rejected), false, at(0))
	for _, st := range []record{st, st.staged(set, "three", epoch)} {
		found, changed := st.compared(after(set, 1), "two", at(time.Minute))
		require.True(t, changed)
		assert.Equal(t, "two", string(found.Current.Value))
		assert.Equal(t, 2, found.number())
		assert.True(t, found.DriftedAt.IsZero())
		assert.Equal(t, epoch, found.Current.MadeAt)
		assert.Equal(t, []string{"two", "one"}, served(found))
		assert.Equal(t, byNobody, found.Cause)
		assert.False(t, State{found}.Unsettled())
		assert.False(t, State{found}.Done(1), "it is older than the bulk rotation")
	}
}

// TestASecretOfOursThatIsSetBackIsAsOldAsItWas: somebody has undone what somebody else
// had set.
func TestASecretOfOursThatIsSetBackIsAsOldAsItWas(t *testing.T) {
	set := vaultSettings()
	ours := stagedState(set, byOperator).accepted(set, "two", epoch).propagated(at(time.Hour))
	theirs, drifted := ours.compared(after(set, 1), "theirs", at(time.Hour))
	require.True(t, drifted)
	require.True(t, State{theirs}.Done(1))
	back, drifted := theirs.compared(after(set, 1), "two", at(2*time.Hour))
	require.True(t, drifted)
	assert.Equal(t, []string{"two", "theirs"}, served(back))
	assert.Equal(t, 4, back.number())
	assert.Equal(t, epoch, back.Current.MadeAt)
	assert.True(t, State{back}.Concerned(1, false))
	assert.Equal(t, 2, ours.number(), "a state never changes")
}

// TestAFailureToMakeASecretIsWaitedOut, like any other.
func TestAFailureToMakeASecretIsWaitedOut(t *testing.T) {
	set := vaultSettings()
	st := steadyState().asked(byHand(false)).failed(set, ended(NotSent), true, at(0))
	assert.Equal(t, doNothing, decide(set, st, at(0)).action)
	assert.Equal(t, doGenerate, decide(set, st, at(backoffMin)).action)
	assert.True(t, stagedState(set, byOperator).asked(byHand(true)).failed(set, ended(NotSent), true, at(0)).Force,
		"force is not taken back by what was never sent")
}

// TestARequestTakesOverWhatTheScheduleHasStaged: it no longer waits for the
// schedule, only for leases.
func TestARequestTakesOverWhatTheScheduleHasStaged(t *testing.T) {
	set := vaultSettings()
	set.Period, set.Paused = time.Hour, true
	for _, ask := range []Ask{byHand(false), {By: BulkRotation, Bulk: 1}} {
		st := stagedState(set, bySchedule)
		assert.Equal(t, doNothing, decide(set, st, at(1000*time.Hour)).action)
		st = st.asked(ask)
		assert.Equal(t, doNothing, decide(set, st, at(set.TTL)).action)
		assert.Equal(t, doSet, decide(set, st, at(set.TTL+HandOutMargin)).action)
		assert.Equal(t, st, st.asked(ask), "asking again changes nothing")
	}
	// an operator's is not a bulk rotation's, though it may carry one
	st := steadyState().asked(byHand(false)).asked(Ask{By: BulkRotation, Bulk: 1})
	assert.Equal(t, byOperator, st.Cause)
	assert.Equal(t, byOperator, steadyState().asked(Ask{By: BulkRotation, Bulk: 1}).asked(byHand(false)).Cause)
}

// TestWhatAScheduleHasStagedGoesOnWithoutIt: leases are waited for, and a pause.
func TestWhatAScheduleHasStagedGoesOnWithoutIt(t *testing.T) {
	set := vaultSettings()
	st := stagedState(set, bySchedule)
	assert.Equal(t, epoch.Add(set.TTL+HandOutMargin), decide(set, st, at(0)).wake)
	assert.Equal(t, doSet, decide(set, st, at(set.TTL+HandOutMargin)).action)
	set.Paused = true
	assert.Equal(t, doNothing, decide(set, st, at(1000*time.Hour)).action)
}

func TestARequestEndsTheWaitAfterAFailure(t *testing.T) {
	set := vaultSettings()
	for _, ask := range []Ask{byHand(false), {By: BulkRotation, Bulk: 1}} {
		st := onRecord(t, set, stagedState(set, bySchedule), time.Hour).failed(set, ended(Unclear), true, at(time.Hour))
		require.Equal(t, doNothing, decide(set, st, at(time.Hour)).action)
		asked := st.asked(ask)
		assert.Equal(t, doSet, decide(set, asked, at(time.Hour)).action)
		again := asked.failed(set, ended(Unclear), false, at(time.Hour))
		assert.Equal(t, epoch.Add(time.Hour+backoffMin), again.RetryAt, "it is counted anew")
	}
}

func TestHiddenSecretIsReplacedByOneOfOurOwnAtOnce(t *testing.T) {
	set := auth0Settings()
	set.Schedule, set.Window = daily{}, time.Minute
	for _, why := range []cause{byOperator, bySchedule} {
		st := steadyState()
		st.Cause, st.Attempt = why, sent
		st = st.hidden()
		assert.True(t, State{st}.Unsettled())
		assert.True(t, State{st}.View(set, at(0)).Overdue)
		d := decide(set, st, at(0))
		require.Equal(t, doGenerate, d.action)
		d = decide(set, d.staged(set, "own", epoch), at(0))
		require.Equal(t, doSet, d.action, "nobody can log in: no lease is waited for, nor a window")
		for _, result := range []Result{Unclear, Refused, Limited, NotSent} {
			again := decide(set, d.failed(set, ended(result), true, at(0)), at(20*time.Second))
			assert.Equal(t, doSet, again.action, result)
			assert.Equal(t, "own", string(again.Next.Value), result)
			view := State{d.failed(set, ended(result), true, at(0))}.View(set, at(time.Hour))
			assert.Equal(t, epoch.Add(time.Hour), view.NextRotation, result)
		}
		other := d.failed(set, ended(Rejected), true, at(0))
		assert.Equal(t, doGenerate, decide(set, other, at(20*time.Second)).action)
		st = d.accepted(set, "own", epoch)
		assert.Equal(t, "own", string(st.Current.Value))
		assert.False(t, st.Hidden)
		assert.False(t, State{st}.Unsettled())
	}
}

// TestAnUnknownSecretIsReplacedAtOnce: of a target that was created without its
// present secret.
func TestAnUnknownSecretIsReplacedAtOnce(t *testing.T) {
	set := vaultSettings()
	set.Paused = true
	st := Unknown(epoch)
	assert.Zero(t, st.Version())
	assert.Empty(t, string(st.Current()))
	secrets, _ := st.Served(at(0))
	assert.Empty(t, secrets)
	d := decide(set, st.r, at(0))
	require.Equal(t, doGenerate, d.action)
	d = decide(set, d.staged(set, "first", epoch), at(0))
	require.Equal(t, doSet, d.action, "nobody is waited for")
	assert.Empty(t, served(d.record), "not before it is accepted")
	accepted := State{d.accepted(set, "first", epoch)}
	assert.Equal(t, 1, accepted.Version())
	assert.True(t, accepted.IsCurrent("first"))
	secrets, _ = accepted.Served(at(0))
	assert.Equal(t, []string{"first"}, plain(secrets))

	set.Source = Auth0
	assert.Equal(t, doMake, decide(set, st.r, at(0)).action)
}

func TestAnImportedSecretIsCurrentAndCountsFromItsImport(t *testing.T) {
	set := vaultSettings()
	set.Period = time.Hour
	st := Imported("one", 0, epoch)
	assert.Equal(t, 1, st.Version())
	assert.Equal(t, "one", string(st.Current()))
	assert.True(t, st.IsCurrent("one"))
	assert.False(t, st.IsCurrent("two"))
	assert.True(t, st.Holds("one"))
	assert.False(t, st.Holds("two"))
	assert.Empty(t, string(st.Next()))
	assert.Equal(t, epoch, st.LastRotation())
	assert.Equal(t, epoch, st.ScheduledFrom())
	assert.Equal(t, epoch, st.KnownSince())
	assert.Equal(t, epoch.Add(time.Hour), st.View(set, at(0)).NextRotation)
}

// TestASecretReadInAuth0ThatIsTheNextOneIsAccepted, however its attempt stands.
func TestASecretReadInAuth0ThatIsTheNextOneIsAccepted(t *testing.T) {
	set := vaultSettings()
	for _, how := range []attempt{notBegun, sent, unclear} {
		for name, change := range map[string]func(*record){
			"steady":      func(*record) {},
			"propagating": func(r *record) { r.FallbackUntil, r.FallbackFor = epoch.Add(time.Minute), time.Minute },
			"hidden":      func(r *record) { r.Hidden = true },
			"unknown":     func(r *record) { r.Current = nil },
			"failed": func(r *record) {
				r.Failures, r.LastError, r.RetryAt = 3, "no", epoch.Add(time.Hour)
			},
		} {
			st := stagedState(set, bySchedule)
			st.Attempt = how
			change(&st)
			number := st.number()
			after, changed := st.compared(set, "two", at(time.Second))
			require.True(t, changed, name)
			assert.Equal(t, number+1, after.number(), name)
			assert.Equal(t, "two", string(after.Current.Value), name)
			assert.Equal(t, epoch, after.Current.MadeAt, name)
			assert.Nil(t, after.Next, name)
			assert.Equal(t, notBegun, after.Attempt, name)
			assert.Equal(t, byNobody, after.Cause, name)
			assert.False(t, after.Hidden, name)
			assert.Zero(t, after.Failures, name)
			assert.True(t, after.DriftedAt.IsZero(), "%s: it is ours", name)
			assert.Equal(t, epoch.Add(time.Second), after.LastRotation, name)
			assert.Equal(t, epoch.Add(time.Second+set.PropagationDelay), after.FallbackUntil, name)
			public, changed := Compared(set, State{st}, "two", at(time.Second))
			assert.True(t, changed, name)
			assert.Equal(t, State{after}, public, name)
		}
	}
}

// TestASecretThatSomebodyElseHasSetIsAdopted: it is served first, with ours as a
// fallback until the next rotation.
func TestASecretThatSomebodyElseHasSetIsAdopted(t *testing.T) {
	set := vaultSettings()
	st, drifted := Compared(set, State{steadyState()}, "theirs", at(time.Hour))
	require.True(t, drifted)
	assert.Equal(t, epoch.Add(time.Hour), st.DriftedAt())
	assert.Equal(t, 2, st.Version())
	assert.True(t, st.r.Current.MadeAt.IsZero(), "nobody knows when it was made")
	assert.Equal(t, epoch, st.LastRotation(), "that was no rotation")
	assert.Equal(t, epoch.Add(time.Hour), st.KnownSince())
	assert.Equal(t, []string{"theirs", "one"}, served(st.r))
	d := decide(set, st.r, at(1000*time.Hour))
	assert.Equal(t, []string{"theirs", "one"}, served(d.record), "until the next rotation")
	_, again := Compared(set, st, "theirs", at(2*time.Hour))
	assert.False(t, again, "it is known now")

	next := st.r.asked(byHand(false)).staged(set, "mine", epoch.Add(2*time.Hour)).accepted(set, "mine", epoch.Add(3*time.Hour))
	assert.Equal(t, []string{"mine", "theirs"}, served(next))
	assert.True(t, next.DriftedAt.IsZero())

	// what is staged stays staged, with a number that is not taken yet
	staged := stagedState(set, bySchedule)
	staged, drifted = staged.compared(set, "theirs", at(time.Second))
	require.True(t, drifted)
	assert.Equal(t, []string{"theirs", "two", "one"}, served(staged))
	assert.Equal(t, 3, staged.Next.Number)
	assert.Equal(t, bySchedule, staged.Cause)
	assert.Equal(t, 3, staged.accepted(set, "two", epoch).number())
}

// TestNoDriftIsSeenWhereASecretMayBeOurs or may not be known yet.
func TestNoDriftIsSeenWhereASecretMayBeOurs(t *testing.T) {
	set := vaultSettings()
	for name, change := range map[string]func(*record){
		"it is the present one":                func(r *record) { r.Current.Value = "read" },
		"no secret is known":                   func(r *record) { r.Current = nil },
		"an attempt was sent":                  func(r *record) { r.Attempt = sent },
		"an attempt was unclear":               func(r *record) { r.Attempt = unclear },
		"an attempt with a secret was sent":    func(r *record) { *r = stagedState(set, bySchedule); r.Attempt = sent },
		"an attempt with a secret was unclear": func(r *record) { *r = stagedState(set, bySchedule); r.Attempt = unclear },
		"Auth0 shows nothing":                  func(r *record) { r.Hidden = true },
		"the last one propagates":              func(r *record) { r.FallbackUntil, r.FallbackFor = epoch.Add(time.Minute), time.Minute },
	} {
		st := steadyState()
		change(&st)
		after, changed := st.compared(set, "read", at(time.Second))
		assert.False(t, changed, name)
		assert.Equal(t, st, after, name)
	}
	// but afterwards
	st := steadyState()
	st.FallbackUntil, st.FallbackFor = epoch.Add(time.Minute), time.Minute
	_, changed := st.compared(set, "read", at(time.Minute))
	assert.True(t, changed)
}
