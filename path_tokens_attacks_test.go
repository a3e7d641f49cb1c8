package auth0secrets

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// TestTheEnginesTokenAfterItsAPIMoved: it may have all scopes, and is not handed out for
// the API that the token role names, which was the Management API once.
func TestTheEnginesTokenAfterItsAPIMoved(t *testing.T) {
	for name, changed := range map[string]map[string]any{
		"audience": {fieldAudience: "https://other.example.com/api/v2/"},
		"domain":   {fieldDomain: "other.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			env := configuredEnv(t)
			env.auth0.honoursScope = true
			env.write("token-roles/reader", map[string]any{fieldAudience: "https://" + testDomain + "/api/v2/", fieldScopes: "read:clients"})
			env.read("tokens/reader")
			env.auth0.honoursScope = false
			env.write("config", engineConfig(changed))
			env.refused(400, "role is missing", logical.ReadOperation, "tokens/reader", nil)
		})
	}
}

// TestNoFetchBeginsAfterClean: what waits for those under way would panic, and take the
// mounts along that share the process.
func TestNoFetchBeginsAfterClean(t *testing.T) {
	env := tokenEnv(t, nil)
	env.b.Cleanup(t.Context())
	before := env.got(0)
	env.refused(503, "being stopped", logical.ReadOperation, "tokens/orders", nil)
	assert.Zero(t, env.got(before))
}
