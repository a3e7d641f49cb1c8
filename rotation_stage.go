package auth0secrets

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
)

// secretBytes of randomness make a client secret: 64 characters in base64. Its
// alphabet is that of URLs, so it is valid also where Auth0 takes the secret as
// base64-encoded.
const secretBytes = 48

// stage makes the next secret, stores it and serves it.
func (b *backend) stage(ctx context.Context, role *ownedRole, settings rotationSettings, state rotationState) error {
	secret, err := b.generateSecret()
	if err != nil {
		return err
	}
	return b.saveRotation(ctx, role, state.staged(settings, secret, b.now()))
}

func (b *backend) generateSecret() (sensitive, error) {
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
