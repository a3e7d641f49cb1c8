package vaultcreds

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/auth0login/internal/lease"
	"vault-plugin-secrets-auth0/internal/printed"
)

// vault answers reads of one path, each with another secret. It is no server, so that a
// test in a bubble of synctest has the clock to itself.
type vault struct {
	mu      sync.Mutex
	lease   string
	seconds int
	reads   int
	sealed  bool
	hold    chan struct{} // reads wait for it, if it is there
}

const leased = "auth0/creds/shop/x"

// RoundTrip answers a read.
func (v *vault) RoundTrip(r *http.Request) (*http.Response, error) {
	v.mu.Lock()
	v.reads++
	answer := map[string]any{
		"lease_id": v.lease, "data": map[string]any{
			"domain": "example.eu.auth0.com", "client_id": "shop", "client_secrets": []string{fmt.Sprint("secret-", v.reads)},
			"ttl": v.seconds,
		},
	}
	if v.lease != "" {
		answer["lease_duration"] = v.seconds
	}
	sealed, hold := v.sealed, v.hold
	v.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	w := httptest.NewRecorder()
	if sealed {
		http.Error(w, `{"errors":["Vault is sealed"]}`, http.StatusServiceUnavailable)
	} else {
		_ = json.NewEncoder(w).Encode(answer)
	}
	response := w.Result()
	response.Request = r
	return response, nil
}

func (v *vault) set(change func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
}

func (v *vault) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.reads
}

func sourceAt(t *testing.T, address string, transport http.RoundTripper) *Source {
	t.Helper()
	config := api.DefaultConfig()
	config.Address, config.MaxRetries, config.HttpClient.Transport = address, 0, transport
	client, err := api.NewClient(config)
	require.NoError(t, err)
	return New(client, "auth0/creds/shop")
}

func (v *vault) source(t *testing.T) *Source {
	t.Helper()
	return sourceAt(t, "http://vault", v)
}

func secretOf(t *testing.T, s *Source) string {
	t.Helper()
	c, err := s.Credentials(t.Context())
	require.NoError(t, err)
	require.Len(t, c.ClientSecrets, 1)
	return c.ClientSecrets[0]
}

// later is the secret after a while, and after what was begun has ended.
func later(t *testing.T, s *Source, d time.Duration) string {
	t.Helper()
	time.Sleep(d)
	secret := secretOf(t, s)
	synctest.Wait()
	return secret
}

// TestALeaseIsReadAgainBeforeItEnds, and not sooner than Vault Agent would.
func TestALeaseIsReadAgainBeforeItEnds(t *testing.T) {
	for range 20 { // when exactly is left to chance
		synctest.Test(t, func(t *testing.T) {
			v := &vault{lease: leased, seconds: 100}
			source := v.source(t)
			assert.Equal(t, "secret-1", secretOf(t, source))
			assert.Equal(t, "secret-1", later(t, source, 84*time.Second))
			assert.Equal(t, 1, v.count())
			hold := make(chan struct{})
			v.set(func() { v.hold = hold })
			assert.Equal(t, "secret-1", later(t, source, 11*time.Second), "no login waits: the lease has not ended")
			assert.Equal(t, 2, v.count())
			close(hold)
			synctest.Wait()
			assert.Equal(t, "secret-2", secretOf(t, source))
			assert.Equal(t, "secret-3", later(t, source, 100*time.Second), "it has, and is waited for")
		})
	}
}

// TestWithoutALeaseTheTTLCounts: static-creds change when it is over, not before.
func TestWithoutALeaseTheTTLCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{seconds: 100}
		source := v.source(t)
		secretOf(t, source)
		assert.Equal(t, "secret-1", later(t, source, 99*time.Second))
		assert.Equal(t, "secret-2", later(t, source, time.Second))
		assert.Equal(t, 2, v.count())
	})
}

// TestTheLastCredentialsAreUsedWhileVaultDoesNotAnswer, and Vault is not asked for
// each login meanwhile.
func TestTheLastCredentialsAreUsedWhileVaultDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{lease: leased, seconds: 100}
		source := v.source(t)
		secretOf(t, source)
		require.NoError(t, source.LastError())
		v.set(func() { v.sealed = true })
		time.Sleep(time.Hour)
		for range 5 {
			assert.Equal(t, "secret-1", secretOf(t, source))
		}
		assert.Equal(t, 2, v.count())
		require.ErrorContains(t, source.LastError(), "sealed")
		v.set(func() { v.sealed = false })
		assert.Equal(t, "secret-3", later(t, source, lease.Pause))
		assert.NoError(t, source.LastError())
	})
}

// TestEveryRefreshReadsAgain, for all secrets were refused meanwhile, but at most once
// in a second, whether Vault answers or not.
func TestEveryRefreshReadsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{lease: leased, seconds: 100}
		source := v.source(t)
		secretOf(t, source)
		for i := range 5 {
			began := time.Now()
			require.NoError(t, source.Refresh(t.Context()))
			assert.Equal(t, lease.Pause, time.Since(began))
			assert.Equal(t, fmt.Sprint("secret-", i+2), secretOf(t, source))
		}
		v.set(func() { v.sealed = true })
		require.ErrorContains(t, source.Refresh(t.Context()), "sealed")
		assert.Equal(t, 7, v.count())
		assert.Equal(t, "secret-6", secretOf(t, source), "the last credentials stay")
		time.Sleep(lease.Pause)
		began := time.Now()
		require.ErrorContains(t, source.Refresh(t.Context()), "sealed")
		assert.Zero(t, time.Since(began))

		ctx, cancel := context.WithTimeout(t.Context(), lease.Pause/2)
		defer cancel()
		require.ErrorIs(t, source.Refresh(ctx), context.DeadlineExceeded)
		assert.Equal(t, 8, v.count())
	})
}

// TestAForcedRotationJustAfterAnother: a login that met the end of the last propagation
// has had the source read again. A secret that is forced within the same second is
// found all the same, by all the logins that meet it, with one more read.
func TestAForcedRotationJustAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{lease: leased, seconds: 100}
		source := v.source(t)
		app := auth0login.New(source)
		accepted := "secret-1"
		login := func() error {
			return app.Login(t.Context(), func(_ context.Context, _ auth0login.Credentials, secret string) error {
				if secret != accepted {
					return auth0login.ErrRefused
				}
				return nil
			})
		}
		require.NoError(t, login())
		accepted = "secret-2"
		time.Sleep(lease.Pause)
		require.NoError(t, login())
		accepted = "secret-3"
		time.Sleep(lease.Pause / 2)
		var logins sync.WaitGroup
		for range 5 {
			logins.Go(func() { assert.NoError(t, login()) })
		}
		logins.Wait()
		assert.Equal(t, 3, v.count())
	})
}

// TestARefreshGoesByNoReadThatHadBegunBefore: that may have come before the rotation.
// All who refresh meanwhile share one.
func TestARefreshGoesByNoReadThatHadBegunBefore(t *testing.T) {
	for name, sealed := range map[string]bool{"that works": false, "that fails": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vault{lease: leased, seconds: 100}
				source := v.source(t)
				secretOf(t, source)
				hold := make(chan struct{})
				v.set(func() { v.hold, v.sealed = hold, sealed })
				later(t, source, 96*time.Second) // begins to read
				require.Equal(t, 2, v.count())
				v.set(func() { v.sealed = false })
				var refreshing sync.WaitGroup
				for range 5 {
					refreshing.Go(func() { assert.NoError(t, source.Refresh(t.Context())) })
				}
				synctest.Wait()
				close(hold)
				refreshing.Wait()
				assert.Equal(t, "secret-3", secretOf(t, source))
				assert.Equal(t, 3, v.count())
			})
		})
	}
}

func TestOneReadServesAllWhoWaitForIt(t *testing.T) {
	for name, sealed := range map[string]bool{"and works": false, "and fails": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vault{lease: leased, seconds: 100, hold: make(chan struct{}), sealed: sealed}
				source := v.source(t)
				var waiting sync.WaitGroup
				for range 10 {
					waiting.Go(func() {
						_, err := source.Credentials(t.Context())
						assert.Equal(t, sealed, err != nil)
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

// TestALoginThatIsCancelledEndsTheReadForNoOther: a user's request that is cancelled is
// no failure of Vault's.
func TestALoginThatIsCancelledEndsTheReadForNoOther(t *testing.T) {
	for name, ask := range map[string]func(*Source, context.Context) error{
		"credentials": func(s *Source, ctx context.Context) error { _, err := s.Credentials(ctx); return err },
		"refresh":     func(s *Source, ctx context.Context) error { return s.Refresh(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vault{lease: leased, seconds: 100, hold: make(chan struct{})}
				source := v.source(t)
				ctx, leave := context.WithCancel(t.Context())
				left := make(chan error, 1)
				go func() { left <- ask(source, ctx) }()
				synctest.Wait()
				require.Equal(t, 1, v.count())
				leave()
				require.ErrorIs(t, <-left, context.Canceled)
				close(v.hold)
				assert.Equal(t, "secret-1", secretOf(t, source))
				assert.Equal(t, 1, v.count())
				assert.NoError(t, source.LastError())
				_, err := source.Credentials(ctx)
				assert.ErrorIs(t, err, context.Canceled)
			})
		})
	}
}

// TestALoginWaitsForVaultOnlySoLong while it has credentials, whichever login has begun
// to read.
func TestALoginWaitsForVaultOnlySoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{lease: leased, seconds: 100}
		source := v.source(t)
		secretOf(t, source)
		v.set(func() { v.hold = make(chan struct{}) })
		time.Sleep(time.Hour)
		began := time.Now()
		assert.Equal(t, "secret-1", secretOf(t, source))
		assert.Equal(t, source.Patience, time.Since(began))
		assert.Equal(t, "secret-1", secretOf(t, source))
		assert.Equal(t, source.Patience, time.Since(began), "the read began before this login, which waits no longer for it")
		require.ErrorIs(t, source.Refresh(t.Context()), context.DeadlineExceeded)
		assert.Equal(t, 2*source.Patience, time.Since(began))
		time.Sleep(lease.ReadTimeout)
		require.ErrorIs(t, source.LastError(), context.DeadlineExceeded)
	})
}

// TestNothingPrintsASecret, or the token for Vault.
func TestNothingPrintsASecret(t *testing.T) {
	v := &vault{lease: leased, seconds: 100}
	source := v.source(t)
	source.client.SetToken("the-token-for-vault")
	secretOf(t, source)
	require.Equal(t, []string{"secret-1"}, source.kept.Held().Value.ClientSecrets)
	value := reflect.ValueOf(source).Elem().Interface()
	all := printed.Everything(t, value, source)
	assert.NotContains(t, all, "secret-1")
	assert.NotContains(t, all, "the-token-for-vault")
	assert.Equal(t, "auth0/creds/shop in Vault", fmt.Sprintf("%#v", source))
	assert.Equal(t, "auth0/creds/shop in Vault", source.LogValue().String())
	text, err := json.Marshal(value)
	require.NoError(t, err)
	assert.JSONEq(t, `"auth0/creds/shop in Vault"`, string(text))
}

// TestARedirectOfVaultIsFollowed, as from a standby node to the active one, but not to one
// without TLS.
func TestARedirectOfVaultIsFollowed(t *testing.T) {
	v := &vault{lease: leased, seconds: 100}
	active := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, _ := v.RoundTrip(r)
		_, _ = io.Copy(w, answer.Body)
	}))
	defer active.Close()
	redirect := http.RedirectHandler(active.URL+"/v1/auth0/creds/shop", http.StatusTemporaryRedirect)
	standby, downgrade := httptest.NewServer(redirect), httptest.NewTLSServer(redirect)
	defer standby.Close()
	defer downgrade.Close()
	assert.Equal(t, "secret-1", secretOf(t, sourceAt(t, standby.URL, http.DefaultTransport)))

	_, err := sourceAt(t, downgrade.URL, downgrade.Client().Transport).Credentials(t.Context())
	require.ErrorContains(t, err, "protocol downgrade")
	assert.Equal(t, 1, v.count())
}

// answers is a Vault that gives each read the same answer.
type answers string

// RoundTrip answers.
func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(a)))}, nil
}

func TestErrorsOfTheFirstRead(t *testing.T) {
	v := &vault{lease: leased, seconds: 100, sealed: true}
	source := v.source(t)
	_, err := source.Credentials(t.Context())
	require.ErrorContains(t, err, "read auth0/creds/shop")
	v.set(func() { v.sealed = false })
	_, err = source.Credentials(t.Context())
	require.NoError(t, err, "the next login asks again")

	for answer, want := range map[string]string{
		`{"lease_duration":2764800,"data":{"domain":"d","client_id":"c","client_secret":"of a kv secret"}}`: "neither a lease nor a ttl",
		`{"data":{"domain":"d","client_id":"c","client_secret":"s","ttl":1.5}}`:                             "not a number of seconds",
		`{"data":{"client_id":"c","client_secret":"s","ttl":1}}`:                                            "no domain",
	} {
		_, err = sourceAt(t, "http://vault", answers(answer)).Credentials(t.Context())
		assert.ErrorContains(t, err, want)
	}
}
