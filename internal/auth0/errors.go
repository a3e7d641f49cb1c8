package auth0

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
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

// Error is the only type of error that a Client's calls return. Its texts come
// partly from upstream: they are cleaned and bounded, hold no secret or token,
// and must not be used as a format string.
type Error struct {
	Class      Class
	Op         string        // such as "token", "get application", "set secret", "rotate secret"
	Status     int           // HTTP status; 0: no answer, or nothing was sent
	Code       string        // Auth0's errorCode, or the OAuth2 error; may be empty
	Message    string        // Auth0's message or description, or what went wrong; at most 200 characters
	RetryAfter time.Duration // Limited only: how long to wait, at least 1s
	cause      error
}

// Unwrap gives the transport's or the context's error, so that
// errors.Is(err, context.DeadlineExceeded) works; nil if there was an answer.
func (e *Error) Unwrap() error { return e.cause }

// Error gives, for example,
//
//	set secret: Auth0 refused (403 insufficient_scope): Insufficient scope, expected any of: update:client_keys
//	get application: no clear answer from Auth0: context deadline exceeded
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

// notSent is the error for a request that is not even tried.
func notSent(op, why string) *Error {
	return &Error{Class: Refused, Op: op, Message: why}
}

// noAnswer is the error for a request that brought no (whole) answer.
func noAnswer(op string, err error, hide redactor) *Error {
	// net/http wraps its errors with method and URL. The operation says the
	// first, and nobody needs the second.
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	text := err.Error()
	if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
		text = "the domain cannot be reached: " + text
	}
	e := &Error{Op: op, Message: hide.clean(text), cause: err}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) { // whoever that was, nothing was sent to him
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
func judge(a answer, hide redactor) *Error {
	if a.status/100 == 2 && a.readErr == nil {
		return nil
	}
	e := &Error{Op: a.op, Status: a.status}
	code, message, fromAuth0 := a.parse()
	e.Code, e.Message = hide.clean(code), hide.clean(message)
	switch {
	case a.status == http.StatusTooManyRequests:
		e.Class, e.RetryAfter = Limited, retryAfter(a.header, time.Now())
	case a.readErr != nil:
		e.Code, e.cause = "", a.readErr
		e.Message = hide.clean("the answer could not be read: " + a.readErr.Error())
	case a.status/100 == 3:
		to := "nowhere"
		if u, err := url.Parse(a.header.Get("Location")); err == nil && u.Host != "" {
			to = u.Host
		}
		e.Message = hide.clean("redirected to " + to + ", which is not followed")
	case !fromAuth0:
		contentType, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
		if contentType == "" {
			contentType = "no content type"
		}
		e.Message = hide.clean("something other than Auth0 answered, with " + contentType)
	case a.status/100 == 4 && a.status != http.StatusRequestTimeout:
		e.Class = Refused
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

const (
	redacted   = "[redacted]"
	maxMessage = 200 // characters
)

// userinfo matches the credentials in an address, such as a proxy's.
var userinfo = regexp.MustCompile(`//[^/@\s]*@`)

// shortestHidden is the length of a secret below which it cannot be told from
// the words of a message: hiding it would garble the text and point it out.
const shortestHidden = 4

// redactor holds what must not be seen in a message.
type redactor []string

// clean makes upstream text fit to be shown: without control characters,
// without the secrets, at most maxMessage characters. The cut comes last, so
// that it cannot leave a part of a secret that is then not recognised.
func (r redactor) clean(text string) string {
	text = withoutControls(text)
	for _, secret := range r {
		if len(withoutControls(secret)) < shortestHidden {
			continue
		}
		for _, form := range forms(secret) {
			text = strings.ReplaceAll(text, form, redacted)
		}
	}
	text = userinfo.ReplaceAllString(text, "//"+redacted+"@")
	if chars := []rune(text); len(chars) > maxMessage {
		text = string(chars[:maxMessage-1]) + "…"
	}
	return text
}

// forms are those in which a message may quote a secret: as it is, escaped for a URL,
// and escaped for JSON, with and without that for HTML, once and twice.
func forms(secret string) []string {
	plain := withoutControls(secret)
	once, forHTML := inJSON(secret, false), inJSON(secret, true)
	all := []string{plain, url.QueryEscape(plain), url.PathEscape(plain), once, inJSON(once, false), forHTML, inJSON(forHTML, true)}
	// the longest first: a shorter one may be a part of it
	slices.SortStableFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}

// inJSON is a text as it stands within a string of JSON.
func inJSON(text string, html bool) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(html)
	if encoder.Encode(text) != nil {
		return text
	}
	quoted := strings.TrimSuffix(out.String(), "\n")
	return quoted[1 : len(quoted)-1]
}

// withoutControls drops what could move a terminal's cursor, break a line or
// hide text: control and format characters, and bytes that are not UTF-8.
func withoutControls(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == unicode.ReplacementChar {
			return -1
		}
		return c
	}, text)
}

// HasCode says whether Auth0 has refused a request with this code.
func HasCode(err error, code string) bool {
	var upstream *Error
	return errors.As(err, &upstream) && upstream.Class == Refused && upstream.Code == code
}
