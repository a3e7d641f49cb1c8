//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/tenant"
)

// TestFaultsOfAuth0: a role for each fault, all at the same time. While it lasts
// readers get what Auth0 accepts, role and status say what is wrong; when it is
// over the rotation comes through by itself.
func TestFaultsOfAuth0(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", map[string]any{"propagation_delay": "1s", "drift_check_period": 0})
	faults := map[string]*struct {
		fault tenant.Fault
		says  string
		said  bool // once is enough: on a busy machine some are tried again before others were tried
	}{
		"unavailable":    {tenant.Fault{Kind: tenant.ServerError, Status: 503}, "no clear answer from Auth0 (503)", false},
		"error-after":    {tenant.Fault{Kind: tenant.ServerErrorAfterCommit}, "no clear answer from Auth0 (500)", false},
		"reset":          {tenant.Fault{Kind: tenant.ResetBeforeCommit}, "no clear answer from Auth0", false},
		"reset-after":    {tenant.Fault{Kind: tenant.ResetAfterCommit}, "no clear answer from Auth0", false},
		"time-out":       {tenant.Fault{Kind: tenant.TimeoutBeforeCommit}, "no clear answer from Auth0", false},
		"time-out-after": {tenant.Fault{Kind: tenant.TimeoutAfterCommit}, "no clear answer from Auth0", false},
		"truncated":      {tenant.Fault{Kind: tenant.Truncated}, "the answer could not be read", false},
		"huge":           {tenant.Fault{Kind: tenant.Huge}, "the answer could not be read", false},
		"not-json":       {tenant.Fault{Kind: tenant.NotJSON}, "the answer is not a client object", false},
		"empty":          {tenant.Fault{Kind: tenant.EmptyAnswer}, "the answer is not a client object", false},
		"proxy":          {tenant.Fault{Kind: tenant.HTMLFromProxy}, "something other than Auth0 answered", false},
	}

	limited := s.addApplication(nil)
	s.write("roles/limited", map[string]any{"client_id": limited.ClientID, "ttl": "10s"})
	end := s.Tenant.Inject(tenant.Fault{Kind: tenant.RateLimited, RetryAfter: 3 * time.Second, Endpoint: tenant.UpdateApplication, ClientID: limited.ClientID})
	s.refused(429, "Auth0 limits the rate (429)", logical.UpdateOperation, "rotate/limited", map[string]any{"force": true})
	assert.Contains(t, s.read("roles/limited")["last_error"], "Auth0 limits the rate (429)")
	assert.Empty(t, s.read("status")["failing"], "the rate limit alone is no failure")
	end()
	s.awaitVersion("limited", "2")
	assert.Nil(t, s.read("roles/limited")["last_error"])
	s.must(logical.DeleteOperation, "roles/limited", nil)

	apps, clear := map[string]tenant.Application{}, map[string]func(){}
	for name, f := range faults {
		apps[name] = s.addApplication(nil)
		s.write("roles/"+name, map[string]any{"client_id": apps[name].ClientID, "ttl": "10s"})
		f.fault.Endpoint, f.fault.ClientID = tenant.UpdateApplication, apps[name].ClientID
		clear[name] = s.Tenant.Inject(f.fault)
	}
	s.write("config", map[string]any{"request_timeout": "4s", "verify_connection": false}) // now it may be short
	s.write("rotate-all", map[string]any{"force": true})
	var left []string
	defer func() {
		if t.Failed() {
			t.Log("not seen: ", left)
		}
	}()
	s.eventually("each role has said what it met", func() bool {
		left = nil
		failing := s.read("status")["failing"].(map[string]any)
		for name, f := range faults {
			role := s.read("roles/" + name)
			says, _ := role["last_error"].(string)
			if strings.Contains(says, f.says) && role["retry_at"] != nil && failing[name] != nil {
				f.said = true
			}
			if !f.said && says != "" { // a busy machine took too long: no wait for the backoff
				_, _ = s.request(logical.UpdateOperation, "rotate/"+name, nil)
			}
			if !f.said {
				left = append(left, fmt.Sprint(name, ": ", role))
			}
		}
		return len(left) == 0
	})
	for name := range faults {
		assert.Contains(t, s.read("creds/" + name)["client_secrets"], s.Tenant.Secret(apps[name].ClientID), name)
	}
	for _, end := range clear {
		end()
	}
	s.eventually("all are well again", func() bool {
		return len(s.read("status")["failing"].(map[string]any)) == 0
	})
	for name, app := range apps {
		assert.Equal(t, "2", fmt.Sprint(s.read("roles/" + name)["version"]), name)
		assert.Equal(t, s.Tenant.Secret(app.ClientID), s.read("creds/" + name)["client_secret"], name)
		assert.LessOrEqual(t, distinct(s.Tenant.SecretHistory(app.ClientID)), 2, "%s: no secret but the first and the next", name)
	}
}

func distinct(changes []tenant.SecretChange) int {
	values := map[string]bool{}
	for _, change := range changes {
		values[change.Value] = true
	}
	return len(values)
}

// TestAnApplicationThatIsNoLongerWhatItWas: it was deleted, or authenticates in
// another way. The role says so, and goes on serving what it has.
func TestAnApplicationThatIsNoLongerWhatItWas(t *testing.T) {
	t.Parallel()
	s := configured(t, "inmem", map[string]any{"propagation_delay": "0s"})
	deleted, keyed := s.addApplication(nil), s.addApplication(nil)
	s.write("roles/deleted", map[string]any{"client_id": deleted.ClientID, "ttl": "10s"})
	s.write("roles/keyed", map[string]any{"client_id": keyed.ClientID, "ttl": "10s"})
	s.seen[s.Tenant.Secret(deleted.ClientID)] = true
	s.Tenant.RemoveApplication(deleted.ClientID)
	s.Tenant.UpdateApplication(keyed.ClientID, func(a *tenant.Application) {
		a.TokenEndpointAuthMethod, a.AuthenticationMethods = "", map[string]any{"private_key_jwt": map[string]any{}}
	})
	// a scope that was taken away, and is given back
	app := s.addApplication(nil)
	s.write("roles/app", map[string]any{"client_id": app.ClientID, "ttl": "10s"})
	s.Tenant.SetScopes(s.Engine.ClientID, "read:clients", "read:client_keys")
	s.Tenant.ExpireTokens()
	s.refused(400, "insufficient_scope", logical.UpdateOperation, "rotate/app", map[string]any{"force": true})
	assert.Contains(t, s.read("roles/app")["last_error"], "update:client_keys")
	assert.Contains(t, s.read("creds/app")["client_secrets"], app.ClientSecret)
	s.Tenant.SetScopes(s.Engine.ClientID, scopes(t)...)
	s.write("rotate/deleted", nil)
	s.write("rotate/keyed", nil)
	s.eventually("it is rotated once the scope is back", func() bool { return s.read("roles/app")["last_error"] == nil })
	assert.NotEqual(t, app.ClientSecret, s.Tenant.Secret(app.ClientID))

	for role, says := range map[string]string{"deleted": "inexistent_client", "keyed": "authenticates by private_key_jwt"} {
		s.eventually(role+" fails", func() bool { return s.read("roles/" + role)["last_error"] != nil })
		assert.Contains(t, s.read("roles/" + role)["last_error"], says)
		require.NotEmpty(t, s.read("creds/" + role)["client_secret"])
		assert.Contains(t, fmt.Sprint(s.read("status")["failing"]), says)
	}
	assert.Empty(t, strings.Join(s.errorsInLog(), ""))
}
