package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/auth0login/vaulttokens"
)

// world is an agent's surroundings: Vault, the MCP server, and what is between that and
// the agent.
type world struct {
	forwarder, server *httptest.Server
	token             string // that Vault hands out; "": none
	came              []*http.Request
	bodies            []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{token: "good"}
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.came, w.bodies = append(w.came, r), append(w.bodies, string(body))
		if r.Method == http.MethodGet { // a stream
			rw.Header().Set("Content-Type", "text/event-stream")
			_, _ = rw.Write([]byte("data: first\n\n"))
			rw.(http.Flusher).Flush()
			<-r.Context().Done() // the agent has left
			return
		}
		fmt.Fprintln(rw, `{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`)
	}))
	t.Cleanup(w.server.Close)
	vault := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.token == "" {
			http.Error(rw, `{"errors":["Auth0 does not answer"]}`, http.StatusBadRequest)
			return
		}
		assert.Equal(t, "/v1/auth0/tokens/mcp", r.URL.Path)
		_ = json.NewEncoder(rw).Encode(map[string]any{"lease_id": "x", "lease_duration": 3600, "data": map[string]any{
			"access_token": w.token, "token_type": "Bearer", "expires_in": 3600, "domain": "example.eu.auth0.com", "audience": w.server.URL + "/mcp",
		}})
	}))
	t.Cleanup(vault.Close)
	config := api.DefaultConfig()
	config.Address, config.MaxRetries = vault.URL, 0
	client, err := api.NewClient(config)
	require.NoError(t, err)
	to, err := url.Parse(w.server.URL + "/mcp")
	require.NoError(t, err)
	tokens := vaulttokens.New(t.Context(), client, vaulttokens.Config{Path: "auth0/tokens/mcp", Domain: "example.eu.auth0.com", Audience: to.String()})
	w.forwarder = httptest.NewUnstartedServer(nil)
	w.forwarder.Config.Handler = forward(tokens.Client(t.Context()).Transport, to, w.forwarder.Listener.Addr().String())
	w.forwarder.Start()
	t.Cleanup(w.forwarder.Close)
	return w
}

func (w *world) send(t *testing.T, method, path string, header http.Header, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.forwarder.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header = header.Clone()
	r.Host = header.Get("Host")
	answer, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	return answer
}

func textOf(t *testing.T, answer *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return string(text)
}

// TestTheAgentHoldsNothing: what it sends goes to the MCP server with the token of Vault,
// and never with one of its own; the token does not come back.
func TestTheAgentHoldsNothing(t *testing.T) {
	w := newWorld(t)
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	answer := w.send(t, http.MethodPost, "/mcp?x=1", http.Header{
		"Authorization": {"Bearer another"}, "Cookie": {"a=b"}, "Mcp-Session-Id": {"session"}, "Mcp-Protocol-Version": {"2025-06-18"},
	}, list)
	text := textOf(t, answer)
	assert.JSONEq(t, `{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`, text)
	require.Len(t, w.came, 1)
	came := w.came[0]
	assert.Equal(t, []string{"Bearer good"}, came.Header.Values("Authorization"))
	assert.Equal(t, "/mcp", came.URL.String(), "a token in the address is none of the agent's doing")
	assert.Equal(t, strings.TrimPrefix(w.server.URL, "http://"), came.Host)
	assert.Equal(t, "session", came.Header.Get("Mcp-Session-Id"))
	assert.Equal(t, "2025-06-18", came.Header.Get("Mcp-Protocol-Version"))
	assert.Empty(t, came.Header.Get("Cookie"))
	assert.Equal(t, []string{list}, w.bodies)
	assert.NotContains(t, fmt.Sprint(answer.Header, text), "good")
}

// TestAStreamIsPassedOnAsItComes.
func TestAStreamIsPassedOnAsItComes(t *testing.T) {
	answer := newWorld(t).send(t, http.MethodGet, "/mcp", http.Header{"Accept": {"text/event-stream"}}, "")
	line, err := bufio.NewReader(answer.Body).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "data: first\n", line)
	require.NoError(t, answer.Body.Close())
}

// TestNothingElseIsForwarded: other paths, and what a web page makes a browser send.
func TestNothingElseIsForwarded(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		path   string
		header http.Header
		status int
	}{
		"another path":                      {"/admin", http.Header{}, http.StatusNotFound},
		"a path below":                      {"/mcp/../admin", http.Header{}, http.StatusNotFound},
		"a page's request":                  {"/mcp", http.Header{"Origin": {"https://example.org"}}, http.StatusForbidden},
		"a name that was made to lead here": {"/mcp", http.Header{"Host": {"example.org"}}, http.StatusForbidden},
	} {
		answer := w.send(t, http.MethodPost, c.path, c.header, "{}")
		assert.Equal(t, c.status, answer.StatusCode, name)
		require.NoError(t, answer.Body.Close())
	}
	assert.Empty(t, w.came)
}

// TestWithoutATokenNothingIsSent, and the agent is not told why: the log is.
func TestWithoutATokenNothingIsSent(t *testing.T) {
	w := newWorld(t)
	w.token = ""
	var logged bytes.Buffer
	log.SetOutput(&logged)
	defer log.SetOutput(os.Stderr)
	answer := w.send(t, http.MethodPost, "/mcp", http.Header{}, "{}")
	assert.Equal(t, http.StatusBadGateway, answer.StatusCode)
	assert.Equal(t, "the MCP server cannot be reached\n", textOf(t, answer))
	assert.Contains(t, logged.String(), "Vault answered 400: Auth0 does not answer")
	assert.Empty(t, w.came)
}

// TestTheConfigurationLeadsHere: mcp.json has the address that main listens at.
func TestTheConfigurationLeadsHere(t *testing.T) {
	text, err := os.ReadFile("mcp.json")
	require.NoError(t, err)
	var config struct {
		Servers map[string]map[string]any `json:"mcpServers"`
	}
	require.NoError(t, json.Unmarshal(text, &config))
	assert.Equal(t, map[string]any{"type": "http", "url": "http://127.0.0.1:8090/mcp"}, config.Servers["orders"], "and nothing else: no header, no token")
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	assert.Contains(t, string(program), `"127.0.0.1:8090"`)
	assert.Contains(t, string(program), `"https://mcp.example.com/mcp"`)
}
