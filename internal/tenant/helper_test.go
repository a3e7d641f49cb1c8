package tenant

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var allScopes = []string{"read:clients", "read:client_keys", "read:client_credentials", "update:client_keys", "update:clients"}

// clock is a clock that is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fixture is a tenant, its clock, and a token of its management application.
type fixture struct {
	*Tenant
	t     *testing.T
	clock *clock
	token string
}

func start(t *testing.T, granted ...string) *fixture {
	t.Helper()
	c := newClock()
	tn, err := Start(Options{Now: c.Now})
	require.NoError(t, err)
	t.Cleanup(tn.Close)
	f := &fixture{Tenant: tn, t: t, clock: c}
	f.token = f.tokenFor(granted...)
	return f
}

// tokenFor gives a Management API token with some scopes.
func (f *fixture) tokenFor(granted ...string) string {
	f.t.Helper()
	engine := f.AddManagementApplication(granted...)
	got := f.logIn(engine.ClientID, engine.ClientSecret, f.Audience(), nil)
	require.Equal(f.t, http.StatusOK, got.status)
	return got.object["access_token"].(string)
}

// result is an answer, or the error in its place.
type result struct {
	status int
	header http.Header
	body   []byte
	object map[string]any // nil if the body is not an object
	err    error
}

func (r result) message() string { s, _ := r.object["message"].(string); return s }
func (r result) code() string    { s, _ := r.object["errorCode"].(string); return s }

func (f *fixture) do(ctx context.Context, method, path, body string, header map[string]string) result {
	f.t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, "https://"+f.Domain()+path, bytes.NewReader([]byte(body)))
	require.NoError(f.t, err)
	for name, value := range header {
		request.Header.Set(name, value)
	}
	answer, err := f.HTTPClient().Do(request)
	if err != nil {
		return result{err: err}
	}
	defer answer.Body.Close()
	r := result{status: answer.StatusCode, header: answer.Header}
	r.body, r.err = io.ReadAll(answer.Body)
	_ = json.Unmarshal(r.body, &r.object)
	return r
}

// api calls the Management API with the fixture's token.
func (f *fixture) api(method, path, body string) result {
	f.t.Helper()
	return f.apiAs(f.t.Context(), f.token, method, path, body)
}

func (f *fixture) apiAs(ctx context.Context, token, method, path, body string) result {
	f.t.Helper()
	return f.do(ctx, method, "/api/v2/"+path, body, map[string]string{
		"Authorization": "Bearer " + token, "Content-Type": "application/json",
	})
}

// patch sets an application's secret.
func (f *fixture) patch(clientID, secret string) result {
	f.t.Helper()
	return f.api(http.MethodPatch, "clients/"+clientID, `{"client_secret":"`+secret+`"}`)
}

func (f *fixture) logIn(clientID, secret, audience string, header map[string]string) result {
	f.t.Helper()
	all := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for name, value := range header {
		all[name] = value
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret}, "audience": {audience}}
	return f.do(f.t.Context(), http.MethodPost, "/oauth/token", form.Encode(), all)
}

// accepts says whether a login of one attempt is accepted.
func (f *fixture) accepts(app Application, secret, loginID string) bool {
	f.t.Helper()
	got := f.logIn(app.ClientID, secret, "", map[string]string{loginIDHeader: loginID, loginLastHeader: "true"})
	require.NoError(f.t, got.err)
	if got.status != http.StatusOK {
		assert.Equal(f.t, http.StatusUnauthorized, got.status)
	}
	return got.status == http.StatusOK
}

// values gives the secrets of an application in the order in which they were set.
func (f *fixture) values(clientID string) []string {
	var values []string
	for _, c := range f.SecretHistory(clientID) {
		values = append(values, c.Value)
	}
	return values
}
