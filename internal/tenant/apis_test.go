package tenant

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const stock = "https://stock.example.com/"

// tokenOf gives an access token, of a request with more in it.
func (f *fixture) tokenOf(app Application, audience string, more map[string]string) result {
	f.t.Helper()
	form := map[string]string{
		"grant_type": "client_credentials", "client_id": app.ClientID, "client_secret": app.ClientSecret, "audience": audience,
	}
	for name, value := range more {
		form[name] = value
	}
	return f.ask(form, nil)
}

func TestAccessTokenHasTheClaimsOfAuth0(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	f.AddAPI(API{Audience: stock, Scopes: []string{"read:stock", "write:stock"}, TokenLifetime: time.Hour})
	f.SetGrant(app.ClientID, stock, Grant{
		Scopes: []string{"read:stock", "write:stock"}, OrganizationUsage: AllowOrganizations, Organizations: []string{"org_1", "org_2"},
	})
	now := float64(f.clock.Now().Unix())
	claims := func(audience string, lifetime float64) map[string]any {
		return map[string]any{
			"iss": "https://" + f.Domain() + "/", "sub": app.ClientID + "@clients", "aud": audience, "azp": app.ClientID,
			"iat": now, "exp": now + lifetime, "gty": "client-credentials",
		}
	}
	for name, c := range map[string]struct {
		audience string
		more     map[string]string
		lifetime float64
		claims   map[string]any // besides the usual ones
	}{
		"default API, no scope": {DefaultAPI, nil, 86400, nil},
		"no audience":           {"", nil, 86400, nil},
		"own API":               {stock, nil, 3600, map[string]any{"scope": "read:stock write:stock"}},
		"organization": {stock, map[string]string{"organization": "org_2"}, 3600,
			map[string]any{"scope": "read:stock write:stock", "org_id": "org_2"}},
		"a scope is asked for": {stock, map[string]string{"scope": "read:stock"}, 3600,
			map[string]any{"scope": "read:stock write:stock"}},
	} {
		got := f.tokenOf(app, c.audience, c.more)
		require.Equal(t, http.StatusOK, got.status, name)
		assert.InDelta(t, c.lifetime, got.object["expires_in"], 0, name)
		audience := c.audience
		if audience == "" {
			audience = DefaultAPI
		}
		want := claims(audience, c.lifetime)
		for claim, value := range c.claims {
			want[claim] = value
		}
		assert.Equal(t, want, f.claims(got.object["access_token"]), name)
	}

	f.HonourScope(true)
	got := f.tokenOf(app, stock, map[string]string{"scope": "read:stock delete:stock"})
	assert.Equal(t, "read:stock", got.object["scope"])
	assert.Equal(t, "read:stock", f.claims(got.object["access_token"])["scope"])
}

// It has no jti, so only time tells two of them apart. Both are secret.
func TestAccessTokensOfOneSecondAreTheSame(t *testing.T) {
	f := start(t)
	app, other := f.AddApplication(Application{}), f.AddApplication(Application{})
	token := func(app Application) any { return f.tokenOf(app, DefaultAPI, nil).object["access_token"] }
	first := token(app)
	assert.Equal(t, first, token(app))
	assert.NotEqual(t, first, token(other))
	f.clock.advance(time.Second)
	second := token(app)
	assert.NotEqual(t, first, second)
	assert.Contains(t, f.EverySecret(), first)
	assert.Contains(t, f.EverySecret(), second)

	f.AddAPI(API{Audience: DefaultAPI, TokenLifetime: time.Minute})
	got := f.tokenOf(app, DefaultAPI, nil).object
	assert.NotEqual(t, second, got["access_token"])
	assert.InDelta(t, 60, got["expires_in"], 0, "an API may be changed")
}

func TestTokensNeedAGrant(t *testing.T) {
	f := start(t, allScopes...)
	app := f.AddApplication(Application{})
	notGranted := func() {
		t.Helper()
		got := f.tokenOf(app, stock, nil)
		assert.Equal(t, http.StatusForbidden, got.status)
		assert.Contains(t, string(got.body), `"Client is not authorized to access \"`+stock)
	}
	assertRefused(t, f.tokenOf(app, stock, nil), 403, `{"error":"access_denied","error_description":"Service not enabled within domain: `+stock+`"}`)
	assert.Panics(t, func() { f.SetGrant(app.ClientID, stock, Grant{}) }, "there is no such API")

	f.AddAPI(API{Audience: stock, Scopes: []string{"read:stock"}})
	notGranted()
	assert.Panics(t, func() { f.SetGrant(app.ClientID, stock, Grant{Scopes: []string{"red:stock"}}) }, "nor such a scope")
	f.SetGrant(app.ClientID, stock, Grant{Scopes: []string{"read:stock"}})
	assert.Equal(t, "read:stock", f.tokenOf(app, stock, nil).object["scope"])
	f.SetGrant(app.ClientID, stock, Grant{})
	assert.NotContains(t, f.claims(f.tokenOf(app, stock, nil).object["access_token"]), "scope")
	f.RemoveGrant(app.ClientID, stock)
	notGranted()
	assert.Equal(t, http.StatusOK, f.tokenOf(app, DefaultAPI, nil).status, "the other grant stays")

	f.token = f.tokenFor("create:client_grants")
	grant := func() int {
		return f.api(http.MethodPost, "client-grants", `{"client_id":"`+app.ClientID+`","audience":"`+stock+`","scope":["read:stock"]}`).status
	}
	assert.Equal(t, http.StatusCreated, grant())
	assert.Equal(t, http.StatusConflict, grant())
	assert.Equal(t, "read:stock", f.tokenOf(app, stock, nil).object["scope"])
}

func TestTokensForOrganizations(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	const (
		ok         = ""
		notAllowed = `{"error":"invalid_request","error_description":"parameter organization is not allowed for this client"}`
		required   = `{"error":"invalid_request","error_description":"parameter organization is required for this client"}`
		notIts     = `{"error":"access_denied","error_description":"Client is not authorized to access organization: org_2"}`
	)
	for usage, want := range map[OrganizationUsage][3]string{ // without one, one of its own, another
		"":                   {ok, notAllowed, notAllowed},
		DenyOrganizations:    {ok, notAllowed, notAllowed},
		AllowOrganizations:   {ok, ok, notIts},
		RequireOrganizations: {required, ok, notIts},
	} {
		f.SetGrant(app.ClientID, DefaultAPI, Grant{OrganizationUsage: usage, Organizations: []string{"org_1"}})
		for i, organization := range []string{"", "org_1", "org_2"} {
			got := f.tokenOf(app, DefaultAPI, map[string]string{"organization": organization})
			if want[i] != ok {
				assert.Equal(t, want[i], string(got.body), "%s %s", usage, organization)
				assert.Equal(t, want[i] == notIts, got.status == http.StatusForbidden)
				assert.Equal(t, want[i] != notIts, got.status == http.StatusBadRequest)
				continue
			}
			require.Equal(t, http.StatusOK, got.status, "%s %s", usage, organization)
			id, has := f.claims(got.object["access_token"])["org_id"]
			assert.Equal(t, organization != "", has)
			assert.True(t, !has || id == organization)
		}
	}
}

// Whoever is not let in learns nothing of grants.
func TestGrantsAreCheckedAfterTheSecret(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	for _, more := range []map[string]string{
		{"client_secret": "wrong", "organization": "org_1"}, {"client_secret": "wrong", "audience": stock},
	} {
		assertRefused(t, f.tokenOf(app, DefaultAPI, more), 401, unauthorized)
	}
}

func TestTokensAreCountedAsAuth0MetersThem(t *testing.T) {
	f := start(t)
	app, other := f.AddApplication(Application{}), f.AddApplication(Application{})
	engine := f.AddManagementApplication()
	before := f.Stats().Tokens
	f.tokenOf(app, DefaultAPI, nil)
	f.tokenOf(app, "", nil)
	f.tokenOf(other, DefaultAPI, nil)
	f.tokenOf(engine, f.Audience(), nil)
	f.tokenOf(app, stock, nil)
	f.tokenOf(app, DefaultAPI, map[string]string{"client_secret": "wrong"})
	f.tokenOf(app, DefaultAPI, map[string]string{"organization": "org_1"})
	f.redeem(app, app.ClientSecret, f.code(app, url.Values{}), nil)
	f.Inject(Fault{Endpoint: Token, Kind: ResetBeforeCommit, Times: 1})
	f.tokenOf(app, DefaultAPI, nil)
	f.Inject(Fault{Endpoint: Token, Kind: ResetAfterCommit, Times: 1})
	f.tokenOf(app, DefaultAPI, nil)
	got := f.Stats().Tokens
	assert.Equal(t, 3, got[app.ClientID+" "+DefaultAPI], "the lost one, too")
	assert.Equal(t, 1, got[other.ClientID+" "+DefaultAPI])
	assert.Equal(t, 1, got[engine.ClientID+" "+f.Audience()])
	assert.Len(t, got, len(before)+3)
}
