// Package answers checks what the engine answers against what it declares. It
// is for tests only.
package answers

import (
	"testing"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/testhelpers/schema"
	"github.com/hashicorp/vault/sdk/logical"
)

// Router finds the path that answers a request. A framework.Backend is one.
type Router interface {
	Route(path string) *framework.Path
}

// Check fails the test unless data is an answer that the path declares for the
// operation: all required fields are there, no others, and each of its type.
func Check(t *testing.T, router Router, operation logical.Operation, path string, data map[string]any) {
	t.Helper()
	route := router.Route(path)
	if route == nil {
		t.Fatalf("no path answers %q", path)
	}
	declared := schema.GetResponseSchema(t, route, operation)
	if len(declared.Fields) == 0 && len(data) > 0 {
		t.Fatalf("%s %s declares no data and answers %d fields", operation, path, len(data))
	}
	schema.ValidateResponseData(t, declared, data, true)
}
