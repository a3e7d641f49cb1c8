package auth0

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestClockTakesTheRoundTripIntoAccount: a difference is told only where the
// time between request and answer, and the second that a Date leaves open, do
// not explain it.
func TestClockTakesTheRoundTripIntoAccount(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	observe := func(w *clockWatch, date time.Time, sent, had time.Duration) {
		w.observe(http.Header{"Date": {date.UTC().Format(http.TimeFormat)}}, now.Add(sent), now.Add(had))
	}
	for name, test := range map[string]struct {
		date      time.Duration // by the tenant's clock
		sent, had time.Duration // by ours
		ahead     time.Duration
	}{
		"same":                            {0, 0, 100 * time.Millisecond, 0},
		"the second is nearly over":       {0, 900 * time.Millisecond, 950 * time.Millisecond, 0},
		"a slow answer explains it":       {5 * time.Second, 0, 5 * time.Second, 0},
		"a slow request explains it":      {-4 * time.Second, -5 * time.Second, 0, 0},
		"ahead":                           {20 * time.Second, 0, time.Second, 19 * time.Second},
		"behind":                          {-20 * time.Second, 0, time.Second, -19 * time.Second},
		"ahead, as far as it is not late": {20 * time.Second, 0, 12 * time.Second, 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var w clockWatch
			observe(&w, now.Add(test.date), test.sent, test.had)
			assert.True(t, w.read().Known())
			assert.Equal(t, test.ahead, w.read().Ahead())
		})
	}

	var w clockWatch
	w.observe(http.Header{}, now, now)
	w.observe(http.Header{"Date": {"yesterday"}}, now, now)
	assert.False(t, w.read().Known(), "nothing was told")
	observe(&w, now.Add(time.Minute), 0, time.Second)
	observe(&w, now.Add(time.Minute), 0, 30*time.Second)
	assert.Equal(t, 59*time.Second, w.read().Ahead(), "the fastest answer tells most")
}

// TestClientComparesClocks by any answer, a refusal as well.
func TestClientComparesClocks(t *testing.T) {
	tn := newTenant(t, nil)
	c := tn.client(t)
	assert.False(t, c.Clock().Known())
	tn.onToken(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		reply(w, 401, `{"error":"access_denied","error_description":"Unauthorized"}`)
	})
	_, err := c.Grant(t.Context())
	require.Error(t, err)
	require.True(t, c.Clock().Known())
	assert.Less(t, c.Clock().Ahead(), -5*time.Minute)
}

// TestAClockThatIsSetBackMeanwhileTellsNothing.
func TestAClockThatIsSetBackMeanwhileTellsNothing(t *testing.T) {
	var w clockWatch
	sent := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	header := http.Header{"Date": {sent.Format(http.TimeFormat)}}
	w.observe(header, sent, sent.Add(-time.Hour))
	assert.False(t, w.read().Known())
	w.observe(header, sent, sent.Add(time.Second))
	assert.Equal(t, time.Duration(0), w.read().Ahead())
}
