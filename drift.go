package auth0secrets

import (
	"context"
	"errors"
	"hash/fnv"
	"sync"
	"time"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// Drift is a secret that somebody changed in Auth0. The engine reads each secret back
// now and then, and whenever it stages one; the checks of many roles are spread over
// the period. It adopts what it finds: that is served first, with the engine's own as
// a fallback.

const (
	// minDriftCheckPeriod is the shortest period between two checks.
	minDriftCheckPeriod = 10 * time.Second
	// driftRetry is the longest wait after a check without an answer.
	driftRetry = time.Hour
)

// driftDetection is whether drift can be seen.
type driftDetection string

const (
	driftOn          driftDetection = "on"
	driftOff         driftDetection = "off"         // drift_check_period is 0
	driftUnavailable driftDetection = "unavailable" // the grant lacks read:client_keys
)

// errDriftUnavailable: the granted scopes do not let the engine read secrets.
var errDriftUnavailable = errors.New(requirements.DriftUnavailable)

// driftWatch remembers when each role is checked next. The times follow from the
// clock, so a restart loses nothing.
type driftWatch struct {
	mu    sync.Mutex
	roles map[string]driftCheck
}

type driftCheck struct {
	period    time.Duration // for which next was set
	next      time.Time
	checkedAt time.Time // zero: not since this process began
	problem   error     // why the last check brought nothing
}

func newDriftWatch() *driftWatch { return &driftWatch{roles: map[string]driftCheck{}} }

// next returns when to check the role. Zero: never.
func (w *driftWatch) next(name, clientID string, period time.Duration, now time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if period == 0 {
		delete(w.roles, name)
		return time.Time{}
	}
	check := w.roles[name]
	if check.period != period || check.next.After(now.Add(period+time.Hour)) { // the clock was put back
		check.period, check.next = period, driftSlot(clientID, period, now)
		w.roles[name] = check
	}
	return check.next
}

// want has the role checked at a time, if it is checked at all.
func (w *driftWatch) want(name string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if check, ok := w.roles[name]; ok {
		check.next = at
		w.roles[name] = check
	}
}

// done notes a check. problem is why it brought nothing.
func (w *driftWatch) done(name string, problem error, now, next time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	check := w.roles[name]
	if problem == nil {
		check.checkedAt = now
	}
	check.problem, check.next = problem, next
	w.roles[name] = check
}

// last returns what is known of the role's last check.
func (w *driftWatch) last(name string) driftCheck {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.roles[name]
}

func (w *driftWatch) forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.roles, name)
}

// driftSlot is the application's next time to be checked. It is the same in every
// period, and spreads applications evenly over it.
func driftSlot(clientID string, period time.Duration, now time.Time) time.Time {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(clientID))
	slot := now.Truncate(period).Add(time.Duration(hash.Sum64() % uint64(period))) //nolint:gosec // the period is positive and shorter than 2^63
	if !slot.After(now) {
		slot = slot.Add(period)
	}
	return slot
}

// checkDriftIfDue looks for drift if it is time. The caller holds the role's lock.
func (b *backend) checkDriftIfDue(ctx context.Context, role *ownedRole) error {
	ctx, done := b.detached(ctx, upstreamPatience)
	defer done()
	mount, err := b.loadMount(ctx, role.storage)
	if err != nil {
		return err
	}
	now := b.now()
	at := b.drift.next(role.name, role.entry.ClientID, mount.DriftCheckPeriod, now)
	if at.IsZero() || now.Before(at) {
		return nil
	}
	again := driftSlot(role.entry.ClientID, mount.DriftCheckPeriod, now)
	err = b.compare(ctx, role, mount)
	if stored := (unstoredError{}); errors.As(err, &stored) {
		b.drift.done(role.name, err, now, now.Add(storageRetry))
		return err
	}
	var upstream *auth0.Error
	if errors.As(err, &upstream) && upstream.Class != auth0.Refused {
		again = now.Add(min(mount.DriftCheckPeriod, driftRetry))
	}
	b.drift.done(role.name, err, now, again)
	if err != nil && !errors.Is(err, errDriftUnavailable) { // which every read of the role says
		b.Logger().Warn("drift was not looked for", "role", role.name, "reason", err)
	}
	return nil
}

// unstoredError: what was found could not be stored.
type unstoredError struct{ error }

// Unwrap gives the reason.
func (e unstoredError) Unwrap() error { return e.error }

// compare compares what the role has with what Auth0 has, and takes in what was found.
func (b *backend) compare(ctx context.Context, role *ownedRole, mount mountSettings) error {
	if role.entry.keys() {
		return b.checkKeysForDrift(ctx, role, mount)
	}
	found, err := b.readPresentSecret(ctx, role)
	if err != nil {
		return err
	}
	state, changed := rotation.Compared(role.entry.settings(mount), role.entry.Rotation, found, role.set.clock(b.now()))
	if !changed {
		return nil
	}
	return b.takeInDrift(ctx, role, mount, state, "the secret was changed outside Vault: it is served first now, and ours stays as a fallback")
}

// takeInDrift stores what was found, and tells of it.
func (b *backend) takeInDrift(ctx context.Context, role *ownedRole, mount mountSettings, state rotation.State, what string) error {
	before := role.entry.Rotation.DriftedAt()
	if err := b.saveRotation(ctx, role, mount, state); err != nil {
		return unstoredError{err}
	}
	if after := state.DriftedAt(); !after.IsZero() && after != before {
		b.Logger().Warn(what, "role", role.name, "version", state.Version())
		b.roleEvent(ctx, eventDrift, role)
	}
	return nil
}

// readPresentSecret reads the application's secret in Auth0.
func (b *backend) readPresentSecret(ctx context.Context, role *ownedRole) (rotation.Secret, error) {
	conn, err := b.connect(ctx, role.storage)
	if err != nil {
		return "", err
	}
	grant, err := conn.api.Grant(ctx)
	if err != nil {
		return "", err
	}
	if grant.Scopes != nil && !auth0.CanReadSecrets(grant.Scopes) {
		return "", errDriftUnavailable
	}
	app, err := conn.api.Application(ctx, role.entry.ClientID)
	if err != nil {
		return "", err
	}
	if reason := requirements.Unfit(app); reason != "" { // since it became a role
		return "", errors.New("the application can no longer be a role: " + reason)
	}
	switch {
	case app.ClientSecret != nil:
	case app.Hides("client_secret"):
		return "", errDriftUnavailable
	default:
		return "", errors.New("Auth0 shows no client secret of the application")
	}
	return rotation.Secret(*app.ClientSecret), nil
}

// driftData adds what is known of a role's drift to an answer, and returns warnings.
func (b *backend) driftData(name string, role *roleEntry, view rotation.View, data map[string]any) []string {
	check, detection := b.drift.last(name), b.driftDetection()
	if role.keys() && detection == driftUnavailable { // what keys need is another scope
		detection = driftOn
	}
	if errors.Is(check.problem, errDriftUnavailable) {
		detection = driftUnavailable
	}
	data[fieldDriftDetection] = string(detection)
	if !check.checkedAt.IsZero() {
		data[fieldDriftCheckedAt] = inRFC3339(check.checkedAt)
	}
	if check.problem != nil && detection == driftOn {
		data[fieldDriftCheckError] = check.problem.Error()
	}
	var warnings []string
	putTimes(data, map[string]time.Time{fieldDriftDetectedAt: view.DriftedAt})
	switch {
	case view.DriftedAt.IsZero():
	case role.keys():
		warnings = append(warnings, "a key of the role was found removed, or disabled, in Auth0 at "+inRFC3339(view.DriftedAt)+
			". A rotation ends that, at once with "+fieldForce+"=true")
	default:
		warnings = append(warnings, "the secret was changed outside Vault: the one found in Auth0 at "+inRFC3339(view.DriftedAt)+
			" is served first, with ours as a fallback. A rotation ends that")
	}
	if detection == driftUnavailable {
		warnings = append(warnings, errDriftUnavailable.Error())
	}
	return warnings
}

// driftDetection returns whether the configuration lets drift be seen.
func (b *backend) driftDetection() driftDetection {
	conn := b.connection.Load()
	switch {
	case conn == nil:
		return driftOn
	case conn.config.DriftCheckPeriod == 0:
		return driftOff
	case conn.config.Scopes != nil && !auth0.CanReadSecrets(conn.config.Scopes):
		return driftUnavailable
	default:
		return driftOn
	}
}
