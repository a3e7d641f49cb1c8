package auth0

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRequestsAreWhatAuth0Documents(t *testing.T) {
	tn := newTenant(t, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, fmt.Sprintf(`{"client_id":%q,"client_secret":"s3cret-new"}`, "a/b c"))
	})
	tn.grants(ScopeReadClientKeys, ScopeUpdateClientKeys)
	c := tn.client(t)

	_, err := c.Application(t.Context(), "a/b c")
	require.NoError(t, err)
	require.NoError(t, c.SetSecret(t.Context(), "a/b c", "s3cret-new"))
	secret, err := c.RotateSecret(t.Context(), "a/b c")
	require.NoError(t, err)
	assert.Equal(t, "s3cret-new", secret)

	require.Len(t, tn.asked, 1)
	form, err := url.ParseQuery(tn.asked[0].body)
	require.NoError(t, err)
	assert.Equal(t, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"engine"}, "client_secret": {engineSecret},
		"audience": {"https://" + tn.Listener.Addr().String() + "/api/v2/"},
	}, form)
	assert.Empty(t, tn.asked[0].header.Get("Authorization"))
	assert.Equal(t, "engine/1.2.3", tn.asked[0].header.Get("User-Agent"))

	require.Len(t, tn.calls, 3)
	get, patch, post := tn.calls[0], tn.calls[1], tn.calls[2]
	assert.Equal(t, "GET", get.method)
	path, query, _ := strings.Cut(get.uri, "?")
	assert.Equal(t, "/api/v2/clients/a%2Fb%20c", path)
	fields, err := url.ParseQuery(query)
	require.NoError(t, err)
	assert.Equal(t, url.Values{"include_fields": {"true"}, "fields": {strings.Join(applicationFields, ",")}}, fields)

	assert.Equal(t, "PATCH", patch.method)
	assert.Equal(t, "/api/v2/clients/a%2Fb%20c", patch.uri)
	assert.Equal(t, "application/json", patch.header.Get("Content-Type"))
	assert.JSONEq(t, `{"client_secret":"s3cret-new"}`, patch.body)

	assert.Equal(t, "POST", post.method)
	assert.Equal(t, "/api/v2/clients/a%2Fb%20c/rotate-secret", post.uri)
	assert.Empty(t, post.body)
	assert.Equal(t, "0", post.header.Get("Content-Length"))
	for _, s := range tn.calls {
		assert.Equal(t, "Bearer token-1", s.header.Get("Authorization"))
		assert.Equal(t, "engine/1.2.3", s.header.Get("User-Agent"))
	}
}

func TestCustomAudience(t *testing.T) {
	tn := newTenant(t, nil)
	cfg := tn.config()
	cfg.Audience = "https://tenant.eu.auth0.com/api/v2/"
	_, err := newClient(t, cfg).Grant(t.Context())
	require.NoError(t, err)
	assert.Contains(t, tn.asked[0].body, url.QueryEscape(cfg.Audience))
}

func TestApplicationTellsAbsentFromEmpty(t *testing.T) {
	tn := newTenant(t, replies(200, `{"client_id":"app1234567890"}`))
	tn.grants(ScopeReadClientKeys)
	c := tn.client(t)

	app, err := c.Application(t.Context(), appID)
	require.NoError(t, err)
	assert.Equal(t, Application{ClientID: appID, Hidden: []string{}}, *app)

	tn.on(replies(200, `{"client_id":"app1234567890","name":"Shop","app_type":"regular_web","global":false,"is_first_party":true,
		"token_endpoint_auth_method":null,"client_authentication_methods":{"private_key_jwt":{"credentials":[]}},
		"jwt_configuration":{"alg":"HS256","secret_encoded":false,"lifetime_in_seconds":36000},
		"grant_types":[],"client_secret":"hidden-value","unknown":[1]}`))
	app, err = c.Application(t.Context(), appID)
	require.NoError(t, err)
	yes, no, secret := true, false, "hidden-value"
	assert.Equal(t, Application{
		ClientID: appID, Name: "Shop", AppType: "regular_web", Global: &no, IsFirstParty: &yes,
		ClientAuthenticationMethods: map[string]json.RawMessage{"private_key_jwt": json.RawMessage(`{"credentials":[]}`)},
		JWTConfiguration:            &JWTConfiguration{Alg: "HS256", SecretEncoded: &no},
		ClientSecret:                &secret, Hidden: []string{},
	}, *app)
}

func TestRotateSecretThatTheTokenMayNotRead(t *testing.T) {
	tn := newTenant(t, replies(200, `{"client_id":"app1234567890"}`))
	secret, err := tn.client(t).RotateSecret(t.Context(), appID)
	require.NoError(t, err)
	assert.Empty(t, secret)
}

func TestNothingIsSentForSenselessArguments(t *testing.T) {
	tn := newTenant(t, replies(200, `{}`))
	c := tn.client(t)
	for _, id := range []string{"", ".", ".."} {
		_, err := c.Application(t.Context(), id)
		assert.Equal(t, Refused, ClassOf(err), id)
		_, err = c.RotateSecret(t.Context(), id)
		assert.Equal(t, Refused, ClassOf(err), id)
		assert.Equal(t, Refused, ClassOf(c.SetSecret(t.Context(), id, "s")), id)
	}
	for _, secret := range []string{"", "not\xffutf8"} {
		err := c.SetSecret(t.Context(), appID, secret)
		require.EqualError(t, err, "set secret: not sent: the secret is empty or not UTF-8")
	}
	tokens, calls := tn.counts()
	assert.Zero(t, tokens+calls)
}

// All three calls, for what is true of each of them.
func eachCall(ctx context.Context, c *Client) map[string]error {
	_, get := c.Application(ctx, appID)
	set := c.SetSecret(ctx, appID, "s3cret-new")
	_, rotate := c.RotateSecret(ctx, appID)
	return map[string]error{"get application": get, "set secret": set, "rotate secret": rotate}
}

func TestOnlyAuth0sOwnWordIsARefusal(t *testing.T) {
	html := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html>blocked</html>"))
		}
	}
	tests := map[string]struct {
		api     http.HandlerFunc
		class   Class
		status  int
		code    string
		message string
	}{
		"403":                      {replies(403, refusal(403, "operation_not_supported", "no")), Refused, 403, "operation_not_supported", reasonNotSupported},
		"subscription":             {replies(403, refusal(403, "insufficient_scope", "Please upgrade your subscription")), Refused, 403, codeSubscription, reasonSubscription},
		"404":                      {replies(404, refusal(404, "inexistent_client", "The client does not exist")), Refused, 404, "inexistent_client", reasonUnknownApp},
		"400 without errorCode":    {replies(400, `{"statusCode":400,"error":"Bad Request","message":"m"}`), Refused, 400, "", ""},
		"HTML 403":                 {html(403), Ambiguous, 403, "", ReasonNotAuth0},
		"HTML 404":                 {html(404), Ambiguous, 404, "", ReasonNotAuth0},
		"HTML 401":                 {html(401), Ambiguous, 401, "", ReasonNotAuth0},
		"a gateway's JSON":         {replies(403, `{"message":"Forbidden"}`), Ambiguous, 403, "", ReasonNotAuth0},
		"JSON for another status":  {replies(403, refusal(404, "inexistent_client", "m")), Ambiguous, 403, "", ReasonNotAuth0},
		"empty 404":                {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, Ambiguous, 404, "", ReasonNotAuth0},
		"408":                      {replies(408, refusal(408, "timeout", "m")), Ambiguous, 408, "", reasonItsFault},
		"500":                      {replies(500, refusal(500, "oops", "m")), Ambiguous, 500, "", reasonItsFault},
		"HTML 503":                 {html(503), Ambiguous, 503, "", ReasonNotAuth0},
		"200 that is HTML":         {html(200), Ambiguous, 200, "", "the answer is not a client object"},
		"200 null":                 {replies(200, "null"), Ambiguous, 200, "", "the answer is not a client object"},
		"200 empty":                {replies(200, ""), Ambiguous, 200, "", "the answer is not a client object"},
		"200 cut short":            {replies(200, `{"client_id":"app123`), Ambiguous, 200, "", "the answer is not a client object"},
		"200 about another client": {replies(200, `{"client_id":"other"}`), Ambiguous, 200, "", "the answer is about another client"},
		"200 too long":             {replies(200, `{"client_id":"app1234567890"}`+strings.Repeat(" ", maxBody)), Ambiguous, 200, "", reasonTooLong},
		"4xx too long":             {replies(404, refusal(404, "inexistent_client", "m")+strings.Repeat(" ", maxBody)), Ambiguous, 404, "", reasonTooLong},
		"200 whose connection broke": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "999")
			reply(w, 200, `{}`)
		}, Ambiguous, 200, "", reasonUnreadable},
		"4xx whose connection broke": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "999")
			reply(w, 404, refusal(404, "inexistent_client", "m"))
		}, Ambiguous, 404, "", reasonUnreadable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for op, err := range eachCall(t.Context(), newTenant(t, tt.api).client(t)) {
				e := asError(t, err)
				assert.Equal(t, tt.class.String(), e.Class.String(), op)
				assert.Equal(t, Error{Class: tt.class, Op: op, Status: tt.status, Code: tt.code, Message: tt.message, cause: e.cause}, *e)
			}
		})
	}
}

func TestSetSecretAnsweredWithAnotherSecretIsAmbiguous(t *testing.T) {
	tn := newTenant(t, replies(200, `{"client_id":"app1234567890","client_secret":"someone-elses"}`))
	err := tn.client(t).SetSecret(t.Context(), appID, "mine-mine-mine")
	require.EqualError(t, err, "set secret: no clear answer from Auth0 (200): the answer has another secret than the one that was sent")
	assert.Equal(t, Ambiguous, ClassOf(err))
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/?x=1", http.StatusTemporaryRedirect)
	}
	tn := newTenant(t, redirect)
	c := tn.client(t)
	for op, err := range eachCall(t.Context(), c) {
		e := asError(t, err)
		assert.Equal(t, Ambiguous, e.Class, op)
		assert.Equal(t, 307, e.Status, op)
		assert.Equal(t, ReasonRedirected, e.Message, op)
	}
	tn.onToken(redirect)
	_, err := tn.client(t).Grant(t.Context())
	assert.Equal(t, Ambiguous, ClassOf(err))
	assert.Zero(t, elsewhere.Load())
}

// What may not be sent again is not, and what may be is, but not for ever.
func TestWritesAreSentOnceReadsAgain(t *testing.T) {
	for name, fails := range map[string]http.HandlerFunc{
		"connection lost": hangUp,
		"503":             replies(503, refusal(503, "", "down")),
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTenant(t, replies(200, `{}`))
			c := tn.client(t)
			// A connection that has been used before: only on such a one would
			// net/http itself send again.
			_, err := c.Application(t.Context(), appID)
			require.NoError(t, err)
			tn.on(fails)
			sent := func(call func() error) int {
				_, before := tn.counts()
				assert.Equal(t, Ambiguous, ClassOf(call()))
				_, after := tn.counts()
				return after - before
			}
			once := func(call func() error) {
				t.Helper()
				tn.on(replies(200, `{}`))
				_, err := c.Application(t.Context(), appID)
				require.NoError(t, err)
				tn.on(fails)
				assert.Equal(t, 1, sent(call))
			}
			once(func() error { _, err := c.RotateSecret(t.Context(), appID); return err })
			once(func() error { return c.SetSecret(t.Context(), appID, "s3cret-new") })
			got := sent(func() error { _, err := c.Application(t.Context(), appID); return err })
			assert.Equal(t, 1+retryMax, got)
		})
	}
}

func TestReadSucceedsAfterAPassingFailure(t *testing.T) {
	var n atomic.Int32
	tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1:
			hangUp(w, r)
		case 2:
			w.Header().Set("Retry-After", "3600") // not obeyed: the waits are short
			reply(w, 503, "")
		default:
			reply(w, 200, `{"client_id":"app1234567890"}`)
		}
	})
	_, err := tn.client(t).Application(t.Context(), appID)
	require.NoError(t, err)
}

func TestToAnUntrustedCertificateNothingIsSent(t *testing.T) {
	tn := newTenant(t, replies(200, `{}`))
	var dials atomic.Int32
	cfg := tn.config()
	cfg.CACert = otherCA(t)
	c := newClient(t, cfg)
	tr := c.once.Transport.(*transport)
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, addr)
	}
	_, err := c.Grant(t.Context())
	e := asError(t, err)
	assert.Equal(t, Refused, e.Class)
	assert.Equal(t, 0, e.Status)
	assert.Equal(t, ReasonUnknownCA, e.Message)
	assert.EqualValues(t, 1, dials.Load())
}

// otherCA is a root that has signed nothing here.
func otherCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestRequestTimeoutBoundsTheBodyToo(t *testing.T) {
	release := make(chan struct{})
	tn := newTenant(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		reply(w, 200, `{`)
		w.(http.Flusher).Flush()
		<-release
	})
	defer close(release)
	c := tn.client(t)
	_, err := c.Grant(t.Context())
	require.NoError(t, err)
	c.once.Timeout = 300 * time.Millisecond // of RequestTimeout; the token may take longer on a busy machine
	err = c.SetSecret(t.Context(), appID, "s3cret-new")
	assert.Equal(t, Ambiguous, ClassOf(err))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestAReadThatTimesOutIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := offline(t, func(r *http.Request) { calls++; <-r.Context().Done() })
		start := time.Now()
		_, err := c.Application(t.Context(), appID)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, Ambiguous, ClassOf(err))
		assert.Equal(t, 1, calls)
		assert.Equal(t, defaultRequestTimeout, time.Since(start))
	})
}

func TestContextEndsACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var leave context.CancelFunc
		c := offline(t, func(r *http.Request) { leave(); <-r.Context().Done() })
		ctx, cancel := context.WithCancel(t.Context())
		leave = cancel
		err := c.SetSecret(ctx, appID, "s3cret-new")
		require.EqualError(t, err, "set secret: no clear answer from Auth0: the request was given up")
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, Ambiguous, ClassOf(err))

		leave = func() {}
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = c.Application(ctx, appID)
		require.EqualError(t, err, "get application: no clear answer from Auth0: no answer in time")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestNothingPrintsASecret(t *testing.T) {
	const hidden = "hidden-value"
	s := hidden
	app := Application{ClientID: appID, ClientSecret: &s}
	cfg := Config{Domain: "tenant.auth0.com", ClientID: "engine", Secrets: []string{hidden}}
	c, err := New(cfg)
	require.NoError(t, err)
	c.tokens.cur = newToken(hidden, nil, time.Now(), time.Hour)
	for name, v := range map[string]any{"Application": app, "*Application": &app, "Config": cfg, "*Config": &cfg, "*Client": c, "in a struct": struct {
		A *Application
		B Application
		c *Client
	}{&app, app, c}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			out := fmt.Sprintf(verb, v)
			assert.NotContains(t, out, hidden, "%s of %s", verb, name)
			assert.NotContains(t, out, fmt.Sprintf("%x", hidden), "%s of %s", verb, name)
		}
		if name != "in a struct" && name != "*Client" {
			out, err := json.Marshal(v)
			require.NoError(t, err)
			assert.NotContains(t, string(out), hidden, name)
		}
	}
	assert.Contains(t, app.String(), "[redacted]")
	assert.Equal(t, app.String(), fmt.Sprintf("%#v", &app))
	assert.Contains(t, Application{}.String(), "ClientSecret:unknown")
	for _, json := range []bool{false, true} {
		var out bytes.Buffer
		log := hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Trace, JSONFormat: json})
		log.Info("x", "app", app, "pointer", &app, "config", cfg)
		assert.NotContains(t, out.String(), hidden)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for _, domain := range []string{"", "https://t.auth0.com", "t.auth0.com/", "t.auth0.com/x", "u:p@t.auth0.com", "t.auth0.com?x", "t .auth0.com", ":443"} {
		_, err := New(Config{Domain: domain})
		assert.Error(t, err, domain)
	}
	_, err := New(Config{Domain: "t.auth0.com", CACert: "not PEM"})
	require.EqualError(t, err, "auth0: the CA certificate has no usable PEM certificate")
	_, err = New(Config{Domain: "t.auth0.com:8443"})
	require.NoError(t, err)
}
