package auth0secrets

import (
	"context"
	"hash/fnv"
	"sync"
	"time"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
)

// Drift is a secret that was changed in Auth0 by somebody else. The engine
// looks for it by reading the secret back: now and then, spread over the period
// so that many roles are not checked at the same time, and whenever a secret is
// staged. What it finds is adopted: served first, with ours as a fallback.

const (
	// minDriftCheckPeriod is the shortest period between two checks.
	minDriftCheckPeriod = 10 * time.Second
	// driftRetry is the longest wait after a check that brought no answer.
	driftRetry = time.Hour
)

// driftDetection says whether drift can be seen.
type driftDetection string

const (
	driftOn          driftDetection = "on"
	driftOff         driftDetection = "off"         // drift_check_period is 0
	driftUnavailable driftDetection = "unavailable" // the grant lacks read:client_keys
)

const driftUnavailableText = requirements.DriftUnavailable

// driftWatch remembers when each role is checked next. It is in memory only:
// the times follow from the clock, so a restart loses nothing.
type driftWatch struct {
	mu    sync.Mutex
	roles map[string]driftCheck
}

type driftCheck struct {
	period    time.Duration // for which next was set
	next      time.Time
	checkedAt time.Time // zero: not since this process began
	problem   string    // why the last check brought nothing
}

func newDriftWatch() *driftWatch { return &driftWatch{roles: map[string]driftCheck{}} }

// next is when the role is to be checked; zero: never.
func (w *driftWatch) next(name, clientID string, period time.Duration, now time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if period == 0 {
		delete(w.roles, name)
		return time.Time{}
	}
	check := w.roles[name]
	if check.period != period {
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

// done notes a check that was made, and why it brought nothing.
func (w *driftWatch) done(name, problem string, now, next time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	check := w.roles[name]
	if problem == "" {
		check.checkedAt = now
	}
	check.problem, check.next = problem, next
	w.roles[name] = check
}

// last is what is known of the role's last check.
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

// driftSlot is the application's next time of the period: always the same in
// it, and spread evenly over it for many applications.
func driftSlot(clientID string, period time.Duration, now time.Time) time.Time {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(clientID))
	slot := now.Truncate(period).Add(time.Duration(hash.Sum64() % uint64(period))) //nolint:gosec // the period is positive and shorter than 2^63
	if !slot.After(now) {
		slot = slot.Add(period)
	}
	return slot
}

// nextLook is when the scheduler has to look at the role again: when its
// rotation goes on, or when it is to be checked.
func (b *backend) nextLook(role *ownedRole, wake time.Time) time.Time {
	check := b.drift.next(role.name, role.entry.ClientID, b.mountSettings().DriftCheckPeriod, b.now())
	if wake.IsZero() || (!check.IsZero() && check.Before(wake)) {
		return check
	}
	return wake
}

// checkDriftIfDue looks for drift when it is time to. The role's lock is held.
func (b *backend) checkDriftIfDue(ctx context.Context, role *ownedRole) error {
	mount, err := b.loadMountSettings(ctx, role.storage)
	if err != nil {
		return err
	}
	now := b.now()
	at := b.drift.next(role.name, role.entry.ClientID, mount.DriftCheckPeriod, now)
	if at.IsZero() || now.Before(at) {
		return nil
	}
	found, problem, again := b.readPresentSecret(ctx, role, mount.DriftCheckPeriod)
	b.drift.done(role.name, problem, now, again)
	switch problem {
	case "":
	case driftUnavailableText: // which every read of the role says
		return nil
	default:
		b.Logger().Warn("drift was not looked for", "role", role.name, "reason", problem)
		return nil
	}
	state, drifted := role.entry.Rotation.settled(role.entry.settings(mount), role.set.clock(now)).adopted(found, now)
	if !drifted {
		return nil
	}
	b.Logger().Warn("the secret was changed outside Vault: it is served first now, and ours stays as a fallback",
		"role", role.name, "version", state.version())
	if err := b.saveRotation(ctx, role, state); err != nil {
		return err
	}
	b.roleEvent(ctx, eventDrift, role.name, role.entry, true)
	return nil
}

// readPresentSecret reads the application's secret in Auth0. If it cannot, it
// says why. again is when to look the next time.
func (b *backend) readPresentSecret(ctx context.Context, role *ownedRole, period time.Duration) (secret sensitive, problem string, again time.Time) {
	now := b.now()
	again = driftSlot(role.entry.ClientID, period, now)
	conn, err := b.connect(ctx, role.storage)
	if err != nil {
		return "", err.Error(), again
	}
	grant, err := conn.api.Grant(ctx)
	if err == nil && grant.Scopes != nil && !requirements.CanReadSecrets(grant.Scopes) {
		return "", driftUnavailableText, again
	}
	var app *auth0.Application
	if err == nil {
		app, err = conn.api.Application(ctx, role.entry.ClientID)
	}
	switch {
	case err != nil && auth0.ClassOf(err) == auth0.Refused:
		return "", err.Error(), again
	case err != nil:
		return "", err.Error(), now.Add(min(period, driftRetry))
	case requirements.Unfit(app) != "": // since it became a role
		return "", "the application can no longer be a role: " + requirements.Unfit(app), again
	case app.ClientSecret == nil:
		return "", driftUnavailableText, again
	}
	return sensitive(*app.ClientSecret), "", again
}

// driftData adds to an answer what is known of a role's drift, and returns
// warnings about it.
func (b *backend) driftData(name string, state rotationState, data map[string]any) []string {
	check, detection := b.drift.last(name), b.driftDetection()
	if check.problem == driftUnavailableText {
		detection = driftUnavailable
	}
	data[fieldDriftDetection] = string(detection)
	if !check.checkedAt.IsZero() {
		data[fieldDriftCheckedAt] = inRFC3339(check.checkedAt)
	}
	if check.problem != "" && detection == driftOn {
		data[fieldDriftCheckError] = check.problem
	}
	var warnings []string
	if !state.DriftedAt.IsZero() {
		data[fieldDriftDetectedAt] = inRFC3339(state.DriftedAt)
		warnings = append(warnings, "the secret was changed outside Vault: the one found in Auth0 at "+inRFC3339(state.DriftedAt)+
			" is served first, with ours as a fallback. A rotation ends that")
	}
	if detection == driftUnavailable {
		warnings = append(warnings, driftUnavailableText)
	}
	return warnings
}

// driftDetection says whether the configuration lets drift be seen.
func (b *backend) driftDetection() driftDetection {
	conn := b.connection.Load()
	switch {
	case conn == nil:
		return driftOn
	case conn.config.DriftCheckPeriod == 0:
		return driftOff
	case conn.config.Scopes != nil && !requirements.CanReadSecrets(conn.config.Scopes):
		return driftUnavailable
	default:
		return driftOn
	}
}
