package tenant

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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
