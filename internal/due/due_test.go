package due

import (
	"context"
	"fmt"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// module is the name of this one, which looks like one of the standard library's.
const module = "vault-plugin-secrets-auth0"

// attendance is an index in a bubble, with what was attended to and when.
type attendance struct {
	*Index
	began   time.Time
	stepped atomic.Int64 // by how much the wall clock is off

	mu    sync.Mutex
	times map[string][]time.Duration // since it began, by the monotonic clock
	busy  map[string]int
	most  int // that were attended to at the same time
	twice []string

	attend func(ctx context.Context, key string) time.Time // nil: nothing, and not again
}

// bubble runs a test with an index whose time is its own.
func bubble(t *testing.T, test func(t *testing.T, a *attendance)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := &attendance{began: time.Now(), times: map[string][]time.Duration{}, busy: map[string]int{}}
		a.Index = New(a.wall, a.note)
		defer a.Stop()
		test(t, a)
		a.mu.Lock()
		defer a.mu.Unlock()
		assert.Empty(t, a.twice, "these were attended to twice at the same time")
	})
}

// wall is the wall clock, which can be stepped.
func (a *attendance) wall() time.Time {
	return time.Now().Round(0).Add(time.Duration(a.stepped.Load()))
}

func (a *attendance) note(ctx context.Context, key string) time.Time {
	a.mu.Lock()
	a.times[key] = append(a.times[key], time.Since(a.began))
	a.busy[key]++
	if a.busy[key] > 1 {
		a.twice = append(a.twice, key)
	}
	a.most = max(a.most, len(a.busy))
	attend := a.attend
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.busy[key]--; a.busy[key] == 0 {
			delete(a.busy, key)
		}
	}()
	if attend == nil {
		return time.Time{}
	}
	return attend(ctx, key)
}

// at is a time by the wall clock as it was at the beginning.
func (a *attendance) at(d time.Duration) time.Time { return a.began.Round(0).Add(d) }

// until lets time pass until so long after the beginning.
func (a *attendance) until(d time.Duration) {
	time.Sleep(d - time.Since(a.began))
	synctest.Wait()
}

func (a *attendance) timesOf(key string) []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]time.Duration{}, a.times[key]...)
}

func hours(hours ...float64) []time.Duration {
	times := []time.Duration{}
	for _, hour := range hours {
		times = append(times, time.Duration(hour*float64(time.Hour)))
	}
	return times
}

// TestThePackageKnowsOnlyItsQueue beside the standard library.
func TestThePackageKnowsOnlyItsQueue(t *testing.T) {
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	seen := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		seen++
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, imported := range file.Imports {
			path, err := strconv.Unquote(imported.Path.Value)
			require.NoError(t, err)
			first, _, _ := strings.Cut(path, "/")
			if path != "github.com/hashicorp/vault/sdk/queue" {
				assert.NotContains(t, first, ".", name)
				assert.NotEqual(t, module, first, name)
			}
		}
	}
	assert.NotZero(t, seen)
}

func TestKeysAreAttendedToWhenTheirTimeHasCome(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		a.Set("before the start", a.at(time.Hour))
		a.Set("long past", a.at(-time.Hour))
		a.Set("not by itself", time.Time{})
		a.Start()
		a.Start() // changes nothing
		a.Set("first", a.at(30*time.Minute))
		a.Set("now", a.at(0))
		a.Set("last", a.at(1000*time.Hour))
		a.until(2000 * time.Hour)
		assert.Equal(t, hours(1), a.timesOf("before the start"))
		assert.Equal(t, hours(0), a.timesOf("long past"))
		assert.Equal(t, hours(), a.timesOf("not by itself"))
		assert.Equal(t, hours(0.5), a.timesOf("first"))
		assert.Equal(t, hours(0), a.timesOf("now"))
		assert.Equal(t, hours(1000), a.timesOf("last"))
		assert.Equal(t, 6, a.Len())
	})
}

func TestAKeySaysWhenToComeBack(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		a.attend = func(_ context.Context, key string) time.Time {
			if key == "three times" && len(a.timesOf(key)) == 3 {
				return time.Time{}
			}
			return a.wall().Add(time.Hour)
		}
		a.Start()
		a.Set("again and again", a.at(0))
		a.Set("three times", a.at(0))
		a.until(5*time.Hour + time.Minute)
		assert.Equal(t, hours(0, 1, 2, 3, 4, 5), a.timesOf("again and again"))
		assert.Equal(t, hours(0, 1, 2), a.timesOf("three times"))
		assert.Equal(t, 2, a.Len(), "it is known, without a time")
		a.Set("three times", a.at(6*time.Hour))
		a.until(6*time.Hour + time.Minute)
		assert.Equal(t, hours(0, 1, 2, 6), a.timesOf("three times"))
	})
}

func TestATimeCanBeSetAnew(t *testing.T) {
	for name, c := range map[string]struct {
		second time.Duration
		want   []time.Duration
	}{
		"earlier": {30 * time.Minute, hours(0.5)},
		"later":   {2 * time.Hour, hours(2)},
		"past":    {-time.Hour, hours(0.25)},
	} {
		bubble(t, func(t *testing.T, a *attendance) {
			a.Start()
			a.Set("key", a.at(time.Hour))
			a.Set("other", a.at(time.Hour))
			a.until(15 * time.Minute)
			a.Set("key", a.at(c.second))
			a.until(10 * time.Hour)
			assert.Equal(t, c.want, a.timesOf("key"), name)
			assert.Equal(t, hours(1), a.timesOf("other"), name)
		})
	}
	bubble(t, func(t *testing.T, a *attendance) {
		a.Start()
		a.Set("key", a.at(time.Hour))
		a.until(15 * time.Minute)
		a.Set("key", time.Time{})
		a.until(10 * time.Hour)
		assert.Equal(t, hours(), a.timesOf("key"))
		assert.Equal(t, 1, a.Len())
	})
}

// TestATimeSetWhileAKeyIsAttendedToIsOneAtTheLatest: something has changed that the
// answer may not know of yet.
func TestATimeSetWhileAKeyIsAttendedToIsOneAtTheLatest(t *testing.T) {
	for name, c := range map[string]struct {
		set    []float64 // in hours
		answer float64
		want   []time.Duration
	}{
		"before the answer":         {[]float64{2}, 3, hours(0, 2)},
		"after the answer":          {[]float64{3}, 2, hours(0, 2)},
		"the earliest of many":      {[]float64{4, 2, 3}, 5, hours(0, 2)},
		"there is no answer":        {[]float64{2}, 0, hours(0, 2)},
		"past when it is through":   {[]float64{0.5}, 3, hours(0, 1)},
		"none is no time":           {[]float64{0}, 3, hours(0, 3)},
		"none does not end another": {[]float64{2, 0}, 3, hours(0, 2)},
		"neither":                   {[]float64{0}, 0, hours(0)},
	} {
		bubble(t, func(t *testing.T, a *attendance) {
			at := func(hour float64) time.Time {
				if hour == 0 {
					return time.Time{}
				}
				return a.at(hours(hour)[0])
			}
			a.attend = func(_ context.Context, key string) time.Time {
				if len(a.timesOf(key)) > 1 {
					return time.Time{} // what was set meanwhile is through
				}
				time.Sleep(time.Hour)
				return at(c.answer)
			}
			a.Start()
			a.Set("key", a.at(0))
			a.until(15 * time.Minute)
			for _, hour := range c.set {
				a.Set("key", at(hour))
			}
			a.until(100 * time.Hour)
			assert.Equal(t, c.want, a.timesOf("key"), name)
		})
	}
}

func TestAgainHasEveryKeyAttendedTo(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		a.attend = func(_ context.Context, key string) time.Time {
			if key == "busy" && len(a.timesOf(key)) == 1 {
				time.Sleep(2 * time.Hour)
			}
			if key == "with a time" && len(a.timesOf(key)) == 1 {
				return a.at(10 * time.Hour)
			}
			return time.Time{}
		}
		a.Start()
		a.Set("busy", a.at(0))
		a.Set("with a time", a.at(10*time.Hour))
		a.Set("without", time.Time{})
		a.until(time.Hour)
		a.Again()
		a.until(100 * time.Hour)
		assert.Equal(t, hours(0, 2), a.timesOf("busy"), "as soon as it is free")
		assert.Equal(t, hours(1, 10), a.timesOf("with a time"))
		assert.Equal(t, hours(1), a.timesOf("without"))
	})
}

func TestOfAForgottenKeyNothingIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		a.Start()
		a.Set("key", a.at(time.Hour))
		a.Set("other", a.at(time.Hour))
		a.Forget("key")
		a.Forget("unknown")
		assert.Equal(t, 1, a.Len())
		a.Again()
		a.until(10 * time.Hour)
		assert.Equal(t, hours(), a.timesOf("key"))
		a.Forget("other")
		assert.Zero(t, a.Len())
		a.Again()
		a.until(20 * time.Hour)
		assert.Equal(t, hours(0), a.timesOf("other"))
		a.Set("key", a.at(30*time.Hour))
		a.until(40 * time.Hour)
		assert.Equal(t, hours(30), a.timesOf("key"), "it can be known again")
	})
}

func TestOfAKeyForgottenWhileItIsAttendedToNothingIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		a.attend = func(context.Context, string) time.Time {
			time.Sleep(time.Hour)
			return a.wall().Add(time.Hour)
		}
		a.Start()
		a.Set("key", a.at(0))
		a.until(15 * time.Minute)
		a.Set("key", a.at(90*time.Minute))
		a.Forget("key")
		assert.Zero(t, a.Len())
		a.until(10 * time.Hour)
		a.Again()
		a.until(20 * time.Hour)
		assert.Equal(t, hours(0), a.timesOf("key"))
		assert.Zero(t, a.Len())
		assert.Zero(t, a.queue.Len())
		assert.Empty(t, a.keys)
		a.Set("key", a.at(30*time.Hour))
		assert.Equal(t, 1, a.Len())
		a.until(30*time.Hour + time.Minute)
		assert.Equal(t, hours(0, 30), a.timesOf("key"), "it can be known again")
	})
}

// TestAKeyForgottenBeforeItsTurnIsNotAttendedTo: it was due, and all slots were taken.
func TestAKeyForgottenBeforeItsTurnIsNotAttendedTo(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		a.attend = func(context.Context, string) time.Time {
			time.Sleep(time.Hour)
			return time.Time{}
		}
		a.Start()
		for i := range concurrency {
			a.Set(fmt.Sprint("slow", i), a.at(0))
		}
		a.until(time.Minute)
		a.Set("key", a.at(0))
		a.Set("other", a.at(0))
		a.until(2 * time.Minute)
		a.Forget("key")
		a.until(10 * time.Hour)
		assert.Equal(t, hours(), a.timesOf("key"))
		assert.Equal(t, hours(1), a.timesOf("other"))
	})
}

// TestAKeySetAgainAfterItWasForgottenIsAttendedToOnceAtATime: while it is attended to
// for the last time it is not begun again.
func TestAKeySetAgainAfterItWasForgottenIsAttendedToOnceAtATime(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		a.attend = func(context.Context, string) time.Time {
			time.Sleep(time.Hour)
			return time.Time{}
		}
		a.Start()
		a.Set("key", a.at(0))
		a.until(15 * time.Minute)
		a.Forget("key")
		a.Set("key", a.at(0))
		assert.Equal(t, 1, a.Len())
		a.until(10 * time.Hour)
		assert.Equal(t, hours(0, 1), a.timesOf("key"))
		assert.Equal(t, 1, a.Len())
	})
	// what was set before it was forgotten counts no more
	bubble(t, func(t *testing.T, a *attendance) {
		a.attend = func(context.Context, string) time.Time {
			time.Sleep(time.Hour)
			return time.Time{}
		}
		a.Start()
		a.Set("key", a.at(0))
		a.until(15 * time.Minute)
		a.Set("key", a.at(2*time.Hour))
		a.Forget("key")
		a.Again()
		a.Set("key", a.at(5*time.Hour))
		a.until(10 * time.Hour)
		assert.Equal(t, hours(0, 5), a.timesOf("key"))
	})
	// nor is one begun twice that waited for a slot
	bubble(t, func(t *testing.T, a *attendance) {
		a.attend = func(context.Context, string) time.Time {
			time.Sleep(time.Hour)
			return time.Time{}
		}
		a.Start()
		for i := range 2*concurrency - 2 {
			a.Set(fmt.Sprint("slow", i), a.at(0))
		}
		a.until(time.Minute)
		a.Set("key", a.at(0))
		a.until(2 * time.Minute)
		a.Forget("key")
		a.Set("key", a.at(0))
		a.until(10 * time.Hour)
		times := a.timesOf("key")
		require.NotEmpty(t, times)
		assert.Equal(t, time.Hour, times[0])
	})
}

func TestASlowKeyDoesNotHoldUpTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		a.attend = func(_ context.Context, key string) time.Time {
			if key == "slow" {
				time.Sleep(5 * time.Hour)
			}
			return a.wall().Add(time.Hour)
		}
		a.Start()
		a.Set("slow", a.at(0))
		a.until(time.Minute)
		a.Set("other", a.at(time.Hour))
		a.until(4*time.Hour + time.Minute)
		assert.Equal(t, hours(0), a.timesOf("slow"))
		assert.Equal(t, hours(1, 2, 3, 4), a.timesOf("other"))
		a.until(6*time.Hour + time.Minute)
		assert.Equal(t, hours(0, 6), a.timesOf("slow"))
	})
}

// TestSoManyKeysAreAttendedToAtATime, and the others in their turn.
func TestSoManyKeysAreAttendedToAtATime(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		a.attend = func(context.Context, string) time.Time {
			time.Sleep(time.Hour)
			return time.Time{}
		}
		const keys = 3*concurrency + 1
		for i := range keys {
			a.Set(fmt.Sprint(i), a.at(0))
		}
		a.Start()
		a.until(10 * time.Hour)
		assert.Equal(t, concurrency, a.most)
		byTime := map[time.Duration]int{}
		for i := range keys {
			for _, at := range a.timesOf(fmt.Sprint(i)) {
				byTime[at]++
			}
		}
		assert.Equal(t, map[time.Duration]int{
			0: concurrency, time.Hour: concurrency, 2 * time.Hour: concurrency, 3 * time.Hour: 1,
		}, byTime)
	})
}

func TestStopWaitsAndIsForGood(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		var ended, through bool
		a.attend = func(ctx context.Context, _ string) time.Time {
			assert.NoError(t, ctx.Err())
			<-ctx.Done()
			ended = true
			time.Sleep(time.Hour)
			through = true
			return a.wall()
		}
		a.Start()
		a.Set("key", a.at(0))
		a.Set("later", a.at(30*time.Minute))
		a.until(15 * time.Minute)
		assert.False(t, ended)
		a.Stop()
		assert.True(t, ended, "its context ends")
		assert.True(t, through, "and it is waited for")
		assert.Equal(t, 75*time.Minute, time.Since(a.began))
		a.Start()
		a.Set("key", a.at(0))
		a.Again()
		a.until(10 * time.Hour)
		assert.Equal(t, hours(0), a.timesOf("key"))
		assert.Equal(t, hours(), a.timesOf("later"))
		a.Stop() // once more is nothing
	})
	for range 50 { // chance would have it begin in half of them
		bubble(t, func(t *testing.T, a *attendance) {
			a.Set("key", a.at(0))
			a.Stop()
			a.Start()
			a.until(10 * time.Hour)
			assert.Equal(t, hours(), a.timesOf("key"), "it ended before it began")
		})
	}
}

// TestStopDoesNotWaitForATurn: keys that are due and have no slot are not begun.
func TestStopDoesNotWaitForATurn(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		a.attend = func(context.Context, string) time.Time {
			time.Sleep(time.Hour)
			return time.Time{}
		}
		for i := range 3 * concurrency {
			a.Set(fmt.Sprint(i), a.at(0))
		}
		a.Start()
		a.until(time.Minute)
		a.Stop()
		assert.Equal(t, time.Hour, time.Since(a.began))
		assert.Len(t, a.times, concurrency)
	})
}

// TestAStepOfTheWallClockHasEveryKeyAttendedTo: the times are told by it.
func TestAStepOfTheWallClockHasEveryKeyAttendedTo(t *testing.T) {
	for _, step := range []time.Duration{3 * time.Second, -3 * time.Second, 1000 * time.Hour, -1000 * time.Hour} {
		bubble(t, func(t *testing.T, a *attendance) {
			a.attend = func(_ context.Context, key string) time.Time {
				if key == "busy" && len(a.timesOf(key)) == 1 {
					time.Sleep(5 * time.Hour)
				}
				return time.Time{}
			}
			a.Start()
			a.Set("with a time", a.at(time.Hour))
			a.Set("without", time.Time{})
			a.Set("busy", a.at(0))
			a.until(15 * time.Minute)
			assert.Zero(t, a.CheckClock(), "it was not stepped")
			a.stepped.Store(int64(step))
			a.until(30 * time.Minute)
			assert.Equal(t, hours(), a.timesOf("with a time"), "the wait is by the monotonic clock")
			assert.Equal(t, step, a.CheckClock())
			a.until(31 * time.Minute)
			assert.Equal(t, hours(0.5), a.timesOf("with a time"))
			assert.Equal(t, hours(0.5), a.timesOf("without"))
			assert.Zero(t, a.CheckClock(), "once is enough")
			a.until(10 * time.Hour)
			assert.Equal(t, hours(0.5), a.timesOf("with a time"), "its time was before the step")
			assert.Equal(t, hours(0.5), a.timesOf("without"))
			assert.Equal(t, hours(0, 5), a.timesOf("busy"))
			// and from then on times are by the clock as it is
			a.Set("with a time", a.at(12*time.Hour+step))
			a.until(20 * time.Hour)
			assert.Equal(t, hours(0.5, 12), a.timesOf("with a time"))
		})
	}
}

func TestAClockThatIsPutRightALittleIsNotStepped(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		a.Start()
		a.Set("key", time.Time{})
		var off time.Duration
		for i, by := range []time.Duration{clockTolerance, -clockTolerance, time.Second, time.Second, time.Second} {
			off += by
			a.stepped.Store(int64(off))
			a.until(time.Duration(i+1) * time.Minute)
			assert.Zero(t, a.CheckClock())
		}
		a.until(time.Hour)
		assert.Equal(t, hours(), a.timesOf("key"))
	})
}

// TestAWaitIsNotChangedByAStepThatIsNotKnownYet: it goes by the monotonic clock.
func TestAWaitIsNotChangedByAStepThatIsNotKnownYet(t *testing.T) {
	for _, step := range []time.Duration{1000 * time.Hour, -1000 * time.Hour} {
		bubble(t, func(t *testing.T, a *attendance) {
			a.Start()
			a.Set("key", a.at(2*time.Hour))
			a.Set("other", a.at(time.Hour))
			a.until(30 * time.Minute)
			a.stepped.Store(int64(step))
			a.until(10 * time.Hour)
			assert.Equal(t, hours(2), a.timesOf("key"))
			assert.Equal(t, hours(1), a.timesOf("other"))
		})
	}
}

// TestAKeyIsNeverAttendedToTwiceAtATime, whatever is set meanwhile. (The bubble looks.)
func TestAKeyIsNeverAttendedToTwiceAtATime(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		random := func(n int) time.Duration { return time.Duration(rand.IntN(n)) * time.Second }
		a.attend = func(context.Context, string) time.Time {
			time.Sleep(random(10))
			return a.wall().Add(random(10) - 5*time.Second)
		}
		a.Start()
		var all sync.WaitGroup
		for worker := range 8 {
			all.Go(func() {
				for range 500 {
					key := strconv.Itoa(rand.IntN(100))
					switch {
					case worker > 0:
						a.Set(key, a.wall().Add(random(10)-5*time.Second))
					case rand.IntN(2) == 0:
						a.Again()
					default:
						a.stepped.Add(int64(random(100)))
						a.CheckClock()
					}
					time.Sleep(random(3))
				}
			})
		}
		all.Wait()
		a.Stop()
		assert.Len(t, a.times, 100)
		assert.Equal(t, 100, a.Len())
		assert.Empty(t, a.busy)
	})
}

// TestManyKeysAreEachAttendedToAtTheirTime.
func TestManyKeysAreEachAttendedToAtTheirTime(t *testing.T) {
	bubble(t, func(t *testing.T, a *attendance) {
		const keys = 10_000
		want := map[string][]time.Duration{}
		a.Start()
		for i := range keys {
			at := time.Duration(1+rand.IntN(1000)) * time.Minute
			key := strconv.Itoa(i)
			a.Set(key, a.at(at))
			if i%10 == 0 { // a change of mind
				at += time.Hour
				a.Set(key, a.at(at))
			}
			want[key] = []time.Duration{at}
			if i%7 == 0 {
				a.Forget(key)
				delete(want, key)
			}
		}
		assert.Equal(t, len(want), a.Len())
		a.until(2000 * time.Minute)
		a.mu.Lock()
		defer a.mu.Unlock()
		require.Equal(t, len(want), len(a.times)) //nolint:testifylint // thousands, if they are printed
		for key, times := range want {
			require.Equal(t, times, a.times[key], key)
		}
	})
}
