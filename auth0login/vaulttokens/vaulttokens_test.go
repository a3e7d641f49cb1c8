package vaulttokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"vault-plugin-secrets-auth0/auth0login/internal/lease"
	"vault-plugin-secrets-auth0/internal/printed"
)

var orders = Config{Path: "auth0/tokens/orders", Domain: "example.eu.auth0.com", Audience: "https://api.example.com/"}

// vault answers reads of one path as the engine does for a shared token role: the present
// token, and a new one once less than minTTL of that is left. It is no server, so that a
// test in a bubble of synctest has the clock to itself.
type vault struct {
	mu      sync.Mutex
	life    time.Duration
	minTTL  time.Duration
	most    time.Duration // a lease lasts at most so long; 0: as long as the token
	data    map[string]any
	reads   int
	tokens  int // how many there were
	until   time.Time
	failing int           // the status of its answers; 0: it works
	body    string        // of those
	hold    chan struct{} // reads wait for it, if it is there
}

// RoundTrip answers a read.
func (v *vault) RoundTrip(r *http.Request) (*http.Response, error) {
	v.mu.Lock()
	hold := v.hold
	v.reads++
	v.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	w := httptest.NewRecorder()
	if v.failing != 0 {
		http.Error(w, v.body, v.failing)
	} else {
		_ = json.NewEncoder(w).Encode(v.answer())
	}
	response := w.Result()
	response.Request = r
	return response, nil
}

func (v *vault) answer() map[string]any {
	now := time.Now()
	if v.until.Sub(now) <= v.minTTL {
		v.tokens, v.until = v.tokens+1, now.Add(v.life)
	}
	left := v.until.Sub(now)
	data := map[string]any{
		"access_token": fmt.Sprint("token-", v.tokens), "token_type": "Bearer", "expires_in": int(left.Seconds()),
		"scopes": []string{"read:orders", "write:orders"}, "audience": orders.Audience, "domain": orders.Domain,
	}
	maps.Copy(data, v.data)
	if v.most > 0 {
		left = min(left, v.most)
	}
	return map[string]any{"lease_id": "auth0/tokens/orders/x", "lease_duration": int(left.Seconds()), "data": data}
}

func (v *vault) set(change func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
}

func (v *vault) seal() { v.set(func() { v.failing, v.body = 503, `{"errors":["Vault is sealed"]}` }) }

// drop has the next read get a new token, as a change of the token role does.
func (v *vault) drop() { v.set(func() { v.until = time.Time{} }) }

func (v *vault) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.reads
}

func (v *vault) client(t *testing.T) *api.Client {
	t.Helper()
	config := api.DefaultConfig()
	config.Address, config.MaxRetries, config.HttpClient.Transport = "http://vault", 0, v
	client, err := api.NewClient(config)
	require.NoError(t, err)
	return client
}

func (v *vault) source(t *testing.T) *Source {
	t.Helper()
	return New(t.Context(), v.client(t), orders)
}

func tokenOf(t *testing.T, s *Source) string {
	t.Helper()
	token, err := s.Token()
	require.NoError(t, err)
	return token.AccessToken
}

// later is the token after a while, and after what was begun has ended.
func later(t *testing.T, s *Source, d time.Duration) string {
	t.Helper()
	time.Sleep(d)
	token := tokenOf(t, s)
	synctest.Wait()
	return token
}

// TestATokenIsKeptUntilMostOfItsTimeIsOver, and is read again in the background, so early
// that Vault may be away for two minutes.
func TestATokenIsKeptUntilMostOfItsTimeIsOver(t *testing.T) {
	for name, c := range map[string]struct {
		life, most       time.Duration
		earliest, latest float64 // seconds
	}{
		"of a day":                {life: 24 * time.Hour, earliest: 0.85 * (86400 - 120), latest: 0.95 * (86400 - 120)},
		"of minutes":              {life: 5 * time.Minute, earliest: 0.85 * 180, latest: 0.95 * 180},
		"of less than twice two":  {life: time.Minute, earliest: 0.85 * 30, latest: 0.95 * 30},
		"of a day, leased for 1h": {life: 24 * time.Hour, most: time.Hour, earliest: 0.85 * 3480, latest: 0.95 * 3480},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // when exactly is left to chance
				synctest.Test(t, func(t *testing.T) {
					v := &vault{life: c.life, minTTL: c.life, most: c.most} // a new token for each read
					source := v.source(t)
					assert.Equal(t, "token-1", tokenOf(t, source))
					assert.Equal(t, "token-1", later(t, source, time.Duration(c.earliest*float64(time.Second))-time.Millisecond))
					assert.Equal(t, 1, v.count())
					hold := make(chan struct{})
					v.set(func() { v.hold = hold })
					time.Sleep(time.Duration((c.latest-c.earliest)*float64(time.Second)) + 2*time.Millisecond)
					began := time.Now()
					for range 5 {
						assert.Equal(t, "token-1", tokenOf(t, source))
					}
					assert.Zero(t, time.Since(began), "nobody waits: the token is good")
					synctest.Wait()
					assert.Equal(t, 2, v.count(), "one read for all")
					close(hold)
					synctest.Wait()
					assert.Equal(t, "token-2", tokenOf(t, source))
				})
			}
		})
	}
}

// TestASharedTokenIsReadAFewTimesInItsLife, and its successor comes in time.
func TestASharedTokenIsReadAFewTimesInItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: 24 * time.Hour, minTTL: 5 * time.Minute}
		source := v.source(t)
		for range 7 * 24 * 60 {
			token, err := source.Token()
			require.NoError(t, err)
			assert.Greater(t, time.Until(token.Expiry), reserve/2)
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		assert.Equal(t, 8, v.tokens)
		assert.Less(t, v.count(), 8*5)
	})
}

// TestATokenSaysWhatVaultSaid, and is the caller's to change.
func TestATokenSaysWhatVaultSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: time.Hour}
		source := v.source(t)
		token, err := source.Token()
		require.NoError(t, err)
		assert.Equal(t, "Bearer", token.TokenType)
		assert.Equal(t, time.Now().Add(time.Hour), token.Expiry)
		assert.Equal(t, "read:orders write:orders", token.Extra("scope"))
		token.AccessToken = "changed"
		assert.Equal(t, "token-1", tokenOf(t, source))
	})
}

// TestWithoutExpiresInTheLeaseCounts: Auth0 did not say how long the token lives.
func TestWithoutExpiresInTheLeaseCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: 24 * time.Hour, most: 5 * time.Minute, data: map[string]any{"expires_in": 0}}
		token, err := v.source(t).Token()
		require.NoError(t, err)
		assert.Equal(t, time.Now().Add(5*time.Minute), token.Expiry)
	})
}

// TestTheTokenIsUsedWhileVaultDoesNotAnswer, until shortly before its end, and Vault is
// not asked for each request meanwhile.
func TestTheTokenIsUsedWhileVaultDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: time.Hour, minTTL: 30 * time.Second}
		source := v.source(t)
		tokenOf(t, source)
		require.NoError(t, source.LastError())
		v.seal()
		assert.Equal(t, "token-1", later(t, source, time.Hour-onTheWay-time.Millisecond))
		require.ErrorContains(t, source.LastError(), "Vault is sealed")
		for range 5 {
			assert.Equal(t, "token-1", tokenOf(t, source))
		}
		assert.Equal(t, 2, v.count())
		time.Sleep(time.Millisecond)
		for range 5 {
			_, err := source.Token()
			require.ErrorContains(t, err, "read auth0/tokens/orders: Vault answered 503: Vault is sealed")
		}
		assert.Equal(t, 2, v.count())
		v.set(func() { v.failing = 0 })
		assert.Equal(t, "token-2", later(t, source, lease.Pause))
		assert.NoError(t, source.LastError())
	})
}

// TestAFirstReadThatFailsKeepsThePaceToo: an application that is refused does not ask for
// each of its requests.
func TestAFirstReadThatFailsKeepsThePaceToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: time.Hour, failing: 403, body: `{"errors":["permission denied"]}`}
		source := v.source(t)
		for range 5 {
			_, err := source.Token()
			require.ErrorContains(t, err, "permission denied")
		}
		assert.Equal(t, 1, v.count())
		v.set(func() { v.failing = 0 })
		assert.Equal(t, "token-1", later(t, source, lease.Pause))
	})
}

// TestAShortLivedTokenIsUsedForNineTenths: ten seconds would be all of it.
func TestAShortLivedTokenIsUsedForNineTenths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: 10 * time.Second}
		source := v.source(t)
		tokenOf(t, source)
		v.seal()
		assert.Equal(t, "token-1", later(t, source, 9*time.Second-time.Millisecond))
		time.Sleep(time.Millisecond)
		_, err := source.Token()
		assert.Error(t, err)
	})
}

// TestATokenThatComesTooLateIsNotUsed: its time counts from before the request.
func TestATokenThatComesTooLateIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: 20 * time.Second, hold: make(chan struct{}), data: map[string]any{"expires_in": 20}}
		source := v.source(t)
		time.AfterFunc(19*time.Second, func() { close(v.hold) })
		_, err := source.Token()
		require.ErrorIs(t, err, errExpired)
	})
}

// TestOneReadServesAllWhoWaitForIt also after it failed.
func TestOneReadServesAllWhoWaitForIt(t *testing.T) {
	for name, status := range map[string]int{"and works": 0, "and fails": 502} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vault{life: time.Hour, hold: make(chan struct{}), failing: status, body: `{"errors":["Auth0 does not answer"]}`}
				source := v.source(t)
				var waiting sync.WaitGroup
				for range 10 {
					waiting.Go(func() {
						_, err := source.Token()
						assert.Equal(t, status != 0, err != nil)
					})
				}
				synctest.Wait()
				close(v.hold)
				waiting.Wait()
				assert.Equal(t, 1, v.count())
			})
		})
	}
}

// TestARefusedTokenIsReplacedAtOnce by one read for all requests for which it was refused,
// also for those that hear of it later.
func TestARefusedTokenIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: time.Hour}
		source := v.source(t)
		refused, err := source.Token()
		require.NoError(t, err)
		time.Sleep(time.Minute)
		v.drop()
		began := time.Now()
		var requests sync.WaitGroup
		for range 10 {
			requests.Go(func() {
				token, err := source.Refused(t.Context(), refused)
				if assert.NoError(t, err) {
					assert.Equal(t, "token-2", token.AccessToken)
				}
			})
		}
		requests.Wait()
		token, err := source.Refused(t.Context(), refused)
		require.NoError(t, err)
		assert.Equal(t, "token-2", token.AccessToken)
		assert.Equal(t, "token-2", tokenOf(t, source))
		assert.Equal(t, 2, v.count())
		assert.Zero(t, time.Since(began))
	})
}

// TestRefusalsKeepAPace: a second between two reads, and half a minute where Vault has no
// other token.
func TestRefusalsKeepAPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: time.Hour}
		source := v.source(t)
		token, err := source.Token()
		require.NoError(t, err)
		for i := range 3 { // an API that refuses all
			v.drop()
			began := time.Now()
			token, err = source.Refused(t.Context(), token)
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprint("token-", i+2), token.AccessToken)
			assert.Equal(t, lease.Pause, time.Since(began))
		}
		require.Equal(t, 4, v.count())
		for range 10 { // and Vault has no other
			_, err = source.Refused(t.Context(), token)
			require.ErrorIs(t, err, ErrNoOther)
		}
		assert.Equal(t, 5, v.count())
		assert.Equal(t, "token-4", tokenOf(t, source), "it goes on to be used")

		v.drop()
		time.Sleep(calm)
		token, err = source.Refused(t.Context(), token)
		require.NoError(t, err)
		assert.Equal(t, "token-5", token.AccessToken)
	})
}

// TestACalmIsForOneToken: another one that is refused meanwhile is replaced at once.
func TestACalmIsForOneToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: 20 * time.Second, minTTL: 15 * time.Second}
		source := v.source(t)
		token, err := source.Token()
		require.NoError(t, err)
		_, err = source.Refused(t.Context(), token)
		require.ErrorIs(t, err, ErrNoOther)
		later(t, source, calm/3) // reads again
		token, err = source.Token()
		require.NoError(t, err)
		require.Equal(t, "token-2", token.AccessToken)
		v.drop()
		token, err = source.Refused(t.Context(), token)
		require.NoError(t, err)
		assert.Equal(t, "token-3", token.AccessToken)
	})
}

// TestARefusalWhileVaultDoesNotAnswer is told apart, and takes no token away.
func TestARefusalWhileVaultDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: time.Hour}
		source := v.source(t)
		token, err := source.Token()
		require.NoError(t, err)
		time.Sleep(time.Minute)
		v.seal()
		_, err = source.Refused(t.Context(), token)
		require.ErrorContains(t, err, "sealed")
		require.NotErrorIs(t, err, ErrNoOther)
		assert.Equal(t, "token-1", tokenOf(t, source))

		v.set(func() { v.failing, v.hold = 0, make(chan struct{}) })
		time.Sleep(time.Minute)
		began := time.Now()
		_, err = source.Refused(t.Context(), token)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, patience, time.Since(began))
		ctx, leave := context.WithCancel(t.Context())
		leave()
		_, err = source.Refused(ctx, token)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// TestNothingGoesOnAfterTheContext: no read, and no token. A goroutine that did would
// hang the bubble.
func TestNothingGoesOnAfterTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: time.Hour, hold: make(chan struct{})}
		ctx, end := context.WithCancel(t.Context())
		source := New(ctx, v.client(t), orders)
		waits := make(chan error)
		go func() { _, err := source.Token(); waits <- err }()
		synctest.Wait()
		require.Equal(t, 1, v.count())
		began := time.Now()
		end()
		require.ErrorIs(t, <-waits, context.Canceled)
		synctest.Wait()
		require.ErrorIs(t, source.LastError(), context.Canceled, "the read has ended, too")
		assert.Zero(t, time.Since(began))
		_, err := source.Token()
		require.ErrorIs(t, err, context.Canceled)
		_, err = source.Refused(t.Context(), &oauth2.Token{})
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, 1, v.count())

		ctx, end = context.WithCancel(t.Context())
		v.set(func() { v.hold = nil })
		source = New(ctx, v.client(t), orders)
		tokenOf(t, source)
		end()
		_, err = source.Token()
		require.ErrorIs(t, err, context.Canceled, "also where one is held")
	})
}

// TestTokensForElsewhereAreRefused: whoever may write token roles and config cannot have
// the application send another API's token, or another tenant's.
func TestTokensForElsewhereAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		data   map[string]any
		config Config
		want   string // "": it is taken
	}{
		"as expected":      {nil, orders, ""},
		"in capitals":      {map[string]any{"domain": "Example.EU.auth0.com"}, orders, ""},
		"another API":      {map[string]any{"audience": "https://example.eu.auth0.com/api/v2/"}, orders, `"https://api.example.com/" is expected, but it is for "https://example.eu.auth0.com/api/v2/"`},
		"without a slash":  {map[string]any{"audience": "https://api.example.com"}, orders, "is expected"},
		"another tenant":   {map[string]any{"domain": "tenant.example.com"}, orders, `"example.eu.auth0.com" is expected, but it is of "tenant.example.com"`},
		"no audience":      {map[string]any{"audience": nil}, orders, "is expected"},
		"another type":     {map[string]any{"token_type": "DPoP"}, orders, `"DPoP", not Bearer`},
		"no token":         {map[string]any{"access_token": ""}, orders, "no access_token"},
		"not a token role": {map[string]any{"expires_in": "soon"}, orders, "not the data of tokens/<token role>"},
		"nothing expected": {map[string]any{"domain": "", "audience": ""}, Config{Path: orders.Path}, "does not say"},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vault{life: time.Hour, data: c.data}
			source := New(t.Context(), v.client(t), c.config)
			_, err := source.Token()
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "read auth0/tokens/orders: ")
			assert.NotContains(t, err.Error(), "token-1")
			assert.Nil(t, source.kept.Held())
		})
	}
}

// TestATokenForElsewhereTakesTheGoodOnesPlaceNever: the token role is changed under a
// running application.
func TestATokenForElsewhereTakesTheGoodOnesPlaceNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: time.Hour}
		source := v.source(t)
		tokenOf(t, source)
		v.drop()
		v.set(func() { v.data = map[string]any{"audience": "https://example.eu.auth0.com/api/v2/"} })
		assert.Equal(t, "token-1", later(t, source, time.Hour-onTheWay-time.Second))
		require.ErrorContains(t, source.LastError(), "api/v2")
		time.Sleep(time.Minute)
		_, err := source.Token()
		assert.ErrorContains(t, err, "api/v2")
	})
}

// TestErrorsHaveNoToken, whatever answers in Vault's place.
func TestErrorsHaveNoToken(t *testing.T) {
	const token = "a-token-that-nobody-sees"
	for name, c := range map[string]struct {
		status     int
		body, want string
	}{
		"refused":            {403, `{"errors":["permission denied"]}`, "Vault answered 403: permission denied"},
		"what cannot work":   {400, `{"errors":["token role \"orders\" does not exist","and more"]}`, `Vault answered 400: token role "orders" does not exist; and more`},
		"a proxy's own text": {502, token, "Vault answered 502"},
		"with a token in it": {500, `{"data":{"access_token":"` + token + `"}}`, "Vault answered 500"},
		"not JSON":           {200, token, "invalid character"},
		"other JSON":         {200, `{"data":{"access_token":["` + token + `"]}}`, "not the data"},
		"JSON of no object":  {200, `"` + token + `"`, "cannot unmarshal"},
		"an odd lease":       {200, `{"lease_duration":"` + token + `","data":{"access_token":"` + token + `"}}`, "cannot unmarshal"},
		"nothing":            {404, `{"errors":[]}`, "there is nothing at this path"},
	} {
		t.Run(name, func(t *testing.T) {
			v := &vault{failing: c.status, body: c.body}
			_, err := v.source(t).Token()
			require.ErrorContains(t, err, c.want)
			assert.NotContains(t, fmt.Sprintf("%v %+v %#v %q", err, err, errors.Unwrap(err), err), token)
			if c.status == 403 {
				var answer *api.ResponseError
				require.ErrorAs(t, err, &answer)
				assert.Equal(t, c.status, answer.StatusCode)
			}
		})
	}
}

// TestNothingPrintsAToken, or the token for Vault.
func TestNothingPrintsAToken(t *testing.T) {
	v := &vault{life: time.Hour}
	source := v.source(t)
	source.client.SetToken("the-token-for-vault")
	token, err := source.Token()
	require.NoError(t, err)
	require.Equal(t, "token-1", token.AccessToken)
	_, err = source.Refused(t.Context(), token)
	require.ErrorIs(t, err, ErrNoOther)
	require.Equal(t, "token-1", source.same.value)
	value := reflect.ValueOf(source).Elem().Interface()
	all := printed.Everything(t, value, source)
	client := source.Client(t.Context())
	all += fmt.Sprintf("%v %+v %#v", client, client, client)
	assert.NotContains(t, all, "token-1")
	assert.NotContains(t, all, "the-token-for-vault")
	assert.Equal(t, "auth0/tokens/orders in Vault", fmt.Sprintf("%#v", source))
	assert.Equal(t, "auth0/tokens/orders in Vault", source.LogValue().String())
	text, err := json.Marshal(value)
	require.NoError(t, err)
	assert.JSONEq(t, `"auth0/tokens/orders in Vault"`, string(text))
}

// roundTripper makes a transport of a function.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestTheClientSendsThePresentToken with each request. One made by oauth2.NewClient would
// keep the first until it expires.
func TestTheClientSendsThePresentToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: time.Hour, minTTL: time.Hour}
		source := v.source(t)
		var sent []string
		base := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			sent = append(sent, r.Header.Get("Authorization"))
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})}
		client := source.Client(context.WithValue(t.Context(), oauth2.HTTPClient, base))
		get := func() {
			_, err := client.Get("https://api.example.com/orders")
			require.NoError(t, err)
		}
		get()
		time.Sleep(time.Hour - reserve)
		get() // has it read again
		synctest.Wait()
		get()
		refused, err := source.Token()
		require.NoError(t, err)
		time.Sleep(lease.Pause)
		_, err = source.Refused(t.Context(), refused)
		require.NoError(t, err)
		get()
		assert.Contains(t, []string{"Bearer token-1", "Bearer token-2"}, sent[1], "the read may be done by then")
		assert.Equal(t, []string{"Bearer token-1", "Bearer token-2", "Bearer token-3"}, append(sent[:1:1], sent[2:]...))
		v.seal()
		time.Sleep(time.Hour)
		_, err = client.Get("https://api.example.com/orders")
		var failed *url.Error
		require.ErrorAs(t, err, &failed)
		require.ErrorContains(t, err, "sealed")
		assert.Len(t, sent, 4, "nothing is sent without a token")
	})
}

// TestTheClientTakesNoTokenToAnotherHost by a redirect.
func TestTheClientTakesNoTokenToAnotherHost(t *testing.T) {
	v := &vault{life: time.Hour}
	var sent []string
	base := &http.Client{Timeout: time.Minute, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r.URL.String())
		to := map[string]string{"/near": "/here", "/far": "https://example.org/", "/plain": "http://api.example.com/", "/round": "/round"}[r.URL.Path]
		if to == "" {
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}
		return &http.Response{StatusCode: http.StatusTemporaryRedirect, Header: http.Header{"Location": {to}}, Body: http.NoBody}, nil
	})}
	client := v.source(t).Client(context.WithValue(t.Context(), oauth2.HTTPClient, base))
	assert.Equal(t, time.Minute, client.Timeout)
	get := func(path string) (err error) {
		sent = nil
		_, err = client.Get("https://api.example.com" + path)
		return err
	}
	require.NoError(t, get("/near"))
	assert.Equal(t, []string{"https://api.example.com/near", "https://api.example.com/here"}, sent)
	for _, path := range []string{"/far", "/plain"} {
		require.ErrorContains(t, get(path), "gets no token")
		assert.Len(t, sent, 1)
	}
	require.ErrorContains(t, get("/round"), "10 redirects")
	assert.Len(t, sent, 10)
	base.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("none at all") }
	require.ErrorContains(t, get("/near"), "none at all")
}

// TestNothingIsReadBeforeItIsNeeded, and the path is the configured one.
func TestNothingIsReadBeforeItIsNeeded(t *testing.T) {
	var asked []string
	v := &vault{life: time.Hour}
	client := v.client(t)
	config := client.CloneConfig()
	config.HttpClient.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		return v.RoundTrip(r)
	})
	client, err := api.NewClient(config)
	require.NoError(t, err)
	source := New(t.Context(), client, orders)
	source.Client(t.Context())
	assert.Empty(t, asked)
	tokenOf(t, source)
	assert.Equal(t, []string{"GET /v1/auth0/tokens/orders"}, asked)
}
