package auth0

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Class says what is known of a failed request.
type Class int

const (
	// Ambiguous means that it is not known whether the request took effect. The
	// zero value, since it is the safe thing to assume.
	Ambiguous Class = iota
	// Refused means that the request certainly did not take effect, because
	// Auth0 said so or because it was never sent.
	Refused
	// Limited means that the rate limit turned it away (429), or that it was held
	// back here because of it. To be sent again after Error.RetryAfter.
	Limited
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
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return Ambiguous
}

// Error is the only type of error that a Client's calls return. Nothing in its
// text comes from upstream: every request carries a token or a secret, and an
// answer could quote it in any encoding. Code is one of a list, Message one of
// the texts in reasons.go.
type Error struct {
	Class      Class
	Op         string        // such as "token", "get application", "set secret", "rotate secret"
	Status     int           // HTTP status; 0: no answer, or nothing was sent
	Code       string        // Auth0's errorCode, or the OAuth2 error, if it is a known one
	Message    string        // what went wrong; may be empty
	RetryAfter time.Duration // Limited only: how long to wait, at least 1s

	fields []string // that Auth0 said the token may not read; not nil: that was the reason
	cause  error
}

// Unwrap gives the transport's or the context's error, so that
// errors.Is(err, context.DeadlineExceeded) works; nil if there was an answer, or
// if the error could quote one.
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
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) { // whoever that was, nothing was sent to it
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

// judge gives the error that an answer stands for, nil for a readable 2xx.
// A refusal must be positive evidence: a whole body in the form that Auth0
// gives its errors, for the same status. What a proxy says proves nothing.
func judge(a answer) *Error {
	if a.status/100 == 2 && a.readErr == nil {
		return nil
	}
	e := &Error{Op: a.op, Status: a.status}
	code, message, fromAuth0 := a.parse()
	e.Code = knownCode(code)
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

// parse reads an error's body. Shapes, of the Management API and of
// /oauth/token:
//
//	{"statusCode":403,"error":"Forbidden","message":"...","errorCode":"insufficient_scope"}
//	{"error":"access_denied","error_description":"Unauthorized"}
//
// ok says whether it is in the form for this operation.
func (a answer) parse() (code, message string, ok bool) {
	if a.readErr != nil {
		return "", "", false
	}
	// A map, so that an unexpected type in one field does not hide the others.
	var fields map[string]any
	if json.Unmarshal(a.body, &fields) != nil {
		return "", "", false
	}
	text := func(key string) string { s, _ := fields[key].(string); return s }
	if text("error") == "" {
		return "", "", false
	}
	code, message = text("errorCode"), text("message")
	statusCode, hasStatus := fields["statusCode"].(float64)
	if a.op == OpToken && !hasStatus {
		if code == "" {
			code = text("error")
		}
		if message == "" {
			message = text("error_description")
		}
		return code, message, true
	}
	if int(statusCode) != a.status {
		return "", "", false
	}
	return code, message, true
}

// HasCode says whether Auth0 has refused a request with this code.
func HasCode(err error, code string) bool {
	var upstream *Error
	return errors.As(err, &upstream) && upstream.Class == Refused && upstream.Code == code
}
