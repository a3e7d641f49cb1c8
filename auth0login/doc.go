// Package auth0login logs an application in at Auth0 with the client secrets, or the
// private key, that the Vault secrets engine for Auth0 hands out. It is the application's half
// of a rotation without downtime: of the secrets that it is given, it finds the
// one that Auth0 accepts at present.
//
// The engine hands out the next secret ahead of the rotation, and the previous one
// for a while after it. So an application that tries them all goes on through a
// rotation. This package tries the secret that worked last, then the others in their
// order, those that were refused lately after the others, and all of them once more if all
// were refused, since a new secret may reach Auth0 between two attempts. Before that it
// reads them again. It goes on to the next secret only if Auth0 refuses the one it has tried
// (invalid_client, access_denied), never after a time-out, an error of the server or any
// other refusal.
//
// # Client credentials
//
//	app := auth0login.New(
//		auth0login.File("/run/shop/auth0.json"), // rendered by Vault Agent
//		auth0login.Domain("example.eu.auth0.com"),
//	)
//	client := app.Client(ctx, clientcredentials.Config{
//		EndpointParams: url.Values{"audience": {"https://api.example.com/"}},
//	})
//	resp, err := client.Get("https://api.example.com/orders")
//
// # Authorization code and refresh token
//
//	web := oauth2.Config{RedirectURL: "https://shop.example.com/callback", Scopes: []string{"openid", "offline_access"}}
//	address, err := app.AuthCodeURL(ctx, web, state, oauth2.S256ChallengeOption(verifier))
//	token, err := app.Exchange(ctx, web, code, oauth2.VerifierOption(verifier))
//	client := oauth2.NewClient(ctx, app.TokenSource(ctx, web, token))
//
// # An application of private_key_jwt
//
// Such an application has a private key in place of secrets. Auth0 accepts the key for all of
// the lease, so none is tried after another. Each attempt is made with a new client
// assertion, since Auth0 accepts each once. If it is refused, the source is read again, as
// after a forced rotation, which removes the key at once.
//
// All of the above works as it is, with the credentials of an exportable role of keys. A file
// that has nothing but the key is read by [KeyFile]:
//
//	app := auth0login.New(
//		auth0login.KeyFile("/run/shop/key.pem", auth0login.Credentials{Domain: "example.eu.auth0.com", ClientID: "..."}),
//		auth0login.Domain("example.eu.auth0.com"),
//	)
//
// With assertions/ the key never leaves Vault, and each login reads Vault: see package
// vaultcreds.
//
// # The application's own tenant
//
// [Domain] says of which tenant the credentials have to be. Without it the application
// goes to any that they name.
//
// # Where the secrets come from
//
// [File] and [KeyFile] read what Vault Agent has rendered. The package vaultcreds reads from
// Vault itself, when the lease says so. A [SourceFunc] reads from anywhere else. With the
// package vaulttokens, an application that calls APIs as itself needs no secret.
//
// As in golang.org/x/oauth2, the value of [oauth2.HTTPClient] in a context is the
// client with which Auth0 is called. A copy of it is, which follows no redirects: they
// would take the secret along. What [Application.Client] sends to the API follows
// redirects as that client does.
package auth0login
