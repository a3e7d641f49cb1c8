package tenant

import (
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (f *fixture) control(method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.ControlHandler().ServeHTTP(w, httptest.NewRequestWithContext(f.t.Context(), method, controlPrefix+path, strings.NewReader(body)))
	return w
}

func TestControlSwitchesFaultsAndTheRest(t *testing.T) {
	f := start(t, allScopes...)
	app := f.AddApplication(Application{})
	order := func(method, path, body string) {
		t.Helper()
		got := f.control(method, path, body)
		require.Equal(t, http.StatusOK, got.Code, got.Body)
	}

	order(http.MethodPost, "faults", `{"endpoint":"update","kind":"rate-limited","retry_after":"5s"}`)
	assert.Equal(t, "5", f.patch(app.ClientID, "new").header.Get("Retry-After"))
	order(http.MethodDelete, "faults", "")
	order(http.MethodPost, "faults", `{"endpoint":"update","kind":"echo","encoding":"hex","times":1}`)
	assert.Contains(t, f.patch(app.ClientID, "new").message(), hex.EncodeToString([]byte(`{"client_secret":"new"}`)))
	order(http.MethodPost, "faults", `{"endpoint":"list","kind":"headers","status":429,"headers":{"Retry-After":"86400"},"times":1}`)
	assert.Equal(t, http.StatusOK, f.api(http.MethodGet, "clients/"+app.ClientID, "").status)
	assert.Equal(t, "86400", f.api(http.MethodGet, "clients", "").header.Get("Retry-After"))
	order(http.MethodPost, "propagation", `{"delay":"30s","mode":"old"}`)
	assert.Equal(t, http.StatusOK, f.patch(app.ClientID, "new").status)
	assert.False(t, f.accepts(app, "new", ""))
	f.clock.advance(30 * time.Second)
	assert.True(t, f.accepts(app, "new", ""))
	order(http.MethodPost, "drift", `{"client_id":"`+app.ClientID+`"}`)
	assert.NotEqual(t, "new", f.Secret(app.ClientID))
	order(http.MethodPost, "rate", `{"per_second":1}`)
	f.api(http.MethodGet, "clients", "")
	assert.Equal(t, http.StatusTooManyRequests, f.api(http.MethodGet, "clients", "").status)
	order(http.MethodPost, "rate", `{}`)
	order(http.MethodPost, "expire-tokens", "")
	assert.Equal(t, http.StatusUnauthorized, f.api(http.MethodGet, "clients", "").status)
	order(http.MethodPost, "down", `{"down":true}`)
	require.Error(t, f.api(http.MethodGet, "clients", "").err)
	order(http.MethodPost, "down", `{"down":false}`)

	stats := f.do(t.Context(), http.MethodGet, controlPrefix+"stats", "", nil)
	assert.Equal(t, http.StatusOK, stats.status, "the tenant serves it, too")
	assert.Contains(t, stats.object, "Logins")
	journal := f.control(http.MethodGet, "journal", "")
	assert.Contains(t, journal.Body.String(), `"Fault": "rate-limited"`)
	for _, secret := range []string{app.ClientSecret, f.Secret(app.ClientID), f.token} {
		assert.NotContains(t, journal.Body.String()+string(stats.body), secret)
	}
}

func TestControlRefusesNonsense(t *testing.T) {
	f := start(t)
	for path, body := range map[string]string{
		"faults":      `{"kind":"echo","encoding":"nonsense"}`,
		"propagation": `{"delay":"soon"}`,
		"rate":        `{"per_minute":1}`,
		"down":        `{}`,
		"drift":       `{"client_id":"nobody"}`,
	} {
		got := f.control(http.MethodPost, path, body)
		assert.Equal(t, http.StatusBadRequest, got.Code, path)
		assert.Contains(t, got.Body.String(), `"error"`, path)
	}
	assert.Equal(t, http.StatusMethodNotAllowed, f.control(http.MethodGet, "down", "").Code)
}
