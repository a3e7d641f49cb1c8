package auth0secrets

import (
	"context"
	"errors"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// send takes one action at Auth0 and stores what came of it.
func (b *backend) send(ctx context.Context, role *ownedRole, settings rotationSettings, action rotationAction) error {
	state := role.entry.Rotation
	secret, found, err := b.takeAction(ctx, role, action)
	ctx, done := keepOutcome(ctx)
	defer done()
	switch {
	case err != nil:
		f := b.failureOf(err)
		f.First = action == actionRotateSecret
		b.Logger().Warn("rotation failed", "role", role.name, "version", state.version(), "error", f.Text)
		return errors.Join(err, b.saveRotation(ctx, role, state.failed(f, b.now())))
	case secret == "":
		b.Logger().Warn("Auth0 does not show the secret it made: setting one of the engine's own", "role", role.name)
		return b.saveRotation(ctx, role, state.hidden())
	case found:
		return b.saveRotation(ctx, role, state.found(settings, secret, b.now()))
	default:
		return b.saveRotation(ctx, role, state.accepted(settings, secret, b.now()))
	}
}

// takeAction returns the secret that Auth0 accepts now. "" is one that Auth0
// made and did not show; found, one that was read back.
func (b *backend) takeAction(ctx context.Context, role *ownedRole, action rotationAction) (secret sensitive, found bool, err error) {
	conn, err := b.connect(ctx, role.storage)
	if err != nil {
		return "", false, err
	}
	state, clientID := role.entry.Rotation, role.entry.ClientID
	if action == actionSetSecret {
		return state.Next.Value, false, conn.api.SetSecret(ctx, clientID, string(state.Next.Value))
	}
	if action == actionReadBack && state.Current != nil {
		secret, err := readBack(ctx, conn.api, clientID, state.Current)
		if secret != "" || err != nil {
			return secret, true, err
		}
	}
	made, err := conn.api.RotateSecret(ctx, clientID)
	return sensitive(made), false, err
}

// readBack looks for the outcome of a rotate-secret request that had no clear
// answer: the secret it made. "": it cannot be read, or is still the one from
// before, in which case the request may yet take effect; another one settles
// both.
func readBack(ctx context.Context, api managementAPI, clientID string, before *secretVersion) (sensitive, error) {
	app, err := api.Application(ctx, clientID)
	if err != nil {
		if auth0.HasCode(err, codeInsufficientScope) {
			err = nil
		}
		return "", err
	}
	if app.ClientSecret == nil || *app.ClientSecret == string(before.Value) {
		return "", nil
	}
	return sensitive(*app.ClientSecret), nil
}

// failureOf is an error of Auth0 as the state machine takes it. What is not
// known to be a refusal is unclear; but where the configuration is missing,
// nothing was sent.
func (b *backend) failureOf(err error) failure {
	f := failure{Outcome: outcomeUnclear, Text: err.Error(), Jitter: b.jitter()}
	var coded logical.HTTPCodedError
	var upstream *auth0.Error
	switch {
	case errors.As(err, &coded):
		f.Outcome = outcomeRefused
	case !errors.As(err, &upstream):
	case upstream.Class == auth0.Limited:
		f.Outcome, f.RetryAfter = outcomeLimited, upstream.RetryAfter
	case upstream.Class == auth0.Refused && upstream.Status == 0:
		f.Outcome = outcomeNotSent
	case upstream.Class == auth0.Refused && upstream.Code == codeInvalidBody:
		f.Outcome = outcomeRejected
	case upstream.Class == auth0.Refused:
		f.Outcome = outcomeRefused
	case upstream.Op == auth0.OpToken:
		f.Outcome = outcomeNotSent
	}
	return f
}
