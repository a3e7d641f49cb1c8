package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// keyWorld is one application with its keys at Auth0, where everything fails at times:
// storage, requests before and after their effect, the process, the clocks of its nodes,
// and where somebody else changes the keys. Each promise is a check of its own.
type keyWorld struct {
	node
	forces  bool // operators force at times
	made    int
	enabled []Secret                 // what Auth0 accepts, somebody else's included
	from    map[Secret]time.Duration // when it was enabled
	bulkOf  map[Secret]int           // the last bulk rotation that was ordered when it was made
	taken   map[Secret]bool          // somebody else has removed it
	proven  Secret                   // Auth0 has said that it accepts it
	holders []keyHolder

	operator bool // one has asked for a rotation that has not been since
	bulk     int  // the last bulk rotation that was asked for
	forced   bool // what is under way was forced: it promises holders nothing
	switches int
}

// keyHolder can log in by a key until then, by the true time.
type keyHolder struct {
	key   Secret
	until time.Duration
}

// trueDelay is what a key takes to reach all of Auth0. No propagation_delay is shorter.
const trueDelay = 20 * time.Second

func newKeyWorld(t *testing.T, seed uint64) *keyWorld {
	t.Helper()
	w := &keyWorld{
		node: node{
			t: t, random: rand.New(rand.NewPCG(seed, 18)),
			set: Settings{TTL: 10 * time.Minute, Source: Vault, PropagationDelay: trueDelay, Exportable: seed%2 == 0},
		},
		forces: seed%3 == 0,
		from:   map[Secret]time.Duration{}, bulkOf: map[Secret]int{}, taken: map[Secret]bool{},
	}
	if seed%5 == 0 {
		w.enable("their first")
	}
	w.store(NoKey(w.Clock().Now))
	w.operator, w.forced = true, true // nobody holds anything yet
	return w
}

// store stores a state, as publish serves it then.
func (w *keyWorld) store(st State) {
	awaited := Secret("")
	if w.stored != nil {
		awaited = w.state().Awaited()
	}
	w.node.store(st)
	if now := st.Awaited(); now != "" && now != awaited {
		w.since = w.elapsed
	}
}

func (w *keyWorld) Generate(context.Context) (Secret, error) {
	if w.chance(10) {
		return "", errNo
	}
	w.made++
	key := Secret(fmt.Sprint("own", w.made))
	w.bulkOf[key] = w.set.Bulk
	return key, nil
}

func (w *keyWorld) Prove(context.Context, Secret) error { return nil }

func (w *keyWorld) Save(_ context.Context, st State) error {
	if w.chance(25) {
		return errCrash
	}
	before := w.state()
	if st.Next() != "" && before.Next() == "" {
		w.isWanted(before, w.set.PropagationDelay+HandOutMargin)
	}
	switched := st.Version() != before.Version() && st.Current() == before.Next()
	if switched {
		w.isReady(before)
		w.isWanted(before, 0)
	}
	w.store(st)
	if switched {
		w.operator, w.switches = false, w.switches+1
	}
	if !st.r.forced() && w.restsAt(st) {
		w.forced = false
	}
	w.check()
	if w.chance(25) {
		return errCrash // it was stored all the same
	}
	return nil
}

func (w *keyWorld) restsAt(st State) bool {
	view := st.View(w.set, w.Clock())
	return view.Phase == Steady && !view.UnderWay
}

// isWanted asks whether somebody has asked for a rotation, or its time has come.
func (w *keyWorld) isWanted(st State, ahead time.Duration) {
	if w.operator || w.bulk > 0 && !st.Done(w.bulk) || st.Next() != "" && st.r.doubtful() {
		return
	}
	require.False(w.t, w.set.Paused, "a rotation while paused")
	if w.set.Period > 0 {
		require.False(w.t, w.Clock().Now.Add(ahead).Before(st.LastRotation().Add(w.set.Period)), "a rotation before its time")
	} else {
		require.NotEmpty(w.t, st.Next(), "a rotation that nobody has asked for") // a schedule that was taken away leaves what has begun
	}
}

// isReady asks whether all of Auth0 accepts the next key or, with force, whether it was
// proven.
func (w *keyWorld) isReady(st State) {
	next := st.Next()
	at, enabled := w.from[next]
	switch {
	case w.taken[next]: // a moment ago
	case w.forced && w.proven == next:
	default:
		require.True(w.t, enabled, "a key that Auth0 does not have is served")
		require.GreaterOrEqual(w.t, w.elapsed, at+trueDelay, "a key is served before all of Auth0 has it")
	}
}

func ours(key Secret) bool { return strings.HasPrefix(string(key), "own") }

// enable has Auth0 accept a key. False: there is no room.
func (w *keyWorld) enable(key Secret) bool {
	if slices.Contains(w.enabled, key) {
		return true
	}
	if len(w.enabled) == 2 {
		return false
	}
	w.enabled = append(slices.Clone(w.enabled), key)
	w.from[key] = w.elapsed
	delete(w.taken, key)
	return true
}

func (w *keyWorld) disable(key Secret) {
	w.enabled = slices.DeleteFunc(slices.Clone(w.enabled), func(k Secret) bool { return k == key })
	delete(w.from, key)
}

// withoutHolders forgets who holds a key.
func (w *keyWorld) withoutHolders(key Secret) {
	w.holders = slices.DeleteFunc(slices.Clone(w.holders), func(h keyHolder) bool { return h.key == key })
}

func (w *keyWorld) Send(_ context.Context, request Request) Outcome {
	w.elapsed += time.Duration(w.random.IntN(10)) * time.Second
	w.check()
	if request.Kind != Confirm && w.chance(4) {
		result := []Result{Refused, Rejected, Limited, NotSent, Unclear}[w.random.IntN(5)]
		return Outcome{Result: result, Err: errNo, RetryAfter: 5 * time.Second}
	}
	outcome := Outcome{Result: Accepted, Secret: request.Secret}
	switch request.Kind {
	case Set:
		w.isThird(request.Secret)
		if !w.enable(request.Secret) {
			outcome = Outcome{Result: Refused, Err: errNo}
		}
	case Confirm:
		outcome = w.confirm(request.Secret)
	case Retire:
		switch {
		case !slices.Contains(w.enabled, request.Secret):
		case len(w.enabled) == 1:
			return Outcome{Result: Found}
		default:
			if w.forced {
				w.withoutHolders(request.Secret)
			}
			w.disable(request.Secret)
		}
	default:
		require.Fail(w.t, "what is that?")
	}
	w.check()
	switch {
	case w.chance(5):
		return Outcome{Result: Unclear, Err: errNo}
	case w.chance(10):
		panic(errCrash)
	}
	return outcome
}

// isThird asks whether a key comes beside two.
func (w *keyWorld) isThird(key Secret) {
	beside := slices.DeleteFunc(slices.Clone(w.enabled), func(k Secret) bool { return !ours(k) || k == key })
	require.LessOrEqual(w.t, len(beside), 1, "never more than two keys of ours")
}

func (w *keyWorld) confirm(key Secret) Outcome {
	switch {
	case w.chance(3):
		result := []Result{Limited, Unclear, NotSent, Untold, Untold}[w.random.IntN(5)]
		return Outcome{Result: result, Err: errNo, RetryAfter: 5 * time.Second}
	case !slices.Contains(w.enabled, key), w.chance(6): // or by a node that does not know it
		return Outcome{Result: Refused, Err: errNo}
	}
	w.proven = key
	return Outcome{Result: Accepted}
}

// check is what has to hold at each moment.
func (w *keyWorld) check() {
	st := w.state()
	for _, h := range w.holders {
		if w.elapsed < h.until {
			require.Contains(w.t, w.enabled, h.key, "a key that somebody may hold is enabled at Auth0")
		}
	}
	if current := st.Current(); current != "" && !w.taken[current] {
		require.Contains(w.t, w.enabled, current, "the key that is served is enabled")
	}
	for _, key := range w.enabled {
		if ours(key) {
			require.True(w.t, st.Holds(key), "no key of ours is left behind")
			if w.bulk > 0 && st.Done(w.bulk) {
				require.GreaterOrEqual(w.t, w.bulkOf[key], w.bulk, "a bulk rotation is done when Auth0 accepts no older key")
			}
		}
	}
}

func (w *keyWorld) run(ask Ask) (wake time.Time) {
	w.ask(ask)
	crashed := true
	defer func() {
		if crashed {
			if reason := recover(); reason != nil && reason != any(errCrash) {
				panic(reason)
			}
			w.restart()
		}
	}()
	wake, err := Run(context.Background(), w, ask)
	crashed = errors.Is(err, errCrash)
	w.check()
	return wake
}

func (w *keyWorld) ask(ask Ask) {
	w.operator = w.operator || ask.By == Operator
	w.forced = w.forced || ask.Force
	if ask.By == BulkRotation {
		w.bulk = ask.Bulk
	}
}

// restart goes on at a node with another clock.
func (w *keyWorld) restart() {
	w.since = w.elapsed
	w.ahead = time.Duration(w.random.IntN(3500)) * time.Second
	w.check()
}

// read gives somebody what is handed out.
func (w *keyWorld) read() {
	served, _ := w.state().Served(w.Clock())
	if len(served) == 0 {
		return
	}
	require.Len(w.t, served, 1)
	life := AssertionLifetime
	if w.set.Exportable {
		life = max(life, w.set.TTL)
	}
	if !w.taken[served[0]] {
		w.holders = append(w.holders, keyHolder{served[0], w.elapsed + life + HandOutMargin})
	}
}

// meddle is what somebody else does with the application's keys.
func (w *keyWorld) meddle() {
	switch i := w.random.IntN(4); {
	case i == 0 && len(w.enabled) > 0:
		key := w.enabled[w.random.IntN(len(w.enabled))]
		w.disable(key)
		w.withoutHolders(key)
		w.taken[key] = ours(key)
	case i == 1 && w.random.IntN(3) == 0:
		w.made++
		w.enable(Secret(fmt.Sprint("their ", w.made)))
	default:
		for _, key := range w.enabled {
			if !ours(key) {
				w.disable(key)
			}
		}
	}
}

// change changes settings, as the role's path does.
func (w *keyWorld) change() {
	switch w.random.IntN(5) {
	case 0:
		w.set.Paused = !w.set.Paused
	case 1:
		w.set.PropagationDelay = []time.Duration{trueDelay, 30 * time.Second, 5 * time.Minute}[w.random.IntN(3)]
	case 2:
		w.store(w.state().TTLChanged(w.set.TTL, w.Clock().Now))
		w.set.TTL = []time.Duration{time.Minute, 10 * time.Minute, time.Hour}[w.random.IntN(3)]
	case 3:
		if w.set.Exportable = !w.set.Exportable; w.set.Exportable {
			w.store(w.state().Exported())
		}
	case 4:
		w.set.Period = []time.Duration{0, 0, 20 * time.Minute}[w.random.IntN(3)]
	}
}

func (w *keyWorld) step(wake time.Time) time.Time {
	if left := wake.Sub(w.Clock().Now); !wake.IsZero() && left > 0 && w.random.IntN(2) == 0 {
		w.elapsed += left
	} else {
		w.elapsed += time.Duration(w.random.IntN(100)) * time.Second
	}
	w.check()
	switch w.random.IntN(16) {
	case 0:
		return w.run(byHand(w.forces && w.random.IntN(2) == 0))
	case 1:
		w.set.Bulk++
		ask := inBulk(w.set.Bulk, w.forces && w.random.IntN(2) == 0)
		if w.random.IntN(2) == 0 { // on record, to be begun by the next run
			w.ask(ask)
			w.store(w.state().Asked(ask))
			return w.Clock().Now
		}
		return w.run(ask)
	case 2:
		if off, ok := w.state().CalledOff(w.set.Bulk); ok {
			w.store(off)
			if w.bulk = 0; off.r.Cause == byBulk {
				w.bulk = off.r.Next.Bulk // that of the rotation before goes on
			}
		}
	case 3, 4, 5, 6:
		w.read()
	case 7, 8:
		w.change()
	case 9:
		w.meddle()
	case 10, 11:
		accepts := func(key Secret) bool { return slices.Contains(w.enabled, key) }
		if after, changed := KeysCompared(w.state(), accepts, w.Clock()); changed {
			if err := w.Save(context.Background(), after); err != nil {
				w.restart()
			}
		}
	case 12:
		w.restart()
	}
	return w.run(Ask{})
}

// TestNoHistoryTakesAKeyFromWhoHoldsIt, and all of them end with one key of ours.
func TestNoHistoryTakesAKeyFromWhoHoldsIt(t *testing.T) {
	t.Parallel()
	switches := 0
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newKeyWorld(t, seed)
			wake := time.Time{}
			for range 150 {
				wake = w.step(wake)
			}
			w.comesToRest()
			switches += w.switches
		})
	}
	require.Greater(t, switches, 500, "or it has shown little")
}

// comesToRest asks what has to hold when nothing fails any more.
func (w *keyWorld) comesToRest() {
	w.calm, w.set.Paused, w.set.Period = true, false, 0
	w.enabled = slices.DeleteFunc(slices.Clone(w.enabled), func(key Secret) bool { return !ours(key) })
	w.set.Bulk++
	wake := w.run(inBulk(w.set.Bulk, false))
	for range 20 {
		if wake.IsZero() {
			break
		}
		require.True(w.t, wake.After(w.Clock().Now), "or it would be a loop")
		w.elapsed += wake.Sub(w.Clock().Now)
		w.check()
		wake = w.run(Ask{})
	}
	require.True(w.t, wake.IsZero(), "it comes to rest")
	st := w.state()
	require.True(w.t, st.Done(w.set.Bulk))
	require.False(w.t, st.Unsettled())
	require.True(w.t, w.restsAt(st))
	view := st.View(w.set, w.Clock())
	require.False(w.t, view.Overdue)
	require.True(w.t, view.DriftedAt.IsZero())
	require.Equal(w.t, plain(view.Served), plain(w.enabled), "one key of ours")
	require.Len(w.t, w.enabled, 1)
}

// TestAKeyThatIsServedAgainCountsAsHandedOut: it was replaced before the role became
// exportable, and is served since somebody has removed the one after it.
func TestAKeyThatIsServedAgainCountsAsHandedOut(t *testing.T) {
	t.Parallel()
	set := vaultSettings()
	replaced := record{Keys: true, Current: &version{Number: 1, Value: "one"}, Next: &version{Number: 2, Value: "two"}}.switched(set, epoch)
	exportable, changed := KeysCompared(State{replaced}.Exported(), func(key Secret) bool { return key == "one" }, at(0))
	require.True(t, changed)
	require.Equal(t, Secret("one"), exportable.Current())
	require.Equal(t, max(AssertionLifetime, set.TTL)+HandOutMargin, exportable.r.usedFor(set, epoch))
	require.True(t, exportable.Keys()[0].Exported)
}

// TestABulkRotationOfAKeyStaysCalledOff also in the process after this one, though a key
// was made for it.
func TestABulkRotationOfAKeyStaysCalledOff(t *testing.T) {
	t.Parallel()
	set := after(vaultSettings(), 1)
	asked := record{Keys: true, Current: &version{Number: 1, Value: "one"}, LastRotation: epoch}.asked(inBulk(1, false))
	refused := onRecord(t, set, asked, 0).keyFailed(ended(Refused), true, at(0))
	off, ok := State{refused}.CalledOff(1)
	require.True(t, ok)
	text, err := json.Marshal(off)
	require.NoError(t, err)
	var read State
	require.NoError(t, json.Unmarshal(text, &read))
	require.Equal(t, doNothing, decide(set, read.r, at(time.Hour)).action)
}
