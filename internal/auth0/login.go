package auth0

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-auth0/internal/assertion"
)

const (
	// assertionLifetime is that of a client assertion; Auth0 allows 5 minutes.
	// It covers a request that takes its whole time-out.
	assertionLifetime = 2 * time.Minute
)

// login is one way to log in: with a client secret, or by private_key_jwt with
// a key.
type login struct {
	secret string // the client secret, or the key as it was given: to keep it out of messages
	oauth  clientcredentials.Config
	signer *assertion.Signer // nil: client_secret_post
	issuer string            // the audience of assertions
}

func newLogin(cfg Config, base, secret string) (*login, error) {
	l := &login{secret: secret, issuer: base + "/", oauth: clientcredentials.Config{
		ClientID:       cfg.ClientID,
		TokenURL:       base + endpointToken.Path,
		EndpointParams: url.Values{"audience": {cfg.Audience}},
		AuthStyle:      oauth2.AuthStyleInParams,
	}}
	if cfg.SigningAlgorithm == "" {
		l.oauth.ClientSecret = secret
		return l, nil
	}
	// Without a kid Auth0 tries each of the application's keys. The kid of a key
	// that was registered by hand is Auth0's own, and is not known here.
	signer, err := assertion.NewSigner(secret, cfg.SigningAlgorithm, "")
	if err != nil {
		return nil, fmt.Errorf("auth0: %w", err)
	}
	l.signer = signer
	return l, nil
}

// Accepts says whether Auth0 accepts a client secret as an application's, by a login
// with it. False is Auth0's own refusal of the secret. All else is an *Error, also
// that the application may not have a token for the Management API.
func (c *Client) Accepts(ctx context.Context, clientID, secret string) (bool, error) {
	turn, err := c.limits.token.admit(ctx)
	if err != nil {
		return false, err
	}
	defer turn.done()
	// The application's own method may not be known.
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInParams, oauth2.AuthStyleInHeader} {
		attempt := clientcredentials.Config{
			ClientID: clientID, ClientSecret: secret, AuthStyle: style,
			TokenURL: c.base + endpointToken.Path, EndpointParams: url.Values{"audience": {c.audience}},
		}
		_, err = attempt.Token(context.WithValue(ctx, oauth2.HTTPClient, c.retrying))
		if err == nil {
			return true, nil
		}
		if err := c.tokenError(ctx, turn, quotaOf(attempt), err); !SecretRefused(err) {
			return false, err
		}
	}
	return false, nil
}

// token asks for a token, again after a failure that may pass. An assertion is good
// for one request only.
func (l *login) token(ctx context.Context, c *Client, scopes []string) (*oauth2.Token, error) {
	oauth := l.oauth
	oauth.Scopes = scopes
	if l.signer == nil {
		return oauth.Token(context.WithValue(ctx, oauth2.HTTPClient, c.retrying))
	}
	for attempt := 0; ; attempt++ {
		signed, err := l.signer.Sign(l.oauth.ClientID, l.issuer, time.Now(), assertionLifetime)
		if err != nil {
			return nil, err
		}
		oauth.EndpointParams = url.Values{
			"audience":              l.oauth.EndpointParams["audience"],
			"client_assertion_type": {assertion.Type},
			"client_assertion":      {signed},
		}
		t, err := oauth.Token(context.WithValue(ctx, oauth2.HTTPClient, c.once))
		if err == nil || attempt == retryMax || !mayPass(ctx, err) {
			return t, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retryWaitMin):
		}
	}
}

// mayPass says whether a token request that failed is worth another attempt.
func mayPass(ctx context.Context, err error) bool {
	if said, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return said.Response.StatusCode >= http.StatusInternalServerError
	}
	again, _ := checkRetry(ctx, nil, err)
	return again
}
