package requirements

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheDocumentTellsTheSameScopes: the table in docs/auth0.md is the list in the
// code.
func TestTheDocumentTellsTheSameScopes(t *testing.T) {
	text, err := os.ReadFile("../../docs/auth0.md")
	require.NoError(t, err)
	assert.Contains(t, string(text), Table())
}

func TestTable(t *testing.T) {
	for _, scope := range Scopes {
		_, object, _ := strings.Cut(scope.Name, ":")
		assert.Contains(t, Table(), object)
		assert.NotEmpty(t, scope.Enables, scope.Name)
		assert.NotEmpty(t, scope.Without, scope.Name)
	}
	assert.Contains(t, Table(), "| `read:`, `create:`, `update:` and `delete:client_credentials` | only with")
}

func TestScopeWarnings(t *testing.T) {
	all := Wanted(true, true)
	assert.Empty(t, ScopeWarnings(all, true))
	assert.Empty(t, ScopeWarnings(Wanted(true, false), false))
	assert.Len(t, ScopeWarnings(Wanted(true, false), true), 1)
	assert.Empty(t, ScopeWarnings([]string{ScopeUpdateClientKeys, ScopeReadClients, ScopeReadClientCredentials}, false), "another scope covers it")
	warnings := ScopeWarnings([]string{ScopeUpdateClientKeys}, false)
	require.Len(t, warnings, 2)
	assert.Contains(t, warnings[0], "scope read:clients was not granted: ")
	assert.Contains(t, warnings[1], "scope read:client_keys was not granted: ")
	assert.Contains(t, warnings[1], DriftUnavailable)
}

// TestWanted: no more scopes than are needed.
func TestWanted(t *testing.T) {
	assert.Equal(t, []string{"update:client_keys", "read:clients", "read:client_keys"}, Wanted(true, false))
	assert.Equal(t, []string{"update:client_keys", "read:clients"}, Wanted(false, false))
	assert.Equal(t, []string{
		"update:client_keys", "read:clients", "read:client_keys",
		"read:client_credentials", "create:client_credentials", "update:client_credentials", "delete:client_credentials",
	}, Wanted(true, true))
}

// TestTheDocumentGrantsTheScopes: the application that docs/auth0.md makes by Auth0's
// CLI has the scopes of one that does not authenticate by a key.
func TestTheDocumentGrantsTheScopes(t *testing.T) {
	text, err := os.ReadFile("../../docs/auth0.md")
	require.NoError(t, err)
	assert.Contains(t, string(text), `scope: ["`+strings.Join(Wanted(true, false), `", "`)+`"]`)
}
