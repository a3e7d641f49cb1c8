package auth0

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

const (
	opEnableKey  = "enable key"
	opRetireKeys = "retire keys"

	methodPrivateKey = "private_key_jwt"
)

// KeyScopes are those that registering, enabling and removing keys needs.
var KeyScopes = []string{
	"read:client_credentials", "create:client_credentials", "update:client_credentials", "delete:client_credentials",
}

// NewPrivateKey makes an RSA key, in PEM of PKCS #8.
func NewPrivateKey() (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, minKeyBits)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// PublicKey gives the public half of a private key: in PEM, and its kid, which
// is its thumbprint as in RFC 7638.
func PublicKey(privateKey string) (publicPEM, kid string, err error) {
	key, err := ParsePrivateKey(privateKey)
	if err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", "", err
	}
	jwk := jose.JSONWebKey{Key: key.Public()}
	print, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", "", err
	}
	publicPEM = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return publicPEM, base64.RawURLEncoding.EncodeToString(print), nil
}

// credential is a public key that is registered with an application.
type credential struct {
	ID  string `json:"id"`
	KID string `json:"kid"`
}

// EnableKey registers the public half of a private key with an application
// that uses private_key_jwt, unless it is, and lets the application use it
// beside those that it uses now, unless it does. To do it again after any error
// is safe. It needs KeyScopes; an application can have two keys.
//
// A Refused error means that the key cannot be used to log in.
func (c *Client) EnableKey(ctx context.Context, clientID, privateKey, algorithm string) error {
	publicPEM, kid, err := PublicKey(privateKey)
	if err != nil {
		return notSent(opEnableKey, "the private key cannot be used")
	}
	registered, err := c.credentials(ctx, opEnableKey, clientID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(registered, func(known credential) bool { return known.KID == kid })
	var ours credential
	if at >= 0 {
		ours = registered[at]
	} else if ours, err = c.createCredential(ctx, clientID, map[string]string{
		"credential_type": "public_key", "name": "vault " + kid[:8], "pem": publicPEM, "alg": algorithm, "kid": kid,
	}); err != nil {
		return err
	}
	enabled, err := c.enabledKeys(ctx, clientID)
	if err != nil || slices.Contains(enabled, ours.ID) {
		return err
	}
	err = c.enableOnly(ctx, opEnableKey, clientID, append(enabled, ours.ID))
	if err != nil && ClassOf(err) == Refused { // else it would take the place of the next one
		_ = c.deleteCredential(ctx, clientID, ours.ID)
	}
	return err
}

// RetireKeys leaves an application no key but this one: the others are disabled
// and deleted. To do it again after any error is safe.
func (c *Client) RetireKeys(ctx context.Context, clientID, privateKey string) error {
	_, kid, err := PublicKey(privateKey)
	if err != nil {
		return notSent(opRetireKeys, "the private key cannot be used")
	}
	registered, err := c.credentials(ctx, opRetireKeys, clientID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(registered, func(known credential) bool { return known.KID == kid })
	if at < 0 {
		return notSent(opRetireKeys, "the key that is to stay is not registered")
	}
	keep := registered[at].ID
	if len(registered) == 1 {
		return nil
	}
	if err := c.enableOnly(ctx, opRetireKeys, clientID, []string{keep}); err != nil {
		return err
	}
	for _, other := range registered {
		if other.ID == keep {
			continue
		}
		if err := c.deleteCredential(ctx, clientID, other.ID); err != nil {
			return err
		}
	}
	return nil
}

// credentials lists the keys that are registered, by
// GET /api/v2/clients/{id}/credentials: [{"id":"cred_...","kid":"..."}].
func (c *Client) credentials(ctx context.Context, op, clientID string) ([]credential, error) {
	path, failure := clientPath(op, clientID)
	if failure != nil {
		return nil, failure
	}
	body, err := c.do(ctx, request{op: op, method: http.MethodGet, path: path + "/credentials", client: c.retrying})
	if err != nil {
		return nil, err
	}
	var found []credential
	if json.Unmarshal(body, &found) != nil || found == nil {
		return nil, unreadable(op, http.StatusOK, "the answer is not a list of credentials")
	}
	return found, nil
}

// createCredential registers a key, by POST /api/v2/clients/{id}/credentials.
func (c *Client) createCredential(ctx context.Context, clientID string, fields map[string]string) (credential, error) {
	path, failure := clientPath(opEnableKey, clientID)
	if failure != nil {
		return credential{}, failure
	}
	payload, err := json.Marshal(fields)
	if err != nil {
		return credential{}, notSent(opEnableKey, "the key cannot be encoded")
	}
	body, err := c.do(ctx, request{op: opEnableKey, method: http.MethodPost, path: path + "/credentials", body: payload, client: c.once})
	if err != nil {
		return credential{}, err
	}
	var made credential
	if json.Unmarshal(body, &made) != nil || made.ID == "" {
		return credential{}, unreadable(opEnableKey, http.StatusCreated, "the answer is not a credential")
	}
	return made, nil
}

// enabledKeys are the IDs of the keys that the application may use:
//
//	{"client_authentication_methods":{"private_key_jwt":{"credentials":[{"id":"cred_..."}]}}}
func (c *Client) enabledKeys(ctx context.Context, clientID string) ([]string, error) {
	app, err := c.Application(ctx, clientID)
	if err != nil {
		return nil, err
	}
	raw, ok := app.ClientAuthenticationMethods[methodPrivateKey]
	if !ok {
		return nil, notSent(opEnableKey, "Auth0 does not show that the application authenticates by private_key_jwt")
	}
	var method struct {
		Credentials []credential `json:"credentials"`
	}
	if json.Unmarshal(raw, &method) != nil {
		return nil, unreadable(opEnableKey, http.StatusOK, "the application's private_key_jwt settings cannot be read")
	}
	ids := make([]string, 0, 2)
	for _, enabled := range method.Credentials {
		ids = append(ids, enabled.ID)
	}
	if len(ids) == 0 { // then another must not become the only one: it is not proven yet
		return nil, unreadable(opEnableKey, http.StatusOK, "Auth0 does not show which keys the application uses")
	}
	return ids, nil
}

// enableOnly lets the application use these keys, by PATCH /api/v2/clients/{id}.
func (c *Client) enableOnly(ctx context.Context, op, clientID string, ids []string) error {
	path, failure := clientPath(op, clientID)
	if failure != nil {
		return failure
	}
	list := make([]map[string]string, len(ids))
	for i, id := range ids {
		list[i] = map[string]string{"id": id}
	}
	payload, err := json.Marshal(map[string]any{
		"client_authentication_methods": map[string]any{methodPrivateKey: map[string]any{"credentials": list}},
	})
	if err != nil {
		return notSent(op, "the keys cannot be encoded")
	}
	body, err := c.do(ctx, request{op: op, method: http.MethodPatch, path: path, body: payload, client: c.once})
	if err != nil {
		return err
	}
	_, err = readApplication(op, clientID, body)
	return err
}

// deleteCredential removes a key, by DELETE /api/v2/clients/{id}/credentials/{id}.
// That it is gone already is no error.
func (c *Client) deleteCredential(ctx context.Context, clientID, id string) error {
	path, failure := clientPath(opRetireKeys, clientID)
	if failure != nil {
		return failure
	}
	_, err := c.do(ctx, request{
		op: opRetireKeys, method: http.MethodDelete, path: path + "/credentials/" + url.PathEscape(id), client: c.once,
	})
	if e, ok := err.(*Error); ok && e.Class == Refused && e.Status == http.StatusNotFound { //nolint:errorlint // do returns it bare
		return nil
	}
	return err
}
