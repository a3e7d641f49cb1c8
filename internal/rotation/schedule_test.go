package rotation

import (
	"math/rand/v2"
	"testing"
	"time"

	cron "github.com/hashicorp/vault/sdk/rotation"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func cronSchedule(t *testing.T, expression string) Schedule {
	t.Helper()
	parsed, err := cron.DefaultScheduler.Parse(expression)
	require.NoError(t, err)
	return parsed
}

// simulation runs one role by the state machine alone, from one wake-up to the
// next, with a reader that goes by ttl and never reads earlier.
type simulation struct {
	t        *testing.T
	set      Settings
	state    record
	now      time.Time
	since    time.Time // serving since
	accepted Secret
	took     []time.Time // when Auth0 got a secret
	held     []Secret
	readAt   time.Time
}

func simulate(t *testing.T, set Settings, began time.Time) *simulation {
	t.Helper()
	return &simulation{
		t: t, set: set, now: began, since: began, accepted: "1", readAt: began,
		state: record{Current: &version{Number: 1, Value: "1"}, LastRotation: began, ScheduledFrom: began},
	}
}

func (s *simulation) clock() Clock { return Clock{Now: s.now, Since: s.since} }

// settle takes decisions until there is nothing to do, and returns the wake-up.
func (s *simulation) settle() time.Time {
	for {
		d := decide(s.set, s.state, s.clock())
		s.state = d.record
		switch d.action {
		case doNothing:
			return d.wake
		case doGenerate:
			s.state = s.state.staged(s.set, Secret(s.now.String()), s.now)
			s.since = s.now
		case doSet:
			s.accepted = s.state.Next.Value
			s.took = append(s.took, s.now)
			s.state = s.state.accepted(s.set, s.accepted, s.now)
		default:
			s.t.Fatalf("action %d", d.action)
		}
	}
}

// until runs to a time. At every step it checks what the reader holds and what
// it is told.
func (s *simulation) until(end time.Time) {
	s.t.Helper()
	for {
		wake := s.settle()
		s.read()
		next := end
		if !wake.IsZero() && wake.Before(next) {
			require.True(s.t, wake.After(s.now), "a wake-up that is due already would be a loop")
			next = wake
		}
		if s.readAt.Before(next) {
			next = s.readAt
		}
		if !next.Before(end) {
			s.now = end
			return
		}
		s.now = next
	}
}

// read is a reader without a lease, who reads when ttl says so.
func (s *simulation) read() {
	if !s.now.Before(s.readAt) {
		ttl := s.set.TTL
		if left, planned := s.state.untilChange(s.set, s.clock()); planned {
			ttl = min(ttl, left)
		}
		ttl = max(ttl, time.Second).Truncate(time.Second)
		require.LessOrEqual(s.t, ttl, s.set.TTL)
		s.held, s.readAt = s.state.served(), s.now.Add(ttl)
	}
	for _, secret := range s.held {
		if secret == s.accepted {
			return
		}
	}
	require.Fail(s.t, "the reader lacks the accepted secret", "at %s", s.now)
}

// TestScheduleIsKeptForYears: each rotation takes effect at its time exactly,
// through changes of daylight saving and leap days.
func TestScheduleIsKeptForYears(t *testing.T) {
	t.Parallel()
	began := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	end := began.AddDate(2, 0, 0) // 2028 has a leap day
	for _, expression := range []string{"30 2 * * *", "0 */6 * * *", "0 3 * * SUN", "0 0 1 * *", "0 12 29 2 *", "15 10 31 * *"} {
		for _, window := range []time.Duration{0, time.Hour} {
			t.Run(expression+" "+window.String(), func(t *testing.T) {
				set := vaultSettings()
				set.TTL, set.Schedule, set.Window = 2*time.Hour, cronSchedule(t, expression), window
				berlin, err := time.LoadLocation("Europe/Berlin")
				require.NoError(t, err)
				s := simulate(t, set, began.In(berlin)) // the machine's zone must not matter
				s.until(end)
				var want []time.Time
				for at := set.Schedule.Next(began); at.Before(end); at = set.Schedule.Next(at) {
					want = append(want, at)
				}
				require.Len(t, s.took, len(want))
				for i, at := range want {
					require.True(t, at.Equal(s.took[i]), "rotation %d at %s instead of %s", i, s.took[i], at)
				}
			})
		}
	}
}

// TestOutsideTheWindowARotationWaitsForTheNextTime.
func TestOutsideTheWindowARotationWaitsForTheNextTime(t *testing.T) {
	began := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	set := vaultSettings()
	set.TTL, set.Schedule, set.Window = 15*time.Minute, cronSchedule(t, "0 3 * * *"), time.Hour
	for name, c := range map[string]struct{ back, want time.Duration }{
		"in time":                            {2 * time.Hour, 3 * time.Hour},
		"late, in the window":                {3*time.Hour + 10*time.Minute, 3*time.Hour + 25*time.Minute + HandOutMargin},
		"too late for the leases to be over": {3*time.Hour + 50*time.Minute, 27 * time.Hour},
		"after the window":                   {5 * time.Hour, 27 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			s := simulate(t, set, began)
			s.settle()
			s.now, s.readAt = began.Add(c.back), began.Add(c.back) // Vault was down until then
			s.since = s.now
			s.until(began.Add(30 * time.Hour))
			require.NotEmpty(t, s.took)
			assert.Equal(t, began.Add(c.want), s.took[0])
		})
	}
	// without a window it is made up for as soon as leases allow
	set.Window = 0
	s := simulate(t, set, began)
	s.now, s.readAt = began.Add(5*time.Hour), began.Add(5*time.Hour)
	s.until(began.Add(6 * time.Hour))
	assert.Equal(t, []time.Time{began.Add(5*time.Hour + 15*time.Minute + HandOutMargin)}, s.took)
}

// TestStagedRotationThatMissesItsWindowWaits: Auth0 was down for the whole of
// it. The staged secret stays served.
func TestStagedRotationThatMissesItsWindowWaits(t *testing.T) {
	began := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	set := vaultSettings()
	set.TTL, set.Schedule, set.Window = 15*time.Minute, cronSchedule(t, "0 3 * * *"), time.Hour
	st := record{Current: &version{Number: 1, Value: "one"}, LastRotation: began, Cause: bySchedule}.
		staged(set, "two", began.Add(2*time.Hour))
	clk := Clock{Now: began.Add(3*time.Hour + 59*time.Minute), Since: began}
	assert.Equal(t, doSet, decide(set, st, clk).action)
	clk.Now = began.Add(4 * time.Hour)
	d := decide(set, st, clk)
	assert.Equal(t, doNothing, d.action)
	assert.Equal(t, began.Add(27*time.Hour), d.wake)
	assert.Len(t, d.served(), 2)
	// asked for by hand it does not wait
	byHand := record{Current: st.Current, LastRotation: began}.asked(Ask{By: Operator}).staged(set, "two", began)
	assert.Equal(t, doSet, decide(set, byHand, clk).action)
}

// TestClockStepsDoNotShortenStaging: the wall clock jumps ahead while a
// scheduled rotation is staged; the leases' time goes by the monotonic clock.
func TestClockStepsDoNotShortenStaging(t *testing.T) {
	set := vaultSettings()
	set.TTL, set.Period = time.Hour, 3*time.Hour
	served := time.Now() // with a monotonic reading
	st := record{Current: &version{Number: 1, Value: "one"}, LastRotation: served.Add(-3 * time.Hour).Round(0), Cause: bySchedule}.
		staged(set, "two", served.Round(0))
	stepped := served.Add(30 * time.Minute) // by the monotonic clock
	clk := Clock{Now: stepped, Since: served}
	assert.Equal(t, doNothing, decide(set, st, clk).action)
	// what the wall clock says has no say in it: an earlier LastRotation is the
	// same as a step ahead of the schedule's clock
	st.LastRotation = st.LastRotation.Add(-100 * time.Hour)
	assert.Equal(t, doNothing, decide(set, st, clk).action)
	clk.Now = served.Add(time.Hour + HandOutMargin)
	assert.Equal(t, doSet, decide(set, st, clk).action)
}

func TestPauseHoldsWhatTheScheduleBegan(t *testing.T) {
	set := vaultSettings()
	set.Period = time.Hour
	scheduled := steadyState().staged(set, "two", epoch.Add(58*time.Minute))
	scheduled.Cause = bySchedule
	set.Paused = true
	d := decide(set, scheduled, at(100*time.Hour))
	assert.Equal(t, doNothing, d.action)
	assert.True(t, d.wake.IsZero())
	assert.Equal(t, doSet, decide(set, scheduled.asked(Ask{By: Operator, Force: true}), at(100*time.Hour)).action, "by hand it goes on")
	assert.Equal(t, doNothing, decide(set, steadyState(), at(100*time.Hour)).action)
	byHand := steadyState().asked(Ask{By: Operator}).staged(set, "two", epoch)
	assert.Equal(t, doSet, decide(set, byHand, at(time.Hour)).action)
	set.Paused = false
	assert.Equal(t, doSet, decide(set, scheduled, at(100*time.Hour)).action)
	// a schedule that is taken away leaves what it began to end at its leases' end
	set.Period = 0
	assert.Equal(t, doSet, decide(set, scheduled, at(100*time.Hour)).action)
}

// TestSimulatedSchedulesAtRandom: any schedule, ttl and outages; the reader is
// never wrong (checked at every step).
func TestSimulatedSchedulesAtRandom(t *testing.T) {
	t.Parallel()
	expressions := []string{"*/30 * * * *", "0 * * * *", "7 3 * * *", "0 3 * * MON-FRI", "0 0 28-31 * *"}
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		set := vaultSettings()
		set.TTL = time.Duration(10+random.IntN(800)) * time.Second
		set.Schedule = cronSchedule(t, expressions[random.IntN(len(expressions))])
		if random.IntN(2) == 0 {
			set.Window = time.Duration(1+random.IntN(3)) * time.Hour
		}
		s := simulate(t, set, epoch)
		for range 10 {
			s.until(s.now.Add(time.Duration(random.IntN(72)) * time.Hour))
			s.now = s.now.Add(time.Duration(random.IntN(10000)) * time.Second) // an outage
			s.since, s.readAt = s.now, s.now
			s.settle()
			s.read()
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
