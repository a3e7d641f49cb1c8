package auth0secrets

import (
	"go/parser"
	"go/token"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func vaultSettings() rotationSettings {
	return rotationSettings{TTL: time.Minute, Source: sourceVault, PropagationDelay: 30 * time.Second}
}

func steadyState() rotationState {
	return rotationState{Current: &secretVersion{Version: 1, Value: "one"}, LastRotation: epoch}
}

func served(st rotationState) []string {
	var values []string
	for _, secret := range st.servedSecrets() {
		values = append(values, string(secret.Value))
	}
	return values
}

func at(d time.Duration) rotationClock {
	return rotationClock{Now: epoch.Add(d), ServingSince: epoch.Add(-time.Hour)}
}

// TestStateMachineIsPure holds the machine to what it may know.
func TestStateMachineIsPure(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "state_machine.go", nil, parser.ImportsOnly)
	require.NoError(t, err)
	for _, imported := range file.Imports {
		path, err := strconv.Unquote(imported.Path.Value)
		require.NoError(t, err)
		assert.Contains(t, []string{"math", "time"}, path)
	}
}

func TestRoleWithoutScheduleRestsUntilAsked(t *testing.T) {
	d := decideRotation(vaultSettings(), steadyState(), at(1000*time.Hour))
	assert.Equal(t, actionNone, d.Action)
	assert.True(t, d.Wake.IsZero())
	d = decideRotation(vaultSettings(), steadyState().requested(false), at(0))
	assert.Equal(t, actionGenerateSecret, d.Action)
}

func TestStagedSecretIsSentOnlyWhenNoLeaseLacksIt(t *testing.T) {
	set := vaultSettings()
	st := steadyState().requested(false).staged(set, "two", epoch)
	require.Equal(t, phaseStaged, st.phase())
	ready := set.TTL + handOutMargin

	d := decideRotation(set, st, at(ready-time.Nanosecond))
	assert.Equal(t, actionNone, d.Action)
	assert.Equal(t, epoch.Add(ready), d.Wake)
	d = decideRotation(set, st, at(ready))
	assert.Equal(t, actionSetSecret, d.Action)
}

func TestStagedSecretWaitsAWholeTTLAfterAStart(t *testing.T) {
	set := vaultSettings()
	st := steadyState().staged(set, "two", epoch)
	clk := rotationClock{Now: epoch.Add(time.Hour), ServingSince: epoch.Add(time.Hour)}
	d := decideRotation(set, st, clk)
	assert.Equal(t, actionNone, d.Action)
	assert.Equal(t, clk.Now.Add(set.TTL), st.readyAt(clk))
}

func TestStagingOutlastsTheLongestLeaseGivenOut(t *testing.T) {
	set := vaultSettings()
	st := steadyState().ttlChanged(time.Hour, epoch) // ttl was an hour until now
	assert.Equal(t, time.Hour, st.staged(set, "two", epoch.Add(time.Minute)).StagedTTL)
	// lowered again: the longer of the two counts
	st = st.ttlChanged(30*time.Minute, epoch.Add(10*time.Minute))
	assert.Equal(t, time.Hour, st.staged(set, "two", epoch.Add(50*time.Minute)).StagedTTL)
	// until the set has changed, for a reader may go by what it was told first with it
	staged := st.staged(set, "two", epoch.Add(100*time.Hour))
	assert.Equal(t, time.Hour, staged.StagedTTL)
	after := staged.accepted(set, "two", epoch.Add(101*time.Hour))
	assert.Equal(t, set.TTL, after.staged(set, "three", epoch.Add(102*time.Hour)).StagedTTL)
	// and while a lease of it may live, though the set has changed
	forced := st.staged(set, "two", epoch.Add(11*time.Minute)).accepted(set, "two", epoch.Add(12*time.Minute))
	assert.Equal(t, time.Hour, forced.staged(set, "three", epoch.Add(13*time.Minute)).StagedTTL)
	assert.Equal(t, set.TTL, forced.staged(set, "three", epoch.Add(2*time.Hour)).StagedTTL)
	// settings that change while staged do not shorten it
	set.TTL = 10 * time.Second
	assert.Equal(t, time.Hour, st.staged(vaultSettings(), "two", epoch).StagedTTL)
}

func TestScheduledRotationIsStagedAheadAndTakesEffectOnTime(t *testing.T) {
	set := vaultSettings()
	set.RotationPeriod = time.Hour
	stageAt := time.Hour - set.TTL - handOutMargin
	d := decideRotation(set, steadyState(), at(stageAt-time.Nanosecond))
	assert.Equal(t, actionNone, d.Action)
	assert.Equal(t, epoch.Add(stageAt), d.Wake)
	d = decideRotation(set, steadyState(), at(stageAt))
	require.Equal(t, actionGenerateSecret, d.Action)
	d = decideRotation(set, d.State.staged(set, "two", epoch.Add(stageAt)), at(stageAt))
	assert.Equal(t, epoch.Add(time.Hour), d.Wake)
}

func TestForceSendsWithoutWaitingAndOnlyThen(t *testing.T) {
	set := vaultSettings()
	staged := steadyState().staged(set, "two", epoch)
	assert.Equal(t, actionNone, decideRotation(set, staged.requested(false), at(0)).Action)
	assert.Equal(t, actionSetSecret, decideRotation(set, staged.requested(true), at(0)).Action)
	assert.Equal(t, "two", string(staged.requested(true).Next.Value))
}

func TestAcceptedSecretSettlesThenIsAlone(t *testing.T) {
	set := vaultSettings()
	st := steadyState().staged(set, "two", epoch).accepted(set, "two", epoch)
	assert.Equal(t, phaseSettling, st.phase())
	assert.Equal(t, 2, st.version())
	assert.Equal(t, []string{"two", "one"}, served(st))
	d := decideRotation(set, st, at(set.PropagationDelay-time.Nanosecond))
	assert.Equal(t, epoch.Add(set.PropagationDelay), d.Wake)
	assert.Equal(t, phaseSettling, d.State.phase())
	d = decideRotation(set, st, at(set.PropagationDelay))
	assert.Equal(t, phaseSteady, d.State.phase())
	assert.Equal(t, []string{"two"}, served(d.State))

	set.PropagationDelay = 0
	assert.Equal(t, phaseSteady, steadyState().accepted(set, "two", epoch).phase())
}

func TestRequestWhileSettlingIsStagedAfterwardsAndForceAtOnce(t *testing.T) {
	set := vaultSettings()
	st := steadyState().accepted(set, "two", epoch)
	d := decideRotation(set, st.requested(false), at(0))
	assert.Equal(t, actionNone, d.Action)
	d = decideRotation(set, d.State, at(set.PropagationDelay))
	assert.Equal(t, actionGenerateSecret, d.Action)
	d = decideRotation(set, st.requested(true), at(0))
	require.Equal(t, actionGenerateSecret, d.Action)
	st = d.State.staged(set, "three", epoch)
	assert.Equal(t, []string{"two", "one", "three"}, served(st))
	assert.Equal(t, actionSetSecret, decideRotation(set, st, at(0)).Action)
}

// TestNoAnswerDiscardsNothing: after any failure the same secret is served and
// sent again.
func TestNoAnswerDiscardsNothing(t *testing.T) {
	set := vaultSettings()
	staged := steadyState().staged(set, "two", epoch)
	for _, kind := range []outcome{outcomeUnclear, outcomeRefused, outcomeLimited} {
		st := staged.failed(failure{Outcome: kind, Text: "no", RetryAfter: 20 * time.Second}, epoch.Add(time.Hour))
		assert.Equal(t, staged.servedSecrets(), st.servedSecrets())
		assert.Equal(t, "no", st.LastError)
		d := decideRotation(set, st, at(time.Hour))
		assert.Equal(t, actionNone, d.Action, "waits before it tries again")
		d = decideRotation(set, st, at(2*time.Hour))
		assert.Equal(t, actionSetSecret, d.Action)
		assert.Equal(t, "two", string(d.State.Next.Value))
	}
}

func TestRefusedForceBecomesAnOrdinaryStagedRotation(t *testing.T) {
	set := vaultSettings()
	st := steadyState().staged(set, "two", epoch).requested(true)
	st = st.failed(failure{Outcome: outcomeRefused}, epoch)
	assert.Equal(t, actionNone, decideRotation(set, st, at(backoffMin)).Action)
	assert.Equal(t, actionSetSecret, decideRotation(set, st, at(set.TTL+handOutMargin)).Action)
	// an unclear one is tried again as soon as may be: the secret may be live
	st = steadyState().staged(set, "two", epoch).requested(true).failed(failure{Outcome: outcomeUnclear}, epoch)
	assert.Equal(t, actionSetSecret, decideRotation(set, st, at(backoffMin)).Action)
}

func TestAuth0MakesTheSecretOnlyUnderAnIntent(t *testing.T) {
	set := vaultSettings()
	set.Source = sourceAuth0
	d := decideRotation(set, steadyState().requested(false), at(0))
	require.Equal(t, actionRotateSecret, d.Action)
	require.True(t, d.State.Asked, "the intent is in the state before the request")
	// whatever happened then: after a crash it is read back
	assert.Equal(t, actionReadBack, decideRotation(set, d.State, at(time.Hour)).Action)

	refused := d.State.failed(failure{Outcome: outcomeRefused, First: true}, epoch)
	assert.Equal(t, actionRotateSecret, decideRotation(set, refused, at(time.Hour)).Action)
	unclear := d.State.failed(failure{Outcome: outcomeUnclear, First: true}, epoch)
	assert.Equal(t, actionReadBack, decideRotation(set, unclear, at(time.Hour)).Action)
	// the refusal of a later request says nothing about the unclear one
	unclear = unclear.failed(failure{Outcome: outcomeRefused}, epoch)
	assert.Equal(t, actionReadBack, decideRotation(set, unclear, at(10*time.Hour)).Action)
	// nor does what becomes of the read-back after a crash
	for _, kind := range []outcome{outcomeRefused, outcomeLimited, outcomeNotSent, outcomeRejected} {
		after := d.State.failed(failure{Outcome: kind}, epoch)
		assert.Equal(t, actionReadBack, decideRotation(set, after, at(10*time.Hour)).Action)
	}
	// what was read back may be somebody else's: nothing is claimed of it
	found := d.State.found(set, "two", epoch)
	assert.Equal(t, &secretVersion{Version: 2, Value: "two"}, found.Current)
}

// TestANodeWhoseClockIsAheadSettlesNoSooner: it waits a whole delay itself.
func TestANodeWhoseClockIsAheadSettlesNoSooner(t *testing.T) {
	set := vaultSettings()
	set.PropagationDelay = 30 * time.Second
	st := steadyState().staged(set, "two", epoch).accepted(set, "two", epoch)
	began := epoch.Add(10 * time.Minute)
	clk := rotationClock{Now: began.Add(29 * time.Second), ServingSince: began}
	d := decideRotation(set, st, clk)
	assert.Equal(t, []string{"two", "one"}, d.State.servedValues())
	assert.Equal(t, began.Add(30*time.Second), d.Wake)
	clk.Now = d.Wake
	assert.Equal(t, []string{"two"}, decideRotation(set, st, clk).State.servedValues())
}

// TestARejectedSecretIsReplacedByAnother: what Auth0 refuses for its form it
// would refuse for ever. It stays as a fallback until another is accepted.
func TestARejectedSecretIsReplacedByAnother(t *testing.T) {
	set := vaultSettings()
	st := steadyState().staged(set, "two", epoch).failed(failure{Outcome: outcomeRejected}, epoch.Add(set.TTL))
	assert.Equal(t, actionNone, decideRotation(set, st, at(set.TTL)).Action, "not at once")
	assert.Equal(t, actionGenerateSecret, decideRotation(set, st, at(time.Hour)).Action)
	assert.Equal(t, []string{"one", "two"}, st.servedValues())
	st = st.staged(set, "three", epoch.Add(time.Hour))
	assert.Equal(t, []string{"one", "two", "three"}, st.servedValues())
	accepted := st.accepted(set, "three", epoch.Add(2*time.Hour))
	assert.Equal(t, []string{"three", "one", "two"}, accepted.servedValues(), "either may be accepted somewhere yet")
	assert.Equal(t, []string{"three"}, accepted.settled(set, rotationClock{Now: accepted.SettledAt}).servedValues())

	// what may be live is not given up for what is not
	st = steadyState().staged(set, "two", epoch).failed(failure{Outcome: outcomeUnclear}, epoch).failed(failure{Outcome: outcomeRejected}, epoch)
	st = st.staged(set, "three", epoch).failed(failure{Outcome: outcomeRejected}, epoch).staged(set, "four", epoch)
	assert.Equal(t, []string{"one", "two", "four"}, st.servedValues())
}

// TestAFailureToMakeASecretIsWaitedOut, like any other.
func TestAFailureToMakeASecretIsWaitedOut(t *testing.T) {
	st := steadyState().requested(false).failed(failure{Outcome: outcomeNotSent}, epoch)
	assert.Equal(t, actionNone, decideRotation(vaultSettings(), st, at(0)).Action)
	assert.Equal(t, actionGenerateSecret, decideRotation(vaultSettings(), st, at(backoffMin)).Action)
	assert.True(t, steadyState().staged(vaultSettings(), "two", epoch).requested(true).
		failed(failure{Outcome: outcomeNotSent}, epoch).Forced, "force is not taken back by what was never sent")
}

// TestARequestTakesOverWhatTheScheduleHasStaged: it no longer waits for the
// schedule, only for leases.
func TestARequestTakesOverWhatTheScheduleHasStaged(t *testing.T) {
	set := vaultSettings()
	set.RotationPeriod = time.Hour
	st := steadyState().staged(set, "two", epoch)
	require.True(t, st.Scheduled)
	set.Paused = true
	assert.Equal(t, actionNone, decideRotation(set, st, at(1000*time.Hour)).Action)
	st = st.requested(false)
	assert.Equal(t, actionNone, decideRotation(set, st, at(set.TTL)).Action)
	assert.Equal(t, actionSetSecret, decideRotation(set, st, at(set.TTL+handOutMargin)).Action)
	assert.Equal(t, st, st.requested(false))
}

func TestHiddenSecretIsReplacedByOneOfOurOwnAtOnce(t *testing.T) {
	set := vaultSettings()
	set.Source = sourceAuth0
	st := steadyState().requested(false)
	st.Asked = true
	d := decideRotation(set, st.hidden(), at(0))
	require.Equal(t, actionGenerateSecret, d.Action)
	d = decideRotation(set, d.State.staged(set, "own", epoch), at(0))
	require.Equal(t, actionSetSecret, d.Action)
	st = d.State.accepted(set, "own", epoch)
	assert.Equal(t, "own", string(st.Current.Value))
	assert.False(t, st.OwnSecret)
}

func TestRetryBackoffStaysBetweenTenSecondsAndAnHour(t *testing.T) {
	assert.Equal(t, 10*time.Second, retryBackoff(1, 0))
	assert.Equal(t, 20*time.Second, retryBackoff(2, 0))
	assert.Equal(t, 15*time.Second, retryBackoff(2, 0.5))
	for failures := range 2000 {
		for _, jitter := range []float64{0, 0.5, 0.999} {
			d := retryBackoff(failures, jitter)
			assert.GreaterOrEqual(t, d, backoffMin)
			assert.LessOrEqual(t, d, backoffMax)
		}
	}
}

func TestOverdueChangeShowsAShortTimeNeverTheNextPeriods(t *testing.T) {
	set := vaultSettings()
	set.RotationPeriod = time.Hour
	st := steadyState()
	left, planned := st.untilSetChanges(set, at(0))
	assert.True(t, planned)
	assert.Equal(t, time.Hour-set.TTL-handOutMargin, left)
	left, _ = st.untilSetChanges(set, at(3*time.Hour))
	assert.Zero(t, left)
	staged := st.staged(set, "two", epoch).failed(failure{Outcome: outcomeUnclear}, epoch.Add(3*time.Hour))
	staged.RetryAt = epoch.Add(4 * time.Hour)
	left, _ = staged.untilSetChanges(set, at(3*time.Hour))
	assert.Equal(t, minLease, left)
	set.RotationPeriod = 0
	_, planned = st.untilSetChanges(set, at(0))
	assert.False(t, planned)
}

// TestClockSetBackDoesNotShortenOrStallStaging: a time of staging in the future
// is passed over.
func TestClockSetBackDoesNotShortenOrStallStaging(t *testing.T) {
	set := vaultSettings()
	st := steadyState().staged(set, "two", epoch.Add(24*time.Hour))
	clk := rotationClock{Now: epoch.Add(30 * time.Second), ServingSince: epoch}
	assert.Equal(t, epoch.Add(set.TTL), st.readyAt(clk))
	clk.Now = epoch.Add(set.TTL + handOutMargin)
	assert.Equal(t, actionSetSecret, decideRotation(set, st, clk).Action)

	st = st.failed(failure{Outcome: outcomeUnclear}, epoch.Add(24*time.Hour))
	assert.Equal(t, actionSetSecret, decideRotation(set, st, clk).Action, "nor does a retry wait for the old time")
	st = steadyState().accepted(set, "two", epoch.Add(24*time.Hour))
	assert.Equal(t, phaseSteady, decideRotation(set, st, clk).State.phase(), "nor settling")
}
