package tenant

import (
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// call calls an API with a token.
func (a *ProtectedAPI) call(t *testing.T, token any) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	request.Header.Set("Authorization", "Bearer "+token.(string))
	a.ServeHTTP(w, request)
	return w
}

func TestProtectedAPIAcceptsItsTokens(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	f.AddAPI(API{Audience: stock, Scopes: []string{"read:stock"}, TokenLifetime: time.Hour})
	f.SetGrant(app.ClientID, stock, Grant{Scopes: []string{"read:stock"}})
	api := f.Protect(stock, "read:stock")
	token := f.tokenOf(app, stock, nil).object["access_token"]

	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { assert.Equal(t, http.StatusOK, api.call(t, token).Code) })
	}
	all.Wait()
	assert.Equal(t, 1, f.Stats().Requests["GET /.well-known/jwks.json 200"], "it keeps the keys")
	f.SetDown(true)
	f.clock.advance(time.Hour - time.Second)
	got := api.call(t, token)
	assert.Equal(t, http.StatusOK, got.Code, "so it needs no tenant")
	assert.Contains(t, got.Body.String(), `"sub":"`+app.ClientID+`@clients"`)
	assert.Equal(t, Calls{Accepted: 9}, api.Calls())

	cold := f.Protect(stock, "")
	assert.Equal(t, http.StatusUnauthorized, cold.call(t, token).Code)
	assert.Contains(t, cold.Calls().LastRefusal, "the issuer's keys")
	f.SetDown(false)
	assert.Equal(t, http.StatusOK, cold.call(t, token).Code)
}

func TestProtectedAPIRefusesAllOthers(t *testing.T) {
	f, elsewhere := start(t), start(t)
	app, foreign := f.AddApplication(Application{}), elsewhere.AddApplication(Application{})
	f.AddAPI(API{Audience: stock})
	f.SetGrant(app.ClientID, stock, Grant{})
	f.SetGrant(app.ClientID, DefaultAPI, Grant{Scopes: []string{"write:orders"}})
	own := f.tokenOf(app, DefaultAPI, nil).object["access_token"].(string)
	parts := strings.Split(own, ".")
	claims := f.claims(own)
	forged := func(key jose.SigningKey, change string, value any) string {
		changed := map[string]any{"aud": DefaultAPI, "iss": claims["iss"], "exp": claims["exp"], "scope": "write:orders"}
		changed[change] = value
		if value == nil {
			delete(changed, change)
		}
		return signed(key, changed)
	}
	tenants := jose.SigningKey{Algorithm: jose.RS256, Key: signing()}
	stranger, err := rsa.GenerateKey(rand.Reader, minKeyBits)
	require.NoError(t, err)
	strangers := func(kid string) jose.SigningKey {
		return jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: stranger, KeyID: kid}}
	}
	hmac := jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: []byte(strings.Repeat("k", 32)), KeyID: signing().KeyID}}

	api := f.Protect(DefaultAPI, "write:orders")
	require.Equal(t, http.StatusOK, api.call(t, own).Code)
	require.Equal(t, http.StatusOK, api.call(t, forged(tenants, "azp", "x")).Code, "the forger's tokens have all that is needed")
	refused := map[string]string{
		"no token":            "",
		"no JWT":              "opaque",
		"changed claims":      parts[0] + "." + parts[1][1:] + "." + parts[2],
		"another API":         f.tokenOf(app, stock, nil).object["access_token"].(string),
		"another tenant":      elsewhere.tokenOf(foreign, DefaultAPI, nil).object["access_token"].(string),
		"another issuer":      forged(tenants, "iss", "https://evil.example.com/"),
		"no audience":         forged(tenants, "aud", nil),
		"without an end":      forged(tenants, "exp", nil),
		"another key":         forged(strangers("unknown"), "azp", "x"),
		"another key, its ID": forged(strangers(signing().KeyID), "azp", "x"),
		"HS256":               forged(hmac, "azp", "x"),
		"for management":      f.token,
	}
	for name, token := range refused {
		got := api.call(t, token)
		assert.Equal(t, http.StatusUnauthorized, got.Code, name)
		assert.Equal(t, "Bearer", got.Header().Get("WWW-Authenticate"), name)
	}
	assert.Equal(t, http.StatusForbidden, api.call(t, forged(tenants, "scope", "write:orders2 read:orders")).Code)
	assert.Equal(t, errNoScope.Error(), api.Calls().LastRefusal)
	assert.Equal(t, len(refused)+1, api.Calls().Refused)
	assert.Equal(t, 2, api.Calls().Accepted)

	f.clock.advance(24 * time.Hour)
	assert.Equal(t, http.StatusOK, api.call(t, own).Code, "its last second")
	f.clock.advance(time.Second)
	assert.Equal(t, http.StatusUnauthorized, api.call(t, own).Code)
	assert.Contains(t, api.Calls().LastRefusal, "expired")
}

// An API that has kept keys for long finds the new one by itself.
func TestProtectedAPIFetchesKeysThatItLacks(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	api := f.Protect(DefaultAPI, "")
	old, err := rsa.GenerateKey(rand.Reader, minKeyBits)
	require.NoError(t, err)
	api.keys = &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &old.PublicKey, KeyID: "old", Algorithm: "RS256", Use: "sig"}}}
	assert.Equal(t, http.StatusOK, api.call(t, f.tokenOf(app, DefaultAPI, nil).object["access_token"]).Code)
}
