package auth0secrets

import (
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
)

const (
	// pathRotateRootName is the path of the rotation of the engine's own secret.
	pathRotateRootName = "rotate-root"

	// dueRoot is the key of the engine's own secret. No role can have this name.
	dueRoot = "config/root"

	// proofPause is the time between two logins with a new secret that has not
	// reached all of Auth0 yet.
	proofPause = time.Second
	// proofMargin is how long after propagation_delay the last of them is made.
	proofMargin = 5 * time.Second
)

// The engine's own secret goes through the same states as a role's, only that
// nobody else holds it: it is never waited for.
//
//	pending is stored -> set in Auth0 -> proven by a login -> current
//
// A private key is registered beside the present one, which is removed after
// the proof. Keys of others are left alone.
//
// Until it is proven the engine logs in with the pending one or, where that is
// refused, the current one: whatever crashes or gets lost, one of the two is
// what Auth0 accepts.

// rotateRoot does what is due or asked for with the engine's own secret. It returns
// and sets when to look again.
func (b *backend) rotateRoot(ctx context.Context, storage logical.Storage, ask rotation.Ask) (next time.Time, err error) {
	unlock, err := b.lockConfig(ctx)
	if err != nil {
		return b.retryLater(ctx, dueRoot, err), err
	}
	defer unlock()
	next = b.now().Add(storageRetry)            // after a panic
	defer func() { b.due.Set(dueRoot, next) }() // while nobody else can
	config, err := readConfig(ctx, storage)
	switch {
	case err != nil:
		return b.retryLater(ctx, dueRoot, err), err
	case config == nil:
		return time.Time{}, errNotConfigured
	}
	ctx, done := b.detached(ctx, upstreamPatience+config.PropagationDelay)
	defer done()
	wake, err := rotation.Run(ctx, &rootTarget{b: b, storage: storage, config: config}, ask)
	if err != nil && wake.IsZero() { // not even the failure could be stored
		wake = b.retryLater(ctx, dueRoot, err)
	}
	return wake, err
}

// rootTarget is the engine's own secret or key as a target of rotation. The caller
// holds the configuration's lock.
type rootTarget struct {
	b       *backend
	storage logical.Storage
	config  *configEntry
}

var _ rotation.Target = (*rootTarget)(nil)

// Load returns the settings and the state.
func (t *rootTarget) Load(context.Context) (rotation.Settings, rotation.State, error) {
	return t.config.settings(), t.config.Rotation, nil
}

// Clock is the time.
func (t *rootTarget) Clock() rotation.Clock { return t.b.rootClock() }

// Save stores the state. The next call to Auth0 logs in by it.
func (t *rootTarget) Save(ctx context.Context, s rotation.State) error {
	changed := *t.config
	changed.Rotation = s
	before, after := t.config.Rotation.View(t.config.settings(), t.Clock()), s.View(t.config.settings(), t.Clock())
	t.b.commitLock.Lock()
	defer t.b.commitLock.Unlock()
	err := writeConfig(ctx, t.storage, &changed)
	t.b.disconnect() // a write that failed may have taken effect
	if err != nil {
		return err
	}
	t.config = &changed
	if _, err := t.b.connect(ctx, t.storage); err != nil {
		return err
	}
	if after.LastError != "" && after.RetryAt != before.RetryAt {
		t.b.Logger().Warn("rotation of the engine's own secret failed", "error", after.LastError)
	}
	if after.Version != before.Version {
		t.b.counters.rotations[rotatedEngine].Add(1)
		t.b.dropTokens("")
		t.b.Logger().Info("the engine's own secret is a new one", "version", after.Version)
		t.b.event(ctx, eventRootRotate, pathRotateRootName, logical.EventMetadataModified, "true")
	}
	return nil
}

// Generate makes the next secret, or the next key.
func (t *rootTarget) Generate(ctx context.Context) (rotation.Secret, error) {
	if t.config.SigningAlgorithm == "" {
		return t.b.generateSecret(ctx, &roleEntry{})
	}
	key, err := t.b.newKey(assertion.MinKeyBits)
	return rotation.Secret(key), err
}

// Send sets the pending secret in Auth0, or registers the pending key beside the
// present one.
func (t *rootTarget) Send(ctx context.Context, request rotation.Request) rotation.Outcome {
	return t.b.counters.attempted(rotatedEngine, t.send(ctx, request))
}

func (t *rootTarget) send(ctx context.Context, request rotation.Request) rotation.Outcome {
	conn, err := t.b.connect(ctx, t.storage)
	if err != nil {
		return rotation.Outcome{Result: rotation.NotSent, Err: err}
	}
	ctx = upstreamContext(ctx, request)
	if t.config.SigningAlgorithm != "" {
		return enableKey(ctx, conn, t.config.ClientID, request.Secret, t.config.Rotation.Current(), t.config.SigningAlgorithm)
	}
	if err := conn.api.SetSecret(ctx, t.config.ClientID, string(request.Secret)); err != nil {
		return failedAttempt(err)
	}
	return rotation.Outcome{Result: rotation.Accepted, Secret: request.Secret}
}

// Prove logs in with nothing but the pending secret. With keys it then removes the
// old one. A secret may be refused until it has reached all of Auth0. An error is
// never a refusal: Auth0 has said that it took the secret.
func (t *rootTarget) Prove(ctx context.Context, pending rotation.Secret) error {
	if err := t.login(ctx, pending); err != nil {
		return &unfinishedError{"the new secret is set in Auth0, but a login with it failed", err}
	}
	if t.config.SigningAlgorithm == "" {
		return nil
	}
	conn, err := t.b.connect(ctx, t.storage)
	if err != nil {
		return &unfinishedError{"the new key works, but the old one could not be removed", err}
	}
	found, err := conn.api.RetireKey(ctx, t.config.ClientID, string(t.config.Rotation.Current()))
	switch {
	case err != nil:
		return &unfinishedError{"the new key works, but the old one could not be removed", err}
	case !found:
		t.b.Logger().Warn("the key that was replaced was not found among the application's credentials: if it was registered "+
			"with a kid of its own, remove it in Auth0's dashboard", "client_id", t.config.ClientID)
	}
	return nil
}

// login gets a token with nothing but one secret. It tries for as long as the secret
// may take to reach all of Auth0.
func (t *rootTarget) login(ctx context.Context, secret rotation.Secret) error {
	settings := t.b.clientSettings(t.config)
	settings.Secrets = []string{string(secret)}
	api, err := t.b.newAPI(settings)
	if err != nil {
		return err
	}
	defer api.Close()
	for end := t.b.now().Add(t.config.PropagationDelay + proofMargin); ; {
		_, err = api.Grant(ctx)
		if err == nil || auth0.ClassOf(err) != auth0.Refused || t.b.now().After(end) {
			return err
		}
		if err := t.b.wait(ctx, proofPause); err != nil {
			return err
		}
	}
}

// rootTimelineFields declare the state of the engine's own secret.
func rootTimelineFields() fieldSchemas {
	return merged(failureFields(), fieldSchemas{
		fieldLastVaultRotation: required(timeField("When the engine's own client secret was rotated, or configured.")),
		fieldNextVaultRotation: timeField("When it is rotated next by schedule. Absent when that is not planned."),
	})
}

// rootTimeline is the state of the engine's own secret.
func (b *backend) rootTimeline(config *configEntry) map[string]any {
	view := config.Rotation.View(config.settings(), b.rootClock())
	data := failureData(view)
	data[fieldLastVaultRotation] = inRFC3339(view.LastRotation)
	putTimes(data, map[string]time.Time{fieldNextVaultRotation: view.NextRotation})
	return data
}
