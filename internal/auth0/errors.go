package auth0

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Class says what is known of a failed request.
type Class int

// The classes. The zero value is the one that is safe to assume.
const (
	Ambiguous Class = iota // it may have taken effect or not
	Refused                // it has not: Auth0 said so, or it was never sent
	Limited                // it has not, because of the rate limit: to be sent again after Error.RetryAfter
)

// String gives the class in lower case, as in "refused".
func (c Class) String() string {
	switch c {
	case Refused:
		return "refused"
	case Limited:
		return "limited"
	default:
		return "ambiguous"
	}
}

// ClassOf gives the class of the *Error in err's chain. Any other error,
// including nil, is Ambiguous.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Ambiguous
}

// Error is the only type of error that a Client's calls return. No text of upstream is
// in it: every request carries a token or a secret, and an answer could quote it in any
// encoding.
type Error struct {
	Class      Class
	Op         string        // such as "token", "get application", "set secret", "rotate secret"
	Status     int           // HTTP status; 0: no answer, or nothing was sent
	Code       string        // Auth0's errorCode, or the OAuth2 error, if it is one of knownCodes
	Message    string        // what went wrong, of the texts in reasons.go; may be empty
	RetryAfter time.Duration // Limited only: how long to wait, at least 1s

	fields []string // not nil: the reason is that the token may not read these
	cause  error
}

// Unwrap gives the transport's or the context's error, such as
// context.DeadlineExceeded; nil if there was an answer, or if the error could quote one.
func (e *Error) Unwrap() error { return e.cause }

// Error gives, for example,
//
//	set secret: Auth0 refused (403 insufficient_scope): the token lacks a scope for this
//	get application: no clear answer from Auth0: no answer in time
//	token: Auth0 limits the rate (429), retry in 12s
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	switch {
	case e.Class == Limited:
		b.WriteString(": Auth0 limits the rate")
	case e.Class == Refused && e.Op == opEnabledKeys && e.Status == 0: // it was read, and is no good
	case e.Class == Refused && e.Status == 0:
		b.WriteString(": not sent")
	case e.Class == Refused:
		b.WriteString(": Auth0 refused")
	default:
		b.WriteString(": no clear answer from Auth0")
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, " (%d", e.Status)
		if e.Code != "" && e.Class != Limited {
			b.WriteString(" " + e.Code)
		}
		b.WriteString(")")
	}
	if e.Class == Limited {
		seconds := (e.RetryAfter + time.Second - 1).Truncate(time.Second)
		fmt.Fprintf(&b, ", retry in %s", seconds)
	} else if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

// Format implements fmt.Formatter: no verb shows more than Error does.
func (e *Error) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(e.Error())) }

// notSent is the error for a request that is not even tried.
func notSent(op, why string) *Error {
	return &Error{Class: Refused, Op: op, Message: why}
}

// noAnswer is the error for a request that brought no (whole) answer.
func noAnswer(op string, err error) *Error {
	e := &Error{Op: op}
	e.Message, e.cause = failedExchange(err)
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted { // nothing was sent
		e.Class = Refused
	}
	return e
}

// unreadable is the error for a 2xx answer that is not what was asked for. The
// parser's error is not quoted: it can hold parts of the body.
func unreadable(op string, status int, why string) *Error {
	return &Error{Op: op, Status: status, Message: why}
}

// answer is what came back from the tenant's domain.
type answer struct {
	op      string
	status  int
	header  http.Header
	body    []byte
	readErr error // why body is not the whole one
}

// judge gives the error that an answer stands for, nil for a readable 2xx. A refusal
// must be positive evidence: a whole body in the form of Auth0's errors, for the same
// status. An answer of a proxy proves nothing.
func judge(a answer) *Error {
	if a.status/100 == 2 && a.readErr == nil {
		return nil
	}
	e := &Error{Op: a.op, Status: a.status}
	code, message, fromAuth0 := a.parse()
	if slices.Contains(knownCodes, code) {
		e.Code = code
	}
	switch {
	case a.status == http.StatusTooManyRequests && fromAuth0:
		e.Class, e.RetryAfter = Limited, retryAfter(a.header, time.Now())
	case a.readErr != nil:
		e.Code, e.Message = "", reasonUnreadable
		if errors.Is(a.readErr, errTooLong) {
			e.Message = reasonTooLong
		}
		_, e.cause = failedExchange(a.readErr)
	case a.status/100 == 3:
		e.Message = ReasonRedirected
	case !fromAuth0:
		e.Message = ReasonNotAuth0
	case a.status/100 == 4 && a.status != http.StatusRequestTimeout:
		e.Class = Refused
		e.Message, e.fields = explain(a.op, a.status, code, message)
		switch {
		case e.Message == reasonSubscription:
			e.Code = codeSubscription
		case e.fields != nil: // it is not that the scopes are too few for the request
			e.Code = ""
		}
	case fromAuth0:
		e.Message = reasonItsFault
	}
	return e
}

// parse reads an error's body, which has one of these forms, the second at the endpoints
// of OAuth 2 only:
//
//	{"statusCode":403,"error":"Forbidden","message":"...","errorCode":"insufficient_scope"}
//	{"error":"access_denied","error_description":"Unauthorized"}
func (a answer) parse() (code, message string, ok bool) {
	var fields map[string]any // so that an unexpected type in one does not hide the others
	text := func(key string) string { s, _ := fields[key].(string); return s }
	if a.readErr != nil || json.Unmarshal(a.body, &fields) != nil || text("error") == "" {
		return "", "", false
	}
	code, message = text("errorCode"), text("message")
	statusCode, hasStatus := fields["statusCode"].(float64)
	if isOAuth(a.op) && !hasStatus {
		return cmp.Or(code, text("error")), cmp.Or(message, text("error_description")), true
	}
	if int(statusCode) != a.status {
		return "", "", false
	}
	return code, message, true
}

// isOAuth says whether what is done is a request of OAuth 2, and not of the Management API.
func isOAuth(op string) bool { return op == OpToken || op == opTryKey }

// HasCode says whether Auth0 has refused a request with this code.
func HasCode(err error, code string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Class == Refused && e.Code == code
}
