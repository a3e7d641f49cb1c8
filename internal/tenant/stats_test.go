package tenant

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// attempts tries secrets in order as an application does, until one is accepted.
func (f *fixture) attempts(clientID, id string, secrets ...string) {
	for i, secret := range secrets {
		header := map[string]string{loginIDHeader: id}
		if i == len(secrets)-1 {
			header[loginLastHeader] = "true"
		}
		if f.logIn(clientID, secret, "", header).status == http.StatusOK {
			return
		}
	}
}

func TestLoginsAreCountedNotAttempts(t *testing.T) {
	f := start(t)
	app, other := f.AddApplication(Application{}), f.AddApplication(Application{})
	good := app.ClientSecret
	f.attempts(app.ClientID, "1", good, "bad")
	f.attempts(app.ClientID, "2", "bad", good)
	f.attempts(app.ClientID, "3", "bad", "worse")
	f.attempts(app.ClientID, "4", "bad")
	f.logIn(app.ClientID, "bad", "", map[string]string{loginIDHeader: "5"})
	f.logIn(app.ClientID, "bad", "", map[string]string{loginIDHeader: "5"})
	want := LoginStats{Accepted: 2, Refused: 2, Undecided: 1, FellBack: 1}
	want.Attempts.Accepted, want.Attempts.Refused = 2, 6
	assert.Equal(t, want, f.Stats().PerApplication[app.ClientID])

	// Others have logins of their own, also with an ID that is in use.
	f.logIn(other.ClientID, other.ClientSecret, "", map[string]string{loginIDHeader: "5"})
	f.logIn("nobody", "bad", "", map[string]string{loginIDHeader: "5", loginLastHeader: "true"})
	stats := f.Stats()
	assert.Equal(t, want, stats.PerApplication[app.ClientID])
	assert.Len(t, stats.PerApplication, 2, "not of applications that never were")
	want.Accepted, want.Refused = 3, 3
	want.Attempts.Accepted, want.Attempts.Refused = 3, 7
	assert.Equal(t, want, stats.Logins)

	// The undecided one is decided later.
	f.logIn(app.ClientID, good, "", map[string]string{loginIDHeader: "5", loginLastHeader: "true"})
	assert.Equal(t, 0, f.Stats().Logins.Undecided)
	assert.Equal(t, 2, f.Stats().Logins.FellBack)
	assert.Empty(t, f.stats.undecided, "what is decided is forgotten")
}

// Applications that send no X-Login-Id are counted by what they do.
func TestLoginsWithoutAnID(t *testing.T) {
	for name, test := range map[string]struct {
		secrets string // in order; only good is good
		want    LoginStats
	}{
		"first secret":          {"good", LoginStats{Accepted: 1}},
		"second secret":         {"old good", LoginStats{Accepted: 1, FellBack: 1}},
		"third secret, twice":   {"old older good old older good", LoginStats{Accepted: 2, FellBack: 2}},
		"not yet decided":       {"good old older", LoginStats{Accepted: 1, Undecided: 1}},
		"none is good":          {"old older old older old", LoginStats{Refused: 2, Undecided: 1}},
		"one that is bad":       {"old old old", LoginStats{Refused: 2, Undecided: 1}},
		"good again":            {"old older old good", LoginStats{Refused: 1, Accepted: 1, FellBack: 1}},
		"more than a set holds": {"a b c d e good", LoginStats{Refused: 1, Accepted: 1, FellBack: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			app := f.AddApplication(Application{ClientSecret: "good"})
			for _, secret := range strings.Fields(test.secrets) {
				f.logIn(app.ClientID, secret, "", nil)
			}
			got := f.Stats().Logins
			got.Attempts = test.want.Attempts
			assert.Equal(t, test.want, got)
			assert.Equal(t, f.Stats().Logins, f.Stats().PerApplication[app.ClientID])
		})
	}
}

func TestFaultsCountNeitherWay(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	for _, kind := range []FaultKind{
		RateLimited, ServerError, ResetBeforeCommit, HTMLFromProxy, UpgradeRequired, Echo,
		ServerErrorAfterCommit, ResetAfterCommit, Truncated, Huge, NotJSON, EmptyAnswer,
	} {
		off := f.Inject(Fault{Endpoint: Token, Kind: kind})
		f.logIn(app.ClientID, app.ClientSecret, "", map[string]string{loginIDHeader: "x", loginLastHeader: "true"})
		off()
	}
	assert.Equal(t, LoginStats{}, f.Stats().Logins)
	assert.Equal(t, 2, f.Stats().Requests["POST /oauth/token 0"], "the two that were cut")
	assert.Equal(t, 1, f.Stats().RateLimited)
	f.attempts(app.ClientID, "x", app.ClientSecret)
	assert.Equal(t, 1, f.Stats().Logins.Accepted)
	assert.Zero(t, f.Stats().Logins.FellBack)
}

func TestManagementTokensAreNotLogins(t *testing.T) {
	f := start(t) // has got one
	engine := f.AddManagementApplication()
	f.logIn(engine.ClientID, engine.ClientSecret, f.Audience(), nil)
	f.logIn(engine.ClientID, "bad", f.Audience(), nil)
	stats := f.Stats()
	assert.Equal(t, 2, stats.ManagementTokens.Issued)
	assert.Equal(t, 1, stats.ManagementTokens.Refused)
	assert.Equal(t, LoginStats{}, stats.Logins)
}

func TestUndecidedLoginsAreBounded(t *testing.T) {
	s := newStatistics()
	for i := range maxUndecided + 10 {
		s.attempt(loginAttempt{clientID: "app", id: fmt.Sprint(i)})
	}
	assert.Len(t, s.undecided, 10)
	assert.Equal(t, maxUndecided+10, s.counts.Logins.Undecided)
	s.attempt(loginAttempt{clientID: "app", id: fmt.Sprint(maxUndecided), accepted: true})
	assert.Equal(t, 1, s.counts.Logins.FellBack, "the newest are kept")
	assert.Equal(t, maxUndecided+9, s.counts.Logins.Undecided)
}

func TestRequestsAreCountedWithoutSecrets(t *testing.T) {
	f := start(t, allScopes...)
	app := f.AddApplication(Application{})
	f.patch(app.ClientID, "confidential")
	f.api(http.MethodGet, "clients/"+app.ClientID+"?fields=name", "")
	f.api(http.MethodGet, "clients/nobody", "")
	f.api(http.MethodGet, "clients", "")
	f.api(http.MethodGet, "users", "")
	assert.Equal(t, map[string]int{
		"POST /oauth/token 200": 1, "PATCH /api/v2/clients/{id} 200": 1, "GET /api/v2/clients/{id} 200": 1,
		"GET /api/v2/clients/{id} 404": 1, "GET /api/v2/clients 200": 1, "/api/v2/ 404": 1,
	}, f.Stats().Requests)

	f.logIn(app.ClientID, "undecided", "", nil)
	all, err := json.Marshal(f.Stats())
	require.NoError(t, err)
	for _, secret := range []string{"confidential", "undecided\"", app.ClientSecret, f.token} {
		assert.NotContains(t, string(all), secret)
	}
}

func TestStorm(t *testing.T) {
	f := start(t, allScopes...)
	app := f.AddApplication(Application{})
	f.Inject(Fault{Endpoint: UpdateApplication, Kind: ResetAfterCommit, Times: 3})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 10 {
				id := fmt.Sprint(worker, "-", i)
				f.attempts(app.ClientID, id, "bad", f.Secret(app.ClientID), "worse")
				f.patch(app.ClientID, id)
				f.Stats()
			}
		})
	}
	wg.Wait()
	logins := f.Stats().Logins
	assert.Equal(t, 80, logins.Accepted+logins.Refused)
	assert.Zero(t, logins.Undecided)
	assert.Equal(t, logins.Accepted, logins.FellBack)
	assert.Len(t, f.values(app.ClientID), 81, "every PATCH was carried out once")
}

// An application that has given up has not been let in.
func TestLoginsWithoutTheirClientAreNotCounted(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	gone, leave := context.WithCancel(t.Context())
	leave()
	body := strings.NewReader("grant_type=client_credentials&client_id=" + app.ClientID + "&client_secret=" + app.ClientSecret)
	f.newHandler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, http.MethodPost, "/oauth/token", body))
	assert.Equal(t, 2, f.Stats().Requests["POST /oauth/token 200"])
	assert.Equal(t, LoginStats{}, f.Stats().Logins)
}
