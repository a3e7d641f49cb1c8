//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"vault-plugin-secrets-auth0/auth0login/vaulttokens"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

const ordersPolicy = `path "auth0/tokens/orders" { capabilities = ["read"] }`

// withTokenRole is a suite with a token role orders, for the Management API.
func withTokenRole(t *testing.T) *suite {
	t.Helper()
	s := configured(t, "inmem", nil)
	s.write("token-roles/orders", map[string]any{"scopes": scopes(t)})
	return s
}

// TestExampleOfATokenFile: examples/vault-agent/token.hcl.
func TestExampleOfATokenFile(t *testing.T) {
	t.Parallel()
	s := withTokenRole(t)
	dir := s.agentDir()
	s.addAppRole(ordersPolicy, dir)
	config := example(t, "vault-agent/token.hcl", "http://127.0.0.1:8200", s.Vault.Addr(), "/etc/shop", dir, "/run/shop", dir)
	agent, err := devvault.StartAgent(s.Vault.Binary(), dir, config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = agent.Stop(context.Background()) })

	file := filepath.Join(dir, "token.json")
	var rendered map[string]string
	s.eventually("it is rendered", func() bool {
		text, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(text, &rendered) == nil
	})
	s.remember(rendered["access_token"])
	assert.Len(t, rendered, 4)
	assert.NotEmpty(t, rendered["access_token"])
	assert.NotEmpty(t, rendered["expires_at"])
	assert.Equal(t, s.Tenant.Audience(), rendered["audience"])
	assert.Equal(t, s.Tenant.Domain(), rendered["domain"])
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// TestExampleOfAProxy: examples/vault-proxy/proxy.hcl, and an application that has no token
// for Vault, or one that is of no use, reads tokens through it.
func TestExampleOfAProxy(t *testing.T) {
	t.Parallel()
	s := withTokenRole(t)
	dir, err := os.MkdirTemp("", "shop") //nolint:usetesting // a socket's path is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.addAppRole(ordersPolicy, dir)
	config := filepath.Join(dir, "proxy.hcl")
	writeFile(t, config, example(t, "vault-proxy/proxy.hcl", "http://127.0.0.1:8200", s.Vault.Addr(), "/etc/shop", dir, "/run/shop", dir,
		`socket_user  = "shop"`, fmt.Sprintf("socket_user = %q", fmt.Sprint(os.Getuid())),
		`socket_group = "shop"`, fmt.Sprintf("socket_group = %q", fmt.Sprint(os.Getgid()))))
	cmd := exec.Command(s.Vault.Binary(), "proxy", "-log-level=trace", "-config", config)
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	proxy, err := devvault.StartProgram(cmd, filepath.Join(s.agentDir(), "proxy.log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = proxy.Stop(context.Background()) })

	settings := api.DefaultConfig()
	settings.Address = "unix://" + filepath.Join(dir, "vault.sock")
	client, err := api.NewClient(settings)
	require.NoError(t, err)
	client.SetToken("of no use")
	tokens := vaulttokens.New(t.Context(), client, vaulttokens.Config{
		Path: "auth0/tokens/orders", Domain: s.Tenant.Domain(), Audience: s.Tenant.Audience(),
	})
	s.eventually("the proxy answers", func() bool { _, err := tokens.Token(); return err == nil })
	info, err := os.Stat(filepath.Join(dir, "vault.sock"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	first, err := tokens.Token()
	require.NoError(t, err)
	s.remember(first.AccessToken)

	s.write("token-roles/orders", map[string]any{"scopes": scopes(t)}) // drops it
	var second *oauth2.Token
	s.eventually("there is another: the proxy keeps none", func() bool { // Refused itself waits for 5 seconds at most
		second, err = tokens.Refused(t.Context(), first)
		return err == nil
	})
	s.remember(second.AccessToken)
	assert.NotEqual(t, first.AccessToken, second.AccessToken)

	_, err = client.Logical().ReadWithContext(t.Context(), "auth0/config")
	var refused *api.ResponseError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, 403, refused.StatusCode, "it may do nothing else")
}

// TestAServiceThatHoldsNoSecretIsNeverRefused by an API that checks its tokens, whatever
// becomes of the secret: one that goes on, and ones that start meanwhile.
func TestAServiceThatHoldsNoSecretIsNeverRefused(t *testing.T) {
	t.Parallel()
	s, app := shop(t, "10s")
	s.write("token-roles/orders", map[string]any{"role": "shop", "audience": tenant.DefaultAPI})
	orders := s.Tenant.Protect(tenant.DefaultAPI, "")
	server := httptest.NewServer(orders)
	t.Cleanup(server.Close)
	service := func() *http.Client {
		return vaulttokens.New(t.Context(), s.Vault.Client(), vaulttokens.Config{
			Path: "auth0/tokens/orders", Domain: s.Tenant.Domain(), Audience: tenant.DefaultAPI,
		}).Client(t.Context())
	}
	call := func(client *http.Client) {
		answer, err := client.Get(server.URL)
		if assert.NoError(t, err) {
			assert.Equal(t, http.StatusOK, answer.StatusCode)
			assert.NoError(t, answer.Body.Close())
		}
	}
	stop := make(chan struct{})
	var calls sync.WaitGroup
	goesOn := service()
	calls.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(s.every):
				call(goesOn)
				call(service())
			}
		}
	})
	halt := sync.OnceFunc(func() {
		close(stop)
		calls.Wait()
	})
	defer halt()
	changed := func(rotate func()) {
		before := s.Tenant.Secret(app.ClientID)
		rotate()
		s.eventually("the next secret is set", func() bool { return s.Tenant.Secret(app.ClientID) != before })
		s.awaitPhase("shop", "steady")
		for range 3 {
			call(service()) // there are calls after it, too
		}
	}
	changed(func() { s.write("rotate/shop", nil) })
	changed(func() { s.write("rotate/shop", map[string]any{"force": true}) })
	changed(func() { s.write("rotate-all", map[string]any{"force": true}) })
	_, err := s.Vault.Client().Sys().ReloadPluginWithContext(t.Context(), &api.ReloadPluginInput{Plugin: devstack.PluginName})
	require.NoError(t, err)
	call(service())
	halt()
	seen := orders.Calls()
	t.Logf("calls: %d, refused: %d", seen.Accepted, seen.Refused)
	assert.Greater(t, seen.Accepted, 10)
	assert.Zero(t, seen.Refused)
}
