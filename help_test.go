package auth0secrets

import (
	"testing"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryPathExplainsItself: help, a summary and declared answers for each
// operation, and a description of every field.
func TestEveryPathExplainsItself(t *testing.T) {
	env := newEnv(t)
	for _, path := range env.b.Paths {
		assert.NotEmpty(t, path.HelpSynopsis, path.Pattern)
		assert.NotEmpty(t, path.HelpDescription, path.Pattern)
		for name, field := range path.Fields {
			assert.NotEmpty(t, field.Description, "%s %s", path.Pattern, name)
		}
		for operation, handler := range path.Operations {
			props := handler.Properties()
			assert.NotEmpty(t, props.Summary, "%s %s", operation, path.Pattern)
			assert.NotEmpty(t, props.Responses, "%s %s", operation, path.Pattern)
			writes := operation != logical.ReadOperation && operation != logical.ListOperation
			assert.Equal(t, writes, props.ForwardPerformanceStandby && props.ForwardPerformanceSecondary,
				"%s %s: what writes to Auth0 and storage has to run where storage can be written", operation, path.Pattern)
		}
	}
	help, err := env.b.HandleRequest(t.Context(), &logical.Request{Operation: logical.HelpOperation, Path: ""})
	require.NoError(t, err)
	assert.Contains(t, help.Data["help"], "rotates the client secrets of Auth0 applications")
}

// TestEveryPathRefusesUnknownFields, whatever the operation.
func TestEveryPathRefusesUnknownFields(t *testing.T) {
	env := configuredEnv(t)
	env.write("roles/app", map[string]any{fieldClientID: testAppID})
	operations := map[string][]logical.Operation{
		"config":           {logical.UpdateOperation, logical.ReadOperation, logical.DeleteOperation},
		"roles/":           {logical.ListOperation},
		"roles/app":        {logical.UpdateOperation, logical.ReadOperation, logical.DeleteOperation},
		"creds/app":        {logical.ReadOperation},
		"static-creds/app": {logical.ReadOperation},
		"status":           {logical.ReadOperation},
		"rotate":           {logical.UpdateOperation, logical.ReadOperation},
		"rotate-root":      {logical.UpdateOperation},
		"roles-import":     {logical.UpdateOperation},
		"applications/":    {logical.ListOperation},
		"token-roles/":     {logical.ListOperation},
		"token-roles/x":    {logical.UpdateOperation, logical.ReadOperation, logical.DeleteOperation},
		"tokens/x":         {logical.ReadOperation},
		"rotate/app":       {logical.UpdateOperation, logical.ReadOperation},
	}
	covered := map[*framework.Path]bool{}
	for path, of := range operations {
		route := env.b.Route(path)
		require.NotNil(t, route, path)
		covered[route] = true
		for _, operation := range of {
			env.refused(400, `unknown field "surprise"`, operation, path, map[string]any{"surprise": "x"})
		}
	}
	assert.Len(t, covered, len(env.b.Paths), "a path is missing from this test")
	assert.Equal(t, testAppSecret, env.read("creds/app")[fieldClientSecret])
}
