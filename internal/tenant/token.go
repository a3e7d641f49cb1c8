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
	grantType string
	clientID  string
	secrets   []string // what the sender may mean by its secret: see readBasicAuth
	assertion string   // client_assertion: private_key_jwt
	audience  string
	scopes    []string // that are asked for
	malformed bool

	code, redirectURI, verifier string // authorization_code
	refreshToken                string // refresh_token
}

// readTokenRequest reads a form or JSON body, and HTTP Basic authentication.
func readTokenRequest(r *http.Request, body []byte) tokenRequest {
	var q tokenRequest
	field := func(string) string { return "" }
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		var object map[string]any
		q.malformed = json.Unmarshal(body, &object) != nil
		field = func(name string) string { s, _ := object[name].(string); return s }
	} else if form, err := url.ParseQuery(string(body)); err == nil {
		field = form.Get
	} else {
		q.malformed = true
	}
	q.grantType, q.audience = field("grant_type"), field("audience")
	q.clientID, q.scopes = field("client_id"), strings.Fields(field("scope"))
	q.code, q.redirectURI, q.verifier = field("code"), field("redirect_uri"), field("code_verifier")
	q.refreshToken = field("refresh_token")
	if field("client_assertion_type") == assertionType {
		q.assertion = field("client_assertion")
	}
	if s := field("client_secret"); s != "" {
		q.secrets = []string{s}
	}
	if id, secrets, ok := readBasicAuth(r); ok {
		q.clientID, q.secrets = id, secrets
	}
	return q
}

// readBasicAuth reads HTTP Basic authentication. RFC 6749 has the secret
// form-encoded in it; many clients do not do that, and are understood, too.
func readBasicAuth(r *http.Request) (clientID string, secrets []string, ok bool) {
	id, secret, ok := r.BasicAuth()
	if !ok {
		return "", nil, false
	}
	secrets = []string{secret}
	if s, err := url.QueryUnescape(secret); err == nil && s != secret {
		secrets = append(secrets, s)
	}
	return id, secrets, true
}

// issueToken handles POST /oauth/token. The client's authentication comes first.
func (t *Tenant) issueToken(c *call) (any, error) {
	q := c.token
	switch {
	case q.malformed:
		return nil, oauthError(http.StatusBadRequest, "invalid_request", "The body could not be parsed")
	case q.grantType == "":
		return nil, oauthError(http.StatusBadRequest, "invalid_request", "Missing required parameter: grant_type")
	case !slices.Contains(usualGrants(), q.grantType):
		return nil, grantTypeRefused(q.grantType)
	}
	q.audience = cmp.Or(q.audience, audience) // as a tenant's default audience
	answer, err := t.grant(q, t.node(c.Header.Get(loginIDHeader)))
	c.login = &loginAttempt{
		clientID:   q.clientID,
		known:      t.apps[q.clientID] != nil,
		id:         c.Header.Get(loginIDHeader),
		last:       c.Header.Get(loginLastHeader) == "true",
		secret:     strings.Join(q.secrets, " "),
		accepted:   err == nil,
		management: q.grantType == clientCredentials && q.audience == t.Audience(),
	}
	if err == nil && t.omitsScope {
		delete(answer, "scope")
	}
	return answer, err
}

// grant checks a request for a token.
func (t *Tenant) grant(q tokenRequest, node uint64) (map[string]any, error) {
	app := t.apps[q.clientID]
	if app == nil || !app.authenticates(q, node, t.now(), t.issuer()) {
		if t.spendsCodes {
			delete(t.sessions.codes, q.code)
		}
		return nil, oauthError(http.StatusUnauthorized, "access_denied", "Unauthorized")
	}
	granted, hasGrant := app.grants[q.audience]
	switch {
	case !slices.Contains(app.GrantTypes, q.grantType):
		return nil, grantTypeRefused(q.grantType)
	case q.grantType == authorizationCode:
		return t.redeemCode(app.Application, q)
	case q.grantType == refreshing:
		return t.refresh(app.Application, q)
	case q.audience != audience && q.audience != t.Audience():
		return nil, oauthError(http.StatusForbidden, "access_denied", "Service not enabled within domain: "+q.audience)
	case !hasGrant:
		return nil, oauthError(http.StatusForbidden, "access_denied", fmt.Sprintf("Client is not authorized to access %q. "+
			"You need to create a \"client-grant\" associated to this API. "+
			"See: https://auth0.com/docs/api/v2#!/Client_Grants/post_client_grants", q.audience))
	}

	if t.honoursScope && len(q.scopes) > 0 {
		granted = slices.DeleteFunc(slices.Clone(granted), func(s string) bool { return !slices.Contains(q.scopes, s) })
	}
	issued := issuedToken{scopes: granted, until: t.now().Add(t.lifetime)}
	value := randomText(128)
	if q.audience == t.Audience() { // others are of no use here
		keep(t.tokens, value, issued)
	}
	return t.tokenAnswer(value, granted), nil
}

// tokenAnswer is the answer with an access token.
func (t *Tenant) tokenAnswer(value string, granted []string) map[string]any {
	return map[string]any{
		"access_token": value,
		"scope":        strings.Join(granted, " "),
		"expires_in":   int64(t.lifetime / time.Second),
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
		return a.usesKey() && a.verifies(q.assertion, now, issuer)
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
