package auth0login

import (
	"context"
	"net/http"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// ClientCredentials gives tokens by the client credentials grant, and a new one when
// the last has expired. Of config, Scopes and EndpointParams matter (Auth0 wants an
// audience in these); the rest comes from the source. The context is used for as long
// as the token source is.
func (a *Application) ClientCredentials(ctx context.Context, config clientcredentials.Config) oauth2.TokenSource {
	return oauth2.ReuseTokenSource(nil, tokenFunc(func() (*oauth2.Token, error) {
		return a.token(ctx, func(ctx context.Context, c Credentials, secret string) (*oauth2.Token, error) {
			config := config
			config.ClientID, config.ClientSecret = c.ClientID, secret
			config.TokenURL, config.AuthStyle = endpoint(c).TokenURL, oauth2.AuthStyleInParams
			return config.Token(ctx)
		})
	}))
}

// Client sends requests with the tokens of [Application.ClientCredentials].
func (a *Application) Client(ctx context.Context, config clientcredentials.Config) *http.Client {
	return oauth2.NewClient(ctx, a.ClientCredentials(ctx, config))
}

// AuthCodeURL is where a user logs in by the authorization code grant. Of config,
// RedirectURL and Scopes matter, here and in the methods below.
func (a *Application) AuthCodeURL(
	ctx context.Context, config oauth2.Config, state string, options ...oauth2.AuthCodeOption,
) (string, error) {
	c, err := a.credentials(ctx)
	if err != nil {
		return "", err
	}
	return filled(config, c, "").AuthCodeURL(state, options...), nil
}

// Exchange gives the token for the code that came to RedirectURL. The ID token, if
// the scope openid was asked for, is its extra field id_token, and is not verified.
func (a *Application) Exchange(
	ctx context.Context, config oauth2.Config, code string, options ...oauth2.AuthCodeOption,
) (*oauth2.Token, error) {
	return a.token(ctx, func(ctx context.Context, c Credentials, secret string) (*oauth2.Token, error) {
		return filled(config, c, secret).Exchange(ctx, code, options...)
	})
}

// TokenSource gives the token, and by its refresh token a new one when it has expired.
// The context is used for as long as the token source is.
func (a *Application) TokenSource(ctx context.Context, config oauth2.Config, token *oauth2.Token) oauth2.TokenSource {
	refresh := "" // ReuseTokenSource calls one at a time
	if token != nil {
		refresh = token.RefreshToken
	}
	return oauth2.ReuseTokenSource(token, tokenFunc(func() (*oauth2.Token, error) {
		fresh, err := a.token(ctx, func(ctx context.Context, c Credentials, secret string) (*oauth2.Token, error) {
			return filled(config, c, secret).TokenSource(ctx, &oauth2.Token{RefreshToken: refresh}).Token()
		})
		if err == nil {
			refresh = fresh.RefreshToken // Auth0 may have rotated it
		}
		return fresh, err
	}))
}

// token is Login for attempts that give a token.
func (a *Application) token(
	ctx context.Context, attempt func(context.Context, Credentials, string) (*oauth2.Token, error),
) (token *oauth2.Token, err error) {
	err = a.Login(ctx, func(ctx context.Context, c Credentials, secret string) (err error) {
		if c.ByAssertion() {
			ctx, secret = asserting(ctx, secret), ""
		}
		token, err = attempt(ctx, c, secret)
		return err
	})
	if err != nil {
		return nil, err
	}
	return token, nil
}

func filled(config oauth2.Config, c Credentials, secret string) *oauth2.Config {
	config.ClientID, config.ClientSecret, config.Endpoint = c.ClientID, secret, endpoint(c)
	return &config
}

// endpoint names the way of authentication, so that each attempt is one request.
func endpoint(c Credentials) oauth2.Endpoint {
	return oauth2.Endpoint{
		AuthURL: "https://" + c.Domain + "/authorize", TokenURL: "https://" + c.Domain + "/oauth/token",
		AuthStyle: oauth2.AuthStyleInParams,
	}
}

type tokenFunc func() (*oauth2.Token, error)

// Token calls f.
func (f tokenFunc) Token() (*oauth2.Token, error) { return f() }
