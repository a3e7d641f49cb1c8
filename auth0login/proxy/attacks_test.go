package proxy

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/assertion"
)

const (
	real       = "real-secret-of-the-shop-0123456789"
	keyedLocal = "local-secret-of-the-keyed-one-0123456789-abcdefg"
	endOfHead  = "\x00end of the head\x00" // between the header and the body of what is seen
)

// seen is an Auth0 that notes what reaches it, and refuses nothing.
type seen struct {
	mu       sync.Mutex
	requests []string
}

// ServeHTTP notes all of a request, as it is and decoded.
func (s *seen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s %s\n", r.Method, r.Host, r.RequestURI)
	_ = r.Header.Write(&text)
	_ = r.Trailer.Write(&text)
	_, password, _ := r.BasicAuth()
	text.WriteString(unescaped(password) + endOfHead + string(body))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, text.String())
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}")
}

// take gives what has reached it since.
func (s *seen) take() string { return strings.Join(s.each(), "\n\n") }

// each gives the requests that have reached it since.
func (s *seen) each() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.requests
	s.requests = nil
	return all
}

func newAttacked(t *testing.T) (*world, *seen) {
	t.Helper()
	auth0 := &seen{}
	w := newWorldBefore(t, auth0.ServeHTTP, real)
	require.Equal(t, 200, w.post("/oauth/token", w.form(local)).status)
	require.Contains(t, auth0.take(), real)
	return w, auth0
}

// TestWhatCanBeReadInTwoWaysIsRefused, and Auth0 is not asked.
func TestWhatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	w, auth0 := newAttacked(t)
	const ok = "client_id=shop&client_secret=" + local
	object := `{"client_id":"shop","client_secret":"` + local + `"`
	for _, attack := range []struct {
		status      int
		query, body string
		header      []string
	}{
		{400, "", ok + "&client_id=shop", nil},
		{400, "", ok + "&client_id=other", nil},
		{400, "", ok + "&client_secret=" + local, nil},
		{400, "", ok + "&client%5Fid=other", nil},
		{400, "", ok + "&grant_type=a&grant_type=b", nil},
		{400, "", ok + "&client_id[]=other", nil},
		{400, "", ok + "&client_secret[0]=x", nil},
		{400, "", ok + "&Client_Id=other", nil},
		{400, "", ok + "&[client_id]=other", nil},
		{400, "", ok + "&%5Bclient_secret%5D[]=x", nil},
		{400, "", ok + "&client_id]=other", nil},
		{400, "", ok + "&client_id%00=other", nil},
		{400, "", ok + "&client_id%20=other", nil},
		{400, "", ok + "&client_assertion=eyJ", nil},
		{400, "", ok + ";client_id=other", nil},
		{400, "", ok + "&a=%zz", nil},
		{400, "", ok + "&%zz=a", nil},
		{400, "", ok, []string{"Authorization", basic("shop", local)}},
		{400, "", ok, []string{"Authorization", "Bearer a-token"}},
		{400, "", ok, []string{"Authorization", ""}},
		{400, "", "client_id=shop", []string{"Authorization", "Basic !"}},
		{400, "", "client_id=other", []string{"Authorization", basic("shop", local)}},
		{400, "", "client_assertion=eyJ", []string{"Authorization", basic("shop", local)}},
		{400, "", "", []string{"Authorization", basic("shop", local), "Authorization", basic("shop", local)}},
		{400, "?client_id=shop", ok, nil},
		{400, "?client_secret=x", ok, nil},
		{400, "?client%5Fsecret=x", ok, nil},
		{400, "?client_assertion=x", ok, nil},
		{400, "?a=%zz", ok, nil},
		{400, "?client_secret=" + local, "", nil},
		{400, "?x=%6c" + local[1:], ok, nil},
		{400, "", ok + "&code=" + local, nil},
		{400, "", ok + "&" + local + "=1", nil},
		{400, "", ok + "&code=%6c" + local[1:], nil},
		{400, "", ok, []string{"X-Echo", local}},
		{400, "", ok, []string{"X-Echo", "%6c" + local[1:]}},
		{400, "", "code=" + local, []string{"Authorization", basic("shop", local)}},
		{400, "", object + `,"client_id":"other"}`, []string{"Content-Type", jsonType}},
		{400, "", object + `,"client\u005fid":"other"}`, []string{"Content-Type", jsonType}},
		{400, "", object + `}{}`, []string{"Content-Type", jsonType}},
		{400, "", object, []string{"Content-Type", jsonType}},
		{400, "", "[" + object + "}]", []string{"Content-Type", jsonType}},
		{400, "", `{"client_id":["shop"],"client_secret":"` + local + `"}`, []string{"Content-Type", jsonType}},
		{400, "", `{"client_id":"shop","client_secret":{"a":"` + local + `"}}`, []string{"Content-Type", jsonType}},
		{400, "", object + `,"code":"\u006c` + local[1:] + `"}`, []string{"Content-Type", jsonType}},
		{400, "", object + `,"a":{"b":["\u006c` + local[1:] + `"],"b":1}}`, []string{"Content-Type", jsonType}},
		{400, "", object + `,"a":[{"\u006C` + local[1:] + `":1e999}]}`, []string{"Content-Type", jsonType}},
		{400, "", "\xef\xbb\xbf" + object + "}", []string{"Content-Type", jsonType}},
		{401, "", `{"client_id":"other","a":{"b":"\u006c` + local[1:] + `"}}`, []string{"Content-Type", jsonType}},
		{400, "", ok, []string{"Content-Type", "text/plain"}},
		{400, "", ok, []string{"Content-Type", ""}},
		{400, "", ok, []string{"Content-Type", "multipart/form-data; boundary=x"}},
		{400, "", ok, []string{"Content-Type", formType, "Content-Type", jsonType}},
		{400, "", ok, []string{"Content-Type", formType + "; charset=utf-16"}},
		{415, "", ok, []string{"Content-Encoding", "gzip"}},
		{415, "", ok, []string{"Content-Encoding", "identity", "Content-Encoding", "gzip"}},
		{413, "", ok + "&a=" + strings.Repeat("x", maxLoginBody), nil},
		{401, "", "client_id=shop", nil},
		{401, "", "client_id=shop&client_assertion=eyJ&client_assertion_type=x", nil},
		{401, "", "client_secret=" + local, nil},
		{401, "", "client_id=other&a=" + local, nil},
		{401, "", "client_id=other&client_secret=" + local, nil},
		{401, "", "client_id=other", []string{"X-Echo", local}},
		{401, "", "", []string{"Authorization", basic("other", local)}},
		{401, "", "", []string{"Authorization", basic("other", "%6c"+local[1:])}},
	} {
		r := w.request("POST", "/oauth/token"+attack.query, attack.body)
		for i := 0; i < len(attack.header); i += 2 {
			r.Header.Add(attack.header[i], attack.header[i+1])
		}
		if _, ok := r.Header["Content-Type"]; !ok {
			r.Header.Set("Content-Type", formType)
		}
		got := w.do(r)
		assert.Equal(t, attack.status, got.status, "%+v: %s", attack, got.body)
		assert.NotEmpty(t, got.field("error"))
		assert.Empty(t, auth0.take(), "%+v", attack)
	}
	chunked := w.request("POST", "/oauth/token", strings.Repeat("x", 2*maxLoginBody), "Content-Type", formType)
	chunked.ContentLength, chunked.GetBody = -1, nil
	assert.Equal(t, 413, w.do(chunked).status)
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	_, _ = io.WriteString(writer, ok)
	require.NoError(t, writer.Close())
	assert.Equal(t, 400, w.post("/oauth/token", compressed.String()).status, "gzip that is not said to be")
	assert.Empty(t, auth0.take())
}

// raw sends bytes, and gives the answers' bytes until the connection is closed.
func (w *world) raw(text string) string {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
	require.NoError(w.t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(w.t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, _ = io.WriteString(conn, text)
	answers, _ := io.ReadAll(conn)
	assert.NotContains(w.t, string(answers), real)
	return string(answers)
}

// TestPathsThatAnotherServerReadsAsAnEndpoint are none here, and refused.
func TestPathsThatAnotherServerReadsAsAnEndpoint(t *testing.T) {
	w, auth0 := newAttacked(t)
	body := w.form(local)
	for _, path := range []string{
		"//oauth/token", "/oauth/token/", "/oauth//token", "/./oauth/token", "/x/../oauth/token", "/oauth/%74oken", "/%6fauth/token",
		"/oauth%2ftoken", "/oauth/%2e/token", "/oauth/token;x=1", "/OAuth/Token", `/oauth\token`, "/oauth/token/.", "/oauth/token%2f",
		"/bc-authorize/", "/oauth/par/", "/Oauth/revoke",
	} {
		got := w.raw("POST " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: " + formType +
			"\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body)
		assert.Regexp(t, `^HTTP/1.1 400 `, got, path)
		assert.Empty(t, auth0.take(), path)
	}
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "HEAD", "TRACE", "CONNECT", "post", "POSTS"} {
		got := w.raw(method + " /oauth/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-HTTP-Method-Override: POST\r\nContent-Type: " +
			formType + "\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body)
		assert.Regexp(t, `^HTTP/1.1 40[05] `, got, method)
		assert.Empty(t, auth0.take(), method)
	}
	got := w.post("/oauth/token", body, "X-HTTP-Method-Override", "GET", "X-Method-Override", "GET", "X-HTTP-Method", "GET")
	assert.Equal(t, 200, got.status)
	assert.NotContains(t, auth0.take(), "Override")
	assert.Regexp(t, `^HTTP/1.1 400 `, w.raw("GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

// TestTricksWithLengths of requests: each is one request, or none.
func TestTricksWithLengths(t *testing.T) {
	w, auth0 := newAttacked(t)
	body := w.form(local)
	head := "POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: " + formType + "\r\n"
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	for name, text := range map[string]string{
		"both lengths":       head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks,
		"two lengths":        head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + body,
		"an odd encoding":    head + "Transfer-Encoding: xchunked\r\n\r\n" + chunks,
		"encoded twice":      head + "Transfer-Encoding: chunked, identity\r\n\r\n" + chunks,
		"a space":            head + "Transfer-Encoding : chunked\r\n\r\n" + chunks,
		"a negative length":  head + "Content-Length: -1\r\n\r\n" + body,
		"a broken chunk":     head + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n" + body,
		"a line break":       head + "X: a\nAuthorization: " + basic("shop", local) + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"no host":            "POST /oauth/token HTTP/1.1\r\nContent-Type: " + formType + "\r\n\r\n",
		"a header of 2 MiB":  head + "X: " + strings.Repeat("x", 2<<20) + "\r\n\r\n",
		"a trailer":          head + "Trailer: X-Late\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks[:len(chunks)-2] + "X-Late: " + local + "\r\n\r\n",
		"a trailer of other": "POST /other HTTP/1.1\r\nHost: x\r\nTrailer: X-Late\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\nX-Late: " + local + "\r\n\r\n",
		"an upgrade":         "GET /other HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n" + local,
	} {
		_ = w.raw(text)
		reached := auth0.take()
		assert.NotContains(t, reached, local, name)
		assert.LessOrEqual(t, strings.Count(reached, "HTTP/1.1"), 1, name)
		assert.NotContains(t, reached, "Upgrade", name)
	}
}

// TestWhereItGoesIsUpToTheConfiguration, whatever the request says.
func TestWhereItGoesIsUpToTheConfiguration(t *testing.T) {
	w, auth0 := newAttacked(t)
	body := w.form(local)
	domain := w.proxy.domain
	for _, target := range []string{"/oauth/token", "http://evil.example.com/oauth/token", "https://user@evil.example.com:1/oauth/token"} {
		got := w.raw("POST " + target + " HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\nX-Forwarded-Host: evil.example.com\r\n" +
			"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 192.0.2.1\r\nForwarded: host=evil.example.com\r\n" +
			"Content-Type: " + formType + "\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body)
		assert.Regexp(t, `^HTTP/1.1 200 `, got)
		reached := auth0.take()
		assert.True(t, strings.HasPrefix(reached, "POST "+domain+" /oauth/token\n"), reached)
		assert.NotContains(t, reached, "evil")
		assert.NotContains(t, reached, "Forwarded")
		assert.NotContains(t, reached, "192.0.2.1")
	}
	got := w.raw("GET http://evil.example.com/other?a=1 HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n")
	assert.Regexp(t, `^HTTP/1.1 200 `, got)
	assert.True(t, strings.HasPrefix(auth0.take(), "GET "+domain+" /other?a=1\n"))
}

// TestTheLocalSecretReachesAuth0Nowhere: not by another endpoint either.
func TestTheLocalSecretReachesAuth0Nowhere(t *testing.T) {
	w, auth0 := newAttacked(t)
	encoded := ""
	for _, c := range []byte(local) {
		encoded += fmt.Sprintf("%%%02X", c)
	}
	for _, r := range []*http.Request{
		w.request("GET", "/authorize?client_secret="+local, ""),
		w.request("GET", "/authorize?client_secret="+encoded, ""),
		w.request("GET", "/authorize?%zz="+encoded, ""),
		w.request("GET", "/"+local, ""),
		w.request("GET", "/"+encoded, ""),
		w.request("GET", "/other", "", "Authorization", basic("shop", local)),
		w.request("GET", "/other", "", "Authorization", basic("shop", encoded)),
		w.request("GET", "/other", "", "Authorization", "Bearer "+local),
		w.request("GET", "/other", "", "Cookie", "a="+local),
		w.request("GET", "/.well-known/openid-configuration", "", "X-Echo", local),
		w.request("OPTIONS", "/oauth/token", "", "X-Echo", encoded),
	} {
		got := w.do(r)
		assert.Equal(t, 400, got.status, r.URL)
		assert.Empty(t, auth0.take())
	}
	for _, before := range []int{0, 1, 4090, 4096, 100_000} {
		for _, after := range []int{0, 1, 100_000} {
			r := w.request("POST", "/passwordless/start", strings.Repeat("x", before)+local+strings.Repeat("y", after))
			resp, err := w.front.Client().Do(r)
			if err == nil {
				assert.Contains(t, []int{400, 502}, resp.StatusCode)
				_ = resp.Body.Close()
			}
			assert.NotContains(t, auth0.take(), local)
		}
	}
	assert.NotContains(t, w.logs.String(), encoded)
	r := w.request("POST", "/other", strings.Repeat("x", 10_000)+local[:len(local)-1])
	assert.Equal(t, 200, w.do(r).status)
	assert.True(t, strings.HasSuffix(auth0.take(), local[:len(local)-1]), "what is no secret is passed on to the last byte")
}

// TestALocalSecretAsAMethodOrANameOfAHeader is in no log, and does not reach Auth0 in lower
// case either, as HTTP/2 has names.
func TestALocalSecretAsAMethodOrANameOfAHeader(t *testing.T) {
	w, auth0 := newAttacked(t)
	for _, text := range []string{
		local + " /other HTTP/1.1\r\n", "X" + local + " /oauth/token HTTP/1.1\r\n", "GET /other HTTP/1.1\r\n" + local + ": x\r\n",
		"GET /other HTTP/1.1\r\nX-" + strings.ToUpper(local) + ": x\r\n",
	} {
		assert.Regexp(t, `^HTTP/1.1 400 `, w.raw(text+"Host: x\r\nConnection: close\r\n\r\n"))
		assert.Empty(t, auth0.take())
	}
}

// TestLogsHaveNothingOfRequestsButMethodPathStatusAndTime.
func TestLogsHaveNothingOfRequestsButMethodPathStatusAndTime(t *testing.T) {
	w, _ := newAttacked(t)
	_ = w.post("/oauth/token?state=a-query", w.form(local, "code", "a-code", "refresh_token", "a-refresh-token"), "X-Secret", "a-header", "User-Agent", "an-agent")
	_ = w.do(w.request("GET", "/callback%22%0A?code=a-code&state=a-state", "", "Authorization", "Bearer a-token"))
	_ = w.do(w.request("GET", "/"+strings.Repeat("long/", 200), ""))
	_ = w.do(w.request(strings.Repeat("LONG", 1000), "/other", ""))
	for _, each := range []string{"a-query", "a-code", "a-refresh-token", "a-header", "an-agent", "a-state", "a-token", "shop"} {
		assert.NotContains(t, w.logs.String(), each)
	}
	for line := range strings.Lines(w.logs.String()) {
		assert.Regexp(t, `^time=\S+ level=INFO msg=request method=(POST|GET|[LONG]{256}) path=("[^"\n]*"|\S+) status=200 time=\S+\n$`, line)
		assert.Less(t, len(line), 500)
	}
}

// TestSlowClientsAreBounded: one that sends half a body holds no login's place, and is
// ended in time.
func TestSlowClientsAreBounded(t *testing.T) {
	w, auth0 := newAttacked(t)
	const half = "POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: " + formType + "\r\nContent-Length: 100\r\n\r\nclient_id=sh"
	for range maxLogins + 10 {
		conn, err := net.Dial("tcp", w.front.Listener.Addr().String())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, half)
	}
	assert.Equal(t, 200, w.post("/oauth/token", w.form(local)).status)
	auth0.take()

	deadlines := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader("client_id=other"))
	r.Header.Set("Content-Type", formType)
	r.Body = io.NopCloser(readerFunc(func([]byte) (int, error) {
		assert.WithinRange(t, deadlines.read, time.Now(), time.Now().Add(bodyTime))
		return 0, context.DeadlineExceeded // as a connection has it then
	}))
	w.proxy.ServeHTTP(deadlines, r)
	assert.Equal(t, 408, deadlines.Code)

	deadlines.ResponseRecorder = httptest.NewRecorder()
	login := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(w.form(local)))
	login.Header.Set("Content-Type", formType)
	w.proxy.ServeHTTP(deadlines, login)
	assert.Equal(t, 200, deadlines.Code)
	assert.Greater(t, time.Until(deadlines.read), loginTime, "the one of the body is for the body alone")

	deadlines.ResponseRecorder = httptest.NewRecorder()
	w.proxy.ServeHTTP(deadlines, httptest.NewRequest("POST", "/other", strings.NewReader("x")))
	assert.Equal(t, 200, deadlines.Code)
	assert.WithinRange(t, deadlines.read, time.Now().Add(requestTime), time.Now().Add(requestTime+bodyTime))
	assert.WithinRange(t, deadlines.write, time.Now(), time.Now().Add(requestTime+bodyTime))
}

// TestARefusedRequestIsAnsweredThoughItsBodyDoesNotCome, and its connection is closed:
// net/http reads what is left of the body before it sends the answer.
func TestARefusedRequestIsAnsweredThoughItsBodyDoesNotCome(t *testing.T) {
	w, auth0 := newAttacked(t)
	w.proxy.bodyTime = 50 * time.Millisecond
	w.proxy.onlyLogin = true
	const login = "POST /oauth/token HTTP/1.1\r\nContent-Type: " + formType + "\r\n"
	for _, attack := range []struct{ head, body string }{
		{login, "half"},
		{login + "Content-Encoding: gzip\r\n", "half"},
		{login, strings.Repeat("x", maxLoginBody+1)},
		{"PUT /oauth/token HTTP/1.1\r\n", "half"},
		{"POST /other HTTP/1.1\r\n", "half"},
		{"POST //oauth/token HTTP/1.1\r\n", "half"},
		{"POST /?x=" + local + " HTTP/1.1\r\n", "half"},
	} {
		got := w.raw(attack.head + "Host: x\r\nContent-Length: 100000\r\n\r\n" + attack.body)
		assert.Regexp(t, `^HTTP/1.1 4\d\d `, got, attack.head)
	}
	assert.Empty(t, auth0.take())
}

type readerFunc func([]byte) (int, error)

// Read calls f.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// deadlines are those that a handler sets.
type deadlines struct {
	*httptest.ResponseRecorder
	read, write time.Time
}

// SetReadDeadline is for http.ResponseController.
func (d *deadlines) SetReadDeadline(at time.Time) error { d.read = at; return nil }

// SetWriteDeadline is for http.ResponseController.
func (d *deadlines) SetWriteDeadline(at time.Time) error { d.write = at; return nil }

// TestTooManyLoginsAtOnce wait for their turn, and are told if it does not come.
func TestTooManyLoginsAtOnce(t *testing.T) {
	w, auth0 := newAttacked(t)
	for range maxLogins {
		w.proxy.logins <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := w.front.Client().Do(w.request("POST", "/oauth/token", w.form(local), "Content-Type", formType).WithContext(ctx))
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 200, w.do(w.request("GET", "/other", "")).status, "others do not wait")
	waiting := make(chan answer)
	go func() { waiting <- w.post("/oauth/token", w.form(local)) }()
	<-w.proxy.logins
	assert.Equal(t, 200, (<-waiting).status)

	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond) // of a handler around the proxy
	defer cancel()
	w.proxy.logins <- struct{}{}
	r := w.request("POST", "/oauth/token", w.form(local), "Content-Type", formType)
	assert.Equal(t, 503, recorded(w.proxy, r.WithContext(ctx)).Code)

	w = newWorldBefore(t, auth0.ServeHTTP, real)
	w.proxy.patience = time.Millisecond
	for range maxLogins {
		w.proxy.logins <- struct{}{}
	}
	auth0.take()
	got := w.post("/oauth/token", w.form(local))
	assert.Equal(t, 503, got.status)
	assert.Equal(t, "1", got.header.Get("Retry-After"))
	assert.Empty(t, auth0.take())
}

// TestConfigurationsThatAreRefused.
func TestConfigurationsThatAreRefused(t *testing.T) {
	good := func() Config {
		return Config{Domain: "example.eu.auth0.com", PublicURL: "http://127.0.0.1:8404", Applications: []Application{{LocalSecret: local}}}
	}
	_, err := New(good())
	require.NoError(t, err)
	for want, change := range map[string]func(*Config){
		"no host":             func(c *Config) { c.Domain = "" },
		"no host and":         func(c *Config) { c.Domain = "https://example.eu.auth0.com" },
		"and no host:port":    func(c *Config) { c.Domain = "example.eu.auth0.com/x" },
		`"user@example" is`:   func(c *Config) { c.Domain = "user@example" },
		"the public URL":      func(c *Config) { c.PublicURL = "127.0.0.1:8404" },
		"not of the form":     func(c *Config) { c.PublicURL = "http://x/?a" },
		"no application":      func(c *Config) { c.Applications = nil },
		"less than 32":        func(c *Config) { c.Applications[0].LocalSecret = "short" },
		"other characters":    func(c *Config) { c.Applications[0].LocalSecret = local + "+" },
		"there is no certifi": func(c *Config) { c.CACert = "none" },
	} {
		c := good()
		change(&c)
		_, err := New(c)
		assert.ErrorContains(t, err, want)
	}
}

// checkReached checks a request that has reached Auth0. Each assertion of the key begins with
// assertions.
func checkReached(t *testing.T, reached, key, assertions string) {
	t.Helper()
	lower := strings.ToLower(reached) // as HTTP/2 has names of headers; the local secrets are in lower case
	for _, secret := range []string{local, keyedLocal} {
		if strings.Contains(lower, secret) || strings.Contains(unescaped(lower), secret) {
			t.Fatalf("a local secret has reached Auth0: %q", reached)
		}
	}
	if secrets(linesOf(key)).encodedIn(reached) {
		t.Fatalf("the private key has reached Auth0: %q", reached)
	}
	if head, body, _ := strings.Cut(reached, endOfHead); strings.Contains(reached, assertions) {
		read, err := parse([]byte(body), strings.HasPrefix(strings.TrimSpace(body), "{"))
		if err != nil || read.values["client_id"] != "keyed" || !strings.HasPrefix(read.values["client_assertion"], assertions) ||
			read.values["client_assertion_type"] != assertion.Type || read.secret != (span{}) || strings.Contains(head, "\nAuthorization:") {
			t.Fatalf("an assertion in a request that can be read in another way: %q", reached)
		}
	}
	if first, _, _ := strings.Cut(reached, "\n"); strings.Contains(reached, real) || strings.Contains(reached, assertions) {
		target, err := url.Parse(first[strings.LastIndex(first, " ")+1:])
		ok := err == nil
		if ok {
			_, ok = loginPaths[target.Path]
		}
		if !ok || !strings.HasPrefix(first, "POST example.eu.auth0.com /") || strings.Contains(first, real) || strings.Contains(first, assertions) {
			t.Fatalf("a real secret went where it should not: %q", reached)
		}
	}
}

// FuzzProxy: whatever is sent, the local secret does not reach Auth0, and a real one
// reaches it only in a request to an endpoint that wants it; no answer and no log has
// either. An assertion goes nowhere but there, too, in the name of its application, and a
// private key nowhere.
func FuzzProxy(f *testing.F) {
	const form = "client_id=shop&client_secret=LOCAL&grant_type=client_credentials"
	const keyedForm = "client_id=keyed&client_secret=KEYED-SECRET&grant_type=client_credentials"
	for _, seed := range []string{
		"POST /oauth/token HTTP/1.1\nHost: x\nContent-Type: application/x-www-form-urlencoded\n\n" + form,
		"POST /oauth/token HTTP/1.1\nHost: x\nContent-Type: application/x-www-form-urlencoded\n\n" + form + "&code=LOCAL&client_id=x",
		"POST /oauth/token HTTP/1.1\nHost: x\nContent-Type: application/json\n\n{\"client_id\":\"shop\",\"client_secret\":\"LOCAL\",\"a\":{}}",
		"POST /oauth/revoke HTTP/1.1\nHost: x\nAuthorization: Basic BASIC\nContent-Type: application/x-www-form-urlencoded\n\ntoken=a",
		"POST /oauth/par?a=LOCAL HTTP/1.1\nHost: x\nX-Echo: LOCAL\n\n",
		"POST //oauth/token HTTP/1.1\nHost: x\nContent-Type: application/x-www-form-urlencoded\n\n" + form,
		"POST /passwordless/start HTTP/1.1\nHost: x\n\n{\"client_secret\":\"LOCAL\"}",
		"GET http://evil/LOCAL?%zz=LOCAL HTTP/1.1\nHost: evil\nAuthorization: Basic BASIC\nConnection: Upgrade\nUpgrade: a\n\n",
		"GET /.well-known/openid-configuration HTTP/1.1\nHost: x\nCookie: LOCAL\n\n",
		"PUT /x HTTP/1.0\n\nLOCALLOCAL",
		"LOCAL /x HTTP/1.1\nHost: x\n\n",
		"GET /x HTTP/1.1\nHost: x\nX-LOCAL: x\n\n",
		"POST /oauth/token HTTP/1.1\nHost: x\nContent-Type: application/x-www-form-urlencoded\n\n" + keyedForm,
		"POST /oauth/token HTTP/1.1\nHost: x\nContent-Type: application/x-www-form-urlencoded\n\n&client_assertion=&client_assertion_type=a&" + keyedForm + "&&",
		"POST /oauth/token HTTP/1.1\nHost: x\nAuthorization: Basic KEYED-BASIC\nContent-Type: application/x-www-form-urlencoded\n\nclient_secret=&a=%41",
		"POST /oauth/par HTTP/1.1\nHost: x\nContent-Type: application/json\n\n {\"client_id\" : \"keyed\" ,\"client\\u005fsecret\":\"KEYED-SECRET\", \"a\":{}}",
		"POST /bc-authorize HTTP/1.1\nHost: x\nAuthorization: Basic KEYED-BASIC\nContent-Type: application/json\n\n{}",
		"POST /oauth/revoke HTTP/1.1\nHost: x\nAuthorization: Basic KEYED-BASIC\n\n",
	} {
		f.Add(seed)
	}
	auth0 := &seen{}
	server := httptest.NewServer(auth0) // the TLS is not what is fuzzed
	f.Cleanup(server.Close)
	var printed logs
	key, _ := newKey(f)
	signer, err := assertion.NewSigner(key, "RS256", "the-key-that-is-fuzzed")
	require.NoError(f, err)
	signed, err := signer.Sign("keyed", "https://example.eu.auth0.com/", time.Now(), time.Minute)
	require.NoError(f, err)
	assertions, _, _ := strings.Cut(signed, ".")
	p, err := New(Config{
		Domain: "example.eu.auth0.com", PublicURL: "http://127.0.0.1:8404", Logger: slog.New(slog.NewTextHandler(&printed, nil)),
		Applications: []Application{
			{LocalSecret: local, Source: &credentials{domain: "example.eu.auth0.com", id: "shop", secrets: []string{real, "second-" + real}}},
			{LocalSecret: keyedLocal, Source: &credentials{domain: "example.eu.auth0.com", id: "keyed", key: key, kid: signer.KID()}},
		},
	})
	require.NoError(f, err)
	p.upstream.DialTLSContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	p.upstream.Proxy = nil
	f.Cleanup(p.Close)
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.NewReplacer("\r", "", "KEYED-SECRET", keyedLocal, "KEYED-BASIC", strings.TrimPrefix(basic("keyed", keyedLocal), "Basic "),
			"LOCAL", local, "BASIC", strings.TrimPrefix(basic("shop", local), "Basic ")).Replace(text)
		head, body, _ := strings.Cut(text, "\n\n")
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body)))
		if err != nil {
			return
		}
		r.RemoteAddr = "127.0.0.1:1"
		answer := httptest.NewRecorder()
		func() {
			defer func() {
				if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
					panic(v)
				}
			}()
			p.ServeHTTP(answer, r.WithContext(t.Context()))
		}()
		for _, reached := range auth0.each() { // one that was cut off may come during the next input
			checkReached(t, reached, key, assertions)
		}
		var shown strings.Builder
		_ = answer.Result().Header.Write(&shown)
		shown.WriteString(answer.Body.String() + printed.String())
		for _, secret := range append(linesOf(key), real, local, keyedLocal, assertions) {
			if strings.Contains(shown.String(), secret) {
				t.Fatalf("a secret is in the answer or the log: %q", shown.String())
			}
		}
		printed.mu.Lock()
		printed.text.Reset()
		printed.mu.Unlock()
	})
}
