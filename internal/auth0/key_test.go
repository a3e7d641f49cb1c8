package auth0

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	simulated "vault-plugin-secrets-auth0/internal/tenant"

	"vault-plugin-secrets-auth0/internal/assertion"
)

// testKeys are two private keys, made once: that takes long.
var testKeys = sync.OnceValue(func() (keys [2]string) {
	for i := range keys {
		var err error
		if keys[i], err = assertion.NewPrivateKey(assertion.MinKeyBits); err != nil {
			panic(err)
		}
	}
	return keys
})

// keyTenant is a simulated tenant with an application that logs in with a key.
func keyTenant(t *testing.T, key, alg string, scopes ...string) (*simulated.Tenant, Config) {
	t.Helper()
	tn, err := simulated.Start(simulated.Options{})
	require.NoError(t, err)
	t.Cleanup(tn.Close)
	public, _, err := assertion.PublicKey(key)
	require.NoError(t, err)
	engine := tn.AddKeyApplication(public, alg, scopes...)
	return tn, Config{
		Domain: tn.Domain(), ClientID: engine.ClientID, Secrets: []string{key}, SigningAlgorithm: alg,
		CACert: tn.CACert(), RequestTimeout: time.Minute,
	}
}

func TestLoginByKey(t *testing.T) {
	key := testKeys()[0]
	for _, alg := range assertion.Algorithms {
		t.Run(alg, func(t *testing.T) {
			tn, cfg := keyTenant(t, key, alg, "update:client_keys")
			grant, err := newClient(t, cfg).Grant(t.Context())
			require.NoError(t, err)
			assert.Equal(t, []string{"update:client_keys"}, grant.Scopes)

			// what gets lost may have been taken: an assertion is good only once
			for _, kind := range []simulated.FaultKind{simulated.ResetBeforeCommit, simulated.ResetAfterCommit, simulated.ServerErrorAfterCommit} {
				tn.Inject(simulated.Fault{Endpoint: simulated.Token, Kind: kind, Times: 2})
				_, err = newClient(t, cfg).Grant(t.Context())
				require.NoError(t, err, kind)
			}
			cfg.Secrets = []string{testKeys()[1], key}
			_, err = newClient(t, cfg).Grant(t.Context())
			require.NoError(t, err, "by the second key")
			cfg.Secrets = cfg.Secrets[:1]
			_, err = newClient(t, cfg).Grant(t.Context())
			require.EqualError(t, err, "token: Auth0 refused (401 invalid_client): "+ReasonCredential)
			cfg.Secrets, cfg.SigningAlgorithm = []string{key}, map[string]string{"RS256": "RS384", "RS384": "PS256", "PS256": "RS256"}[alg]
			_, err = newClient(t, cfg).Grant(t.Context())
			assert.Equal(t, Refused, ClassOf(err), "another algorithm than the one that is registered")
		})
	}
}

func TestUnusableKeys(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ecDER, err := x509.MarshalPKCS8PrivateKey(elliptic)
	require.NoError(t, err)
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for text, key := range map[string]string{
		"not in PEM":      "nonsense",
		"too short":       encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(short)),
		"not an RSA key":  encode("PRIVATE KEY", ecDER),
		"unencrypted":     encode("PRIVATE KEY", []byte("nonsense")),
		"is neither a":    encode("PUBLIC KEY", nil),
		"signing algorit": "",
	} {
		alg := "RS256"
		if key == "" {
			alg = "HS256"
		}
		_, err := New(Config{Domain: "x.auth0.com", ClientID: "x", Secrets: []string{key}, SigningAlgorithm: alg})
		require.ErrorContains(t, err, text)
	}
}

// TestReplaceAKey at the simulated tenant, where each step may be repeated.
func TestReplaceAKey(t *testing.T) {
	first, second := testKeys()[0], testKeys()[1]
	tn, cfg := keyTenant(t, first, "RS256", append([]string{"update:client_keys"}, KeyScopes...)...)
	c := newClient(t, cfg)
	for _, lost := range []simulated.Endpoint{simulated.CreateCredential, simulated.UpdateApplication} {
		tn.Inject(simulated.Fault{Endpoint: lost, Kind: simulated.ResetAfterCommit, Times: 1})
		assert.Equal(t, Ambiguous, ClassOf(c.EnableKey(t.Context(), cfg.ClientID, second, "RS256")))
	}
	isUsed := func(key string, used bool) {
		t.Helper()
		accepted, err := c.AcceptsKey(t.Context(), cfg.ClientID, key, "RS256")
		require.NoError(t, err)
		assert.Equal(t, used, accepted)
		kids, err := c.EnabledKeys(t.Context(), cfg.ClientID)
		require.NoError(t, err)
		assert.Equal(t, used, slices.Contains(kids, kidOf(t, key)))
	}
	require.NoError(t, c.EnableKey(t.Context(), cfg.ClientID, second, "RS256"))
	isUsed(first, true)
	isUsed(second, true)
	registered, enabled := tn.Keys(cfg.ClientID)
	assert.Equal(t, []string{kidOf(t, first), kidOf(t, second)}, registered)
	assert.Equal(t, registered, enabled, "the first one works until it is retired")

	for _, lost := range []simulated.Endpoint{simulated.UpdateApplication, simulated.DeleteCredential} {
		tn.Inject(simulated.Fault{Endpoint: lost, Kind: simulated.ResetAfterCommit, Times: 1})
		_, err := c.RetireKey(t.Context(), cfg.ClientID, first)
		assert.Equal(t, Ambiguous, ClassOf(err))
	}
	found, err := c.RetireKey(t.Context(), cfg.ClientID, first)
	require.NoError(t, err)
	assert.False(t, found, "gone by the attempt whose answer was lost")
	isUsed(first, false)
	isUsed(second, true)
	_, err = c.RetireKey(t.Context(), cfg.ClientID, second)
	require.ErrorIs(t, err, ErrOnlyKey)
	isUsed(second, true)
	registered, enabled = tn.Keys(cfg.ClientID)
	assert.Equal(t, []string{kidOf(t, second)}, registered)
	assert.Equal(t, registered, enabled)
	cfg.Secrets = []string{second}
	_, err = newClient(t, cfg).Grant(t.Context())
	require.NoError(t, err)
}

func kidOf(t *testing.T, key string) string {
	t.Helper()
	_, kid, err := assertion.PublicKey(key)
	require.NoError(t, err)
	return kid
}

// TestKeysNeedScopes: without them nothing has changed, and the text says why.
func TestKeysNeedScopes(t *testing.T) {
	key := testKeys()[0]
	tn, cfg := keyTenant(t, key, "RS256", "update:client_keys", "read:client_credentials")
	err := newClient(t, cfg).EnableKey(t.Context(), cfg.ClientID, testKeys()[1], "RS256")
	require.EqualError(t, err, "enable key: Auth0 refused (403 insufficient_scope): "+reasonScope+": create:client_credentials")
	registered, _ := tn.Keys(cfg.ClientID)
	assert.Len(t, registered, 1)

	bySecret := tn.AddManagementApplication(KeyScopes...)
	c := newClient(t, Config{
		Domain: tn.Domain(), ClientID: bySecret.ClientID, Secrets: []string{bySecret.ClientSecret}, CACert: tn.CACert(),
	})
	err = c.EnableKey(t.Context(), bySecret.ClientID, key, "RS256")
	require.ErrorContains(t, err, "does not show that the application authenticates by private_key_jwt")
	_, err = c.EnabledKeys(t.Context(), bySecret.ClientID)
	require.ErrorContains(t, err, "does not show that the application authenticates by private_key_jwt")
	tn.SetScopes(bySecret.ClientID, append([]string{"read:clients"}, KeyScopes...)...)
	_, err = newClient(t, Config{
		Domain: tn.Domain(), ClientID: bySecret.ClientID, Secrets: []string{bySecret.ClientSecret}, CACert: tn.CACert(),
	}).EnabledKeys(t.Context(), bySecret.ClientID)
	require.ErrorIs(t, err, ErrOtherMethod)
}

// TestNewToken: what is granted is said, be it more than was asked for.
func TestNewToken(t *testing.T) {
	tn, err := simulated.Start(simulated.Options{})
	require.NoError(t, err)
	defer tn.Close()
	engine := tn.AddManagementApplication("read:clients", "read:users")
	c := newClient(t, Config{Domain: tn.Domain(), ClientID: engine.ClientID, Secrets: []string{engine.ClientSecret}, CACert: tn.CACert()})
	all, err := c.NewToken(t.Context(), []string{"read:users"})
	require.NoError(t, err)
	assert.Equal(t, []string{"read:clients", "read:users"}, all.Scopes, "as Auth0 does")
	tn.HonourScope(true)
	one, err := c.NewToken(t.Context(), []string{"read:users"})
	require.NoError(t, err)
	assert.Equal(t, []string{"read:users"}, one.Scopes)
	assert.NotEqual(t, all.Value, one.Value)
	assert.WithinRange(t, one.ExpiresAt, time.Now().Add(23*time.Hour), time.Now().Add(25*time.Hour))
}

func TestApplications(t *testing.T) {
	tn, err := simulated.Start(simulated.Options{})
	require.NoError(t, err)
	defer tn.Close()
	engine := tn.AddManagementApplication("read:clients")
	for range 4 {
		tn.AddApplication(simulated.Application{})
	}
	c := newClient(t, Config{Domain: tn.Domain(), ClientID: engine.ClientID, Secrets: []string{engine.ClientSecret}, CACert: tn.CACert()})
	found := map[string]bool{}
	for page := range 3 {
		got, err := c.Applications(t.Context(), page, 2)
		require.NoError(t, err)
		assert.Equal(t, 5, got.Total)
		for _, app := range got.Applications {
			found[app.ClientID] = true
			assert.Nil(t, app.ClientSecret)
		}
	}
	assert.Len(t, found, 5)
	tn.Inject(simulated.Fault{Endpoint: simulated.AnyManagement, Kind: simulated.NotJSON, Times: 1})
	_, err = c.Applications(t.Context(), 0, 2)
	assert.Equal(t, Ambiguous, ClassOf(err))
}
