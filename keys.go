package auth0secrets

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// Roles of keys: their settings, their keys at Auth0, and what signs with them.
// internal/rotation/keys.go has the order of the steps.

// credentialType is by what the application of a role authenticates.
type credentialType string

const (
	credentialSecret credentialType = "client_secret"
	credentialKey    credentialType = "private_key" // private_key_jwt
)

// credentialTypes are all of them, the default first.
var credentialTypes = []credentialType{credentialSecret, credentialKey}

// keyBits are the lengths that a key can have, the default first.
var keyBits = []int{assertion.MinKeyBits, 3072, 4096}

// keys reports whether the role's application authenticates by keys.
func (r *roleEntry) keys() bool { return r.CredentialType == credentialKey }

// dataPath begins the path at which the role's application reads.
func (r *roleEntry) dataPath() string {
	if r.keys() && !r.Exportable {
		return assertionsPrefix
	}
	return credsPrefix
}

// changeKeys changes the settings of keys by what a request sent.
func (r *roleEntry) changeKeys(d *framework.FieldData) error {
	kind, exists := r.CredentialType, r.Format > 0 // which only stored entries have
	if sentKind, ok := sent[string](d, fieldCredentialType); ok {
		kind = credentialType(sentKind)
	}
	switch {
	case !slices.Contains(credentialTypes, kind):
		return badRequest("%s %q is not known: it is %s or %s", fieldCredentialType, kind, credentialSecret, credentialKey)
	case exists && kind != r.CredentialType:
		return badRequest("%s cannot be changed: the role's is %s. Delete the role and make it again, once the application authenticates otherwise in Auth0",
			fieldCredentialType, r.CredentialType)
	}
	r.CredentialType = kind
	if !r.keys() {
		return refuseFields(d, []string{fieldSigningAlgorithm, fieldKeyBits, fieldExportable}, credentialKey)
	}
	if err := refuseFields(d, []string{fieldSecretSource, fieldPasswordPolicy, fieldClientSecret, fieldSkipImport}, credentialSecret); err != nil {
		return err
	}
	if !exists {
		r.SigningAlgorithm, r.KeyBits = assertion.Algorithms[0], keyBits[0]
	}
	before := r.SigningAlgorithm
	if take(d, fieldSigningAlgorithm, &r.SigningAlgorithm); exists && r.SigningAlgorithm != before {
		return badRequest("%s cannot be changed: the keys are registered for %s", fieldSigningAlgorithm, before)
	}
	if err := requirements.CheckAlgorithm(r.SigningAlgorithm); err != nil {
		return badRequest("%s", err)
	}
	if take(d, fieldKeyBits, &r.KeyBits) {
		r.Rotation = r.Rotation.WithoutUnused()
	}
	if !slices.Contains(keyBits, r.KeyBits) {
		return badRequest("%s %d is not possible: it is one of %d, %d, %d", fieldKeyBits, r.KeyBits, keyBits[0], keyBits[1], keyBits[2])
	}
	if take(d, fieldExportable, &r.Exportable); r.Exportable {
		r.Rotation = r.Rotation.Exported()
	}
	return nil
}

// refuseFields refuses fields that are for the other type of credentials.
func refuseFields(d *framework.FieldData, fields []string, only credentialType) error {
	for _, field := range fields {
		if _, ok := d.GetOk(field); ok {
			return badRequest("%s is only for roles with %s=%s", field, fieldCredentialType, only)
		}
	}
	return nil
}

// keyAnswer are the settings of keys in an answer.
func (r *roleEntry) keyAnswer() map[string]any {
	data := map[string]any{fieldCredentialType: string(r.CredentialType)}
	if r.keys() {
		data[fieldSigningAlgorithm], data[fieldKeyBits], data[fieldExportable] = r.SigningAlgorithm, r.KeyBits, r.Exportable
	}
	return data
}

// checkKeyScopes refuses a step without the scopes for all steps. A grant that was
// extended a moment ago shows in a new token only.
func checkKeyScopes(ctx context.Context, conn *connection) error {
	grant, err := conn.api.Grant(ctx)
	if err != nil || grant.Scopes == nil || len(requirements.Missing(auth0.KeyScopes, grant.Scopes)) == 0 {
		return err
	}
	token, err := conn.api.NewToken(ctx, nil)
	if err != nil {
		return err
	}
	if missing := requirements.Missing(auth0.KeyScopes, token.Scopes); token.Scopes != nil && len(missing) > 0 {
		return badRequest("keys cannot be rotated: the grant of the engine's application lacks %s. Registering a new key and removing the old one needs %s. Grant them in Auth0, and try again",
			strings.Join(missing, ", "), strings.Join(auth0.KeyScopes, ", "))
	}
	return nil
}

// enableKey registers a key beside those of the application, and has it accepted.
//
// Beside present, the key in use, there is room for one.
func enableKey(ctx context.Context, conn *connection, clientID string, key, present rotation.Secret, algorithm string) rotation.Outcome {
	err := checkKeyScopes(ctx, conn)
	if err == nil {
		err = conn.api.EnableKey(ctx, clientID, string(key), algorithm)
	}
	switch {
	case errors.Is(err, auth0.ErrOtherMethod):
		return rotation.Outcome{Result: rotation.Refused, Err: badRequest("%s: choose Private Key JWT for it in Auth0 again, or delete the role", err)}
	case errors.Is(err, auth0.ErrNoRoom) && present != "": // until somebody makes room
		return rotation.Outcome{Result: rotation.Refused, Err: badRequest("%s. The one with the kid %s is in use here", err, kidOf(present))}
	case errors.Is(err, auth0.ErrNoRoom):
		return rotation.Outcome{Result: rotation.Refused, Err: badRequest("%s", err)}
	case err != nil:
		return failedAttempt(err)
	}
	return rotation.Outcome{Result: rotation.Accepted, Secret: key}
}

// generateKey makes a key by the role's settings, when it is its turn.
func (t *roleTarget) generateKey(ctx context.Context) (rotation.Secret, error) {
	turn := t.b.makesKeys
	if t.asked {
		turn = t.b.makesKeysNow
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return "", logical.CodedError(http.StatusServiceUnavailable, "no key was made yet: others are being made")
		}
	} else {
		select {
		case turn <- struct{}{}:
		default: // whoever waits here keeps other roles from being attended to
			return "", rotation.ErrLater
		}
	}
	defer func() { <-turn }()
	key, err := t.b.newKey(t.role.entry.KeyBits)
	return rotation.Secret(key), err
}

// sendKey carries out a step of a key's rotation at Auth0.
func (t *roleTarget) sendKey(ctx context.Context, conn *connection, request rotation.Request) rotation.Outcome {
	switch role := t.role.entry; request.Kind {
	case rotation.Confirm:
		return t.confirm(ctx, conn, request)
	case rotation.Retire:
		if !request.Force && t.currentIsGone(ctx, conn, request.Secret) {
			return rotation.Outcome{Result: rotation.Found}
		}
		found, err := conn.api.RetireKey(ctx, role.ClientID, string(request.Secret))
		switch {
		case errors.Is(err, auth0.ErrOnlyKey):
			t.b.Logger().Warn("the key in use was removed outside Vault: the one before is used again", "role", t.role.name)
			return rotation.Outcome{Result: rotation.Found}
		case err != nil:
			return failedAttempt(err)
		case !found:
			t.b.Logger().Info("the key that was replaced was removed already", "role", t.role.name)
		}
		return rotation.Outcome{Result: rotation.Accepted}
	default:
		return enableKey(ctx, conn, role.ClientID, request.Secret, role.Rotation.Current(), role.SigningAlgorithm)
	}
}

// currentIsGone reports whether Auth0 accepts the previous key and, because somebody has
// removed it, not the present one.
func (t *roleTarget) currentIsGone(ctx context.Context, conn *connection, previous rotation.Secret) bool {
	role := t.role.entry
	accepted, err := conn.api.AcceptsKey(ctx, role.ClientID, string(role.Rotation.Current()), role.SigningAlgorithm)
	if err != nil || accepted {
		return false
	}
	kids, err := conn.api.EnabledKeys(ctx, role.ClientID)
	return err == nil && !slices.Contains(kids, kidOf(role.Rotation.Current())) && slices.Contains(kids, kidOf(previous))
}

// maxProof is how long a forced rotation waits at most for the next key to be accepted,
// before it is tried again: a request does not last longer than Vault lets it.
const maxProof = time.Minute

var errNotAccepted = logical.CodedError(http.StatusBadGateway,
	"Auth0 has registered the next key but does not accept it: it is registered again, and the present one stays")

// confirm makes sure that Auth0 accepts a key that it has registered. A forced one may
// not have reached all of Auth0 yet.
func (t *roleTarget) confirm(ctx context.Context, conn *connection, request rotation.Request) rotation.Outcome {
	end := t.b.now().Add(proofMargin)
	if request.Force {
		end = end.Add(min(t.mount.PropagationDelay, maxProof))
	}
	for {
		accepted, err := conn.api.AcceptsKey(ctx, t.role.entry.ClientID, string(request.Secret), t.role.entry.SigningAlgorithm)
		upstream, _ := errors.AsType[*auth0.Error](err)
		switch {
		case upstream != nil && upstream.Class != auth0.Limited && upstream.Status != 0 && upstream.Status < http.StatusInternalServerError:
			// Not for the key, or it is what is in between that does not let it through.
			return rotation.Outcome{Result: rotation.Untold}
		case err != nil:
			return failedAttempt(err)
		case accepted:
			return rotation.Outcome{Result: rotation.Accepted}
		case t.b.now().After(end):
			return rotation.Outcome{Result: rotation.Refused, Err: errNotAccepted}
		}
		if err := t.b.wait(ctx, proofPause); err != nil {
			return rotation.Outcome{Result: rotation.Unclear, Err: errNotAccepted}
		}
	}
}

// foreignKeys warns of keys of a new role's application that are not the role's.
func (b *backend) foreignKeys(ctx context.Context, role *ownedRole) []string {
	conn, err := b.connect(ctx, role.storage)
	if err != nil {
		return nil
	}
	kids, err := conn.api.EnabledKeys(ctx, role.entry.ClientID)
	if err != nil {
		return []string{"which other keys the application uses could not be read: " + err.Error()}
	}
	var foreign []string
	for _, kid := range kids {
		if !holdsKey(role.entry.Rotation, kid) {
			foreign = append(foreign, kid)
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the application goes on to accept its other keys (kid %s). It can use two at a time, and a rotation needs room for one: "+
		"when everything reads from this role, remove them in Auth0", strings.Join(foreign, ", "))}
}

// holdsKey reports whether a kid is that of a key of the state.
func holdsKey(s rotation.State, kid string) bool {
	for _, key := range s.Keys() {
		if kidOf(key.Secret) == kid {
			return true
		}
	}
	return false
}

// kidOf is the kid of a key, as it is registered.
func kidOf(key rotation.Secret) string {
	_, kid, err := assertion.PublicKey(string(key))
	if err != nil {
		return ""
	}
	return kid
}

// removeKeys removes the keys of a deleted role at Auth0, but not those that somebody
// may hold. It returns warnings about those that are left.
func (b *backend) removeKeys(ctx context.Context, role *ownedRole) []string {
	if !role.entry.keys() {
		return nil
	}
	ctx, done := b.detached(ctx, upstreamPatience)
	defer done()
	var useless, held, warnings []string
	conn, err := b.connect(ctx, role.storage)
	for _, key := range role.entry.Rotation.Keys() {
		if key.Exported {
			held = append(held, kidOf(key.Secret))
			continue
		}
		if err == nil {
			_, err = conn.api.RetireKey(ctx, role.entry.ClientID, string(key.Secret))
		}
		if err != nil {
			useless = append(useless, kidOf(key.Secret))
		}
	}
	if len(useless) > 0 {
		warnings = append(warnings, fmt.Sprintf("keys of the role may be left in Auth0 (kid %s), and cannot be used: remove them there. %s", strings.Join(useless, ", "), err))
	}
	if len(held) > 0 {
		warnings = append(warnings, fmt.Sprintf("Auth0 goes on to accept keys that were exportable (kid %s): remove them there when nobody uses them", strings.Join(held, ", ")))
	}
	return warnings
}

// checkKeysForDrift compares the role's keys with those that Auth0 accepts.
func (b *backend) checkKeysForDrift(ctx context.Context, role *ownedRole, mount mountSettings) error {
	conn, err := b.connect(ctx, role.storage)
	if err != nil {
		return err
	}
	kids, err := conn.api.EnabledKeys(ctx, role.entry.ClientID)
	if err != nil && !errors.Is(err, auth0.ErrOtherMethod) { // by which it uses none
		return err
	}
	state, changed := rotation.KeysCompared(role.entry.Rotation,
		func(key rotation.Secret) bool { return slices.Contains(kids, kidOf(key)) }, role.set.clock(b.now()))
	if !changed {
		return nil
	}
	return b.takeInDrift(ctx, role, mount, state, "a key was removed, or disabled, in Auth0")
}

// lazySigner signs with a role's present key, which it reads once.
func lazySigner(role *roleEntry) func() (*assertion.Signer, error) {
	return sync.OnceValues(func() (*assertion.Signer, error) {
		return assertion.NewOwnSigner(string(role.Rotation.Current()), role.SigningAlgorithm)
	})
}

// kid is that of the present key.
func (set *servedSet) kid() string {
	signer, err := set.signer()
	if err != nil {
		return ""
	}
	return signer.KID()
}

// sign makes an assertion of the role's application, that is good until then.
func (set *servedSet) sign(now time.Time) (text string, until time.Time, err error) {
	signer, err := set.signer()
	if err != nil {
		return "", time.Time{}, err
	}
	until = now.Add(rotation.AssertionLifetime)
	text, err = signer.Sign(set.role.ClientID, "https://"+set.role.Domain+"/", now, rotation.AssertionLifetime)
	return text, until, err
}

// keyCredentials is credentials for a role of keys, but for the kid: that takes long.
func keyCredentials(role *roleEntry) map[string]any {
	key := role.Rotation.Current()
	return map[string]any{fieldPrivateKey: string(key), fieldSigningAlgorithm: role.SigningAlgorithm}
}
