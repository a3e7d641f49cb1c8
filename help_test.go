package auth0secrets

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/testhelpers/schema"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryPathExplainsItself: help, a summary, examples and declared answers
// for each operation, and a description of every field.
func TestEveryPathExplainsItself(t *testing.T) {
	env := newEnv(t)
	for _, path := range env.b.Paths {
		assert.NotEmpty(t, path.HelpSynopsis, path.Pattern)
		assert.NotEmpty(t, path.HelpDescription, path.Pattern)
		if assert.NotNil(t, path.DisplayAttrs, path.Pattern) {
			assert.Equal(t, operationPrefix, path.DisplayAttrs.OperationPrefix, path.Pattern)
			assert.NotEmpty(t, path.DisplayAttrs.OperationSuffix, path.Pattern)
		}
		for name, field := range path.Fields {
			assert.NotEmpty(t, field.Description, "%s %s", path.Pattern, name)
		}
		for operation, handler := range path.Operations {
			explainsItself(t, path, operation, handler.Properties())
		}
	}
	help, err := env.b.HandleRequest(t.Context(), &logical.Request{Operation: logical.HelpOperation, Path: ""})
	require.NoError(t, err)
	assert.Contains(t, help.Data["help"], "rotates the client secrets of Auth0 applications, and their\nprivate keys")
}

func explainsItself(t *testing.T, path *framework.Path, operation logical.Operation, props framework.OperationProperties) {
	t.Helper()
	name := fmt.Sprint(operation, " ", path.Pattern)
	assert.NotEmpty(t, props.Summary, name)
	assert.NotEmpty(t, props.Responses, name)
	writes := operation != logical.ReadOperation && operation != logical.ListOperation
	assert.Equal(t, writes, props.ForwardPerformanceStandby && props.ForwardPerformanceSecondary,
		"%s: what writes to Auth0 and storage has to run where storage can be written", name)
	if writes && operation != logical.DeleteOperation && assert.NotEmpty(t, props.Examples, name) {
		for _, example := range props.Examples {
			assert.NotEmpty(t, example.Description, name)
			data := &framework.FieldData{Raw: example.Data, Schema: path.Fields}
			assert.NoError(t, data.Validate(), name)
			for field := range example.Data {
				assert.Contains(t, path.Fields, field, name)
			}
		}
	}
	for status, responses := range props.Responses {
		if responses[0].MediaType != "" { // a text: an example of the engine's own is in docs/api.md
			continue
		}
		if status != http.StatusNoContent && assert.NotNil(t, responses[0].Example, name) {
			schema.ValidateResponseData(t, &responses[0], responses[0].Example.Data, true)
		}
	}
}

// openAPI is the engine's OpenAPI document.
func (env *testEnv) openAPI() *framework.OASDocument {
	env.t.Helper()
	help, err := env.b.HandleRequest(env.t.Context(), &logical.Request{
		Operation: logical.HelpOperation, Path: "", Data: map[string]any{"requestResponsePrefix": operationPrefix},
	})
	require.NoError(env.t, err)
	document, ok := help.Data["openapi"].(*framework.OASDocument)
	require.True(env.t, ok)
	return document
}

// TestOpenAPIIsValid, with its schemas and examples. (Of an external plugin's
// document Vault drops the references to schemas.)
func TestOpenAPIIsValid(t *testing.T) {
	text, err := json.Marshal(newEnv(t).openAPI())
	require.NoError(t, err)
	document, err := openapi3.NewLoader().LoadFromData(text)
	require.NoError(t, err)
	require.NoError(t, document.Validate(t.Context(), openapi3.EnableExamplesValidation()))
	role := document.Paths.Value("/roles/{name}").Post.RequestBody.Value.Content.Get("application/json").Schema.Value
	assert.Contains(t, role.Properties, fieldRotationSchedule)
}

// TestOperationIDs: clients are generated from them, so they do not change
// unnoticed. UPDATE_GOLDEN=1 writes the file anew.
func TestOperationIDs(t *testing.T) {
	var lines []string
	for path, item := range newEnv(t).openAPI().Paths {
		for method, operation := range map[string]*framework.OASOperation{
			"GET": item.Get, "POST": item.Post, "PATCH": item.Patch, "DELETE": item.Delete,
		} {
			if operation != nil {
				lines = append(lines, fmt.Sprintf("%-6s /auth0%-24s %s", method, path, operation.OperationID))
			}
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[7:], b[7:]) })
	got := strings.Join(lines, "\n") + "\n"
	const golden = "testdata/operation_ids.txt"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
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
		"assertions/app":   {logical.ReadOperation},
		"status":           {logical.ReadOperation},
		"metrics":          {logical.ReadOperation},
		"rotate-all":       {logical.UpdateOperation, logical.ReadOperation, logical.DeleteOperation},
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
