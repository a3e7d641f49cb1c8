package tenant

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// codeLifetime is how long an authorization code is good.
const codeLifetime = 10 * time.Minute

// session is what a user has granted to an application.
type session struct {
	clientID    string
	redirectURI string
	scopes      []string
	nonce       string
	challenge   string // of PKCE with S256; "": without
	until       time.Time
}

// sessions are the codes and tokens of logins by users. As many of each sort are
// remembered as of Management API tokens.
type sessions struct {
	mu     sync.Mutex
	codes  map[string]session // those that were not redeemed yet
	users  map[string]session // by refresh token
	access map[string]session // by access token, for /userinfo

	spendOnRefusal bool
}

// keep adds a session to one of the maps of s, whose mutex must be held.
func keep(in *map[string]session, value string, added session) string {
	if *in == nil || len(*in) >= maxTokens {
		*in = map[string]session{}
	}
	(*in)[value] = added
	return value
}

// routeLogin finds what handles a request of a login, other than /oauth/token.
func (t *Tenant) routeLogin(c *call) {
	handlers := map[string]func(*call) answer{
		"/authorize":                        t.authorize,
		"/userinfo":                         t.userInfo,
		"/.well-known/openid-configuration": t.discovery,
		"/.well-known/jwks.json":            t.publicKeys,
	}
	if handle := handlers[c.r.URL.Path]; handle != nil {
		c.pattern = c.r.URL.Path
		if c.r.Method == http.MethodGet {
			c.handle = handle
		}
	}
}

// authorize handles GET /authorize. There is no login page: the one user that
// there is has logged in already, and agrees.
//
// What is wrong with the application or its callback the browser is shown;
// all else goes to the callback.
func (t *Tenant) authorize(c *call) answer {
	query := c.r.URL.Query()
	clientID, redirectURI := query.Get("client_id"), query.Get("redirect_uri")
	app, known := t.Application(clientID)
	switch {
	case clientID == "":
		return oauthError(http.StatusBadRequest, "invalid_request", "Missing required parameter: client_id")
	case !known:
		return oauthError(http.StatusBadRequest, "invalid_request", "Unknown client: "+clientID)
	case !slices.Contains(app.Callbacks, redirectURI):
		return oauthError(http.StatusForbidden, "unauthorized_client",
			"Callback URL mismatch. "+redirectURI+" is not in the list of allowed callback URLs")
	}

	params := url.Values{}
	if state := query.Get("state"); state != "" {
		params.Set("state", state)
	}
	refuse := func(code, description string) {
		params.Set("error", code)
		params.Set("error_description", description)
	}
	audience, challenge := query.Get("audience"), query.Get("code_challenge")
	switch {
	case query.Get("response_type") != "code":
		refuse("unsupported_response_type", "The simulated tenant has response_type=code only")
	case !slices.Contains(app.GrantTypes, authorizationCode):
		refuse("unauthorized_client", "Grant type '"+authorizationCode+"' not allowed for the client.")
	case audience != "" && audience != t.audience:
		refuse("access_denied", "Service not found: "+audience)
	case challenge != "" && query.Get("code_challenge_method") != "S256":
		refuse("invalid_request", "The simulated tenant has code_challenge_method=S256 only")
	default:
		params.Set("code", t.sessions.begin(session{
			clientID: clientID, redirectURI: redirectURI, scopes: strings.Fields(query.Get("scope")),
			nonce: query.Get("nonce"), challenge: challenge, until: t.now().Add(codeLifetime),
		}))
	}
	if query.Get("response_mode") == "form_post" {
		return formPost(redirectURI, params)
	}
	return redirect(redirectURI, params)
}

// begin gives a code for a session.
func (s *sessions) begin(granted session) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return keep(&s.codes, randomText(43), granted)
}

// redeemCode handles the grant authorization_code for an application that has
// authenticated. A code that comes this far is gone, whatever comes of it.
//
// One that comes with a wrong secret does not come this far, and is as good as
// before, unless SpendCodesOnRefusal says otherwise. Auth0 does not document
// what it does. RFC 6749 has the client authenticated first, in 3.2.1 and 4.1.3;
// but 10.5 can be read as if any attempt used up the code.
func (t *Tenant) redeemCode(app Application, q tokenRequest) answer {
	if q.code == "" {
		return oauthError(http.StatusBadRequest, "invalid_request", "Missing required parameter: code")
	}
	t.sessions.mu.Lock()
	defer t.sessions.mu.Unlock()
	granted, ok := t.sessions.codes[q.code]
	if !ok || granted.clientID != app.ClientID || !t.now().Before(granted.until) {
		return invalidGrant("Invalid authorization code")
	}
	delete(t.sessions.codes, q.code)
	switch {
	case q.redirectURI != granted.redirectURI:
		return oauthError(http.StatusForbidden, "unauthorized_client", fmt.Sprintf(
			"The redirect URI is wrong. You sent %s, and we expected %s", q.redirectURI, granted.redirectURI))
	case !granted.verifies(q.verifier):
		return invalidGrant("Failed to verify code verifier")
	}
	body := t.userTokens(app, granted)
	if slices.Contains(granted.scopes, "offline_access") && slices.Contains(app.GrantTypes, refreshing) {
		granted.nonce = "" // ID tokens of a refresh have none
		body["refresh_token"] = keep(&t.sessions.users, "v1."+randomText(60), granted)
	}
	return jsonAnswer(http.StatusOK, body)
}

// SpendCodesOnRefusal says whether a request that is refused for its secret uses
// up the authorization code in it. It does not unless this is called.
func (t *Tenant) SpendCodesOnRefusal(on bool) {
	t.sessions.mu.Lock()
	defer t.sessions.mu.Unlock()
	t.sessions.spendOnRefusal = on
}

// refused notes that the client that has sent a code was not authenticated.
func (s *sessions) refused(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spendOnRefusal {
		delete(s.codes, code)
	}
}

// refresh handles the grant refresh_token for an application that has
// authenticated. Without rotation, Auth0's default, the refresh token stays.
func (t *Tenant) refresh(app Application, q tokenRequest) answer {
	if q.refreshToken == "" {
		return oauthError(http.StatusBadRequest, "invalid_request", "Missing required parameter: refresh_token")
	}
	t.sessions.mu.Lock()
	defer t.sessions.mu.Unlock()
	granted, ok := t.sessions.users[q.refreshToken]
	if !ok || granted.clientID != app.ClientID {
		return invalidGrant("Unknown or invalid refresh token.")
	}
	return jsonAnswer(http.StatusOK, t.userTokens(app, granted))
}

// userTokens makes the answer with an access token and, if openid was asked
// for, an ID token. t.sessions.mu must be held.
func (t *Tenant) userTokens(app Application, granted session) map[string]any {
	granted.until = t.now().Add(t.lifetime)
	body := map[string]any{
		"access_token": keep(&t.sessions.access, randomText(128), granted),
		"scope":        strings.Join(granted.scopes, " "),
		"expires_in":   int64(t.lifetime / time.Second),
		"token_type":   "Bearer",
	}
	if slices.Contains(granted.scopes, "openid") {
		body["id_token"] = t.idToken(app, granted)
	}
	return body
}

// userInfo handles GET /userinfo.
func (t *Tenant) userInfo(c *call) answer {
	scheme, value, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	t.sessions.mu.Lock()
	granted, ok := t.sessions.access[value]
	t.sessions.mu.Unlock()
	if !ok || !strings.EqualFold(scheme, "Bearer") || !t.now().Before(granted.until) || !slices.Contains(granted.scopes, "openid") {
		return oauthError(http.StatusUnauthorized, "invalid_token", "Unauthorized")
	}
	return jsonAnswer(http.StatusOK, userClaims(granted.scopes))
}

// verifies checks the verifier of PKCE.
func (s session) verifies(verifier string) bool {
	if s.challenge == "" {
		return true
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(s.challenge)) == 1
}

func invalidGrant(description string) answer {
	return oauthError(http.StatusForbidden, "invalid_grant", description)
}

// redirect sends the browser to a callback.
func redirect(to string, params url.Values) answer {
	separator := "?"
	if strings.Contains(to, "?") {
		separator = "&"
	}
	return answer{
		status: http.StatusFound, contentType: "text/plain; charset=utf-8",
		header: map[string]string{"Location": to + separator + params.Encode()},
	}
}

var formPage = template.Must(template.New("form").Parse(`<!DOCTYPE html>
<html><head><title>Simulated login</title></head><body onload="document.forms[0].submit()">
<form method="post" action="{{.To}}">
{{- range $name, $values := .Params}}{{range $values}}
<input type="hidden" name="{{$name}}" value="{{.}}"/>{{end}}{{end}}
<noscript><button type="submit">Continue</button></noscript>
</form></body></html>
`))

// formPost has the browser send a form to a callback.
func formPost(to string, params url.Values) answer {
	var page strings.Builder
	err := formPage.Execute(&page, struct {
		To     template.URL // one of the application's callbacks
		Params url.Values
	}{template.URL(to), params}) //nolint:gosec // see above
	if err != nil {
		panic(err) // a strings.Builder takes all
	}
	return answer{status: http.StatusOK, contentType: "text/html; charset=utf-8", body: []byte(page.String())}
}
