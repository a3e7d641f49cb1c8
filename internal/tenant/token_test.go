package tenant

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTokenByEveryWayToSendASecret(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{ClientSecret: "a+b/c=d%20 é"})
	basic := func(secret string) map[string]string {
		return map[string]string{
			"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(app.ClientID+":"+secret)),
			"Content-Type":  "application/x-www-form-urlencoded",
		}
	}
	const grant = "grant_type=client_credentials"
	for name, got := range map[string]result{
		"form": f.logIn(app.ClientID, app.ClientSecret, "https://api.example.com/", nil),
		"json": f.do(t.Context(), http.MethodPost, "/oauth/token",
			`{"grant_type":"client_credentials","client_id":"`+app.ClientID+`","client_secret":"`+app.ClientSecret+`"}`,
			map[string]string{"Content-Type": "application/json"}),
		"basic, encoded": f.do(t.Context(), http.MethodPost, "/oauth/token", grant, basic(url.QueryEscape(app.ClientSecret))),
		"basic, as is":   f.do(t.Context(), http.MethodPost, "/oauth/token", grant, basic(app.ClientSecret)),
	} {
		assert.Equal(t, http.StatusOK, got.status, name)
		assert.NotEmpty(t, got.object["access_token"], name)
		assert.Equal(t, "Bearer", got.object["token_type"], name)
		assert.InDelta(t, 86400, got.object["expires_in"], 0, name)
	}
}

func TestTokenRefusals(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	engine := f.AddManagementApplication("read:clients")
	keyed := f.AddApplication(Application{AuthenticationMethods: map[string]any{"private_key_jwt": map[string]any{}}})
	public := f.AddApplication(Application{AppType: "spa"})
	web := f.AddApplication(Application{GrantTypes: []string{"authorization_code"}})
	other := func(body string) result {
		return f.do(t.Context(), http.MethodPost, "/oauth/token", body, map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
	}
	for name, c := range map[string]struct {
		got    result
		status int
		body   string // a part of it
	}{
		"wrong secret":            {f.logIn(app.ClientID, "wrong", "", nil), 401, `{"error":"access_denied","error_description":"Unauthorized"}`},
		"no secret":               {f.logIn(app.ClientID, "", "", nil), 401, `"Unauthorized"`},
		"unknown client":          {f.logIn("nobody", "wrong", "", nil), 401, `{"error":"access_denied","error_description":"Unauthorized"}`},
		"unknown audience":        {f.logIn(app.ClientID, app.ClientSecret, "https://other/", nil), 403, `"Service not enabled within domain: https://other/"`},
		"no grant for management": {f.logIn(app.ClientID, app.ClientSecret, f.Audience(), nil), 403, `Client is not authorized to access \"` + f.Audience()},
		"no grant for the API":    {f.logIn(engine.ClientID, engine.ClientSecret, "", nil), 403, `"access_denied"`},
		"private_key_jwt":         {f.logIn(keyed.ClientID, keyed.ClientSecret, "", nil), 401, `"access_denied"`},
		"public":                  {f.logIn(public.ClientID, public.ClientSecret, "", nil), 401, `"access_denied"`},
		"not its grant type":      {f.logIn(web.ClientID, web.ClientSecret, "", nil), 403, `"unauthorized_client"`},
		"grant type":              {other("grant_type=password&client_id=" + app.ClientID), 403, `"unauthorized_client"`},
		"no grant type":           {other("client_id=" + app.ClientID), 400, `"invalid_request"`},
	} {
		assert.Equal(t, c.status, c.got.status, name)
		assert.Contains(t, string(c.got.body), c.body, name)
	}
}

func TestTokensOfTheManagementAPIEnd(t *testing.T) {
	f := start(t, "read:clients")
	app := f.AddApplication(Application{})
	read := func() result { return f.api(http.MethodGet, "clients/"+app.ClientID, "") }
	require.Equal(t, http.StatusOK, read().status)

	f.clock.advance(24*time.Hour - time.Second)
	assert.Equal(t, http.StatusOK, read().status, "a second before its end")
	f.clock.advance(time.Second)
	assert.Equal(t, http.StatusUnauthorized, read().status)
	assert.Equal(t, "Expired token received for JSON Web Token validation", read().message())

	f.token = f.tokenFor("read:clients")
	require.Equal(t, http.StatusOK, read().status)
	f.ExpireTokens()
	assert.Equal(t, http.StatusUnauthorized, read().status)
	f.token = f.tokenFor("read:clients")
	assert.Equal(t, http.StatusOK, read().status, "those issued later are good")

	f.token = "made up"
	assert.JSONEq(t, `{"statusCode":401,"error":"Unauthorized","message":"Invalid token","attributes":{"error":"Invalid token"}}`, string(read().body))
	none := f.do(t.Context(), http.MethodGet, "/api/v2/clients", "", nil)
	assert.Equal(t, http.StatusUnauthorized, none.status)
}

func TestScopesAreThoseOfTheTimeOfIssue(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	engine := f.AddManagementApplication("read:clients", "update:client_keys")
	got := f.logIn(engine.ClientID, engine.ClientSecret, f.Audience(), nil)
	assert.Equal(t, "read:clients update:client_keys", got.object["scope"])
	f.token = got.object["access_token"].(string)

	f.SetScopes(engine.ClientID, "read:clients")
	assert.Equal(t, http.StatusOK, f.patch(app.ClientID, "one").status, "the token has its scopes")
	f.token = f.logIn(engine.ClientID, engine.ClientSecret, f.Audience(), nil).object["access_token"].(string)
	assert.Equal(t, "insufficient_scope", f.patch(app.ClientID, "two").code())
	assert.Equal(t, "one", f.Secret(app.ClientID))
}

func TestTokensMayComeWithoutTheirScopes(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	engine := f.AddManagementApplication("update:client_keys")
	assert.Contains(t, f.logIn(engine.ClientID, engine.ClientSecret, f.Audience(), nil).object, "scope")
	f.OmitScope(true)
	got := f.logIn(engine.ClientID, engine.ClientSecret, f.Audience(), nil)
	assert.NotContains(t, got.object, "scope")
	f.token = got.object["access_token"].(string)
	assert.Equal(t, http.StatusOK, f.patch(app.ClientID, "new").status, "the token has them all the same")
	assert.NotContains(t, f.redeem(app, "new", f.code(app, nil), nil).object, "scope")
	f.OmitScope(false)
	assert.Contains(t, f.logIn(engine.ClientID, engine.ClientSecret, f.Audience(), nil).object, "scope")
}
