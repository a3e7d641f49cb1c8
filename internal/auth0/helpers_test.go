package auth0

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	engineSecret = "engine-secret/with+signs & more"
	appID        = "app1234567890"
)

var quiet = log.New(io.Discard, "", 0)

// seen is one request that the fake tenant got.
type seen struct {
	method, uri, body string
	header            http.Header
}

// tenant is a TLS server that counts. It gives the tokens token-1, token-2 and
// so on; what it says to all else is up to the test.
type tenant struct {
	*httptest.Server
	mu     sync.Mutex
	tokens int
	asked  []seen // token requests
	calls  []seen // all other requests

	token  http.HandlerFunc // nil: a token for 24 hours
	scopes string           // of tokens, as a member of the answer
	api    http.HandlerFunc
}

func newTenant(t *testing.T, api http.HandlerFunc) *tenant {
	t.Helper()
	tn := &tenant{api: api}
	tn.grants(ScopeReadClients, ScopeUpdateClientKeys)
	tn.Server = httptest.NewUnstartedServer(tn)
	tn.Config.ErrorLog = quiet
	tn.StartTLS()
	t.Cleanup(tn.Close)
	return tn
}

func (tn *tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body)) // to be read by the test, too
	s := seen{r.Method, r.RequestURI, string(body), r.Header.Clone()}
	tn.mu.Lock()
	if r.URL.Path != "/oauth/token" {
		tn.calls = append(tn.calls, s)
		api := tn.api
		tn.mu.Unlock()
		api(w, r)
		return
	}
	tn.asked = append(tn.asked, s)
	tn.tokens++
	n, token, scopes := tn.tokens, tn.token, tn.scopes
	tn.mu.Unlock()
	if token != nil {
		token(w, r)
		return
	}
	reply(w, 200, fmt.Sprintf(`{"access_token":"token-%d",%s"expires_in":86400,"token_type":"Bearer"}`, n, scopes))
}

// offline is a client without a network, so that in a bubble of synctest a test has the
// clock to itself. It gets a token; its other requests are lost after a while.
func offline(t *testing.T, lose func(*http.Request)) *Client {
	t.Helper()
	c := newClient(t, Config{Domain: "tenant.auth0.com", ClientID: "engine", Secrets: []string{engineSecret}})
	c.once.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path != "/oauth/token" {
			lose(r)
			return nil, r.Context().Err()
		}
		w := httptest.NewRecorder()
		reply(w, 200, `{"access_token":"a-token","expires_in":86400,"token_type":"Bearer"}`)
		return w.Result(), nil
	})
	return c
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// grants sets the scopes of tokens from now on; none: the answer does not say.
func (tn *tenant) grants(scopes ...string) {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	tn.scopes = ""
	if scopes != nil {
		tn.scopes = fmt.Sprintf(`"scope":%q,`, strings.Join(scopes, " "))
	}
}

// on sets what the API says from now on.
func (tn *tenant) on(api http.HandlerFunc) {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	tn.api = api
}

// onToken sets what /oauth/token says from now on.
func (tn *tenant) onToken(token http.HandlerFunc) {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	tn.token = token
}

// counts says how many tokens were asked for, and how many calls were made.
func (tn *tenant) counts() (tokens, calls int) {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	return len(tn.asked), len(tn.calls)
}

func (tn *tenant) config() Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tn.Certificate().Raw})
	return Config{
		Domain: tn.Listener.Addr().String(), ClientID: "engine", Secrets: []string{engineSecret},
		CACert: string(ca), RequestTimeout: time.Minute, UserAgent: "engine/1.2.3",
	}
}

func (tn *tenant) client(t *testing.T) *Client { return newClient(t, tn.config()) }

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	require.NoError(t, err)
	c.retry.RetryWaitMin, c.retry.RetryWaitMax = time.Millisecond, time.Millisecond
	t.Cleanup(c.Close)
	return c
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func replies(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, status, body) }
}

// refusal is an error as Auth0 gives it.
func refusal(status int, code, message string) string {
	b, _ := json.Marshal(map[string]any{"statusCode": status, "error": http.StatusText(status), "message": message, "errorCode": code})
	return string(b)
}

// hangUp ends the connection without an answer.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// asError fails the test unless err is an *Error.
func asError(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	return e
}
