package auth0secrets

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/rotation"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func cronSchedule(t *testing.T, expression string) schedule {
	t.Helper()
	parsed, err := rotation.DefaultScheduler.Parse(expression)
	require.NoError(t, err)
	return parsed
}

// simulation runs one role by the state machine alone, from one wake-up to the
// next, with a reader that goes by ttl and never reads earlier.
type simulation struct {
	t        *testing.T
	set      rotationSettings
	state    rotationState
	now      time.Time
	since    time.Time // serving since
	accepted sensitive
	took     []time.Time // when Auth0 got a secret
	held     []secretVersion
	readAt   time.Time
}

func simulate(t *testing.T, set rotationSettings, began time.Time) *simulation {
	t.Helper()
	set.ScheduledFrom = began
	return &simulation{
		t: t, set: set, now: began, since: began, accepted: "1", readAt: began,
		state: rotationState{Current: &secretVersion{Version: 1, Value: "1"}, LastRotation: began},
	}
}

func (s *simulation) clock() rotationClock { return rotationClock{Now: s.now, ServingSince: s.since} }

// settle takes decisions until there is nothing to do, and returns the wake-up.
func (s *simulation) settle() time.Time {
	for {
		d := decideRotation(s.set, s.state, s.clock())
		s.state = d.State
		switch d.Action {
		case actionNone:
			return d.Wake
		case actionGenerateSecret:
			s.state = s.state.staged(s.set, sensitive(s.now.String()), s.now)
			s.since = s.now
		case actionSetSecret:
			s.accepted = s.state.Next.Value
			s.took = append(s.took, s.now)
			s.state = s.state.accepted(s.set, s.accepted, s.now)
		default:
			s.t.Fatalf("action %d", d.Action)
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
		if left, planned := s.state.untilSetChanges(s.set, s.clock()); planned {
			ttl = min(ttl, left)
		}
		ttl = max(ttl, time.Second).Truncate(time.Second)
		require.LessOrEqual(s.t, ttl, s.set.TTL)
		s.held, s.readAt = s.state.servedSecrets(), s.now.Add(ttl)
	}
	for _, secret := range s.held {
		if secret.Value == s.accepted {
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
		"late, in the window":                {3*time.Hour + 10*time.Minute, 3*time.Hour + 25*time.Minute + handOutMargin},
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
	assert.Equal(t, []time.Time{began.Add(5*time.Hour + 15*time.Minute + handOutMargin)}, s.took)
}

// TestStagedRotationThatMissesItsWindowWaits: Auth0 was down for the whole of
// it. The staged secret stays served.
func TestStagedRotationThatMissesItsWindowWaits(t *testing.T) {
	began := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	set := vaultSettings()
	set.TTL, set.Schedule, set.Window = 15*time.Minute, cronSchedule(t, "0 3 * * *"), time.Hour
	st := rotationState{Current: &secretVersion{Version: 1, Value: "one"}, LastRotation: began}.
		staged(set, "two", began.Add(2*time.Hour))
	clk := rotationClock{Now: began.Add(3*time.Hour + 59*time.Minute), ServingSince: began}
	assert.Equal(t, actionSetSecret, decideRotation(set, st, clk).Action)
	clk.Now = began.Add(4 * time.Hour)
	d := decideRotation(set, st, clk)
	assert.Equal(t, actionNone, d.Action)
	assert.Equal(t, began.Add(27*time.Hour), d.Wake)
	assert.Len(t, d.State.servedSecrets(), 2)
	// asked for by hand it does not wait
	byHand := rotationState{Current: st.Current, LastRotation: began}.requested(false).staged(set, "two", began)
	assert.Equal(t, actionSetSecret, decideRotation(set, byHand, clk).Action)
}

// TestClockStepsDoNotShortenStaging: the wall clock jumps ahead while a
// scheduled rotation is staged; the leases' time goes by the monotonic clock.
func TestClockStepsDoNotShortenStaging(t *testing.T) {
	set := vaultSettings()
	set.TTL, set.RotationPeriod = time.Hour, 3*time.Hour
	served := time.Now() // with a monotonic reading
	st := rotationState{Current: &secretVersion{Version: 1, Value: "one"}, LastRotation: served.Add(-3 * time.Hour).Round(0)}.
		staged(set, "two", served.Round(0))
	stepped := served.Add(30 * time.Minute) // by the monotonic clock
	clk := rotationClock{Now: stepped, ServingSince: served}
	assert.Equal(t, actionNone, decideRotation(set, st, clk).Action)
	// what the wall clock says has no say in it: an earlier LastRotation is the
	// same as a step ahead of the schedule's clock
	st.LastRotation = st.LastRotation.Add(-100 * time.Hour)
	assert.Equal(t, actionNone, decideRotation(set, st, clk).Action)
	clk.Now = served.Add(time.Hour + handOutMargin)
	assert.Equal(t, actionSetSecret, decideRotation(set, st, clk).Action)
}

func TestPauseHoldsWhatTheScheduleBegan(t *testing.T) {
	set := vaultSettings()
	set.RotationPeriod = time.Hour
	scheduled := steadyState().staged(set, "two", epoch.Add(58*time.Minute))
	set.Paused = true
	d := decideRotation(set, scheduled, at(100*time.Hour))
	assert.Equal(t, actionNone, d.Action)
	assert.True(t, d.Wake.IsZero())
	assert.Equal(t, actionSetSecret, decideRotation(set, scheduled.requested(true), at(100*time.Hour)).Action, "by hand it goes on")
	assert.Equal(t, actionNone, decideRotation(set, steadyState(), at(100*time.Hour)).Action)
	byHand := steadyState().requested(false).staged(set, "two", epoch)
	assert.Equal(t, actionSetSecret, decideRotation(set, byHand, at(time.Hour)).Action)
	set.Paused = false
	assert.Equal(t, actionSetSecret, decideRotation(set, scheduled, at(100*time.Hour)).Action)
	// a schedule that is taken away leaves what it began to end at its leases' end
	set.RotationPeriod = 0
	assert.Equal(t, actionSetSecret, decideRotation(set, scheduled, at(100*time.Hour)).Action)
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

func TestScheduledRoleEndToEnd(t *testing.T) {
	bubble(t, func(t *testing.T) { // the bubble's clock starts at midnight UTC, 2000-01-01
		env := minuteRole(t, map[string]any{fieldRotationSchedule: "0 3 * * *", fieldRotationWindow: "1h"})
		role := env.read("roles/app")
		assert.Equal(t, "2000-01-01T03:00:00Z", role[fieldNextVaultRotation])
		assert.Equal(t, "0 3 * * *", role[fieldRotationSchedule])
		assert.Equal(t, int64(3600), role[fieldRotationWindow])
		assert.Equal(t, int64(0), role[fieldRotationPeriod])
		creds := env.read("static-creds/app")
		assert.NotContains(t, creds, fieldRotationSchedule)
		assert.Equal(t, "0 3 * * *", env.read("creds/app")[fieldRotationSchedule])
		assert.Equal(t, int64(3*3600), creds[fieldRotationPeriod], "the present interval")
		sleep(3*time.Hour - time.Second)
		assert.Equal(t, "staged", env.read("roles/app")[fieldPhase])
		sleep(time.Second)
		assert.Equal(t, "settling", env.read("roles/app")[fieldPhase])
		assert.Equal(t, "2000-01-01T03:00:00Z", env.read("static-creds/app")[fieldLastVaultRotation])
		sleep(24 * time.Hour)
		assert.Equal(t, 2, env.auth0.count("set"))
		assert.Equal(t, int64(24*3600), env.read("static-creds/app")[fieldRotationPeriod])
	})
}

// TestNewScheduleNeverMakesARotationDue, however long ago the last one was.
func TestNewScheduleNeverMakesARotationDue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := minuteRole(t, nil)
		sleep(100 * time.Hour) // it is four in the morning
		env.write("roles/app", map[string]any{fieldRotationSchedule: "0 3 * * *"})
		assert.Equal(t, "2000-01-06T03:00:00Z", env.read("roles/app")[fieldNextVaultRotation])
		sleep(22 * time.Hour)
		env.write("roles/app", map[string]any{fieldRotationSchedule: "0 2 * * *", fieldTTL: 30})
		env.restart()
		sleep(23 * time.Hour)
		assert.Zero(t, env.auth0.count("set"))
		sleep(time.Hour)
		assert.Equal(t, 1, env.auth0.count("set"))
	})
}

func TestScheduleIsJudgedOnWhatIsStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := configuredEnv(t)
		write := func(text string, data map[string]any) {
			t.Helper()
			env.refused(400, text, logical.UpdateOperation, "roles/app", data)
		}
		env.write("roles/app", map[string]any{fieldClientID: testAppID, fieldRotationPeriod: "1h"})
		write("exclude each other", map[string]any{fieldRotationSchedule: "0 3 * * *"})
		write("is only for use with rotation_schedule", map[string]any{fieldRotationWindow: "1h"})
		write("is no cron expression", map[string]any{fieldRotationPeriod: 0, fieldRotationSchedule: "daily"})
		write("is no cron expression", map[string]any{fieldRotationPeriod: 0, fieldRotationSchedule: "0 0 3 * * *"})
		env.write("roles/app", map[string]any{fieldRotationPeriod: 0, fieldRotationSchedule: "0 3 * * *", fieldRotationWindow: "2h"})
		write("exclude each other", map[string]any{fieldRotationPeriod: "1h"})
		write("must be 3600 seconds or more", map[string]any{fieldRotationWindow: 60})
		write("has rotations 1m0s apart", map[string]any{fieldRotationSchedule: "* * * * *", fieldTTL: 60})
		write("is never due", map[string]any{fieldRotationSchedule: "0 0 30 2 *"})
		write("has rotations 24h0m0s apart", map[string]any{fieldTTL: "13h"})
		env.write("roles/app", map[string]any{fieldRotationSchedule: ""})
		role := env.read("roles/app")
		assert.Equal(t, int64(0), role[fieldRotationWindow])
		assert.NotContains(t, role, fieldNextVaultRotation)
	})
}

func TestDisabledRotationRestsAndGoesOn(t *testing.T) {
	for name, c := range map[string]struct{ path string }{"of the role": {"roles/app"}, "of the mount": {"config"}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				env := minuteRole(t, map[string]any{fieldRotationPeriod: "1h"})
				env.write(c.path, map[string]any{fieldDisableRotation: true})
				assert.Equal(t, true, env.read(c.path)[fieldDisableRotation])
				assert.NotContains(t, env.read("roles/app"), fieldNextVaultRotation)
				sleep(5 * time.Hour)
				assert.Equal(t, "steady", env.read("roles/app")[fieldPhase])
				env.restart()
				sleep(time.Hour)
				assert.Zero(t, env.auth0.count("set"))
				env.write("rotate/app", nil)
				sleep(2 * time.Minute)
				assert.Equal(t, 1, env.auth0.count("set"), "by hand it works")
				env.write(c.path, map[string]any{fieldDisableRotation: false})
				sleep(time.Hour)
				assert.Equal(t, 2, env.auth0.count("set"))
			})
		})
	}
}
