package auth0secrets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// ownedRole is a role whose lock is held: what may be changed.
type ownedRole struct {
	name    string
	storage logical.Storage
	entry   *roleEntry
	set     *servedSet
	release func()
}

// own takes the role's lock and reads the role. Its entry is nil if there is
// none. The lock may be held by a rotation that waits for Auth0; waiting ends
// with the context.
func (b *backend) own(ctx context.Context, storage logical.Storage, name string) (*ownedRole, error) {
	release, err := b.roleLocks.lock(ctx, name)
	if err != nil {
		return nil, logical.CodedError(http.StatusServiceUnavailable,
			fmt.Sprintf("role %q is being changed by another request, which waits for Auth0: try again", name))
	}
	role := &ownedRole{name: name, storage: storage, release: release}
	if err := b.refresh(ctx, role); err != nil {
		release()
		return nil, err
	}
	return role, nil
}

// refresh reads the role from storage, and has what is served agree with it.
// They differ only after a write that was answered with an error, but took
// effect all the same.
func (b *backend) refresh(ctx context.Context, role *ownedRole) error {
	stored, err := readRole(ctx, role.storage, role.name)
	if err != nil {
		return err
	}
	if stored == nil {
		b.served.forget(role.name)
		return nil
	}
	role.set, err = b.served.get(ctx, role.name, func(context.Context) (*roleEntry, error) { return stored, nil })
	if err != nil {
		return err
	}
	if !sameEntry(stored, role.set.role) {
		role.set = b.served.publish(role.name, stored)
	}
	role.entry = role.set.role // its times go by the monotonic clock, too, if this process has set them
	return nil
}

func sameEntry(a, b *roleEntry) bool {
	first, errFirst := json.Marshal(a)
	second, errSecond := json.Marshal(b)
	return errFirst == nil && errSecond == nil && bytes.Equal(first, second)
}

// save makes a changed role durable, and only then serves it.
func (b *backend) save(ctx context.Context, role *ownedRole, entry *roleEntry) error {
	if err := writeRole(ctx, role.storage, role.name, entry); err != nil {
		return err
	}
	role.entry, role.set = entry, b.served.publish(role.name, entry)
	return nil
}

// saveRotation is save for a new state of the rotation.
func (b *backend) saveRotation(ctx context.Context, role *ownedRole, next rotationState) error {
	before, entry := role.entry.Rotation, *role.entry
	entry.Rotation = next
	if err := b.save(ctx, role, &entry); err != nil {
		return err
	}
	b.rotationEvents(ctx, role.name, before, &entry)
	if before.phase() != next.phase() || before.version() != next.version() {
		b.Logger().Info("rotation", "role", role.name, "phase", next.phase(), "version", next.version())
	}
	return nil
}

// rotate is the one procedure that rotates: on request, on schedule and after
// a crash. From a state, which is the stored one or one with a request added, it
// takes the decisions of the state machine and carries them out until there is
// nothing to do. What an action rests on is stored before it is taken. It
// returns when to go on. An error of Auth0 is part of the stored state then,
// and returned as well.
//
// The caller holds the role's lock. ctx should not end with a caller's patience:
// an answer of Auth0 that nobody waits for is an unclear one.
func (b *backend) rotate(ctx context.Context, role *ownedRole, state rotationState) (wake time.Time, err error) {
	for {
		mount, err := b.loadMountSettings(ctx, role.storage)
		if err != nil {
			return time.Time{}, err
		}
		settings := role.entry.settings(mount)
		decision := decideRotation(settings, state, role.set.clock(b.now()))
		if decision.Action == actionGenerateSecret {
			err = b.stage(ctx, role, settings, decision.State)
		} else if decision.State != role.entry.Rotation {
			err = b.saveRotation(ctx, role, decision.State)
		}
		if err != nil {
			return role.entry.Rotation.RetryAt, err
		}
		switch decision.Action {
		case actionNone:
			return decision.Wake, nil
		case actionGenerateSecret:
		default:
			if err := b.send(ctx, role, settings, decision.Action); err != nil {
				return role.entry.Rotation.RetryAt, err
			}
		}
		state = role.entry.Rotation
	}
}

// loadMountSettings is what the configuration says of all roles. Without one no
// secret can be sent, so its defaults serve.
func (b *backend) loadMountSettings(ctx context.Context, storage logical.Storage) (mountSettings, error) {
	conn, err := b.connect(ctx, storage)
	var coded logical.HTTPCodedError
	if err != nil && !errors.As(err, &coded) {
		return mountSettings{}, err
	}
	return b.settingsBy(conn), nil
}

// mountSettings is what is in memory of the configuration. A reader who comes
// before anything has loaded it is told of schedules as if none were paused.
func (b *backend) mountSettings() mountSettings { return b.settingsBy(b.connection.Load()) }

func (b *backend) settingsBy(conn *connection) mountSettings {
	settings := mountSettings{PropagationDelay: defaultPropagationDelay, Order: int(b.lastOrder.Load())}
	if conn != nil {
		settings.PropagationDelay, settings.Paused = conn.config.PropagationDelay, conn.config.Disabled
		settings.DriftCheckPeriod = conn.config.DriftCheckPeriod
	}
	return settings
}
