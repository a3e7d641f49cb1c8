package tenant

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

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
	f.logIn(app.ClientID, good, "", nil)
	f.logIn(app.ClientID, "bad", "", nil)
	want := LoginStats{Accepted: 3, Refused: 3, Undecided: 1, FellBack: 1}
	want.Attempts.Accepted, want.Attempts.Refused = 3, 7
	assert.Equal(t, want, f.Stats().PerApplication[app.ClientID])

	// Others have logins of their own, also with an ID that is in use.
	f.logIn(other.ClientID, other.ClientSecret, "", map[string]string{loginIDHeader: "5"})
	f.logIn("nobody", "bad", "", nil)
	stats := f.Stats()
	assert.Equal(t, want, stats.PerApplication[app.ClientID])
	assert.Len(t, stats.PerApplication, 2, "not of applications that never were")
	want.Accepted, want.Refused = 4, 4
	want.Attempts.Accepted, want.Attempts.Refused = 4, 8
	assert.Equal(t, want, stats.Logins)

	// The undecided one is decided later.
	f.logIn(app.ClientID, good, "", map[string]string{loginIDHeader: "5", loginLastHeader: "true"})
	assert.Equal(t, 0, f.Stats().Logins.Undecided)
	assert.Equal(t, 2, f.Stats().Logins.FellBack)
	assert.Empty(t, f.stats.undecided, "what is decided is forgotten")
	assert.Zero(t, f.stats.oldest.Len())
}

func TestFaultsCountNeitherWay(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	for _, kind := range faultKinds {
		if kind == Slow || kind == Headers || strings.HasPrefix(string(kind), "timeout") || kind == SecretMissingInAnswer {
			continue
		}
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
	var s statistics
	for i := range maxUndecided + 10 {
		s.attempt(loginAttempt{clientID: "app", id: fmt.Sprint(i)})
	}
	assert.Len(t, s.undecided, maxUndecided)
	assert.Equal(t, maxUndecided, s.oldest.Len())
	assert.Equal(t, maxUndecided+10, s.counts.Logins.Undecided)
	s.attempt(loginAttempt{clientID: "app", id: fmt.Sprint(maxUndecided), accepted: true})
	assert.Equal(t, 1, s.counts.Logins.FellBack, "the newest are kept")
	assert.Equal(t, maxUndecided+9, s.counts.Logins.Undecided)
}

func TestJournalIsBounded(t *testing.T) {
	var s statistics
	for i := range 2 * maxJournal {
		s.enter(Entry{Status: i})
		if len(s.journal) > maxJournal*5/4 {
			t.Fatal("too long")
		}
	}
	assert.GreaterOrEqual(t, len(s.journal), maxJournal)
	assert.Equal(t, 2*maxJournal-1, s.journal[len(s.journal)-1].Status)
}

func TestJournalAndRequestsWithoutSecrets(t *testing.T) {
	f := start(t, allScopes...)
	app := f.AddApplication(Application{})
	f.patch(app.ClientID, "confidential")
	f.api(http.MethodGet, "clients/"+app.ClientID+"?fields=name", "")
	f.api(http.MethodGet, "clients/nobody", "")
	f.api(http.MethodGet, "clients", "")

	var got []string
	for _, e := range f.Journal() {
		got = append(got, fmt.Sprint(e.Method, " ", e.Path, " ", e.ClientID, " ", e.Status))
	}
	one := "/api/v2/clients/" + app.ClientID + " " + app.ClientID + " 200"
	assert.Equal(t, []string{"PATCH " + one, "GET " + one, "GET /api/v2/clients/nobody nobody 404", "GET /api/v2/clients  200"}, got)
	assert.Equal(t, map[string]int{
		"POST /oauth/token 200": 1, "PATCH /api/v2/clients/{id} 200": 1, "GET /api/v2/clients/{id} 200": 1,
		"GET /api/v2/clients/{id} 404": 1, "GET /api/v2/clients 200": 1,
	}, f.Stats().Requests)

	all, err := json.Marshal([]any{f.Journal(), f.Stats()})
	require.NoError(t, err)
	for _, secret := range []string{"confidential", app.ClientSecret, f.token} {
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
				f.Journal()
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
	f.Inject(Fault{Endpoint: Token, Kind: Slow, Delay: 150 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	got := f.do(ctx, http.MethodPost, "/oauth/token",
		`{"grant_type":"client_credentials","client_id":"`+app.ClientID+`","client_secret":"`+app.ClientSecret+`"}`,
		map[string]string{"Content-Type": "application/json"})
	require.ErrorIs(t, got.err, context.DeadlineExceeded)
	require.Eventually(t, func() bool { return f.Stats().Requests["POST /oauth/token 200"] == 2 }, 10*time.Second, time.Millisecond)
	f.Close() // waits for the request
	assert.Equal(t, LoginStats{}, f.Stats().Logins)
}
