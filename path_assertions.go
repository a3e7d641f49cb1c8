package auth0secrets

import (
	"context"
	"strconv"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/assertion"
)

const (
	// assertionsPrefix begins the paths of assertions.
	assertionsPrefix = "assertions/"

	pathAssertionsSynopsis    = "Get a client assertion of a role with credential_type=private_key."
	pathAssertionsDescription = `
Answers with a JWT by which the application authenticates at Auth0 once, within a
minute: to be sent as client_assertion, with client_assertion_type. The private key
does not leave Vault. Each read gives a fresh one, signed by the active node.
Reading never calls Auth0.`

	fieldClientAssertion     = "client_assertion"
	fieldClientAssertionType = "client_assertion_type"
	fieldKID                 = "kid"

	descClientAssertion     = "The assertion: a signed JWT, good for one request to Auth0."
	descClientAssertionType = "Always " + assertion.Type + "."
	descAssertionExpiresAt  = "When the assertion expires."
	descKID                 = "ID of the key, as it is registered in Auth0. Only of roles with credential_type=private_key."
)

func (b *backend) pathAssertions() []*framework.Path {
	return []*framework.Path{credsPath(assertionsPrefix, "assertion", pathAssertionsSynopsis, pathAssertionsDescription, b.assertionRead,
		answersWith(fieldSchemas{
			fieldClientAssertion:     required(sensitiveField(descClientAssertion)),
			fieldClientAssertionType: required(stringField(descClientAssertionType)),
			fieldExpiresAt:           required(timeField(descAssertionExpiresAt)),
			fieldDomain:              required(stringField(descDomain)),
			fieldClientID:            required(stringField(descRoleClientID)),
			fieldKID:                 required(stringField(descKID)),
		}, exampleAssertion))}
}

func (b *backend) assertionRead(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name := d.Get(fieldName).(string)
	set, err := b.servedNow(ctx, req.Storage, name)
	switch {
	case err != nil:
		return nil, err
	case !set.role.keys():
		return nil, badRequest("role %q is of client secrets: read them at creds/%s. Assertions are of roles with %s=%s", name, name, fieldCredentialType, credentialKey)
	}
	text, until, err := set.sign(b.now())
	if err != nil {
		return nil, err
	}
	b.counters.assertions.Add(1)
	b.readEvent(ctx, eventAssertionCreate, req.Path, fieldClientID, set.role.ClientID, fieldVersion, strconv.Itoa(set.role.Rotation.Version()))
	return &logical.Response{Data: map[string]any{
		fieldClientAssertion: text, fieldClientAssertionType: assertion.Type, fieldExpiresAt: inRFC3339(until),
		fieldDomain: set.role.Domain, fieldClientID: set.role.ClientID, fieldKID: set.kid(),
	}}, nil
}
