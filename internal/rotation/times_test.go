package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// stored is a record as another process reads it.
func stored(t *testing.T, r record) record {
	t.Helper()
	data, err := State{r}.MarshalJSON()
	require.NoError(t, err)
	var st State
	require.NoError(t, st.UnmarshalJSON(data))
	return st.r
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
	assert.Equal(t, set.TTL, forced.staged(set, "three", epoch.Add(3*time.Hour)).StagedTTL)
	// a higher ttl counts at once
	set.TTL = 2 * time.Hour
	assert.Equal(t, 2*time.Hour, st.staged(set, "two", epoch).StagedTTL)
	// settings that change while staged do not shorten it
	set.TTL = 10 * time.Second
	assert.Equal(t, epoch.Add(100*time.Hour+time.Hour+HandOutMargin), decide(set, staged.asked(byHand(false)), at(100*time.Hour)).wake)
}

// TestALeaseOfTheEarlierTTLIsWaitedForFromTheMomentItIsRegistered, which is a little
// after it was handed out.
func TestALeaseOfTheEarlierTTLIsWaitedForFromTheMomentItIsRegistered(t *testing.T) {
	st := steadyState().ttlChanged(time.Hour, epoch)
	assert.Equal(t, epoch.Add(time.Hour+HandOutMargin), st.LongestUntil)
	assert.Equal(t, Leases{TTL: time.Hour, Until: epoch.Add(time.Hour + HandOutMargin)}, State{steadyState()}.LeasesAt(time.Hour, epoch))
	assert.Equal(t, st, State{steadyState()}.TTLChanged(time.Hour, epoch).r)
	// an end that was known before is not drawn nearer
	st = st.ttlChanged(time.Minute, epoch.Add(time.Second))
	assert.Equal(t, epoch.Add(time.Hour+HandOutMargin), st.LongestUntil)
	assert.Equal(t, time.Hour, st.LongestTTL)
}

// TestAnEarlierTTLCountsAnHourLonger, since the clock that it was stored by may have
// been behind.
func TestAnEarlierTTLCountsAnHourLonger(t *testing.T) {
	set := vaultSettings()
	end := time.Hour + HandOutMargin + clockSkew
	st := stagedState(set, byOperator).ttlChanged(time.Hour, epoch).accepted(set, "two", epoch) // nobody goes by what was told first
	require.False(t, st.LongestKept)
	assert.Equal(t, time.Hour, st.staged(set, "three", epoch.Add(end-time.Nanosecond)).StagedTTL)
	assert.Equal(t, time.Hour+HandOutMargin, st.leadTime(set, epoch.Add(end-time.Nanosecond)))
	assert.Equal(t, set.TTL, st.staged(set, "three", epoch.Add(end)).StagedTTL)
	assert.Equal(t, set.TTL+HandOutMargin, st.leadTime(set, epoch.Add(end)))

	// a later target for the same secret waits as long
	other := Imported("one", 0, epoch).WithLeases(State{steadyState()}.LeasesAt(time.Hour, epoch)).r
	assert.Equal(t, time.Hour, other.staged(set, "two", epoch.Add(end-time.Nanosecond)).StagedTTL)
	assert.Equal(t, set.TTL, other.staged(set, "two", epoch.Add(end)).StagedTTL)
	// whose leases have gone before it began, if there is nobody but the engine
	assert.Zero(t, other.staged(engineSettings(), "two", epoch).StagedTTL)
}

func TestLeadTimeIsForLeasesOnly(t *testing.T) {
	now := epoch.Add(time.Hour)
	assert.Equal(t, time.Minute+HandOutMargin, steadyState().leadTime(vaultSettings(), now))
	assert.Zero(t, steadyState().leadTime(auth0Settings(), now), "there is nothing to stage")
	assert.Zero(t, steadyState().leadTime(engineSettings(), now), "nobody holds it")
	assert.Zero(t, Unknown(now).r.leadTime(vaultSettings(), now), "nobody can log in")
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

func TestFailuresInARowAreWaitedOutLongerEachTime(t *testing.T) {
	set := vaultSettings()
	st := stagedState(set, byOperator)
	for i, want := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second} {
		st = st.failed(set, ended(Unclear), i == 0, at(0))
		assert.Equal(t, i+1, st.Failures)
		assert.Equal(t, epoch.Add(want), st.RetryAt)
	}
	clk := at(0)
	clk.Jitter = 0.5
	assert.Equal(t, epoch.Add(60*time.Second), st.failed(set, ended(Unclear), false, clk).RetryAt)
	accepted := st.accepted(set, "two", epoch)
	assert.Zero(t, accepted.Failures)
	assert.True(t, accepted.RetryAt.IsZero())
	assert.Empty(t, accepted.LastError)
}

// TestTheRateLimitSaysHowLongToWait: it is no failure that would be waited out
// longer each time.
func TestTheRateLimitSaysHowLongToWait(t *testing.T) {
	set := vaultSettings()
	for asks, want := range map[time.Duration]time.Duration{
		0: limitedMin, -time.Hour: limitedMin, 20 * time.Second: 20 * time.Second, 24 * time.Hour: backoffMax,
	} {
		st := stagedState(set, byOperator).failed(set, Outcome{Result: Limited, Err: ended(Limited).Err, RetryAfter: asks}, true, at(0))
		assert.Equal(t, epoch.Add(want), st.RetryAt)
		assert.Zero(t, st.Failures)
		assert.Equal(t, "no", st.LastError)
	}
}

func TestOverdueChangeShowsAShortTimeNeverTheNextPeriods(t *testing.T) {
	set := vaultSettings()
	set.Period = time.Hour
	st := steadyState()
	left, planned := State{st}.UntilChange(set, at(0))
	assert.True(t, planned)
	assert.Equal(t, time.Hour-set.TTL-HandOutMargin, left)
	left, _ = State{st}.UntilChange(set, at(3*time.Hour))
	assert.Equal(t, notAtOnce, left)
	staged := stagedState(set, bySchedule)
	left, _ = State{staged}.UntilChange(set, at(0))
	assert.Equal(t, time.Hour, left)
	failed := onRecord(t, set, staged, 3*time.Hour).failed(set, ended(Unclear), true, at(3*time.Hour))
	failed.RetryAt = epoch.Add(4 * time.Hour)
	left, _ = State{failed}.UntilChange(set, at(3*time.Hour))
	assert.Equal(t, soon, left)
	left, _ = State{failed}.UntilChange(set, at(4*time.Hour-5*time.Second))
	assert.Equal(t, 5*time.Second, left)
	left, _ = State{failed}.UntilChange(set, at(4*time.Hour-time.Second))
	assert.Equal(t, notAtOnce, left)
	propagating := staged.accepted(set, "two", epoch)
	left, _ = State{propagating}.UntilChange(set, at(10*time.Second))
	assert.Equal(t, set.PropagationDelay-10*time.Second, left)
	left, _ = State{propagating}.UntilChange(set, at(set.PropagationDelay))
	assert.Equal(t, time.Hour-set.TTL-HandOutMargin-set.PropagationDelay, left)
	hidden := steadyState()
	hidden.Hidden = true
	left, planned = State{hidden}.UntilChange(set, at(0))
	assert.True(t, planned)
	assert.Equal(t, notAtOnce, left)
	set.Period = 0
	_, planned = State{st}.UntilChange(set, at(0))
	assert.False(t, planned)
}

// TestAForcedRotationIsNotPutOffByTheLastOne: nor is what readers are told of it.
func TestAForcedRotationIsNotPutOffByTheLastOne(t *testing.T) {
	set := auth0Settings()
	set.PropagationDelay = time.Hour
	st := steadyState().accepted(set, "two", epoch).asked(byHand(true))
	st = onRecord(t, set, st, 0).failed(set, ended(Limited), true, at(0)) // 20 seconds
	require.Equal(t, epoch.Add(20*time.Second), st.RetryAt)
	require.Equal(t, doMake, decide(set, st, at(20*time.Second)).action)
	left, planned := State{st}.UntilChange(set, at(15*time.Second))
	assert.True(t, planned)
	assert.LessOrEqual(t, left, 5*time.Second)
}

func TestTheViewTellsWhenTheNextRotationTakesEffect(t *testing.T) {
	set := vaultSettings()
	set.Schedule, set.Window = daily{}, time.Hour
	three := epoch.Add(untilThree)
	assert.Equal(t, three, State{steadyState()}.View(set, at(0)).NextRotation)
	assert.Equal(t, three, State{stagedState(set, bySchedule)}.View(set, at(0)).NextRotation)
	assert.Equal(t, epoch.Add(set.TTL+HandOutMargin), State{stagedState(set, byOperator)}.View(set, at(0)).NextRotation)
	limited := onRecord(t, set, stagedState(set, byOperator), time.Hour).failed(set, ended(Limited), true, at(time.Hour))
	assert.Equal(t, epoch.Add(time.Hour+20*time.Second), State{limited}.View(set, at(time.Hour)).NextRotation)
	mayBeLive := stagedState(set, bySchedule)
	mayBeLive.Attempt = sent
	assert.Equal(t, epoch.Add(time.Second), State{mayBeLive}.View(set, at(time.Second)).NextRotation)
	mayBeLive.RetryAt = epoch.Add(time.Minute)
	assert.Equal(t, epoch.Add(time.Minute), State{mayBeLive}.View(set, at(time.Second)).NextRotation)
	set.Paused = true
	assert.True(t, State{steadyState()}.View(set, at(0)).NextRotation.IsZero())
	assert.True(t, State{stagedState(set, bySchedule)}.View(set, at(0)).NextRotation.IsZero())
}

// TestTheViewTellsWhenARotationThatIsAskedForTakesEffect, though it has not begun yet.
func TestTheViewTellsWhenARotationThatIsAskedForTakesEffect(t *testing.T) {
	set := vaultSettings()
	set.Paused = true
	propagates, lead := set.PropagationDelay, set.TTL+HandOutMargin
	last := steadyState().accepted(set, "two", epoch)
	for _, ask := range []Ask{byHand(false), inBulk(1, false)} {
		assert.Equal(t, epoch.Add(lead), State{steadyState().asked(ask)}.View(set, at(0)).NextRotation)
		assert.Equal(t, epoch.Add(propagates+lead), State{last.asked(ask)}.View(set, at(0)).NextRotation, "the last one propagates first")
		failed := last.asked(ask).failed(set, ended(NotSent), true, at(propagates))
		assert.Equal(t, epoch.Add(propagates+backoffMin+lead), State{failed}.View(set, at(propagates)).NextRotation)
	}
	for _, ask := range []Ask{byHand(true), inBulk(1, true)} {
		st := last.asked(ask)
		assert.Equal(t, epoch.Add(time.Second), State{st}.View(set, at(time.Second)).NextRotation)
		assert.True(t, State{st}.View(set, at(0)).Forced)
		failed := st.failed(set, ended(NotSent), true, at(0))
		assert.Equal(t, epoch.Add(backoffMin), State{failed}.View(set, at(time.Second)).NextRotation)
	}
	hidden := last.hidden()
	assert.Equal(t, epoch.Add(time.Second), State{hidden}.View(set, at(time.Second)).NextRotation)
	mayBeLive := last
	mayBeLive.Attempt, mayBeLive.RetryAt = unclear, epoch.Add(time.Minute)
	assert.Equal(t, epoch.Add(time.Minute), State{mayBeLive}.View(set, at(time.Second)).NextRotation)
	// one by schedule begins when the last has propagated, too
	set.Paused, set.Period = false, 10*time.Second
	assert.Equal(t, epoch.Add(propagates+lead), State{last}.View(set, at(0)).NextRotation)
}

func TestTheViewTellsOfFailuresAndOfWhatIsUnderWay(t *testing.T) {
	set := vaultSettings()
	view := State{steadyState()}.View(set, at(0))
	assert.Equal(t, View{Phase: Steady, Version: 1, Served: []Secret{"one"}, LastRotation: epoch}, view)

	staged := stagedState(set, byOperator).asked(byHand(true))
	view = State{staged}.View(set, at(0))
	assert.Equal(t, Staged, view.Phase)
	assert.Equal(t, epoch, view.StagedAt)
	assert.Equal(t, epoch.Add(set.TTL+HandOutMargin), view.ReadyAt)
	assert.True(t, view.Forced)
	assert.True(t, view.UnderWay)
	assert.True(t, view.Overdue, "it could be sent")

	failed := onRecord(t, set, staged, 0).failed(set, ended(Limited), true, at(0))
	view = State{failed}.View(set, at(time.Second))
	assert.Equal(t, "no", view.LastError)
	assert.Equal(t, epoch.Add(20*time.Second), view.RetryAt)
	assert.True(t, view.Overdue, "the wait is for a failure")

	// when the schedule says when it is retried, that is told
	scheduled := vaultSettings()
	scheduled.Schedule, scheduled.Window = daily{}, time.Hour
	failed = onRecord(t, scheduled, stagedState(scheduled, bySchedule), untilThree).failed(scheduled, ended(Refused), true, at(untilThree))
	assert.Equal(t, epoch.Add(untilThree+backoffMin), State{failed}.View(scheduled, at(untilThree)).RetryAt)
	assert.Equal(t, epoch.Add(untilThree+day), State{failed}.View(scheduled, at(untilThree+time.Hour)).RetryAt)
	late := untilThree + time.Hour - time.Second
	failed = onRecord(t, scheduled, stagedState(scheduled, bySchedule), late).failed(scheduled, ended(Refused), true, at(late))
	assert.Equal(t, epoch.Add(untilThree+day), State{failed}.View(scheduled, at(late)).RetryAt, "its window closes before")
	assert.Equal(t, epoch.Add(untilThree+day), decide(scheduled, failed, at(late)).wake)
	scheduled.Paused = true
	assert.True(t, State{failed}.View(scheduled, at(untilThree)).RetryAt.IsZero())
	assert.Equal(t, "no", State{failed}.View(scheduled, at(untilThree)).LastError)

	assert.True(t, State{steadyState().asked(byHand(false))}.View(set, at(0)).UnderWay)
	assert.True(t, State{steadyState().asked(Ask{By: BulkRotation, Bulk: 1})}.View(set, at(0)).UnderWay)
	set.Period = time.Hour
	view = State{steadyState()}.View(set, at(time.Hour))
	assert.False(t, view.UnderWay, "the schedule has not begun one yet")
	assert.True(t, view.Overdue)
	view = State{stagedState(set, bySchedule)}.View(set, at(time.Minute+2*HandOutMargin))
	assert.False(t, view.Overdue, "it is not its time")
	assert.True(t, view.UnderWay)
	assert.True(t, view.RetryAt.IsZero(), "nothing has failed")
}

// TestClockSetBackDoesNotShortenOrStallStaging: a time of staging in the future
// is passed over.
func TestClockSetBackDoesNotShortenOrStallStaging(t *testing.T) {
	set := vaultSettings()
	st := steadyState()
	st.Cause = byOperator
	st = st.staged(set, "two", epoch.Add(day))
	clk := Clock{Now: epoch.Add(30 * time.Second), Since: epoch}
	assert.Equal(t, epoch.Add(set.TTL+HandOutMargin), State{st}.View(set, clk).ReadyAt)
	assert.Equal(t, doNothing, decide(set, st, clk).action)
	clk.Now = epoch.Add(set.TTL + HandOutMargin)
	assert.Equal(t, doSet, decide(set, st, clk).action)

	st = st.failed(set, ended(Unclear), true, at(day))
	assert.Equal(t, doSet, decide(set, st, clk).action, "nor does a retry wait for the old time")
	st = steadyState().accepted(set, "two", epoch.Add(day))
	assert.Equal(t, Steady, phaseOf(decide(set, st, clk).record, set, clk), "nor the end of the fallback")
}

// TestWhatLiesAheadIsReplacedByTheTimeItIs: nothing waits for a clock that was
// wrong, and no other node will.
func TestWhatLiesAheadIsReplacedByTheTimeItIs(t *testing.T) {
	set := vaultSettings()
	clk := at(0)
	ahead := record{
		Current: &version{Number: 2, Value: "two"}, Previous: &version{Number: 1, Value: "one"},
		LastRotation: epoch.Add(year), ScheduledFrom: epoch.Add(year), StagedAt: epoch.Add(year), RetryAt: epoch.Add(year),
		DriftedAt: epoch.Add(year), LongestTTL: time.Hour, LongestUntil: epoch.Add(year),
	}
	d := decide(set, ahead, clk)
	assert.Equal(t, epoch, d.LastRotation)
	assert.Equal(t, epoch, d.ScheduledFrom)
	assert.Equal(t, clk.Since, d.StagedAt)
	assert.Equal(t, epoch, d.RetryAt)
	assert.Equal(t, epoch, d.DriftedAt)
	assert.Equal(t, epoch.Add(time.Hour+HandOutMargin), d.LongestUntil)
	assert.False(t, d.equal(ahead), "or it would not be stored")
	assert.Equal(t, d.record, decide(set, d.record, at(time.Second)).record, "once is enough")
	view := State{ahead}.View(set, clk)
	assert.Equal(t, epoch, view.LastRotation)
	assert.Equal(t, epoch, view.DriftedAt)
	compared, _ := ahead.compared(set, "two", clk)
	assert.Equal(t, d.record, compared)

	// what does not lie ahead stays as it is
	usual := record{
		Current: &version{Number: 2, Value: "two"}, Previous: &version{Number: 1, Value: "one"},
		LastRotation: epoch, ScheduledFrom: epoch, StagedAt: epoch, DriftedAt: epoch, FallbackUntil: epoch.Add(30 * time.Second), FallbackFor: 30 * time.Second,
		RetryAt: epoch.Add(backoffMax), LongestTTL: time.Hour, LongestUntil: epoch.Add(time.Hour + HandOutMargin),
	}
	assert.Equal(t, usual, decide(set, usual, clk).record)
}

// TestClocksMayDifferALittle: a schedule is not moved, and nothing is written, because
// another node has rotated whose clock was ahead by less.
func TestClocksMayDifferALittle(t *testing.T) {
	set := vaultSettings()
	set.Period = 30 * day
	for _, change := range []func(*record, time.Time){
		func(r *record, at time.Time) { r.LastRotation = at },
		func(r *record, at time.Time) { r.ScheduledFrom = at },
	} {
		st := steadyState()
		change(&st, epoch.Add(clockSkew))
		assert.Equal(t, st, decide(set, st, at(0)).record)
		change(&st, epoch.Add(clockSkew+time.Nanosecond))
		assert.NotEqual(t, st, decide(set, st, at(0)).record)
	}
	st := steadyState()
	st.LastRotation = epoch.Add(time.Minute)
	assert.Equal(t, epoch.Add(time.Minute+30*day-set.TTL-HandOutMargin), decide(set, st, at(0)).wake)
	// what it has replaced is served for its whole time, and no longer
	st = steadyState().accepted(set, "two", epoch.Add(10*time.Minute))
	clk := Clock{Now: epoch.Add(set.PropagationDelay - time.Nanosecond), Since: epoch}
	assert.Equal(t, []string{"two", "one"}, served(decide(set, st, clk).record))
	clk.Now = epoch.Add(set.PropagationDelay)
	assert.Equal(t, []string{"two"}, served(decide(set, st, clk).record))
}

// TestAScheduleGoesOnFromNowIfTheClockWasAhead: a rotation that a clock dated a year
// ahead is due a period from now, and not again and again a period from then.
func TestAScheduleGoesOnFromNowIfTheClockWasAhead(t *testing.T) {
	set := vaultSettings()
	set.Period = 30 * day
	st := steadyState()
	st.LastRotation = epoch.Add(year)
	d := decide(set, st, at(0))
	due := epoch.Add(30*day - set.TTL - HandOutMargin)
	assert.Equal(t, doNothing, d.action)
	assert.Equal(t, due, d.wake)
	assert.NotEqual(t, st, d.record)
	for _, later := range []time.Duration{time.Second, day, 29 * day} {
		d = decide(set, stored(t, d.record), at(later))
		assert.Equal(t, doNothing, d.action)
		assert.Equal(t, due, d.wake)
	}
	assert.Equal(t, doGenerate, decide(set, stored(t, d.record), at(30*day)).action)

	// nor does a schedule wait for the time at which it was set
	set.Period, set.Schedule = 0, daily{}
	for name, change := range map[string]func(*record){
		"last rotation":  func(r *record) { r.LastRotation = epoch.Add(year) },
		"scheduled from": func(r *record) { r.ScheduledFrom = epoch.Add(year) },
	} {
		st := steadyState()
		change(&st)
		assert.Equal(t, epoch.Add(untilThree-set.TTL-HandOutMargin), decide(set, st, at(0)).wake, name)
	}
}

func TestARetryDoesNotWaitForAClockThatWasAhead(t *testing.T) {
	set := vaultSettings()
	st := onRecord(t, set, stagedState(set, byOperator), time.Hour).failed(set, ended(Unclear), true, at(year))
	require.True(t, st.RetryAt.After(epoch.Add(year)))
	assert.Equal(t, doSet, decide(set, st, at(time.Hour)).action)
	// one that is no further ahead than a wait can be is waited out
	st.RetryAt = epoch.Add(time.Hour + backoffMax)
	assert.Equal(t, doNothing, decide(set, st, at(time.Hour)).action)
	st.RetryAt = st.RetryAt.Add(time.Nanosecond)
	assert.Equal(t, doSet, decide(set, st, at(time.Hour)).action)
}

// TestLeasesOfAClockThatWasAheadEnd: they live a ttl from now at most.
func TestLeasesOfAClockThatWasAheadEnd(t *testing.T) {
	set := vaultSettings()
	st := steadyState()
	st.LongestTTL, st.LongestUntil = time.Hour, epoch.Add(year)
	st = decide(set, st, at(0)).record
	end := time.Hour + HandOutMargin + clockSkew
	for _, r := range []record{st, decide(set, stored(t, st), at(end-time.Nanosecond)).record} {
		assert.Equal(t, time.Hour, r.holdersTTL(set, epoch.Add(end-time.Nanosecond)))
		assert.Equal(t, set.TTL, r.holdersTTL(set, epoch.Add(end)))
	}
}

// TestANodeWhoseClockIsAheadDropsThePreviousSecretNoSooner: it waits a whole delay
// itself.
func TestANodeWhoseClockIsAheadDropsThePreviousSecretNoSooner(t *testing.T) {
	set := vaultSettings()
	st := stagedState(set, byOperator).accepted(set, "two", epoch)
	for _, ahead := range []time.Duration{time.Second, 10 * time.Minute, clockSkew} {
		began := epoch.Add(ahead)
		clk := Clock{Now: began.Add(29 * time.Second), Since: began}
		d := decide(set, st, clk)
		assert.Equal(t, []string{"two", "one"}, served(d.record))
		assert.Equal(t, began.Add(30*time.Second), d.wake)
		assert.Equal(t, st, d.record, "nothing has to be stored")
		secrets, until := State{st}.Served(clk)
		assert.Equal(t, []string{"two", "one"}, plain(secrets))
		assert.Equal(t, d.wake, until)
		clk.Now = d.wake
		assert.Equal(t, []string{"two"}, served(decide(set, st, clk).record))
	}
	// one that is over for longer than clocks can be apart is over
	clk := Clock{Now: st.FallbackUntil.Add(clockSkew), Since: st.FallbackUntil.Add(clockSkew)}
	assert.Equal(t, []string{"two", "one"}, served(decide(set, st, clk).record))
	clk = Clock{Now: clk.Now.Add(time.Nanosecond), Since: clk.Now.Add(time.Nanosecond)}
	assert.Equal(t, []string{"two"}, served(decide(set, st, clk).record))
	assert.Equal(t, Steady, phaseOf(st, set, clk))
}

// TestANodeWhoseClockIsBehindServesThePreviousSecretNoLonger than its whole time
// from when it began: also after it has stored that.
func TestANodeWhoseClockIsBehindServesThePreviousSecretNoLonger(t *testing.T) {
	set := vaultSettings()
	st := stagedState(set, byOperator).accepted(set, "two", epoch.Add(2*time.Hour))
	since := epoch.Add(5 * time.Second)
	end := since.Add(set.PropagationDelay)
	for _, saved := range []time.Duration{0, time.Second, 10 * time.Second} {
		r := decide(set, st, Clock{Now: since.Add(saved), Since: since}).record
		assert.NotEqual(t, st, r)
		assert.Equal(t, since.Add(saved), r.LastRotation)
		for _, each := range []record{st, r, stored(t, r)} {
			clk := Clock{Now: end.Add(-time.Nanosecond), Since: since}
			d := decide(set, each, clk)
			assert.Equal(t, []string{"two", "one"}, served(d.record), saved)
			assert.Equal(t, end, d.wake, saved)
			assert.Equal(t, end, State{each}.View(set, clk).FallbackUntil, saved)
			secrets, until := State{each}.Served(clk)
			assert.Equal(t, []string{"two", "one"}, plain(secrets), saved)
			assert.Equal(t, end, until, saved)
			clk.Now = end
			assert.Equal(t, []string{"two"}, served(decide(set, each, clk).record), saved)
		}
	}
}

// TestWhatIsServedNoMoreDoesNotComeBack, when this node's clock has come to where the
// other's was.
func TestWhatIsServedNoMoreDoesNotComeBack(t *testing.T) {
	set := vaultSettings()
	for _, ahead := range []time.Duration{10 * time.Minute, 2 * time.Hour} {
		st := steadyState().accepted(set, "two", epoch.Add(ahead))
		clk := Clock{Now: epoch.Add(time.Second), Since: epoch}
		st = stored(t, decide(set, st, clk).record)
		clk.Now = epoch.Add(set.PropagationDelay)
		secrets, _ := State{st}.Served(clk)
		require.Equal(t, []string{"two"}, plain(secrets))
		clk.Now = epoch.Add(ahead + time.Second)
		secrets, _ = State{st}.Served(clk)
		assert.Equal(t, []string{"two"}, plain(secrets), ahead)
		assert.Equal(t, Steady, phaseOf(st, set, clk), ahead)
	}
}

// TestTheFallbackLastsAnHourAtMost, whatever is stored.
func TestTheFallbackLastsAnHourAtMost(t *testing.T) {
	set := vaultSettings()
	set.PropagationDelay = year
	st := stagedState(set, byOperator).accepted(set, "two", epoch.Add(day))
	clk := Clock{Now: epoch.Add(MaxPropagationDelay - time.Nanosecond), Since: epoch}
	assert.Equal(t, []string{"two", "one"}, served(decide(set, st, clk).record))
	clk.Now = epoch.Add(MaxPropagationDelay)
	assert.Equal(t, []string{"two"}, served(decide(set, st, clk).record))
}

func TestSettingAScheduleMakesNothingDue(t *testing.T) {
	set := vaultSettings()
	set.Schedule = daily{}
	st := State{steadyState()}.Rescheduled(epoch.Add(1000 * time.Hour))
	assert.Equal(t, epoch.Add(1000*time.Hour), st.ScheduledFrom())
	want := daily{}.Next(epoch.Add(1000 * time.Hour))
	assert.Equal(t, want, st.View(set, at(1000*time.Hour)).NextRotation)
	assert.Equal(t, doNothing, decide(set, st.r, at(1000*time.Hour)).action)
	assert.Equal(t, doGenerate, decide(set, steadyState(), at(1000*time.Hour)).action)
	// a rotation does not make it count from before
	after := st.r.staged(set, "two", epoch).accepted(set, "two", epoch)
	assert.Equal(t, st.ScheduledFrom(), after.ScheduledFrom)
}
