package tenant

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
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

// sessions are the codes and tokens of logins by users.
type sessions struct {
	codes  map[string]session // those that were not redeemed yet
	users  map[string]session // by refresh token
	access map[string]session // by access token, for /userinfo
}

func newSessions() sessions {
	return sessions{map[string]session{}, map[string]session{}, map[string]session{}}
}

// authorize handles GET /authorize. There is no login page: the one user that
// there is has logged in already, and agrees.
//
// What is wrong with the application or its callback the browser is shown;
// all else goes to the callback.
func (t *Tenant) authorize(c *call) (any, error) {
	query := c.URL.Query()
	clientID, redirectURI := query.Get("client_id"), query.Get("redirect_uri")
	app := t.apps[clientID]
	switch {
	case app == nil:
		return nil, oauthError(http.StatusBadRequest, "invalid_request", "Unknown client: "+clientID)
	case !slices.Contains(app.Callbacks, redirectURI):
		return nil, oauthError(http.StatusForbidden, "unauthorized_client",
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
	wanted, challenge := query.Get("audience"), query.Get("code_challenge")
	switch {
	case query.Get("response_type") != "code":
		refuse("unsupported_response_type", "The simulated tenant has response_type=code only")
	case !slices.Contains(app.GrantTypes, authorizationCode):
		refuse("unauthorized_client", "Grant type '"+authorizationCode+"' not allowed for the client.")
	case wanted != "" && wanted != DefaultAPI:
		refuse("access_denied", "Service not found: "+wanted)
	case challenge != "" && query.Get("code_challenge_method") != "S256":
		refuse("invalid_request", "The simulated tenant has code_challenge_method=S256 only")
	default:
		params.Set("code", keep(t.sessions.codes, randomText(43), session{
			clientID: clientID, redirectURI: redirectURI, scopes: strings.Fields(query.Get("scope")),
			nonce: query.Get("nonce"), challenge: challenge, until: t.now().Add(codeLifetime),
		}))
	}
	if query.Get("response_mode") == "form_post" {
		return formPost(redirectURI, params), nil
	}
	separator := "?"
	if strings.Contains(redirectURI, "?") {
		separator = "&"
	}
	return answer{status: http.StatusFound, header: map[string]string{"Location": redirectURI + separator + params.Encode()}}, nil
}

// redeemCode handles the grant authorization_code for an application that has
// authenticated. A code that comes this far is gone, whatever comes of it.
//
// One that comes with a wrong secret does not come this far, and is as good as
// before, unless SpendCodesOnRefusal says otherwise. Auth0 does not document
// what it does. RFC 6749 has the client authenticated first, in 3.2.1 and 4.1.3;
// but 10.5 can be read as if any attempt used up the code.
func (t *Tenant) redeemCode(app Application, q tokenRequest) (map[string]any, error) {
	code := q.Get("code")
	granted, ok := t.sessions.codes[code]
	if !ok || granted.clientID != app.ClientID || !t.now().Before(granted.until) {
		return nil, invalidGrant("Invalid authorization code")
	}
	delete(t.sessions.codes, code)
	switch {
	case q.Get("redirect_uri") != granted.redirectURI:
		return nil, oauthError(http.StatusForbidden, "unauthorized_client", fmt.Sprintf(
			"The redirect URI is wrong. You sent %s, and we expected %s", q.Get("redirect_uri"), granted.redirectURI))
	case !granted.verifies(q.Get("code_verifier")):
		return nil, invalidGrant("Failed to verify code verifier")
	}
	body := t.userTokens(app, granted)
	if slices.Contains(granted.scopes, "offline_access") && slices.Contains(app.GrantTypes, refreshing) {
		granted.nonce = "" // ID tokens of a refresh have none
		body["refresh_token"] = keep(t.sessions.users, "v1."+randomText(60), granted)
	}
	return body, nil
}

// SpendCodesOnRefusal says whether a request that is refused for its secret uses
// up the authorization code in it. It does not unless this is called.
func (t *Tenant) SpendCodesOnRefusal(on bool) { t.set(&t.spendsCodes, on) }

// refresh handles the grant refresh_token for an application that has
// authenticated. Without rotation, Auth0's default, the refresh token stays.
func (t *Tenant) refresh(app Application, q tokenRequest) (map[string]any, error) {
	granted, ok := t.sessions.users[q.Get("refresh_token")]
	if !ok || granted.clientID != app.ClientID {
		return nil, invalidGrant("Unknown or invalid refresh token.")
	}
	return t.userTokens(app, granted), nil
}

// userTokens makes the answer with an access token and, if openid was asked
// for, an ID token.
func (t *Tenant) userTokens(app Application, granted session) map[string]any {
	granted.until = t.now().Add(t.lifetime)
	body := tokenAnswer(keep(t.sessions.access, randomText(128), granted), granted.scopes, t.lifetime)
	if slices.Contains(granted.scopes, "openid") {
		body["id_token"] = t.idToken(app, granted)
	}
	return body
}

// userInfo handles GET /userinfo.
func (t *Tenant) userInfo(c *call) (any, error) {
	scheme, value, _ := strings.Cut(c.Header.Get("Authorization"), " ")
	granted, ok := t.sessions.access[value]
	if !ok || !strings.EqualFold(scheme, "Bearer") || !t.now().Before(granted.until) || !slices.Contains(granted.scopes, "openid") {
		return nil, oauthError(http.StatusUnauthorized, "invalid_token", "Unauthorized")
	}
	return userClaims(granted.scopes), nil
}

// verifies checks the verifier of PKCE.
func (s session) verifies(verifier string) bool {
	if s.challenge == "" {
		return true
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(s.challenge)) == 1
}

func invalidGrant(description string) error {
	return oauthError(http.StatusForbidden, "invalid_grant", description)
}

// formPost has the browser send a form to a callback.
func formPost(to string, params url.Values) answer {
	var page strings.Builder
	fmt.Fprintf(&page, `<!DOCTYPE html><title>Simulated login</title><body onload="document.forms[0].submit()">
<form method="post" action="%s">`, html.EscapeString(to))
	for name := range params {
		fmt.Fprintf(&page, "\n"+`<input type="hidden" name="%s" value="%s"/>`, name, html.EscapeString(params.Get(name)))
	}
	page.WriteString("<button>Continue</button></form>\n")
	return answer{status: http.StatusOK, contentType: "text/html; charset=utf-8", body: []byte(page.String())}
}
