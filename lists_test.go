package auth0secrets

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
)

// TestAListBelowAValidNameIsNoBadName: Vault adds the slash that a list ends in, and tools
// that walk a mount take 404 for nothing there.
func TestAListBelowAValidNameIsNoBadName(t *testing.T) {
	env := configuredEnv(t)
	for _, path := range []string{"roles/shop/", "creds/shop/", "rotate/shop/", "token-roles/shop/"} {
		_, err := env.request(logical.ListOperation, path, nil)
		assert.ErrorIs(t, err, logical.ErrUnsupportedPath, path)
	}
	for _, path := range []string{"roles/a/b", "roles/my shop/"} {
		env.refused(400, "is not a name", logical.ListOperation, path, nil)
	}
}
