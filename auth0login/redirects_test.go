package auth0login

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// waysToLogIn are all that an application can be asked for.
var waysToLogIn = map[string]func(context.Context, *Application) error{
	"AuthCodeURL": func(ctx context.Context, app *Application) error {
		address, err := app.AuthCodeURL(ctx, oauth2.Config{RedirectURL: "https://shop.example.com/callback"}, "state")
		if err != nil && address != "" {
			panic("an address in spite of the error: " + address)
		}
		return err
	},
	"Exchange": func(ctx context.Context, app *Application) error {
		_, err := app.Exchange(ctx, oauth2.Config{}, "a-code")
		return err
	},
	"TokenSource": func(ctx context.Context, app *Application) error {
		_, err := app.TokenSource(ctx, oauth2.Config{}, &oauth2.Token{RefreshToken: "a-refresh-token"}).Token()
		return err
	},
	"ClientCredentials": func(ctx context.Context, app *Application) error {
		_, err := app.ClientCredentials(ctx, clientcredentials.Config{}).Token()
		return err
	},
	"Client": func(ctx context.Context, app *Application) error {
		resp, err := app.Client(ctx, clientcredentials.Config{}).Get("https://api.example.com/orders")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	},
	"Login": func(ctx context.Context, app *Application) error {
		return app.Login(ctx, func(ctx context.Context, c Credentials, secret string) error {
			_, err := filled(oauth2.Config{}, c, secret).Exchange(ctx, "a-code")
			return err
		})
	},
}

// TestNoRedirectIsFollowedWithASecret, whichever it is, down to plain HTTP or not, and
// whatever the caller's client would do.
func TestNoRedirectIsFollowedWithASecret(t *testing.T) {
	var got atomic.Value
	catch := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got.Store(string(body))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, token)
	})
	plain, secure := httptest.NewServer(catch), httptest.NewTLSServer(catch)
	defer plain.Close()
	defer secure.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []*httptest.Server{plain, secure} {
			asked := 0
			front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				http.Redirect(w, r, to.URL+"/oauth/token?a-secret", status)
			}))
			client := front.Client() // trusts the certificate that all servers of httptest have
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, client)
			for name, login := range waysToLogIn {
				if name == "AuthCodeURL" {
					continue
				}
				t.Run(fmt.Sprint(name, " ", status, " ", to.URL), func(t *testing.T) {
					asked = 0
					app := New((&auth0{Server: front}).source("the-secret-of-shop", "another"))
					err := login(ctx, app)
					require.ErrorContains(t, err, "the token endpoint redirects, which is not followed with a client secret")
					assert.NotContains(t, err.Error(), "a-secret")
					require.NotErrorIs(t, err, ErrRefused)
					var answer *oauth2.RetrieveError
					require.ErrorAs(t, err, &answer)
					assert.Equal(t, status, answer.Response.StatusCode)
					assert.Equal(t, 1, asked, "the next secret would not help")
				})
			}
			require.NoError(t, client.CheckRedirect(nil, nil), "the caller's client stays as it is")
			front.Close()
		}
	}
	assert.Nil(t, got.Load(), "a server that was redirected to was asked")
}

// TestARedirectWithoutAnAddressIsAnErrorToo.
func TestARedirectWithoutAnAddressIsAnErrorToo(t *testing.T) {
	auth0 := startAuth0(t, func(string) (int, string) { return http.StatusTemporaryRedirect, token })
	require.ErrorContains(t, auth0.login(t, New(auth0.source("A", "B"))), "the token endpoint redirects")
	assert.Equal(t, []string{"A"}, auth0.attempts())
}

// TestWithoutAClientTheDefaultOneIsUsed, and not changed.
func TestWithoutAClientTheDefaultOneIsUsed(t *testing.T) {
	guarded := withoutRedirects(t.Context()).Value(oauth2.HTTPClient).(*http.Client)
	assert.Equal(t, http.ErrUseLastResponse, guarded.CheckRedirect(nil, nil))
	assert.Equal(t, http.DefaultClient.Transport, guarded.Transport)
	assert.Nil(t, http.DefaultClient.CheckRedirect)
}

// TestRequestsToTheAPIAreRedirectedAsTheCallerHasIt.
func TestRequestsToTheAPIAreRedirectedAsTheCallerHasIt(t *testing.T) {
	auth0 := startAuth0(t, accepts("A"))
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/orders" {
			http.Redirect(w, r, "/orders/all", http.StatusTemporaryRedirect)
		}
	}))
	defer api.Close()
	followed := 0
	caller := auth0.Client()
	caller.CheckRedirect = func(*http.Request, []*http.Request) error { followed++; return nil }
	client := New(auth0.source("A")).Client(context.WithValue(t.Context(), oauth2.HTTPClient, caller), clientcredentials.Config{})
	resp, err := client.Get(api.URL + "/orders")
	require.NoError(t, err)
	_ = resp.Body.Close()
	assert.Equal(t, "/orders/all", resp.Request.URL.Path)
	assert.Equal(t, 1, followed)
}
