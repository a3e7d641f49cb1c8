package tenant

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Headers by which an application says which attempts are one login.
const (
	loginIDHeader   = "X-Login-Id"
	loginLastHeader = "X-Login-Last"
)

// The grant types that there are.
const (
	clientCredentials = "client_credentials"
	authorizationCode = "authorization_code"
	refreshing        = "refresh_token"
)

// tokenRequest is what POST /oauth/token is sent.
type tokenRequest struct {
	url.Values
	clientID  string
	secrets   []string // what the sender may mean by its secret
	key       string   // which key the assertion is of, as it says; "": there is no assertion
	malformed bool
}

// readTokenRequest reads a form or JSON body, and HTTP Basic authentication.
func readTokenRequest(r *http.Request, body []byte) (q tokenRequest) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		var object map[string]any
		q.malformed = json.Unmarshal(body, &object) != nil
		q.Values = url.Values{}
		for name, value := range object {
			if text, ok := value.(string); ok {
				q.Set(name, text)
			}
		}
	} else {
		var err error
		q.Values, err = url.ParseQuery(string(body))
		q.malformed = err != nil
	}
	q.clientID = q.Get("client_id")
	if s := q.Get("client_secret"); s != "" {
		q.secrets = []string{s}
	}
	// RFC 6749 has the secret form-encoded in Basic authentication; many clients do not
	// do that, and are understood, too.
	if id, secret, ok := r.BasicAuth(); ok {
		q.clientID, q.secrets = id, []string{secret}
		if s, err := url.QueryUnescape(secret); err == nil {
			q.secrets = append(q.secrets, s)
		}
	}
	if signed := q.Get("client_assertion"); signed != "" {
		clientID, kid := readAssertion(signed)
		q.clientID, q.key = cmp.Or(q.clientID, clientID), "key "+kid
	}
	return q
}

// tried names what a request authenticates with: the secrets, or the key, whose
// assertions are never the same.
func (q tokenRequest) tried() string { return cmp.Or(q.key, strings.Join(q.secrets, " ")) }

// refused is the answer to a request that does not authenticate. That of a wrong secret
// was recorded; for an assertion it is the error of RFC 7523, 3.2: which one Auth0 gives
// is not known.
func (q tokenRequest) refused() error {
	if q.key != "" {
		return oauthError(http.StatusUnauthorized, "invalid_client", "Invalid client assertion")
	}
	return oauthError(http.StatusUnauthorized, "access_denied", "Unauthorized")
}

// issueToken handles POST /oauth/token. The client's authentication comes first.
func (t *Tenant) issueToken(c *call) (any, error) {
	q, grantType := c.token, c.token.Get("grant_type")
	switch {
	case q.malformed:
		return nil, oauthError(http.StatusBadRequest, "invalid_request", "The body could not be parsed")
	case grantType == "":
		return nil, oauthError(http.StatusBadRequest, "invalid_request", "Missing required parameter: grant_type")
	case !slices.Contains(usualGrants(), grantType):
		return nil, grantTypeRefused(grantType)
	}
	wanted := cmp.Or(q.Get("audience"), DefaultAPI) // as a tenant's default audience
	login := cmp.Or(c.Header.Get(loginIDHeader), q.Get("code"))
	answer, err := t.grant(q, wanted, t.node(login))
	c.login = &loginAttempt{
		clientID:   q.clientID,
		known:      t.apps[q.clientID] != nil,
		id:         login,
		last:       c.Header.Get(loginLastHeader) == "true",
		secret:     q.tried(),
		accepted:   err == nil,
		management: grantType == clientCredentials && wanted == t.Audience(),
	}
	if err == nil && t.omitsScope {
		delete(answer, "scope")
	}
	return answer, err
}

// grant checks a request for a token for an audience.
func (t *Tenant) grant(q tokenRequest, wanted string, node uint64) (map[string]any, error) {
	app := t.apps[q.clientID]
	if app == nil || !app.authenticates(q, node, t.now(), t.issuer()) {
		if t.spendsCodes {
			delete(t.sessions.codes, q.Get("code"))
		}
		return nil, q.refused()
	}
	grantType := q.Get("grant_type")
	api, exists := t.apis[wanted]
	granted, hasGrant := app.grants[wanted]
	organization := q.Get("organization")
	switch {
	case !slices.Contains(app.GrantTypes, grantType):
		return nil, grantTypeRefused(grantType)
	case grantType == authorizationCode:
		return t.redeemCode(app.Application, q)
	case grantType == refreshing:
		return t.refresh(app.Application, q)
	case !exists:
		return nil, oauthError(http.StatusForbidden, "access_denied", "Service not enabled within domain: "+wanted)
	case !hasGrant:
		return nil, oauthError(http.StatusForbidden, "access_denied", fmt.Sprintf("Client is not authorized to access %q. "+
			"You need to create a \"client-grant\" associated to this API. "+
			"See: https://auth0.com/docs/api/v2#!/Client_Grants/post_client_grants", wanted))
	}
	if err := granted.takes(organization); err != nil {
		return nil, err
	}

	given := granted.Scopes
	if asked := strings.Fields(q.Get("scope")); t.honoursScope && len(asked) > 0 {
		given = slices.DeleteFunc(slices.Clone(given), func(s string) bool { return !slices.Contains(asked, s) })
	}
	t.stats.counts.Tokens[app.ClientID+" "+wanted]++
	if wanted != t.Audience() {
		return tokenAnswer(t.accessToken(app.ClientID, api, given, organization), given, api.TokenLifetime), nil
	}
	value := keep(t.tokens, randomText(128), issuedToken{scopes: given, until: t.now().Add(api.TokenLifetime)})
	return tokenAnswer(value, given, api.TokenLifetime), nil
}

// tokenAnswer is the answer with an access token.
func tokenAnswer(value string, granted []string, lifetime time.Duration) map[string]any {
	return map[string]any{
		"access_token": value,
		"scope":        strings.Join(granted, " "),
		"expires_in":   int64(lifetime / time.Second),
		"token_type":   "Bearer",
	}
}

func grantTypeRefused(grantType string) error {
	return oauthError(http.StatusForbidden, "unauthorized_client", "Grant type '"+grantType+"' not allowed for the client.")
}

// authenticates says whether an edge node takes these credentials for the
// application's.
func (a *application) authenticates(q tokenRequest, node uint64, now time.Time, issuer string) bool {
	if len(a.AuthenticationMethods) > 0 {
		// A secret does not do for such an application. TLS is not simulated.
		return a.usesKey() && q.Get("client_assertion_type") == assertionType && a.verifies(q.Get("client_assertion"), node, now, issuer)
	}
	if a.public() || a.AppType == keysOnly {
		return false
	}
	return slices.ContainsFunc(q.secrets, func(s string) bool { return a.accepts(s, node, now) })
}

// node says which edge node a login meets: always the same for one login ID,
// another one each time without.
func (t *Tenant) node(loginID string) uint64 {
	if loginID == "" {
		t.nextNode++
		return t.nextNode % nodes
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(loginID))
	return h.Sum64() % nodes
}

// HonourScope has tokens carry no more than the scopes that a request for them
// asks for. Auth0 does not do that by itself: it grants all that the
// application has, whatever is asked for, unless the tenant's own code (an
// Action) takes some away.
func (t *Tenant) HonourScope(on bool) { t.set(&t.honoursScope, on) }

// OmitScope says whether answers with a token leave out scope. They do not
// unless this is called; some of Auth0's do.
func (t *Tenant) OmitScope(on bool) { t.set(&t.omitsScope, on) }

// issuedToken is a Management API token.
type issuedToken struct {
	scopes scopes // as they were granted: a later SetScopes does not change them
	until  time.Time
}

// ExpireTokens makes all Management API tokens that have been issued until now
// expired: they are refused with 401.
func (t *Tenant) ExpireTokens() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for value, issued := range t.tokens {
		t.tokens[value] = issuedToken{scopes: issued.scopes}
	}
}

// maxKept bounds how many tokens and codes of each sort are remembered. Those
// that are forgotten are invalid.
const maxKept = 10_000

// keep adds to one of the maps of tokens and codes.
func keep[T any](in map[string]T, value string, added T) string {
	if len(in) >= maxKept {
		clear(in)
	}
	in[value] = added
	return value
}
