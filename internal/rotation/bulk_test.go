package rotation

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func inBulk(number int, force bool) Ask { return Ask{By: BulkRotation, Bulk: number, Force: force} }

// after is the settings once so many bulk rotations were ordered.
func after(set Settings, bulk int) Settings {
	set.Bulk = bulk
	return set
}

// concernedBy are those of the bulk rotations 1 to 5 that concern a target.
func concernedBy(r record) []int {
	var numbers []int
	for number := 1; number <= 5; number++ {
		if (State{r}).Concerned(number, false) {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// TestABulkRotationConcernsNoSecretThatIsNewer, however it came to be.
func TestABulkRotationConcernsNoSecretThatIsNewer(t *testing.T) {
	set := after(vaultSettings(), 3)
	drifted, _ := steadyState().compared(set, "theirs", at(0))
	makes := after(auth0Settings(), 3)
	asked := onRecord(t, makes, steadyState().asked(byHand(false)), 0)
	for name, st := range map[string]record{
		"imported":        Imported("one", 3, epoch).r,
		"made":            steadyState().staged(set, "two", epoch).accepted(set, "two", epoch),
		"made by Auth0":   asked.accepted(makes, "two", epoch),
		"read back":       asked.found(makes, "two", epoch),
		"somebody else's": drifted,
		"the first":       Unknown(epoch).r.staged(set, "first", epoch),
		// what counts is what had been ordered when Auth0 was asked, or the secret staged
		"made when more was ordered":          steadyState().staged(set, "two", epoch).accepted(after(set, 5), "two", epoch),
		"made by Auth0 when more was ordered": asked.accepted(after(makes, 5), "two", epoch),
	} {
		assert.Equal(t, []int{4, 5}, concernedBy(st), name)
		for number := 1; number <= 5; number++ {
			assert.Equal(t, number <= 3, State{st}.Done(number), name)
			assert.Equal(t, number > 3, State{st}.Concerned(number, true), name)
		}
	}
	assert.Equal(t, []int{1, 2, 3, 4, 5}, concernedBy(steadyState()))
	assert.Empty(t, concernedBy(Unknown(epoch).r), "its secret is replaced anyhow")
	assert.Equal(t, []int{1, 2, 3, 4, 5}, concernedBy(Unknown(epoch).r.staged(vaultSettings(), "first", epoch)), "this one may be current soon")
	// what was read back after the request was there when more had been ordered, at the latest
	assert.Empty(t, concernedBy(asked.found(after(makes, 5), "two", epoch)))
}

// TestABulkRotationRotatesATargetOnce and is done when its secret is newer.
func TestABulkRotationRotatesATargetOnce(t *testing.T) {
	for name, set := range map[string]Settings{"vault": vaultSettings(), "auth0": auth0Settings()} {
		for _, force := range []bool{false, true} {
			set := after(set, 1)
			set.Paused = true
			st := steadyState()
			require.True(t, State{st}.Concerned(1, force))
			require.False(t, State{st}.Carries(1))
			st = st.asked(inBulk(1, force))
			assert.True(t, State{st}.Carries(1))
			assert.False(t, State{st}.Carries(2))
			assert.False(t, State{st}.Concerned(1, force), "it carries the request")
			assert.False(t, State{st}.Done(1))
			st = onRecord(t, set, st, 0, time.Hour).accepted(set, "two", epoch.Add(time.Hour))
			assert.True(t, State{st}.Carries(1), "it is counted among those concerned: %s", name)
			assert.True(t, State{st}.Done(1))
			assert.False(t, State{st}.Concerned(1, true))
			assert.Equal(t, byNobody, st.Cause)
			assert.False(t, State{st}.View(set, at(time.Hour)).Forced)
			later := st.asked(byHand(false)).staged(set, "three", epoch.Add(time.Hour))
			assert.Equal(t, doNothing, decide(set, later, at(time.Hour)).action, "its force ends with it")
			for _, when := range []time.Duration{time.Hour, 2 * time.Hour, 1000 * time.Hour} {
				d := decide(set, st, at(when))
				assert.Equal(t, doNothing, d.action, "%s: it is rotated once", name)
				st = d.record
			}
		}
	}
}

// TestWhatWasStagedBeforeABulkRotationIsReplacedOnceMore: it is as old as what the
// bulk rotation is to replace.
func TestWhatWasStagedBeforeABulkRotationIsReplacedOnceMore(t *testing.T) {
	for _, why := range []cause{bySchedule, byOperator, byBulk} {
		for _, force := range []bool{false, true} {
			set := after(vaultSettings(), 1)
			st := stagedState(vaultSettings(), why)
			require.True(t, State{st}.Concerned(1, force))
			st = st.asked(inBulk(1, force))
			assert.Equal(t, []string{"one", "two"}, served(st), "it stays")
			st = onRecord(t, set, st, time.Hour).accepted(set, "two", epoch.Add(time.Hour))
			assert.False(t, State{st}.Done(1))
			assert.True(t, State{st}.Carries(1))
			assert.False(t, State{st}.Concerned(1, force))
			assert.Equal(t, byBulk, st.Cause)
			assert.Equal(t, force, st.forced())
			assert.True(t, State{st}.View(set, at(time.Hour)).UnderWay)

			d := decide(set, st, at(time.Hour))
			if !force {
				require.Equal(t, doNothing, d.action, "first the last one is accepted everywhere")
				assert.Equal(t, epoch.Add(time.Hour+set.PropagationDelay), d.wake)
			}
			st = onRecord(t, set, d.record, time.Hour, 2*time.Hour, 3*time.Hour).accepted(set, "two", epoch.Add(3*time.Hour))
			assert.True(t, State{st}.Done(1))
			assert.Equal(t, byNobody, st.Cause)
			assert.Equal(t, 3, st.number())
			assert.Equal(t, doNothing, decide(set, st, at(1000*time.Hour)).action)
		}
	}
}

// TestWhatIsStagedIsConcernedThoughThePresentSecretIsNewer: it was handed out before
// the bulk rotation was ordered, and would be the present one for long afterwards.
func TestWhatIsStagedIsConcernedThoughThePresentSecretIsNewer(t *testing.T) {
	set := after(vaultSettings(), 1)
	st, drifted := stagedState(vaultSettings(), byOperator).compared(set, "theirs", at(time.Second))
	require.True(t, drifted)
	assert.True(t, State{st}.Concerned(1, false))
	assert.False(t, State{st}.Done(1))
}

// TestForceOnTopOfABulkRotationIsAskedForOnce.
func TestForceOnTopOfABulkRotationIsAskedForOnce(t *testing.T) {
	set := after(vaultSettings(), 1)
	st := steadyState().asked(inBulk(1, false)).staged(set, "two", epoch)
	assert.False(t, State{st}.Concerned(1, false))
	require.True(t, State{st}.Concerned(1, true))
	require.Equal(t, doNothing, decide(set, st, at(0)).action)
	st = st.asked(inBulk(1, true))
	assert.False(t, State{st}.Concerned(1, true), "asked once")
	assert.False(t, State{st}.Concerned(1, false))
	st = onRecord(t, set, st, 0).failed(set, ended(Refused), true, at(0))
	assert.False(t, st.Force)
	assert.False(t, State{st}.Concerned(1, true), "nor is it asked again for what Auth0 has refused")
	assert.True(t, st.asked(inBulk(1, false)).BulkForce, "it stays a forced one")
	assert.False(t, State{st}.Concerned(0, true), "an earlier one is over")

	// the next one is another
	next := st.asked(inBulk(2, false))
	assert.False(t, next.BulkForce)
	assert.True(t, State{st}.Concerned(2, false))
	assert.True(t, State{next}.Concerned(2, true))
	assert.False(t, State{next}.Concerned(1, true))
}

// TestABulkRotationIsCalledOffWhereItHasNotBegun: the target is as it was before it
// was asked.
func TestABulkRotationIsCalledOffWhereItHasNotBegun(t *testing.T) {
	for _, force := range []bool{false, true} {
		st := steadyState().asked(inBulk(1, force))
		off, ok := State{st}.CalledOff(1)
		require.True(t, ok)
		assert.Equal(t, steadyState(), off.r)
		assert.True(t, State{st}.Carries(1), "a state never changes")

		// an operator's own ask stays
		st = steadyState().asked(byHand(true)).asked(inBulk(1, force))
		off, ok = State{st}.CalledOff(1)
		require.True(t, ok)
		assert.Equal(t, steadyState().asked(byHand(true)), off.r)
	}
	// what was staged before goes on, and is not replaced once more
	set := after(vaultSettings(), 1)
	st := stagedState(vaultSettings(), byOperator).asked(inBulk(1, false))
	off, ok := State{st}.CalledOff(1)
	require.True(t, ok)
	assert.False(t, off.Carries(1))
	assert.Equal(t, stagedState(vaultSettings(), byOperator), off.r)
	done := onRecord(t, set, off.r, time.Hour).accepted(set, "two", epoch.Add(time.Hour))
	assert.Equal(t, byNobody, done.Cause)
	// also if it is accepted already, and the other one is to come
	st = onRecord(t, set, st, time.Hour).accepted(set, "two", epoch.Add(time.Hour))
	require.Equal(t, byBulk, st.Cause)
	off, ok = State{st}.CalledOff(1)
	require.True(t, ok)
	assert.Equal(t, byNobody, off.r.Cause)
	assert.Equal(t, []string{"two", "one"}, served(off.r))
	assert.Equal(t, doNothing, decide(set, off.r, at(1000*time.Hour)).action)
}

// TestABulkRotationThatAuth0MayHaveIsNotCalledOff.
func TestABulkRotationThatAuth0MayHaveIsNotCalledOff(t *testing.T) {
	set := after(vaultSettings(), 1)
	asked := steadyState().asked(inBulk(1, false))
	staged := asked.staged(set, "two", epoch)
	made := onRecord(t, after(auth0Settings(), 1), asked, 0)
	hidden := made.hidden()
	for name, st := range map[string]record{
		"not asked":                steadyState(),
		"asked for another":        steadyState().asked(inBulk(2, false)),
		"sent":                     onRecord(t, set, staged, time.Hour),
		"Auth0 was asked":          made,
		"Auth0 gave no answer":     made.failed(set, ended(Unclear), true, at(0)),
		"Auth0 does not show it":   hidden,
		"done":                     staged.accepted(set, "two", epoch),
		"somebody else rotated it": asked.found(set, "theirs", epoch),
	} {
		off, ok := State{st}.CalledOff(1)
		assert.False(t, ok, name)
		assert.Equal(t, State{st}, off, name)
	}
	// what Auth0 has certainly not begun can be: a secret that was staged is dropped
	for name, st := range map[string]record{
		"staged": staged, "refused": onRecord(t, set, staged, time.Hour).failed(set, ended(Refused), true, at(time.Hour)),
	} {
		off, ok := State{st}.CalledOff(1)
		assert.True(t, ok, name)
		assert.Equal(t, steadyState(), off.r, name)
	}
	refused := made.failed(set, ended(Refused), true, at(0))
	_, ok := State{refused}.CalledOff(1)
	assert.True(t, ok)
	// what an earlier one has staged is not this one's
	off, ok := State{staged.asked(inBulk(2, false))}.CalledOff(2)
	assert.True(t, ok)
	assert.Equal(t, staged.Next, off.r.Next)
}

// TestAForceThatIsCalledOffCutsNoLeasesShort: what the schedule had staged before
// goes on as it would have without the bulk rotation.
func TestAForceThatIsCalledOffCutsNoLeasesShort(t *testing.T) {
	set := vaultSettings()
	set.TTL, set.Period = time.Hour, 3*time.Hour
	st := stagedState(set, bySchedule).asked(inBulk(1, true))
	st = onRecord(t, after(set, 1), st, 0).failed(set, ended(Limited), true, at(0))
	off, ok := State{st}.CalledOff(1)
	require.True(t, ok)
	assert.False(t, off.r.Force)
	assert.Equal(t, doNothing, decide(after(set, 1), off.r, at(20*time.Second)).action, "leases are waited for")
}

// TestABulkRotationChangesNothingOfWhatWasUnderWay, but that it goes on at once, and
// forced with its force. What it was is there again when the bulk rotation is over.
func TestABulkRotationChangesNothingOfWhatWasUnderWay(t *testing.T) {
	set := after(vaultSettings(), 1)
	set.Schedule, set.Window = daily{}, time.Hour
	for _, force := range []bool{false, true} {
		st := stagedState(vaultSettings(), bySchedule).asked(inBulk(1, force))
		assert.Equal(t, bySchedule, st.Cause)
		assert.False(t, st.Force)
		assert.Equal(t, force, State{st}.View(set, at(0)).Forced)
		assert.Equal(t, force, decide(set, st, at(0)).action == doSet)
		assert.Equal(t, doSet, decide(set, st, at(set.TTL+HandOutMargin)).action)
		// also if another secret has to be staged for it
		rejected := onRecord(t, set, st, time.Hour).failed(set, ended(Rejected), true, at(time.Hour))
		assert.Equal(t, doGenerate, decide(set, rejected, at(2*time.Hour)).action)
		off, ok := State{rejected}.CalledOff(1)
		require.True(t, ok)
		assert.Equal(t, doNothing, decide(set, off.r, at(2*time.Hour)).action)
		// an operator's force, or none, is not the bulk rotation's
		for _, byOperatorToo := range []bool{false, true} {
			st := steadyState().asked(byHand(byOperatorToo)).asked(inBulk(1, force))
			assert.Equal(t, byOperatorToo || force, State{st}.View(set, at(0)).Forced)
			off, ok := State{st}.CalledOff(1)
			require.True(t, ok)
			assert.Equal(t, byOperatorToo, off.View(set, at(0)).Forced)
		}
	}
}

// TestARefusedForceOfABulkRotationWaitsForLeasesFromThenOn, until it is asked for anew.
func TestARefusedForceOfABulkRotationWaitsForLeasesFromThenOn(t *testing.T) {
	set := after(vaultSettings(), 1)
	asked := steadyState().asked(inBulk(1, true)).staged(set, "two", epoch)
	refused := onRecord(t, set, asked, 0).failed(set, ended(Refused), true, at(0))
	assert.False(t, State{refused}.View(set, at(0)).Forced)
	assert.Equal(t, doNothing, decide(set, refused, at(backoffMin)).action)
	assert.Equal(t, doSet, decide(set, refused, at(time.Hour)).action)
	assert.False(t, State{refused}.Concerned(1, true))
	off, ok := State{refused}.CalledOff(1)
	require.True(t, ok)
	assert.Equal(t, steadyState(), off.r)
	// also the secret that replaces what had been staged before
	older := stagedState(vaultSettings(), byOperator).asked(inBulk(1, true))
	older = onRecord(t, set, older, 0).failed(set, ended(Refused), true, at(0)).accepted(set, "two", epoch.Add(time.Hour))
	older = older.staged(set, "three", epoch.Add(2*time.Hour))
	assert.Equal(t, doNothing, decide(set, older, at(2*time.Hour)).action)
	again := refused.asked(inBulk(2, true))
	assert.Equal(t, doSet, decide(set, again, at(0)).action)
	// a plain one leaves no trace of a force
	plain := steadyState().asked(inBulk(1, false)).staged(set, "two", epoch)
	plain = onRecord(t, set, plain, time.Hour).failed(set, ended(Refused), true, at(time.Hour))
	assert.Equal(t, doSet, decide(set, plain.asked(inBulk(1, true)), at(time.Hour)).action)
	// what else Auth0 answers refuses nothing
	for _, result := range []Result{Limited, NotSent, Unclear} {
		st := onRecord(t, set, asked, 0).failed(set, ended(result), true, at(0))
		assert.Equal(t, doSet, decide(set, st, at(20*time.Second)).action, result)
	}
}

// TestASecretFoundAfterABulkRotationIsNotRotatedAgain: an attempt without a clear
// answer took effect, or somebody else was faster.
func TestASecretFoundAfterABulkRotationIsNotRotatedAgain(t *testing.T) {
	set := auth0Settings()
	st := onRecord(t, set, steadyState().asked(byHand(false)), 0).failed(set, ended(Unclear), true, at(0))
	set = after(set, 1)
	require.True(t, State{st}.Concerned(1, false), "what it made is not known yet")
	st = st.asked(inBulk(1, false))
	require.Equal(t, doReadBack, decide(set, st, at(time.Hour)).action)
	found := st.found(set, "two", epoch.Add(time.Hour))
	assert.True(t, State{found}.Done(1))
	assert.False(t, State{found}.Concerned(1, true))
	assert.Equal(t, byNobody, found.Cause)
	assert.Equal(t, doNothing, decide(set, found, at(1000*time.Hour)).action)
	// what Auth0 was asked for before it was ordered is older than it
	made := st.accepted(set, "two", epoch.Add(time.Hour))
	assert.False(t, State{made}.Done(1))
	assert.Equal(t, doMake, decide(set, made, at(1000*time.Hour)).action)
	// and a next secret that is found to be live counts from when it was staged
	staged := stagedState(vaultSettings(), byOperator).asked(inBulk(1, false))
	live, ok := staged.compared(after(vaultSettings(), 1), "two", at(time.Second))
	require.True(t, ok)
	assert.False(t, State{live}.Done(1))
	assert.Equal(t, byBulk, live.Cause)
}

// TestABulkRotationLapsesWhereSomebodyElseHasRotated: the secret that it concerned is
// gone.
func TestABulkRotationLapsesWhereSomebodyElseHasRotated(t *testing.T) {
	set := after(vaultSettings(), 1)
	for _, force := range []bool{false, true} {
		asked := steadyState().asked(inBulk(1, force))
		st, drifted := asked.compared(set, "theirs", at(0))
		require.True(t, drifted)
		assert.True(t, State{st}.Done(1))
		assert.Equal(t, byNobody, st.Cause)
		assert.False(t, st.Force)
		assert.Equal(t, doNothing, decide(set, st, at(1000*time.Hour)).action)
		assert.True(t, State{st}.Carries(1), "it is counted among those concerned")

		// what is staged goes on
		st, drifted = asked.staged(set, "two", epoch).compared(set, "theirs", at(0))
		require.True(t, drifted)
		assert.Equal(t, byBulk, st.Cause)
		assert.Equal(t, doSet, decide(set, st, at(time.Hour)).action)
	}
	// what an operator asked for goes on
	st, drifted := steadyState().asked(inBulk(1, false)).asked(byHand(false)).compared(set, "theirs", at(0))
	require.True(t, drifted)
	assert.Equal(t, doGenerate, decide(set, st, at(0)).action)
}

// TestADriftEndsTheFailureOfABulkRotation that concerned the secret that is gone:
// nothing would ever be tried again that could end it.
func TestADriftEndsTheFailureOfABulkRotation(t *testing.T) {
	makes := after(auth0Settings(), 1)
	refused := steadyState().asked(inBulk(1, false)).failed(makes, Outcome{Result: Refused, Err: errors.New("no")}, true, at(0))
	require.Equal(t, 1, refused.Failures)
	drifted, changed := refused.compared(makes, "theirs", at(0))
	require.True(t, changed)
	assert.Equal(t, byNobody, drifted.Cause)
	assert.Zero(t, drifted.Failures)
	assert.Empty(t, drifted.LastError)
	assert.True(t, drifted.RetryAt.IsZero())
}
