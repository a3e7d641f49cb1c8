package auth0

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-auth0/internal/assertion"
)

const (
	opTryKey = "try key"

	// assertionLifetime is that of a client assertion; Auth0 allows 5 minutes.
	// It covers a request that takes its whole time-out.
	assertionLifetime = 2 * time.Minute
)

// login is one way to log in: with a client secret, or by private_key_jwt with
// a key.
type login struct {
	secret string // the client secret, or the key as it was given: to keep it out of messages
	oauth  clientcredentials.Config
	signer *assertion.Signer // nil: client_secret_post, or an assertion that is in oauth already
	issuer string            // the audience of assertions
	once   bool              // what is in oauth is good for one request only
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
	switch {
	case l.once:
		return oauth.Token(context.WithValue(ctx, oauth2.HTTPClient, c.once))
	case l.signer == nil:
		return oauth.Token(context.WithValue(ctx, oauth2.HTTPClient, c.retrying))
	}
	var t *oauth2.Token
	err := asserted(ctx, l.signer, l.oauth.ClientID, l.issuer, func(params url.Values) (again bool, err error) {
		params["audience"] = l.oauth.EndpointParams["audience"]
		oauth.EndpointParams = params
		t, err = oauth.Token(context.WithValue(ctx, oauth2.HTTPClient, c.once))
		if said, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
			return said.Response.StatusCode >= http.StatusInternalServerError, err
		}
		return mayPass(ctx, err), err
	})
	return t, err
}

// asserted makes a request that a client assertion in its parameters authenticates. An
// assertion is good for one request only: after a failure that may pass (again) it asks
// with another one.
func asserted(ctx context.Context, signer *assertion.Signer, clientID, issuer string, ask func(url.Values) (again bool, err error)) error {
	for attempt := 0; ; attempt++ {
		signed, err := signer.Sign(clientID, issuer, time.Now(), assertionLifetime)
		if err != nil {
			return err
		}
		again, err := ask(url.Values{"client_assertion_type": {assertion.Type}, "client_assertion": {signed}})
		if err == nil || !again || attempt == retryMax || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryWaitMin):
		}
	}
}

// mayPass says whether a request that brought no whole answer is worth another attempt.
func mayPass(ctx context.Context, err error) bool {
	if err == nil {
		return false
	}
	again, _ := checkRetry(ctx, nil, err)
	return again
}

// AcceptsKey says whether Auth0 accepts a private key (RSA, in PEM) as an application's
// now, with assertions of one of assertion.Algorithms. False is Auth0's own refusal of
// the key. All else is an *Error.
//
// It has Auth0 revoke a token that exists nowhere: that needs no grant, and hands out
// nothing, so that nobody's quota is used.
func (c *Client) AcceptsKey(ctx context.Context, clientID, privateKey, algorithm string) (bool, error) {
	_, kid, err := assertion.PublicKey(privateKey)
	if err != nil {
		return false, notSent(opTryKey, "the private key cannot be used")
	}
	signer, err := assertion.NewSigner(privateKey, algorithm, kid)
	if err != nil {
		return false, notSent(opTryKey, "the private key cannot be used with this algorithm")
	}
	turn, err := c.limits.token.admit(ctx)
	if err != nil {
		return false, tryKey(err)
	}
	defer turn.done()
	err = asserted(ctx, signer, clientID, c.base+"/", func(params url.Values) (again bool, err error) {
		params.Set("client_id", clientID)
		params.Set("token", noToken)
		return c.revoke(ctx, turn, params)
	})
	if SecretRefused(err) {
		return false, nil
	}
	return err == nil, tryKey(err)
}

// noToken is not empty, and no token.
const noToken = "none"

// revoke has Auth0 revoke a token. again: the failure may pass.
func (c *Client) revoke(ctx context.Context, turn *turn, params url.Values) (again bool, err error) {
	req, err := http.NewRequestWithContext(to(ctx, endpointRevoke), endpointRevoke.Method, c.base+endpointRevoke.Path, strings.NewReader(params.Encode()))
	if err != nil {
		return false, notSent(opTryKey, "the request cannot be made")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.once.Do(req)
	if err != nil {
		return mayPass(ctx, err), err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := readBody(resp.Body)
	turn.observe(resp.StatusCode, resp.Header)
	if e := judge(answer{op: opTryKey, status: resp.StatusCode, header: resp.Header, body: body, readErr: err}); e != nil {
		return resp.StatusCode >= http.StatusInternalServerError, e
	}
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) { // the page of something in between
		return false, &Error{Op: opTryKey, Status: resp.StatusCode, Message: ReasonNotAuth0}
	}
	return false, nil
}

// tryKey makes an *Error of opTryKey of err, nil of nil.
func tryKey(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		e.Op = opTryKey
		return e
	}
	return noAnswer(opTryKey, err)
}
