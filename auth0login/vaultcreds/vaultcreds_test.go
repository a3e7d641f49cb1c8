package vaultcreds

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// vault answers reads of one path, and can be sealed.
type vault struct {
	*httptest.Server
	mu      sync.Mutex
	lease   string
	seconds int
	reads   int
	sealed  bool
	hold    chan struct{} // reads wait for it, if it is there
}

func startVault(t *testing.T, lease string, seconds int) *vault {
	t.Helper()
	v := &vault{lease: lease, seconds: seconds}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
			}
		}
		if sealed {
			http.Error(w, `{"errors":["Vault is sealed"]}`, http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(v.Close)
	return v
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

// hour is longer than any test.
const hour = time.Hour

// clock is the time as the source sees it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (v *vault) source(t *testing.T) (*Source, *clock) {
	t.Helper()
	config := api.DefaultConfig()
	config.Address, config.MaxRetries = v.URL, 0
	client, err := api.NewClient(config)
	require.NoError(t, err)
	source, time := New(client, "auth0/creds/shop"), &clock{now: time.Now()}
	source.now, source.Patience = time.read, hour
	return source, time
}

func (v *vault) secret(t *testing.T, s *Source) string {
	t.Helper()
	c, err := s.Credentials(t.Context())
	require.NoError(t, err)
	require.Len(t, c.ClientSecrets, 1)
	return c.ClientSecrets[0]
}

// ended waits until no read is under way.
func ended(s *Source) {
	s.mu.Lock()
	r := s.last
	s.mu.Unlock()
	if r != nil {
		<-r.done
	}
}

// TestALeaseIsReadAgainBeforeItEnds, and not sooner than Vault Agent would.
func TestALeaseIsReadAgainBeforeItEnds(t *testing.T) {
	for range 20 { // when exactly is left to chance
		v := startVault(t, "auth0/creds/shop/x", 100)
		source, clock := v.source(t)
		assert.Equal(t, "secret-1", v.secret(t, source))
		clock.forward(84 * time.Second)
		assert.Equal(t, "secret-1", v.secret(t, source))
		ended(source)
		assert.Equal(t, 1, v.count())
		clock.forward(11 * time.Second)
		assert.Equal(t, "secret-1", v.secret(t, source), "nobody waits: the lease has not ended")
		ended(source)
		assert.Equal(t, "secret-2", v.secret(t, source))
		clock.forward(100 * time.Second)
		assert.Equal(t, "secret-3", v.secret(t, source), "it has, and is waited for")
		v.Close()
	}
}

// TestWithoutALeaseTheTTLCounts: static-creds change when it is over, not before.
func TestWithoutALeaseTheTTLCounts(t *testing.T) {
	v := startVault(t, "", 100)
	source, clock := v.source(t)
	v.secret(t, source)
	clock.forward(99 * time.Second)
	assert.Equal(t, "secret-1", v.secret(t, source))
	ended(source)
	clock.forward(time.Second)
	assert.Equal(t, "secret-2", v.secret(t, source))
}

// TestTheLastCredentialsAreUsedWhileVaultDoesNotAnswer, and Vault is not asked for
// each login meanwhile.
func TestTheLastCredentialsAreUsedWhileVaultDoesNotAnswer(t *testing.T) {
	v := startVault(t, "auth0/creds/shop/x", 100)
	source, clock := v.source(t)
	v.secret(t, source)
	require.NoError(t, source.LastError())
	v.set(func() { v.sealed = true })
	clock.forward(time.Hour)
	for range 5 {
		assert.Equal(t, "secret-1", v.secret(t, source))
	}
	assert.Equal(t, 2, v.count())
	require.ErrorContains(t, source.LastError(), "sealed")
	v.set(func() { v.sealed = false })
	clock.forward(pause)
	assert.Equal(t, "secret-3", v.secret(t, source))
	assert.NoError(t, source.LastError())
}

func TestRefreshReadsAheadOfTimeButNotAllTheTime(t *testing.T) {
	v := startVault(t, "auth0/creds/shop/x", 100)
	source, clock := v.source(t)
	v.secret(t, source)
	for range 5 {
		require.NoError(t, source.Refresh(t.Context()))
	}
	assert.Equal(t, 2, v.count())
	assert.Equal(t, "secret-2", v.secret(t, source))
	v.set(func() { v.sealed = true })
	clock.forward(pause)
	for range 5 {
		require.ErrorContains(t, source.Refresh(t.Context()), "sealed")
	}
	assert.Equal(t, 3, v.count())
	assert.Equal(t, "secret-2", v.secret(t, source), "the last credentials stay")
}

// noticed is a context that says when somebody begins to wait for its end.
type noticed struct {
	context.Context
	notice func()
}

// Done is that of the context.
func (n noticed) Done() <-chan struct{} {
	n.notice()
	return n.Context.Done()
}

// TestARefreshGoesByNoReadThatHadBegunBefore: that may have come before the rotation.
// All who refresh meanwhile share one.
func TestARefreshGoesByNoReadThatHadBegunBefore(t *testing.T) {
	v := startVault(t, "auth0/creds/shop/x", 100)
	source, clock := v.source(t)
	v.secret(t, source)
	hold := make(chan struct{})
	v.set(func() { v.hold = hold })
	clock.forward(96 * time.Second)
	v.secret(t, source) // begins to read
	require.Eventually(t, func() bool { return v.count() == 2 }, time.Minute, time.Millisecond)
	var refreshing, begun sync.WaitGroup
	for range 5 {
		begun.Add(1)
		ctx := noticed{t.Context(), sync.OnceFunc(begun.Done)}
		refreshing.Go(func() { assert.NoError(t, source.Refresh(ctx)) })
	}
	begun.Wait() // one that comes after the read would have another
	close(hold)
	refreshing.Wait()
	assert.Equal(t, "secret-3", v.secret(t, source))
	assert.Equal(t, 3, v.count())
}

func TestOneReadServesAllWhoWaitForIt(t *testing.T) {
	for name, sealed := range map[string]bool{"and works": false, "and fails": true} {
		t.Run(name, func(t *testing.T) {
			v := startVault(t, "auth0/creds/shop/x", 100)
			v.hold, v.sealed = make(chan struct{}), sealed
			source, _ := v.source(t)
			began := make(chan struct{}, 10)
			var waiting sync.WaitGroup
			for range 10 {
				waiting.Go(func() {
					_, r := source.present(t.Context())
					began <- struct{}{}
					err := source.await(t.Context(), r)
					assert.Equal(t, sealed, err != nil)
				})
			}
			for range 10 {
				<-began
			}
			close(v.hold)
			waiting.Wait()
			assert.Equal(t, 1, v.count())
		})
	}
}

// TestWhoLeavesEndsTheReadForNobody: a user's request that is cancelled is no failure
// of Vault's.
func TestWhoLeavesEndsTheReadForNobody(t *testing.T) {
	for name, ask := range map[string]func(*Source, context.Context) error{
		"credentials": func(s *Source, ctx context.Context) error { _, err := s.Credentials(ctx); return err },
		"refresh":     func(s *Source, ctx context.Context) error { return s.Refresh(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			v := startVault(t, "auth0/creds/shop/x", 100)
			v.hold = make(chan struct{})
			source, _ := v.source(t)
			ctx, leave := context.WithCancel(t.Context())
			left := make(chan error, 1)
			go func() { left <- ask(source, ctx) }()
			require.Eventually(t, func() bool { return v.count() == 1 }, time.Minute, time.Millisecond)
			leave()
			require.ErrorIs(t, <-left, context.Canceled)
			close(v.hold)
			assert.Equal(t, "secret-1", v.secret(t, source))
			assert.Equal(t, 1, v.count())
			assert.NoError(t, source.LastError())
			_, err := source.Credentials(ctx)
			assert.ErrorIs(t, err, context.Canceled)
		})
	}
}

// TestALoginWaitsForVaultOnlySoLong while it has credentials, whoever has begun to read.
func TestALoginWaitsForVaultOnlySoLong(t *testing.T) {
	v := startVault(t, "auth0/creds/shop/x", 100)
	source, clock := v.source(t)
	v.secret(t, source)
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	v.set(func() { v.hold = never })
	clock.forward(time.Hour)
	source.Patience = time.Millisecond
	assert.Equal(t, "secret-1", v.secret(t, source))
	require.ErrorIs(t, source.Refresh(t.Context()), context.DeadlineExceeded)
	source.Patience = hour
	clock.forward(hour + time.Second) // as long as nobody would wait
	assert.Equal(t, "secret-1", v.secret(t, source))
}

// TestNothingPrintsASecret, or the token for Vault.
func TestNothingPrintsASecret(t *testing.T) {
	v := startVault(t, "auth0/creds/shop/x", 100)
	source, _ := v.source(t)
	source.client.SetToken("the-token-for-vault")
	v.secret(t, source)
	require.Equal(t, []string{"secret-1"}, source.held.credentials.ClientSecrets)
	value := reflect.ValueOf(source).Elem().Interface()
	var all bytes.Buffer
	for _, printed := range []any{
		source, value, struct{ Value, Pointer any }{value, source}, []any{value, source}, map[string]any{"a": value},
	} {
		for _, flags := range []string{"", "+", "#"} {
			for _, verb := range "vTtbcdoOqxXUeEfFgGspwz" {
				fmt.Fprintf(&all, "%"+flags+string(verb)+"\n", printed)
			}
		}
		for _, options := range []*hclog.LoggerOptions{{Output: &all}, {Output: &all, JSONFormat: true}} {
			hclog.New(options).Info("source", "one", printed, "list", []any{printed})
		}
		for _, handler := range []slog.Handler{slog.NewTextHandler(&all, nil), slog.NewJSONHandler(&all, nil)} {
			slog.New(handler).Info("source", "one", printed, "list", []any{printed})
		}
		text, err := json.Marshal(printed)
		require.NoError(t, err)
		all.Write(text)
	}
	unexported := struct{ value, pointer any }{value, source} // there fmt calls no methods
	fmt.Fprintf(&all, "%v %+v %#v", unexported, unexported, unexported)
	assert.NotContains(t, all.String(), "secret-1")
	assert.NotContains(t, all.String(), "the-token-for-vault")
	assert.Equal(t, "auth0/creds/shop in Vault", fmt.Sprintf("%#v", source))
	assert.Equal(t, "auth0/creds/shop in Vault", source.LogValue().String())
	text, err := json.Marshal(value)
	require.NoError(t, err)
	assert.JSONEq(t, `"auth0/creds/shop in Vault"`, string(text))
}

// TestARedirectOfVaultIsFollowed, as from a standby node to the active one, but not to one
// without TLS.
func TestARedirectOfVaultIsFollowed(t *testing.T) {
	v := startVault(t, "auth0/creds/shop/x", 100)
	standby := httptest.NewServer(http.RedirectHandler(v.URL+"/v1/auth0/creds/shop", http.StatusTemporaryRedirect))
	defer standby.Close()
	source, _ := (&vault{Server: standby}).source(t)
	assert.Equal(t, "secret-1", v.secret(t, source))

	downgrade := httptest.NewTLSServer(http.RedirectHandler(v.URL+"/v1/auth0/creds/shop", http.StatusTemporaryRedirect))
	defer downgrade.Close()
	config := api.DefaultConfig()
	config.Address, config.MaxRetries = downgrade.URL, 0
	require.NoError(t, config.ConfigureTLS(&api.TLSConfig{Insecure: true}))
	client, err := api.NewClient(config)
	require.NoError(t, err)
	_, err = New(client, "auth0/creds/shop").Credentials(t.Context())
	require.ErrorContains(t, err, "protocol downgrade")
	assert.Equal(t, 1, v.count())
}

func TestErrorsOfTheFirstRead(t *testing.T) {
	v := startVault(t, "auth0/creds/shop/x", 100)
	source, _ := v.source(t)
	v.set(func() { v.sealed = true })
	_, err := source.Credentials(t.Context())
	require.ErrorContains(t, err, "read auth0/creds/shop")
	v.set(func() { v.sealed = false })
	_, err = source.Credentials(t.Context())
	require.NoError(t, err, "the next login asks again")

	kv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"lease_duration":2764800,"data":{"domain":"d","client_id":"c","client_secret":"of a kv secret"}}`)
	}))
	defer kv.Close()
	source, _ = (&vault{Server: kv}).source(t)
	_, err = source.Credentials(t.Context())
	assert.ErrorContains(t, err, "neither a lease nor a ttl")
}
