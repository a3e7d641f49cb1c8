package auth0login

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/oauth2"
)

// knownCodes are the codes of a token endpoint that errors show.
var knownCodes = []string{
	"access_denied", "invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "mfa_required", "server_error",
	"temporarily_unavailable", "too_many_requests", "unauthorized_client", "unsupported_grant_type",
}

// answerError is the error for an answer of the token endpoint without a token. It has
// no text of the answer's body, which may quote the request, and so the secret;
// [oauth2.RetrieveError], which it wraps, prints it.
type answerError struct {
	text  string
	cause error
}

// Error gives status and code, or says that the answer was a redirect.
func (e *answerError) Error() string { return e.text }

// Unwrap gives the [oauth2.RetrieveError].
func (e *answerError) Unwrap() error { return e.cause }

// Format implements fmt.Formatter: no verb shows the cause.
func (e *answerError) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(e.text)) }

// answered gives the error of an attempt a text that can be logged. Errors that are no
// answer of the token endpoint stay as they are.
func answered(err error) error {
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) || answer.Response == nil {
		return err
	}
	if answer.Response.StatusCode/100 == 3 {
		return &answerError{"the token endpoint redirects, which is not followed with a client secret or assertion", err}
	}
	text := fmt.Sprintf("the token endpoint answered %d", answer.Response.StatusCode)
	if slices.Contains(knownCodes, answer.ErrorCode) {
		text += " " + answer.ErrorCode
	}
	switch said := strings.ToLower(answer.ErrorDescription); {
	case strings.Contains(said, "not authorized to access"):
		text += ": the application has no grant for this API"
	case strings.Contains(said, "service not enabled"), strings.Contains(said, "service not found"):
		text += ": there is no API with this audience"
	}
	return &answerError{text, err}
}
