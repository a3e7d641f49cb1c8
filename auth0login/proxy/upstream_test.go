package proxy

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/tenant"
)

func recorded(handler http.Handler, r *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, r)
	return answer
}

// TestAnswersArePassedOnAsTheyAre, whatever they are, after one attempt.
func TestAnswersArePassedOnAsTheyAre(t *testing.T) {
	asked := 0
	var status int
	var body string
	w := newWorldBefore(t, func(rw http.ResponseWriter, _ *http.Request) {
		asked++
		rw.Header().Set("Retry-After", "7")
		rw.Header().Set("Location", "https://elsewhere.example.com/oauth/token")
		rw.Header().Set("X-Anything", "as it is")
		rw.Header().Set("Content-Type", "text/plain")
		rw.Header().Set("Keep-Alive", "timeout=5")
		rw.WriteHeader(status)
		if status != 204 && status != 304 {
			_, _ = io.WriteString(rw, body)
		}
	}, "first-secret", "second-secret")
	bodies := []string{
		``, `{}`, `null`, `{"error":5}`, `<html>Unauthorized</html>`, `{"error":"access_denied"`, strings.Repeat("long ", 100_000),
		`{"error":"invalid_request"}`, `{"error":"unauthorized_client"}`, `{"error":"invalid_grant"}`, `{"error":"too_many_requests"}`,
	}
	for _, status = range []int{200, 201, 204, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 429, 500, 502, 503, 504, 599} {
		for _, body = range bodies {
			asked = 0
			got := w.post("/oauth/token", w.form(local))
			require.Equal(t, status, got.status)
			if status != 204 && status != 304 {
				require.Equal(t, body, got.body)
			}
			require.Equal(t, 1, asked, "%d %.30s", status, body)
			require.Equal(t, "7", got.header.Get("Retry-After"))
			require.Equal(t, "https://elsewhere.example.com/oauth/token", got.header.Get("Location"))
			require.Equal(t, "as it is", got.header.Get("X-Anything"))
			if status != 304 { // net/http sends none then
				require.Equal(t, "text/plain", got.header.Get("Content-Type"))
			}
			require.Empty(t, got.header.Get("Keep-Alive"), "it is about the one connection")
		}
	}
	for _, status = range []int{400, 429, 500, 503} {
		asked, body = 0, `{"error":"access_denied"}`
		require.Equal(t, status, w.post("/oauth/token", w.form(local)).status)
		require.Equal(t, 1, asked, "no refusal of the secret")
		asked, body = 0, `{"error":"invalid_client"}`
		require.Equal(t, status, w.post("/oauth/token", w.form(local)).status)
		require.Equal(t, map[bool]int{true: 4, false: 1}[status == 400], asked, "it is one with 400")
	}
}

// TestAuth0Down: the application is told so, and all is well when it is back.
func TestAuth0Down(t *testing.T) {
	w := newWorld(t)
	w.logIn(1)
	w.tenant.SetDown(true)
	got := w.post("/oauth/token", w.form(local))
	assert.Equal(t, 502, got.status)
	assert.Equal(t, "temporarily_unavailable", got.field("error"))
	assert.Equal(t, 502, w.do(w.request("GET", "/authorize", "")).status)
	w.tenant.SetDown(false)
	w.logIn(1)
	w.tenant.Close()
	for range 5 { // the first ones may find a connection that was open
		assert.Equal(t, 502, w.post("/oauth/token", w.form(local)).status)
	}
	assert.Contains(t, w.logs.String(), "connection refused")
}

// TestASlowAuth0: the application gets an answer in time.
func TestASlowAuth0(t *testing.T) {
	asked, gone := make(chan struct{}, 1), make(chan struct{}, 1)
	handler := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path != "/oauth/revoke" {
			<-r.Context().Done()
			return
		}
		asked <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	}
	w := newWorldBefore(t, handler, "first-secret", "second-secret")
	w.proxy.upstream.ResponseHeaderTimeout = time.Millisecond
	got := w.post("/oauth/token", w.form(local))
	assert.Equal(t, 504, got.status)
	assert.Equal(t, "temporarily_unavailable", got.field("error"))
	w = newWorldBefore(t, handler, "first-secret", "second-secret")
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-asked
		leave()
	}()
	_, err := w.front.Client().Do(w.request("POST", "/oauth/revoke", w.form(local), "Content-Type", formType).WithContext(ctx))
	require.ErrorIs(t, err, context.Canceled)
	<-gone // Auth0 is not asked further for a client that has left
}

// TestAnHTTP2ConnectionThatDiesSilently takes no logins for long, as one behind a firewall
// that has forgotten it would until TCP gives up.
func TestAnHTTP2ConnectionThatDiesSilently(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		assert.Equal(t, 2, r.ProtoMajor)
		_, _ = io.WriteString(rw, "{}")
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	w := &world{t: t, logs: &logs{}, shop: tenant.Application{ClientID: "shop"}}
	domain := server.Listener.Addr().String()
	w.source = &credentials{domain: domain, id: "shop", secrets: []string{real}}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	w.start(Config{Domain: domain, CACert: string(ca)})
	var first *silent
	w.proxy.upstream.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if first == nil && err == nil {
			first = &silent{Conn: conn}
			return first, nil
		}
		return conn, err
	}
	require.Equal(t, pingTime, w.proxy.upstream.HTTP2.SendPingTimeout)
	w.proxy.upstream.HTTP2.SendPingTimeout, w.proxy.upstream.HTTP2.PingTimeout = time.Millisecond, time.Second
	require.Equal(t, 200, w.post("/oauth/token", w.form(local)).status)
	first.died.Store(true)
	assert.Equal(t, 502, w.post("/oauth/token", w.form(local)).status)
	assert.Equal(t, 200, w.post("/oauth/token", w.form(local)).status)
}

// silent is a connection that loses what is sent, once it has died.
type silent struct {
	net.Conn
	died atomic.Bool
}

// Write implements net.Conn.
func (s *silent) Write(b []byte) (int, error) {
	if s.died.Load() {
		return len(b), nil
	}
	return s.Conn.Write(b)
}

// TestAnAnswerThatIsCutOff is none.
func TestAnAnswerThatIsCutOff(t *testing.T) {
	w := newWorldBefore(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(rw, `{"error":"access_denied"`)
	}, "first-secret", "second-secret")
	assert.Equal(t, 502, w.post("/oauth/token", w.form(local)).status)
}

// TestAnAnswerThatIsNotHTTP may quote the request: the log has none of it.
func TestAnAnswerThatIsNotHTTP(t *testing.T) {
	w := newWorldBefore(t, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		conn, _, err := http.NewResponseController(rw).Hijack()
		if assert.NoError(t, err) {
			_, _ = conn.Write(append([]byte("no HTTP: "), body...))
			_ = conn.Close()
		}
	}, "the-real-secret")
	w.proxy.upstream.ForceAttemptHTTP2 = false
	assert.Equal(t, 502, w.post("/oauth/token", w.form(local)).status)
	assert.Contains(t, w.logs.String(), "not HTTP")
}

// TestAnAnswerThatQuotesTheSecretIsNotPassedOn, in whatever part of it.
func TestAnAnswerThatQuotesTheSecretIsNotPassedOn(t *testing.T) {
	const real = "the-real-secret-of-the-shop"
	var echo func(rw http.ResponseWriter)
	w := newWorldBefore(t, func(rw http.ResponseWriter, _ *http.Request) { echo(rw) }, real, "another-real-secret")
	for name, echo1 := range map[string]func(rw http.ResponseWriter){
		"header":    func(rw http.ResponseWriter) { rw.Header().Set("X-Echo", "you sent "+real) },
		"location":  func(rw http.ResponseWriter) { rw.Header().Set("Location", "/?s="+real); rw.WriteHeader(302) },
		"body":      func(rw http.ResponseWriter) { _, _ = io.WriteString(rw, "you sent "+real) },
		"the other": func(rw http.ResponseWriter) { _, _ = io.WriteString(rw, "better: another-real-secret") },
		"error": func(rw http.ResponseWriter) {
			rw.WriteHeader(401)
			_, _ = fmt.Fprintf(rw, `{"error":"access_denied","error_description":%q}`, real)
		},
	} {
		echo = echo1
		got := w.post("/oauth/token", w.form(local))
		assert.Equal(t, 502, got.status, name)
		assert.Equal(t, "server_error", got.field("error"), name)
	}
	for _, before := range []int{0, maxLoginBody - 5, maxLoginBody, 100_000} { // across what is read ahead
		echo = func(rw http.ResponseWriter) {
			_, _ = io.WriteString(rw, strings.Repeat("x", before)+real+strings.Repeat("y", 100_000))
		}
		resp, err := w.front.Client().Do(w.request("POST", "/oauth/token", w.form(local), "Content-Type", formType))
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == 200 {
			require.Error(t, err, "it is cut off")
		}
		assert.NotContains(t, string(body), real)
		assert.LessOrEqual(t, len(body), max(before, 200))
	}
	for _, before := range []int{2, 3 * maxLoginBody} { // read ahead, or not all of it
		echo = func(rw http.ResponseWriter) {
			rw.Header().Set("Trailer", "X-Echo")
			_, _ = io.WriteString(rw, strings.Repeat("x", before))
			rw.Header().Set("X-Echo", real)
		}
		resp, err := w.front.Client().Do(w.request("POST", "/oauth/token", w.form(local), "Content-Type", formType))
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		assert.Empty(t, resp.Trailer)
	}
	echo = func(rw http.ResponseWriter) {
		rw.Header().Set("X-Echo", real)
		rw.WriteHeader(103)
		rw.Header().Del("X-Echo")
	}
	assert.Equal(t, 200, w.post("/oauth/token", w.form(local)).status, "an answer of 103 ahead is not passed on")
}

// TestAnswersToLoginsAreNotCompressed: else a refusal could not be read.
func TestAnswersToLoginsAreNotCompressed(t *testing.T) {
	w := newWorldBefore(t, func(_ http.ResponseWriter, r *http.Request) {
		assert.Equal(t, []string{"identity"}, r.Header["Accept-Encoding"])
	}, real)
	for _, header := range [][]string{{"Accept-Encoding", "gzip"}, {"Accept-Encoding", "br", "Accept-Encoding", "*"}, nil} {
		assert.Equal(t, 200, w.post("/oauth/token", w.form(local), header...).status)
		assert.Equal(t, 200, w.post("/oauth/revoke", "token=a", append(header, "Authorization", basic("shop", local))...).status)
	}
}

// TestDiscovery: four endpoints are the proxy's, all else is Auth0's.
func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	base := "https://" + w.tenant.Domain()
	direct, err := w.tenant.HTTPClient().Get(base + "/.well-known/openid-configuration")
	require.NoError(t, err)
	text, err := io.ReadAll(direct.Body)
	require.NoError(t, err)
	_ = direct.Body.Close()
	want := string(text)
	for path := range loginPaths {
		require.Contains(t, want, `"`+base+path+`"`)
		want = strings.Replace(want, `"`+base+path+`"`, `"https://login.example.com:8404`+path+`"`, 1)
	}
	got := w.do(w.request("GET", "/.well-known/openid-configuration", "", "Accept-Encoding", "gzip", "If-None-Match", `"x"`))
	assert.Equal(t, 200, got.status)
	assert.JSONEq(t, want, got.body)
	assert.Equal(t, "application/json; charset=utf-8", got.header.Get("Content-Type"))
	assert.Equal(t, base+"/", got.field("issuer"))
	assert.Equal(t, base+"/authorize", got.field("authorization_endpoint"))
	head := w.do(w.request("HEAD", "/.well-known/openid-configuration", ""))
	assert.Equal(t, 200, head.status)
}

// TestADiscoveryDocumentThatIsNone is an error, and one that lacks endpoints gets none.
func TestADiscoveryDocumentThatIsNone(t *testing.T) {
	var text string
	status := 200
	w := newWorldBefore(t, func(rw http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "identity", r.Header.Get("Accept-Encoding"))
		rw.Header().Set("ETag", `"x"`)
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, text)
	}, "a-secret")
	get := func() answer {
		return w.do(w.request("GET", "/.well-known/oauth-authorization-server", "", "Accept-Encoding", "gzip"))
	}
	for _, text = range []string{"", "not JSON", "[]", `{"a":"` + strings.Repeat("long", maxDiscovery) + `"}`} {
		assert.Equal(t, 502, get().status)
	}
	text = `{"token_endpoint":"https://example.eu.auth0.com/oauth/token","x":1}`
	got := get()
	assert.JSONEq(t, `{"token_endpoint":"https://login.example.com:8404/oauth/token","x":1}`, got.body)
	assert.Empty(t, got.header.Get("Etag"), "it is another document")
	status, text = 404, "not found"
	got = get()
	assert.Equal(t, 404, got.status)
	assert.Equal(t, text, got.body)
}

// TestEverythingElse is passed on and streamed, or refused.
func TestEverythingElse(t *testing.T) {
	w := newWorld(t)
	got := w.do(w.request("GET", "/.well-known/jwks.json", ""))
	assert.Equal(t, 200, got.status)
	assert.Contains(t, got.body, `"kid"`)
	assert.Equal(t, 404, w.do(w.request("DELETE", "/nothing", "")).status)
	w = newWorld(t, func(c *Config) { c.OnlyLogin = true })
	for _, path := range []string{"/.well-known/jwks.json", "/authorize", "/", "/api/v2/clients"} {
		assert.Equal(t, 403, w.do(w.request("GET", path, "")).status)
	}
	assert.Equal(t, 200, w.do(w.request("GET", "/.well-known/openid-configuration", "")).status)
	assert.Equal(t, 200, w.post("/oauth/token", w.form(local)).status)
}

// TestStreaming: what Auth0 has sent so far is there, and what the client has sent.
func TestStreaming(t *testing.T) {
	more := make(chan struct{})
	w := newWorldBefore(t, func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(rw, "first")
		_ = http.NewResponseController(rw).Flush()
		<-more
		_, _ = fmt.Fprintf(rw, ", then %d", len(body))
	}, "a-secret")
	resp, err := w.front.Client().Get(w.front.URL + "/stream")
	require.NoError(t, err)
	defer resp.Body.Close()
	first := make([]byte, 5)
	_, err = io.ReadFull(resp.Body, first)
	require.NoError(t, err)
	assert.Equal(t, "first", string(first))
	close(more)
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, ", then 0", string(rest))
	got := w.do(w.request("POST", "/upload", strings.Repeat("large", 1<<20)))
	assert.Equal(t, fmt.Sprintf("first, then %d", 5<<20), got.body)
}
