package auth0secrets

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// secretBytes of randomness make a client secret: 64 characters in base64. Its
// alphabet is that of URLs, so it is valid also where Auth0 takes the secret as
// base64-encoded.
const secretBytes = 48

// stage makes the next secret, stores it and serves it.
func (b *backend) stage(ctx context.Context, role *ownedRole, settings rotationSettings, state rotationState) error {
	secret, err := b.generateSecret(ctx, role.entry)
	if err != nil {
		f := failure{Outcome: outcomeNotSent, Text: err.Error(), Jitter: b.jitter()}
		return errors.Join(err, b.saveRotation(ctx, role, state.failed(f, b.now())))
	}
	return b.saveRotation(ctx, role, state.staged(settings, secret, b.now()))
}

// generateSecret makes a client secret, by the role's password policy if it has
// one. Where Auth0 takes the secret as base64-encoded, the policy's is encoded.
func (b *backend) generateSecret(ctx context.Context, role *roleEntry) (sensitive, error) {
	if role.PasswordPolicy != "" {
		password, err := b.System().GeneratePasswordFromPolicy(ctx, role.PasswordPolicy)
		if err != nil {
			return "", badRequest("password policy %q makes no secret: %s", role.PasswordPolicy, err)
		}
		if role.SecretEncoded {
			password = base64.StdEncoding.EncodeToString([]byte(password))
		}
		if password == "" || !utf8.ValidString(password) {
			return "", badRequest("password policy %q makes no secret that Auth0 could be sent: it has to be text, and not empty", role.PasswordPolicy)
		}
		return sensitive(password), nil
	}
	reader := b.GetRandomReader()
	if reader == nil {
		reader = rand.Reader
	}
	random := make([]byte, secretBytes)
	if _, err := io.ReadFull(reader, random); err != nil {
		return "", fmt.Errorf("no random bytes for a client secret: %w", err)
	}
	return sensitive(base64.RawURLEncoding.EncodeToString(random)), nil
}
