package tenant

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var credentialScopes = []string{
	"read:clients", "read:client_credentials", "create:client_credentials", "update:client_credentials", "delete:client_credentials",
}

// newKey gives the body of POST .../credentials for a new key.
func newKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, minKeyBits)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	body, err := json.Marshal(map[string]string{
		"credential_type": "public_key", "pem": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	})
	require.NoError(t, err)
	return string(body)
}

// use sends a PATCH that has a slot use credentials.
func (f *fixture) use(app Application, slot Slot, ids ...string) result {
	f.t.Helper()
	var object any = map[Slot]any{slot: naming(ids)}
	if slot == PrivateKeyJWT {
		object = map[string]any{"client_authentication_methods": object}
	}
	body, err := json.Marshal(object)
	require.NoError(f.t, err)
	return f.api(http.MethodPatch, "clients/"+app.ClientID, string(body))
}

// pool gives the IDs of an application's credentials.
func (f *fixture) pool(app Application) []string {
	var ids []string
	for _, credential := range f.Credentials(app.ClientID) {
		ids = append(ids, credential.ID)
	}
	return ids
}

func TestCredentialsShareOnePoolOfFour(t *testing.T) {
	f := start(t, credentialScopes...)
	app := f.AddApplication(Application{})
	path := "clients/" + app.ClientID + "/credentials"
	assert.Equal(t, "[]", string(f.api(http.MethodGet, path, "").body))
	foreign := []Credential{f.AddCredential(app.ClientID), f.AddCredential(app.ClientID, SignedRequestObject), f.AddCredential(app.ClientID, PrivateKeyJWT)}
	body := newKey(t)
	made := f.api(http.MethodPost, path, body)
	require.Equal(t, http.StatusCreated, made.status, "%s", made.body)
	full := f.api(http.MethodPost, path, newKey(t))
	assert.Equal(t, http.StatusBadRequest, full.status)
	assert.Contains(t, full.message(), "maximum number of credentials: 4")
	assert.NotEmpty(t, full.code())
	assert.Panics(t, func() { f.AddCredential(app.ClientID) })

	var listed []map[string]any
	require.NoError(t, json.Unmarshal(f.api(http.MethodGet, path, "").body, &listed))
	require.Len(t, listed, 4)
	got := f.Credentials(app.ClientID)
	assert.Equal(t, foreign, got[:3])
	assert.Equal(t, made.object["id"], got[3].ID)
	for i, credential := range got {
		assert.Equal(t, credential.ID, listed[i]["id"])
		assert.Equal(t, credential.KID, listed[i]["kid"])
	}
	registered, enabled := f.Keys(app.ClientID)
	assert.Len(t, registered, 4)
	assert.Equal(t, []string{foreign[2].KID}, enabled)

	for range 2 {
		gone := f.api(http.MethodDelete, path+"/"+foreign[0].ID, "")
		assert.Equal(t, http.StatusNoContent, gone.status, "also when repeated")
	}
	assert.Equal(t, []string{foreign[1].ID, foreign[2].ID, got[3].ID}, f.pool(app))
	assert.Equal(t, http.StatusConflict, f.api(http.MethodPost, path, body).status, "the same key once more")
	assert.Equal(t, http.StatusNotFound, f.api(http.MethodDelete, "clients/nobody/credentials/x", "").status)
}

func TestSlotsHoldTwoCredentials(t *testing.T) {
	for _, slot := range slots {
		t.Run(string(slot), func(t *testing.T) {
			f := start(t, credentialScopes...)
			app := f.AddApplication(Application{})
			for range 3 {
				f.AddCredential(app.ClientID)
			}
			ids := f.pool(app)
			three := f.use(app, slot, ids...)
			assert.Equal(t, http.StatusBadRequest, three.status)
			assert.Contains(t, three.message(), "maximum number of credentials: 2")
			assert.Equal(t, "invalid_body", three.code())
			assert.Contains(t, f.use(app, slot, "cred_nonsense").message(), "does not exist")
			assert.Empty(t, slices.Concat(f.Credentials(app.ClientID)[0].Slots, f.Credentials(app.ClientID)[2].Slots))

			require.Equal(t, http.StatusOK, f.use(app, slot, ids[:2]...).status)
			assert.Equal(t, []Slot{slot}, f.Credentials(app.ClientID)[1].Slots)
			assert.Panics(t, func() { f.AddCredential(app.ClientID, slot) })
			object := string(f.api(http.MethodGet, "clients/"+app.ClientID, "").body)
			assert.Equal(t, 1, strings.Count(object, ids[1]), "%s", object)
			assert.NotContains(t, object, ids[2])

			f.SetCredentialAddOn(true)
			assert.Equal(t, http.StatusOK, f.use(app, slot, ids...).status)
			f.SetCredentialAddOn(false)
			assert.Equal(t, http.StatusBadRequest, f.use(app, slot, ids...).status)

			f.token = f.tokenFor("read:clients", "update:client_keys")
			refused := f.use(app, slot, ids[0])
			assert.Equal(t, "Insufficient scope, expected any of: update:clients,update:client_credentials", refused.message())
			assert.NotContains(t, string(f.api(http.MethodGet, "clients/"+app.ClientID, "").body), ids[0])
		})
	}
}

func TestCredentialsInUseCannotBeDeleted(t *testing.T) {
	f := start(t, credentialScopes...)
	app := f.AddApplication(Application{})
	both := f.AddCredential(app.ClientID, PrivateKeyJWT, TokenVault)
	path := "clients/" + app.ClientID + "/credentials/" + both.ID
	refused := f.api(http.MethodDelete, path, "")
	assert.Equal(t, http.StatusConflict, refused.status)
	assert.InDelta(t, 409, refused.object["statusCode"], 0)
	require.Equal(t, http.StatusOK, f.use(app, PrivateKeyJWT).status)
	assert.Equal(t, http.StatusConflict, f.api(http.MethodDelete, path, "").status, "the other slot uses it")
	both.Slots = []Slot{TokenVault}
	assert.Equal(t, []Credential{both}, f.Credentials(app.ClientID))
	require.Equal(t, http.StatusOK, f.use(app, TokenVault).status)
	assert.Equal(t, http.StatusNoContent, f.api(http.MethodDelete, path, "").status)
	assert.Empty(t, f.Credentials(app.ClientID))
}
