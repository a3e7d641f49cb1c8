package auth0login

import (
	"context"
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
