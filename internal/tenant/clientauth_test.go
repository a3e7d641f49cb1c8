package tenant

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestEndpointsWithClientAuthentication want the authentication first, and then what they
// need.
func TestEndpointsWithClientAuthentication(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	for path, endpoint := range map[string]struct {
		status int
		code   string // of the error for a wrong secret
		field  string
		needs  url.Values
	}{
		"/oauth/revoke": {200, "invalid_client", "", url.Values{"token": {"unknown"}}},
		"/oauth/par":    {201, "access_denied", "request_uri", url.Values{"response_type": {"code"}, "redirect_uri": {"http://localhost:3000/callback"}}},
		"/bc-authorize": {200, "access_denied", "auth_req_id", url.Values{"scope": {"openid"}, "binding_message": {"hi"}, "login_hint": {"{}"}}},
	} {
		post := func(id, secret string, body url.Values, header map[string]string) result {
			values := url.Values{"client_id": {id}, "client_secret": {secret}}
			for name := range body {
				values.Set(name, body.Get(name))
			}
			all := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
			for name, value := range header {
				all[name] = value
			}
			return f.do(t.Context(), http.MethodPost, path, values.Encode(), all)
		}
		got := post(app.ClientID, app.ClientSecret, endpoint.needs, nil)
		assert.Equal(t, endpoint.status, got.status, path)
		if endpoint.field == "" {
			assert.Empty(t, got.body)
		} else {
			assert.NotEmpty(t, got.object[endpoint.field], path)
		}
		basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(app.ClientID+":"+app.ClientSecret))
		assert.Equal(t, endpoint.status, post("", "", endpoint.needs, map[string]string{"Authorization": basic}).status, path)

		for _, wrong := range []result{
			post(app.ClientID, "wrong", endpoint.needs, nil), post("unknown", app.ClientSecret, endpoint.needs, nil), post(app.ClientID, "wrong", nil, nil),
		} {
			assert.Equal(t, 401, wrong.status, path)
			assert.Equal(t, endpoint.code, wrong.object["error"], path)
		}
		for name := range endpoint.needs {
			without := url.Values{}
			for other := range endpoint.needs {
				if other != name {
					without.Set(other, endpoint.needs.Get(other))
				}
			}
			got := post(app.ClientID, app.ClientSecret, without, nil)
			assert.Equal(t, 400, got.status, path)
			assert.Equal(t, "invalid_request", got.object["error"], path)
		}
		assert.Equal(t, 400, f.do(t.Context(), http.MethodPost, path, "{", map[string]string{"Content-Type": "application/json"}).status)
	}
	assert.Zero(t, f.Stats().Logins, "they are no logins")
}

// TestARevokedRefreshTokenIsOfNoUse, if it was the application's own.
func TestARevokedRefreshTokenIsOfNoUse(t *testing.T) {
	f := start(t)
	app, other := f.AddApplication(Application{}), f.AddApplication(Application{})
	f.mu.Lock()
	f.sessions.users["a-refresh-token"] = session{clientID: app.ClientID}
	f.mu.Unlock()
	post := func(path string, by Application, more url.Values) int {
		more.Set("client_id", by.ClientID)
		more.Set("client_secret", by.ClientSecret)
		return f.do(t.Context(), http.MethodPost, path, more.Encode(), map[string]string{"Content-Type": "application/x-www-form-urlencoded"}).status
	}
	refresh := func() int {
		return post("/oauth/token", app, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"a-refresh-token"}})
	}
	assert.Equal(t, 200, post("/oauth/revoke", other, url.Values{"token": {"a-refresh-token"}}))
	assert.Equal(t, 200, refresh())
	assert.Equal(t, 200, post("/oauth/revoke", app, url.Values{"token": {"a-refresh-token"}}))
	assert.Equal(t, 403, refresh())
}
