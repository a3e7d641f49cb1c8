package auth0login

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/oauth2"
)

// withoutRedirects is a context for token requests. Its [oauth2.HTTPClient] is a copy of
// the caller's that follows no redirects: Go sends the body of a request, and so the
// secret, wherever a 307 or 308 points to, even without TLS.
func withoutRedirects(ctx context.Context) context.Context {
	client, ok := ctx.Value(oauth2.HTTPClient).(*http.Client)
	if !ok {
		client = http.DefaultClient
	}
	guarded := *client
	guarded.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return context.WithValue(ctx, oauth2.HTTPClient, &guarded)
}

// redirected says of the error of an attempt that was answered with a redirect what it
// is; other errors stay as they are. Of the address it shows only scheme and host.
func redirected(err error) error {
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) || answer.Response == nil || answer.Response.StatusCode/100 != 3 {
		return err
	}
	to := "an unknown address"
	if address, err := answer.Response.Location(); err == nil {
		to = address.Scheme + "://" + address.Host
	}
	return fmt.Errorf("the token endpoint redirects to %s, which is not followed with a client secret: %w", to, err)
}
