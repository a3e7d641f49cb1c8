package auth0secrets

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// change changes a role's settings by what a request sent. It refuses settings that do
// not fit together.
func (r *roleEntry) change(d *framework.FieldData, maxLease time.Duration, now time.Time) error {
	if err := r.changeKeys(d); err != nil {
		return err
	}
	ttlSent := take(d, fieldTTL, &r.TTL)
	take(d, fieldPasswordPolicy, &r.PasswordPolicy)
	if source, ok := sent[string](d, fieldSecretSource); ok {
		r.SecretSource = rotation.Source(source)
	}
	if err := r.changePlan(d, &r.Rotation, now); err != nil {
		return err
	}
	switch {
	case r.SecretSource != rotation.Vault && r.SecretSource != rotation.Auth0:
		return badRequest("%s %q is not known: it is %s or %s", fieldSecretSource, r.SecretSource, rotation.Vault, rotation.Auth0)
	case r.TTL < minLease:
		return badRequest("%s must be at least %s", fieldTTL, minLease)
	case ttlSent && r.TTL > maxLease:
		return badRequest("%s %s is above the longest lease that this mount allows, %s: lower it, or tune the mount's max-lease-ttl",
			fieldTTL, r.TTL, maxLease)
	}
	// One rotation is through before the next is due.
	return r.check(2*r.TTL, " (twice the "+fieldTTL+"), or a rotation would be due before the last one is through", now)
}

// takes is how long one rotation takes: it waits until the last one has propagated,
// then for leases.
func (r *roleEntry) takes(propagation time.Duration) time.Duration {
	if r.keys() && !r.Exportable {
		return propagation + rotation.AssertionLifetime + 2*rotation.HandOutMargin
	}
	if r.SecretSource == rotation.Vault {
		return propagation + r.TTL + rotation.HandOutMargin
	}
	return propagation
}

// tooClose warns of a schedule by which a rotation is due before the last one is
// through.
func (r *roleEntry) tooClose(propagation time.Duration, now time.Time) []string {
	takes, gap := r.takes(propagation), r.shortestGap(now)
	if gap >= takes {
		return nil
	}
	return []string{fmt.Sprintf("rotations take effect later than the schedule says: it has them %s apart, and one takes %s (%s, and %s where it is waited for)",
		gap, takes, fieldPropagationDelay, fieldTTL)}
}

// plannedBy says whether a request sends anything on which tooClose depends.
func plannedBy(d *framework.FieldData) bool {
	return slices.ContainsFunc([]string{fieldTTL, fieldSecretSource, fieldExportable, fieldRotationPeriod, fieldRotationSchedule}, func(field string) bool {
		_, ok := d.GetOk(field)
		return ok
	})
}

// newRoleEntry returns a role with default settings.
func newRoleEntry(maxLease time.Duration) *roleEntry {
	return &roleEntry{TTL: min(defaultTTL, maxLease), SecretSource: rotation.Vault, CredentialType: credentialSecret}
}

// createRole makes a role. It reads the application from Auth0 unless it is known.
// The caller holds the role's lock.
func (b *backend) createRole(ctx context.Context, role *ownedRole, d *framework.FieldData, known *auth0.Application) ([]string, error) {
	made, err := b.prepareRole(ctx, role, d, known)
	if err != nil {
		return nil, err
	}
	if err := b.commitRole(ctx, role, made); err != nil {
		return nil, err
	}
	b.roleEvent(ctx, eventRoleCreate, role)
	more, err := b.firstRotation(ctx, role, made.imported != "")
	return append(made.warnings, more...), err
}

// newRole is a role that is not stored yet.
type newRole struct {
	entry    *roleEntry
	name     string          // of the application; "": the engine may not read it
	imported rotation.Secret // the application's present one; "": it is to be replaced
	warnings []string
}

// prepareRole checks a new role. It changes nothing.
func (b *backend) prepareRole(ctx context.Context, role *ownedRole, d *framework.FieldData, known *auth0.Application) (*newRole, error) {
	maxLease := b.askMaxLeaseTTL()
	entry := newRoleEntry(maxLease)
	if known != nil {
		entry.ClientID = known.ClientID
	} else if !take(d, fieldClientID, &entry.ClientID) {
		return nil, badRequest("%s is missing: that of the application whose secret the role is to rotate", fieldClientID)
	}
	if err := requirements.CheckClientID(entry.ClientID); err != nil {
		return nil, badRequest("%s", err)
	}
	if err := entry.change(d, maxLease, b.now()); err != nil {
		return nil, err
	}
	conn, err := b.connect(ctx, role.storage)
	if err != nil {
		return nil, err
	}
	entry.Domain = conn.config.Domain

	if _, err := checkFree(ctx, role, entry.ClientID, conn.config); err != nil {
		return nil, err // before Auth0 is asked
	}
	app, warnings, err := examineApplication(ctx, conn.api, entry, known)
	if err != nil {
		return nil, err
	}
	made := &newRole{entry: entry, warnings: warnings}
	if app != nil {
		made.name = app.Name
	}
	if err := checkAllowed(conn.config, made); err != nil {
		return nil, err
	}
	if entry.keys() {
		made.warnings = append(made.warnings, entry.tooClose(conn.config.PropagationDelay, b.now())...)
		return made, checkKeyScopes(ctx, conn)
	}
	entry.SecretEncoded = requirements.SecretEncoded(app)
	made.imported, warnings, err = importSecret(ctx, conn.api, entry.ClientID, app, d)
	if err != nil {
		return nil, err
	}
	if made.imported == "" {
		made.warnings = append(made.warnings, "the application's present secret is replaced at once: what still uses it fails until it reads creds/"+role.name)
	}
	made.warnings = slices.Concat(made.warnings, warnings, entry.tooClose(conn.config.PropagationDelay, b.now()))
	return made, b.checkPolicy(ctx, entry)
}

// checkAllowed refuses an application that allowed_applications does not let become a
// role.
func checkAllowed(config *configEntry, made *newRole) error {
	switch {
	case config.allows(made.entry.ClientID, made.name):
		return nil
	case made.name == "":
		return badRequest("application %q may not become a role of this mount: %s in %s does not have its client ID, and the engine may not read its name in Auth0 (%s)",
			made.entry.ClientID, fieldAllowedApplications, storageConfig, scopeReadClients)
	default:
		return badRequest("application %q may not become a role of this mount: %s in %s does not name it, by client ID or by its name in Auth0",
			made.entry.ClientID, fieldAllowedApplications, storageConfig)
	}
}

// checkPolicy refuses a password policy that makes no secret. Otherwise a rotation
// would be the first to find out.
func (b *backend) checkPolicy(ctx context.Context, role *roleEntry) error {
	switch {
	case role.PasswordPolicy == "":
		return nil
	case role.SecretSource != rotation.Vault:
		return badRequest("%s is only for roles with %s=%s: with %s, Auth0 makes the secret",
			fieldPasswordPolicy, fieldSecretSource, rotation.Vault, rotation.Auth0)
	}
	_, err := b.generateSecret(ctx, role)
	return err
}

// checkImport refuses an empty secret, and a secret beside skip_import.
func checkImport(d *framework.FieldData) error {
	secret, secretSent := sent[string](d, fieldClientSecret)
	skip, _ := sent[bool](d, fieldSkipImport)
	switch {
	case secretSent && secret == "":
		return badRequest("%s is empty: leave it out, or send the application's present secret", fieldClientSecret)
	case secretSent && skip:
		return badRequest("%s and %s=true contradict each other: import the present secret, or replace it at once",
			fieldClientSecret, fieldSkipImport)
	}
	return nil
}

// importSecret returns the application's present secret, as sent or as read. "": it
// is to be replaced at once.
func importSecret(
	ctx context.Context, api managementAPI, clientID string, app *auth0.Application, d *framework.FieldData,
) (rotation.Secret, []string, error) {
	secret, secretSent := sent[string](d, fieldClientSecret)
	skip, _ := sent[bool](d, fieldSkipImport)
	readable := app != nil && app.ClientSecret != nil
	switch {
	case skip:
		return "", nil, nil
	case secretSent && readable && subtle.ConstantTimeCompare([]byte(secret), []byte(*app.ClientSecret)) == 0:
		return "", nil, badRequest("%s is not the application's present secret; leave it out and the engine reads the secret itself",
			fieldClientSecret)
	case readable:
		return rotation.Secret(*app.ClientSecret), nil, nil
	case secretSent:
		warnings, err := proveSecret(ctx, api, clientID, secret)
		return rotation.Secret(secret), warnings, err
	case app != nil && !app.Hides(fieldClientSecret):
		return "", nil, badRequest("Auth0 shows no client secret of the application, though the engine may read it. Two ways out: "+
			"send it as %s; or set a new one at once with %s=true, which stops everything that uses another",
			fieldClientSecret, fieldSkipImport)
	default:
		return "", nil, badRequest("the application's present secret cannot be read from Auth0. Three ways out: "+
			"send it as %s; grant the engine's application the scope %s; or replace it at once with %s=true, "+
			"which stops everything that still uses it", fieldClientSecret, scopeReadClientKeys, fieldSkipImport)
	}
}

// proveSecret refuses a secret with which Auth0 does not let the application log in.
// It warns where Auth0 says neither yes nor no.
func proveSecret(ctx context.Context, api managementAPI, clientID, secret string) ([]string, error) {
	accepted, err := api.Accepts(ctx, clientID, secret)
	switch {
	case err != nil && auth0.ClassOf(err) != auth0.Refused: // or an attacker who gets logins limited could plant a secret
		return nil, fmt.Errorf("%s could not be proven by a login: %w. Try again", fieldClientSecret, err)
	case err != nil:
		return []string{ //nolint:nilerr // a warning: it says neither yes nor no
			fieldClientSecret + " could not be proven: the engine may not read it in Auth0 (" + scopeReadClientKeys +
				"), and a login with it was neither accepted nor refused for it (" + err.Error() +
				"). If it is not the application's present secret, credentials are wrong until the first rotation",
		}, nil
	case !accepted:
		return nil, badRequest("%s is not the application's present secret, or the application does not log in by a secret: "+
			"Auth0 refuses a login with it. If it was set a moment ago, try again in half a minute", fieldClientSecret)
	}
	return nil, nil
}

// checkFree refuses the engine's own application and that of another role. It returns
// the leases that a new role of the application has to wait for.
func checkFree(ctx context.Context, role *ownedRole, clientID string, config *configEntry) (rotation.Leases, error) {
	owner, leases, err := owningRole(ctx, role.storage, clientID)
	switch {
	case err != nil:
	case clientID == config.ClientID:
		err = badRequest("application %q is the engine's own: it cannot be a role of its mount, because a rotation would lock the engine out", clientID)
	case owner != "" && owner != role.name:
		err = badRequest("application %q is under role %q already: one role per application", clientID, owner)
	}
	return leases, err
}

// commitRole stores a new role, unless the configuration has changed since
// prepareRole. A later rotation of all roles concerns the role, an earlier one does
// not.
func (b *backend) commitRole(ctx context.Context, role *ownedRole, made *newRole) error {
	entry := made.entry
	b.commitLock.Lock()
	defer b.commitLock.Unlock()
	config, err := readConfig(ctx, role.storage)
	if err != nil {
		return err
	}
	if config == nil || config.Domain != entry.Domain {
		return badRequest("the configuration was changed meanwhile: try again")
	}
	if err := checkAllowed(config, made); err != nil {
		return err
	}
	leases, err := checkFree(ctx, role, entry.ClientID, config)
	if err != nil {
		return err
	}
	bulk, err := b.loadBulkNumber(ctx, role.storage)
	if err != nil {
		return err
	}
	entry.Rotation = rotation.Unknown(b.now())
	switch {
	case entry.keys():
		entry.Rotation = rotation.NoKey(b.now())
	case made.imported != "":
		entry.Rotation = rotation.Imported(made.imported, bulk, b.now())
	}
	entry.Rotation = entry.Rotation.WithLeases(leases)
	if err := writeApplication(ctx, role.storage, entry.ClientID, reservation(role.name, leases)); err != nil {
		return err
	}
	return b.save(ctx, role, entry)
}

// firstRotation schedules a new role. One that was not imported is rotated at once.
// If Auth0 refuses that, nothing has changed, and the role goes. If the answer is
// unclear the role stays: its secret may be live.
func (b *backend) firstRotation(ctx context.Context, role *ownedRole, imported bool) ([]string, error) {
	_, err := b.advance(ctx, role, rotation.Ask{})
	switch {
	case err == nil && role.entry.keys():
		warnings := append(b.foreignKeys(ctx, role), fmt.Sprintf("some of Auth0's servers may refuse the new key for %s (%s): let applications read from this role after that",
			b.mountInMemory().PropagationDelay, fieldPropagationDelay))
		if view := role.view(b.mountInMemory(), b.now()); view.Version == 0 {
			warnings = append(warnings, "the key is registered, but Auth0 does not tell whether it accepts it yet: the role serves it from "+inRFC3339(view.ReadyAt)+" on")
		}
		return warnings, nil
	case imported || err == nil:
		return nil, err
	}
	if state := role.entry.Rotation; !state.Unsettled() && !state.Registered() && state.Current() == "" && role.view(b.mountInMemory(), b.now()).LastError != "" {
		if undo := b.deleteRole(context.WithoutCancel(ctx), role); undo != nil {
			return nil, undo
		}
		return nil, err
	}
	return []string{"the first rotation is not confirmed yet and will be tried again; until then the role has no credentials: " + err.Error()}, nil
}

// updateRole changes a role's settings. The caller holds the role's lock.
func (b *backend) updateRole(ctx context.Context, role *ownedRole, d *framework.FieldData) ([]string, error) {
	if clientID, ok := sent[string](d, fieldClientID); ok && clientID != role.entry.ClientID {
		return nil, badRequest("%s cannot be changed: the role is for %q. Make another role for %q",
			fieldClientID, role.entry.ClientID, clientID)
	}
	if _, ok := sent[string](d, fieldClientSecret); ok {
		return nil, badRequest("%s is taken only when a role is created. If the secret was changed outside Vault, "+
			"rotate it: rotate/%s with %s=true", fieldClientSecret, role.name, fieldForce)
	}
	var warnings []string
	if skip, _ := sent[bool](d, fieldSkipImport); skip {
		warnings = append(warnings, fieldSkipImport+" has no effect on a role that exists: nothing was rotated")
	}
	before, entry := role.entry, *role.entry
	if err := entry.change(d, b.askMaxLeaseTTL(), b.now()); err != nil {
		return nil, err
	}
	_, policySent := sent[string](d, fieldPasswordPolicy)
	_, sourceSent := sent[string](d, fieldSecretSource)
	if policySent || sourceSent {
		if err := b.checkPolicy(ctx, &entry); err != nil {
			return nil, err
		}
	}
	if entry.TTL != before.TTL {
		entry.Rotation = entry.Rotation.TTLChanged(before.TTL, b.now())
	}
	if entry.SecretSource != before.SecretSource && entry.Rotation.Unsettled() && entry.Rotation.Next() == "" {
		warnings = append(warnings, "Auth0 was asked for a secret and has not answered yet: that is settled first, and holders of credentials may fail until they read again")
	}
	warnings = append(warnings, entry.lowered(before.TTL)...)
	mount, err := b.loadMount(ctx, role.storage)
	if err != nil {
		return nil, err
	}
	if plannedBy(d) {
		warnings = append(warnings, entry.tooClose(mount.PropagationDelay, b.now())...)
	}
	if err := b.save(ctx, role, &entry); err != nil {
		return nil, err
	}
	b.roleEvent(ctx, eventRoleUpdate, role)
	if _, err := b.advance(ctx, role, rotation.Ask{}); err != nil {
		warnings = append(warnings, "the settings are stored, but the rotation under way failed and will be tried again: "+err.Error())
	}
	return warnings, nil
}

// lowered warns of what a lower ttl does not change at once.
func (r *roleEntry) lowered(before time.Duration) []string {
	switch {
	case r.TTL >= before, r.keys() && !r.Exportable:
		return nil
	case r.keys():
		return []string{fmt.Sprintf("the key in use stays accepted after the next rotation until readers that go by the earlier %s (%s) are done", fieldTTL, before)}
	default:
		return []string{fmt.Sprintf("the next staged rotation still waits for readers that go by the earlier %s (%s); those after it do not", fieldTTL, before)}
	}
}

// deleteRole deletes a role. It keeps on record how long the role's leases may live.
func (b *backend) deleteRole(ctx context.Context, role *ownedRole) error {
	b.commitLock.Lock()
	defer b.commitLock.Unlock()
	leases := role.entry.Rotation.LeasesAt(role.entry.TTL, b.now())
	if err := writeApplication(ctx, role.storage, role.entry.ClientID, reservation(role.name, leases)); err != nil {
		return err
	}
	if err := role.storage.Delete(ctx, storageRoles+role.name); err != nil {
		b.due.Set(role.name, b.now().Add(storageRetry)) // it may be gone all the same
		return err
	}
	b.forgetRole(role.name)
	b.roleEvent(ctx, eventRoleDelete, role)
	return nil
}

// forgetRole drops a deleted role from memory.
func (b *backend) forgetRole(name string) {
	b.served.forget(name)
	b.dropTokens(name)
	b.logins.Delete(name)
	b.drift.forget(name)
	b.due.Forget(name)
	b.due.Set(dueBulk, b.now().Add(bulkPause)) // it may have been the last that was left
}

// deleteUnreadable deletes a role whose entry cannot be read. Its reservation is void
// without it.
func (b *backend) deleteUnreadable(ctx context.Context, storage logical.Storage, name string) error {
	unlock, err := b.lockRole(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	if err := storage.Delete(ctx, storageRoles+name); err != nil {
		return err
	}
	b.forgetRole(name)
	b.event(ctx, eventRoleDelete, rolesPrefix+name,
		logical.EventMetadataDataPath, credsPrefix+name,
		logical.EventMetadataModified, "true",
		fieldName, name,
	)
	return nil
}

// reservation is the entry that reserves an application for a role.
func reservation(role string, leases rotation.Leases) *applicationEntry {
	return &applicationEntry{Role: role, LongestTTL: leases.TTL, LongestUntil: leases.Until}
}

// eachRole visits all roles as they are served. Roles whose entry cannot be read are
// in the returned map, with the reason: they do not hide the others.
func (b *backend) eachRole(ctx context.Context, storage logical.Storage, visit func(name string, set *servedSet)) (names []string, unreadable map[string]any, err error) {
	if names, err = storage.List(ctx, storageRoles); err != nil {
		return nil, nil, err
	}
	unreadable = map[string]any{}
	for _, name := range names {
		set, err := b.look(ctx, storage, name)
		var reason *unreadableError
		switch {
		case errors.As(err, &reason):
			unreadable[name] = map[string]any{fieldLastError: reason.Error(), fieldFailures: 1}
		case err != nil:
			return nil, nil, err
		case set != nil: // not deleted meanwhile
			visit(name, set)
		}
	}
	return names, unreadable, nil
}

// lookUp is look for a role that has to exist.
func (b *backend) lookUp(ctx context.Context, storage logical.Storage, name string) (*servedSet, error) {
	set, err := b.look(ctx, storage, name)
	if err == nil && set == nil {
		err = unknownRole(name)
	}
	return set, err
}

// look returns a role as it is served, without its lock, which a rotation may hold
// while Auth0 answers. Nil: no such role.
func (b *backend) look(ctx context.Context, storage logical.Storage, name string) (*servedSet, error) {
	return b.served.get(ctx, name, func(ctx context.Context) (*roleEntry, error) { return readRole(ctx, storage, name) })
}
