package auth0

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestRetryAfter(t *testing.T) {
	now := time.Unix(1_700_000_000, 0) // Tue, 14 Nov 2023 22:13:20 GMT
	tests := map[string]struct {
		h    http.Header
		want time.Duration
	}{
		"nothing":                 {headers(), 10 * time.Second},
		"seconds":                 {headers("Retry-After", "12"), 12 * time.Second},
		"zero":                    {headers("Retry-After", "0"), time.Second},
		"absurd":                  {headers("Retry-After", "999999999999999"), time.Minute},
		"rubbish":                 {headers("Retry-After", "soon"), 10 * time.Second},
		"date":                    {headers("Retry-After", "Tue, 14 Nov 2023 22:13:50 GMT"), 30 * time.Second},
		"date past":               {headers("Retry-After", "Tue, 14 Nov 2023 22:00:00 GMT"), time.Second},
		"reset":                   {headers("X-RateLimit-Reset", "1700000007"), 7 * time.Second},
		"reset past":              {headers("X-RateLimit-Reset", "1699999993"), time.Second},
		"reset far":               {headers("X-RateLimit-Reset", "1700040000"), time.Minute},
		"Retry-After comes first": {headers("Retry-After", "3", "X-RateLimit-Reset", "1700000007"), 3 * time.Second},
		"the clock there is slow": {headers("Date", "Tue, 14 Nov 2023 21:13:20 GMT", "X-RateLimit-Reset", "1699996407"), 7 * time.Second},
		"the clock there is fast": {headers("Date", "Tue, 14 Nov 2023 23:13:20 GMT", "X-RateLimit-Reset", "1700003607"), 7 * time.Second},
	}
	for name, tt := range tests {
		assert.Equal(t, tt.want, retryAfter(tt.h, now), name)
	}
}

func TestRateLimitIsLastSeen(t *testing.T) {
	var l Limits
	c := &Client{limits: &l}
	assert.Equal(t, RateLimit{}, c.RateLimit())
	reset := time.Now().Add(7 * time.Second).Truncate(time.Second)
	observe(t, &l, 200, headers("X-RateLimit-Limit", "50", "X-RateLimit-Remaining", "49", "X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10)))
	got := c.RateLimit()
	assert.False(t, got.SeenAt.IsZero())
	got.SeenAt = time.Time{}
	assert.Equal(t, RateLimit{Limit: 50, Remaining: 49, Reset: time.Unix(reset.Unix(), 0)}, got)
	observe(t, &l, 200, headers())
	assert.Equal(t, 49, c.RateLimit().Remaining, "an answer without headers says nothing")
	observe(t, &l, 200, headers("X-RateLimit-Remaining", "48"))
	assert.Equal(t, -1, c.RateLimit().Limit)
}

// observe has one call answered.
func observe(t *testing.T, l *Limits, status int, h http.Header) {
	t.Helper()
	turn := &turn{gate: &l.gate}
	turn.observe(status, h)
	turn.done()
}

// release lets n calls wait and says after how long each of them went on.
func release(t *testing.T, l *Limits, n int) []time.Duration {
	t.Helper()
	return releaseWith(t, l, n)
}

func TestCallsWaitOutAHoldThenGoOneByOne(t *testing.T) {
	const s = time.Second
	date := "Sat, 01 Jan 2000 00:00:00 GMT" // where synctest's clock starts
	tests := map[string]struct {
		status int
		h      http.Header
		want   []time.Duration
	}{
		"free": {200, headers("X-RateLimit-Limit", "10", "X-RateLimit-Remaining", "4"), []time.Duration{0, 0, 0}},
		"429":  {429, headers("Retry-After", "5"), []time.Duration{5 * s, 5500 * time.Millisecond, 6 * s}},
		"429 with a known limit": {429, headers("Retry-After", "5", "X-RateLimit-Limit", "10", "X-RateLimit-Remaining", "0"),
			[]time.Duration{5 * s, 5500 * time.Millisecond, 6 * s}},
		"nothing remaining": {200, headers("Date", date, "X-RateLimit-Limit", "10", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "946684803"),
			[]time.Duration{3 * s, 3500 * time.Millisecond, 4 * s}},
		"nothing remaining, but reset": {200, headers("Date", date, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "946684799"), []time.Duration{0, s / 2, s}},
		"nothing remaining, no reset":  {200, headers("X-RateLimit-Remaining", "0"), []time.Duration{0, s / 2, s}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l Limits
				observe(t, &l, tt.status, tt.h)
				assert.Equal(t, tt.want, release(t, &l, 3))
				time.Sleep(2 * heedFor)
				assert.Equal(t, []time.Duration{0, 0, 0}, release(t, &l, 3), "and later all is free again")
			})
		})
	}
}

func TestAHoldCanGrowButNotShrink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limits
		observe(t, &l, 429, headers("Retry-After", "5"))
		observe(t, &l, 429, headers("Retry-After", "2"))
		observe(t, &l, 200, headers("X-RateLimit-Limit", "10", "X-RateLimit-Remaining", "9"))
		go func() {
			time.Sleep(4 * time.Second)
			observe(t, &l, 429, headers("Retry-After", "6"))
		}()
		assert.Equal(t, []time.Duration{10 * time.Second, 10500 * time.Millisecond}, release(t, &l, 2))
	})
}

func TestAWaitBeyondTheDeadlineFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limits
		observe(t, &l, 429, headers("Retry-After", "30"))
		ctx, cancel := context.WithTimeout(t.Context(), 29*time.Second)
		defer cancel()
		start := time.Now()
		for range 3 { // none of them takes up a slot
			_, err := l.wait(ctx, opSet)
			require.EqualError(t, err, "set secret: Auth0 limits the rate, retry in 30s")
			assert.Equal(t, Error{Class: Limited, Op: opSet, RetryAfter: 30 * time.Second}, *asError(t, err))
		}
		assert.Zero(t, time.Since(start))

		stopped, stop := context.WithCancel(t.Context())
		go func() { time.Sleep(3 * time.Second); stop() }()
		_, err := l.wait(stopped, opSet)
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 3*time.Second, time.Since(start))
		assert.Equal(t, []time.Duration{27 * time.Second, 27500 * time.Millisecond}, release(t, &l, 2))
	})
}

// Whoever leaves the queue must not make room for two.
func TestASlotThatIsGivenBackIsUsedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limits
		observe(t, &l, 429, headers("Retry-After", "30"))
		go func() {
			synctest.Wait() // until two are in the queue
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := l.wait(ctx, opSet)
			assert.Equal(t, Limited, ClassOf(err))
			assert.Equal(t, []time.Duration{31 * time.Second}, release(t, &l, 1))
		}()
		assert.Equal(t, []time.Duration{30 * time.Second, 30500 * time.Millisecond}, release(t, &l, 2))
		time.Sleep(time.Minute)
	})
}

func TestA429IsLimitedAndHoldsTheNextCall(t *testing.T) {
	tn := newTenant(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.Header().Set("X-RateLimit-Limit", "16")
		w.Header().Set("X-RateLimit-Remaining", "0")
		reply(w, 429, refusal(429, "too_many_requests", "Global limit has been reached"))
	})
	c := tn.client(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := c.Application(ctx, appID)
	assert.Equal(t, Error{Class: Limited, Op: opGet, Status: 429, Code: "too_many_requests", RetryAfter: time.Minute}, *asError(t, err))
	assert.Equal(t, 16, c.RateLimit().Limit)

	err = c.SetSecret(ctx, appID, "s3cret-new")
	assert.Equal(t, Limited, ClassOf(err))
	tokens, calls := tn.counts()
	assert.Equal(t, 1, tokens)
	assert.Equal(t, 1, calls, "sent neither again nor after the 429")
	_, err = c.Grant(ctx)
	require.NoError(t, err, "a token has no limit")
}

// bucket is a tenant's rate limit, as Auth0 has it.
type bucket struct {
	mu      sync.Mutex
	perSec  float64
	burst   float64
	left    float64
	at      time.Time
	refused int
}

// call is what Auth0 does with one more call, and says in its answer.
func (b *bucket) call() (status int, h http.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.left = min(b.burst, b.left+now.Sub(b.at).Seconds()*b.perSec)
	b.at = now
	h = headers("Date", now.UTC().Format(http.TimeFormat), "X-RateLimit-Limit", strconv.Itoa(int(b.burst)))
	status = 200
	if b.left < 1 {
		b.refused++
		status = 429
	} else {
		b.left--
	}
	h.Set("X-RateLimit-Remaining", strconv.Itoa(int(b.left)))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(now.Add(time.Second).Unix(), 10))
	return status, h
}

// TestTheWholeRateIsUsed: many calls at once take as long as the tenant's rate
// makes them take and next to none is turned away, whatever the rate; and who
// else uses the tenant finds room.
func TestTheWholeRateIsUsed(t *testing.T) {
	for name, tt := range map[string]struct {
		perSec, burst float64
		latency       time.Duration
		use           float64 // of the rate, with the time until the first answer and after the last call
	}{
		"free":          {2, 10, 80 * time.Millisecond, 0.95},
		"paid":          {16, 50, 150 * time.Millisecond, 0.95},
		"private cloud": {50, 100, 150 * time.Millisecond, 0.95},
		"far away":      {50, 100, 600 * time.Millisecond, 0.88},
		"huge":          {1000, 3000, 30 * time.Millisecond, 0.95},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bucket{perSec: tt.perSec, burst: tt.burst, left: tt.burst, at: time.Now()}
				var l Limits
				calls := int(tt.burst + min(60*tt.perSec, 30000)) // a minute's work, or less
				others, othersRefused := 0, 0
				stop := make(chan struct{})
				var other sync.WaitGroup
				other.Go(func() { // once in two seconds somebody else comes
					for {
						select {
						case <-stop:
							return
						case <-time.After(2 * time.Second):
						}
						others++
						if status, _ := b.call(); status != 200 {
							othersRefused++
						}
					}
				})
				took := b.serve(t, &l, calls, 64, tt.latency)
				close(stop)
				other.Wait()
				used := float64(calls+others) - tt.burst
				t.Logf("%d calls in %s: %.1f %% of the rate, %d turned away, others %d of %d", calls, took,
					100*used/tt.perSec/took.Seconds(), b.refused, othersRefused, others)
				assert.GreaterOrEqual(t, used/tt.perSec/took.Seconds(), tt.use)
				assert.Less(t, float64(b.refused), max(0.01*float64(calls), 1.5))
				if tt.burst >= 50 {
					assert.Zero(t, othersRefused)
				}
			})
		})
	}
}

// serve runs calls, some at a time, each with what Auth0 answers after latency, and
// says how long all took.
func (b *bucket) serve(t *testing.T, l *Limits, calls, workers int, latency time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	work := make(chan struct{})
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range work {
				for status := 0; status != 200; { // who is turned away comes again
					turn, err := l.wait(t.Context(), opSet)
					assert.NoError(t, err)
					time.Sleep(latency / 2)
					var h http.Header
					status, h = b.call()
					time.Sleep(latency / 2)
					turn.observe(status, h)
					turn.done()
				}
			}
		})
	}
	for range calls {
		work <- struct{}{}
	}
	close(work)
	all.Wait()
	return time.Since(start)
}

// TestManyCallsAfterAQuietTime: what was known is out of date, and a bulk
// rotation, at night or after a breach, begins with many calls at once.
func TestManyCallsAfterAQuietTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{perSec: 2, burst: 10, left: 10, at: time.Now()}
		var l Limits
		for range 3 {
			b.serve(t, &l, 1, 1, 80*time.Millisecond)
			time.Sleep(2 * heedFor)
			b.serve(t, &l, 32, 32, 80*time.Millisecond)
			time.Sleep(2 * heedFor)
		}
		assert.Zero(t, b.refused)
	})
}

// TestHeadersThatCannotBeTrue are worth no more than absent ones, or an hour.
func TestHeadersThatCannotBeTrue(t *testing.T) {
	const endOfTime = "Fri, 31 Dec 9999 23:59:59 GMT"
	for _, date := range []string{"", endOfTime, "Thu, 01 Jan 1970 00:00:00 GMT", "soon"} {
		for _, value := range []string{
			"1", "7258118400", "253402300800", "253402300799", "9223372036854775807", "99999999999999999999", "-1", "NaN", "1e99", "0x7fffffff",
		} {
			synctest.Test(t, func(t *testing.T) {
				h := headers("X-RateLimit-Limit", "50", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", value, "Date", date)
				assert.Equal(t, defaultRetryAfter, retryAfter(h, time.Now()), "%s %s", value, date)
				var l Limits
				c := &Client{limits: &l}
				observe(t, &l, 200, h)
				assert.Equal(t, 50, c.RateLimit().Limit)
				assert.True(t, c.RateLimit().Reset.IsZero(), "%s %s", value, date)
				assert.Equal(t, []time.Duration{0}, release(t, &l, 1), "%s %s", value, date)
			})
		}
	}
	for value, want := range map[string]time.Duration{
		"-5": defaultRetryAfter, "NaN": defaultRetryAfter, "1e99": defaultRetryAfter, "99999999999999999999": defaultRetryAfter,
		"86400": maxRetryAfter, "9223372036854775807": maxRetryAfter, endOfTime: maxRetryAfter,
	} {
		assert.Equal(t, want, retryAfter(headers("Retry-After", value), time.Now()), value)
	}
}

// releaseWith is release of calls that are answered, in the order in which they go.
func releaseWith(t *testing.T, l *Limits, n int, answers ...func(*turn)) []time.Duration {
	t.Helper()
	start := time.Now()
	var mu sync.Mutex
	var times []time.Duration
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			turn, err := l.wait(t.Context(), opSet)
			if !assert.NoError(t, err) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if i := len(times); i < len(answers) {
				answers[i](turn)
			}
			turn.done()
			times = append(times, time.Since(start).Round(time.Millisecond))
		})
	}
	all.Wait()
	return times
}

func says(status int, pairs ...string) func(*turn) {
	return func(t *turn) { t.observe(status, headers(pairs...)) }
}

// TestALongHoldIsTriedAfterAMinute, and the answer decides.
func TestALongHoldIsTriedAfterAMinute(t *testing.T) {
	const m, s = time.Minute, time.Second
	room := []string{"X-RateLimit-Limit", "50", "X-RateLimit-Remaining", "40"}
	bad := says(429, "Retry-After", "3600")
	for name, tt := range map[string]struct {
		hold    string
		answers []func(*turn)
		want    []time.Duration
	}{
		"bad answers renew it":        {"3600", []func(*turn){bad, bad, bad}, []time.Duration{m, 2 * m, 3 * m, 4 * m}},
		"good answer":                 {"3600", []func(*turn){says(200, room...)}, []time.Duration{m, m, m, m}},
		"good, later":                 {"3600", []func(*turn){bad, says(200, room...)}, []time.Duration{m, 2 * m, 2 * m, 2 * m}},
		"a refusal with headers":      {"3600", []func(*turn){says(403, room...)}, []time.Duration{m, m, m, m}},
		"a later answer knows better": {"3600", []func(*turn){says(429, "Retry-After", "20")}, []time.Duration{m, m + 20*s, m + 20*s + s/2, m + 21*s}},
		"no answer":                   {"3600", nil, []time.Duration{m, m + s/2, m + s, m + 3*s/2}},
		"a minute":                    {"60", nil, []time.Duration{m, m + s/2, m + s, m + 3*s/2}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l Limits
				observe(t, &l, 429, headers("Retry-After", tt.hold))
				assert.Equal(t, tt.want, releaseWith(t, &l, 4, tt.answers...))
			})
		})
	}
}

// TestTheTokenEndpointIsNotAskedWhileItLimits, but by who is urged.
func TestTheTokenEndpointIsNotAskedWhileItLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limits
		turn, err := l.token.admit(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Millisecond)
		turn.observe(429, headers("Retry-After", "86400"))
		turn.done()
		_, err = l.token.admit(t.Context())
		require.EqualError(t, err, "token: Auth0 limits the rate, retry in 1m0s")
		_, err = l.token.admit(Urgent(t.Context()))
		require.NoError(t, err)
		_, err = l.token.admit(Urgent(t.Context()))
		require.EqualError(t, err, "token: Auth0 limits the rate, retry in 10s")
		time.Sleep(time.Minute)
		turn, err = l.token.admit(t.Context())
		require.NoError(t, err)
		turn.observe(200, nil)
		_, err = l.token.admit(t.Context())
		require.NoError(t, err)
	})
}

// TestAnAnswerFromBeforeAHoldDoesNotEndIt.
func TestAnAnswerFromBeforeAHoldDoesNotEndIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limits
		before, err := l.wait(t.Context(), opGet)
		require.NoError(t, err)
		time.Sleep(time.Second)
		observe(t, &l, 429, headers("Retry-After", "30"))
		before.observe(200, headers("X-RateLimit-Limit", "50", "X-RateLimit-Remaining", "40"))
		before.done()
		assert.Equal(t, []time.Duration{30 * time.Second}, release(t, &l, 1))
	})
}

func TestAnUrgentCallGoesAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(*turn)
		next   time.Duration // when an ordinary call goes
	}{
		"good": {says(200, "X-RateLimit-Limit", "50", "X-RateLimit-Remaining", "40"), 0},
		"bad":  {says(429, "Retry-After", "3600"), time.Minute},
		"none": {func(*turn) {}, 59 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l Limits
				observe(t, &l, 429, headers("Retry-After", "3600"))
				time.Sleep(time.Second)
				start := time.Now()
				turn, err := l.wait(Urgent(t.Context()), opSet)
				require.NoError(t, err)
				tt.answer(turn)
				turn.done()
				assert.Zero(t, time.Since(start))
				assert.Equal(t, []time.Duration{tt.next}, release(t, &l, 1))
			})
		})
	}
}

// TestUrgentCallsGoOnceInTenSeconds, others of them with the rest.
func TestUrgentCallsGoOnceInTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limits
		observe(t, &l, 429, headers("Retry-After", "3600"))
		start := time.Now()
		gone := 0
		for range 45 {
			time.Sleep(time.Second)
			for range 2 {
				ctx, cancel := context.WithTimeout(Urgent(t.Context()), 10*time.Second)
				turn, err := l.wait(ctx, opSet)
				cancel()
				if err == nil {
					gone++
					turn.done()
					continue
				}
				e := asError(t, err)
				assert.Equal(t, Limited, e.Class)
				assert.Positive(t, e.RetryAfter)
			}
		}
		assert.Equal(t, 45*time.Second, time.Since(start), "none waited")
		assert.Equal(t, 5, gone)
	})
	synctest.Test(t, func(t *testing.T) { // without a hold they are like the others
		var l Limits
		observe(t, &l, 200, headers("X-RateLimit-Limit", "2", "X-RateLimit-Remaining", "0"))
		start := time.Now()
		for i := range 3 {
			ctx := t.Context()
			if i > 0 {
				ctx = Urgent(ctx)
			}
			turn, err := l.wait(ctx, opSet)
			require.NoError(t, err)
			turn.done()
			assert.Equal(t, time.Duration(i)*probeEvery, time.Since(start))
		}
	})
}

// TestCallsThatHangDoNotHoldUpTheOthers for as long as they hang.
func TestCallsThatHangDoNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{perSec: 16, burst: 50, left: 50, at: time.Now()}
		var l Limits
		b.serve(t, &l, 1, 1, 0)
		for range 30 {
			turn, err := l.wait(t.Context(), opSet)
			require.NoError(t, err)
			b.call() // counted, but there is no answer
			time.AfterFunc(time.Minute, turn.done)
		}
		took := b.serve(t, &l, 200, 16, 100*time.Millisecond)
		assert.Less(t, took, 18*time.Second, "200 calls, less those for which there is room, at 16 a second, and three seconds")
		assert.Zero(t, b.refused)
	})
}

// TestACallThatIsNotSentMakesRoom: a token could not be had.
func TestACallThatIsNotSentMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limits
		observe(t, &l, 200, headers("X-RateLimit-Limit", "50", "X-RateLimit-Remaining", "9"))
		start := time.Now()
		for range 64 {
			turn, err := l.wait(t.Context(), opSet)
			require.NoError(t, err)
			turn.unused()
		}
		assert.Zero(t, time.Since(start))
		assert.Equal(t, []time.Duration{0, 0, 0, 0}, release(t, &l, 4))
	})
}

// TestWhoEndsWithoutAnAnswerLetsTheNextGo, and does not leave it to the timer.
func TestWhoEndsWithoutAnAnswerLetsTheNextGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limits
		start := time.Now()
		var all sync.WaitGroup
		for range 3 * firstCalls {
			all.Go(func() {
				turn, err := l.wait(t.Context(), opSet)
				assert.NoError(t, err)
				time.Sleep(10 * time.Millisecond)
				turn.done()
			})
		}
		all.Wait()
		assert.Equal(t, 30*time.Millisecond, time.Since(start))
	})
}

// TestACallThatIsCancelledWhileItWaitsWasNotSent, and that is no unclear answer.
func TestACallThatIsCancelledWhileItWaitsWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limits
		observe(t, &l, 429, headers("Retry-After", "30"))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := l.wait(ctx, opSet)
		require.EqualError(t, err, "set secret: not sent: the request was given up")
		assert.Equal(t, Refused, ClassOf(err))
		require.ErrorIs(t, err, context.Canceled)
	})
}

// TestTheListHasALimitOfItsOwn, which holds up no other call.
func TestTheListHasALimitOfItsOwn(t *testing.T) {
	tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v2/clients" {
			w.Header().Set("X-RateLimit-Limit", "5")
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(30*time.Minute).Unix(), 10))
			reply(w, 200, `{"total":0,"clients":[]}`)
			return
		}
		reply(w, 200, openObject)
	})
	c := tn.client(t)
	_, err := c.Applications(t.Context(), 0, 10)
	require.NoError(t, err)
	assert.Equal(t, 5, c.RateLimit().Limit, "nothing else has been asked")
	require.NoError(t, c.SetSecret(t.Context(), appID, "s3cret-new"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = c.Applications(ctx, 0, 10)
	assert.Equal(t, Limited, ClassOf(err))
}

// TestTheTokenEndpointHoldsNoOtherCall when it limits, urgent or not.
func TestTheTokenEndpointHoldsNoOtherCall(t *testing.T) {
	tn := newTenant(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, openObject) })
	c := tn.client(t)
	require.NoError(t, c.SetSecret(t.Context(), appID, "s3cret-new")) // now there is a token
	tn.mu.Lock()
	tn.token = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "60")
		reply(w, 429, `{"error":"too_many_requests"}`)
	}
	tn.mu.Unlock()
	for range 2 {
		_, err := c.Token(t.Context(), TokenRequest{ClientID: appID, Secret: "s3cret-new", Audience: "https://api.example.com/"})
		assert.Equal(t, Limited, ClassOf(err))
	}
	tokens, _ := tn.counts()
	assert.Equal(t, 2, tokens, "the second is held")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, c.SetSecret(ctx, appID, "s3cret-newer"))
}
