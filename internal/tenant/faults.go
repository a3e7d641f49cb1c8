package tenant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Endpoint says which requests a fault is for.
type Endpoint string

// The endpoints. AnyManagement are all under /api/v2, also those without a name
// here; Any (or "") adds Token.
const (
	Token             Endpoint = "token"
	ReadApplication   Endpoint = "read"
	UpdateApplication Endpoint = "update"
	RotateSecret      Endpoint = "rotate-secret"
	ListApplications  Endpoint = "list"
	ListCredentials   Endpoint = "list-credentials"
	CreateCredential  Endpoint = "create-credential"
	DeleteCredential  Endpoint = "delete-credential"
	AnyManagement     Endpoint = "management"
	Any               Endpoint = "any"
)

var endpoints = []Endpoint{
	"", Token, ReadApplication, UpdateApplication, RotateSecret, ListApplications,
	ListCredentials, CreateCredential, DeleteCredential, CreateApplication, DeleteApplication, CreateGrant, AnyManagement, Any,
}

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

// Slow is an answer that comes after Delay. The change is made then, too, even
// if the client has left meanwhile.
const Slow FaultKind = "slow"

// Headers puts Fault.Headers on the answer in place of its own: absurd rate
// limits, Retry-After, some MiB of anything. With a Status it is an error, and
// nothing is changed: 429 with Retry-After, 307 with Location. Without one it is
// the right answer, whatever that is.
const Headers FaultKind = "headers"

var (
	obstructions = []FaultKind{
		RateLimited, ServerError, TimeoutBeforeCommit, ResetBeforeCommit, HTMLFromProxy, UpgradeRequired, Echo,
	}
	spoilers = []FaultKind{
		ServerErrorAfterCommit, TimeoutAfterCommit, ResetAfterCommit,
		Truncated, Huge, NotJSON, EmptyAnswer, SecretMissingInAnswer,
	}
	faultKinds = slices.Concat(obstructions, spoilers, []FaultKind{Slow, Headers})
)

// committed says whether the fault is one of the answer only.
func (k FaultKind) committed() bool { return slices.Contains(spoilers, k) }

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
	Delay      time.Duration     // in real time before anything else happens, with any kind
}

// check says what is wrong with a fault.
func (f Fault) check() error {
	if !slices.Contains(endpoints, f.Endpoint) {
		return fmt.Errorf("unknown endpoint %q: it must be one of %q", f.Endpoint, endpoints[1:])
	}
	if !slices.Contains(faultKinds, f.Kind) {
		return fmt.Errorf("unknown kind %q: it must be one of %q", f.Kind, faultKinds)
	}
	if encodings[f.Encoding] == nil {
		return fmt.Errorf("unknown encoding %q: it must be one of %q", f.Encoding, slices.Sorted(maps.Keys(encodings))[1:])
	}
	if f.Times < 0 || f.RetryAfter < 0 || f.Delay < 0 || f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		return fmt.Errorf("a number is out of range")
	}
	return nil
}

// Inject switches a fault on. clear switches it off again, for requests that
// come later; it may be called more than once. Inject panics if the fault
// makes no sense.
func (t *Tenant) Inject(f Fault) (clear func()) {
	if err := f.check(); err != nil {
		panic("simulated tenant: " + err.Error())
	}
	added := t.faults.add(f)
	return func() { t.faults.remove(added) }
}

// ClearFaults switches all faults off, for requests that come later.
func (t *Tenant) ClearFaults() { t.faults.clear() }

// faults are those that are on, in the order of Inject.
type faults struct {
	mu   sync.Mutex
	list []*activeFault
}

type activeFault struct {
	Fault
	used int
}

func (s *faults) add(f Fault) *activeFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := &activeFault{Fault: f}
	s.list = append(s.list, added)
	return added
}

func (s *faults) remove(f *activeFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(other *activeFault) bool { return other == f })
}

func (s *faults) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = nil
}

// take gives the fault that a call meets, nil if none.
func (s *faults) take(c *call) *activeFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.list {
		if f.isFor(c) && (f.Times == 0 || f.used < f.Times) {
			f.used++
			return f
		}
	}
	return nil
}

// giveBack takes back that a call has met a fault.
func (s *faults) giveBack(f *activeFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.used--
}

func (f Fault) isFor(c *call) bool {
	if f.ClientID != "" && f.ClientID != c.clientID {
		return false
	}
	switch f.Endpoint {
	case "", Any:
		return c.management || c.endpoint == Token
	case AnyManagement:
		return c.management
	default:
		return f.Endpoint == c.endpoint
	}
}

// obstruct does what a fault before the commit does.
func (t *Tenant) obstruct(w http.ResponseWriter, c *call, f *activeFault) {
	switch f.Kind {
	case RateLimited:
		a := c.errorAnswer(http.StatusTooManyRequests, "too_many_requests", "Global limit has been reached")
		a.header = map[string]string{}
		if c.management {
			a.header["X-RateLimit-Remaining"] = "0"
			a.header["X-RateLimit-Reset"] = epoch(t.now().Add(max(f.RetryAfter, time.Second)))
		}
		if f.RetryAfter > 0 {
			a.header["Retry-After"] = strconv.Itoa(int((f.RetryAfter + time.Second - 1) / time.Second))
		}
		t.send(w, c, a)
	case ServerError:
		t.send(w, c, serverError(c, f))
	case HTMLFromProxy:
		status := f.statusOr(http.StatusBadGateway)
		proxied := *c
		proxied.management = false // a proxy knows nothing of the rate limit
		t.send(w, &proxied, answer{
			status:      status,
			contentType: "text/html; charset=utf-8",
			body: fmt.Appendf(nil, "<!DOCTYPE html>\n<html><head><title>%d</title></head><body><h1>%[1]d %s</h1><p>proxy.example.com</p></body></html>\n",
				status, http.StatusText(status)),
		})
	case UpgradeRequired:
		t.send(w, c, c.errorAnswer(http.StatusForbidden, "insufficient_scope", "Please upgrade your subscription to use this feature"))
	case Echo:
		t.send(w, c, echo(c, f))
	case Headers:
		a := c.errorAnswer(f.Status, "", http.StatusText(f.Status))
		a.header = f.Headers
		t.send(w, c, a)
	case TimeoutBeforeCommit:
		t.hold(w, c)
	default: // ResetBeforeCommit
		t.hangUp(w, c)
	}
}

// spoil handles a call and does to the answer what a fault after the commit
// does.
func (t *Tenant) spoil(w http.ResponseWriter, c *call, f *activeFault) {
	a := c.handle(c)
	if a.status/100 != 2 {
		t.faults.giveBack(f)
		t.stats.note(c.entry, "")
		t.send(w, c, a)
		return
	}
	a.count = nil
	switch f.Kind {
	case ServerErrorAfterCommit:
		t.send(w, c, serverError(c, f))
	case TimeoutAfterCommit:
		t.hold(w, c)
	case ResetAfterCommit:
		t.hangUp(w, c)
	case Truncated:
		t.stats.finish(c, a.status)
		t.writeHeader(w, c, a, len(a.body))
		_, _ = w.Write(a.body[:len(a.body)/2]) // the server closes the connection for it
	case Huge:
		a.body = changed(a.body, func(object map[string]any) { object["padding"] = string(bytes.Repeat([]byte("huge "), 8<<20/5)) })
		t.send(w, c, a)
	case NotJSON:
		a.body = []byte("this is not what you asked for")
		t.send(w, c, a)
	case EmptyAnswer:
		a.body = nil
		t.send(w, c, a)
	default: // SecretMissingInAnswer
		a.body = changed(a.body, func(object map[string]any) { delete(object, "client_secret") })
		t.send(w, c, a)
	}
}

func serverError(c *call, f *activeFault) answer {
	return c.errorAnswer(f.statusOr(http.StatusInternalServerError), "", "Something went wrong in the simulated tenant")
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
