//go:build integration

package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/devstack"
)

// TestReadsThroughAStandby of a cluster: whichever node is asked, the answer is the
// active one's where it matters, and credentials come with a lease. Vault's
// standbys pass on all requests; OpenBao's only what the plugin tells them to, and
// answer the rest by a plugin of their own, which hears of what the active one writes.
func TestReadsThroughAStandby(t *testing.T) {
	t.Parallel()
	needs(t, "read:clients")
	s, cluster := newClusterSuite(t)
	s.grantKeys()
	s.write("config", s.Config())
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10m"})
	s.keyRole("signed", false)
	s.write("token-roles/reader", map[string]any{"scopes": strings.Join(s.Tenant.Scopes(s.Engine.ClientID), ",")})
	s.write("rotate/app", nil)
	staged := s.read("creds/app")
	_, product := server()
	active := s.leader(cluster, nil)
	for _, node := range cluster {
		if node == active {
			continue
		}
		direct := &suite{Stack: &devstack.Stack{Vault: node}, t: t, router: s.router, seen: s.seen, clustered: true}
		s.eventually("the standby knows of the role", func() bool {
			role, err := direct.request(logical.ReadOperation, "roles/app", nil)
			return err == nil && role != nil && role.Data["phase"] == "staged" // nil: it does not know of the mount yet
		})
		lease := direct.must(logical.ReadOperation, "creds/app", nil)
		assert.NotEmpty(t, lease.LeaseID)
		assert.Equal(t, staged["client_secrets"], lease.Data["client_secrets"])
		assert.Equal(t, staged["client_secrets"], direct.read("static-creds/app")["client_secrets"])
		signed := s.metric("auth0_credential_reads_total", "assertions")
		assert.Equal(t, s.Tenant.Domain(), direct.read("assertions/signed")["domain"])
		assert.Greater(t, s.metric("auth0_credential_reads_total", "assertions"), signed, "the active node has signed")
		token := direct.must(logical.ReadOperation, "tokens/reader", nil)
		assert.NotEmpty(t, token.LeaseID)
		s.remember(token.Data["access_token"].(string))
		assert.Equal(t, s.read("status")["serving_since"], direct.read("status")["serving_since"])
		direct.write("rotate/app", nil) // changes nothing: it is staged

		direct.must(logical.ListOperation, "applications/", nil)
		s.write("rotate-root", nil)
		s.Tenant.ExpireTokens()
		s.eventually("the standby logs in with the engine's new secret", func() bool {
			_, err := direct.request(logical.ListOperation, "applications/", nil)
			return err == nil
		})
		assert.Equal(t, product == "OpenBao", len(node.Plugins()) > 0, "it has a plugin of its own")
	}
	s.write("rotate/app", map[string]any{"force": true})
	s.awaitVersion("app", "2")
}

// TestOpenBaoIsConfiguredByItsDocument: by the two stanzas of docs/openbao.md it
// registers the plugin and has an audit log, without a request.
func TestOpenBaoIsConfiguredByItsDocument(t *testing.T) {
	t.Parallel()
	if _, product := server(); product != "OpenBao" {
		t.Skip("skipped: it is about OpenBao")
	}
	document, err := os.ReadFile("../docs/openbao.md")
	require.NoError(t, err)
	stanzas := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(string(document), -1)
	stanzas = slices.DeleteFunc(stanzas, func(s []string) bool { return strings.Contains(s[1], "image ") }) // scripts/image tests that one
	require.Len(t, stanzas, 2)
	binary, err := devstack.PluginBinary("..")
	require.NoError(t, err)
	program, err := os.ReadFile(binary)
	require.NoError(t, err)
	sum := sha256.Sum256(program)
	says, err := exec.CommandContext(t.Context(), binary, "-version").Output()
	require.NoError(t, err)
	version := regexp.MustCompile(`\bv\d+\.\d+\.\S+`).FindString(string(says))
	require.NotEmpty(t, version, "%s", says)
	audited := filepath.Join(t.TempDir(), "audit.log")
	settings := strings.NewReplacer(`"v0.1.0"`, `"`+version+`"`, `"..."`, `"`+hex.EncodeToString(sum[:])+`"`, "/var/log/openbao/audit.log", audited).
		Replace(stanzas[0][1] + stanzas[1][1])
	s := newSuiteOf(t, devstack.Options{Storage: "inmem", Unmounted: true, Settings: settings})
	require.NoError(t, s.Vault.EnableSecrets(t.Context(), devstack.Mount, devstack.PluginName, ""))
	s.write("config", s.Config())
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID})
	assert.Equal(t, app.ClientSecret, s.read("creds/app")["client_secret"])
	mounts, err := s.Vault.Client().Sys().ListMountsWithContext(t.Context())
	require.NoError(t, err)
	assert.Equal(t, version, mounts[devstack.Mount+"/"].RunningVersion)
	audit, err := os.ReadFile(audited)
	require.NoError(t, err)
	assert.Contains(t, string(audit), devstack.Mount+"/creds/app")
	assert.NotContains(t, string(audit), app.ClientSecret)
}
