package auth0

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/singleflight"

	"vault-plugin-secrets-auth0/internal/assertion"
)

const (
	// OpToken is the Op of errors of token requests: the request that the token was for
	// was not sent, or was refused with a 401.
	OpToken = "token"

	// expiryMargin is how long before its end a token is no longer used, unless
	// a tenth of its lifetime is less.
	expiryMargin = time.Minute
	// assumedLifetime is for a token that does not say how long it lives. If
	// this is too long, the API's 401 has it replaced.
	assumedLifetime = 5 * time.Minute

	// tokenQueueTime is how long a request for an application's token waits for others.
	tokenQueueTime = 5 * time.Second
)

// Grant is what Auth0 granted to the client credentials.
type Grant struct {
	Scopes    []string  // such as "update:client_keys"; nil: the answer did not say
	ExpiresAt time.Time // of the access token; zero: the answer did not say
}

// Grant says what the client's access token allows, and gets one if need be. Errors
// have the Op "token": Refused for credentials or an audience that Auth0 does not
// accept.
func (c *Client) Grant(ctx context.Context) (Grant, error) {
	t, err := c.tokens.get(ctx)
	if err != nil {
		return Grant{}, err
	}
	return Grant{Scopes: slices.Clone(t.scopes), ExpiresAt: t.expiresAt}, nil
}

// token is an access token. It is not changed once it is made, but for readable.
type token struct {
	value     string
	scopes    []string
	expiresAt time.Time // zero: unknown
	staleAt   time.Time // when the client stops using it

	// readable are the fields of applications that are left after Auth0 has refused
	// to show some; nil: it has not.
	readable atomic.Pointer[readable]
}

// newToken makes a token that lives for a lifetime, 0 for unknown, from asked on.
func newToken(value string, scopes []string, asked time.Time, lifetime time.Duration) *token {
	if lifetime == 0 {
		return &token{value: value, scopes: scopes, staleAt: asked.Add(assumedLifetime)}
	}
	end := asked.Add(lifetime)
	return &token{value: value, scopes: scopes, expiresAt: end, staleAt: end.Add(-min(expiryMargin, lifetime/10))}
}

// AccessToken is an access token to hand out.
type AccessToken struct {
	Value     string
	Scopes    []string  // nil: the answer did not say
	ExpiresAt time.Time // zero: the answer did not say
}

// Format implements fmt.Formatter: no verb shows the token.
func (t AccessToken) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "auth0.AccessToken{Scopes:%q ExpiresAt:%s}", t.Scopes, t.ExpiresAt)
}

// NewToken gets a token to hand out, and asks for these scopes. Auth0 may grant more
// (it does, unless the tenant's own code prevents it) or less: the caller has to look.
// Errors are those of Grant.
func (c *Client) NewToken(ctx context.Context, scopes []string) (AccessToken, error) {
	t, err := c.fetchToken(ctx, scopes)
	if err != nil {
		return AccessToken{}, err
	}
	return handedOut(t)
}

// TokenRequest is a request for an access token by client credentials.
type TokenRequest struct {
	ClientID string
	Secret   string `json:"-"`
	// Assertion is a client assertion, in place of Secret. It is good for one request: the
	// token is asked for once, and to ask again needs another assertion.
	Assertion    string   `json:"-"`
	Audience     string   // "": the Management API
	Scopes       []string // those asked for; Auth0 may grant more or less
	Organization string   // its ID or name; "": none
}

// Format implements fmt.Formatter: no verb shows the secret or the assertion.
func (r TokenRequest) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "auth0.TokenRequest{ClientID:%q Audience:%q Scopes:%q Organization:%q}", r.ClientID, r.Audience, r.Scopes, r.Organization)
}

// Token gets a token for an application by one of its secrets, or by an assertion of one
// of its keys. [SecretRefused] tells whether another of them may do. Of many requests at once a few are sent at a
// time, and the others wait for a few seconds: after a restart all tokens may be wanted.
func (c *Client) Token(ctx context.Context, r TokenRequest) (AccessToken, error) {
	queue, cancel := context.WithTimeout(ctx, tokenQueueTime)
	defer cancel()
	turn, err := c.limits.token.wait(queue, OpToken)
	if err != nil {
		return AccessToken{}, err
	}
	params := url.Values{"audience": {cmp.Or(r.Audience, c.audience)}}
	if r.Organization != "" {
		params.Set("organization", r.Organization)
	}
	if r.Assertion != "" {
		params.Set("client_assertion_type", assertion.Type)
		params.Set("client_assertion", r.Assertion)
	}
	t, err := c.requestToken(ctx, turn, &login{secret: r.Secret, once: r.Assertion != "", oauth: clientcredentials.Config{
		ClientID: r.ClientID, ClientSecret: r.Secret, TokenURL: c.base + endpointToken.Path,
		EndpointParams: params, AuthStyle: oauth2.AuthStyleInParams,
	}}, r.Scopes)
	if err != nil {
		return AccessToken{}, err
	}
	return handedOut(t)
}

// handedOut refuses a token that could no longer be used.
func handedOut(t *token) (AccessToken, error) {
	if !t.expiresAt.IsZero() && !time.Now().Before(t.expiresAt) {
		return AccessToken{}, unreadable(OpToken, http.StatusOK, "the answer has a token that has expired already")
	}
	return AccessToken{Value: t.value, Scopes: t.scopes, ExpiresAt: t.expiresAt}, nil
}

// SecretRefused reports whether Auth0 has refused the application's secret or assertion,
// and not what was asked for with it.
func SecretRefused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Class != Refused {
		return false
	}
	switch e.Code {
	case "invalid_client": // RFC 6749, 5.2: with either status
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusBadRequest
	default:
		return e.Status == http.StatusUnauthorized && e.Code == "access_denied"
	}
}

// fetchToken asks Auth0 for a token with one secret after the other until one is not
// refused. The error is that of the last one. It tries several twice: a new secret may
// reach Auth0 between two attempts, so that both are refused.
func (c *Client) fetchToken(ctx context.Context, scopes []string) (*token, error) {
	attempts := c.logins
	if len(attempts) > 1 {
		attempts = slices.Repeat(attempts, 2)
	}
	var err error = notSent(OpToken, "there is no secret to log in with")
	for _, l := range attempts {
		var t *token
		if t, err = c.fetchTokenBy(ctx, l, scopes); err == nil || ClassOf(err) != Refused {
			return t, err
		}
	}
	return nil, err
}

func (c *Client) fetchTokenBy(ctx context.Context, l *login, scopes []string) (*token, error) {
	turn, err := c.limits.token.admit(ctx)
	if err != nil {
		return nil, err
	}
	return c.requestToken(ctx, turn, l, scopes)
}

// requestToken asks Auth0 for a token when it is the turn of the request, which ends.
func (c *Client) requestToken(ctx context.Context, turn *turn, l *login, scopes []string) (*token, error) {
	defer turn.done()
	quota := quotaOf(l.oauth)
	if err := c.limits.underQuota(ctx, quota); err != nil {
		return nil, err
	}
	asked := time.Now()
	t, err := l.token(ctx, c, scopes)
	c.log.Trace("asked Auth0 for a token", "ok", err == nil, "took", time.Since(asked))
	if err != nil {
		return nil, c.tokenError(ctx, turn, quota, err)
	}
	turn.observe(http.StatusOK, nil)
	c.counts.tokens.Add(1)

	var granted []string
	if s, ok := t.Extra("scope").(string); ok {
		granted = scopesIn(s)
	}
	var lifetime time.Duration
	if !t.Expiry.IsZero() {
		// The library has added expires_in, whole seconds, to the time of the
		// answer; it counts from the request here, to be on the safe side.
		lifetime = time.Until(t.Expiry).Round(time.Second)
	}
	if t.Type() != "Bearer" {
		return nil, unreadable(OpToken, http.StatusOK, "the answer has a token of another type than Bearer")
	}
	return newToken(t.AccessToken, granted, asked, lifetime), nil
}

// quotaOf names the quota of tokens that a request counts towards.
func quotaOf(config clientcredentials.Config) string {
	return config.ClientID + " " + config.EndpointParams.Get("organization")
}

// tokenError makes an *Error of what the oauth2 library says, and has the turn, or the
// quota if that is exceeded, learn from the answer. Neither the library's text nor its
// error is kept: they hold the answer's body.
func (c *Client) tokenError(ctx context.Context, t *turn, quota string, err error) *Error {
	var said *oauth2.RetrieveError
	var u *url.Error
	switch {
	case errors.As(err, &said):
		if exceedsQuota(said) {
			return c.limits.exceeded(quota, said.Response.Header)
		}
		a := answer{op: OpToken, status: said.Response.StatusCode, header: said.Response.Header, body: said.Body}
		t.observe(a.status, a.header)
		if e := judge(a); e != nil {
			return e
		}
		return unreadable(OpToken, a.status, "the answer has no token but an error")
	case errors.As(err, &u):
		return noAnswer(OpToken, err)
	case ctx.Err() != nil: // while the body was read
		return noAnswer(OpToken, ctx.Err())
	}
	return unreadable(OpToken, 0, "the answer could not be read or has no token")
}

// tokenCache holds one token and sees to it that only one fetch is under way.
type tokenCache struct {
	fetch   func(context.Context) (*token, error)
	timeout time.Duration // bounds a fetch

	group singleflight.Group
	mu    sync.Mutex
	cur   *token
}

// get gives a token that is good for a while yet. All callers share one fetch, which
// goes on if one of them gives up.
func (tc *tokenCache) get(ctx context.Context) (*token, error) {
	if err := ctx.Err(); err != nil {
		return nil, noAnswer(OpToken, err)
	}
	if t := tc.cached(); t != nil {
		return t, nil
	}
	fetched := tc.group.DoChan("", func() (any, error) {
		return tc.refresh(ctx)
	})
	select {
	case <-ctx.Done():
		return nil, noAnswer(OpToken, ctx.Err())
	case r := <-fetched:
		if defect, ok := r.Val.(panicked); ok {
			panic(defect.cause)
		}
		return r.Val.(*token), r.Err
	}
}

// panicked is a panic on its way to the goroutine of a caller: in the one that is shared
// no caller could recover from it.
type panicked struct{ cause any }

// refresh gives a *token, or what the fetch has panicked with.
func (tc *tokenCache) refresh(ctx context.Context) (result any, err error) {
	if t := tc.cached(); t != nil { // an earlier fetch has ended since the caller looked
		return t, nil
	}
	defer func() {
		if cause := recover(); cause != nil {
			result = panicked{cause}
		}
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tc.timeout)
	defer cancel()
	t, err := tc.fetch(ctx)
	if err == nil {
		tc.mu.Lock()
		tc.cur = t
		tc.mu.Unlock()
	}
	return t, err
}

// cached gives the present token, nil if there is none that is still good.
func (tc *tokenCache) cached() *token {
	tc.mu.Lock()
	defer tc.mu.Unlock()
	if tc.cur == nil || !time.Now().Before(tc.cur.staleAt) {
		return nil
	}
	return tc.cur
}

// drop forgets t, but not a newer token: of many calls that fail with the same token
// only the first causes a fetch.
func (tc *tokenCache) drop(t *token) {
	tc.mu.Lock()
	defer tc.mu.Unlock()
	if tc.cur == t {
		tc.cur = nil
	}
}

// TokenExpiresAt is when the client's present token expires; zero: there is none, or
// Auth0 did not say.
func (c *Client) TokenExpiresAt() time.Time {
	if t := c.tokens.cached(); t != nil {
		return t.expiresAt
	}
	return time.Time{}
}
