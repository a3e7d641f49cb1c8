package tenant

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
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

// maxTokens bounds how many Management API tokens are remembered. Of those that
// are forgotten, expired ones first, the API says that they are invalid.
const maxTokens = 10_000

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

// issueToken handles POST /oauth/token.
func (t *Tenant) issueToken(c *call) answer {
	q := c.token
	switch {
	case q.malformed:
		return oauthError(http.StatusBadRequest, "invalid_request", "The body could not be parsed")
	case q.grantType == "":
		return oauthError(http.StatusBadRequest, "invalid_request", "Missing required parameter: grant_type")
	case !slices.Contains([]string{clientCredentials, authorizationCode, refreshing}, q.grantType):
		return grantTypeRefused(q.grantType)
	}
	if q.audience == "" {
		q.audience = t.audience // as a tenant's default audience
	}
	login := loginAttempt{
		clientID:   q.clientID,
		id:         c.r.Header.Get(loginIDHeader),
		last:       c.r.Header.Get(loginLastHeader) == "true",
		management: q.grantType == clientCredentials && q.audience == t.Audience(),
	}
	a, known := t.grant(q, t.node(login.id))
	if t.omitsScope.Load() {
		a.body = changed(a.body, func(object map[string]any) { delete(object, "scope") })
	}
	login.known, login.accepted = known, a.status == http.StatusOK
	a.count = func() { t.stats.attempt(login) }
	return a
}

// grant checks a request for a token and gives the answer; known is whether
// there is such an application. The client's authentication comes first.
func (t *Tenant) grant(q tokenRequest, node uint64) (_ answer, known bool) {
	t.mu.Lock()
	app := t.apps[q.clientID]
	if app == nil || !app.authenticates(q, node, t.now(), t.issuer()) {
		t.mu.Unlock()
		t.sessions.refused(q.code)
		return oauthError(http.StatusUnauthorized, "access_denied", "Unauthorized"), app != nil
	}
	caller := app.clone()
	granted, hasGrant := app.grants[q.audience]
	if t.honoursScope && len(q.scopes) > 0 {
		granted = slices.DeleteFunc(slices.Clone(granted), func(s string) bool { return !slices.Contains(q.scopes, s) })
	}
	t.mu.Unlock()

	switch {
	case !slices.Contains(caller.GrantTypes, q.grantType):
		return grantTypeRefused(q.grantType), true
	case q.grantType == authorizationCode:
		return t.redeemCode(caller, q), true
	case q.grantType == refreshing:
		return t.refresh(caller, q), true
	case q.audience != t.audience && q.audience != t.Audience():
		return oauthError(http.StatusForbidden, "access_denied", "Service not enabled within domain: "+q.audience), true
	case !hasGrant:
		return oauthError(http.StatusForbidden, "access_denied", fmt.Sprintf("Client is not authorized to access %q. "+
			"You need to create a \"client-grant\" associated to this API. "+
			"See: https://auth0.com/docs/api/v2#!/Client_Grants/post_client_grants", q.audience)), true
	}

	value := randomText(128)
	if q.audience == t.Audience() { // others are of no use here
		t.tokens.add(value, granted, t.now(), t.lifetime)
	}
	return jsonAnswer(http.StatusOK, map[string]any{
		"access_token": value,
		"scope":        strings.Join(granted, " "),
		"expires_in":   int64(t.lifetime / time.Second),
		"token_type":   "Bearer",
	}), true
}

func grantTypeRefused(grantType string) answer {
	return oauthError(http.StatusForbidden, "unauthorized_client", "Grant type '"+grantType+"' not allowed for the client.")
}

// authenticates says whether an edge node takes these credentials for the
// application's. t.mu must be held.
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
		return t.nextNode.Add(1) % nodes
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(loginID))
	return h.Sum64() % nodes
}

// HonourScope has tokens carry no more than the scopes that a request for them
// asks for. Auth0 does not do that by itself: it grants all that the
// application has, whatever is asked for, unless the tenant's own code (an
// Action) takes some away.
func (t *Tenant) HonourScope(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.honoursScope = on
}

// OmitScope says whether answers with a token leave out scope. They do not
// unless this is called; some of Auth0's do.
func (t *Tenant) OmitScope(on bool) { t.omitsScope.Store(on) }

// ExpireTokens makes all Management API tokens that have been issued until now
// expired: they are refused with 401.
func (t *Tenant) ExpireTokens() { t.tokens.expire() }

// tokens are the Management API tokens that have been issued.
type tokens struct {
	mu      sync.Mutex
	byValue map[string]*issuedToken
}

type issuedToken struct {
	scopes    scopes // as they were granted: a later SetScopes does not change them
	expiresAt time.Time
	expired   bool
}

func (s *tokens) add(value string, granted scopes, now time.Time, lifetime time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byValue == nil {
		s.byValue = map[string]*issuedToken{}
	}
	if len(s.byValue) >= maxTokens {
		for v, issued := range s.byValue {
			if issued.isExpired(now) {
				delete(s.byValue, v)
			}
		}
	}
	if len(s.byValue) >= maxTokens {
		clear(s.byValue)
	}
	s.byValue[value] = &issuedToken{scopes: granted, expiresAt: now.Add(lifetime)}
}

func (s *tokens) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, issued := range s.byValue {
		issued.expired = true
	}
}

// check gives the scopes of a token, or the answer that refuses it.
func (s *tokens) check(value string, now time.Time) (scopes, *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	issued := s.byValue[value]
	message := ""
	switch {
	case value == "":
		message = "Missing authentication"
	case issued == nil:
		message = "Invalid token"
	case issued.isExpired(now):
		message = "Expired token received for JSON Web Token validation"
	default:
		return issued.scopes, nil
	}
	refusal := invalidToken(message)
	return nil, &refusal
}

func (i *issuedToken) isExpired(now time.Time) bool { return i.expired || !now.Before(i.expiresAt) }
