// Package proxy stands between Auth0 and applications that know only one client secret,
// which they read once. Such an application is configured with a local secret that never
// changes. The proxy puts the present client secret in its place, and falls back to
// another one as package auth0login does. So a rotation of the client secret is nothing
// that the application has to know of.
//
//	p, err := proxy.New(proxy.Config{
//		Domain:    "example.eu.auth0.com",
//		PublicURL: "http://127.0.0.1:8404",
//		Applications: []proxy.Application{{
//			Source:      auth0login.File("/run/shop/auth0.json"), // rendered by Vault Agent
//			LocalSecret: localSecret,
//		}},
//	})
//	err = http.ListenAndServe("127.0.0.1:8404", p)
//
// The program auth0-login-proxy is this, with a server that bounds slow clients.
//
// # What it does
//
// POST /oauth/token, /oauth/revoke, /oauth/par and /bc-authorize carry the authentication
// of an application: client_id and client_secret in a form or a JSON object, or HTTP Basic.
// If the client ID is one of the configured applications', and the secret that
// application's local one, the request goes to Auth0 with the present secret; all else in it
// stays as it is, to the byte. The answer is passed on as it is, 429, 5xx and redirects
// included. A wrong local secret is answered as Auth0 does, which is not asked. Requests of
// other applications are passed on unchanged.
//
// The discovery document (/.well-known/openid-configuration, oauth-authorization-server)
// comes from Auth0, with these four endpoints at [Config.PublicURL]. Its issuer stays
// Auth0's, which signs the tokens: a client that wants the issuer to be the address where it
// asked for the document is to be given the endpoints one by one.
//
// Everything else is passed on and streamed, or refused with [Config.OnlyLogin].
//
// # What it is careful about
//
// The local secret never reaches Auth0. A request that has it where none belongs (in the
// address, in another header, in the body of another endpoint) is refused, or cut off where
// it comes. It is found as it is, percent-encoded in addresses, headers and forms, in JSON's
// text and in HTTP Basic. It is not found in a compressed body, or in one that spells it in
// another way; such requests only ever come from an application that wants to give its own
// local secret away.
//
// A client secret leaves only towards Auth0's host, in a request that came with the local
// one. Should Auth0 answer with it, the answer is not passed on, or is cut off; encodings
// other than those above are not looked for. Logs, errors and metrics have no secret,
// query, header, body, code or token.
//
// Whatever could be read in two ways is refused with invalid_request: a parameter that
// comes twice, two ways of authentication at once, client authentication in the query
// (RFC 6749, 2.3 and 3.2), client_secret[], paths like //oauth/token, a compressed body.
//
// The host that is asked, and by which TLS, is up to [Config] alone, not to the request.
// Redirects are not followed. X-Forwarded-* and Forwarded are neither trusted nor sent.
//
// # An application of private_key_jwt
//
// It is configured as any other, with the local secret and client_secret_post or
// client_secret_basic. The proxy takes the secret away, and puts client_id,
// client_assertion and client_assertion_type into the body, with a new assertion for each
// attempt. Each other parameter stays as it is, to the byte. What a client sends as its
// own client_assertion is refused.
//
// # Authorization codes
//
// Auth0 may void a code that comes with a wrong secret. So no code is sent with a secret
// that is known to be dead: see [auth0login.Application.Login].
package proxy
