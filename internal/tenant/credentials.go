package tenant

import (
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An application has one pool of credentials, and slots that use some of them.
const (
	maxPool          = 4
	maxSlot          = 2
	maxSlotWithAddOn = 4
)

// Slot is what a credential of an application is used for: a member of its
// object, which names those that it uses.
//
//	"client_authentication_methods":{"private_key_jwt":{"credentials":[{"id":"cred_..."}]}}
//	"signed_request_object":{"credentials":[{"id":"cred_..."}]}
//	"token_vault_privileged_access":{"credentials":[{"id":"cred_..."}]}
type Slot string

// The slots.
const (
	PrivateKeyJWT       Slot = "private_key_jwt"
	SignedRequestObject Slot = "signed_request_object"
	TokenVault          Slot = "token_vault_privileged_access"
)

var slots = []Slot{PrivateKeyJWT, SignedRequestObject, TokenVault}

// Credential is a public key of an application's pool. In JSON, without its PEM:
//
//	{"id":"cred_22 characters","name":"...","kid":"...","alg":"RS256","credential_type":"public_key","created_at":"..."}
type Credential struct {
	ID        string                  `json:"id"`
	Name      string                  `json:"name"`
	KID       string                  `json:"kid"`
	Alg       jose.SignatureAlgorithm `json:"alg"`
	Type      string                  `json:"credential_type"`
	CreatedAt time.Time               `json:"created_at"`
	Slots     []Slot                  `json:"-"` // that use it
	key       *rsa.PublicKey
}

// Credentials gives an application's pool, in the order in which it was filled.
func (t *Tenant) Credentials(clientID string) (all []Credential) {
	t.withApplication(clientID, func(a *application) {
		for _, key := range a.keys {
			key.Slots = a.users(key.ID)
			all = append(all, key)
		}
	})
	return all
}

// Keys gives the kids of an application's public keys: of all that are
// registered, and of those that it may log in with.
func (t *Tenant) Keys(clientID string) (registered, enabled []string) {
	for _, credential := range t.Credentials(clientID) {
		registered = append(registered, credential.KID)
		if slices.Contains(credential.Slots, PrivateKeyJWT) {
			enabled = append(enabled, credential.KID)
		}
	}
	return registered, enabled
}

// AddCredential adds somebody else's credential to an application's pool, as in
// the dashboard, and has these slots use it; none: it is merely there. Nobody
// has its private key. It panics if there is no room.
func (t *Tenant) AddCredential(clientID string, used ...Slot) (added Credential) {
	own := signing() // any key does
	added = Credential{
		ID: "cred_" + randomAlphanumerics(22), Name: "somebody else's", KID: randomAlphanumerics(43), Alg: jose.RS256,
		Type: "public_key", CreatedAt: t.now(), Slots: append([]Slot{}, used...), key: own.Public().Key.(*rsa.PublicKey),
	}
	t.withApplication(clientID, func(a *application) {
		if len(a.keys) >= maxPool {
			panic("simulated tenant: the pool is full")
		}
		a.keys = append(a.keys, added)
		for _, slot := range used {
			if len(a.enabled(slot)) >= t.slotSize() {
				panic("simulated tenant: the slot is full: " + slot)
			}
			a.enable(slot, added.ID)
		}
	})
	return added
}

// DisableCredential has a slot no longer use a credential, as in the dashboard.
func (t *Tenant) DisableCredential(clientID string, slot Slot, id string) {
	t.withApplication(clientID, func(a *application) {
		a.use(slot, slices.DeleteFunc(a.enabled(slot), func(used string) bool { return used == id }))
	})
}

// RemoveCredential takes a credential out of an application's pool, and before that out
// of the slots that use it, as in the dashboard.
func (t *Tenant) RemoveCredential(clientID, id string) {
	t.withApplication(clientID, func(a *application) {
		for _, slot := range a.users(id) {
			a.use(slot, slices.DeleteFunc(a.enabled(slot), func(used string) bool { return used == id }))
		}
		a.removeKey(id)
	})
}

func (a *application) removeKey(id string) {
	a.keys = slices.DeleteFunc(a.keys, func(key Credential) bool { return key.ID == id })
}

// SetCredentialAddOn says whether the tenant has the add-on with which a slot
// holds four credentials instead of two. It does not unless this is called.
func (t *Tenant) SetCredentialAddOn(on bool) {
	t.set(&t.addOn, on)
}

// slotSize is how many credentials a slot holds.
func (t *Tenant) slotSize() int {
	if t.addOn {
		return maxSlotWithAddOn
	}
	return maxSlot
}

// naming is the object of a slot that uses these credentials.
func naming(ids []string) map[string]any {
	named := make([]any, len(ids))
	for i, id := range ids {
		named[i] = map[string]any{"id": id}
	}
	return map[string]any{"credentials": named}
}

// enable has a slot use one more credential.
func (a *application) enable(slot Slot, id string) { a.use(slot, append(a.enabled(slot), id)) }

// use has a slot use these credentials.
func (a *application) use(slot Slot, ids []string) {
	used := naming(ids)
	switch slot {
	case PrivateKeyJWT:
		a.AuthenticationMethods, a.TokenEndpointAuthMethod = map[string]any{string(slot): used}, ""
	case SignedRequestObject:
		a.SignedRequestObject = used
	case TokenVault:
		a.TokenVault = used
	}
}

// enabled are the IDs of the credentials that a slot uses.
func (a *application) enabled(slot Slot) (ids []string) {
	used := map[Slot]any{
		PrivateKeyJWT: a.AuthenticationMethods[string(slot)], SignedRequestObject: a.SignedRequestObject, TokenVault: a.TokenVault,
	}
	var object struct {
		Credentials []struct {
			ID string `json:"id"`
		} `json:"credentials"`
	}
	_ = json.Unmarshal(jsonAnswer(http.StatusOK, used[slot]).body, &object) // what is not of this form uses nothing
	for _, credential := range object.Credentials {
		ids = append(ids, credential.ID)
	}
	return ids
}

// users are the slots that use a credential.
func (a *application) users(id string) []Slot {
	return slices.DeleteFunc(slices.Clone(slots), func(s Slot) bool { return !slices.Contains(a.enabled(s), id) })
}

// checkSlots refuses a PATCH whose slots name credentials that there are not, or
// too many. With which errorCode Auth0 refuses too many is not known.
func (a *application) checkSlots(body []byte, sent map[string]any, size int) error {
	var wanted application
	if err := wanted.apply(body, sent); err != nil {
		return err
	}
	for _, slot := range slots {
		ids := wanted.enabled(slot)
		if len(ids) > size {
			return invalidBody(fmt.Sprintf("'The client has the maximum number of credentials: %d' on property %s.", size, slot))
		}
		for _, id := range ids {
			if !slices.ContainsFunc(a.keys, func(key Credential) bool { return key.ID == id }) {
				return invalidBody(fmt.Sprintf("'Credential does not exist' on property %s.", slot))
			}
		}
	}
	return nil
}

// listCredentials handles GET .../credentials: an array.
func (t *Tenant) listCredentials(_ *call, app *application) (any, error) {
	return append([]Credential{}, app.keys...), nil
}

// createCredential handles POST .../credentials. With which errorCode Auth0
// refuses one too many is not known.
func (t *Tenant) createCredential(c *call, app *application) (any, error) {
	order, err := decode[keyOrder](c)
	if err != nil {
		return nil, err
	}
	key, err := order.credential(t.now())
	if err != nil {
		return nil, invalidBody(err.Error())
	}
	switch {
	case len(app.keys) >= maxPool:
		return nil, apiError(http.StatusBadRequest, "too_many_entities",
			fmt.Sprintf("The client has the maximum number of credentials: %d", maxPool))
	case slices.ContainsFunc(app.keys, func(other Credential) bool { return other.KID == key.KID }):
		return nil, apiError(http.StatusConflict, "credential_conflict", "There is already a credential with this kid")
	}
	app.keys = append(app.keys, key)
	return key, nil
}

// deleteCredential handles DELETE .../credentials/{credential}, which may be
// repeated. A credential that is in use stays: those who delete one (Auth0's
// Terraform provider, the dashboard) disable it first. With which status and
// errorCode Auth0 refuses it is not known.
func (t *Tenant) deleteCredential(c *call, app *application) (any, error) {
	id := c.PathValue("credential")
	if users := app.users(id); len(users) > 0 {
		return nil, apiError(http.StatusConflict, "credential_in_use", fmt.Sprintf("The credential is in use by %s", users[0]))
	}
	app.removeKey(id)
	return nil, nil
}
