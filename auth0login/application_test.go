package auth0login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// auth0 is a token endpoint that writes down which secrets were tried.
type auth0 struct {
	*httptest.Server
	mu     sync.Mutex
	tried  []string
	answer func(secret string) (status int, body string)
}

const token = `{"access_token":"a-token","token_type":"Bearer","expires_in":86400}`

// refusal is how Auth0 refuses a secret.
func refusal() (int, string) {
	return http.StatusUnauthorized, `{"error":"access_denied","error_description":"Unauthorized"}`
}

// accepts is a token endpoint that accepts the secret, and no other.
func accepts(accepted string) func(string) (int, string) {
	return func(secret string) (int, string) {
		if secret == accepted {
			return http.StatusOK, token
		}
		return refusal()
	}
}

func startAuth0(t *testing.T, answer func(secret string) (int, string)) *auth0 {
	t.Helper()
	a := &auth0{answer: answer}
	a.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		secret := r.FormValue("client_secret")
		a.tried = append(a.tried, secret)
		status, body := a.answer(secret)
		if strings.HasPrefix(body, "{") {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}))
	t.Cleanup(a.Close)
	return a
}

// switchTo changes what it answers, and forgets what was tried.
func (a *auth0) switchTo(answer func(secret string) (int, string)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer, a.tried = answer, nil
}

func (a *auth0) attempts() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tried
}

func (a *auth0) source(secrets ...string) SourceFunc {
	return func(context.Context) (Credentials, error) {
		return Credentials{Domain: strings.TrimPrefix(a.URL, "https://"), ClientID: "shop", ClientSecrets: secrets}, nil
	}
}

func (a *auth0) context(t *testing.T) context.Context {
	return context.WithValue(t.Context(), oauth2.HTTPClient, a.Client())
}

// login gets a token that was not there before.
func (a *auth0) login(t *testing.T, app *Application) error {
	t.Helper()
	_, err := app.ClientCredentials(a.context(t), clientcredentials.Config{}).Token()
	return err
}

func TestTheSecretThatWorkedLastIsTriedFirst(t *testing.T) {
	auth0 := startAuth0(t, accepts("A"))
	secrets := []string{"A", "B"} // staged
	app := New(SourceFunc(func(ctx context.Context) (Credentials, error) { return auth0.source(secrets...)(ctx) }))
	require.NoError(t, auth0.login(t, app))
	assert.Equal(t, []string{"A"}, auth0.attempts())

	auth0.switchTo(accepts("B")) // rotated
	require.NoError(t, auth0.login(t, app))
	assert.Equal(t, []string{"A", "B"}, auth0.attempts())
	require.NoError(t, auth0.login(t, app))
	assert.Equal(t, []string{"A", "B", "B"}, auth0.attempts(), "B is known to work now")

	auth0.switchTo(accepts("C"))
	secrets = []string{"C", "A"} // B is not handed out any more
	require.NoError(t, auth0.login(t, app))
	assert.Equal(t, []string{"C"}, auth0.attempts())
}

func TestAllSecretsAreTriedTwiceInTheirOrder(t *testing.T) {
	auth0 := startAuth0(t, accepts("none of them"))
	err := auth0.login(t, New(auth0.source("A", "B", "C")))
	require.ErrorIs(t, err, ErrRefused)
	assert.Equal(t, []string{"A", "B", "C", "A", "B", "C"}, auth0.attempts())
	var answer *oauth2.RetrieveError
	require.ErrorAs(t, err, &answer)
	assert.Equal(t, "access_denied", answer.ErrorCode)
}

// TestLoginThatMeetsASwitchInTheMiddle: the new secret is refused as not there yet,
// arrives, and the old one is refused as not there any more.
func TestLoginThatMeetsASwitchInTheMiddle(t *testing.T) {
	accepted := "old"
	auth0 := startAuth0(t, func(secret string) (int, string) {
		defer func() { accepted = "new" }()
		return accepts(accepted)(secret)
	})
	require.NoError(t, auth0.login(t, New(auth0.source("new", "old"))))
	assert.Equal(t, []string{"new", "old", "new"}, auth0.attempts())
}

func TestInvalidClientIsARefusalToo(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusBadRequest} {
		auth0 := startAuth0(t, func(secret string) (int, string) {
			if secret == "A" {
				return status, `{"error":"invalid_client"}`
			}
			return http.StatusOK, token
		})
		require.NoError(t, auth0.login(t, New(auth0.source("A", "B"))))
	}
}

// TestNoOtherErrorIsARefusal: the next secret would not help, and whether the first
// was accepted is not known.
func TestNoOtherErrorIsARefusal(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"invalid_grant":            {403, `{"error":"invalid_grant","error_description":"Invalid authorization code"}`},
		"access_denied with 400":   {400, `{"error":"access_denied"}`},
		"invalid_client with 429":  {429, `{"error":"invalid_client"}`},
		"invalid_request":          {400, `{"error":"invalid_request"}`},
		"unauthorized_client":      {403, `{"error":"unauthorized_client"}`},
		"too many requests":        {429, `{"error":"too_many_requests"}`},
		"server error":             {500, `{"error":"server_error"}`},
		"too many, and denied":     {429, `{"error":"access_denied"}`},
		"failed, and denied":       {503, `{"error":"access_denied"}`},
		"a proxy's page with 401":  {401, `<html>Unauthorized</html>`},
		"a proxy's page with 403":  {403, `<html>Forbidden</html>`},
		"a gateway that times out": {504, ``},
		"no token":                 {200, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			auth0 := startAuth0(t, func(string) (int, string) { return answer.status, answer.body })
			err := auth0.login(t, New(auth0.source("A", "B")))
			require.Error(t, err)
			assert.NotErrorIs(t, err, ErrRefused)
			assert.Equal(t, []string{"A"}, auth0.attempts())
		})
	}
	t.Run("no answer", func(t *testing.T) {
		auth0 := startAuth0(t, accepts("A"))
		app := New(auth0.source("A", "B"))
		auth0.Close()
		assert.NotErrorIs(t, auth0.login(t, app), ErrRefused)
	})
}

// TestTheMoreTellingRefusalIsReported: access_denied is also what Auth0 says of an
// audience that the application may not ask for.
func TestTheMoreTellingRefusalIsReported(t *testing.T) {
	auth0 := startAuth0(t, func(secret string) (int, string) {
		if secret == "A" {
			return http.StatusForbidden, `{"error":"access_denied","error_description":"Client is not authorized to access this API"}`
		}
		return refusal()
	})
	err := auth0.login(t, New(auth0.source("A", "B")))
	assert.ErrorContains(t, err, "403 access_denied: the application has no grant for this API")
}

// refreshed is a source that has another set after it was refreshed.
type refreshed struct {
	SourceFunc
	refresh func() error
}

func (r refreshed) Refresh(context.Context) error { return r.refresh() }

func TestASourceIsReadAgainWhenAllIsRefused(t *testing.T) {
	auth0 := startAuth0(t, accepts("B"))
	secrets := []string{"A"}
	app := New(refreshed{
		SourceFunc: func(ctx context.Context) (Credentials, error) { return auth0.source(secrets...)(ctx) },
		refresh:    func() error { secrets = []string{"B", "A"}; return nil },
	})
	require.NoError(t, auth0.login(t, app))
	assert.Equal(t, []string{"A", "B"}, auth0.attempts())

	auth0.switchTo(accepts("C"))
	reads := 0
	app = New(SourceFunc(func(ctx context.Context) (Credentials, error) {
		if reads++; reads > 1 {
			return Credentials{}, errors.New("the file is gone")
		}
		return auth0.source("A")(ctx)
	}))
	err := auth0.login(t, app)
	require.ErrorIs(t, err, ErrRefused, "what Auth0 has said is not lost")
	assert.ErrorContains(t, err, "the file is gone")

	app = New(refreshed{SourceFunc: auth0.source("A"), refresh: func() error { return errors.New("Vault is sealed") }})
	err = auth0.login(t, app)
	require.ErrorIs(t, err, ErrRefused)
	assert.ErrorContains(t, err, "Vault is sealed")
}

// TestSecretsThatWereReadAgainAreTriedTwice, too: a new one may be on its way to Auth0.
func TestSecretsThatWereReadAgainAreTriedTwice(t *testing.T) {
	attempts := 0
	auth0 := startAuth0(t, func(secret string) (int, string) {
		if attempts++; attempts < 4 { // the first and the third server have B already, the second has not
			return refusal()
		}
		return accepts("B")(secret)
	})
	secrets, refreshes := []string{"A"}, 0
	app := New(refreshed{
		SourceFunc: func(ctx context.Context) (Credentials, error) { return auth0.source(secrets...)(ctx) },
		refresh:    func() error { refreshes++; secrets = []string{"B", "A"}; return nil },
	})
	require.NoError(t, auth0.login(t, app))
	assert.Equal(t, []string{"A", "B", "A", "B"}, auth0.attempts())
	assert.Equal(t, 1, refreshes)

	auth0.switchTo(accepts("none of them"))
	secrets = []string{"A"}
	require.ErrorIs(t, auth0.login(t, New(app.source)), ErrRefused)
	assert.Equal(t, []string{"A", "B", "A", "B", "A"}, auth0.attempts(), "and not for ever")
}

func TestErrorsOfTheSource(t *testing.T) {
	for want, c := range map[string]Credentials{
		"no domain":        {ClientID: "shop", ClientSecrets: []string{"A"}},
		"no client_id":     {Domain: "example.auth0.com", ClientSecrets: []string{"A"}},
		"no client secret": {Domain: "example.auth0.com", ClientID: "shop"},
	} {
		app := New(SourceFunc(func(context.Context) (Credentials, error) { return c, nil }))
		_, err := app.ClientCredentials(t.Context(), clientcredentials.Config{}).Token()
		assert.ErrorContains(t, err, want)
		_, err = app.AuthCodeURL(t.Context(), oauth2.Config{}, "state")
		assert.ErrorContains(t, err, want)
	}
	app := New(SourceFunc(func(context.Context) (Credentials, error) { return Credentials{}, errors.New("no file") }))
	assert.ErrorContains(t, app.Login(t.Context(), nil), "no file")
}

// TestLoginWithAnotherLibrary, whose errors are not those of golang.org/x/oauth2.
func TestLoginWithAnotherLibrary(t *testing.T) {
	var auth0 auth0
	auth0.Server = &httptest.Server{URL: "https://example.eu.auth0.com"}
	var tried []string
	err := New(auth0.source("A", "B")).Login(t.Context(), func(_ context.Context, c Credentials, secret string) error {
		assert.Equal(t, "example.eu.auth0.com", c.Domain)
		tried = append(tried, secret)
		if secret == "A" {
			return fmt.Errorf("login: %w", ErrRefused)
		}
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"A", "B"}, tried)
}

func TestTokensAreUsedUntilTheyExpire(t *testing.T) {
	auth0 := startAuth0(t, accepts("A"))
	source := New(auth0.source("A")).ClientCredentials(auth0.context(t), clientcredentials.Config{})
	for range 3 {
		got, err := source.Token()
		require.NoError(t, err)
		assert.Equal(t, "a-token", got.AccessToken)
		assert.WithinRange(t, got.Expiry, time.Now(), time.Now().Add(25*time.Hour))
	}
	assert.Len(t, auth0.attempts(), 1)
}

func TestParseCredentials(t *testing.T) {
	for text, want := range map[string][]string{
		`"client_secrets":["A","B"],"client_secret":"A","fallback_client_secret":"B"`: {"A", "B"},
		`"client_secrets":["A"],"client_secret":"A","fallback_client_secret":""`:      {"A"},
		`"client_secret":"A","fallback_client_secret":"B"`:                            {"A", "B"},
		`"client_secret":"A"`: {"A"},
	} {
		c, err := ParseCredentials([]byte(`{"domain":"d","client_id":"c","ttl":60,` + text + `}`))
		require.NoError(t, err)
		assert.Equal(t, Credentials{Domain: "d", ClientID: "c", ClientSecrets: want}, c)
	}
	for _, text := range []string{``, `null`, `[]`, `{}`, `{"domain":"d","client_id":"c"}`, `{"domain":"d","client_id":"c","client_secrets":[""]}`} {
		_, err := ParseCredentials([]byte(text))
		assert.Error(t, err, text)
	}
}

// TestManyLoginsAtOnce, for the race detector.
func TestManyLoginsAtOnce(t *testing.T) {
	auth0 := startAuth0(t, accepts("B"))
	app := New(auth0.source("A", "B"))
	var logins sync.WaitGroup
	for range 20 {
		logins.Go(func() { assert.NoError(t, auth0.login(t, app)) })
	}
	logins.Wait()
}

func encoded(t *testing.T, c map[string]any) []byte {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	return text
}
