package auth0

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asked are the counts that are not zero.
func asked(c *Counts) map[string]uint64 {
	found := map[string]uint64{}
	for _, count := range c.Requests() {
		if count.Number > 0 {
			found[count.Endpoint+" "+count.Status] += count.Number
		}
	}
	return found
}

// TestCounts: every request is counted by its endpoint and its answer's status, those
// for tokens and those that were sent again, too.
func TestCounts(t *testing.T) {
	tn := newTenant(t, replies(200, `{"client_id":"`+appID+`"}`))
	cfg := tn.config()
	cfg.Counts = &Counts{}
	c := newClient(t, cfg)
	require.NoError(t, c.SetSecret(t.Context(), appID, "next"))
	tn.on(replies(404, `{"statusCode":404,"errorCode":"inexistent_client"}`))
	require.Error(t, c.SetSecret(t.Context(), appID, "next"))
	tn.on(replies(429, `{}`))
	require.Error(t, c.SetSecret(t.Context(), appID, "next"))
	assert.Equal(t, map[string]uint64{
		"POST /oauth/token 2xx": 1, "PATCH /api/v2/clients/{id} 2xx": 1, "PATCH /api/v2/clients/{id} 4xx": 1, "PATCH /api/v2/clients/{id} 429": 1,
	}, asked(cfg.Counts))
	assert.EqualValues(t, 1, cfg.Counts.Tokens())

	other := tn.config()
	other.Counts = cfg.Counts // shared, and a tenant of which nothing is known yet
	c = newClient(t, other)
	tn.on(replies(503, ""))
	_, err := c.Application(t.Context(), appID)
	require.Error(t, err)
	tn.on(hangUp)
	_, err = c.RotateSecret(t.Context(), appID)
	require.Error(t, err)
	tn.onToken(replies(401, `{"error":"access_denied"}`))
	_, err = c.NewToken(t.Context(), nil)
	require.Error(t, err)
	found := asked(cfg.Counts)
	assert.EqualValues(t, 1+retryMax, found["GET /api/v2/clients/{id} 5xx"])
	assert.EqualValues(t, 1, found["POST /api/v2/clients/{id}/rotate-secret none"])
	assert.EqualValues(t, 2, found["POST /oauth/token 2xx"])
	assert.EqualValues(t, 1, found["POST /oauth/token 4xx"])
	assert.EqualValues(t, 2, cfg.Counts.Tokens(), "what was refused is none")
}

func TestStatusClasses(t *testing.T) {
	for status, class := range map[int]string{
		0: "none", 101: "other", 200: "2xx", 204: "2xx", 302: "3xx", 400: "4xx", 429: "429", 500: "5xx", 599: "5xx", 600: "other", 999: "other",
	} {
		assert.Equal(t, class, statusClass(status), status)
	}
	names := map[string]bool{}
	for _, count := range (&Counts{}).Requests() {
		assert.Zero(t, count.Number)
		assert.False(t, names[count.Endpoint+count.Status], "%v twice", count)
		names[count.Endpoint+count.Status] = true
	}
	assert.Len(t, names, (len(endpoints)-1)*len(statusClasses), "two endpoints are one: "+http.MethodPatch)
}
