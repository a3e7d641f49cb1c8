package tenant

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Endpoint is a pattern of http.ServeMux, such as GET /api/v2/clients/{id}.
type Endpoint string

// Endpoints that faults are for. AnyManagement are all under /api/v2; Any is the
// same, Token and Revoke.
const (
	Any               Endpoint = ""
	AnyManagement     Endpoint = apiPrefix
	Token             Endpoint = "POST /oauth/token"
	Revoke            Endpoint = "POST /oauth/revoke"
	ListApplications  Endpoint = "GET /api/v2/clients"
	CreateApplication Endpoint = "POST /api/v2/clients"
	ReadApplication   Endpoint = "GET /api/v2/clients/{id}"
	UpdateApplication Endpoint = "PATCH /api/v2/clients/{id}"
	RotateSecret      Endpoint = "POST /api/v2/clients/{id}/rotate-secret"
	CreateCredential  Endpoint = "POST /api/v2/clients/{id}/credentials"
	DeleteCredential  Endpoint = "DELETE /api/v2/clients/{id}/credentials/{credential}"
)

// FaultKind says what goes wrong.
type FaultKind string

// Faults where nothing is changed and no token issued.
const (
	RateLimited         FaultKind = "rate-limited"          // 429, with Retry-After if RetryAfter is set
	ServerError         FaultKind = "server-error"          // JSON with Status, 500 if that is 0
	TimeoutBeforeCommit FaultKind = "timeout-before-commit" // no answer until the client leaves or Close
	ResetBeforeCommit   FaultKind = "reset-before-commit"   // the connection is cut
	HTMLFromProxy       FaultKind = "html-from-proxy"       // text/html with Status, 502 if that is 0
	UpgradeRequired     FaultKind = "upgrade-required"      // 403: not part of the tenant's subscription
	Echo                FaultKind = "echo"                  // an error with Status, 400 if that is 0, that quotes the request
)

// Faults of the answer: the change is made, the token issued. They are met only
// by requests that would be answered with 2xx; others do not use up Times.
const (
	ServerErrorAfterCommit FaultKind = "server-error-after-commit" // as ServerError
	TimeoutAfterCommit     FaultKind = "timeout-after-commit"
	ResetAfterCommit       FaultKind = "reset-after-commit"
	Truncated              FaultKind = "truncated"                // half the body that Content-Length promises
	Huge                   FaultKind = "huge"                     // the right JSON object with 8 MiB more in it
	NotJSON                FaultKind = "not-json"                 // said to be JSON, but is not
	EmptyAnswer            FaultKind = "empty-answer"             // no body
	SecretMissingInAnswer  FaultKind = "secret-missing-in-answer" // no client_secret in the object
)

// Headers puts Fault.Headers on the answer in place of its own: absurd rate
// limits, Retry-After, some MiB of anything. With a Status it is an error, and
// nothing is changed: 429 with Retry-After, 307 with Location. Without one it is
// the right answer, whatever that is.
const Headers FaultKind = "headers"

var spoilers = []FaultKind{
	ServerErrorAfterCommit, TimeoutAfterCommit, ResetAfterCommit,
	Truncated, Huge, NotJSON, EmptyAnswer, SecretMissingInAnswer,
}

// Fault is something that goes wrong, for the requests that it is for. If
// several fit, the first that was injected is met, and only that.
type Fault struct {
	Endpoint   Endpoint          // default Any
	ClientID   string            // of the application that the request is about, or that logs in; "": all
	Kind       FaultKind         // required
	Times      int               // how many requests meet it; 0: all until it is cleared
	Status     int               // ServerError, ServerErrorAfterCommit, HTMLFromProxy, Echo, Headers only; 0: see there
	RetryAfter time.Duration     // RateLimited only, rounded up to seconds; 0: no Retry-After
	Encoding   Encoding          // Echo only; "": Plain
	Headers    map[string]string // Headers only
}

type activeFault struct {
	Fault
	used int
}

// Inject switches a fault on. clear switches it off again, for requests that
// come later; it may be called more than once.
func (t *Tenant) Inject(f Fault) (clear func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	added := &activeFault{Fault: f}
	t.faults = append(t.faults, added)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.faults = slices.DeleteFunc(t.faults, func(other *activeFault) bool { return other == added })
	}
}

// ClearFaults switches all faults off, for requests that come later.
func (t *Tenant) ClearFaults() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = nil
}

func (f *activeFault) isFor(c *call) bool {
	if f.Times > 0 && f.used >= f.Times || f.ClientID != "" && f.ClientID != c.clientID {
		return false
	}
	switch f.Endpoint {
	case Any:
		return c.management() || c.endpoint == Token || c.endpoint == Revoke
	case AnyManagement:
		return c.management()
	default:
		return f.Endpoint == c.endpoint
	}
}

// answerOrFault handles a call, with the fault that it meets if there is one.
func (t *Tenant) answerOrFault(c *call) answer {
	i := slices.IndexFunc(t.faults, func(f *activeFault) bool { return f.isFor(c) })
	if i < 0 {
		return t.handled(c)
	}
	f := t.faults[i]
	if slices.Contains(spoilers, f.Kind) {
		a := t.handled(c)
		if a.status/100 != 2 {
			return a
		}
		f.used++
		c.login = nil
		return f.spoil(c, a)
	}
	f.used++
	if f.Kind == Headers && f.Status == 0 {
		a := t.handled(c)
		a.header = f.Headers
		return a
	}
	return f.obstruct(t, c)
}

// obstruct is the answer in place of the right one. Nothing has happened.
func (f *activeFault) obstruct(t *Tenant, c *call) answer {
	switch f.Kind {
	case RateLimited:
		a := c.error(http.StatusTooManyRequests, "too_many_requests", "Global limit has been reached")
		a.header = map[string]string{}
		if c.management() {
			a.header[headerRemaining], a.header[headerReset] = "0", epoch(t.now().Add(max(f.RetryAfter, time.Second)))
		}
		if f.RetryAfter > 0 {
			a.header["Retry-After"] = strconv.Itoa(int((f.RetryAfter + time.Second - 1) / time.Second))
		}
		return a
	case HTMLFromProxy:
		status := f.statusOr(http.StatusBadGateway)
		return answer{
			status: status, contentType: "text/html; charset=utf-8", ending: ofAProxy,
			body: fmt.Appendf(nil, "<!DOCTYPE html>\n<html><head><title>%d</title></head><body><h1>%[1]d %s</h1><p>proxy.example.com</p></body></html>\n",
				status, http.StatusText(status)),
		}
	case UpgradeRequired:
		return c.error(http.StatusForbidden, "insufficient_scope", "Please upgrade your subscription to use this feature")
	case Echo:
		encode := encodings[f.Encoding]
		return c.error(f.statusOr(http.StatusBadRequest), "invalid_request", fmt.Sprintf("Cannot process %s of %s",
			encode(string(c.body)), encode(c.Header.Get("Authorization"))))
	case Headers:
		a := c.error(f.Status, "", http.StatusText(f.Status))
		a.header = f.Headers
		return a
	case TimeoutBeforeCommit:
		return answer{ending: held}
	case ResetBeforeCommit:
		return answer{ending: cut}
	default: // ServerError
		return f.serverError(c)
	}
}

// spoil changes the right answer. What was asked for has happened.
func (f *activeFault) spoil(c *call, a answer) answer {
	switch f.Kind {
	case ServerErrorAfterCommit:
		return f.serverError(c)
	case TimeoutAfterCommit:
		a.ending = held
	case ResetAfterCommit:
		a.ending = cut
	case Truncated:
		a.ending = cutOff
	case Huge:
		a.body = changed(a.body, func(object map[string]any) { object["padding"] = strings.Repeat("huge ", 8<<20/5) })
	case NotJSON:
		a.body = []byte("this is not what you asked for")
	case EmptyAnswer:
		a.body = nil
	default: // SecretMissingInAnswer
		a.body = changed(a.body, func(object map[string]any) { delete(object, "client_secret") })
	}
	return a
}

func (f *activeFault) serverError(c *call) answer {
	return c.error(f.statusOr(http.StatusInternalServerError), "", "Something went wrong in the simulated tenant")
}

func (f *activeFault) statusOr(otherwise int) int {
	if f.Status != 0 {
		return f.Status
	}
	return otherwise
}

// changed gives a JSON object with a change; any other value as it is.
func changed(body []byte, change func(map[string]any)) []byte {
	var object map[string]any
	if json.Unmarshal(body, &object) != nil || object == nil {
		return body
	}
	change(object)
	return jsonAnswer(http.StatusOK, object).body
}

// Encoding is how the fault Echo writes what it was sent.
type Encoding string

// The encodings. Those that escape do so with every character, as none forbids
// it: an escape that leaves alphanumerics alone would hide no secret.
const (
	Plain        Encoding = "plain" // the default
	JSONEscaped  Encoding = "json"
	Base64       Encoding = "base64"
	Hex          Encoding = "hex"
	URLEscaped   Encoding = "url"
	HTMLEntities Encoding = "html"
	CutOff       Encoding = "cut-off" // the first three quarters: most of a secret
	Reversed     Encoding = "reversed"
)

var encodings = map[Encoding]func(string) string{
	"":           strings.Clone,
	Plain:        strings.Clone,
	JSONEscaped:  func(s string) string { return each(`\u%04x`, s) },
	Base64:       func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	Hex:          func(s string) string { return hex.EncodeToString([]byte(s)) },
	URLEscaped:   func(s string) string { return each("%%%02X", s) },
	HTMLEntities: func(s string) string { return each("&#%d;", s) },
	CutOff:       func(s string) string { return s[:len(s)*3/4] },
	Reversed: func(s string) string {
		runes := []rune(s)
		slices.Reverse(runes)
		return string(runes)
	},
}

// each formats every byte.
func each(format, s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}
