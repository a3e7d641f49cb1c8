//go:build recipes

package applications

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	auth0secrets "vault-plugin-secrets-auth0"
	"vault-plugin-secrets-auth0/internal/answers"
	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/tenant"
)

func TestNodeWithAKey(t *testing.T) {
	service := command{dir: nodeModules(t, "node"), args: []string{"node", "service.js"}, ca: variable("NODE_EXTRA_CA_CERTS"), keys: true}
	testKeys(t, service)

	t.Log("with assertions that Vault signs")
	service.assertions = true
	testKeys(t, service)
}

func TestPythonWithAKey(t *testing.T) {
	python := pythonWith(t, "authlib, flask, joserfc, requests")
	testKeys(t, command{dir: "python", args: []string{python, "-B", "service.py"}, ca: variable("REQUESTS_CA_BUNDLE"), keys: true})
}

func TestSpringWithAKey(t *testing.T) {
	shop := spring(filepath.Join(maven(t, "spring", "package", "", "Auth0Configuration.java", "ClientSecrets.java"), "target", "shop.jar"))
	shop.keys, shop.users = true, true
	testKeys(t, shop)
}

// testKeys runs an application with a key, and has the key rotated as the engine does.
// Whatever is refused is a failure.
func testKeys(t *testing.T, c command) {
	f := start(t, c)
	works := func() {
		t.Helper()
		f.get("/api", accepted(1), refused(0))
		if c.users {
			f.logIn(accepted(1), refused(0))
			f.get("/refresh", accepted(1), refused(0))
		}
	}
	works()
	for _, algorithm := range assertion.Algorithms {
		t.Log("a rotation to a key of " + algorithm)
		old, next := f.key, f.enableKey(algorithm)
		works()
		f.handOut(next, algorithm)
		works()
		f.retireKey(old)
		works()
	}

	t.Log("what it has is for another tenant: nothing is sent")
	f.domain = "tenant.example.com"
	f.handOut(f.key, f.algorithm)
	requests := f.tokenRequests()
	status, _ := f.browse("/api")
	assert.GreaterOrEqual(t, status, 400)
	assert.Equal(t, requests, f.tokenRequests())
	f.domain = f.tenant.Domain()
	f.handOut(f.key, f.algorithm)
	works()

	t.Log("a redirect is not followed: it would take the assertion along")
	f.tenant.Inject(tenant.Fault{
		Endpoint: tenant.Token, Kind: tenant.Headers, Status: http.StatusTemporaryRedirect, Headers: map[string]string{"Location": "/oauth/token"}, Times: 1,
	})
	f.fail("/api")
	works()

	if !c.assertions {
		t.Log("the file is not readable for a while: what was known stays")
		require.NoError(t, os.Remove(f.file))
		works()
		require.NoError(t, os.WriteFile(f.file, []byte("no JSON"), 0o600))
		works()
	}
	assert.Zero(t, f.attempts().Attempts.Refused)
}

// useKeys makes the application one of private_key_jwt.
func (f *fixture) useKeys(app tenant.Application) {
	f.t.Helper()
	f.template = exampleTemplate(f.t, agentKeyExample)
	engine := f.tenant.AddManagementApplication(auth0.KeyScopes...)
	var err error
	f.engine, err = auth0.New(auth0.Config{
		Domain: f.tenant.Domain(), ClientID: engine.ClientID, Secrets: []string{engine.ClientSecret}, CACert: f.tenant.CACert(),
	})
	require.NoError(f.t, err)
	f.t.Cleanup(f.engine.Close)
	key := newKey(f.t)
	public, _, err := assertion.PublicKey(key)
	require.NoError(f.t, err)
	f.app = f.tenant.AddApplicationWithKey(app, public, assertion.Algorithms[0])
	f.handOut(key, assertion.Algorithms[0])
}

func newKey(t *testing.T) string {
	t.Helper()
	key, err := assertion.NewPrivateKey(assertion.MinKeyBits)
	require.NoError(t, err)
	return key
}

// enableKey makes a key that Auth0 accepts beside the others.
func (f *fixture) enableKey(algorithm string) string {
	f.t.Helper()
	key := newKey(f.t)
	require.NoError(f.t, f.engine.EnableKey(f.t.Context(), f.app.ClientID, key, algorithm))
	return key
}

func (f *fixture) retireKey(key string) {
	f.t.Helper()
	found, err := f.engine.RetireKey(f.t.Context(), f.app.ClientID, key)
	require.NoError(f.t, err)
	assert.True(f.t, found)
}

// handOut has the application use a key: its file has it, or Vault signs with it.
func (f *fixture) handOut(key, algorithm string) {
	f.t.Helper()
	f.signing.Lock()
	defer f.signing.Unlock()
	f.key, f.algorithm = key, algorithm
	_, kid, err := assertion.PublicKey(key)
	require.NoError(f.t, err)
	f.write(map[string]any{
		"domain": f.domain, "client_id": f.app.ClientID, "private_key": key, "kid": kid, "signing_algorithm": algorithm,
	})
}

// startVault serves assertions to those who read them through Vault Proxy. It gives its
// address.
func (f *fixture) startVault() string {
	f.t.Helper()
	engine, err := auth0secrets.Factory(f.t.Context(), &logical.BackendConfig{System: &logical.StaticSystemView{}})
	require.NoError(f.t, err)
	answers.Check(f.t, engine.(answers.Router), logical.ReadOperation, "assertions/shop", f.assertion())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(f.t, "/v1/auth0/assertions/shop", r.URL.Path)
		assert.Equal(f.t, "true", r.Header.Get("X-Vault-Request"))
		assert.NoError(f.t, json.NewEncoder(w).Encode(map[string]any{"data": f.assertion()}))
	}))
	f.t.Cleanup(server.Close)
	return server.URL
}

// assertion is the engine's answer to a read of assertions/shop.
func (f *fixture) assertion() map[string]any {
	f.signing.Lock()
	defer f.signing.Unlock()
	_, kid, err := assertion.PublicKey(f.key)
	assert.NoError(f.t, err)
	signer, err := assertion.NewSigner(f.key, f.algorithm, kid)
	assert.NoError(f.t, err)
	now := time.Now()
	signed, err := signer.Sign(f.app.ClientID, "https://"+f.tenant.Domain()+"/", now, time.Minute)
	assert.NoError(f.t, err)
	return map[string]any{
		"client_assertion": signed, "client_assertion_type": assertion.Type, "expires_at": now.Add(time.Minute).Format(time.RFC3339),
		"domain": f.domain, "client_id": f.app.ClientID, "kid": kid,
	}
}
