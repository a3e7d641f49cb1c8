package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// world is one target with its Auth0, where everything fails at times: storage,
// requests before and after their effect, the process, and the clocks of its nodes.
type world struct {
	node
	live     Secret // what Auth0 accepts
	made     int
	seen     bool // live has been in the stored state: it must not be lost any more
	staged   map[Secret]time.Duration
	tried    map[Secret]bool
	replaced time.Duration // when the current secret was replaced
	previous Secret        // by which it was; "": nothing has to be served of before
}

// node is what serves the target of a world: its settings, its storage and its clock.
type node struct {
	t      *testing.T
	random *rand.Rand
	set    Settings
	calm   bool // nothing fails any more, and nobody does anything

	elapsed time.Duration // of the true time
	ahead   time.Duration // of this node's clock
	since   time.Duration // by the true time

	stored *State // as it is read again; nil: nothing yet
}

// errCrash ends the process.
var errCrash = errors.New("crash")

func newWorld(t *testing.T, seed uint64, set Settings) *world {
	t.Helper()
	w := &world{
		node: node{t: t, random: rand.New(rand.NewPCG(seed, 9)), set: set}, live: "imported",
		staged: map[Secret]time.Duration{}, tried: map[Secret]bool{},
	}
	w.store(Imported(w.live, 0, epoch))
	return w
}

// chance is one in so many, as long as things fail.
func (w *node) chance(in int) bool { return !w.calm && w.random.IntN(in) == 0 }

func (w *node) state() State { return *w.stored }

func (w *node) store(st State) {
	data, err := json.Marshal(st)
	require.NoError(w.t, err)
	var read State
	require.NoError(w.t, json.Unmarshal(data, &read))
	require.Equal(w.t, st, read, "it is read as it was stored")
	w.stored = &read
}

func (w *node) Load(context.Context) (Settings, State, error) { return w.set, w.state(), nil }

func (w *node) Clock() Clock {
	return Clock{Now: epoch.Add(w.elapsed + w.ahead), Since: epoch.Add(w.since + w.ahead), Jitter: w.random.Float64()}
}

func (w *world) Save(_ context.Context, st State) error {
	if w.chance(20) {
		return errCrash
	}
	before := w.state()
	w.store(st)
	if next := st.Next(); next != "" && next != before.Next() {
		w.since = w.elapsed
		w.staged[next] = w.elapsed
	}
	if st.Unsettled() && st.r.forced() {
		w.tried[st.Next()] = true
	}
	if st.Version() != before.Version() {
		w.previous, w.replaced = before.Current(), w.elapsed
		if !st.DriftedAt().IsZero() {
			w.replaced = 1 << 62 // until the next rotation
		}
	}
	w.check()
	if w.chance(20) {
		return errCrash // it was stored all the same
	}
	return nil
}

func (w *world) Generate(context.Context) (Secret, error) {
	if w.chance(10) {
		return "", errNo
	}
	w.made++
	return Secret(fmt.Sprint("own", w.made)), nil
}

func (w *world) Prove(context.Context, Secret) error {
	if w.chance(10) {
		return errNo
	}
	return nil
}

// takes has Auth0 accept a secret from now on.
func (w *world) takes(secret Secret) { w.live, w.seen = secret, false }

func (w *world) Send(_ context.Context, request Request) Outcome {
	w.elapsed += time.Duration(w.random.IntN(10)) * time.Second
	st := w.state()
	require.NotEqual(w.t, notBegun, st.r.Attempt, "it is on record")
	if request.Kind == Set {
		w.leasesAreOver(st, request.Secret)
	}
	if request.Kind == ReadBack && w.live != request.Secret && !w.chance(3) {
		return Outcome{Result: Found, Secret: w.live}
	}
	if w.chance(3) {
		result := []Result{Refused, Rejected, Limited, NotSent, Unclear}[w.random.IntN(5)]
		return Outcome{Result: result, Err: errNo, RetryAfter: 5 * time.Second}
	}
	secret := request.Secret
	if request.Kind != Set {
		w.made++
		secret = Secret(fmt.Sprint("made", w.made))
	}
	w.takes(secret)
	w.check()
	switch {
	case w.chance(5):
		return Outcome{Result: Unclear, Err: errNo}
	case w.chance(10):
		panic(errCrash)
	case request.Kind != Set && w.chance(4):
		return Outcome{Result: Hidden}
	}
	return Outcome{Result: Accepted, Secret: secret}
}

// leasesAreOver says whether all leases that lack the next secret are, when it is
// sent for the first time, and never was to be without waiting.
func (w *world) leasesAreOver(st State, next Secret) {
	if !w.tried[next] && !st.r.forced() && st.r.held(w.set) {
		require.GreaterOrEqual(w.t, w.elapsed-w.staged[next], w.set.TTL+HandOutMargin)
	}
	w.tried[next] = true
}

// check is what has to hold at each moment: whoever reads now can log in, now and
// until the secret from before is accepted nowhere any more.
func (w *world) check() {
	st := w.state()
	secrets, _ := st.Served(w.Clock())
	if slices.Contains(secrets, w.live) {
		w.seen = true
	}
	if w.live[0] == 'o' { // it was durable before it was sent
		w.seen = true
	}
	if w.seen {
		require.Contains(w.t, plain(secrets), string(w.live))
	} else if w.live[0] == 'm' {
		require.True(w.t, st.Unsettled(), "Auth0 has made one, and it is on record that it may have")
	}
	if w.previous != "" && w.elapsed < w.replaced+w.set.PropagationDelay {
		require.Contains(w.t, plain(secrets), string(w.previous))
	}
}

// run runs, and starts a new process if this one crashed.
func (w *world) run(ask Ask) (wake time.Time) {
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

// restart goes on at a node with another clock.
func (w *world) restart() {
	w.since = w.elapsed
	w.ahead = time.Duration(w.random.IntN(3500)) * time.Second
	w.check()
}

// step lets time pass, and something happen.
func (w *world) step(wake time.Time) time.Time {
	if left := wake.Sub(w.Clock().Now); !wake.IsZero() && left > 0 && w.random.IntN(2) == 0 {
		w.elapsed += left
	} else {
		w.elapsed += time.Duration(w.random.IntN(100)) * time.Second
	}
	w.check()
	switch w.random.IntN(12) {
	case 0:
		return w.run(byHand(w.random.IntN(2) == 0))
	case 1:
		w.set.Bulk++
		ask := inBulk(w.set.Bulk, w.random.IntN(2) == 0)
		if w.random.IntN(2) == 0 { // on record, to be begun by the next run
			w.store(w.state().Asked(ask))
			return w.Clock().Now
		}
		return w.run(ask)
	case 2:
		if off, ok := w.state().CalledOff(w.set.Bulk); ok {
			w.store(off)
		}
	case 3:
		w.set.Paused = !w.set.Paused
	case 4:
		w.made++
		w.takes(Secret(fmt.Sprint("theirs", w.made)))
	case 5, 6:
		if after, changed := Compared(w.set, w.state(), w.live, w.Clock()); changed {
			if err := w.Save(context.Background(), after); err != nil {
				w.restart()
			}
		}
	case 7:
		w.restart()
	}
	return w.run(Ask{})
}

// TestNoHistoryLosesWhatAuth0Accepts, and all of them end well.
func TestNoHistoryLosesWhatAuth0Accepts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		set := []Settings{vaultSettings(), auth0Settings(), engineSettings()}[seed%3]
		set.TTL *= time.Duration(1 + seed%10)
		set.PropagationDelay = []time.Duration{30 * time.Second, 0, 20 * time.Minute}[seed/3%3]
		if seed%2 == 0 {
			set.Period = 10 * time.Minute
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed, set)
			wake := time.Time{}
			for range 100 {
				wake = w.step(wake)
			}
			w.calm, w.set.Paused, w.set.Period = true, false, 0
			w.set.Bulk++
			wake = w.run(inBulk(w.set.Bulk, false))
			for range 20 {
				if wake.IsZero() {
					break
				}
				require.True(t, wake.After(w.Clock().Now), "or it would be a loop")
				w.elapsed += wake.Sub(w.Clock().Now)
				w.check()
				wake = w.run(Ask{})
			}
			require.True(t, wake.IsZero(), "it comes to rest")
			st := w.state()
			require.True(t, st.Done(w.set.Bulk))
			require.False(t, st.Unsettled())
			view := st.View(w.set, w.Clock())
			require.False(t, view.UnderWay)
			require.False(t, view.Overdue)
			require.Equal(t, Steady, view.Phase)
			require.Equal(t, []string{string(w.live)}, plain(view.Served))
		})
	}
}
