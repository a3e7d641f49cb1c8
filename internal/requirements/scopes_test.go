package requirements

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// table is the list as the rows of a Markdown table, in which scopes for the
// same purpose share a row.
func table() string {
	var b strings.Builder
	b.WriteString("| scope | what the engine needs it for |\n|---|---|\n")
	for i := 0; i < len(Scopes); {
		names := []string{Scopes[i].Name}
		for i++; i < len(Scopes) && Scopes[i].Enables == Scopes[i-1].Enables; i++ {
			names = append(names, Scopes[i].Name)
		}
		b.WriteString("| " + joined(names) + " | " + Scopes[i-1].Enables + " |\n")
	}
	return b.String()
}

// joined names scopes of one object: `read:`, `create:` and `update:clients`.
func joined(names []string) string {
	_, object, _ := strings.Cut(names[0], ":")
	parts := make([]string, 0, len(names)-1)
	for _, name := range names[:len(names)-1] {
		parts = append(parts, "`"+strings.TrimSuffix(name, object)+"`")
	}
	last := "`" + names[len(names)-1] + "`"
	if len(parts) == 0 {
		return last
	}
	return strings.Join(parts, ", ") + " and " + last
}

// TestTheDocumentTellsTheSameScopes: the table in docs/auth0.md is the list in the
// code.
func TestTheDocumentTellsTheSameScopes(t *testing.T) {
	text, err := os.ReadFile("../../docs/auth0.md")
	require.NoError(t, err)
	assert.Contains(t, string(text), table())
}

func TestTable(t *testing.T) {
	for _, scope := range Scopes {
		_, object, _ := strings.Cut(scope.Name, ":")
		assert.Contains(t, table(), object)
		assert.NotEmpty(t, scope.Enables, scope.Name)
		assert.NotEmpty(t, scope.Without, scope.Name)
	}
	assert.Contains(t, table(), "| `read:`, `create:`, `update:` and `delete:client_credentials` | only for keys: ")
}

func TestScopeWarnings(t *testing.T) {
	all := Wanted(true, true)
	assert.Empty(t, ScopeWarnings(all, true))
	assert.Empty(t, ScopeWarnings(Wanted(true, false), false))
	assert.Len(t, ScopeWarnings(Wanted(true, false), true), 1)
	assert.Empty(t, ScopeWarnings([]string{auth0.ScopeUpdateClientKeys, auth0.ScopeReadClients, auth0.ScopeReadClientCredentials}, false), "another scope covers it")
	warnings := ScopeWarnings([]string{auth0.ScopeUpdateClientKeys}, false)
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
