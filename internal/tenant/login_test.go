package tenant

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const callback = "http://localhost:3000/callback"

// browse opens /authorize and gives what the callback is called with.
func (f *fixture) browse(app Application, more url.Values) url.Values {
	f.t.Helper()
	query := url.Values{
		"response_type": {"code"}, "client_id": {app.ClientID}, "redirect_uri": {callback},
		"scope": {"openid profile offline_access"}, "state": {"the state"}, "nonce": {"the nonce"},
	}
	for name, values := range more {
		query[name] = values
	}
	request, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, "https://"+f.Domain()+"/authorize?"+query.Encode(), nil)
	require.NoError(f.t, err)
	got, err := f.HTTPClient().Transport.RoundTrip(request)
	require.NoError(f.t, err)
	require.NoError(f.t, got.Body.Close())
	require.Equal(f.t, http.StatusFound, got.StatusCode)
	location, err := got.Location()
	require.NoError(f.t, err)
	require.Equal(f.t, callback, "http://"+location.Host+location.Path)
	assert.Equal(f.t, "the state", location.Query().Get("state"))
	return location.Query()
}

// code gives a code for an application.
func (f *fixture) code(app Application, more url.Values) string {
	f.t.Helper()
	code := f.browse(app, more).Get("code")
	require.NotEmpty(f.t, code)
	return code
}

// ask sends a form to /oauth/token.
func (f *fixture) ask(form, header map[string]string) result {
	f.t.Helper()
	return f.post("/oauth/token", form, header)
}

func (f *fixture) post(path string, form, header map[string]string) result {
	f.t.Helper()
	values := url.Values{}
	for name, value := range form {
		values.Set(name, value)
	}
	all := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for name, value := range header {
		all[name] = value
	}
	return f.do(f.t.Context(), http.MethodPost, path, values.Encode(), all)
}

// redeem asks for the tokens of a code.
func (f *fixture) redeem(app Application, secret, code string, more map[string]string) result {
	f.t.Helper()
	form := map[string]string{
		"grant_type": "authorization_code", "client_id": app.ClientID, "client_secret": secret, "code": code, "redirect_uri": callback,
	}
	for name, value := range more {
		form[name] = value
	}
	return f.ask(form, nil)
}

func (f *fixture) refreshWith(app Application, secret, token string) result {
	f.t.Helper()
	return f.ask(map[string]string{
		"grant_type": "refresh_token", "client_id": app.ClientID, "client_secret": secret, "refresh_token": token,
	}, nil)
}

// claims verifies an ID token against the tenant's published keys.
func (f *fixture) claims(token any) map[string]any {
	f.t.Helper()
	got := f.do(f.t.Context(), http.MethodGet, "/.well-known/jwks.json", "", nil)
	var keys jose.JSONWebKeySet
	require.NoError(f.t, json.Unmarshal(got.body, &keys))
	assert.NotContains(f.t, string(got.body), `"d"`, "the private part")
	parsed, err := jwt.ParseSigned(token.(string), []jose.SignatureAlgorithm{jose.RS256})
	require.NoError(f.t, err)
	claims := map[string]any{}
	require.NoError(f.t, parsed.Claims(keys, &claims))
	return claims
}

const (
	unauthorized = `{"error":"access_denied","error_description":"Unauthorized"}`
	badCode      = `{"error":"invalid_grant","error_description":"Invalid authorization code"}`
	badRefresh   = `{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}`
	badVerifier  = `{"error":"invalid_grant","error_description":"Failed to verify code verifier"}`
)

func assertRefused(t *testing.T, got result, status int, body string) {
	t.Helper()
	assert.Equal(t, status, got.status)
	assert.Equal(t, body, string(got.body))
}

func TestLoginByCodeGivesTokensOfTheUser(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{Shape: Full})
	config := f.do(t.Context(), http.MethodGet, "/.well-known/openid-configuration", "", nil).object
	issuer := "https://" + f.Domain() + "/"
	assert.Equal(t, issuer, config["issuer"])
	assert.Equal(t, issuer+"oauth/token", config["token_endpoint"])

	got := f.redeem(app, app.ClientSecret, f.code(app, nil), nil)
	require.Equal(t, http.StatusOK, got.status)
	assert.Equal(t, "openid profile offline_access", got.object["scope"])
	assert.Equal(t, "Bearer", got.object["token_type"])
	now := float64(f.clock.Now().Unix())
	want := map[string]any{
		"iss": issuer, "aud": app.ClientID, "sub": userID, "nonce": "the nonce", "iat": now, "exp": now + 36000,
		"name": "Robin Example", "nickname": "robin",
	}
	assert.Equal(t, want, f.claims(got.object["id_token"]))

	user := func(token string) result {
		return f.do(t.Context(), http.MethodGet, "/userinfo", "", map[string]string{"Authorization": "Bearer " + token})
	}
	access := got.object["access_token"].(string)
	assert.Equal(t, map[string]any{"sub": userID, "name": "Robin Example", "nickname": "robin"}, user(access).object)
	assert.Equal(t, http.StatusUnauthorized, user("made up").status)
	f.clock.advance(24 * time.Hour)
	assert.Equal(t, http.StatusUnauthorized, user(access).status)
}

func TestWrongSecretDoesNotUseUpTheCode(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	code := f.code(app, nil)
	assertRefused(t, f.redeem(app, "wrong", code, nil), 401, unauthorized)
	assert.Equal(t, http.StatusOK, f.redeem(app, app.ClientSecret, code, nil).status)

	f.SpendCodesOnRefusal(true)
	code = f.code(app, nil)
	assertRefused(t, f.redeem(app, "wrong", code, nil), 401, unauthorized)
	assertRefused(t, f.redeem(app, app.ClientSecret, code, nil), 403, badCode)
}

func TestCodeIsGoodOnce(t *testing.T) {
	f := start(t)
	app, other := f.AddApplication(Application{}), f.AddApplication(Application{})
	code := f.code(app, nil)
	assertRefused(t, f.redeem(other, other.ClientSecret, code, nil), 403, badCode)
	var accepted atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if f.redeem(app, app.ClientSecret, code, nil).status == http.StatusOK {
				accepted.Add(1)
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 1, accepted.Load())
	assertRefused(t, f.redeem(app, app.ClientSecret, code, nil), 403, badCode)

	code = f.code(app, nil)
	f.clock.advance(codeLifetime)
	assertRefused(t, f.redeem(app, app.ClientSecret, code, nil), 403, badCode)
}

func TestCodeIsBoundToItsRequest(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	sum := sha256.Sum256([]byte("the verifier"))
	pkce := url.Values{"code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}}
	verifier := map[string]string{"code_verifier": "the verifier"}

	got := f.redeem(app, app.ClientSecret, f.code(app, pkce), verifier)
	assert.Equal(t, http.StatusOK, got.status)
	assertRefused(t, f.redeem(app, app.ClientSecret, f.code(app, pkce), nil), 403, badVerifier)
	code := f.code(app, pkce)
	assertRefused(t, f.redeem(app, app.ClientSecret, code, map[string]string{"code_verifier": "wrong"}), 403, badVerifier)
	assertRefused(t, f.redeem(app, app.ClientSecret, code, verifier), 403, badCode)

	got = f.redeem(app, app.ClientSecret, f.code(app, nil), map[string]string{"redirect_uri": "https://elsewhere"})
	assertRefused(t, got, 403, `{"error":"unauthorized_client","error_description":`+
		`"The redirect URI is wrong. You sent https://elsewhere, and we expected `+callback+`"}`)
}

func TestRefreshTokenStaysGood(t *testing.T) {
	f := start(t)
	app, other := f.AddApplication(Application{Shape: Full}), f.AddApplication(Application{})
	token, _ := f.redeem(app, app.ClientSecret, f.code(app, nil), nil).object["refresh_token"].(string)
	require.NotEmpty(t, token)
	assertRefused(t, f.refreshWith(app, "wrong", token), 401, unauthorized)
	for range 2 {
		got := f.refreshWith(app, app.ClientSecret, token)
		require.Equal(t, http.StatusOK, got.status)
		assert.NotContains(t, got.object, "refresh_token")
		assert.NotEmpty(t, got.object["access_token"])
		assert.NotContains(t, f.claims(got.object["id_token"]), "nonce")
	}
	assertRefused(t, f.refreshWith(app, app.ClientSecret, "made up"), 403, badRefresh)
	assertRefused(t, f.refreshWith(other, other.ClientSecret, token), 403, badRefresh)

	got := f.redeem(app, app.ClientSecret, f.code(app, url.Values{"scope": {"profile"}}), nil)
	require.Equal(t, http.StatusOK, got.status)
	assert.NotContains(t, got.object, "refresh_token", "without offline_access")
	assert.NotContains(t, got.object, "id_token", "without openid")
}

func TestAuthorizeRefusals(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	machine := f.AddApplication(Application{GrantTypes: []string{"client_credentials"}})
	shown := func(query string) result { return f.do(t.Context(), http.MethodGet, "/authorize?"+query, "", nil) }
	assert.Equal(t, http.StatusBadRequest, shown("client_id=nobody").status)
	elsewhere := shown("response_type=code&client_id=" + app.ClientID + "&redirect_uri=https://elsewhere")
	assert.Equal(t, http.StatusForbidden, elsewhere.status)
	assert.Contains(t, string(elsewhere.body), "Callback URL mismatch")

	for want, refused := range map[string]url.Values{
		"unsupported_response_type": f.browse(app, url.Values{"response_type": {"id_token"}}),
		"unauthorized_client":       f.browse(machine, nil),
		"access_denied":             f.browse(app, url.Values{"audience": {"https://other/"}}),
		"invalid_request":           f.browse(app, url.Values{"code_challenge": {"x"}, "code_challenge_method": {"plain"}}),
	} {
		assert.Equal(t, want, refused.Get("error"))
		assert.Empty(t, refused.Get("code"))
	}
	assert.Contains(t, string(f.redeem(machine, machine.ClientSecret, "any", nil).body), "unauthorized_client")
	assertRefused(t, f.redeem(app, app.ClientSecret, "", nil), 403, badCode)
	assertRefused(t, f.refreshWith(app, app.ClientSecret, ""), 403, badRefresh)
}

func TestAuthorizeAnswersByForm(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	query := url.Values{
		"response_type": {"code"}, "client_id": {app.ClientID}, "redirect_uri": {callback},
		"response_mode": {"form_post"}, "state": {`a"b`},
	}
	page := string(f.do(t.Context(), http.MethodGet, "/authorize?"+query.Encode(), "", nil).body)
	assert.Contains(t, page, `<form method="post" action="`+callback+`">`)
	assert.Contains(t, page, `name="state" value="a&#34;b"`)
	assert.Contains(t, page, `name="code"`)
}

func TestIDTokenOfHS256IsSignedWithTheSecret(t *testing.T) {
	f := start(t)
	for _, app := range []Application{
		f.AddApplication(Application{Alg: "HS256"}), f.AddApplication(Application{Shape: Bare}), // no alg means HS256
	} {
		got := f.redeem(app, app.ClientSecret, f.code(app, nil), nil)
		parsed, err := jwt.ParseSigned(got.object["id_token"].(string), []jose.SignatureAlgorithm{jose.HS256})
		require.NoError(t, err)
		claims := jwt.Claims{}
		require.NoError(t, parsed.Claims([]byte(app.ClientSecret), &claims))
		assert.Equal(t, userID, claims.Subject)
		assert.True(t, f.clock.Now().Add(idTokenLifetime).Equal(claims.Expiry.Time()))
	}
}

func TestLoginsOfUsersAreCounted(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	attempt := func(form map[string]string, id, secret, last string) {
		form["client_id"], form["client_secret"] = app.ClientID, secret
		f.ask(form, map[string]string{loginIDHeader: id, loginLastHeader: last})
	}
	code := map[string]string{"grant_type": "authorization_code", "redirect_uri": callback, "code": f.code(app, nil)}
	attempt(code, "first", "wrong", "")
	attempt(code, "first", app.ClientSecret, "true")
	refresh := map[string]string{"grant_type": "refresh_token", "refresh_token": "any", "audience": f.Audience()}
	attempt(refresh, "second", "wrong", "true")
	got := f.Stats().PerApplication[app.ClientID]
	assert.Equal(t, 1, got.Accepted)
	assert.Equal(t, 1, got.FellBack)
	assert.Equal(t, 1, got.Refused)
	assert.Zero(t, f.Stats().ManagementTokens.Refused)
}

// TestAttemptsWithOneCodeAreOneLogin, of programs that send no login ID, too: they meet
// one node, and count once, also where those of another login come in between.
func TestAttemptsWithOneCodeAreOneLogin(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	f.SetPropagation(Propagation{Delay: 28 * time.Second, Mode: Mixed})
	f.SetSecretInDashboard(app.ClientID, "the new one")
	f.clock.advance(14 * time.Second) // half of the nodes have it
	var codes [20]string
	fellBack := 0
	for i := range codes {
		codes[i] = f.code(app, nil)
		if f.redeem(app, "the new one", codes[i], nil).status == http.StatusOK {
			codes[i] = ""
		}
	}
	for _, code := range codes {
		if code != "" {
			assert.Equal(t, http.StatusOK, f.redeem(app, app.ClientSecret, code, nil).status)
			fellBack++
		}
	}
	got := f.Stats().Logins
	assert.Equal(t, len(codes), got.Accepted)
	assert.Zero(t, got.Undecided)
	assert.Equal(t, fellBack, got.FellBack)
	assert.Positive(t, fellBack)
	assert.Less(t, fellBack, len(codes))

	f.redeem(app, "wrong", f.code(app, nil), nil)
	assert.Equal(t, 1, f.Stats().Logins.Undecided, "nobody says that no other attempt follows")
}

func TestFaultsAndPropagationApplyToLoginsOfUsers(t *testing.T) {
	f := start(t)
	app := f.AddApplication(Application{})
	code := f.code(app, nil)
	f.Inject(Fault{Endpoint: Token, Kind: RateLimited, Times: 1})
	assert.Equal(t, http.StatusTooManyRequests, f.redeem(app, app.ClientSecret, code, nil).status)
	f.SetPropagation(Propagation{Delay: 30 * time.Second, Mode: OldOnly})
	f.SetSecretInDashboard(app.ClientID, "the new one")
	assertRefused(t, f.redeem(app, "the new one", code, nil), 401, unauthorized)
	token, _ := f.redeem(app, app.ClientSecret, code, nil).object["refresh_token"].(string)
	f.clock.advance(30 * time.Second)
	assertRefused(t, f.refreshWith(app, app.ClientSecret, token), 401, unauthorized)
	assert.Equal(t, http.StatusOK, f.refreshWith(app, "the new one", token).status)
}
