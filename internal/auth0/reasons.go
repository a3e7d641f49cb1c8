package auth0

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"unicode"
)

// Codes of refusals that mean something to a caller.
const (
	CodeUnknownApplication = "inexistent_client"
	CodeInsufficientScope  = "insufficient_scope"
	CodeInvalidBody        = "invalid_body"

	// codeSubscription also stands for CodeInsufficientScope where that is said of
	// the tenant's subscription: no scope would help.
	codeSubscription = "insufficient_entitlement"
)

// knownCodes are the codes of the Management API and of OAuth 2 that an Error shows.
var knownCodes = []string{
	CodeUnknownApplication, CodeInsufficientScope, CodeInvalidBody,
	codeSubscription, "invalid_query_string", "invalid_uri", "invalid_token", "invalid_request", "invalid_scope",
	"operation_not_supported", "too_many_requests", "too_many_entities", "inexistent_credential", "credential_in_use",
	"access_denied", "invalid_client", "unauthorized_client", "invalid_grant", "unsupported_grant_type",
	"server_error", "temporarily_unavailable",
}

// Reasons of a failure for which a caller may know a remedy.
const (
	ReasonNoSuchAPI         = "there is no API with this audience"
	ReasonNotAuthorized     = "the application has no grant for this API"
	ReasonGrantType         = "the application may not use the grant type client_credentials"
	ReasonOrganization      = "the application's grant for this API is for organizations only"
	ReasonNoOrganization    = "the application's grant for this API is not for organizations"
	ReasonOtherOrganization = "the application's grant for this API is not for this organization"
	ReasonCredential        = "the client ID is not known, or its secret or key is not accepted"
	ReasonToken             = "the API does not accept the token"
	ReasonRedirected        = "Auth0 redirects elsewhere, which is not followed"
	ReasonNotAuth0          = "something other than Auth0 answered"

	ReasonLate        = "no answer in time"
	ReasonNoHost      = "the domain cannot be reached: there is no such host"
	ReasonNoLookup    = "the domain cannot be reached: its address could not be looked up"
	ReasonNotTLS      = "what listens there does not speak TLS"
	ReasonCertificate = "its certificate is not valid"
	ReasonUnknownCA   = "its certificate is signed by an unknown authority"
	ReasonOtherHosts  = "its certificate is for other hosts"
	ReasonExpired     = "its certificate has expired, or is not valid yet"
)

// Other reasons.
const (
	reasonItsFault = "Auth0 failed"

	reasonScope        = "the token lacks the scope for this"
	reasonFields       = "the token may not read all fields that were asked for"
	reasonSubscription = "the tenant's subscription does not include this"
	reasonUnknownApp   = "there is no such application"
	reasonBody         = "Auth0 takes what was sent for invalid"
	reasonNotSupported = "the application does not support this"
	reasonKeyed        = "the application authenticates by private_key_jwt"

	reasonLeftBehind = "a key that was registered could not be removed again"

	reasonUnreadable = "the answer could not be read"
	reasonTooLong    = "the answer could not be read: it is too long"

	reasonGivenUp   = "the request was given up"
	reasonNoConnect = "the domain cannot be reached: "
	reasonNoProxy   = "the proxy cannot be reached: "
	reasonLost      = "the connection was lost"
	reasonHandshake = "no TLS connection could be made"
	reasonFailed    = "the exchange failed"
)

// explain says in our words why Auth0 has refused a request. fields are not nil if the
// reason is that the token may not read them.
func explain(op string, status int, code, message string) (reason string, fields []string) {
	said := strings.ToLower(message)
	has := func(text string) bool { return strings.Contains(said, text) }
	if isOAuth(op) {
		switch {
		case has("service not enabled"), has("service not found"):
			return ReasonNoSuchAPI, nil
		case has("organization is required"):
			return ReasonOrganization, nil
		case has("organization is not allowed"):
			return ReasonNoOrganization, nil
		case has("not authorized to access organization"):
			return ReasonOtherOrganization, nil
		case has("not authorized to access"):
			return ReasonNotAuthorized, nil
		case code == "unauthorized_client":
			return ReasonGrantType, nil
		case status == http.StatusUnauthorized, code == "invalid_client":
			return ReasonCredential, nil
		}
		return "", nil
	}
	switch {
	case has("cannot read the following fields"):
		return reasonFields, fieldsIn(message)
	case has("upgrade your subscription"), code == codeSubscription:
		return reasonSubscription, nil
	case code == CodeInsufficientScope:
		return reasonScope, nil
	case code == CodeUnknownApplication:
		return reasonUnknownApp, nil
	case has("private_key_jwt"):
		return reasonKeyed, nil
	case code == CodeInvalidBody:
		return reasonBody, nil
	case code == "operation_not_supported":
		return reasonNotSupported, nil
	case status == http.StatusUnauthorized:
		return ReasonToken, nil
	}
	return "", nil
}

// fieldsIn are the fields that a message names, but for those that any scope shows; not
// nil.
func fieldsIn(message string) []string {
	found := []string{}
	_, message, _ = strings.Cut(message, ":")
	for _, word := range strings.FieldsFunc(message, func(c rune) bool { return c != '_' && !unicode.IsLetter(c) }) {
		if slices.Contains(applicationFields, word) && !slices.Contains(openFields.fields, word) {
			found = append(found, word)
		}
	}
	return found
}

// failedExchange says in our words why there was no answer, or not a whole one: net/http
// quotes parts of what it cannot read. cause is an error that quotes nothing, or nil.
func failedExchange(err error) (reason string, cause error) {
	var dns *net.DNSError
	var connect *net.OpError
	var timeout net.Error
	var errno syscall.Errno
	switch {
	case errors.Is(err, context.Canceled):
		return reasonGivenUp, context.Canceled
	case errors.As(err, &dns) && dns.IsNotFound:
		return ReasonNoHost, dns
	case errors.As(err, &dns):
		return ReasonNoLookup, dns
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return ReasonLate, context.DeadlineExceeded
	case errors.As(err, &connect) && slices.Contains([]string{"dial", "proxyconnect"}, connect.Op) && errors.As(err, &errno):
		if connect.Op == "proxyconnect" {
			return reasonNoProxy + errno.Error(), errno
		}
		return reasonNoConnect + errno.Error(), errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &errno):
		return reasonLost, nil
	}
	return failedHandshake(err), nil
}

// failedHandshake is failedExchange for TLS.
func failedHandshake(err error) string {
	var untrusted *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var hosts x509.HostnameError
	var invalid x509.CertificateInvalidError
	var notTLS tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.As(err, &unknown):
		return ReasonUnknownCA
	case errors.As(err, &hosts):
		return ReasonOtherHosts
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return ReasonExpired
	case errors.As(err, &untrusted):
		return ReasonCertificate
	case errors.As(err, &notTLS), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"): // net/http has no type for it
		return ReasonNotTLS
	case errors.As(err, &alert), strings.Contains(err.Error(), "tls: "):
		return reasonHandshake
	}
	return reasonFailed
}

// maxText is how many characters are kept of a text of Auth0, such as a name.
const maxText = 200

// Printable drops what could move a terminal's cursor, break a line or hide text:
// control and format characters, and bytes that are not UTF-8.
func Printable(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsGraphic(c) && c != unicode.ReplacementChar {
			return c
		}
		return -1
	}, text)
}

// plain makes a text of Auth0, such as an application's name, fit to be shown.
func plain(text string) string {
	text = Printable(text)
	if chars := []rune(text); len(chars) > maxText {
		text = string(chars[:maxText-1]) + "…"
	}
	return text
}

// scopePattern is what a scope may consist of, as in RFC 6749.
var scopePattern = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]{1,128}$`)

// scopesIn reads the scopes of a token's answer.
func scopesIn(text string) []string {
	granted := []string{} // not nil: known to be none
	for _, scope := range strings.Fields(text) {
		if scopePattern.MatchString(scope) {
			granted = append(granted, scope)
		}
	}
	return granted
}
