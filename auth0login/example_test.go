package auth0login_test

import (
	"context"
	"net/http"
	"net/url"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-auth0/auth0login"
)

// A service calls an API with tokens of its own.
func ExampleApplication_Client() {
	ctx := context.Background()
	// One for the process. The domain is that of the application's own tenant.
	app := auth0login.New(auth0login.File("/run/shop/auth0.json"), auth0login.Domain("example.eu.auth0.com"))
	client := app.Client(ctx, clientcredentials.Config{
		EndpointParams: url.Values{"audience": {"https://api.example.com/"}},
	})
	resp, err := client.Get("https://api.example.com/orders")
	if err != nil {
		return
	}
	defer resp.Body.Close()
}

// A web application logs its users in.
func ExampleApplication_Exchange() {
	app := auth0login.New(auth0login.File("/run/shop/auth0.json"), auth0login.Domain("example.eu.auth0.com"))
	web := oauth2.Config{RedirectURL: "https://shop.example.com/callback", Scopes: []string{"openid", "offline_access"}}
	http.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		token, err := app.Exchange(r.Context(), web, r.FormValue("code")) // after state was compared
		if err != nil {
			http.Error(w, "the login has failed", http.StatusBadGateway)
			return
		}
		ctx := context.WithoutCancel(r.Context())                         // a token source outlives the request
		client := oauth2.NewClient(ctx, app.TokenSource(ctx, web, token)) // refreshes the token
		_ = client
	})
}
