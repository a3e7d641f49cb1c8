package auth0secrets

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/vault/sdk/logical"
	"google.golang.org/grpc/status"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/rotation"
)

// Roles as targets of rotation: how they are locked, stored, served and sent to
// Auth0. internal/rotation decides about them.

// secretBytes of randomness make a client secret: 64 characters of URL-safe base64.
// That is valid also where Auth0 decodes the secret.
const secretBytes = 48

// minSecretLength is the least number of characters that a password policy has to
// make. Who may write roles could guess shorter secrets.
const minSecretLength = 32

// rolesPrefix begins the paths of roles.
const rolesPrefix = "roles/"

// storageRetry is the wait after an error that could not be stored, such as one of
// storage itself. unreadableRetry is the wait after an entry that cannot be read:
// that does not change by itself.
const (
	storageRetry    = 10 * time.Second
	unreadableRetry = time.Hour
	panicRetry      = time.Minute
)

// ownedRole is a role whose lock is held, to be changed.
type ownedRole struct {
	name    string
	storage logical.Storage
	entry   *roleEntry // nil: there is none
	set     *servedSet
	release func()
}

// own locks a role and reads it. A rotation that waits for Auth0 may hold the lock;
// waiting ends with the context.
func (b *backend) own(ctx context.Context, storage logical.Storage, name string) (*ownedRole, error) {
	release, err := b.lockRole(ctx, name)
	if err != nil {
		return nil, err
	}
	owned := false
	defer func() { // also after a panic
		if !owned {
			release()
		}
	}()
	role := &ownedRole{name: name, storage: storage, release: release}
	if err := b.refresh(ctx, role); err != nil {
		return nil, err
	}
	owned = true
	return role, nil
}

// refresh reads the role from storage. If what is served differs, a write was
// answered with an error but took effect: then the stored role is served.
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
	first, errFirst := json.Marshal(stored)
	second, errSecond := json.Marshal(role.set.role)
	if errFirst != nil || errSecond != nil || !bytes.Equal(first, second) {
		role.set = b.served.publish(role.name, stored)
	}
	role.entry = role.set.role // its times go by the monotonic clock, too, if this process has set them
	return nil
}

// save stores a changed role, then serves it. A write that failed may have taken
// effect: the role is looked at again.
func (b *backend) save(ctx context.Context, role *ownedRole, entry *roleEntry) error {
	if err := writeRole(ctx, role.storage, role.name, entry); err != nil {
		b.due.Set(role.name, b.now().Add(storageRetry))
		return err
	}
	role.entry, role.set = entry, b.served.publish(role.name, entry)
	return nil
}

// saveRotation saves a new state of the rotation. It logs, counts and sends what has
// changed.
func (b *backend) saveRotation(ctx context.Context, role *ownedRole, mount mountSettings, next rotation.State) error {
	before := role.view(mount, b.now())
	entry := *role.entry
	entry.Rotation = next
	if err := b.save(ctx, role, &entry); err != nil {
		return err
	}
	after := role.view(mount, b.now())
	found := !after.DriftedAt.IsZero() && after.DriftedAt != before.DriftedAt
	if after.Version != before.Version {
		b.renewed(role, found, before.Forced)
	}
	if before.Phase == rotation.Propagating && after.Phase != before.Phase { // a key is removed
		b.lookAtBulk(role)
	}
	if before.Phase != after.Phase || before.Version != after.Version {
		b.Logger().Info("rotation", "role", role.name, "phase", after.Phase, "version", after.Version)
	}
	failed := after.LastError != "" && (after.RetryAt != before.RetryAt || after.Failures != before.Failures)
	if failed {
		b.Logger().Warn("rotation failed", "role", role.name, "version", after.Version, "error", after.LastError)
	}
	switch {
	case found: // has an event of its own
	case after.Version != before.Version:
		b.roleEvent(ctx, eventRotate, role)
	case after.Phase == rotation.Staged && before.Phase != rotation.Staged:
		b.roleEvent(ctx, eventRotateStaged, role)
	case after.Failures > before.Failures:
		b.roleEvent(ctx, eventRotateFail, role)
	}
	return nil
}

// renewed does what follows when a role's secret is a new one. found: somebody else has
// set it.
func (b *backend) renewed(role *ownedRole, found, forced bool) {
	if !found {
		b.counters.rotations[rotatedRole].Add(1)
	}
	if found || forced {
		b.dropTokens(role.name)
	}
	b.lookAtBulk(role)
}

// lookAtBulk has the rotation of all roles looked at soon: it may be done.
func (b *backend) lookAtBulk(role *ownedRole) {
	if number := b.bulkNumber.Load(); number > 0 && role.entry.Rotation.Carries(int(number)) {
		b.due.Set(dueBulk, b.now().Add(bulkPause))
	}
}

// view is the role's rotation as seen now.
func (role *ownedRole) view(mount mountSettings, now time.Time) rotation.View {
	return role.set.view(mount, now)
}

// roleTarget is a role's client secret, or key, as a target of rotation. The caller holds the
// role's lock.
type roleTarget struct {
	b     *backend
	role  *ownedRole
	mount mountSettings
	asked bool // somebody waits for it
}

var _ rotation.Target = (*roleTarget)(nil)

// Load returns the role's settings and state.
func (t *roleTarget) Load(ctx context.Context) (rotation.Settings, rotation.State, error) {
	var err error
	t.mount, err = t.b.loadMount(ctx, t.role.storage)
	return t.role.entry.settings(t.mount), t.role.entry.Rotation, err
}

// Clock returns the time, and since when the role's set is served here.
func (t *roleTarget) Clock() rotation.Clock {
	clock := t.role.set.clock(t.b.now())
	clock.Jitter = t.b.jitter()
	return clock
}

// Save stores the state, and then serves it.
func (t *roleTarget) Save(ctx context.Context, s rotation.State) error {
	return t.b.saveRotation(ctx, t.role, t.mount, s)
}

// Generate makes a client secret, or a key, by the role's settings.
func (t *roleTarget) Generate(ctx context.Context) (rotation.Secret, error) {
	if t.role.entry.keys() {
		return t.generateKey(ctx)
	}
	secret, err := t.b.generateSecret(ctx, t.role.entry)
	if short := (shortPolicyError{}); errors.As(err, &short) { // it has become so, and a rotation does not wait for its author
		t.b.Logger().Warn("the secret is made without the password policy", "role", t.role.name, "reason", err)
		return t.b.generateSecret(ctx, &roleEntry{})
	}
	return secret, err
}

// Prove does nothing: Auth0 has said that it took the secret.
func (t *roleTarget) Prove(context.Context, rotation.Secret) error { return nil }

// Send carries out a request at Auth0.
func (t *roleTarget) Send(ctx context.Context, request rotation.Request) rotation.Outcome {
	return t.b.counters.attempted(rotatedRole, t.send(ctx, request))
}

func (t *roleTarget) send(ctx context.Context, request rotation.Request) rotation.Outcome {
	conn, err := t.b.connect(ctx, t.role.storage)
	if err != nil {
		return rotation.Outcome{Result: rotation.NotSent, Err: err}
	}
	ctx, clientID := upstreamContext(ctx, request), t.role.entry.ClientID
	if t.role.entry.keys() {
		return t.sendKey(ctx, conn, request)
	}
	if request.Kind == rotation.Set {
		if err := conn.api.SetSecret(ctx, clientID, string(request.Secret)); err != nil {
			return failedAttempt(err)
		}
		return rotation.Outcome{Result: rotation.Accepted, Secret: request.Secret}
	}
	if request.Kind == rotation.ReadBack && request.Secret != "" {
		found, err := readBack(ctx, conn.api, clientID, request.Secret)
		if err != nil {
			return failedAttempt(err)
		}
		if found != "" {
			return rotation.Outcome{Result: rotation.Found, Secret: found}
		}
	}
	made, err := conn.api.RotateSecret(ctx, clientID)
	switch {
	case err != nil:
		return failedAttempt(err)
	case made == "":
		t.b.Logger().Warn("Auth0 does not show the secret it made: setting one of the engine's own", "role", t.role.name)
		return rotation.Outcome{Result: rotation.Hidden}
	default:
		return rotation.Outcome{Result: rotation.Accepted, Secret: rotation.Secret(made)}
	}
}

// readBack looks for the secret that an earlier request without a clear answer made.
// "": it cannot be read, or Auth0 still has the one from before. Then the request may
// yet take effect; another request settles both.
func readBack(ctx context.Context, api managementAPI, clientID string, before rotation.Secret) (rotation.Secret, error) {
	app, err := api.Application(ctx, clientID)
	if err != nil {
		if auth0.HasCode(err, auth0.CodeInsufficientScope) {
			err = nil
		}
		return "", err
	}
	if app.ClientSecret == nil || *app.ClientSecret == string(before) {
		return "", nil
	}
	return rotation.Secret(*app.ClientSecret), nil
}

// failedAttempt turns an error of Auth0 into an outcome. Only what is known to be a
// refusal is not unclear. Without a configuration nothing was sent.
func failedAttempt(err error) rotation.Outcome {
	o := rotation.Outcome{Result: rotation.Unclear, Err: err}
	var coded logical.HTTPCodedError
	var upstream *auth0.Error
	switch {
	case errors.As(err, &coded):
		o.Result = rotation.Refused
	case !errors.As(err, &upstream):
	case upstream.Class == auth0.Limited:
		o.Result, o.RetryAfter = rotation.Limited, upstream.RetryAfter
	case upstream.Op == auth0.OpToken, upstream.Class == auth0.Refused && upstream.Status == 0:
		o.Result = rotation.NotSent
	case upstream.Class == auth0.Refused && upstream.Code == auth0.CodeInvalidBody:
		o.Result = rotation.Rejected
	case upstream.Class == auth0.Refused:
		o.Result = rotation.Refused
	}
	return o
}

// shortPolicyError: a password policy makes secrets that could be guessed.
type shortPolicyError struct{ error }

// Unwrap gives the refusal.
func (e shortPolicyError) Unwrap() error { return e.error }

// generateSecret makes a client secret, by the role's password policy if it has one.
// It encodes the policy's where Auth0 decodes the secret.
func (b *backend) generateSecret(ctx context.Context, role *roleEntry) (rotation.Secret, error) {
	if role.PasswordPolicy != "" {
		password, err := b.System().GeneratePasswordFromPolicy(ctx, role.PasswordPolicy)
		if err != nil {
			return "", badRequest("password policy %q makes no secret (%s): there must be one at sys/policies/password/%s, of at least %d characters",
				role.PasswordPolicy, status.Convert(err).Message(), role.PasswordPolicy, minSecretLength)
		}
		if length := utf8.RuneCountInString(password); length < minSecretLength || !utf8.ValidString(password) {
			return "", shortPolicyError{badRequest("password policy %q makes secrets of %d characters that could be guessed: it has to make at least %d, of text",
				role.PasswordPolicy, length, minSecretLength)}
		}
		if role.SecretEncoded {
			password = base64.StdEncoding.EncodeToString([]byte(password))
		}
		return rotation.Secret(password), nil
	}
	reader := b.GetRandomReader()
	if reader == nil {
		reader = rand.Reader
	}
	random := make([]byte, secretBytes)
	if _, err := io.ReadFull(reader, random); err != nil {
		return "", fmt.Errorf("no random bytes for a client secret: %w", err)
	}
	return rotation.Secret(base64.RawURLEncoding.EncodeToString(random)), nil
}

// advance does what is due or asked for with a role. It returns and sets when to look
// again. An error of Auth0 is stored as well, and retried.
func (b *backend) advance(ctx context.Context, role *ownedRole, ask rotation.Ask) (next time.Time, err error) {
	ctx, done := b.detached(ctx, upstreamPatience)
	defer done()
	next = b.now().Add(panicRetry)                // after a panic
	defer func() { b.due.Set(role.name, next) }() // while nobody else can
	target := &roleTarget{b: b, role: role, asked: ask.By == rotation.Operator || role.entry.Rotation.Version() == 0}
	staged := role.entry.Rotation.Next()
	wake, err := rotation.Run(ctx, target, ask)
	if err != nil && wake.IsZero() { // not even the failure could be stored
		return b.retryLater(ctx, role.name, err), err
	}
	if role.entry.Rotation.Next() != "" && staged == "" && !role.entry.keys() && !role.view(target.mount, b.now()).Forced {
		b.drift.want(role.name, b.now())
	}
	if role.set.untold(b.now()) {
		b.roleEvent(ctx, eventCredsChange, role)
	}
	check := b.drift.next(role.name, role.entry.ClientID, target.mount.DriftCheckPeriod, b.now())
	return earliest(earliest(wake, check), role.set.changesAt(b.now())), err
}

// earliest returns the earlier of two times. Zero: there is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// retryLater returns when to look again at what cannot go on.
func (b *backend) retryLater(ctx context.Context, key string, err error) time.Time {
	if ctx.Err() == nil {
		b.Logger().Error("rotation cannot go on", "role", key, "error", err)
	}
	var unreadable *unreadableError
	if errors.As(err, &unreadable) {
		return b.now().Add(unreadableRetry)
	}
	return b.now().Add(storageRetry)
}

// attendRole does what is due for one role, and returns when to look again.
func (b *backend) attendRole(ctx context.Context, storage logical.Storage, name string) (next time.Time) {
	role, err := b.own(ctx, storage, name)
	if err != nil {
		return b.retryLater(ctx, name, err)
	}
	defer role.release()
	if role.entry == nil {
		b.forgetRole(name)
		return time.Time{}
	}
	if err := b.checkDriftIfDue(ctx, role); err != nil {
		return b.retryLater(ctx, name, err)
	}
	next, _ = b.advance(ctx, role, rotation.Ask{}) // the error is stored
	return next
}

// attendRoles schedules every stored role. Reads do not wait for it.
func (b *backend) attendRoles(ctx context.Context, storage logical.Storage) (next time.Time) {
	names, err := storage.List(ctx, storageRoles)
	if err != nil {
		return b.retryLater(ctx, storageRoles, err)
	}
	for _, name := range roleNames(names) {
		b.due.Set(name, b.now())
	}
	return time.Time{}
}

// requestRotation starts a rotation, or forces the one under way.
func (b *backend) requestRotation(ctx context.Context, role *ownedRole, ask rotation.Ask) error {
	_, err := b.advance(ctx, role, ask)
	if err == nil {
		return nil
	}
	view := role.view(b.mountInMemory(), b.now())
	switch {
	case ask.Force && view.Phase == rotation.Staged && !view.Forced:
		return fmt.Errorf("%w. The next secret stays staged, and is set at %s without force", err, inRFC3339(view.ReadyAt))
	case view.RetryAt.IsZero():
		return err
	}
	holders := ""
	if view.Phase == rotation.Staged && !role.entry.keys() {
		holders = " Readers get both secrets until then."
	}
	how := ""
	if ask.Force && !view.Forced {
		how = ", without force: ask for that again once the reason is gone"
	}
	return fmt.Errorf("%w. It is tried again by itself at %s (%s)%s.%s See %s%s", err, inRFC3339(view.RetryAt), fieldRetryAt, how, holders, rolesPrefix, role.name)
}

// roleEvent sends an event about a role. modified: the served secrets changed since
// the last event.
func (b *backend) roleEvent(ctx context.Context, kind string, role *ownedRole) {
	view := role.view(b.mountInMemory(), b.now())
	modified := b.served.tell(role) || kind == eventRoleDelete
	b.event(ctx, kind, rolesPrefix+role.name,
		logical.EventMetadataDataPath, role.entry.dataPath()+role.name,
		logical.EventMetadataModified, strconv.FormatBool(modified),
		fieldName, role.name,
		fieldClientID, role.entry.ClientID,
		fieldVersion, strconv.Itoa(view.Version),
		fieldPhase, string(view.Phase),
	)
}

// timelineFields declare the progress of a role's rotation.
func timelineFields() fieldSchemas {
	return merged(failureFields(), fieldSchemas{
		fieldPhase:             required(stringField(descPhase)),
		fieldVersion:           required(intField(descVersion)),
		fieldStagedAt:          timeField(descStagedAt),
		fieldReadyAt:           timeField(descReadyAt),
		fieldFallbackUntil:     timeField(descFallbackUntil),
		fieldLastVaultRotation: timeField(descLastVaultRotation),
		fieldNextVaultRotation: timeField(descNextVaultRotation),
	})
}

// timeline is the progress of a role's rotation. It leaves out times that mean
// nothing at present.
func timeline(view rotation.View) map[string]any {
	data := failureData(view)
	data[fieldPhase], data[fieldVersion] = string(view.Phase), view.Version
	putTimes(data, map[string]time.Time{
		fieldStagedAt: view.StagedAt, fieldReadyAt: view.ReadyAt, fieldFallbackUntil: view.FallbackUntil,
		fieldLastVaultRotation: view.LastRotation, fieldNextVaultRotation: view.NextRotation,
	})
	return data
}

// failureFields declare the failure of the last attempt.
func failureFields() fieldSchemas {
	return fieldSchemas{
		fieldLastError: stringField(descLastError), fieldFailures: required(intField(descFailures)), fieldRetryAt: timeField(descRetryAt),
	}
}

// failureData is the failure of the last attempt, if it failed.
func failureData(view rotation.View) map[string]any {
	data := map[string]any{fieldFailures: view.Failures}
	if view.LastError != "" {
		data[fieldLastError] = view.LastError
	}
	putTimes(data, map[string]time.Time{fieldRetryAt: view.RetryAt})
	return data
}
