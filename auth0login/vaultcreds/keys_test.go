package vaultcreds

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/printed"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// engine is a Vault with a role of keys of an application of a tenant.
type engine struct {
	auth0    *tenant.Tenant
	clientID string
	key, kid string
	signer   *assertion.Signer
	reads    int
	sealed   bool
}

func startEngine(t *testing.T) *engine {
	t.Helper()
	auth0, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(auth0.Close)
	e := &engine{auth0: auth0}
	public := e.newKey(t)
	e.clientID = auth0.AddApplicationWithKey(tenant.Application{}, public, "RS256").ClientID
	return e
}

// newKey replaces the key in the engine, and gives its public half.
func (e *engine) newKey(t *testing.T) (public string) {
	t.Helper()
	var err error
	e.key, err = assertion.NewPrivateKey(assertion.MinKeyBits)
	require.NoError(t, err)
	public, e.kid, err = assertion.PublicKey(e.key)
	require.NoError(t, err)
	e.signer, err = assertion.NewSigner(e.key, "RS256", e.kid)
	require.NoError(t, err)
	return public
}

// RoundTrip answers a read of creds/ or assertions/.
func (e *engine) RoundTrip(r *http.Request) (*http.Response, error) {
	e.reads++
	data := map[string]any{"domain": e.auth0.Domain(), "client_id": e.clientID, "kid": e.kid}
	answer := map[string]any{"data": data}
	if strings.Contains(r.URL.Path, "/assertions/") {
		text, err := e.signer.Sign(e.clientID, "https://"+e.auth0.Domain()+"/", time.Now(), time.Minute)
		if err != nil {
			return nil, err
		}
		data["client_assertion"], data["client_assertion_type"] = text, assertion.Type
	} else {
		data["private_key"], data["signing_algorithm"], data["ttl"] = e.key, "RS256", 100
		answer["lease_id"], answer["lease_duration"] = leased, 100
	}
	w := httptest.NewRecorder()
	if e.sealed {
		http.Error(w, `{"errors":["Vault is sealed"]}`, http.StatusServiceUnavailable)
	} else {
		_ = json.NewEncoder(w).Encode(answer)
	}
	response := w.Result()
	response.Request = r
	return response, nil
}

func (e *engine) login(t *testing.T, source *Source) error {
	t.Helper()
	app := auth0login.New(source, auth0login.Domain(e.auth0.Domain()))
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, e.auth0.HTTPClient())
	_, err := app.ClientCredentials(ctx, clientcredentials.Config{}).Token()
	return err
}

func assertionsAt(t *testing.T, transport http.RoundTripper) *Source {
	t.Helper()
	return NewAssertions(sourceAt(t, "http://vault", transport).client, "auth0/assertions/shop")
}

// TestAnExportedKeyIsKeptForItsLease, and read again when Auth0 refuses it.
func TestAnExportedKeyIsKeptForItsLease(t *testing.T) {
	e := startEngine(t)
	source := sourceAt(t, "http://vault", e)
	for range 3 {
		require.NoError(t, e.login(t, source))
	}
	assert.Equal(t, 1, e.reads)
	e.sealed = true
	require.NoError(t, e.login(t, source), "Vault is not asked")
	assert.Equal(t, 1, e.reads)
	c, err := source.Credentials(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []any{e.kid, "RS256", true}, []any{c.KID, c.SigningAlgorithm, c.ByAssertion()})

}

// TestAKeyThatAuth0RefusesIsReadAgain: it was removed by force.
func TestAKeyThatAuth0RefusesIsReadAgain(t *testing.T) {
	e := startEngine(t)
	registered := *e
	e.newKey(t)
	source := sourceAt(t, "http://vault", e)
	_, err := source.Credentials(t.Context())
	require.NoError(t, err)
	registered.reads = e.reads
	*e = registered
	require.NoError(t, e.login(t, source))
	assert.Equal(t, 2, e.reads)
	assert.Equal(t, 1, e.auth0.Stats().Logins.Attempts.Refused)
}

// TestEachLoginReadsAnAssertion, and fails while Vault does not answer.
func TestEachLoginReadsAnAssertion(t *testing.T) {
	e := startEngine(t)
	source := assertionsAt(t, e)
	for i := range 3 {
		require.NoError(t, e.login(t, source))
		assert.Equal(t, i+1, e.reads)
	}
	require.NoError(t, source.Refresh(t.Context()))
	assert.Equal(t, 3, e.reads, "that is nothing to be kept")
	e.sealed = true
	err := e.login(t, source)
	require.ErrorContains(t, err, "read auth0/assertions/shop")
	require.ErrorContains(t, err, "sealed")
	require.NotErrorIs(t, err, auth0login.ErrRefused)
	require.NoError(t, source.LastError())
	e.sealed = false
	require.NoError(t, e.login(t, source))

	e.newKey(t) // which Auth0 does not have
	reads := e.reads
	require.ErrorIs(t, e.login(t, source), auth0login.ErrRefused)
	assert.Equal(t, reads+2, e.reads, "each attempt has its own")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = source.Credentials(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

// TestAnAssertionIsWaitedForOnlySoLong.
func TestAnAssertionIsWaitedForOnlySoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := assertionsAt(t, &vault{hold: make(chan struct{})})
		source.Patience = 2 * time.Second
		began := time.Now()
		_, err := source.Credentials(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, source.Patience, time.Since(began))
	})
}

// TestAPathOfTheOtherKindIsAnError: a lease for each login, or an assertion that is kept.
func TestAPathOfTheOtherKindIsAnError(t *testing.T) {
	e := startEngine(t)
	client := sourceAt(t, "http://vault", e).client
	_, err := NewAssertions(client, "auth0/creds/shop").Credentials(t.Context())
	require.ErrorContains(t, err, "no client assertion")
	_, err = New(client, "auth0/assertions/shop").Credentials(t.Context())
	require.ErrorContains(t, err, "good once")
	_, err = NewAssertions(sourceAt(t, "http://vault", answers(`{"data":{"domain":"d","client_id":"c"}}`)).client, "x").Credentials(t.Context())
	require.ErrorContains(t, err, "no client secret, private key or client assertion")
}

// TestNothingPrintsAKey, an assertion, or the token for Vault.
func TestNothingPrintsAKey(t *testing.T) {
	e := startEngine(t)
	for _, source := range []*Source{sourceAt(t, "http://vault", e), assertionsAt(t, e)} {
		source.client.SetToken("the-token-for-vault")
		_, err := source.Credentials(t.Context())
		require.NoError(t, err)
		all := printed.Everything(t, reflect.ValueOf(source).Elem().Interface(), source)
		assert.NotContains(t, all, e.key[100:150])
		assert.NotContains(t, all, "eyJ")
		assert.NotContains(t, all, "the-token-for-vault")
		assert.Contains(t, all, " in Vault")
	}
}
