package tenant

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	controlPrefix = "/_simulation/"
	apiPrefix     = "/api/v2/"
	maxBody       = 1 << 20 // bytes
)

// call is one request and where it goes.
type call struct {
	r          *http.Request
	body       []byte
	endpoint   Endpoint // "": none that a fault can name by itself
	management bool     // under /api/v2, that is with rate limit and journal
	pattern    string   // such as /api/v2/clients/{id}, for the counts
	clientID   string   // of the application it is about
	token      tokenRequest
	handle     func(*call) answer
	entry      *Entry // nil: not in the journal
}

// answer is what a call is answered with.
type answer struct {
	status      int
	contentType string
	header      map[string]string // on top of the usual ones
	body        []byte
	count       func() // what it adds to the counts if it is given as it is; may be nil
}

// serve is the tenant's HTTP handler.
func (t *Tenant) serve(w http.ResponseWriter, r *http.Request) {
	if !t.enter() {
		panic(http.ErrAbortHandler)
	}
	defer t.running.Done()
	if strings.HasPrefix(r.URL.Path, controlPrefix) {
		t.control.ServeHTTP(w, r)
		return
	}

	// The whole body is read at once: only then does net/http notice that the
	// client leaves, and a fault after the commit has all it needs.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	c := t.route(r, body)
	if c.management {
		c.entry = t.stats.enter(Entry{At: t.now(), Method: r.Method, Path: r.URL.Path, ClientID: c.clientID})
	}

	fault := t.faults.take(c)
	if fault != nil {
		t.stats.note(c.entry, fault.Kind)
		if !t.pause(fault.Delay) {
			t.hangUp(w, c)
			return
		}
	}
	switch {
	case t.isDown():
		t.hangUp(w, c)
	case fault == nil || fault.Kind == Slow:
		t.send(w, c, c.handle(c))
	case fault.Kind == Headers && fault.Status == 0:
		a := c.handle(c)
		if a.header == nil {
			a.header = map[string]string{}
		}
		maps.Copy(a.header, fault.Headers)
		t.send(w, c, a)
	case fault.Kind.committed():
		t.spoil(w, c, fault)
	default:
		t.obstruct(w, c, fault)
	}
}

// route finds what handles a request.
func (t *Tenant) route(r *http.Request, body []byte) *call {
	c := &call{r: r, body: body, pattern: "other", handle: t.noSuchEndpoint}
	if r.URL.Path == "/oauth/token" {
		c.pattern = r.URL.Path
		if r.Method == http.MethodPost {
			c.endpoint, c.handle = Token, t.issueToken
			c.token = readTokenRequest(r, body)
			c.clientID = c.token.clientID
		}
		return c
	}
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), apiPrefix)
	if !ok {
		t.routeLogin(c)
		return c
	}
	c.management, c.pattern = true, apiPrefix+"other"
	c.handle = t.withToken(func(*call, scopes) answer { return t.noSuchEndpoint(c) })

	parts := strings.Split(rest, "/")
	if t.routeCreation(c, parts) || parts[0] != "clients" || len(parts) > 4 {
		return c
	}
	if len(parts) > 1 {
		id, err := url.PathUnescape(parts[1])
		if err != nil || id == "" {
			return c
		}
		c.clientID = id
	}
	switch {
	case len(parts) == 1:
		c.pattern = apiPrefix + "clients"
		if r.Method == http.MethodGet {
			c.endpoint, c.handle = ListApplications, t.withToken(t.listApplications)
		}
	case len(parts) == 2:
		c.pattern = apiPrefix + "clients/{id}"
		switch r.Method {
		case http.MethodGet:
			c.endpoint, c.handle = ReadApplication, t.withToken(t.readApplication)
		case http.MethodPatch:
			c.endpoint, c.handle = UpdateApplication, t.withToken(t.updateApplication)
		}
	case parts[2] == "credentials":
		t.routeCredentials(c, parts[3:])
	case parts[2] == "rotate-secret" && len(parts) == 3:
		c.pattern = apiPrefix + "clients/{id}/rotate-secret"
		if r.Method == http.MethodPost {
			c.endpoint, c.handle = RotateSecret, t.withToken(t.rotateSecret)
		}
	}
	return c
}

// send gives an answer. It is counted first: who has it finds it in the counts.
func (t *Tenant) send(w http.ResponseWriter, c *call, a answer) {
	t.stats.finish(c, a.status)
	if a.count != nil && c.r.Context().Err() == nil { // a client that has left learns nothing
		a.count()
	}
	t.writeHeader(w, c, a, len(a.body))
	_, _ = w.Write(a.body)
}

func (t *Tenant) writeHeader(w http.ResponseWriter, c *call, a answer, length int) {
	h, now := w.Header(), t.now()
	h.Set("Date", now.UTC().Format(http.TimeFormat)) // of the same clock as X-RateLimit-Reset
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(length))
	h.Set("Cache-Control", "no-store")
	if c.management {
		t.limits.describe(h, c.endpoint, now)
	}
	for name, value := range a.header {
		h.Set(name, value)
	}
	w.WriteHeader(a.status)
}

// hangUp ends a call without an answer.
func (t *Tenant) hangUp(w http.ResponseWriter, c *call) {
	t.stats.finish(c, noAnswer)
	cut(w)
}

// hold leaves a call without an answer until the client leaves or Close.
func (t *Tenant) hold(w http.ResponseWriter, c *call) {
	t.stats.finish(c, noAnswer)
	select {
	case <-c.r.Context().Done():
	case <-t.closing:
	}
	cut(w)
}

// pause waits, in real time, also for a client that has left: what it has sent
// is on its way. False if the tenant closes meanwhile.
func (t *Tenant) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.closing:
		return false
	}
}

func (t *Tenant) noSuchEndpoint(*call) answer {
	return apiError(http.StatusNotFound, "", "Not Found")
}

// jsonAnswer gives an answer with a value as JSON.
func jsonAnswer(status int, value any) answer {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err) // nothing here has values that JSON lacks
	}
	return answer{status: status, contentType: "application/json; charset=utf-8", body: body}
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
func invalidToken(message string) answer {
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

// errorAnswer gives an error in the form of the endpoint that is called.
func (c *call) errorAnswer(status int, code, message string) answer {
	if c.management {
		return apiError(status, code, message)
	}
	if code == "" {
		code = "server_error"
	}
	return oauthError(status, code, message)
}
