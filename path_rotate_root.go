package auth0secrets

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/rotation"
)

const (
	pathRotateRootSynopsis    = "Rotate the engine's own client secret or private key."
	pathRotateRootDescription = `
Replaces the client secret of the application with which the engine calls Auth0
by one that only Vault knows. The new one is stored, set in Auth0, and proven by
a login before it takes the place of the old one; that may take as long as
propagation_delay. With rotation_period or rotation_schedule in the configuration
the engine does this by itself.

Where the engine authenticates with a private key, a new key is made, its public
half registered and enabled beside the old one, and the old one removed once a
login with the new one has succeeded. That needs the scopes
read:client_credentials, create:client_credentials, update:client_credentials
and delete:client_credentials.`
)

func (b *backend) pathRotateRoot() []*framework.Path {
	return []*framework.Path{{
		Pattern:      pathRotateRootName + "$",
		DisplayAttrs: namedVerb("rotate", "root-credentials"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: writes(b.rotateRootWrite, pathRotateRootSynopsis, noContent(), framework.RequestExample{
				Description: "Nothing is sent.",
			}),
		},
		HelpSynopsis:    pathRotateRootSynopsis,
		HelpDescription: strings.TrimSpace(pathRotateRootDescription),
	}}
}

func (b *backend) rotateRootWrite(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	_, err := b.rotateRoot(ctx, req.Storage, rotation.Ask{By: rotation.Operator, Force: true})
	return nil, err
}
