package auth0login

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-auth0/internal/tenant"
)

// world is a tenant with an application whose first secret is refused.
type world struct {
	t    *testing.T
	auth *tenant.Tenant
	app  *Application
	ctx  context.Context
	web  oauth2.Config
}

func newWorld(t *testing.T) *world {
	t.Helper()
	auth, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(auth.Close)
	const callback = "http://localhost:3000/callback"
	app := auth.AddApplication(tenant.Application{Callbacks: []string{callback}})
	browser := *auth.HTTPClient()
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &world{
		t: t, auth: auth, ctx: context.WithValue(t.Context(), oauth2.HTTPClient, &browser),
		app: New(SourceFunc(func(context.Context) (Credentials, error) {
			return Credentials{
				Domain: auth.Domain(), ClientID: app.ClientID, ClientSecrets: []string{"not-set-yet", auth.Secret(app.ClientID)},
			}, nil
		})),
		web: oauth2.Config{RedirectURL: callback, Scopes: []string{"openid", "offline_access"}},
	}
}

// code has the user log in, and gives what comes to the callback.
func (w *world) code(options ...oauth2.AuthCodeOption) string {
	w.t.Helper()
	address, err := w.app.AuthCodeURL(w.ctx, w.web, "a-state", options...)
	require.NoError(w.t, err)
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, address, nil)
	require.NoError(w.t, err)
	resp, err := w.ctx.Value(oauth2.HTTPClient).(*http.Client).Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	callback, err := resp.Location()
	require.NoError(w.t, err)
	assert.Equal(w.t, "a-state", callback.Query().Get("state"))
	return callback.Query().Get("code")
}

// refusals is how many attempts the tenant has refused.
func (w *world) refusals() int { return w.auth.Stats().Logins.Attempts.Refused }

func TestClientCredentials(t *testing.T) {
	w := newWorld(t)
	config := clientcredentials.Config{EndpointParams: url.Values{"audience": {"https://api.example.com/"}}}
	got, err := w.app.ClientCredentials(w.ctx, config).Token()
	require.NoError(t, err)
	assert.Equal(t, "Bearer", got.TokenType)
	assert.Equal(t, 1, w.refusals())
}

func TestAuthorizationCodeAndRefreshToken(t *testing.T) {
	w := newWorld(t)
	verifier := oauth2.GenerateVerifier()
	code := w.code(oauth2.S256ChallengeOption(verifier))
	first, err := w.app.Exchange(w.ctx, w.web, code, oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	assert.NotEmpty(t, first.Extra("id_token"))
	assert.Equal(t, 1, w.refusals())

	source := w.app.TokenSource(w.ctx, w.web, first)
	same, err := source.Token()
	require.NoError(t, err)
	assert.Equal(t, first.AccessToken, same.AccessToken)

	expired := *first
	expired.Expiry = time.Now().Add(-time.Minute)
	w.app.record.of = nil // as after a restart
	second, err := w.app.TokenSource(w.ctx, w.web, &expired).Token()
	require.NoError(t, err)
	assert.NotEqual(t, first.AccessToken, second.AccessToken)
	assert.NotEmpty(t, second.RefreshToken, "it is good for the next time, too")
	assert.Equal(t, 2, w.refusals())
}

func TestATokenSourceWithoutATokenSaysSo(t *testing.T) {
	w := newWorld(t)
	for _, token := range []*oauth2.Token{nil, {}} {
		_, err := w.app.TokenSource(w.ctx, w.web, token).Token()
		assert.ErrorContains(t, err, "refresh token is not set")
	}
}

// TestARotatedRefreshTokenReplacesTheOldOne: Auth0 may hand out another one with each use.
func TestARotatedRefreshTokenReplacesTheOldOne(t *testing.T) {
	var used []string
	auth0 := startAuth0(t, nil)
	auth0.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		used = append(used, r.FormValue("refresh_token"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"a-token","token_type":"Bearer","expires_in":1,"refresh_token":"` + used[len(used)-1] + `+"}`))
	})
	source := New(auth0.source("A")).TokenSource(auth0.context(t), oauth2.Config{}, &oauth2.Token{RefreshToken: "r"})
	for range 3 {
		_, err := source.Token() // expires at once, as far as oauth2 sees
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"r", "r+", "r++"}, used)
}

// TestACodeIsNotTriedAgainWhenItIsRefused: another secret would not help.
func TestACodeIsNotTriedAgainWhenItIsRefused(t *testing.T) {
	w := newWorld(t)
	_, err := w.app.Exchange(w.ctx, w.web, "no code of Auth0's")
	require.ErrorContains(t, err, "invalid_grant")
	require.NotErrorIs(t, err, ErrRefused)
	assert.LessOrEqual(t, w.refusals(), 2, "the wrong secret, and the wrong code")
	_, err = w.app.TokenSource(w.ctx, w.web, &oauth2.Token{RefreshToken: "none"}).Token()
	require.ErrorContains(t, err, "invalid_grant")
	require.NotErrorIs(t, err, ErrRefused)
}

// TestACodeThatWasVoidedByAWrongSecretCostsOneLogin, not all until the wrong secret is
// no longer handed out.
func TestACodeThatWasVoidedByAWrongSecretCostsOneLogin(t *testing.T) {
	w := newWorld(t)
	w.auth.SpendCodesOnRefusal(true)
	_, err := w.app.Exchange(w.ctx, w.web, w.code())
	require.ErrorContains(t, err, "invalid_grant")
	_, err = w.app.Exchange(w.ctx, w.web, w.code())
	require.NoError(t, err)
}
