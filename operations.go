package auth0secrets

import (
	"context"
	"net/http"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// operationPrefix begins the names of all operations.
const operationPrefix = "auth0"

// reads declares an operation that changes nothing. Any node answers it.
func reads(callback framework.OperationFunc, summary string, answer map[int][]framework.Response) *framework.PathOperation {
	return &framework.PathOperation{Callback: handled(callback), Summary: summary, Responses: answer}
}

// readsActive declares a read that only the active node can answer, since it rotates.
// Reads of credentials belong here: OpenBao's standbys cannot store a lease, and a
// rotation waits for readers of the node that rotates.
func readsActive(callback framework.OperationFunc, summary string, answer map[int][]framework.Response) *framework.PathOperation {
	operation := reads(callback, summary, answer)
	operation.ForwardPerformanceStandby = true
	return operation
}

// writes declares an operation that runs where storage can be written. example is a
// request.
func writes(
	callback framework.OperationFunc, summary string, answer map[int][]framework.Response, example framework.RequestExample,
) *framework.PathOperation {
	return &framework.PathOperation{
		Callback: handled(callback), Summary: summary, Responses: answer, Examples: []framework.RequestExample{example},
		ForwardPerformanceSecondary: true, ForwardPerformanceStandby: true,
	}
}

// deletes is writes for an operation without input.
func deletes(callback framework.OperationFunc, summary string) *framework.PathOperation {
	return &framework.PathOperation{
		Callback: handled(callback), Summary: summary, Responses: noContent(),
		ForwardPerformanceSecondary: true, ForwardPerformanceStandby: true,
	}
}

// exists checks whether an entry is stored: under a key, or in a folder under the
// name in the path.
func exists(key string) framework.ExistenceFunc {
	return func(ctx context.Context, req *logical.Request, d *framework.FieldData) (bool, error) {
		name, _ := sent[string](d, fieldName)
		entry, err := req.Storage.Get(ctx, key+name)
		return entry != nil, err
	}
}

// answersWith declares the answer of an operation.
func answersWith(fields fieldSchemas, example map[string]any) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusOK: {{
		Description: http.StatusText(http.StatusOK), Fields: fields, Example: &logical.Response{Data: example},
	}}}
}

// noContent declares an answer without data. It may have warnings.
func noContent() map[int][]framework.Response {
	return map[int][]framework.Response{
		http.StatusNoContent: {{Description: http.StatusText(http.StatusNoContent)}},
	}
}

// onlyWarnings answers with warnings, if there are any.
func onlyWarnings(warnings []string, err error) (*logical.Response, error) {
	if err != nil || len(warnings) == 0 {
		return nil, err
	}
	return &logical.Response{Warnings: warnings}, nil
}

// named names a path's operations in OpenAPI and user interfaces.
func named(suffix string) *framework.DisplayAttributes {
	return &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: suffix}
}

// namedVerb is named with a verb.
func namedVerb(verb, suffix string) *framework.DisplayAttributes {
	return &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: verb, OperationSuffix: suffix}
}

// listed is named for a list that user interfaces show.
func listed(suffix, itemType string) *framework.DisplayAttributes {
	return &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: suffix, Navigation: true, ItemType: itemType}
}
