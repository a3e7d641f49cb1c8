package tenant

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	apiPrefix = "/api/v2/"
	maxBody   = 1 << 20 // bytes
)

// route is an endpoint. The scopes are those of which a token needs one; success
// is the status of what handle gives.
type route struct {
	endpoint Endpoint
	scopes   []string
	success  int
	handle   handler
}

// handler handles a request, with t.mu held. It gives what becomes the JSON body
// (nil: none), or an answer as it is. An error is a refusal.
type handler func(*Tenant, *call) (any, error)

var routes = []route{
	{Token, nil, 200, (*Tenant).issueToken},
	{Revoke, nil, 200, (*Tenant).revoke},
	{"POST /oauth/par", nil, 201, (*Tenant).pushAuthorization},
	{"POST /bc-authorize", nil, 200, (*Tenant).authorizeBackchannel},
	{"GET /authorize", nil, 200, (*Tenant).authorize},
	{"GET /userinfo", nil, 200, (*Tenant).userInfo},
	{"GET /.well-known/openid-configuration", nil, 200, (*Tenant).discovery},
	{"GET /.well-known/jwks.json", nil, 200, (*Tenant).publicKeys},

	{ListApplications, readScopes, 200, (*Tenant).listApplications},
	{CreateApplication, []string{"create:clients"}, 201, (*Tenant).createApplication},
	{ReadApplication, readScopes, 200, ofApplication((*Tenant).readApplication)},
	{UpdateApplication, updateScopes, 200, ofApplication((*Tenant).updateApplication)},
	{"DELETE /api/v2/clients/{id}", []string{"delete:clients"}, 204, (*Tenant).deleteApplication},
	{RotateSecret, []string{updateKeys}, 200, ofApplication((*Tenant).rotateSecret)},
	{"GET /api/v2/clients/{id}/credentials", []string{readCredentials}, 200, ofApplication((*Tenant).listCredentials)},
	{CreateCredential, []string{"create:client_credentials"}, 201, ofApplication((*Tenant).createCredential)},
	{DeleteCredential, []string{"delete:client_credentials"}, 204, ofApplication((*Tenant).deleteCredential)},
	{"POST /api/v2/client-grants", []string{"create:client_grants"}, 201, (*Tenant).createGrant},

	{apiPrefix, nil, 0, (*Tenant).noSuchEndpoint},
	{"/", nil, 0, (*Tenant).noSuchEndpoint},
}

// call is one request.
type call struct {
	*http.Request
	route
	body     []byte
	clientID string // of the application it is about; may be empty
	token    tokenRequest
	granted  scopes        // of the token that came with it
	login    *loginAttempt // what it adds to the counts if the answer is given as it is
}

// management says whether it is one of the Management API.
func (c *call) management() bool { return strings.HasPrefix(c.URL.Path, apiPrefix) }

// answer is what a call is answered with.
type answer struct {
	status      int
	contentType string            // "": JSON
	header      map[string]string // on top of the usual ones
	body        []byte
	ending      ending
}

// ending is how an answer ends.
type ending int

const (
	whole    ending = iota
	cut             // it never comes: the connection is closed
	held            // it never comes: nothing does, until the client leaves or Close
	cutOff          // half the body that Content-Length promises
	ofAProxy        // it comes from a proxy, which knows nothing of rate limits
)

// Error has an answer be an error, too: a refusal, which is sent as it is.
func (a answer) Error() string { return string(a.body) }

func (t *Tenant) newHandler() http.Handler {
	mux := http.NewServeMux()
	for _, each := range routes {
		mux.HandleFunc(string(each.endpoint), func(w http.ResponseWriter, r *http.Request) { t.serve(w, r, each) })
	}
	return mux
}

func (t *Tenant) serve(w http.ResponseWriter, r *http.Request, to route) {
	// The whole body is read at once: only then does net/http notice that the
	// client leaves, and a fault after the commit has all it needs.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil || t.down.Load() { // it went down while this came in
		panic(http.ErrAbortHandler)
	}
	c := &call{Request: r, route: to, body: body, clientID: r.PathValue("id")}
	if c.endpoint == Token || c.endpoint == Revoke {
		c.token = readTokenRequest(r, body)
		c.clientID = c.token.clientID
	}
	if c.endpoint == Token {
		if c.token.Get("audience") != t.Audience() {
			signing() // which takes long once: not with t.mu held
		}
	}
	t.send(w, c, t.answer(c))
}

// answer handles a call, and counts it: who has the answer finds it in the counts.
func (t *Tenant) answer(c *call) answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.answerOrFault(c)
	now := t.now()
	usual := map[string]string{
		"Date":          now.UTC().Format(http.TimeFormat), // of the same clock as X-RateLimit-Reset
		"Cache-Control": "no-store",
	}
	if a.ending != ofAProxy {
		t.describeRate(usual, c, now)
	}
	maps.Copy(usual, a.header)
	a.header = usual
	if a.ending == cut || a.ending == held {
		a.status = noAnswer
	}
	t.stats.finish(c, a.status)
	if c.login != nil && c.Context().Err() == nil { // a client that has left learns nothing
		t.stats.attempt(*c.login)
	}
	return a
}

// handled handles a call as if there were no faults.
func (t *Tenant) handled(c *call) answer {
	if !t.takeRate(c, t.now()) { // bad requests count, too
		return c.error(http.StatusTooManyRequests, "too_many_requests", "Global limit has been reached")
	}
	value, err := any(nil), error(nil)
	if c.management() {
		c.granted, err = t.authorized(c)
	}
	if err == nil && len(c.scopes) > 0 && !c.granted.any(c.scopes...) {
		err = insufficientScope(c.scopes...)
	}
	if err == nil {
		value, err = c.handle(t, c)
	}
	if err != nil {
		value = err
	}
	if a, ok := value.(answer); ok {
		return a
	}
	return jsonAnswer(c.success, value)
}

// authorized wants a Management API token.
func (t *Tenant) authorized(c *call) (scopes, error) {
	scheme, value, _ := strings.Cut(c.Header.Get("Authorization"), " ")
	issued, known := t.tokens[value]
	switch {
	case value == "" || !strings.EqualFold(scheme, "Bearer"):
		return nil, invalidToken("Missing authentication")
	case !known:
		return nil, invalidToken("Invalid token")
	case !t.now().Before(issued.until):
		return nil, invalidToken("Expired token received for JSON Web Token validation")
	}
	return issued.scopes, nil
}

// ofApplication makes a handler for requests about an application that there is.
func ofApplication(handle func(*Tenant, *call, *application) (any, error)) handler {
	return func(t *Tenant, c *call) (any, error) {
		app := t.apps[c.clientID]
		if app == nil {
			return nil, errNoSuchClient
		}
		defer func() { app.noteKeys(t.now(), t.propagation) }()
		return handle(t, c, app)
	}
}

func (t *Tenant) noSuchEndpoint(*call) (any, error) {
	return nil, apiError(http.StatusNotFound, "", "Not Found")
}

// send gives an answer, or ends the call without one.
func (t *Tenant) send(w http.ResponseWriter, c *call, a answer) {
	switch a.ending {
	case held:
		select {
		case <-c.Context().Done():
		case <-t.closing:
		}
		panic(http.ErrAbortHandler)
	case cut:
		panic(http.ErrAbortHandler)
	}
	if a.contentType == "" {
		a.contentType = "application/json; charset=utf-8"
	}
	w.Header().Set("Content-Type", a.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.status == http.StatusNoContent {
		w.Header().Del("Content-Length")
	}
	w.WriteHeader(a.status)
	if a.ending == cutOff {
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(a.body)
}

// jsonAnswer gives an answer with a value as JSON; nil: without a body.
func jsonAnswer(status int, value any) answer {
	if value == nil {
		return answer{status: status}
	}
	body, err := json.Marshal(value)
	if err != nil {
		panic(err) // nothing here has values that JSON lacks
	}
	return answer{status: status, body: body}
}

// apiError gives a Management API error:
//
//	{"statusCode":403,"error":"Forbidden","message":"...","errorCode":"insufficient_scope"}
func apiError(status int, code, message string) answer {
	body := map[string]any{"statusCode": status, "error": http.StatusText(status), "message": message}
	if code != "" {
		body["errorCode"] = code
	}
	return jsonAnswer(status, body)
}

// invalidToken gives the 401 of the Management API, which has no errorCode:
//
//	{"statusCode":401,"error":"Unauthorized","message":"Invalid token","attributes":{"error":"Invalid token"}}
func invalidToken(message string) error {
	return jsonAnswer(http.StatusUnauthorized, map[string]any{
		"statusCode": http.StatusUnauthorized, "error": http.StatusText(http.StatusUnauthorized), "message": message,
		"attributes": map[string]any{"error": message},
	})
}

// oauthError gives an error of /oauth/token:
//
//	{"error":"access_denied","error_description":"Unauthorized"}
func oauthError(status int, code, description string) answer {
	return jsonAnswer(status, map[string]any{"error": code, "error_description": description})
}

// error gives an error in the form of the endpoint that is called.
func (c *call) error(status int, code, message string) answer {
	if c.management() {
		return apiError(status, code, message)
	}
	return oauthError(status, cmp.Or(code, "server_error"), message)
}

var errNoSuchClient = apiError(http.StatusNotFound, "inexistent_client", "The client does not exist")

func insufficientScope(expected ...string) error {
	return apiError(http.StatusForbidden, "insufficient_scope",
		"Insufficient scope, expected any of: "+strings.Join(expected, ","))
}

func invalidBody(what string) error {
	return apiError(http.StatusBadRequest, "invalid_body", "Payload validation error: "+what)
}

// decode reads the body of a call.
func decode[T any](c *call) (value T, err error) {
	if json.Unmarshal(c.body, &value) != nil {
		return value, invalidBody("'Expected type object' on the body.")
	}
	return value, nil
}

// scopes are what a token may do, such as update:client_keys.
type scopes []string

func (s scopes) any(wanted ...string) bool {
	return slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(s, w) })
}
