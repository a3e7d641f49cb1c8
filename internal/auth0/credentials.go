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
	opEnableKey   = "enable key"
	opRetireKey   = "retire key"
	opEnabledKeys = "list keys"

	methodPrivateKey = "private_key_jwt"
)

// How many keys an application can have.
const (
	poolSize = 4 // registered, for any use
	slotSize = 2 // in use for private_key_jwt; with an add-on, poolSize
)

// RoomForKey says whether an application that uses so many keys may use one more. More
// than slotSize means that the tenant has the add-on.
func RoomForKey(used int) bool { return used != slotSize && used < poolSize }

// madeBy begins the names of the keys that EnableKey registers; eight characters of
// the kid follow.
const madeBy = "vault "

var (
	// ErrNoRoom is in the chain of the error of EnableKey where other keys leave no
	// room for one more. Nothing was registered.
	ErrNoRoom = errors.New("no room for another key")
	// ErrOnlyKey is in the chain of the error of RetireKey where the key is the only
	// one that the application uses. Nothing was changed.
	ErrOnlyKey = errors.New("the only key in use")
	// ErrOtherMethod is in the chain of errors of calls about keys where Auth0 shows
	// that the application authenticates otherwise than by private_key_jwt.
	ErrOtherMethod = errors.New("another method than private_key_jwt")
)

// EnabledKeys are the kids of the keys that an application uses for private_key_jwt:
// an assertion of another key is refused. It needs ScopeReadClientCredentials. That
// Auth0 does not show what the application uses is an error, not an empty list.
func (c *Client) EnabledKeys(ctx context.Context, clientID string) ([]string, error) {
	// In this order, a key that is in use all the while is in both answers.
	enabled, err := c.enabledKeys(ctx, opEnabledKeys, clientID)
	if err != nil {
		return nil, err
	}
	registered, err := c.credentials(ctx, opEnabledKeys, clientID)
	if err != nil {
		return nil, err
	}
	kids := []string{}
	for _, key := range registered {
		switch {
		case !slices.Contains(enabled, key.ID):
		case key.KID == "":
			return nil, unreadable(opEnabledKeys, http.StatusOK, "Auth0 does not show the kid of a key that the application uses")
		default:
			kids = append(kids, key.KID)
		}
	}
	return kids, nil
}

// EnableKey registers the public half of a private key with an application that
// uses private_key_jwt, and lets the application use it beside those that it uses
// now, as far as that has not been done yet. So it is safe to do it again after any
// error. It needs KeyScopes. Other keys stay as they are.
//
// A Refused error says that this call has left nothing behind: the key is not
// registered by it, and not in use. After any other, one of OpToken, too, it may be
// registered; after a Limited one it is not in use by this call.
func (c *Client) EnableKey(ctx context.Context, clientID, privateKey, algorithm string) error {
	publicPEM, kid, err := assertion.PublicKey(privateKey)
	if err != nil {
		return notSent(opEnableKey, "the private key cannot be used")
	}
	registered, err := c.credentials(ctx, opEnableKey, clientID)
	if err != nil {
		return err
	}
	enabled, err := c.someEnabledKeys(ctx, opEnableKey, clientID)
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
			"credential_type": "public_key", "name": madeBy + kid[:8], "pem": publicPEM, "alg": algorithm, "kid": kid,
		}); err != nil {
			return err
		}
	}
	err = c.useKeys(ctx, opEnableKey, clientID, append(enabled, ours.ID))
	if err == nil || ClassOf(err) != Refused {
		return err
	}
	// Left behind, it would take the place of the next one. That it is in use after all, as
	// by an earlier request that has taken its time, is no success here.
	if remains := c.deleteCredential(ctx, clientID, ours.ID); remains != nil && !isGone(remains) {
		return &Error{Op: opEnableKey, Message: reasonLeftBehind + ": " + err.Error(), cause: err}
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
	enabled, err := c.someEnabledKeys(ctx, opRetireKey, clientID)
	if err != nil {
		return true, err
	}
	if others := without(enabled, []string{ours.ID}); len(others) < len(enabled) {
		if len(others) == 0 {
			e := notSent(opRetireKey, "it is the only key that the application uses")
			e.cause = ErrOnlyKey
			return true, e
		}
		if err := c.useKeys(ctx, opRetireKey, clientID, others); err != nil {
			return true, err
		}
	}
	// It is no error if the key stays because the application uses it for something else.
	if err := c.deleteCredential(ctx, clientID, ours.ID); err != nil && !isGone(err) && !isInUse(err) {
		return true, err
	}
	return true, nil
}

// credential is a public key that is registered with an application.
type credential struct {
	ID   string `json:"id"`
	KID  string `json:"kid"`
	Name string `json:"name"`
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

// whose says of a key that the client logs in with it or, by its name, that EnableKey
// has registered it.
func (c *Client) whose(key credential) string {
	for _, l := range c.logins {
		if _, kid, err := assertion.PublicKey(l.secret); err == nil && kid == key.KID {
			return ", the engine's own"
		}
	}
	if strings.HasPrefix(key.Name, madeBy) {
		return ", made by Vault"
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
	switch {
	case ok:
	case app.TokenEndpointAuthMethod != nil, len(app.ClientAuthenticationMethods) > 0:
		e := notSent(op, "the application authenticates otherwise than by private_key_jwt")
		e.cause = ErrOtherMethod
		return nil, e
	default:
		return nil, notSent(op, "Auth0 does not show that the application authenticates by private_key_jwt")
	}
	var method struct {
		Credentials []credential `json:"credentials"`
	}
	if json.Unmarshal(raw, &method) != nil || method.Credentials == nil || slices.ContainsFunc(method.Credentials, credential.nameless) {
		return nil, unreadable(op, http.StatusOK, "the application's private_key_jwt settings cannot be read")
	}
	ids := make([]string, 0, slotSize)
	for _, enabled := range method.Credentials {
		ids = append(ids, enabled.ID)
	}
	return ids, nil
}

// someEnabledKeys are enabledKeys; of the client's own application, which has logged in by
// one, at least one: without any, a key that is not proven yet would become the only one.
func (c *Client) someEnabledKeys(ctx context.Context, op, clientID string) ([]string, error) {
	ids, err := c.enabledKeys(ctx, op, clientID)
	own := slices.ContainsFunc(c.logins, func(l *login) bool { return l.oauth.ClientID == clientID })
	if err == nil && len(ids) == 0 && own {
		return nil, unreadable(op, http.StatusOK, "Auth0 does not show which keys the application uses")
	}
	return ids, err
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

// deleteCredential removes a key. See isGone and isInUse for its errors.
func (c *Client) deleteCredential(ctx context.Context, clientID, id string) error {
	_, err := c.do(ctx, request{op: opRetireKey, endpoint: endpointDeleteCredential, clientID: clientID, item: id})
	return err
}

// isGone says of an error of deleteCredential that the key was gone already.
func isGone(err error) bool { return isRefusedWith(err, http.StatusNotFound) }

// isInUse says of an error of deleteCredential that the application uses the key.
func isInUse(err error) bool { return isRefusedWith(err, http.StatusConflict) }

func isRefusedWith(err error, status int) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Class == Refused && e.Status == status
}
