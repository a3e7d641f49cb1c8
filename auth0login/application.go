package auth0login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/oauth2"
)

// rounds is how often a login tries each secret. Once is not enough while a new
// secret reaches Auth0's servers: they may refuse it, then receive it, and so refuse
// the old one, too.
const rounds = 2

// ErrRefused is in the chain of the error of a login for which Auth0 refused all of
// the secrets, or each assertion. An attempt of [Application.Login] that is not made with
// golang.org/x/oauth2 wraps it to say that its secret was refused.
var ErrRefused = errors.New("Auth0 refused the client secret or assertion")

// Application logs in with the credentials of a [Source]. It is safe for concurrent
// use; the goroutines of a process should share one.
type Application struct {
	source Source
	domain *string // of the only tenant it may log in at; nil: at any
	record *record
}

// Option is an option of [New].
type Option func(*Application)

// Domain is the domain of the application's own tenant: a host, or host:port, such as
// example.eu.auth0.com. Credentials for another one are refused with an error, before
// anything is sent and before an address is made. Upper and lower case are the same.
//
// The domain must come from the application's own configuration, not from Vault.
// Otherwise everybody who may write the engine's config and roles could send users and
// logins to a tenant of their own.
func Domain(domain string) Option {
	return func(a *Application) { a.domain = &domain }
}

// New is an application whose credentials come from source. Nothing is read yet.
// Every application should have the option [Domain].
func New(source Source, options ...Option) *Application {
	a := &Application{source: source, record: &record{}}
	for _, option := range options {
		option(a)
	}
	return a
}

// Login calls attempt with one secret after the other until one is not refused, and
// returns what that attempt has returned. An attempt says that its secret was refused
// by an [oauth2.RetrieveError] with the code invalid_client or access_denied, or by
// [ErrRefused]; any other error ends the login.
//
// A secret that was refused is tried after each that is known to work, and after each
// that no attempt has told anything of. So an authorization code, which Auth0 may void
// when it comes with a wrong secret, is never sent with one that is known to be dead: one
// that the last answer refused, while another of the set was accepted and not refused
// since. No secret is given up, since servers that a new secret has not reached yet still
// accept the old one alone: when the others are refused in this login, it is tried, too.
//
// If [Credentials.ByAssertion], secret is a client assertion, to be sent as client_assertion
// with the client_assertion_type of RFC 7523. Each attempt has another one, since Auth0
// accepts each once: an attempt must not send it twice. There are two attempts, and three
// if the key is another one after the first.
//
// It is for libraries other than golang.org/x/oauth2; with that, the other methods
// are more convenient. An attempt must not follow redirects: they would take the
// secret along. The [oauth2.HTTPClient] of its context follows none.
func (a *Application) Login(ctx context.Context, attempt func(ctx context.Context, c Credentials, secret string) error) error {
	var refusal, rereading error
	attempting := withoutRedirects(ctx)
	var before Credentials
	for round, last := 1, rounds; round <= last; round++ {
		if refresher, ok := a.source.(Refresher); ok && round == 2 {
			rereading = refresher.Refresh(ctx)
		}
		c, secrets, err := a.toTry(ctx)
		if err != nil && refusal != nil {
			return errors.Join(&refusedError{refusal, before.ByAssertion()}, err)
		}
		if err != nil {
			return err
		}
		if round == 2 && c.addsTo(before) {
			last = 1 + rounds // a secret that was not there before is tried as often as the others
		}
		before = c
		for _, secret := range secrets {
			number := a.record.begin()
			err := answered(attempt(attempting, c, secret))
			if !refused(err) {
				if accepted(err) && !c.ByAssertion() {
					a.record.ended(secret, number, true)
				}
				return err
			}
			if aboutTheSecret(err) && !c.ByAssertion() {
				a.record.ended(secret, number, false)
			}
			refusal = moreTelling(refusal, err)
		}
	}
	return errors.Join(&refusedError{refusal, before.ByAssertion()}, rereading)
}

// toTry gives the credentials, and the secrets to try in their order: with assertions the
// one of the next attempt.
func (a *Application) toTry(ctx context.Context) (Credentials, []string, error) {
	c, err := a.credentials(ctx)
	if err != nil {
		return c, nil, err
	}
	if !c.ByAssertion() {
		return c, a.record.inOrder(c.ClientSecrets), nil
	}
	assertion, err := c.assertion()
	if err == nil && !a.record.first(assertion) {
		err = errors.New("the client assertion was used before, and is good once: the source has to give another one for each login")
	}
	if err != nil {
		return c, nil, fmt.Errorf("credentials for Auth0: %w", err)
	}
	return c, []string{assertion}, nil
}

func (a *Application) credentials(ctx context.Context) (Credentials, error) {
	c, err := a.source.Credentials(ctx)
	if err == nil {
		err = c.validate()
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("credentials for Auth0: %w", err)
	}
	if a.domain == nil {
		return c, nil
	}
	if !strings.EqualFold(c.Domain, *a.domain) {
		return Credentials{}, fmt.Errorf("credentials for Auth0: the domain %q is expected, but they are for %q", *a.domain, c.Domain)
	}
	c.Domain = *a.domain // what is used is the application's own text
	return c, nil
}

// refused says whether Auth0 has refused the secret. It answers access_denied where
// OAuth has invalid_client.
func refused(err error) bool {
	var answer *oauth2.RetrieveError
	if errors.As(err, &answer) {
		return saysNo(answer.Response, answer.ErrorCode) && (answer.ErrorCode == "invalid_client" || answer.ErrorCode == "access_denied")
	}
	return errors.Is(err, ErrRefused)
}

// saysNo says whether the answer's status can be a refusal: it is none if Auth0 limits
// the rate, or fails, whatever the body says. With 400 invalid_client is one (RFC 6749, 5.2):
// which status Auth0 gives for an assertion is not known.
func saysNo(answer *http.Response, code string) bool {
	return answer == nil || answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden ||
		answer.StatusCode == http.StatusBadRequest && code == "invalid_client"
}

// accepted says whether Auth0 has accepted the secret. Only after that does Auth0 look
// at the code or the refresh token. Should it void a code that came with a wrong secret
// before, the next login begins with the right one.
func accepted(err error) bool {
	var answer *oauth2.RetrieveError
	return err == nil || errors.As(err, &answer) && answer.ErrorCode == "invalid_grant"
}

// aboutTheSecret says whether a refusal tells that the secret is wrong. With 403 Auth0 says
// access_denied of an audience, too: such a login tries the other secrets, but tells nothing
// that the order of later ones should follow.
func aboutTheSecret(refusal error) bool {
	var answer *oauth2.RetrieveError
	return !errors.As(refusal, &answer) || answer.Response == nil || answer.Response.StatusCode == http.StatusUnauthorized
}

// moreTelling is the refusal to report: the last one, unless an earlier one was not about
// the secret.
func moreTelling(earlier, last error) error {
	if earlier != nil && !aboutTheSecret(earlier) {
		return earlier
	}
	return last
}

// refusedError is the error of a login for which all secrets were refused.
type refusedError struct {
	cause       error
	byAssertion bool
}

func (e *refusedError) Error() string {
	if e.byAssertion {
		return "each client assertion was refused: " + e.cause.Error()
	}
	return "all client secrets were refused: " + e.cause.Error()
}
func (e *refusedError) Unwrap() error { return e.cause }
func (e *refusedError) Is(target error) bool {
	return target == ErrRefused
}
