package tenant

import "net/http"

// The endpoints beside the token endpoint to which an application authenticates. They
// check the authentication first, as the token endpoint does, and then no more than
// that what they need is there: what they hand out can be used nowhere here. Their
// attempts count as no logins.

// revoke handles POST /oauth/revoke.
func (t *Tenant) revoke(c *call) (any, error) {
	q, err := t.authenticated(c)
	if err != nil {
		return nil, err
	}
	token := q.Get("token")
	if token == "" {
		return nil, missing("token")
	}
	if granted, ok := t.sessions.users[token]; ok && granted.clientID == q.clientID {
		delete(t.sessions.users, token)
	}
	return nil, nil // also for a token that there is not
}

// pushAuthorization handles POST /oauth/par.
func (t *Tenant) pushAuthorization(c *call) (any, error) {
	q, err := t.authenticated(c)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"response_type", "redirect_uri"} {
		if q.Get(name) == "" {
			return nil, missing(name)
		}
	}
	return map[string]any{"request_uri": "urn:ietf:params:oauth:request_uri:" + randomText(43), "expires_in": 30}, nil
}

// authorizeBackchannel handles POST /bc-authorize.
func (t *Tenant) authorizeBackchannel(c *call) (any, error) {
	q, err := t.authenticated(c)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"scope", "binding_message", "login_hint"} {
		if q.Get(name) == "" {
			return nil, missing(name)
		}
	}
	return map[string]any{"auth_req_id": randomText(43), "expires_in": 300, "interval": 5}, nil
}

// authenticated reads a request of an application, which has to be authenticated.
func (t *Tenant) authenticated(c *call) (tokenRequest, error) {
	q := readTokenRequest(c.Request, c.body)
	if q.malformed {
		return q, oauthError(http.StatusBadRequest, "invalid_request", "The body could not be parsed")
	}
	app := t.apps[q.clientID]
	if app == nil || !app.authenticates(q, t.node(c.Header.Get(loginIDHeader)), t.now(), t.issuer()) {
		if c.endpoint == Revoke { // its error is invalid_client for a wrong secret, too, as Auth0 documents it
			return q, oauthError(http.StatusUnauthorized, "invalid_client", "The request is not authorized")
		}
		return q, q.refused()
	}
	return q, nil
}

func missing(name string) error {
	return oauthError(http.StatusBadRequest, "invalid_request", "Missing required parameter: "+name)
}
