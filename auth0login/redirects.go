package auth0login

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"vault-plugin-secrets-auth0/internal/assertion"
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

// asserting is a context for one token request, with a client assertion in its form:
// golang.org/x/oauth2 has no place for one where it refreshes a token. ctx is of
// withoutRedirects, so the request is the only one.
func asserting(ctx context.Context, text string) context.Context {
	client := *ctx.Value(oauth2.HTTPClient).(*http.Client) //nolint:forcetypeassert // see above
	client.Transport = addsAssertion{client.Transport, text}
	return context.WithValue(ctx, oauth2.HTTPClient, &client)
}

type addsAssertion struct {
	transport http.RoundTripper // nil: the default one
	text      string
}

// RoundTrip implements http.RoundTripper.
func (a addsAssertion) RoundTrip(r *http.Request) (*http.Response, error) {
	form, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return nil, err
	}
	authentication := url.Values{"client_assertion": {a.text}, "client_assertion_type": {assertion.Type}}
	all := string(form) + "&" + authentication.Encode()
	request := r.Clone(r.Context())
	request.ContentLength = int64(len(all))
	request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(all)), nil }
	request.Body, _ = request.GetBody()
	transport := a.transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	return transport.RoundTrip(request)
}
