//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/answers"
	"vault-plugin-secrets-auth0/internal/baohost"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// baoSuite is the plugin's binary in a host that serves what OpenBao serves.
type baoSuite struct {
	*baohost.Host
	t      *testing.T
	tenant *tenant.Tenant
	router answers.Router
}

// baoMount is one mount of it.
type baoMount struct {
	*baohost.Mount
	s *baoSuite
}

func newBaoSuite(t *testing.T) *baoSuite {
	t.Helper()
	plugin, err := devstack.PluginBinary("..")
	require.NoError(t, err)
	simulated, err := tenant.Start(tenant.Options{})
	require.NoError(t, err)
	t.Cleanup(simulated.Close)
	s := &baoSuite{t: t, tenant: simulated, router: router(t)}
	s.Host = s.startHost(plugin)
	return s
}

// startHost starts a process of the plugin. When the test ends, nothing may have
// been logged that somebody has to look at, and no secret.
func (s *baoSuite) startHost(plugin string) *baohost.Host {
	s.t.Helper()
	host, err := baohost.Start(s.t.Context(), plugin)
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		host.Stop()
		log := host.Log()
		assert.Contains(s.t, log, "[TRACE]", "or there was nothing to find")
		for line := range strings.Lines(log) {
			for _, bad := range []string{"[ERROR]", "[WARN]", "event not sent"} {
				assert.NotContains(s.t, line, bad)
			}
			for _, secret := range s.tenant.EverySecret() {
				assert.NotContains(s.t, line, secret, "a secret in a log")
			}
		}
	})
	return host
}

func (s *baoSuite) mount(host *baohost.Host, o baohost.MountOptions) *baoMount {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	mount, err := host.Mount(ctx, o)
	require.NoError(s.t, err)
	return &baoMount{mount, s}
}

// request sends a request, which must not block, and checks the answer against
// what the path declares.
func (m *baoMount) request(operation logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	m.s.t.Helper()
	ctx, cancel := context.WithTimeout(m.s.t.Context(), patience)
	defer cancel()
	answer, err := m.Request(ctx, &logical.Request{Operation: operation, Path: path, Data: data, MountPoint: "auth0/", MountType: "auth0"})
	if err == nil && (answer != nil || operation != logical.ReadOperation) {
		var body map[string]any
		if answer != nil {
			body = answer.Data
		}
		answers.Check(m.s.t, m.s.router, operation, path, body)
	}
	return answer, err
}

func (m *baoMount) must(operation logical.Operation, path string, data map[string]any) *logical.Response {
	m.s.t.Helper()
	answer, err := m.request(operation, path, data)
	require.NoError(m.s.t, err, path)
	return answer
}

func (m *baoMount) write(path string, data map[string]any) {
	m.s.t.Helper()
	m.must(logical.UpdateOperation, path, data)
}

func (m *baoMount) read(path string) map[string]any {
	m.s.t.Helper()
	answer := m.must(logical.ReadOperation, path, nil)
	require.NotNil(m.s.t, answer, path)
	return answer.Data
}

// eventually waits for a condition.
func (m *baoMount) eventually(what string, condition func() bool) {
	m.s.t.Helper()
	for began := time.Now(); !condition(); time.Sleep(50 * time.Millisecond) {
		require.Less(m.s.t, time.Since(began), patience, "%s; the log is\n%s", what, m.s.Log())
	}
}

func (s *baoSuite) config() map[string]any {
	engine := s.tenant.AddManagementApplication(devstack.AllScopes...)
	return map[string]any{
		"domain": s.tenant.Domain(), "client_id": engine.ClientID, "client_secret": engine.ClientSecret,
		"ca_cert": s.tenant.CACert(), "propagation_delay": "0s",
	}
}

// TestOpenBaoRegistersThePlugin: set up with nothing, which it may not ask for
// anything then, it says what it is.
func TestOpenBaoRegistersThePlugin(t *testing.T) {
	t.Parallel()
	s := newBaoSuite(t)
	seen, err := s.Inspect(t.Context())
	require.NoError(t, err)
	assert.Equal(t, logical.TypeLogical, seen.Type)
	assert.NotEmpty(t, seen.SealWrapped)
	plugin, err := devstack.PluginBinary("..")
	require.NoError(t, err)
	told, err := exec.CommandContext(t.Context(), plugin, "-version").Output()
	require.NoError(t, err)
	assert.Contains(t, string(told), seen.Version)
	assert.True(t, strings.HasPrefix(seen.Version, "v"))
	assert.Empty(t, s.Lacking())
}

// TestOpenBaoRunsThePlugin through its whole job: configured, a role, its
// credentials, a staged rotation, which takes effect, a forced one, the engine's
// own secret, and all of it taken away. Only events are missed, and nobody
// notices.
func TestOpenBaoRunsThePlugin(t *testing.T) {
	t.Parallel()
	s := newBaoSuite(t)
	m := s.mount(s.Host, baohost.MountOptions{
		Storage: &logical.InmemStorage{}, Passwords: map[string]string{"ours": strings.Repeat("policy-", 7)},
	})
	other := s.mount(s.Host, baohost.MountOptions{Storage: &logical.InmemStorage{}})
	app := s.tenant.AddApplication(tenant.Application{})
	config := s.config()
	m.write("config", config)
	m.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s", "rotation_period": "720h"})

	lease := m.must(logical.ReadOperation, "creds/app", nil)
	assert.Equal(t, app.ClientSecret, lease.Data["client_secret"])
	require.NotNil(t, lease.Secret)
	assert.Equal(t, 10*time.Second, lease.Secret.TTL)
	assert.False(t, lease.Secret.Renewable)
	assert.Equal(t, app.ClientSecret, m.read("static-creds/app")["client_secret"])

	m.write("rotate/app", nil)
	staged := m.read("creds/app")
	require.Len(t, staged["client_secrets"], 2)
	assert.Equal(t, app.ClientSecret, staged["client_secret"])
	assert.Equal(t, app.ClientSecret, s.tenant.Secret(app.ClientID), "Auth0 has it only when every lease has the next one")
	m.eventually("it takes effect by itself", func() bool { return s.tenant.Secret(app.ClientID) == staged["fallback_client_secret"] })
	m.eventually("it is served", func() bool { return m.read("creds/app")["client_secret"] == staged["fallback_client_secret"] })

	m.write("roles/app", map[string]any{"password_policy": "ours"})
	m.write("rotate/app", map[string]any{"force": true})
	assert.Equal(t, strings.Repeat("policy-", 7), s.tenant.Secret(app.ClientID))
	m.write("rotate-root", nil)
	assert.NotEqual(t, config["client_secret"], s.tenant.Secret(config["client_id"].(string)))
	assert.InDelta(t, 1, m.read("status")["roles"], 0)
	_, err := m.Request(t.Context(), &logical.Request{Operation: logical.RollbackOperation}) // its minute is over
	require.NoError(t, err)
	_, err = m.Request(t.Context(), logical.RevokeRequest("creds/app", lease.Secret, nil))
	require.NoError(t, err)
	help, err := m.Request(t.Context(), &logical.Request{Operation: logical.HelpOperation})
	require.NoError(t, err)
	assert.Contains(t, help.Data, "openapi")

	absent, err := other.request(logical.ReadOperation, "config", nil)
	assert.True(t, err != nil || absent == nil, "another mount of the same process knows nothing of it")
	m.must(logical.DeleteOperation, "roles/app", nil)
	m.must(logical.DeleteOperation, "config", nil)
	require.NoError(t, m.Unmount(t.Context()))
	require.NoError(t, other.Unmount(t.Context()))
	assert.Equal(t, []string{"/pb.Events/SendEvent"}, s.Lacking())
}

// TestStandbyOfOpenBao: since 2.5 a standby answers what it can without a write,
// in a plugin of its own. What needs the active node is refused as read-only,
// which has OpenBao forward it: writes, all that hands out credentials (it could not
// store the lease), and how far rotations are (it does not know). It rotates nothing.
func TestStandbyOfOpenBao(t *testing.T) {
	t.Parallel()
	s := newBaoSuite(t)
	stored := &logical.InmemStorage{}
	active := s.mount(s.Host, baohost.MountOptions{Storage: stored})
	app := s.tenant.AddApplication(tenant.Application{})
	active.write("config", s.config())
	active.write("token-roles/reader", map[string]any{"scopes": "read:clients"})
	active.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})

	plugin, err := devstack.PluginBinary("..")
	require.NoError(t, err)
	standbyHost := s.startHost(plugin)
	standby := s.mount(standbyHost, baohost.MountOptions{Storage: stored, Standby: true})
	for _, path := range []string{
		"creds/app", "static-creds/app", "tokens/reader", "roles/app", "rotate/app", "rotate-all", "status",
	} {
		_, err := standby.request(logical.ReadOperation, path, nil)
		require.EqualError(t, err, logical.ErrReadOnly.Error(), path)
	}
	_, err = standby.request(logical.ListOperation, "roles/", nil)
	require.EqualError(t, err, logical.ErrReadOnly.Error())
	for _, path := range []string{"config", "roles/app", "rotate/app", "rotate-all", "rotate-root"} {
		_, err := standby.request(logical.UpdateOperation, path, map[string]any{"force": true})
		require.EqualError(t, err, logical.ErrReadOnly.Error(), path)
	}
	standby.must(logical.ListOperation, "applications/", nil)
	active.write("rotate-root", nil)
	s.tenant.ExpireTokens()
	require.NoError(t, standby.Invalidate(t.Context(), "config")) // as the server does once it has the write
	standby.must(logical.ListOperation, "applications/", nil)     // which takes the new secret
	active.write("rotate/app", nil)
	require.NoError(t, standby.Invalidate(t.Context(), "role/app"))
	_, err = standby.Request(t.Context(), &logical.Request{Operation: logical.RollbackOperation})
	require.NoError(t, err)
	require.NoError(t, active.Unmount(t.Context())) // nobody is active
	fresh := s.mount(standbyHost, baohost.MountOptions{Storage: stored, Standby: true})
	wouldBeSet := time.Now().Add(13 * time.Second) // a whole ttl later, and then some
	fresh.eventually("the time of the staged rotation", func() bool { return time.Now().After(wouldBeSet) })
	assert.Equal(t, app.ClientSecret, s.tenant.Secret(app.ClientID), "a standby rotates nothing")
	require.NoError(t, standby.Unmount(t.Context()))
	require.NoError(t, fresh.Unmount(t.Context()))
	assert.Empty(t, standbyHost.Lacking())
}

// TestReadsThroughAStandby of a cluster: whichever node is asked, the answer is the
// active one's where it matters, and credentials come with a lease. Vault's
// standbys pass on all requests; OpenBao's only what the plugin tells them to.
func TestReadsThroughAStandby(t *testing.T) {
	t.Parallel()
	s := newSuiteOf(t, devstack.Options{Nodes: 3})
	s.write("config", s.Config())
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	s.write("token-roles/reader", map[string]any{"scopes": strings.Join(scopes(), ",")})
	s.write("rotate/app", nil)
	staged := s.read("creds/app")
	for _, node := range s.Cluster.Nodes {
		if node == s.Cluster.Active() {
			continue
		}
		direct := &suite{Stack: &devstack.Stack{Vault: node}, t: t, router: s.router, seen: s.seen}
		s.eventually("the standby knows of the role", func() bool {
			role, err := direct.request(logical.ReadOperation, "roles/app", nil)
			return err == nil && role.Data["phase"] == "staged"
		})
		lease := direct.must(logical.ReadOperation, "creds/app", nil)
		assert.NotEmpty(t, lease.LeaseID)
		assert.Equal(t, staged["client_secrets"], lease.Data["client_secrets"])
		assert.Equal(t, staged["client_secrets"], direct.read("static-creds/app")["client_secrets"])
		token := direct.must(logical.ReadOperation, "tokens/reader", nil)
		assert.NotEmpty(t, token.LeaseID)
		s.remember(token.Data["access_token"].(string))
		assert.Equal(t, s.read("status")["serving_since"], direct.read("status")["serving_since"])
		direct.write("rotate/app", nil) // changes nothing: it is staged
	}
	s.awaitVersion("app", "2")
}

// TestTheSuiteRunsOnAnOpenBao, or as good as that can be had where none is: on a
// stand-in, which takes what OpenBao takes and has a real Vault do the work. Server,
// agent and audit log are started as OpenBao's, and the main job is done on them.
// BAO_BIN runs all tests on a real one.
func TestTheSuiteRunsOnAnOpenBao(t *testing.T) {
	t.Parallel()
	vault, err := devvault.Binary(t.Context())
	require.NoError(t, err)
	product, err := devvault.Product(t.Context(), vault)
	require.NoError(t, err)
	if product == "OpenBao" {
		t.Skip("there is an OpenBao: nothing has to stand in for it")
	}
	standIn, err := filepath.Abs("../internal/devvault/testdata/stand-in-for-bao")
	require.NoError(t, err)
	bao := filepath.Join(t.TempDir(), "bao")
	script := fmt.Sprintf("#!/bin/sh\nREAL_VAULT='%s' exec '%s' \"$@\"\n", vault, standIn)
	require.NoError(t, os.WriteFile(bao, []byte(script), 0o700))
	s := newSuiteOf(t, devstack.Options{Storage: "raft", Vault: bao})
	require.Equal(t, "OpenBao", s.Vault.Product())
	config := s.Config()
	config["propagation_delay"] = "1s"
	s.write("config", config)
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	stop := s.startApplication("app")
	s.write("rotate/app", nil)
	s.awaitVersion("app", "2")
	s.awaitPhase("app", "steady")
	stop()
	logins := s.Tenant.Stats().Logins
	assert.Zero(t, logins.Refused)
	assert.Positive(t, logins.Accepted)
	require.NoError(t, s.Vault.Restart(t.Context()))
	assert.Equal(t, s.Tenant.Secret(app.ClientID), s.read("creds/app")["client_secret"])
}
