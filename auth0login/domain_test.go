package auth0login

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestCredentialsForAnotherDomainAreRefused before anything is sent, and before an
// address is made.
func TestCredentialsForAnotherDomainAreRefused(t *testing.T) {
	auth0 := startAuth0(t, accepts("A"))
	came := strings.TrimPrefix(auth0.URL, "https://")
	for name, login := range waysToLogIn {
		t.Run(name, func(t *testing.T) {
			err := login(auth0.context(t), New(auth0.source("A"), Domain("example.eu.auth0.com")))
			require.ErrorContains(t, err, `the domain "example.eu.auth0.com" is expected, but they are for "`+came+`"`)
			require.ErrorContains(t, login(auth0.context(t), New(auth0.source("A"), Domain(""))), came, "empty by mistake: none fits")
			assert.Empty(t, auth0.attempts())
		})
	}
}

func TestCredentialsForTheOwnDomainAreUsed(t *testing.T) {
	for name, options := range map[string][]Option{
		"as it is":        {Domain("localhost")},
		"in capitals":     {Domain("LocalHost")},
		"of any, so far":  nil,
		"the last counts": {Domain("example.eu.auth0.com"), Domain("localhost")},
	} {
		t.Run(name, func(t *testing.T) {
			app := New(SourceFunc(func(context.Context) (Credentials, error) {
				return Credentials{Domain: "localhost", ClientID: "shop", ClientSecrets: []string{"A"}}, nil
			}), options...)
			address, err := app.AuthCodeURL(t.Context(), oauth2.Config{}, "state")
			require.NoError(t, err)
			assert.Regexp(t, "^https://(?i:localhost)/authorize", address)
			tried := 0
			require.NoError(t, app.Login(t.Context(), func(context.Context, Credentials, string) error { tried++; return nil }))
			assert.Equal(t, 1, tried)
		})
	}
}

// TestLettersThatFoldIntoOthersLeadNowhereElse: the long s is an s to EqualFold, but not
// to a resolver.
func TestLettersThatFoldIntoOthersLeadNowhereElse(t *testing.T) {
	app := New(SourceFunc(func(context.Context) (Credentials, error) {
		return Credentials{Domain: "\u017fhop.eu.auth0.com", ClientID: "shop", ClientSecrets: []string{"A"}}, nil
	}), Domain("shop.eu.auth0.com"))
	address, err := app.AuthCodeURL(t.Context(), oauth2.Config{}, "state")
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(address, "https://shop.eu.auth0.com/authorize?"), address)
}

// TestAMountThatMovesToAnotherTenantTakesNoUserAlong: an operator who may write config
// and roles has the credentials of a running application come from a tenant of his own.
func TestAMountThatMovesToAnotherTenantTakesNoUserAlong(t *testing.T) {
	w := newWorld(t)
	other, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(other.Close)
	imitation := other.AddApplication(tenant.Application{Name: "shop"})
	moved := false
	own := w.app.source
	app := New(SourceFunc(func(ctx context.Context) (Credentials, error) {
		if !moved {
			return own.Credentials(ctx)
		}
		return Credentials{Domain: other.Domain(), ClientID: imitation.ClientID, ClientSecrets: []string{imitation.ClientSecret}}, nil
	}), Domain(w.auth.Domain()))
	tokens := app.ClientCredentials(w.ctx, clientcredentials.Config{})
	_, err = app.AuthCodeURL(w.ctx, w.web, "state")
	require.NoError(t, err)
	_, err = tokens.Token()
	require.NoError(t, err)

	moved = true
	for name, login := range waysToLogIn {
		require.ErrorContains(t, login(context.WithValue(t.Context(), oauth2.HTTPClient, other.HTTPClient()), app), other.Domain(), name)
	}
	assert.Empty(t, other.Stats().Requests)
}

// TestAMoveInTheMiddleOfALoginEndsIt: credentials are read again for the second round.
func TestAMoveInTheMiddleOfALoginEndsIt(t *testing.T) {
	auth0 := startAuth0(t, accepts("none of them"))
	reads := 0
	app := New(SourceFunc(func(ctx context.Context) (Credentials, error) {
		c, err := auth0.source("A", "B")(ctx)
		if reads++; reads > 1 {
			c.Domain = "tenant.example.com"
		}
		return c, err
	}), Domain(strings.TrimPrefix(auth0.URL, "https://")))
	err := auth0.login(t, app)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, `"tenant.example.com"`)
	assert.Equal(t, []string{"A", "B"}, auth0.attempts())
}
