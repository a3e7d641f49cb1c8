package tenant

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/assertion"
)

// keyPair is a private key, and what registers its public half.
type keyPair struct {
	private, public, kid string
}

// testKeys are some, made once: that takes long.
var testKeys = sync.OnceValue(func() (keys [3]keyPair) {
	for i := range keys {
		var err error
		if keys[i].private, err = assertion.NewPrivateKey(assertion.MinKeyBits); err != nil {
			panic(err)
		}
		if keys[i].public, keys[i].kid, err = assertion.PublicKey(keys[i].private); err != nil {
			panic(err)
		}
	}
	return keys
})

// assert gives the parameters with an assertion of a key.
func (f *fixture) assert(app Application, key keyPair, more map[string]string) map[string]string {
	f.t.Helper()
	signer, err := assertion.NewSigner(key.private, "RS256", key.kid)
	require.NoError(f.t, err)
	signed, err := signer.Sign(app.ClientID, "https://"+f.Domain()+"/", f.clock.Now(), time.Minute)
	require.NoError(f.t, err)
	form := map[string]string{
		"grant_type": "client_credentials", "client_id": app.ClientID, "client_assertion_type": assertion.Type, "client_assertion": signed,
	}
	maps.Copy(form, more)
	return form
}

// takes says whether a login of one attempt with a key is accepted.
func (f *fixture) takes(app Application, key keyPair, loginID string) bool {
	f.t.Helper()
	got := f.ask(f.assert(app, key, nil), map[string]string{loginIDHeader: loginID, loginLastHeader: "true"})
	if got.status != http.StatusOK {
		assertRefused(f.t, got, 401, `{"error":"invalid_client","error_description":"Invalid client assertion"}`)
	}
	return got.status == http.StatusOK
}

// register registers and enables a key by the API, beside those that are enabled. It gives
// its ID.
func (f *fixture) register(app Application, key keyPair) string {
	f.t.Helper()
	body, err := json.Marshal(map[string]string{"credential_type": "public_key", "alg": "RS256", "pem": key.public, "kid": key.kid})
	require.NoError(f.t, err)
	made := f.api(http.MethodPost, "clients/"+app.ClientID+"/credentials", string(body))
	require.Equal(f.t, http.StatusCreated, made.status, "%s", made.body)
	id, _ := made.object["id"].(string)
	require.Equal(f.t, http.StatusOK, f.use(app, PrivateKeyJWT, append(f.inUse(app), id)...).status)
	return id
}

// inUse are the IDs of the keys that an application uses.
func (f *fixture) inUse(app Application) (ids []string) {
	for _, credential := range f.Credentials(app.ClientID) {
		if slices.Contains(credential.Slots, PrivateKeyJWT) {
			ids = append(ids, credential.ID)
		}
	}
	return ids
}

// oneLoginForEachNode gives login IDs.
func (f *fixture) oneLoginForEachNode() (ids []string) {
	login := map[uint64]string{}
	for i := 0; len(login) < nodes; i++ {
		id := fmt.Sprint("login", i)
		login[f.node(id)] = id
	}
	return slices.Collect(maps.Values(login))
}

// TestKeysPropagateFromNodeToNode: a node has heard of a change or not, be the key a new
// one or one that is disabled, deleted or removed by hand.
func TestKeysPropagateFromNodeToNode(t *testing.T) {
	f := start(t, credentialScopes...)
	keys := testKeys()
	app := f.AddApplicationWithKey(Application{}, keys[0].public, "RS256")
	first := f.inUse(app)[0]
	logins := f.oneLoginForEachNode()
	accepted := func(key keyPair) (n int) {
		for _, id := range logins {
			if f.takes(app, key, id) {
				n++
			}
		}
		return n
	}
	assert.Equal(t, nodes, accepted(keys[0]))
	f.SetPropagation(Propagation{Delay: 28 * time.Second, Mode: Mixed})

	second := f.register(app, keys[1])
	for seconds := 0; seconds <= 28; seconds += 4 {
		assert.Equal(t, 1+seconds/4, accepted(keys[1]), "after %d s", seconds)
		assert.Equal(t, nodes, accepted(keys[0]), "a second key takes nothing from the first")
		f.clock.advance(4 * time.Second)
	}
	for what, remove := range map[string]func(){
		"disabled by the API": func() { require.Equal(t, http.StatusOK, f.use(app, PrivateKeyJWT, second).status) },
		"disabled by hand":    func() { f.DisableCredential(app.ClientID, PrivateKeyJWT, first) },
		"removed by hand":     func() { f.RemoveCredential(app.ClientID, first) },
		"disabled and deleted": func() {
			require.Equal(t, http.StatusOK, f.use(app, PrivateKeyJWT, second).status)
			require.Equal(t, http.StatusNoContent, f.api(http.MethodDelete, "clients/"+app.ClientID+"/credentials/"+first, "").status)
		},
	} {
		remove()
		for seconds := 0; seconds <= 28; seconds += 4 {
			assert.Equal(t, nodes-1-seconds/4, accepted(keys[0]), "%s, after %d s", what, seconds)
			assert.Equal(t, nodes, accepted(keys[1]), what)
			f.clock.advance(4 * time.Second)
		}
		_, used := f.Keys(app.ClientID)
		assert.Equal(t, []string{keys[1].kid}, used, what)
		for _, known := range f.pool(app) { // as before
			if known == first {
				require.Equal(t, http.StatusOK, f.use(app, PrivateKeyJWT, first, second).status)
			}
		}
		if len(f.inUse(app)) == 1 {
			f.RemoveCredential(app.ClientID, first)
			first = f.register(app, keys[0])
		}
		f.clock.advance(time.Minute)
	}
	history := f.KeyHistory(app.ClientID)
	assert.Equal(t, []string{keys[0].kid}, history[0].KIDs)
	assert.ElementsMatch(t, []string{keys[0].kid, keys[1].kid}, history[1].KIDs)
	assert.Equal(t, []string{keys[1].kid}, history[2].KIDs)
	assert.Len(t, history, 2+4*2)
}

func TestModesOfPropagationForKeys(t *testing.T) {
	keys := testKeys()
	for mode, tt := range map[PropagationMode]struct{ added, disabled bool }{ // whether it is accepted meanwhile
		BothAccepted: {true, true}, OldOnly: {false, true}, NewOnly: {true, false}, "": {true, true},
	} {
		f := start(t, credentialScopes...)
		app := f.AddApplicationWithKey(Application{}, keys[0].public, "RS256")
		f.SetPropagation(Propagation{Delay: 30 * time.Second, Mode: mode})
		second := f.register(app, keys[1])
		assert.Equal(t, tt.added, f.takes(app, keys[1], ""), mode)
		f.clock.advance(30 * time.Second)
		assert.True(t, f.takes(app, keys[1], ""), mode)
		f.use(app, PrivateKeyJWT, second)
		assert.Equal(t, tt.disabled, f.takes(app, keys[0], ""), mode)
		f.clock.advance(30 * time.Second)
		assert.False(t, f.takes(app, keys[0], ""), mode)
		assert.True(t, f.takes(app, keys[1], ""), mode)
	}
}

// TestTheFirstKeyWorksAtOnce: there is none that a node could accept in its place.
func TestTheFirstKeyWorksAtOnce(t *testing.T) {
	f := start(t, credentialScopes...)
	f.SetPropagation(Propagation{Delay: time.Hour, Mode: OldOnly})
	key := testKeys()[0]
	assert.True(t, f.takes(f.AddApplicationWithKey(Application{}, key.public, "RS256"), key, ""))
	app := f.AddApplication(Application{})
	f.register(app, key)
	assert.True(t, f.takes(app, key, ""), "of one that has come from secrets")
	assert.Len(t, f.KeyHistory(app.ClientID), 1)
}

// TestGrantsByAssertion: an application with keys gets what one with a secret gets.
func TestGrantsByAssertion(t *testing.T) {
	f := start(t)
	key := testKeys()[0]
	app := f.AddApplicationWithKey(Application{}, key.public, "RS256")
	f.AddAPI(API{Audience: stock, Scopes: []string{"read:stock"}})
	f.SetGrant(app.ClientID, stock, Grant{Scopes: []string{"read:stock"}, OrganizationUsage: RequireOrganizations, Organizations: []string{"org_1"}})
	got := f.ask(f.assert(app, key, map[string]string{"audience": stock, "organization": "org_1"}), nil)
	require.Equal(t, http.StatusOK, got.status, "%s", got.body)
	assert.Equal(t, "org_1", f.claims(got.object["access_token"])["org_id"])
	assert.Equal(t, 403, f.ask(f.assert(app, key, map[string]string{"audience": stock, "organization": "org_2"}), nil).status)

	got = f.ask(f.assert(app, key, map[string]string{"grant_type": "authorization_code", "code": f.code(app, nil), "redirect_uri": callback}), nil)
	require.Equal(t, http.StatusOK, got.status, "%s", got.body)
	refresh, _ := got.object["refresh_token"].(string)
	got = f.ask(f.assert(app, key, map[string]string{"grant_type": "refresh_token", "refresh_token": refresh}), nil)
	require.Equal(t, http.StatusOK, got.status, "%s", got.body)

	unnamed := f.assert(app, key, nil)
	delete(unnamed, "client_id")
	assert.Equal(t, http.StatusOK, f.ask(unnamed, nil).status, "the assertion says whose it is")
	assert.Equal(t, 401, f.ask(unnamed, nil).status, "it is good once")
	assert.Equal(t, 401, f.logIn(app.ClientID, app.ClientSecret, "", nil).status, "a secret does not do")
	body, err := json.Marshal(f.assert(app, key, nil))
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, f.do(t.Context(), http.MethodPost, "/oauth/token", string(body), map[string]string{"Content-Type": "application/json"}).status)
}

// TestLoginsByKeyAreCounted as those by secrets are: a key is what a secret is there.
func TestLoginsByKeyAreCounted(t *testing.T) {
	f := start(t)
	keys := testKeys()
	app := f.AddApplicationWithKey(Application{}, keys[0].public, "RS256")
	attempt := func(key keyPair, header map[string]string) { f.ask(f.assert(app, key, nil), header) }
	attempt(keys[0], nil)
	attempt(keys[1], nil) // refused, and then by the other one
	attempt(keys[0], nil)
	for range 3 { // the same once more: the login before has come to nothing
		attempt(keys[1], nil)
	}
	attempt(keys[2], nil)
	attempt(keys[1], map[string]string{loginIDHeader: "a", loginLastHeader: "true"})
	got := f.Stats().PerApplication[app.ClientID]
	assert.Equal(t, LoginStats{Accepted: 2, Refused: 3, Undecided: 1, FellBack: 1, Attempts: struct{ Accepted, Refused int }{2, 6}}, got)
	assert.Equal(t, got, f.Stats().Logins)
	assert.Equal(t, 2, f.Stats().Tokens[app.ClientID+" "+DefaultAPI])

	revoke := func(key keyPair) int {
		form := f.assert(app, key, map[string]string{"token": "none"})
		return f.post("/oauth/revoke", form, nil).status
	}
	assert.Equal(t, 200, revoke(keys[0]))
	refused := f.post("/oauth/revoke", f.assert(app, keys[1], map[string]string{"token": "none"}), nil)
	assert.Equal(t, 401, refused.status)
	assert.Equal(t, "invalid_client", refused.object["error"])
	f.Inject(Fault{Endpoint: Revoke, ClientID: app.ClientID, Kind: RateLimited, Times: 1})
	assert.Equal(t, 429, revoke(keys[0]))
	f.Inject(Fault{Endpoint: Any, ClientID: app.ClientID, Kind: ServerError, Times: 1})
	assert.Equal(t, 500, revoke(keys[0]))
	assert.Equal(t, got, f.Stats().Logins, "they are no logins")
}
