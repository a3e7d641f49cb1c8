package tenant

import (
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

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

// Credential is a public key of an application's pool.
type Credential struct {
	ID, Name, KID, Alg string
	Slots              []Slot // that use it
}

// Credentials gives an application's pool, in the order in which it was filled.
func (t *Tenant) Credentials(clientID string) []Credential {
	var all []Credential
	t.withApplication(clientID, func(a *application) {
		for _, key := range a.keys {
			all = append(all, a.credential(key))
		}
	})
	return all
}

func (a *application) credential(key registeredKey) Credential {
	return Credential{ID: key.ID, Name: key.Name, KID: key.KID, Alg: string(key.Alg), Slots: a.users(key.ID)}
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
	own := t.signing.get() // any key does
	key := registeredKey{
		ID: "cred_" + randomAlphanumerics(22), Name: "somebody else's", KID: randomAlphanumerics(43), Alg: jose.RS256,
		Type: "public_key", CreatedAt: t.now(), key: own.Public().Key.(*rsa.PublicKey),
	}
	t.withApplication(clientID, func(a *application) {
		if len(a.keys) >= maxPool {
			panic("simulated tenant: the pool is full")
		}
		a.keys = append(a.keys, key)
		for _, slot := range used {
			if len(a.enabled(slot)) >= t.slotSize {
				panic("simulated tenant: the slot is full: " + slot)
			}
			a.enable(slot, key.ID)
		}
		added = a.credential(key)
	})
	return added
}

// RemoveCredential takes a credential out of an application's pool, as in the
// dashboard.
func (t *Tenant) RemoveCredential(clientID, id string) {
	t.withApplication(clientID, func(a *application) {
		a.keys = slices.DeleteFunc(a.keys, func(key registeredKey) bool { return key.ID == id })
	})
}

// SetCredentialAddOn says whether the tenant has the add-on with which a slot
// holds four credentials instead of two. It does not unless this is called.
func (t *Tenant) SetCredentialAddOn(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slotSize = maxSlot
	if on {
		t.slotSize = maxSlotWithAddOn
	}
}

// keyMethod is client_authentication_methods with these keys enabled.
func keyMethod(ids ...string) map[string]any {
	return map[string]any{string(PrivateKeyJWT): naming(ids)}
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
func (a *application) enable(slot Slot, id string) {
	ids := append(a.enabled(slot), id)
	if slot == PrivateKeyJWT {
		a.AuthenticationMethods, a.TokenEndpointAuthMethod = keyMethod(ids...), ""
		return
	}
	a.setSlot(slot, naming(ids))
}

func (a *application) setSlot(slot Slot, object map[string]any) {
	if a.slots == nil {
		a.slots = map[Slot]map[string]any{}
	}
	a.slots[slot] = object
}

// enabled are the IDs of the credentials that a slot uses.
func (a *application) enabled(slot Slot) []string {
	object := a.slots[slot]
	if slot == PrivateKeyJWT {
		object, _ = a.AuthenticationMethods[string(slot)].(map[string]any)
	}
	list, _ := object["credentials"].([]any)
	var ids []string
	for _, each := range list {
		if credential, ok := each.(map[string]any); ok {
			id, _ := credential["id"].(string)
			ids = append(ids, id)
		}
	}
	return ids
}

// users are the slots that use a credential.
func (a *application) users(id string) []Slot {
	return slices.DeleteFunc(slices.Clone(slots), func(s Slot) bool { return !slices.Contains(a.enabled(s), id) })
}

// checkSlots gives the refusal of a PATCH whose slots name credentials that
// there are not, or too many; nil if it is good. With which errorCode Auth0
// refuses too many is not known.
func (a *application) checkSlots(sent map[string]json.RawMessage, size int) *answer {
	var wanted application
	wanted.apply(sent)
	for _, slot := range slots {
		ids := wanted.enabled(slot)
		var bad answer
		switch {
		case len(ids) > size:
			bad = invalidBody(fmt.Sprintf("'The client has the maximum number of credentials: %d' on property %s.", size, slot))
		case slices.ContainsFunc(ids, func(id string) bool { return !a.hasCredential(id) }):
			bad = invalidBody(fmt.Sprintf("'Credential does not exist' on property %s.", slot))
		default:
			continue
		}
		return &bad
	}
	return nil
}

func (a *application) hasCredential(id string) bool {
	return slices.ContainsFunc(a.keys, func(key registeredKey) bool { return key.ID == id })
}

// routeCredentials finds what handles a request below .../credentials.
func (t *Tenant) routeCredentials(c *call, rest []string) {
	c.pattern = apiPrefix + "clients/{id}/credentials"
	switch {
	case len(rest) == 0 && c.r.Method == http.MethodGet:
		c.endpoint, c.handle = ListCredentials, t.withToken(t.listCredentials)
	case len(rest) == 0 && c.r.Method == http.MethodPost:
		c.endpoint, c.handle = CreateCredential, t.withToken(t.createCredential)
	case len(rest) == 1 && c.r.Method == http.MethodDelete:
		c.pattern += "/{id}"
		c.endpoint = DeleteCredential
		c.handle = t.withToken(func(c *call, granted scopes) answer { return t.deleteCredential(c, granted, rest[0]) })
	}
}

// listCredentials handles GET .../credentials: an array.
func (t *Tenant) listCredentials(c *call, granted scopes) answer {
	if !granted.any("read:client_credentials") {
		return insufficientScope("read:client_credentials")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	app := t.apps[c.clientID]
	if app == nil {
		return noSuchClient()
	}
	return jsonAnswer(http.StatusOK, append([]registeredKey{}, app.keys...))
}

// createCredential handles POST .../credentials. With which errorCode Auth0
// refuses one too many is not known.
func (t *Tenant) createCredential(c *call, granted scopes) answer {
	if !granted.any("create:client_credentials") {
		return insufficientScope("create:client_credentials")
	}
	var order keyOrder
	if json.Unmarshal(c.body, &order) != nil {
		return invalidBody("'Expected type object' on the body.")
	}
	key, err := newRegisteredKey(order)
	if err != nil {
		return invalidBody(err.Error())
	}
	key.CreatedAt = t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	app := t.apps[c.clientID]
	switch {
	case app == nil:
		return noSuchClient()
	case len(app.keys) >= maxPool:
		return apiError(http.StatusBadRequest, "too_many_entities",
			fmt.Sprintf("The client has the maximum number of credentials: %d", maxPool))
	case slices.ContainsFunc(app.keys, func(other registeredKey) bool { return other.KID == key.KID }):
		return apiError(http.StatusConflict, "credential_conflict", "There is already a credential with this kid")
	}
	app.keys = append(app.keys, key)
	return jsonAnswer(http.StatusCreated, key)
}

// deleteCredential handles DELETE .../credentials/{id}, which may be repeated.
// A credential that is in use stays: those who delete one (Auth0's Terraform
// provider, the dashboard) disable it first. With which status and errorCode
// Auth0 refuses it is not known.
func (t *Tenant) deleteCredential(c *call, granted scopes, id string) answer {
	if !granted.any("delete:client_credentials") {
		return insufficientScope("delete:client_credentials")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	app := t.apps[c.clientID]
	if app == nil {
		return noSuchClient()
	}
	if users := app.users(id); len(users) > 0 {
		return apiError(http.StatusConflict, "credential_in_use", fmt.Sprintf("The credential is in use by %s", users[0]))
	}
	app.keys = slices.DeleteFunc(app.keys, func(key registeredKey) bool { return key.ID == id })
	return answer{status: http.StatusNoContent, contentType: "application/json; charset=utf-8"}
}
