package tenant

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRateLimitIsATokenBucket(t *testing.T) {
	f := start(t, "read:clients")
	app := f.AddApplication(Application{})
	read := func() result { return f.api(http.MethodGet, "clients/"+app.ClientID, "") }
	f.SetRateLimit(RateLimit{PerSecond: 2, Burst: 3})
	now := f.clock.Now().Unix()

	for left := 2; left >= 0; left-- {
		got := read()
		assert.Equal(t, http.StatusOK, got.status)
		assert.Equal(t, "3", got.header.Get("X-RateLimit-Limit"))
		assert.Equal(t, strconv.Itoa(left), got.header.Get("X-RateLimit-Remaining"))
	}
	got := read()
	assert.Equal(t, http.StatusTooManyRequests, got.status)
	assert.JSONEq(t, `{"statusCode":429,"error":"Too Many Requests","message":"Global limit has been reached","errorCode":"too_many_requests"}`, string(got.body))
	assert.Equal(t, "0", got.header.Get("X-RateLimit-Remaining"))
	assert.Equal(t, strconv.FormatInt(now+1, 10), got.header.Get("X-RateLimit-Reset"), "half a second, rounded up")
	assert.Equal(t, f.clock.Now().Format(http.TimeFormat), got.header.Get("Date"), "by the same clock")
	assert.Equal(t, http.StatusOK, f.logIn(app.ClientID, app.ClientSecret, "", nil).status, "not for logins")
	assert.Equal(t, 1, f.Stats().RateLimited)

	f.clock.advance(499 * time.Millisecond)
	assert.Equal(t, http.StatusTooManyRequests, read().status)
	f.clock.advance(time.Millisecond)
	assert.Equal(t, http.StatusOK, read().status)
	assert.Equal(t, http.StatusTooManyRequests, read().status)

	f.clock.advance(time.Hour)
	for range 3 {
		assert.Equal(t, http.StatusOK, read().status)
	}
	assert.Equal(t, http.StatusTooManyRequests, read().status, "no more than a burst")
}

// A bucket with a window is filled all at once, at the end of it.
func TestRateLimitRefillsInWindows(t *testing.T) {
	f := start(t, "read:clients")
	app := f.AddApplication(Application{})
	read := func() result { return f.api(http.MethodGet, "clients/"+app.ClientID, "") }
	begin := f.clock.Now()
	f.SetRateLimit(RateLimit{Burst: 2, Window: time.Minute})
	reset := func(r result) int64 {
		at, err := strconv.ParseInt(r.header.Get("X-RateLimit-Reset"), 10, 64)
		require.NoError(t, err)
		return at - begin.Unix()
	}
	assert.EqualValues(t, 60, reset(read()), "not when it is full by itself")
	f.clock.advance(30 * time.Second)
	assert.Equal(t, http.StatusOK, read().status)
	f.clock.advance(30*time.Second - 1)
	got := read()
	assert.Equal(t, http.StatusTooManyRequests, got.status)
	assert.EqualValues(t, 60, reset(got))

	f.clock.advance(1 + 3*time.Minute + 10*time.Second)
	got = read()
	assert.Equal(t, http.StatusOK, got.status)
	assert.Equal(t, "1", got.header.Get("X-RateLimit-Remaining"))
	assert.EqualValues(t, 300, reset(got), "the windows begin when the limit was set")
	assert.Equal(t, http.StatusOK, read().status)
	assert.Equal(t, http.StatusTooManyRequests, read().status)

}

// GET /clients has a limit of its own on top of the tenant's.
func TestRateLimitOfAnEndpoint(t *testing.T) {
	f := start(t, "read:clients")
	app := f.AddApplication(Application{})
	read := func() result { return f.api(http.MethodGet, "clients/"+app.ClientID, "") }
	list := func() result { return f.api(http.MethodGet, "clients", "") }
	f.SetRateLimit(RateLimit{PerSecond: 16, Burst: 50})
	for left := 4; left >= 0; left-- {
		got := list()
		assert.Equal(t, http.StatusOK, got.status)
		assert.Equal(t, []string{"5", strconv.Itoa(left)}, []string{got.header.Get("X-RateLimit-Limit"), got.header.Get("X-RateLimit-Remaining")})
	}
	assert.Equal(t, http.StatusTooManyRequests, list().status)
	got := read()
	assert.Equal(t, http.StatusOK, got.status)
	assert.Equal(t, "50", got.header.Get("X-RateLimit-Limit"))
	assert.Equal(t, "44", got.header.Get("X-RateLimit-Remaining"), "one that was refused took nothing")
	f.clock.advance(600*time.Millisecond - 1)
	assert.Equal(t, http.StatusTooManyRequests, list().status)
	f.clock.advance(1)
	assert.Equal(t, http.StatusOK, list().status, "100 a minute")

	f.SetRateLimit(RateLimit{PerSecond: 1, Burst: 1})
	read()
	got = list()
	assert.Equal(t, http.StatusTooManyRequests, got.status, "the tenant's is for all")
	assert.Equal(t, "1", got.header.Get("X-RateLimit-Limit"))
}

func TestRateLimitCountsBadRequests(t *testing.T) {
	f := start(t)
	f.SetRateLimit(RateLimit{PerSecond: 1})
	assert.Equal(t, http.StatusUnauthorized, f.do(t.Context(), http.MethodGet, "/api/v2/clients", "", nil).status)
	assert.Equal(t, http.StatusTooManyRequests, f.do(t.Context(), http.MethodGet, "/api/v2/clients", "", nil).status)
}

func TestUnlimitedSendsTheHeaders(t *testing.T) {
	f := start(t, "read:clients")
	for range 50 {
		got := f.api(http.MethodGet, "clients", "")
		assert.Equal(t, http.StatusOK, got.status)
		assert.NotEmpty(t, got.header.Get("X-RateLimit-Limit"))
		assert.NotContains(t, []string{"", "0"}, got.header.Get("X-RateLimit-Remaining"))
		assert.NotEmpty(t, got.header.Get("X-RateLimit-Reset"))
	}
}

// The limit of /oauth/token is nobody else's, and no one else's is its.
func TestTokensHaveARateLimitOfTheirOwn(t *testing.T) {
	f := start(t, "read:clients")
	app := f.AddApplication(Application{})
	get := func() result { return f.logIn(app.ClientID, app.ClientSecret, "", nil) }
	assert.Empty(t, get().header.Get("X-RateLimit-Limit"), "unlimited")
	accepted := f.Stats().Logins

	f.SetTokenLimit(RateLimit{PerSecond: 2, Burst: 2})
	now := f.clock.Now().Unix()
	assert.Equal(t, "1", get().header.Get("X-RateLimit-Remaining"))
	assert.Equal(t, http.StatusUnauthorized, f.logIn(app.ClientID, "wrong", "", map[string]string{loginLastHeader: "true"}).status)
	got := get()
	assertRefused(t, got, http.StatusTooManyRequests, `{"error":"too_many_requests","error_description":"Global limit has been reached"}`)
	assert.Equal(t, []string{"2", "0", strconv.FormatInt(now+1, 10)}, []string{
		got.header.Get("X-RateLimit-Limit"), got.header.Get("X-RateLimit-Remaining"), got.header.Get("X-RateLimit-Reset"),
	})
	assert.Equal(t, accepted.Accepted+1, f.Stats().Logins.Accepted)
	assert.Equal(t, 1, f.Stats().Logins.Refused, "that with the wrong secret, which counts")
	assert.Zero(t, f.Stats().Logins.Undecided, "one that is limited was not decided")
	assert.Equal(t, 1, f.Stats().RateLimited)
	assert.Equal(t, http.StatusTooManyRequests, f.logIn(app.ClientID, "wrong", f.Audience(), nil).status, "whatever it is for")

	assert.Equal(t, "1000", f.api(http.MethodGet, "clients/"+app.ClientID, "").header.Get("X-RateLimit-Remaining"))
	assert.Equal(t, http.StatusOK, f.do(t.Context(), http.MethodGet, "/.well-known/jwks.json", "", nil).status)
	f.SetRateLimit(RateLimit{PerSecond: 100})
	assert.Equal(t, http.StatusTooManyRequests, get().status, "setting the one leaves the other")
	f.clock.advance(500 * time.Millisecond)
	assert.Equal(t, http.StatusOK, get().status)
	assert.Equal(t, http.StatusTooManyRequests, get().status)
	f.SetTokenLimit(RateLimit{})
	assert.Equal(t, http.StatusOK, get().status)

	limited, err := Start(Options{TokenLimit: RateLimit{PerSecond: 1, Burst: 7}, Now: f.clock.Now})
	require.NoError(t, err)
	defer limited.Close()
	other := &fixture{Tenant: limited, t: t, clock: f.clock}
	assert.Equal(t, "6", other.logIn("nobody", "x", "", nil).header.Get("X-RateLimit-Remaining"))
}
