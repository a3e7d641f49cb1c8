//go:build integration

package integration

import (
	"net/http"
	"os"
	"regexp"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/devstack"
)

// documentedPolicies are those of docs/operations.md for an operator, and of the
// README for an application.
func documentedPolicies(t *testing.T) (operator, application string) {
	t.Helper()
	found := func(document, pattern string) string {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		policy := regexp.MustCompile(pattern).FindSubmatch(text)
		require.NotNil(t, policy, document)
		return string(policy[1])
	}
	return found("../docs/operations.md", "(?s)vault policy write auth0-operator - <<'POLICY'\n(.*?)POLICY\n"),
		found("../README.md", `echo '(.*?)' \| vault policy write shop -`)
}

// TestPoliciesOfTheDocuments let each do its work, and nothing else.
func TestPoliciesOfTheDocuments(t *testing.T) {
	t.Parallel()
	needs(t, "read:client_keys")
	s := configured(t, "inmem", nil)
	shop, other := s.addApplication(nil), s.addApplication(nil)
	s.write("roles/other", map[string]any{"client_id": other.ClientID})
	operatorPolicy, applicationPolicy := documentedPolicies(t)
	operator, application := s.clientWith("operator", operatorPolicy), s.clientWith("application", applicationPolicy)

	_, err := operator.WriteWithContext(t.Context(), devstack.Mount+"/roles/shop", map[string]any{"client_id": shop.ClientID})
	require.NoError(t, err)
	listed, err := operator.ListWithContext(t.Context(), devstack.Mount+"/roles")
	require.NoError(t, err)
	assert.Equal(t, []any{"other", "shop"}, listed.Data["keys"])
	_, err = operator.JSONMergePatch(t.Context(), devstack.Mount+"/roles/shop", map[string]any{"rotation_period": "720h"})
	require.NoError(t, err)
	found, err := operator.ListWithContext(t.Context(), devstack.Mount+"/applications")
	require.NoError(t, err)
	assert.Len(t, found.Data["keys"], 2)
	_, err = operator.WriteWithContext(t.Context(), devstack.Mount+"/roles-import", map[string]any{"filter_name": "*", "dry_run": true})
	require.NoError(t, err)
	_, err = operator.WriteWithContext(t.Context(), devstack.Mount+"/rotate/shop", nil)
	require.NoError(t, err)
	_, err = operator.WriteWithContext(t.Context(), devstack.Mount+"/rotate-all", nil)
	require.NoError(t, err)
	_, err = operator.ReadWithContext(t.Context(), devstack.Mount+"/rotate-all")
	require.NoError(t, err)
	_, err = operator.DeleteWithContext(t.Context(), devstack.Mount+"/rotate-all")
	require.NoError(t, err)
	_, err = operator.WriteWithContext(t.Context(), devstack.Mount+"/config", map[string]any{"domain": "127.0.0.1:9", "verify_connection": true})
	require.ErrorContains(t, err, "domain cannot be changed") // and nothing of the kind is sent anywhere
	_, err = operator.WriteWithContext(t.Context(), devstack.Mount+"/token-roles/none", map[string]any{"scopes": "read:clients"})
	require.NoError(t, err)
	for path, hint := range map[string]string{"rotate": "say which role", "rotate-role/shop": "without -role"} {
		_, err = operator.WriteWithContext(t.Context(), devstack.Mount+"/"+path, nil)
		require.ErrorContains(t, err, hint, "not: permission denied")
	}
	for _, path := range []string{"creds/shop", "static-creds/shop", "tokens/none", "assertions/shop"} {
		_, err = operator.ReadWithContext(t.Context(), devstack.Mount+"/"+path)
		denied(t, err)
	}

	lease, err := application.ReadWithContext(t.Context(), devstack.Mount+"/creds/shop")
	require.NoError(t, err)
	for _, secret := range lease.Data["client_secrets"].([]any) {
		s.seen[secret.(string)] = true
	}
	assert.Equal(t, shop.ClientSecret, lease.Data["client_secret"])
	for _, path := range []string{"creds/other", "static-creds/shop", "assertions/shop", "roles/shop", "rotate/shop", "rotate-all", "config"} {
		_, err = application.ReadWithContext(t.Context(), devstack.Mount+"/"+path)
		denied(t, err)
	}
	for _, path := range []string{"rotate/shop", "rotate-all"} {
		_, err = application.WriteWithContext(t.Context(), devstack.Mount+"/"+path, nil)
		denied(t, err)
	}
}

// clientWith is a client of Vault with a token that has one policy.
func (s *suite) clientWith(name, policy string) *api.Logical {
	s.t.Helper()
	client := s.Vault.Client()
	require.NoError(s.t, client.Sys().PutPolicyWithContext(s.t.Context(), name, policy))
	token, err := client.Auth().Token().CreateWithContext(s.t.Context(), &api.TokenCreateRequest{Policies: []string{name}, NoDefaultPolicy: true})
	require.NoError(s.t, err)
	limited, err := client.Clone()
	require.NoError(s.t, err)
	limited.SetToken(token.Auth.ClientToken)
	return limited.Logical()
}

func denied(t *testing.T, err error) {
	t.Helper()
	var answer *api.ResponseError
	require.ErrorAs(t, err, &answer)
	require.Equal(t, http.StatusForbidden, answer.StatusCode)
}
