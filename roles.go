package auth0secrets

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
)

// sentRole is what a write of a role carries.
type sentRole struct {
	clientID         string
	clientIDSent     bool
	ttl              time.Duration
	ttlSent          bool
	plan             sentPlan
	source           secretSource // "": not sent
	policy           string
	policySent       bool
	clientSecret     sensitive
	clientSecretSent bool
	skipImport       bool
}

func checkClientID(clientID string) error {
	if err := requirements.CheckClientID(clientID); err != nil {
		return badRequest("%s", err)
	}
	return nil
}

// apply changes a role's settings by what was sent, and refuses what does not
// fit together then.
func (s *sentRole) apply(role *roleEntry, maxLease time.Duration, now time.Time) error {
	if s.ttlSent {
		role.TTL = s.ttl
	}
	if s.source != "" {
		role.SecretSource = s.source
	}
	if s.policySent {
		role.PasswordPolicy = s.policy
	}
	if err := s.plan.apply(&role.rotationPlan, now); err != nil {
		return err
	}
	switch {
	case role.TTL < minLease:
		return badRequest("%s must be at least %s", fieldTTL, minLease)
	case s.ttlSent && role.TTL > maxLease:
		return badRequest("%s %s is above the longest lease that this mount allows, %s: lower it, or tune the mount's max-lease-ttl",
			fieldTTL, role.TTL, maxLease)
	}
	// One rotation is through before the next is due.
	return role.check(2*role.TTL, " (twice the "+fieldTTL+"), or a rotation would be due before the last one is through", now)
}

// newRoleEntry is a role with nothing but defaults.
func newRoleEntry(maxLease time.Duration) *roleEntry {
	return &roleEntry{TTL: min(defaultTTL, maxLease), SecretSource: sourceVault}
}

// createRole makes a role of an application, which is read from Auth0 unless it
// is given. The role's lock is held.
func (b *backend) createRole(ctx context.Context, role *ownedRole, sent *sentRole, known *auth0.Application) ([]string, error) {
	entry, warnings, err := b.prepareRole(ctx, role, sent, known)
	if err != nil {
		return nil, err
	}
	if err := b.commitRole(ctx, role, entry); err != nil {
		return nil, err
	}
	b.roleEvent(ctx, eventRoleCreate, role.name, entry, true)
	more, err := b.firstRotation(ctx, role, entry.Rotation.Current != nil)
	return append(warnings, more...), err
}

// prepareRole checks all that is to be checked of a new role, and changes
// nothing.
func (b *backend) prepareRole(ctx context.Context, role *ownedRole, sent *sentRole, known *auth0.Application) (*roleEntry, []string, error) {
	maxLease := b.askMaxLeaseTTL()
	entry := newRoleEntry(maxLease)
	if !sent.clientIDSent {
		return nil, nil, badRequest("%s is missing: that of the application whose secret the role is to rotate", fieldClientID)
	}
	entry.ClientID = sent.clientID
	if err := checkClientID(entry.ClientID); err != nil {
		return nil, nil, err
	}
	if err := sent.apply(entry, maxLease, b.now()); err != nil {
		return nil, nil, err
	}
	conn, err := b.connect(ctx, role.storage)
	if err != nil {
		return nil, nil, err
	}
	entry.Domain = conn.config.Domain

	if err := b.checkFree(ctx, role, entry, conn.config); err != nil {
		return nil, nil, err // before Auth0 is asked
	}
	app, warnings, err := examineApplication(ctx, conn.api, entry.ClientID, entry.SecretSource, known)
	if err != nil {
		return nil, nil, err
	}
	entry.SecretEncoded = requirements.SecretEncoded(app)
	imported, importWarnings, err := importSecret(app, sent)
	if err != nil {
		return nil, nil, err
	}
	if imported != "" {
		entry.Rotation.Current, entry.Rotation.LastRotation = &secretVersion{Version: 1, Value: imported}, b.now()
	} else {
		entry.Rotation = entry.Rotation.requested(true)
		warnings = append(warnings, "the application's present secret is replaced at once: what still uses it fails until it reads creds/"+role.name)
	}
	return entry, append(warnings, importWarnings...), b.checkPolicy(ctx, entry)
}

// checkPolicy refuses a password policy that makes no secret, before a rotation
// is the first to find out.
func (b *backend) checkPolicy(ctx context.Context, role *roleEntry) error {
	switch {
	case role.PasswordPolicy == "":
		return nil
	case role.SecretSource != sourceVault:
		return badRequest("%s is only for roles with %s=%s: with %s, Auth0 makes the secret",
			fieldPasswordPolicy, fieldSecretSource, sourceVault, sourceAuth0)
	}
	_, err := b.generateSecret(ctx, role)
	return err
}

// importSecret is the application's present secret, as given or as read; "" if
// it is to be replaced at once.
func importSecret(app *auth0.Application, sent *sentRole) (sensitive, []string, error) {
	readable := app != nil && app.ClientSecret != nil && *app.ClientSecret != ""
	switch {
	case sent.skipImport:
		return "", nil, nil
	case sent.clientSecretSent && readable && string(sent.clientSecret) != *app.ClientSecret:
		return "", nil, badRequest("%s is not the application's present secret; leave it out and the engine reads the secret itself",
			fieldClientSecret)
	case sent.clientSecretSent && !readable:
		return sent.clientSecret, []string{
			fieldClientSecret + " could not be checked: the engine's grant lacks " + scopeReadClientKeys +
				". If it is not the application's present secret, credentials are wrong until the first rotation",
		}, nil
	case readable:
		return sensitive(*app.ClientSecret), nil, nil
	default:
		return "", nil, badRequest("the application's present secret cannot be read from Auth0. Three ways out: "+
			"send it as %s; grant the engine's application the scope %s; or replace it at once with %s=true, "+
			"which stops everything that still uses it", fieldClientSecret, scopeReadClientKeys, fieldSkipImport)
	}
}

// checkFree refuses an application that cannot be this role's: the engine's
// own, or another role's. It also takes over how long leases of an earlier role
// for it may live.
func (b *backend) checkFree(ctx context.Context, role *ownedRole, entry *roleEntry, config *configEntry) error {
	if entry.ClientID == config.ClientID {
		return badRequest("application %q is the engine's own: it cannot be a role of its mount, because a rotation would lock the engine out",
			entry.ClientID)
	}
	owner, reserved, err := owningRole(ctx, role.storage, entry.ClientID)
	if err != nil {
		return err
	}
	if owner != "" && owner != role.name {
		return badRequest("application %q is under role %q already: one role per application", entry.ClientID, owner)
	}
	if reserved != nil {
		entry.Rotation.LongestTTL, entry.Rotation.LongestUntil = reserved.LongestTTL, reserved.LongestUntil
	}
	return nil
}

// commitRole stores a new role, unless the configuration has become another
// one since it was looked at.
func (b *backend) commitRole(ctx context.Context, role *ownedRole, entry *roleEntry) error {
	b.commitLock.Lock()
	defer b.commitLock.Unlock()
	config, err := readConfig(ctx, role.storage)
	if err != nil {
		return err
	}
	if config == nil || config.Domain != entry.Domain {
		return badRequest("the configuration was changed meanwhile: try again")
	}
	if err := b.checkFree(ctx, role, entry, config); err != nil {
		return err
	}
	if err := writeApplication(ctx, role.storage, entry.ClientID, reservation(role.name, entry.Rotation)); err != nil {
		return err
	}
	return b.save(ctx, role, entry)
}

// firstRotation schedules a new role. One that was not imported is rotated at
// once; if Auth0 refuses that, there is no role, since nothing has changed. If
// the answer is unclear the role stays: its secret may be live.
func (b *backend) firstRotation(ctx context.Context, role *ownedRole, imported bool) ([]string, error) {
	work, done := b.beyondRequest(ctx)
	defer done()
	err := b.advance(work, role, role.entry.Rotation)
	if imported || err == nil {
		return nil, err
	}
	state := role.entry.Rotation
	if !state.Unclear && state.Current == nil && state.LastError != "" {
		if undo := b.deleteRole(work, role); undo != nil {
			return nil, undo
		}
		return nil, err
	}
	return []string{"the first rotation is not confirmed yet and will be tried again; until then the role has no credentials: " + err.Error()}, nil
}

// updateRole changes a role's settings. The role's lock is held.
func (b *backend) updateRole(ctx context.Context, role *ownedRole, sent *sentRole) ([]string, error) {
	if sent.clientIDSent && sent.clientID != role.entry.ClientID {
		return nil, badRequest("%s cannot be changed: the role is for %q. Make another role for %q",
			fieldClientID, role.entry.ClientID, sent.clientID)
	}
	if sent.clientSecretSent && !role.entry.Rotation.holds(sent.clientSecret) {
		return nil, badRequest("%s is taken only when a role is created. If the secret was changed outside Vault, "+
			"rotate it: rotate/%s with %s=true", fieldClientSecret, role.name, fieldForce)
	}
	var warnings []string
	if sent.skipImport {
		warnings = append(warnings, fieldSkipImport+" has no effect on a role that exists: nothing was rotated")
	}
	entry := *role.entry
	if err := sent.apply(&entry, b.askMaxLeaseTTL(), b.now()); err != nil {
		return nil, err
	}
	if err := b.checkPolicy(ctx, &entry); err != nil {
		return nil, err
	}
	if entry.TTL != role.entry.TTL {
		entry.Rotation = entry.Rotation.ttlChanged(role.entry.TTL, b.now())
	}
	if entry.TTL < role.entry.TTL {
		warnings = append(warnings, fmt.Sprintf("the next staged rotation still waits for readers that go by the earlier %s (%s); those after it do not",
			fieldTTL, role.entry.TTL))
	}
	if err := b.save(ctx, role, &entry); err != nil {
		return nil, err
	}
	b.roleEvent(ctx, eventRoleUpdate, role.name, &entry, false)
	work, done := b.beyondRequest(ctx)
	defer done()
	if err := b.advance(work, role, role.entry.Rotation); err != nil {
		warnings = append(warnings, "the settings are stored, but the rotation under way failed and will be tried again: "+err.Error())
	}
	return warnings, nil
}

// deleteRole forgets a role, but not how long its leases may live.
func (b *backend) deleteRole(ctx context.Context, role *ownedRole) error {
	b.commitLock.Lock()
	defer b.commitLock.Unlock()
	last := role.entry.Rotation.ttlChanged(role.entry.TTL, b.now())
	if err := writeApplication(ctx, role.storage, role.entry.ClientID, reservation(role.name, last)); err != nil {
		return err
	}
	if err := role.storage.Delete(ctx, storageRoles+role.name); err != nil {
		return err
	}
	b.served.forget(role.name)
	b.drift.forget(role.name)
	b.scheduler.schedule(role.name, time.Time{})
	b.roleEvent(ctx, eventRoleDelete, role.name, role.entry, true)
	return nil
}

// settledState is the state of the role's rotation, with settling ended if it has.
func (b *backend) settledState(role *ownedRole) rotationState {
	return role.entry.Rotation.settled(role.entry.settings(b.mountSettings()), role.set.clock(b.now()))
}

// settlesAt is when the role's settling phase ends; zero: it is in another phase.
func (b *backend) settlesAt(role *ownedRole) time.Time {
	state := b.settledState(role)
	if state.phase() != phaseSettling {
		return time.Time{}
	}
	return state.settlesAt(role.entry.settings(b.mountSettings()), role.set.clock(b.now()))
}

// mayHaveBeenSent says whether Auth0 may have the next secret: an attempt had no
// clear answer, or may have been cut short by a crash.
func (b *backend) mayHaveBeenSent(role *ownedRole) bool {
	state, clock := role.entry.Rotation, role.set.clock(b.now())
	at, planned := state.activateAt(role.entry.settings(b.mountSettings()), clock)
	return state.Unclear || state.Asked || (state.Next != nil && planned && !clock.Now.Before(at))
}

// deleteUnreadable forgets a role whose entry cannot be read. What it reserved
// is void without it.
func (b *backend) deleteUnreadable(ctx context.Context, storage logical.Storage, name string) error {
	unlock, err := b.roleLocks.lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	if err := storage.Delete(ctx, storageRoles+name); err != nil {
		return err
	}
	b.served.forget(name)
	return nil
}

// reservation is what is stored of an application apart from its role.
func reservation(role string, state rotationState) *applicationEntry {
	return &applicationEntry{Role: role, LongestTTL: state.LongestTTL, LongestUntil: state.LongestUntil}
}

// requestRotation starts a rotation, or forces the one under way.
func (b *backend) requestRotation(ctx context.Context, role *ownedRole, force bool) error {
	requested := b.settledState(role).requested(force)
	if requested == role.entry.Rotation {
		return nil // it is under way
	}
	work, done := b.beyondRequest(ctx)
	defer done()
	err := b.advance(work, role, requested)
	if state := role.entry.Rotation; err != nil && force && state.Next != nil && !state.Forced {
		return fmt.Errorf("%w. The next secret stays staged, and is set at %s without force",
			err, inRFC3339(state.readyAt(role.set.clock(b.now()))))
	}
	return err
}

// eachRole visits all roles, as they are served. One whose entry cannot be read
// does not hide the others: it is in the returned map, with the reason.
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

// look is a role as it is served, without its lock, which a rotation may hold
// for as long as Auth0 takes. Nil: no such role.
func (b *backend) look(ctx context.Context, storage logical.Storage, name string) (*servedSet, error) {
	return b.served.get(ctx, name, func(ctx context.Context) (*roleEntry, error) { return readRole(ctx, storage, name) })
}
