package auth0secrets

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// badRequest is a 400. Its text says what is wrong and what to do.
func badRequest(format string, args ...any) error {
	return logical.CodedError(http.StatusBadRequest, fmt.Sprintf(format, args...))
}

func unknownRole(name string) error {
	return badRequest("role %q does not exist: create it at roles/%s", name, name)
}

// handled wraps the handler of every operation: it refuses input that the path does
// not know, and gives errors the form in which their status survives the plugin
// boundary.
func handled(handler framework.OperationFunc) framework.OperationFunc {
	return func(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
		if err := checkInput(req, d); err != nil {
			return nil, err
		}
		resp, err := handler(ctx, req, d)
		return resp, edgeError(err)
	}
}

// checkInput refuses unknown fields, null values, and a name that differs from the
// path's. The SDK would drop the first without a word, take null for a value, and
// overrule the third.
func checkInput(req *logical.Request, d *framework.FieldData) error {
	var unknown, null []string
	for field, value := range req.Data {
		if _, ok := d.Schema[field]; !ok {
			unknown = append(unknown, field)
		} else if value == nil {
			null = append(null, field)
		} else if field == fieldName && value != d.Raw[field] {
			return badRequest("%s in the request differs from the one in the path %q", fieldName, req.Path)
		}
	}
	if len(unknown) > 0 {
		return badRequest("unknown field %s: this path knows %s", quotedList(unknown), knownFields(d))
	}
	if len(null) > 0 {
		return badRequest("field %s is null: leave it out to keep what is stored, or send a value", quotedList(null))
	}
	return nil
}

// checkSecretForm refuses a secret that is not a string, or has white space around
// it, such as the line break of a file or of echo. It does not quote the secret. It
// looks only at what users send: Vault's requests to revoke a lease carry what was
// handed out, and are never refused.
func checkSecretForm(req *logical.Request) error {
	switch req.Operation {
	case logical.CreateOperation, logical.UpdateOperation, logical.PatchOperation:
	default:
		return nil
	}
	for _, field := range []string{fieldClientSecret, fieldPrivateKey} {
		value, ok := req.Data[field]
		text, isString := value.(string)
		if ok && value != nil && !isString {
			return badRequest("%s must be a string", field)
		}
		if field == fieldClientSecret && text != strings.TrimSpace(text) {
			return badRequest("%s has white space or a line break around it, which is not part of it: send it without (echo adds one, printf does not)", field)
		}
	}
	return nil
}

func knownFields(d *framework.FieldData) string {
	known := slices.DeleteFunc(slices.Sorted(maps.Keys(d.Schema)), func(field string) bool { return field == fieldName })
	if len(known) == 0 {
		return "none"
	}
	return strings.Join(known, ", ")
}

func quotedList(items []string) string {
	slices.Sort(items)
	return `"` + strings.Join(items, `", "`) + `"`
}

// unfinishedError: a step after the first one failed. It hides the class of its
// cause: that this step was refused does not mean that nothing has changed.
type unfinishedError struct {
	what  string
	cause error
}

// Error tells the cause and what follows.
func (e *unfinishedError) Error() string {
	return e.what + ": " + e.cause.Error() + ". Both are kept, and it will be tried again"
}

// caught is deferred around work. It turns a panic into an error of that work, so
// that the process and its other mounts live on. The log gets the place without
// values: an argument could be a secret.
func (b *backend) caught(failed func(error), doing string) {
	cause := recover()
	if cause == nil {
		return
	}
	what := fmt.Sprintf("%T", cause)
	if fault, ok := cause.(runtime.Error); ok {
		what = fault.Error()
	}
	b.Logger().Error("this is a defect of the plugin: please report it", "panic", what, "in", doing, "at", callers())
	failed(logical.CodedError(http.StatusInternalServerError, "the plugin met a defect of its own: see Vault's log, and please report it"))
}

// callers returns the functions and lines that led to a panic.
func callers() string {
	var at strings.Builder
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs)])
	for frame, more := frames.Next(); more; frame, more = frames.Next() {
		fmt.Fprintf(&at, "%s:%d ", frame.Function, frame.Line)
	}
	return strings.TrimSpace(at.String())
}

// edgeError gives an error the only forms that keep their meaning over the plugin
// boundary: a bare CodedError, or ErrReadOnly, which makes Vault forward the request.
func edgeError(err error) error {
	var coded logical.HTTPCodedError
	var upstream *auth0.Error
	var unfinished *unfinishedError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, logical.ErrReadOnly):
		return logical.ErrReadOnly
	case errors.As(err, &coded):
		return logical.CodedError(coded.Code(), err.Error())
	case errors.As(err, &upstream) && upstream.Class == auth0.Refused: // which the caller can mend, as opposed to the rest
		return logical.CodedError(http.StatusBadRequest, err.Error())
	case errors.As(err, &upstream) && upstream.Class == auth0.Limited:
		return logical.CodedError(http.StatusTooManyRequests, err.Error())
	case errors.As(err, &upstream), errors.As(err, &unfinished):
		return logical.CodedError(http.StatusBadGateway, err.Error())
	default:
		return err
	}
}
