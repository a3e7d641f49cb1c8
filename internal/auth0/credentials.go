package auth0

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"vault-plugin-secrets-auth0/internal/assertion"
)

const (
	opEnableKey = "enable key"
	opRetireKey = "retire key"

	methodPrivateKey = "private_key_jwt"
)

// How many keys an application can have.
const (
	poolSize = 4 // registered, for any use
	slotSize = 2 // in use for private_key_jwt; with an add-on, poolSize
)

// ErrNoRoom is in the chain of the error of EnableKey where other keys leave no
// room for one more. Nothing was registered.
var ErrNoRoom = errors.New("no room for another key")

// EnableKey registers the public half of a private key with an application that
// uses private_key_jwt, and lets the application use it beside those that it uses
// now, as far as that has not been done yet. So it is safe to do it again after any
// error. It needs KeyScopes. Other keys stay as they are. After a Refused error the
// application does not accept the key.
func (c *Client) EnableKey(ctx context.Context, clientID, privateKey, algorithm string) error {
	publicPEM, kid, err := assertion.PublicKey(privateKey)
	if err != nil {
		return notSent(opEnableKey, "the private key cannot be used")
	}
	registered, err := c.credentials(ctx, opEnableKey, clientID)
	if err != nil {
		return err
	}
	enabled, err := c.enabledKeys(ctx, opEnableKey, clientID)
	if err != nil {
		return err
	}
	ours, known := findKey(registered, kid)
	switch {
	case slices.Contains(enabled, ours.ID):
		return nil
	case !RoomForKey(len(enabled)):
		return c.noRoom(enabled, registered, "are in use for private_key_jwt, which has room for no more")
	case !known && len(registered) >= poolSize:
		return c.noRoom(nil, registered, "are registered, and there is room for no more")
	case !known:
		if ours, err = c.createCredential(ctx, clientID, map[string]string{
			"credential_type": "public_key", "name": "vault " + kid[:8], "pem": publicPEM, "alg": algorithm, "kid": kid,
		}); err != nil {
			return err
		}
	}
	err = c.useKeys(ctx, opEnableKey, clientID, append(enabled, ours.ID))
	if err != nil && ClassOf(err) == Refused { // else it would take the place of the next one
		_ = c.deleteCredential(ctx, clientID, ours.ID)
	}
	return err
}

// noRoom says which keys fill the pool or, with ids, the slot.
func (c *Client) noRoom(ids []string, registered []credential, why string) *Error {
	var keys []string
	for _, key := range registered {
		if ids == nil || slices.Contains(ids, key.ID) {
			keys = append(keys, key.String()+c.whose(key))
		}
	}
	e := notSent(opEnableKey, fmt.Sprintf("the application's keys %s %s. Remove those that nobody uses: "+
		"in Auth0's dashboard, the application's Credentials", strings.Join(keys, "; "), why))
	e.cause = ErrNoRoom
	return e
}

// RetireKey disables and deletes a key of an application, but not the only one that
// it uses. Other keys stay as they are. It is safe to do it again after any error.
// False: the key was not found, as one that was registered by hand with another kid.
func (c *Client) RetireKey(ctx context.Context, clientID, privateKey string) (found bool, err error) {
	_, kid, err := assertion.PublicKey(privateKey)
	if err != nil {
		return false, notSent(opRetireKey, "the private key cannot be used")
	}
	registered, err := c.credentials(ctx, opRetireKey, clientID)
	if err != nil {
		return false, err
	}
	ours, found := findKey(registered, kid)
	if !found {
		return false, nil
	}
	enabled, err := c.enabledKeys(ctx, opRetireKey, clientID)
	if err != nil {
		return true, err
	}
	if others := without(enabled, []string{ours.ID}); len(others) < len(enabled) {
		if len(others) == 0 {
			return true, notSent(opRetireKey, "it is the only key that the application uses")
		}
		if err := c.useKeys(ctx, opRetireKey, clientID, others); err != nil {
			return true, err
		}
	}
	return true, c.deleteCredential(ctx, clientID, ours.ID)
}

// credential is a public key that is registered with an application.
type credential struct {
	ID  string `json:"id"`
	KID string `json:"kid"`
}

// nameless says whether there is no ID by which the key could be enabled or deleted.
func (c credential) nameless() bool { return !isID(c.ID) }

// keyName is what is shown of an ID or a kid.
var keyName = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// String names the key as Auth0's dashboard does.
func (c credential) String() string {
	if !keyName.MatchString(c.ID) || !keyName.MatchString(c.KID) {
		return "(one without a proper name)"
	}
	return c.ID + " (kid " + c.KID + ")"
}

// whose says that a key is one that the client logs in with, if it is.
func (c *Client) whose(key credential) string {
	for _, l := range c.logins {
		if _, kid, err := assertion.PublicKey(l.secret); err == nil && kid == key.KID {
			return ", the engine's own"
		}
	}
	return ""
}

func findKey(registered []credential, kid string) (credential, bool) {
	at := slices.IndexFunc(registered, func(known credential) bool { return known.KID == kid })
	if at < 0 {
		return credential{}, false
	}
	return registered[at], true
}

// credentials lists the keys that are registered.
func (c *Client) credentials(ctx context.Context, op, clientID string) ([]credential, error) {
	body, err := c.do(ctx, request{op: op, endpoint: endpointCredentials, clientID: clientID})
	if err != nil {
		return nil, err
	}
	var found []credential
	if json.Unmarshal(body, &found) != nil || found == nil || slices.ContainsFunc(found, credential.nameless) {
		return nil, unreadable(op, http.StatusOK, "the answer is not a list of credentials")
	}
	return found, nil
}

// createCredential registers a key.
func (c *Client) createCredential(ctx context.Context, clientID string, fields map[string]string) (credential, error) {
	body, err := c.do(ctx, request{op: opEnableKey, endpoint: endpointCreateCredential, clientID: clientID, body: fields})
	if err != nil {
		return credential{}, err
	}
	var made credential
	if json.Unmarshal(body, &made) != nil || made.nameless() {
		return credential{}, unreadable(opEnableKey, http.StatusCreated, "the answer is not a credential")
	}
	return made, nil
}

// enabledKeys are the IDs of the keys that the application may use:
//
//	{"client_authentication_methods":{"private_key_jwt":{"credentials":[{"id":"cred_..."}]}}}
func (c *Client) enabledKeys(ctx context.Context, op, clientID string) ([]string, error) {
	app, err := c.Application(ctx, clientID)
	if err != nil {
		return nil, err
	}
	raw, ok := app.ClientAuthenticationMethods[methodPrivateKey]
	if !ok {
		return nil, notSent(op, "Auth0 does not show that the application authenticates by private_key_jwt")
	}
	var method struct {
		Credentials []credential `json:"credentials"`
	}
	if json.Unmarshal(raw, &method) != nil || slices.ContainsFunc(method.Credentials, credential.nameless) {
		return nil, unreadable(op, http.StatusOK, "the application's private_key_jwt settings cannot be read")
	}
	ids := make([]string, 0, slotSize)
	for _, enabled := range method.Credentials {
		ids = append(ids, enabled.ID)
	}
	if len(ids) == 0 { // then another must not become the only one: it is not proven yet
		return nil, unreadable(op, http.StatusOK, "Auth0 does not show which keys the application uses")
	}
	return ids, nil
}

// useKeys lets the application use these keys for private_key_jwt, and no others.
func (c *Client) useKeys(ctx context.Context, op, clientID string, ids []string) error {
	list := make([]map[string]string, len(ids))
	for i, id := range ids {
		list[i] = map[string]string{"id": id}
	}
	_, err := c.change(ctx, request{op: op, endpoint: endpointEnableKeys, clientID: clientID, body: map[string]any{
		"client_authentication_methods": map[string]any{methodPrivateKey: map[string]any{"credentials": list}},
	}})
	return err
}

// deleteCredential removes a key. It is no error if the key is gone already, or stays
// because the application uses it for something else.
func (c *Client) deleteCredential(ctx context.Context, clientID, id string) error {
	_, err := c.do(ctx, request{op: opRetireKey, endpoint: endpointDeleteCredential, clientID: clientID, item: id})
	e, ok := errors.AsType[*Error](err)
	if ok && e.Class == Refused && (e.Status == http.StatusNotFound || e.Status == http.StatusConflict) {
		return nil
	}
	return err
}
