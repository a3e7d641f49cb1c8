package auth0secrets

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/rotation"
)

// What a model (world_test.go) knows of roles of keys: what Auth0 has, who holds what,
// and what has to hold of it.

// carriesBulk says whether the last rotation of all roles is to rotate the role, perhaps
// again: its key was removed, and the one before is used.
func (m *model) carriesBulk(role *roleEntry) bool {
	last, err := readBulk(context.Background(), m.storage)
	return err == nil && last != nil && role.Rotation.Carries(last.Number) && !role.Rotation.Done(last.Number)
}

// lookAtKeys asks what has to hold when a key of an application may just have been
// registered, or removed.
func (m *model) lookAtKeys(clientID string) {
	keys := m.auth0.keysAt(clientID)
	m.mu.Lock()
	defer m.mu.Unlock()
	if role := m.role(clientID); role != nil {
		m.checkKeys(role, keys)
	}
}

// sendingKey asks whether a key of a role is about to come beside two others of it.
func (m *model) sendingKey(clientID, key string) {
	keys := m.auth0.keysAt(clientID)
	m.mu.Lock()
	defer m.mu.Unlock()
	role := m.role(clientID)
	if role == nil {
		return
	}
	m.checkKeys(role, keys)
	if others := slices.DeleteFunc(role.present(), func(k string) bool { return k == key }); len(others) > 1 {
		m.breaks(oracleTwoKeys, "%s", role.Name)
	}
}

// present are the keys of the role that there is now which Auth0 accepts.
func (r *modelRole) present() []string {
	var keys []string
	for _, k := range r.Keys {
		if !slices.Contains(r.Left, k.Key) {
			keys = append(keys, k.Key)
		}
	}
	return keys
}

// checkKeys notes which keys Auth0 accepts, and asks what has to hold at every instant.
func (m *model) checkKeys(role *modelRole, accepted []string) {
	now := m.clock()
	var keys []modelKey
	for _, key := range accepted {
		if !slices.Contains(testKeys(), key) {
			continue // somebody else's
		}
		i := slices.IndexFunc(role.Keys, func(k modelKey) bool { return k.Key == key })
		if i < 0 {
			keys = append(keys, modelKey{key, now.Add(modelDelay)})
			role.Taken = slices.DeleteFunc(slices.Clone(role.Taken), func(k string) bool { return k == key })
		} else {
			keys = append(keys, role.Keys[i])
		}
	}
	role.Keys = keys
	role.Holders = slices.DeleteFunc(slices.Clone(role.Holders), func(h modelHolder) bool { return !now.Before(h.Expires) })
	for _, h := range role.Holders {
		if !slices.Contains(accepted, h.Key) {
			m.breaks(oracleHeldKey, "%s: one that is held for %s is gone", role.Name, h.Expires.Sub(now))
		}
	}
	stored := m.stored(role.Name)
	if stored == nil {
		return
	}
	current := string(stored.Rotation.Current())
	for _, key := range role.present() {
		if !stored.Rotation.Holds(rotation.Secret(key)) {
			m.breaks(oracleOneKey, "%s: Auth0 accepts one of which the engine does not know", role.Name)
		}
	}
	if i := slices.IndexFunc(keys, func(k modelKey) bool { return k.Key == current }); i >= 0 {
		switch {
		case !now.Before(keys[i].Everywhere):
		case role.Unpromised: // it was forced
			keys[i].Everywhere = now
		default:
			m.breaks(oracleReadyKey, "%s", role.Name)
		}
	} else if current != "" && !slices.Contains(role.Taken, current) {
		m.breaks(oracleHeldKey, "%s: the one that is served is not", role.Name)
	}
	if stored.Rotation.Version() > role.version && stored.Rotation.DriftedAt().IsZero() {
		role.Operator = false
	}
	if stored.Rotation.Done(role.Bulk) {
		role.Bulk = 0
	}
	if i := slices.IndexFunc(role.MayBeLive, func(key string) bool { return key == current }); i >= 0 {
		role.MayBeLive = nil
	}
}

// holdKey gives somebody an assertion and, if the role hands keys out, the key.
func (m *model) holdKey(role *modelRole) {
	signed, err := m.request(logical.ReadOperation, assertionsPrefix+role.Name, nil)
	if err != nil {
		return
	}
	leased, errLeased := m.request(logical.ReadOperation, credsPrefix+role.Name, nil)
	static, errStatic := m.request(logical.ReadOperation, staticCredsPrefix+role.Name, nil)
	stored, accepted := m.stored(role.Name), m.auth0.keysAt(role.ClientID)
	m.mu.Lock()
	defer m.mu.Unlock()
	if stored == nil {
		return
	}
	if !stored.Exportable && (errLeased == nil || errStatic == nil) {
		m.breaks(oracleInside, "%s", role.Name)
	}
	key := keyOf(signed.Data[fieldKID].(string))
	if slices.Contains(role.Taken, key) && !slices.Contains(accepted, key) || role.Unpromised {
		return
	}
	role.Holders = append(slices.Clone(role.Holders), modelHolder{Key: key, Expires: m.clock().Add(rotation.AssertionLifetime)})
	if errLeased != nil || errStatic != nil {
		return
	}
	if err := m.revoke(role.Name, leased); err != nil {
		m.breaks(oracleRevocable, "%s: %v", role.Name, err)
	}
	seconds := static.Data[fieldTTL].(int64)
	keep := time.Duration(seconds) * time.Second
	m.tell("%s: a lease of %s of a key", role.Name, leased.Secret.TTL)
	role.Holders = append(role.Holders,
		modelHolder{Key: leased.Data[fieldPrivateKey].(string), Leased: true, Expires: m.clock().Add(leased.Secret.TTL)},
		modelHolder{Key: static.Data[fieldPrivateKey].(string), Leased: true, Expires: m.clock().Add(2 * keep)})
}

// keyOf is the key with a kid; "": there is none.
func keyOf(kid string) string {
	for _, key := range testKeys() {
		if knownKID(key) == kid {
			return key
		}
	}
	return ""
}

// knownKID is kidOf, which takes long.
func knownKID(key string) string {
	kid, known := kids.Load(key)
	if !known {
		kid, _ = kids.LoadOrStore(key, kidOf(rotation.Secret(key)))
	}
	return kid.(string)
}

var kids sync.Map

// takeKey is what somebody else does who removes a key in Auth0.
func (m *model) takeKey(role *modelRole) {
	stored := m.stored(role.Name)
	if stored == nil || stored.Rotation.Current() == "" {
		return
	}
	key := string(stored.Rotation.Current())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.auth0.remove(role.ClientID, key)
	role.Taken = append(slices.Clone(role.Taken), key)
	role.Holders = slices.DeleteFunc(slices.Clone(role.Holders), func(h modelHolder) bool { return h.Key == key })
}

// foreignKeyMove is what somebody else does who gives the application a key.
func foreignKeyMove(i int) move {
	return move{fmt.Sprintf("another key for app%d", i), func(m *model) {
		m.auth0.mu.Lock()
		defer m.auth0.mu.Unlock()
		if keys := m.auth0.keysOf(m.roles[i].ClientID); len(*keys) < 2 {
			*keys = append(slices.Clone(*keys), foreignKey)
		}
	}}
}

func makeRoomMove(i int) move {
	return move{fmt.Sprintf("no other keys for app%d", i), func(m *model) { m.makeRoom(&m.roles[i]) }}
}

// makeRoom removes the keys at Auth0 that are not the role's: with those of roles that
// were deleted, who holds one loses it.
func (m *model) makeRoom(role *modelRole) {
	if !role.Keyed {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range append([]string{foreignKey}, role.Left...) {
		m.auth0.remove(role.ClientID, key)
		role.Holders = slices.DeleteFunc(slices.Clone(role.Holders), func(h modelHolder) bool { return h.Key == key })
	}
	role.Left = nil
}

// madeOrNot asks what has to hold when a role of keys was to be made.
func (m *model) madeOrNot(role *modelRole, err error) {
	if role.Exists {
		return
	}
	role.Operator, role.Unpromised = false, false
	m.checkKeys(role, m.auth0.keysAt(role.ClientID))
	if left := role.present(); len(left) > 0 && !m.world.isStopped() {
		m.breaks(oracleOneKey, "%s was not made (%v), and one is left", role.Name, err)
	}
}

// deletedKeys asks what has to hold when a role of keys was deleted. Told: there was a
// warning.
func (m *model) deletedKeys(role *modelRole, told bool) {
	m.checkKeys(role, m.auth0.keysAt(role.ClientID))
	left := role.present()
	if len(left) > 0 && !told && !m.world.isStopped() {
		m.breaks(oracleOneKey, "%s was deleted, and one is left", role.Name)
	}
	role.Left, role.Taken, role.version = append(slices.Clone(role.Left), left...), nil, 0
}

// seesTaken asks whether the engine knows that somebody else has removed the key that it
// serves, and does what is said to end that.
func (m *model) seesTaken(role *modelRole) {
	stored := m.stored(role.Name)
	if !role.Keyed || stored == nil || stored.Rotation.Current() == "" ||
		slices.Contains(m.auth0.keysAt(role.ClientID), string(stored.Rotation.Current())) {
		return
	}
	if stored.Rotation.DriftedAt().IsZero() {
		m.breaks(oracleKeyGone, "%s", role.Name)
	}
	m.asked(role, true)
	_, _ = m.try(logical.UpdateOperation, "rotate/"+role.Name, map[string]any{fieldForce: true})
}

// checkOneKey asks whether a role of keys is well.
func (m *model) checkOneKey(role *modelRole, stored *roleEntry) {
	signed, err := m.request(logical.ReadOperation, assertionsPrefix+role.Name, nil)
	if err != nil {
		m.breaks(oracleHealed, "%s makes no assertion: %v", role.Name, err)
		return
	}
	m.auth0.mu.Lock()
	accepted := m.auth0.verifies(role.ClientID, signed.Data[fieldClientAssertion].(string))
	m.auth0.mu.Unlock()
	switch keys := m.auth0.keysAt(role.ClientID); {
	case !accepted:
		m.breaks(oracleHealed, "%s makes assertions that Auth0 refuses", role.Name)
	case len(keys) != 1 && stored.RotationPeriod == 0 && stored.RotationSchedule == "":
		m.breaks(oracleOneKey, "%s has %d in the end", role.Name, len(keys))
	}
}
