package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeTarget is a target whose storage and Auth0 are in memory. It writes down what
// is done to it.
type fakeTarget struct {
	t   *testing.T
	set Settings
	clk Clock

	stored []byte   // the state, as it is durable
	log    []string // what was done, in order
	saves  []record // what was saved
	made   int      // secrets that were generated

	answers []Outcome                        // of Send, in turn; afterwards it accepts
	onSend  func(request Request)            // before the answer
	onSave  func(number int, r record) error // instead of saving; number counts from 1
	onLoad  func() error                     // instead of loading
	onProof func(secret Secret) error        // the outcome of the proof
	onMake  func() (Secret, error)           // instead of generating
}

func newTarget(t *testing.T, set Settings, r record) *fakeTarget {
	t.Helper()
	f := &fakeTarget{t: t, set: set, clk: at(0)}
	f.store(r)
	return f
}

func (f *fakeTarget) store(r record) {
	f.t.Helper()
	data, err := json.Marshal(State{r})
	require.NoError(f.t, err)
	f.stored = data
}

// state is what a process that starts now would read.
func (f *fakeTarget) state() record {
	f.t.Helper()
	var st State
	require.NoError(f.t, json.Unmarshal(f.stored, &st))
	return st.r
}

func (f *fakeTarget) Load(ctx context.Context) (Settings, State, error) {
	if f.onLoad != nil {
		if err := f.onLoad(); err != nil {
			return Settings{}, State{}, err
		}
	}
	return f.set, State{f.state()}, ctx.Err()
}

func (f *fakeTarget) Clock() Clock { return f.clk }

func (f *fakeTarget) Save(ctx context.Context, s State) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.log = append(f.log, "save")
	f.saves = append(f.saves, s.r)
	if f.onSave != nil {
		if err := f.onSave(len(f.saves), s.r); err != nil {
			return err
		}
	}
	before := f.state()
	f.store(s.r)
	if s.r.Next != nil && (before.Next == nil || before.Next.Value != s.r.Next.Value) {
		f.clk.Since = f.clk.Now // as the engine does when a secret is staged
	}
	return nil
}

func (f *fakeTarget) Generate(context.Context) (Secret, error) {
	f.log = append(f.log, "generate")
	if f.onMake != nil {
		return f.onMake()
	}
	f.made++
	return Secret(fmt.Sprint("own", f.made)), nil
}

func (f *fakeTarget) Send(_ context.Context, request Request) Outcome {
	f.log = append(f.log, fmt.Sprintf("%s %s", map[RequestKind]string{Set: "set", Make: "make", ReadBack: "read back"}[request.Kind], string(request.Secret)))
	if f.onSend != nil {
		f.onSend(request)
	}
	if len(f.answers) > 0 {
		answer := f.answers[0]
		f.answers = f.answers[1:]
		return answer
	}
	if request.Kind == Set {
		return Outcome{Result: Accepted, Secret: request.Secret}
	}
	return Outcome{Result: Accepted, Secret: "auth0's"}
}

func (f *fakeTarget) Prove(_ context.Context, secret Secret) error {
	f.log = append(f.log, "prove "+string(secret))
	if f.onProof != nil {
		return f.onProof(secret)
	}
	return nil
}

// run runs at a time, without an error.
func (f *fakeTarget) run(when time.Duration, ask Ask) (wake time.Time) {
	f.t.Helper()
	f.clk.Now = epoch.Add(when)
	wake, err := Run(context.Background(), f, ask)
	require.NoError(f.t, err)
	return wake
}

// runByWakes runs, and goes on whenever it says so, until it says no more.
func (f *fakeTarget) runByWakes(ask Ask) {
	f.t.Helper()
	for range 20 {
		wake := f.run(f.clk.Now.Sub(epoch), ask)
		ask = Ask{}
		if wake.IsZero() {
			return
		}
		require.True(f.t, wake.After(f.clk.Now), "or it would be a loop")
		f.clk.Now = wake
	}
	require.Fail(f.t, "it does not come to rest")
}

var errNo = errors.New("no")

func TestARotationGoesFromWakeToWake(t *testing.T) {
	f := newTarget(t, vaultSettings(), steadyState())
	ready := f.set.TTL + HandOutMargin
	assert.Equal(t, epoch.Add(ready), f.run(0, byHand(false)))
	assert.Equal(t, []string{"one", "own1"}, served(f.state()))
	assert.Equal(t, epoch.Add(ready), f.run(time.Second, Ask{}), "nothing changes meanwhile")
	assert.Equal(t, epoch.Add(ready+f.set.PropagationDelay), f.run(ready, Ask{}))
	assert.Equal(t, []string{"own1", "one"}, served(f.state()))
	assert.True(t, f.run(ready+f.set.PropagationDelay, Ask{}).IsZero())
	assert.Equal(t, []string{"generate", "save", "save", "set own1", "prove own1", "save"}, f.log)
}

// TestARotationCostsThreeWritesAtMost: to the store of a large mount they are dear.
func TestARotationCostsThreeWritesAtMost(t *testing.T) {
	hourly := func(set Settings) Settings {
		set.Period = time.Hour
		return set
	}
	for name, c := range map[string]struct {
		set    Settings
		ask    Ask
		writes int
	}{
		"staged":              {vaultSettings(), byHand(false), 3},
		"staged, bulk":        {vaultSettings(), Ask{By: BulkRotation, Bulk: 1}, 3},
		"forced":              {vaultSettings(), byHand(true), 2},
		"by Auth0":            {auth0Settings(), byHand(false), 2},
		"by Auth0, forced":    {auth0Settings(), byHand(true), 2},
		"the engine's own":    {engineSettings(), byHand(false), 2},
		"by schedule, staged": {hourly(vaultSettings()), Ask{}, 3},
		"by schedule, Auth0":  {hourly(auth0Settings()), Ask{}, 2},
	} {
		f := newTarget(t, after(c.set, c.ask.Bulk), steadyState())
		for wake := f.run(0, c.ask); f.state().number() == 1; {
			f.clk.Now = wake
			wake = f.run(wake.Sub(epoch), Ask{})
		}
		assert.Len(t, f.saves, c.writes, name)
		end := f.state().FallbackUntil
		require.False(t, end.IsZero(), name)
		f.run(end.Sub(epoch)-time.Nanosecond, Ask{})
		f.run(end.Sub(epoch), Ask{})
		f.run(end.Sub(epoch)+time.Minute, Ask{})
		assert.Len(t, f.saves, c.writes, "%s: the end of the fallback follows from what is stored", name)
		secrets, _ := State{f.state()}.Served(f.clk)
		assert.Len(t, secrets, 1, name)
	}
}

func TestWhatHasNotChangedIsNotWritten(t *testing.T) {
	set := vaultSettings()
	set.Period = time.Hour
	staged := stagedState(set, bySchedule)
	limited := onRecord(t, set, staged, time.Hour).failed(set, ended(Unclear), true, at(time.Hour))
	for name, st := range map[string]record{
		"steady": steadyState(), "staged": staged, "propagating": staged.accepted(set, "two", epoch), "waits for a retry": limited,
	} {
		f := newTarget(t, set, st)
		f.clk.Now = epoch.Add(time.Hour)
		if name != "waits for a retry" {
			f.clk.Now = epoch.Add(time.Second)
		}
		wake := f.run(f.clk.Now.Sub(epoch), Ask{})
		assert.True(t, wake.After(f.clk.Now), name)
		assert.Empty(t, f.log, name)
	}
	// but what lies ahead is put right, once
	ahead := steadyState()
	ahead.LastRotation = epoch.Add(year)
	f := newTarget(t, set, ahead)
	f.run(0, Ask{})
	require.Len(t, f.saves, 1)
	assert.Equal(t, epoch, f.state().LastRotation)
	f.run(time.Second, Ask{})
	assert.Len(t, f.saves, 1)
}

// TestWhatAnAttemptRestsOnIsDurableBeforeItIsSent: a crash at any point loses nothing.
func TestWhatAnAttemptRestsOnIsDurableBeforeItIsSent(t *testing.T) {
	for name, set := range everySource() {
		for _, force := range []bool{false, true} {
			f := newTarget(t, set, steadyState())
			sends := 0
			f.onSend = func(request Request) {
				sends++
				st := f.state()
				assert.Equal(t, sent, st.Attempt, name)
				assert.Equal(t, byOperator, st.Cause, name)
				assert.True(t, State{st}.Unsettled(), name)
				if request.Kind == Set {
					require.NotNil(t, st.Next, name)
					assert.Equal(t, string(request.Secret), string(st.Next.Value), name)
					assert.Contains(t, served(st), string(request.Secret), name)
				}
				assert.Equal(t, "one", string(st.Current.Value), name)
			}
			f.runByWakes(byHand(force))
			assert.Equal(t, 1, sends, name)
			assert.Equal(t, 2, f.state().number(), name)
		}
	}
}

func TestARequestSaysWhatIsToBeDone(t *testing.T) {
	f := newTarget(t, auth0Settings(), steadyState())
	f.answers = []Outcome{ended(Unclear), ended(Refused), {Result: Found, Secret: "found"}}
	_, err := Run(context.Background(), f, byHand(false))
	require.Error(t, err)
	for range 2 {
		f.clk.Now = f.clk.Now.Add(time.Hour)
		_, _ = Run(context.Background(), f, Ask{})
	}
	assert.Equal(t, []string{"save", "make one", "save", "save", "read back one", "save", "save", "read back one", "save"}, f.log,
		"each read-back is told of the secret from before")
	assert.Equal(t, &version{Number: 2, Value: "found"}, f.state().Current)

	// where none is known there is none from before
	f = newTarget(t, auth0Settings(), Unknown(epoch).r)
	f.answers = []Outcome{ended(Unclear)}
	_, err = Run(context.Background(), f, Ask{})
	require.Error(t, err)
	f.run(time.Hour, Ask{})
	assert.Equal(t, []string{"save", "make ", "save", "save", "read back ", "save"}, f.log)
	assert.Equal(t, []string{"auth0's"}, served(f.state()))
}

// TestAnAskIsTakenOnce: one rotation for each, and it is stored if it has to wait.
func TestAnAskIsTakenOnce(t *testing.T) {
	f := newTarget(t, engineSettings(), steadyState())
	f.set.PropagationDelay = 0
	assert.True(t, f.run(0, byHand(true)).IsZero())
	assert.Equal(t, 2, f.state().number())
	assert.Equal(t, byNobody, f.state().Cause)

	f = newTarget(t, vaultSettings(), steadyState().accepted(vaultSettings(), "two", epoch))
	assert.Equal(t, epoch.Add(30*time.Second), f.run(0, byHand(false)))
	assert.Equal(t, []string{"save"}, f.log)
	assert.Equal(t, byOperator, f.state().Cause)
	f.runByWakes(Ask{})
	assert.Equal(t, 3, f.state().number())
}

// TestAnAskThatIsOnlyPutOnRecordChangesNoSecret: the next run does.
func TestAnAskThatIsOnlyPutOnRecordChangesNoSecret(t *testing.T) {
	for name, set := range everySource() {
		for _, force := range []bool{false, true} {
			before := steadyState()
			asked := State{before}.Asked(Ask{By: BulkRotation, Bulk: 1, Force: force})
			assert.True(t, asked.Carries(1), name)
			assert.False(t, asked.Done(1), name)
			assert.False(t, asked.Unsettled(), name)
			assert.Equal(t, State{before}.Current(), asked.Current(), name)
			f := newTarget(t, after(set, 1), asked.r)
			assert.Equal(t, force, asked.View(f.set, f.clk).Forced, name)
			_, ok := asked.CalledOff(1)
			assert.True(t, ok, name)
			f.runByWakes(Ask{})
			assert.Equal(t, 2, f.state().number(), name)
			assert.True(t, State{f.state()}.Done(1), name)
		}
	}
	// an attempt that may be live stays one
	st := stagedState(vaultSettings(), byOperator)
	st.Attempt, st.RetryAt = unclear, epoch.Add(time.Hour)
	asked := State{st}.Asked(Ask{By: BulkRotation, Bulk: 1})
	assert.True(t, asked.Unsettled())
	assert.Equal(t, State{st}.Next(), asked.Next())
}

// TestARepeatedAttemptNeedsStorageThatCanBeWritten: or Auth0 would be asked again and
// again, and nobody would know what came of it.
func TestARepeatedAttemptNeedsStorageThatCanBeWritten(t *testing.T) {
	next := stagedState(vaultSettings(), byOperator)
	next.Attempt = unclear
	made := steadyState()
	made.Cause, made.Attempt = byOperator, sent
	for source, st := range map[Source]record{Vault: next, Auth0: made} {
		settings := vaultSettings()
		settings.Source = source
		f := newTarget(t, settings, st)
		f.onSave = func(int, record) error { return errNo }
		wake, err := Run(context.Background(), f, Ask{})
		assert.ErrorIs(t, err, errNo)
		assert.True(t, wake.IsZero())
		assert.Equal(t, []string{"save"}, f.log)
	}
}

func TestASecretThatAuth0HasAcceptedIsProvenBeforeItCounts(t *testing.T) {
	f := newTarget(t, engineSettings(), steadyState())
	f.onProof = func(secret Secret) error {
		assert.Equal(t, "own1", string(secret))
		st := f.state()
		assert.Equal(t, sent, st.Attempt)
		assert.Equal(t, "one", string(st.Current.Value))
		return nil
	}
	f.run(0, byHand(false))
	assert.Equal(t, []string{"generate", "save", "set own1", "prove own1", "save"}, f.log)

	// an error says nothing of whether it works
	f = newTarget(t, engineSettings(), steadyState())
	f.onProof = func(Secret) error { return errNo }
	wake, err := Run(context.Background(), f, byHand(false))
	assert.ErrorIs(t, err, errNo)
	assert.Equal(t, epoch.Add(backoffMin), wake)
	st := f.state()
	assert.Equal(t, unclear, st.Attempt)
	assert.Equal(t, "own1", string(st.Next.Value))
	assert.Equal(t, "one", string(st.Current.Value))
	assert.Equal(t, "no", st.LastError)
	f.onProof = nil
	f.run(time.Hour, Ask{})
	assert.Equal(t, "own1", string(f.state().Current.Value))

	// what Auth0 has not accepted, or has made itself, there is nothing to prove of
	for _, result := range []Result{Unclear, Refused, Rejected, Limited, NotSent} {
		f = newTarget(t, engineSettings(), steadyState())
		f.answers = []Outcome{ended(result)}
		_, err = Run(context.Background(), f, byHand(false))
		assert.Error(t, err)
		assert.NotContains(t, f.log, "prove own1", result)
	}
	f = newTarget(t, auth0Settings(), steadyState())
	f.run(0, byHand(false))
	assert.Equal(t, []string{"save", "make one", "save"}, f.log)
}

// TestTheFirstAttemptIsTheOneThatNothingIsKnownBefore: what was on record when the
// run began was sent before a crash, maybe.
func TestTheFirstAttemptIsTheOneThatNothingIsKnownBefore(t *testing.T) {
	for _, how := range []attempt{notBegun, sent, unclear} {
		for _, result := range []Result{Refused, Rejected, Limited, NotSent} {
			st := stagedState(vaultSettings(), byOperator)
			st.Attempt = how
			f := newTarget(t, vaultSettings(), st)
			f.clk.Now = epoch.Add(time.Hour)
			f.answers = []Outcome{ended(result)}
			_, err := Run(context.Background(), f, Ask{})
			assert.ErrorContains(t, err, "no")
			after := f.state()
			switch result {
			case Rejected:
				assert.Nil(t, after.Next)
				assert.Equal(t, how != notBegun, State{after}.Holds("two"), "%s", how)
			default:
				assert.Equal(t, how, after.Attempt, "%s %d", how, result)
				assert.Equal(t, "two", string(after.Next.Value))
			}
		}
	}
	// a request ends the wait, not the doubt
	st := stagedState(vaultSettings(), byOperator)
	st.Attempt, st.RetryAt = unclear, epoch.Add(time.Hour)
	f := newTarget(t, vaultSettings(), st)
	f.answers = []Outcome{ended(Rejected)}
	_, err := Run(context.Background(), f, byHand(true))
	assert.Error(t, err)
	assert.True(t, State{f.state()}.Holds("two"))
}

func TestAFailureIsStoredAndWaitedOut(t *testing.T) {
	f := newTarget(t, vaultSettings(), steadyState())
	f.answers = []Outcome{{Result: Limited, Err: errNo, RetryAfter: 7 * time.Second}}
	wake, err := Run(context.Background(), f, byHand(true))
	assert.ErrorIs(t, err, errNo)
	assert.Equal(t, epoch.Add(7*time.Second), wake)
	assert.Equal(t, wake, f.state().RetryAt)
	f.log = nil
	assert.Equal(t, wake, f.run(6*time.Second, Ask{}))
	assert.Empty(t, f.log)
	f.run(7*time.Second, Ask{})
	assert.Equal(t, []string{"own1", "one"}, served(f.state()))
	assert.Empty(t, f.state().LastError)
}

func TestASecretThatCannotBeMadeIsAFailure(t *testing.T) {
	for _, ask := range []Ask{byHand(false), byHand(true), {}} {
		set := vaultSettings()
		set.Period = time.Hour
		f := newTarget(t, set, steadyState())
		f.clk.Now = epoch.Add(time.Hour)
		f.clk.Jitter = 0.5
		f.onMake = func() (Secret, error) { return "", errNo }
		wake, err := Run(context.Background(), f, ask)
		assert.ErrorIs(t, err, errNo)
		assert.Equal(t, epoch.Add(time.Hour+backoffMin), wake)
		st := f.state()
		assert.Equal(t, "no", st.LastError)
		assert.Equal(t, 1, st.Failures)
		assert.Equal(t, notBegun, st.Attempt)
		assert.Equal(t, ask.Force, st.Force)
		assert.Equal(t, []string{"generate", "save"}, f.log)
		assert.Equal(t, wake, f.run(time.Hour+backoffMin-time.Nanosecond, Ask{}), "waited out")
		assert.Equal(t, []string{"generate", "save"}, f.log)
		f.onMake = nil
		f.run(time.Hour+backoffMin, Ask{})
		assert.Equal(t, []string{"generate", "save", "generate", "save"}, f.log[:4])
	}
}

// TestAHiddenSecretIsReplacedInTheSameRun: nobody can log in meanwhile.
func TestAHiddenSecretIsReplacedInTheSameRun(t *testing.T) {
	f := newTarget(t, auth0Settings(), steadyState())
	f.answers = []Outcome{{Result: Hidden}}
	assert.Equal(t, epoch.Add(f.set.PropagationDelay), f.run(0, byHand(false)))
	assert.Equal(t, []string{"save", "make one", "save", "generate", "save", "set own1", "prove own1", "save"}, f.log)
	assert.Equal(t, []string{"own1", "one"}, served(f.state()))
	require.Len(t, f.saves, 4)
	assert.True(t, f.saves[1].Hidden)
	assert.Equal(t, notBegun, f.saves[1].Attempt)
}

// TestABulkRotationGoesOnByItself: what was staged before it is set, and replaced
// once more.
func TestABulkRotationGoesOnByItself(t *testing.T) {
	for _, force := range []bool{false, true} {
		f := newTarget(t, after(vaultSettings(), 1), stagedState(vaultSettings(), bySchedule))
		f.runByWakes(inBulk(1, force))
		assert.Equal(t, 3, f.state().number())
		assert.True(t, State{f.state()}.Done(1))
		assert.Equal(t, byNobody, f.state().Cause)
	}
}

// TestWhatCannotBeStoredIsNotActedUpon, and is returned with no time at which it
// would go on.
func TestWhatCannotBeStoredIsNotActedUpon(t *testing.T) {
	want := [][]string{
		{"generate", "save"},
		{"generate", "save", "save"},
		{"generate", "save", "save", "set own1", "prove own1", "save"},
	}
	for i, log := range want {
		f := newTarget(t, vaultSettings(), steadyState())
		f.onSave = func(number int, _ record) error {
			if number == i+1 {
				return errNo
			}
			return nil
		}
		var err error
		wake := epoch
		ask := byHand(false)
		for err == nil && !wake.IsZero() {
			f.clk.Now = wake
			wake, err = Run(context.Background(), f, ask)
			ask = Ask{}
		}
		assert.ErrorIs(t, err, errNo)
		assert.True(t, wake.IsZero())
		assert.Equal(t, log, f.log)
	}
	// nor is the failure of an attempt lost with it
	f := newTarget(t, vaultSettings(), stagedState(vaultSettings(), byOperator))
	f.clk.Now = epoch.Add(time.Hour)
	refused := errors.New("refused")
	f.answers = []Outcome{{Result: Refused, Err: refused}}
	f.onSave = func(number int, _ record) error {
		if number == 2 {
			return errNo
		}
		return nil
	}
	wake, err := Run(context.Background(), f, Ask{})
	assert.True(t, wake.IsZero())
	assert.ErrorIs(t, err, errNo)
	assert.ErrorIs(t, err, refused)
	assert.Equal(t, sent, f.state().Attempt, "it is found as after a crash")

	f = newTarget(t, vaultSettings(), steadyState())
	f.onMake = func() (Secret, error) { return "", refused }
	f.onSave = func(int, record) error { return errNo }
	wake, err = Run(context.Background(), f, byHand(false))
	assert.True(t, wake.IsZero())
	assert.ErrorIs(t, err, errNo)
	assert.ErrorIs(t, err, refused)
}

func TestWhatCannotBeLoadedIsNotActedUpon(t *testing.T) {
	f := newTarget(t, vaultSettings(), steadyState())
	f.onLoad = func() error { return errNo }
	wake, err := Run(context.Background(), f, byHand(true))
	assert.ErrorIs(t, err, errNo)
	assert.True(t, wake.IsZero())
	assert.Empty(t, f.log)
}

// TestAnOutcomeIsStoredThoughTheTimeIsUp: it is known, and would be in doubt.
func TestAnOutcomeIsStoredThoughTheTimeIsUp(t *testing.T) {
	for name, c := range map[string]struct {
		set    Settings
		answer Outcome
		check  func(st record) bool
	}{
		"accepted": {engineSettings(), Outcome{Result: Accepted, Secret: "own1"}, func(st record) bool { return st.Current.Value == "own1" }},
		"made":     {auth0Settings(), Outcome{Result: Accepted, Secret: "made"}, func(st record) bool { return st.Current.Value == "made" }},
		"found":    {auth0Settings(), Outcome{Result: Found, Secret: "found"}, func(st record) bool { return st.Current.Value == "found" }},
		"hidden":   {auth0Settings(), Outcome{Result: Hidden}, func(st record) bool { return st.Hidden }},
		"refused":  {auth0Settings(), ended(Refused), func(st record) bool { return st.Attempt == notBegun && st.LastError == "no" }},
		"unclear":  {auth0Settings(), ended(Unclear), func(st record) bool { return st.Attempt == unclear }},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		f := newTarget(t, c.set, steadyState())
		f.answers = []Outcome{c.answer}
		f.onSend = func(Request) { cancel() }
		_, err := Run(ctx, f, byHand(false))
		assert.Error(t, err, name)
		assert.True(t, c.check(f.state()), name)
		assert.Len(t, f.saves, 2, "%s: nothing is begun after that", name)
	}
}

// TestTheStoringOfAnOutcomeEnds, whatever storage does.
func TestTheStoringOfAnOutcomeEnds(t *testing.T) {
	f := &patient{fakeTarget: newTarget(t, engineSettings(), steadyState())}
	_, err := Run(context.Background(), f, byHand(false))
	require.NoError(t, err)
	require.Len(t, f.patience, 2)
	assert.Zero(t, f.patience[0], "before it is sent the caller says how long")
	assert.LessOrEqual(t, f.patience[1], storePatience)
	assert.Greater(t, f.patience[1], storePatience/2)
}

// patient is a target that notes how much time it has to save.
type patient struct {
	*fakeTarget
	patience []time.Duration
}

func (p *patient) Save(ctx context.Context, s State) error {
	var left time.Duration
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	p.patience = append(p.patience, left)
	return p.fakeTarget.Save(ctx, s)
}
