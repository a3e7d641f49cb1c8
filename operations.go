package auth0secrets

import (
	"context"
	"net/http"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// operationPrefix begins the names of all operations.
const operationPrefix = "auth0"

// reads is an operation that changes nothing, and answers what is stored, or what
// Auth0 says. Any node answers it.
func reads(callback framework.OperationFunc, summary string, answer map[int][]framework.Response) *framework.PathOperation {
	return &framework.PathOperation{Callback: handled(callback), Summary: summary, Responses: answer}
}

// readsActive is reads for what the node knows that rotates: the active one answers
// it. Of credentials, too: a lease has to be stored, which OpenBao's standbys cannot
// do, and a rotation waits for those who have read from the node that rotates.
func readsActive(callback framework.OperationFunc, summary string, answer map[int][]framework.Response) *framework.PathOperation {
	operation := reads(callback, summary, answer)
	operation.ForwardPerformanceStandby = true
	return operation
}

// writes is an operation that runs where storage can be written. example is
// what a request may send.
func writes(
	callback framework.OperationFunc, summary string, answer map[int][]framework.Response, example framework.RequestExample,
) *framework.PathOperation {
	return &framework.PathOperation{
		Callback: handled(callback), Summary: summary, Responses: answer, Examples: []framework.RequestExample{example},
		ForwardPerformanceSecondary: true, ForwardPerformanceStandby: true,
	}
}

// deletes is writes for an operation that takes no input.
func deletes(callback framework.OperationFunc, summary string) *framework.PathOperation {
	return &framework.PathOperation{
		Callback: handled(callback), Summary: summary, Responses: noContent(),
		ForwardPerformanceSecondary: true, ForwardPerformanceStandby: true,
	}
}

// exists is the existence check of an entry that is stored under a key, or under a
// folder by its name.
func exists(key string) framework.ExistenceFunc {
	return func(ctx context.Context, req *logical.Request, d *framework.FieldData) (bool, error) {
		name, _ := sent[string](d, fieldName)
		entry, err := req.Storage.Get(ctx, key+name)
		return entry != nil, err
	}
}

// answersWith declares what an operation answers with.
func answersWith(fields fieldSchemas, example map[string]any) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusOK: {{
		Description: http.StatusText(http.StatusOK), Fields: fields, Example: &logical.Response{Data: example},
	}}}
}

// noContent is what operations answer that have nothing to say but warnings.
func noContent() map[int][]framework.Response {
	return map[int][]framework.Response{
		http.StatusNoContent: {{Description: http.StatusText(http.StatusNoContent)}},
	}
}

// onlyWarnings answers with nothing but warnings, if there are any.
func onlyWarnings(warnings []string, err error) (*logical.Response, error) {
	if err != nil || len(warnings) == 0 {
		return nil, err
	}
	return &logical.Response{Warnings: warnings}, nil
}

// named is how OpenAPI and user interfaces name a path's operations.
func named(suffix string) *framework.DisplayAttributes {
	return &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: suffix}
}

// namedVerb is named, with a verb of its own.
func namedVerb(verb, suffix string) *framework.DisplayAttributes {
	return &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: verb, OperationSuffix: suffix}
}

// listed is named, for a list that user interfaces show.
func listed(suffix, itemType string) *framework.DisplayAttributes {
	return &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: suffix, Navigation: true, ItemType: itemType}
}
