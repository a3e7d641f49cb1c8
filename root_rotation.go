package auth0secrets

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
)

const (
	// rootRotation is the engine's own secret in the scheduler's index. No role
	// can have this name.
	rootRotation = "config/root"

	// proofPause is the time between two attempts to log in with a new secret
	// that has not reached all of Auth0 yet.
	proofPause = time.Second
	// proofMargin is added to propagation_delay for the last of them.
	proofMargin = 5 * time.Second
)

// The engine's own secret goes through the same states as a role's, by the same
// state machine, only that nobody else holds it: it is never waited for.
//
//	pending is stored -> set in Auth0 -> proven by a login -> current
//
// A private key is registered beside the present one, which is removed after
// the proof.
//
// Until it is proven the engine logs in with the pending one or, where that is
// refused, the current one: whatever crashes or gets lost, one of the two is
// what Auth0 accepts.

// rotateRoot rotates the engine's own secret, on request or if it is due. It
// returns when to look again.
func (b *backend) rotateRoot(ctx context.Context, storage logical.Storage, requested bool) (wake time.Time, err error) {
	unlock, err := b.lockConfig(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer unlock()
	config, err := readConfig(ctx, storage)
	if err != nil {
		return time.Time{}, err
	}
	if config == nil {
		return time.Time{}, notConfigured()
	}
	ctx, done := b.detached(ctx, upstreamPatience+config.PropagationDelay)
	defer done()
	state := config.Rotation
	if requested {
		state = state.requested(true)
	}
	for {
		decision := decideRotation(config.rootSettings(), state, rotationClock{Now: b.now(), ServingSince: b.served.servingSince})
		state = decision.State
		if decision.Action == actionGenerateSecret {
			secret, err := b.generateRoot(ctx, config)
			if err != nil {
				return time.Time{}, err
			}
			state = state.staged(config.rootSettings(), secret, b.now())
		}
		if state != config.Rotation {
			if config, err = b.saveRoot(ctx, storage, config, state); err != nil {
				return time.Time{}, err
			}
		}
		switch decision.Action {
		case actionNone:
			return decision.Wake, nil
		case actionSetSecret:
			if config, err = b.setRoot(ctx, storage, config); err != nil {
				return config.Rotation.RetryAt, err
			}
		}
		state = config.Rotation
	}
}

func (c *configEntry) rootSettings() rotationSettings {
	return rotationSettings{
		RotationPeriod: c.RotationPeriod, Schedule: c.schedule, ScheduledFrom: c.ScheduledFrom, Window: c.RotationWindow,
		Paused: c.Disabled, Source: sourceVault, PropagationDelay: c.PropagationDelay,
	}
}

// saveRoot stores a new state of the engine's own secret, and has the next call
// to Auth0 log in accordingly.
func (b *backend) saveRoot(ctx context.Context, storage logical.Storage, config *configEntry, state rotationState) (*configEntry, error) {
	changed := *config
	changed.Rotation = state
	b.commitLock.Lock()
	defer b.commitLock.Unlock()
	if err := writeConfig(ctx, storage, &changed); err != nil {
		return config, err
	}
	b.disconnect()
	_, err := b.connect(ctx, storage)
	return &changed, err
}

// setRoot sets the pending secret in Auth0 and proves it. What comes of it is
// stored, and an error returned as well.
//
// Before it is sent for the first time that is stored, too: only the refusal of
// an attempt that is known to be the first proves that Auth0 does not have it.
func (b *backend) setRoot(ctx context.Context, storage logical.Storage, config *configEntry) (*configEntry, error) {
	first := !config.Rotation.Asked
	if first {
		state := config.Rotation
		state.Asked = true
		var err error
		if config, err = b.saveRoot(ctx, storage, config, state); err != nil {
			return config, err
		}
	}
	err := b.installRoot(ctx, storage, config)
	ctx, done := keepOutcome(ctx)
	defer done()
	if err != nil {
		f := b.failureOf(err)
		f.First = first
		b.Logger().Warn("rotation of the engine's own secret failed", "error", f.Text)
		saved, saveErr := b.saveRoot(ctx, storage, config, config.Rotation.rootFailed(f, b.now()))
		return saved, errors.Join(err, saveErr)
	}
	pending := config.Rotation.Next.Value
	saved, err := b.saveRoot(ctx, storage, config, config.Rotation.accepted(config.rootSettings(), pending, b.now()))
	if err == nil {
		b.Logger().Info("the engine's own secret is a new one", "version", saved.Rotation.version())
		b.event(ctx, eventRootRotate, pathRotateRootName, logical.EventMetadataModified, "true")
	}
	return saved, err
}

// installRoot brings the pending secret, or key, to Auth0, and proves it.
func (b *backend) installRoot(ctx context.Context, storage logical.Storage, config *configEntry) error {
	conn, err := b.connect(ctx, storage)
	if err != nil {
		return err
	}
	pending := config.Rotation.Next.Value
	if config.SigningAlgorithm == "" {
		if err := conn.api.SetSecret(ctx, config.ClientID, string(pending)); err != nil {
			return err
		}
		return b.proveRoot(ctx, config, pending)
	}
	if err := enableKey(ctx, conn, pending); err != nil {
		return err
	}
	if err := b.proveRoot(ctx, config, pending); err != nil {
		return err
	}
	return retireKey(ctx, conn, pending)
}

// generateRoot makes the engine's next secret, or its next key.
func (b *backend) generateRoot(ctx context.Context, config *configEntry) (sensitive, error) {
	if config.SigningAlgorithm == "" {
		return b.generateSecret(ctx, &roleEntry{})
	}
	key, err := b.newKey()
	return sensitive(key), err
}

// enableKey registers the pending key in Auth0 beside the present one. Without
// the scopes for all steps it does not take the first.
func enableKey(ctx context.Context, conn *connection, pending sensitive) error {
	token, err := conn.api.NewToken(ctx, nil) // one that knows of scopes granted a moment ago
	if err != nil {
		return err
	}
	if missing := requirements.Missing(auth0.KeyScopes, token.Scopes); token.Scopes != nil && len(missing) > 0 {
		return badRequest("the engine's key cannot be rotated: its application's grant lacks %s. Registering a new key and removing the old one needs %s",
			strings.Join(missing, ", "), strings.Join(auth0.KeyScopes, ", "))
	}
	return conn.api.EnableKey(ctx, conn.config.ClientID, string(pending), conn.config.SigningAlgorithm)
}

// retireKey removes all keys but the pending one, which is proven.
func retireKey(ctx context.Context, conn *connection, pending sensitive) error {
	if err := conn.api.RetireKeys(ctx, conn.config.ClientID, string(pending)); err != nil {
		return &unfinishedError{"the new key works, but the old one could not be removed", err}
	}
	return nil
}

// rootFailed is failed, but for a first attempt that Auth0 has refused: nothing
// has changed there, so the pending secret is no good and is dropped. On
// schedule another one is made later.
func (s rotationState) rootFailed(f failure, now time.Time) rotationState {
	refused := f.Outcome == outcomeRefused || f.Outcome == outcomeRejected
	if f.Outcome == outcomeRejected {
		f.Outcome = outcomeRefused // the secret is kept, or dropped below, like any other
	}
	next, asked := s.Next, s.Asked
	s = s.failed(f, now)
	if refused && f.First {
		s.Next, s.Forced, s.StagedAt, s.Requested, s.Asked = nil, false, time.Time{}, false, false
		return s
	}
	notTaken := f.First && (f.Outcome == outcomeLimited || f.Outcome == outcomeNotSent)
	s.Next, s.Forced, s.Requested, s.Asked = next, true, false, asked && !notTaken
	return s
}

// proveRoot gets a token with nothing but the pending secret. While it reaches
// Auth0's nodes it may be refused, which does not count until it should be
// everywhere. An error is never a refusal: Auth0 has said that it took the
// secret.
func (b *backend) proveRoot(ctx context.Context, config *configEntry, pending sensitive) error {
	settings := config.client(b)
	settings.Secrets = []string{string(pending)}
	api, err := b.newAPI(settings)
	if err != nil {
		return err
	}
	defer api.Close()
	for end := b.now().Add(config.PropagationDelay + proofMargin); ; {
		_, err = api.Grant(ctx)
		if err == nil {
			return nil
		}
		if auth0.ClassOf(err) != auth0.Refused || b.now().After(end) {
			return &unfinishedError{"the new secret is set in Auth0, but a login with it failed", err}
		}
		select {
		case <-ctx.Done():
			return &unfinishedError{"the new secret is set in Auth0, but a login with it failed", ctx.Err()}
		case <-time.After(proofPause):
		}
	}
}

// unfinishedError is that a step after the first failed. It hides the class of
// its cause: that the step was refused does not mean that nothing has changed.
type unfinishedError struct {
	what  string
	cause error
}

// Error tells the cause and what follows.
func (e *unfinishedError) Error() string {
	return e.what + ": " + e.cause.Error() + ". Both are kept, and it will be tried again"
}

// attendRoot rotates the engine's own secret if it is due.
func (s *scheduler) attendRoot(ctx context.Context, storage logical.Storage) {
	wake, err := s.b.rotateRoot(ctx, storage, false)
	s.scheduleRoot(ctx, wake, err)
}

// scheduleRoot sets when to look at the engine's own secret again.
func (s *scheduler) scheduleRoot(ctx context.Context, wake time.Time, err error) {
	switch {
	case errors.Is(err, errNotConfigured): // nothing to look at
	case err != nil && !wake.After(s.now()): // not even the failure could be stored
		s.retryLater(ctx, rootRotation, err)
	default:
		s.schedule(rootRotation, wake)
	}
}

// rootTimelineFields describe how the engine's own secret stands.
func rootTimelineFields() fieldSchemas {
	return fieldSchemas{
		fieldLastVaultRotation: required(timeField("When the engine's own client secret was rotated, or configured.")),
		fieldNextVaultRotation: timeField("When it is rotated next by schedule. Absent when that is not planned."),
		fieldLastError:         stringField("Why the last attempt to rotate it failed. Absent when it did not."),
		fieldFailures:          required(intField("How many attempts to rotate it failed in a row.")),
		fieldRetryAt:           timeField("When the next attempt is made."),
	}
}

func (c *configEntry) rootTimeline(data map[string]any, now time.Time) {
	state := c.Rotation
	data[fieldLastVaultRotation] = inRFC3339(state.LastRotation)
	data[fieldFailures] = state.Failures
	if state.LastError != "" {
		data[fieldLastError], data[fieldRetryAt] = state.LastError, inRFC3339(state.RetryAt)
	}
	if next, planned := state.nextRotation(c.rootSettings(), now); planned {
		data[fieldNextVaultRotation] = inRFC3339(next)
	}
}
