package auth0

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGrant(t *testing.T) {
	tests := map[string]struct {
		body     string
		scopes   []string
		lifetime time.Duration // 0: unknown
	}{
		"as documented": {`{"access_token":"t","scope":"read:clients update:client_keys","expires_in":86400,"token_type":"Bearer"}`, []string{"read:clients", "update:client_keys"}, 24 * time.Hour},
		"no scope":      {`{"access_token":"t","expires_in":5}`, nil, 5 * time.Second},
		"no scopes": {"{\"access_token\":\"t\",\"scope\":\"read:clients \\u001b[31m a\\\\b \\\"q\\\" é " + strings.Repeat("x", 129) + " read:users\",\"expires_in\":5}",
			[]string{"read:clients", "read:users"}, 5 * time.Second},
		"scope of another kind": {`{"access_token":"t","scope":["read:clients"],"expires_in":5}`, nil, 5 * time.Second},
		"empty scope":           {`{"access_token":"t","scope":"","expires_in":5}`, []string{}, 5 * time.Second},
		"no expiry":             {`{"access_token":"t"}`, nil, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tn := newTenant(t, nil)
			tn.onToken(replies(200, tt.body))
			c := tn.client(t)
			before := time.Now()
			g, err := c.Grant(t.Context())
			require.NoError(t, err)
			assert.Equal(t, tt.scopes, g.Scopes)
			if tt.lifetime == 0 {
				assert.True(t, g.ExpiresAt.IsZero())
			} else {
				assert.WithinRange(t, g.ExpiresAt, before.Add(tt.lifetime), time.Now().Add(tt.lifetime))
			}
			_, err = c.Grant(t.Context())
			require.NoError(t, err)
			tokens, _ := tn.counts()
			assert.Equal(t, 1, tokens, "the second time it is cached")
		})
	}
}

func TestTokenFailures(t *testing.T) {
	denied := replies(401, `{"error":"access_denied","error_description":"Unauthorized"}`)
	limited := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "12")
		reply(w, 429, `{"error":"too_many_requests","error_description":"slow down"}`)
	}
	html := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(403)
		_, _ = w.Write([]byte("<html>"))
	}
	tests := map[string]struct {
		token http.HandlerFunc
		class Class
		text  string
		tries int
	}{
		"bad secret":    {denied, Refused, "token: Auth0 refused (401 access_denied): the client ID is not known, or its secret or key is not accepted", 1},
		"API form":      {replies(403, refusal(403, "unauthorized_client", "no grant")), Refused, "token: Auth0 refused (403 unauthorized_client): the application may not use the grant type client_credentials", 1},
		"echoes secret": {replies(401, `{"error":"e","error_description":"`+engineSecret+` is wrong"}`), Refused, "token: Auth0 refused (401): the client ID is not known, or its secret or key is not accepted", 1},
		"limited":       {limited, Limited, "token: Auth0 limits the rate (429), retry in 12s", 1},
		"proxy":         {html, Ambiguous, "token: no clear answer from Auth0 (403): something other than Auth0 answered", 1},
		"down":          {replies(503, ""), Ambiguous, "token: no clear answer from Auth0 (503): something other than Auth0 answered", 1 + retryMax},
		"not JSON":      {replies(200, "engine-secret"), Ambiguous, "token: no clear answer from Auth0: the answer could not be read or has no token", 1},
		"no token":      {replies(200, "{}"), Ambiguous, "token: no clear answer from Auth0: the answer could not be read or has no token", 1},
		"200 error":     {replies(200, `{"error":"x"}`), Ambiguous, "token: no clear answer from Auth0 (200): the answer has no token but an error", 1},
		"lost":          {hangUp, Ambiguous, "token: no clear answer from Auth0: the connection was lost", 1 + retryMax},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tn := newTenant(t, nil)
			tn.onToken(tt.token)
			err := tn.client(t).SetSecret(t.Context(), appID, "s3cret-new")
			require.EqualError(t, err, tt.text)
			e := asError(t, err)
			assert.Equal(t, tt.class, e.Class)
			assert.Equal(t, "token", e.Op)
			tokens, calls := tn.counts()
			assert.Equal(t, tt.tries, tokens)
			assert.Zero(t, calls)
		})
	}
}

func TestTokenIsRefreshedOnceOn401(t *testing.T) {
	expired := refusal(401, "", "Expired token received for JSON Web Token validation")
	for name, works := range map[string]bool{"then it works": true, "401 for ever": false} {
		t.Run(name, func(t *testing.T) {
			tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
				if works && r.Header.Get("Authorization") == "Bearer token-2" {
					reply(w, 200, `{}`)
					return
				}
				reply(w, 401, expired)
			})
			_, err := tn.client(t).RotateSecret(t.Context(), appID)
			if works {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, "rotate secret: Auth0 refused (401): the API does not accept the token")
				assert.Equal(t, Refused, ClassOf(err))
			}
			tokens, calls := tn.counts()
			assert.Equal(t, 2, tokens)
			assert.Equal(t, 2, calls)
		})
	}
}

// Whether a proxy's 401 stands before or after Auth0 nobody knows.
func TestA401FromAnotherIsNotSentAgain(t *testing.T) {
	tn := newTenant(t, replies(401, `{"message":"Unauthorized"}`))
	_, err := tn.client(t).RotateSecret(t.Context(), appID)
	assert.Equal(t, Ambiguous, ClassOf(err))
	_, calls := tn.counts()
	assert.Equal(t, 1, calls)
}

func TestAnExtendedGrantShowsAtTheNextCall(t *testing.T) {
	tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer token-1" {
			reply(w, 403, refusal(403, "insufficient_scope", "Insufficient scope, expected any of: update:client_keys"))
			return
		}
		reply(w, 200, `{}`)
	})
	c := tn.client(t)
	err := c.SetSecret(t.Context(), appID, "s3cret-new")
	require.EqualError(t, err, "set secret: Auth0 refused (403 insufficient_scope): the token lacks the scope for this: update:client_keys")
	require.NoError(t, c.SetSecret(t.Context(), appID, "s3cret-new"))
}

func TestManyWhoFailWithOneTokenShareOneRefresh(t *testing.T) {
	const callers = 5
	var arrived sync.WaitGroup
	arrived.Add(callers)
	tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer token-1" {
			arrived.Done()
			arrived.Wait() // so that all of them have used the first token
			reply(w, 401, refusal(401, "", "m"))
			return
		}
		reply(w, 200, `{}`)
	})
	c := tn.client(t)
	var all sync.WaitGroup
	for range callers {
		all.Go(func() { assert.NoError(t, c.SetSecret(t.Context(), appID, "s3cret-new")) })
	}
	all.Wait()
	tokens, _ := tn.counts()
	assert.Equal(t, 2, tokens)
}

func TestTokensAreReplacedShortlyBeforeTheyExpire(t *testing.T) {
	tests := map[string]struct{ lifetime, staleAfter time.Duration }{
		"a day":      {24 * time.Hour, 24*time.Hour - time.Minute},
		"5 seconds":  {5 * time.Second, 4500 * time.Millisecond},
		"one second": {time.Second, 900 * time.Millisecond},
		"unknown":    {0, assumedLifetime},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fetches := 0
				tc := &tokenCache{timeout: time.Minute, fetch: func(context.Context) (*token, error) {
					fetches++
					return newToken("t", nil, time.Now(), tt.lifetime), nil
				}}
				get := func() int {
					_, err := tc.get(t.Context())
					require.NoError(t, err)
					return fetches
				}
				assert.Equal(t, 1, get())
				time.Sleep(tt.staleAfter - time.Nanosecond)
				assert.Equal(t, 1, get())
				time.Sleep(time.Nanosecond)
				assert.Equal(t, 2, get())
			})
		})
	}
}

// A token that is dead on arrival must not keep anyone fetching for ever.
func TestATokenThatHasAlreadyExpiredIsUsedOnce(t *testing.T) {
	tn := newTenant(t, replies(200, `{}`))
	tn.onToken(replies(200, `{"access_token":"t","expires_in":-5}`))
	require.NoError(t, tn.client(t).SetSecret(t.Context(), appID, "s3cret-new"))
	tokens, _ := tn.counts()
	assert.Equal(t, 1, tokens)
}

func TestAFetchIsSharedAndOutlivesACallerThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetches atomic.Int32
		tc := &tokenCache{timeout: time.Minute, fetch: func(ctx context.Context) (*token, error) {
			fetches.Add(1)
			select {
			case <-time.After(10 * time.Second):
				return newToken("t", nil, time.Now(), time.Hour), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
		leaves, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			_, err := tc.get(leaves)
			assert.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, Ambiguous, ClassOf(err))
		})
		synctest.Wait() // so that it is this caller who starts the fetch
		for range 3 {
			all.Go(func() {
				_, err := tc.get(t.Context())
				assert.NoError(t, err)
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		assert.EqualValues(t, 1, fetches.Load())
	})
}

func TestAFetchIsBoundedWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tc := &tokenCache{timeout: time.Minute, fetch: func(ctx context.Context) (*token, error) {
			<-ctx.Done()
			return nil, (&Client{limits: &Limits{}}).tokenError(ctx, &turn{gate: &gate{}}, "", errors.New("oauth2: cannot fetch token: x"))
		}}
		start := time.Now()
		_, err := tc.get(context.Background())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Minute, time.Since(start))
	})
}

func TestDropKeepsANewerToken(t *testing.T) {
	older, newer := newToken("1", nil, time.Now(), time.Hour), newToken("2", nil, time.Now(), time.Hour)
	tc := &tokenCache{cur: newer}
	tc.drop(older)
	assert.Same(t, newer, tc.cached())
	tc.drop(newer)
	assert.Nil(t, tc.cached())
}

// A long body is not read for ever, and a token in it not cut.
func TestAHugeTokenAnswerIsNotRead(t *testing.T) {
	tn := newTenant(t, nil)
	tn.onToken(replies(200, `{"access_token":"`+strings.Repeat("x", maxBody+10)+`"}`))
	_, err := tn.client(t).Grant(t.Context())
	assert.Equal(t, Ambiguous, ClassOf(err))
}

// TestTokenBySeveralSecrets: the first that is not refused counts, and a switch
// between two attempts does not make a login fail.
func TestTokenBySeveralSecrets(t *testing.T) {
	accepted, tried := "old", []string(nil)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret := r.FormValue("client_secret")
		tried = append(tried, secret)
		w.Header().Set("Content-Type", "application/json")
		if secret != accepted {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"access_denied","error_description":"Unauthorized"}`))
		} else {
			_, _ = w.Write([]byte(`{"access_token":"token","expires_in":60,"token_type":"Bearer"}`))
		}
		accepted = "new" // it has arrived
	}))
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	c, err := New(Config{
		Domain: strings.TrimPrefix(server.URL, "https://"), ClientID: "engine",
		Secrets: []string{"new", "old"}, CACert: ca,
	})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Grant(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"new", "old", "new"}, tried)
}
