package vaulttokens_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/hashicorp/vault/api"
	"golang.org/x/oauth2"

	"vault-plugin-secrets-auth0/auth0login/vaulttokens"
)

// A service calls an API, and holds no secret. Its token for Vault comes from a Vault
// Proxy beside it (examples/vault-proxy/proxy.hcl), with VAULT_ADDR=unix:///run/shop/vault.sock.
func Example() {
	ctx := context.Background() // ends with the service
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		return
	}
	// One for the process. Domain and audience are the application's own configuration.
	tokens := vaulttokens.New(ctx, client, vaulttokens.Config{
		Path:     "auth0/tokens/orders",
		Domain:   "example.eu.auth0.com",
		Audience: "https://api.example.com/",
	})
	resp, err := tokens.Client(ctx).Get("https://api.example.com/orders")
	if err != nil {
		return
	}
	defer resp.Body.Close()
}

// A request whose token the API refuses is sent once more, with another token.
func ExampleSource_Refused() {
	var tokens *vaulttokens.Source // of the example above
	get := func(ctx context.Context, token *oauth2.Token) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/orders", http.NoBody)
		if err != nil {
			return nil, err
		}
		token.SetAuthHeader(req)
		return http.DefaultTransport.RoundTrip(req) // follows no redirect
	}
	orders := func(ctx context.Context) (*http.Response, error) {
		token, err := tokens.Token()
		if err != nil {
			return nil, err
		}
		resp, err := get(ctx, token)
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			return resp, err
		}
		_ = resp.Body.Close()
		if token, err = tokens.Refused(ctx, token); err != nil {
			return nil, fmt.Errorf("the API refused the token: %w", err)
		}
		return get(ctx, token)
	}
	_ = orders
}
