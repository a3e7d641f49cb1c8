package auth0secrets

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	pathCredsSynopsis    = "Read an application's credentials, with a lease."
	pathCredsDescription = `
Answers with the application's client ID and its client secrets in the order in
which it should try them. While a rotation is under way there are two: an
application that falls back to the second when the first is refused never fails.
If both are refused it should try once more from the start: a new secret may
reach Auth0 between two attempts. With credential_type=private_key it answers with
the present private key, if the role is exportable.

The lease cannot be renewed: at its end, or somewhat before, read again. Vault
Agent does that by itself. Reading never calls Auth0.`

	pathStaticCredsSynopsis    = "Read an application's credentials, without a lease."
	pathStaticCredsDescription = `
Answers as creds/ does, but without a lease, and without a schedule: for readers
that go by ttl, such as the Vault Secrets Operator and consul-template. Read again
after ttl seconds. It is at most half of the role's ttl: the other half is for the
way to the application.`

	// credsPrefix and staticCredsPrefix begin the paths of credentials.
	credsPrefix       = "creds/"
	staticCredsPrefix = "static-creds/"

	// secretTypeCredentials is the type of the leases of creds/.
	secretTypeCredentials = "auth0_client_secrets"
)

func (b *backend) pathCreds() []*framework.Path {
	return []*framework.Path{
		credsPath(credsPrefix, "credentials", pathCredsSynopsis, pathCredsDescription, b.credsRead,
			answersWith(merged(staticCredentialFields(), fieldSchemas{
				fieldRotationSchedule: stringField(descRotationSchedule),
				fieldRotationPeriod:   required(intField(descCredsRotationPeriod)),
			}), exampleCredentials)),
		credsPath(staticCredsPrefix, "static-credentials", pathStaticCredsSynopsis, pathStaticCredsDescription, b.staticCredsRead,
			answersWith(staticCredentialFields(), exampleStaticCredentials)),
	}
}

func credsPath(
	prefix, suffix, synopsis, description string, read framework.OperationFunc, answer map[int][]framework.Response,
) *framework.Path {
	return &framework.Path{
		Pattern:      prefix + framework.GenericNameRegex(fieldName) + "$",
		DisplayAttrs: namedVerb("read", suffix),
		Fields:       fieldSchemas{fieldName: nameField()},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: readsActive(read, synopsis, answer),
		},
		HelpSynopsis:    synopsis,
		HelpDescription: strings.TrimSpace(description),
	}
}

// staticCredentialFields have no schedule: the Vault Secrets Operator takes
// credentials with a schedule to change only at its times, and fails to sync if ttl
// ends before.
func staticCredentialFields() fieldSchemas {
	return fieldSchemas{
		fieldDomain:               required(stringField(descDomain)),
		fieldClientID:             required(stringField(descRoleClientID)),
		fieldClientSecret:         sensitiveField(descCredsSecret),
		fieldFallbackClientSecret: sensitiveField(descFallback),
		fieldClientSecrets:        listField(descClientSecrets),
		fieldPrivateKey:           sensitiveField(descCredsKey),
		fieldKID:                  stringField(descKID),
		fieldSigningAlgorithm:     stringField(descCredsAlgorithm),
		fieldRotationPeriod:       required(intField(descStaticRotationPeriod)),
		fieldLastVaultRotation:    required(timeField(descLastVaultRotation)),
		fieldTTL:                  required(intField(descCredsTTL)),
	}
}

// leaseType is a type of leases. They cannot be renewed: Vault Agent would renew them
// for ever and never see a rotation. Revoking one takes nothing back: the secrets are
// the application's, and Auth0 cannot revoke tokens.
func leaseType(name string) *framework.Secret {
	return &framework.Secret{
		Type: name,
		Revoke: func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
			return nil, nil
		},
	}
}

func (b *backend) credsRead(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	set, err := b.handedOut(ctx, req.Storage, d.Get(fieldName).(string))
	if err != nil {
		return nil, err
	}
	now := b.now()
	lease := set.lease(now, b.mountInMemory(), b.maxLeaseTTL(set.role.TTL)).Truncate(time.Second)
	resp := b.Secret(secretTypeCredentials).Response(set.answer(now, lease), nil)
	resp.Secret.TTL, resp.Secret.MaxTTL = lease, lease
	b.counters.reads.Add(1)
	b.readEvent(ctx, eventCredsCreate, req.Path, fieldClientID, set.role.ClientID, fieldVersion, strconv.Itoa(set.role.Rotation.Version()))
	return resp, nil
}

func (b *backend) staticCredsRead(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	set, err := b.handedOut(ctx, req.Storage, d.Get(fieldName).(string))
	if err != nil {
		return nil, err
	}
	now := b.now()
	answer := set.answer(now, set.readAgain(now, b.mountInMemory(), b.maxLeaseTTL(set.role.TTL)))
	delete(answer, fieldRotationSchedule)
	if presentPeriod(set.role) == 0 { // which the Vault Secrets Operator takes for credentials that never change
		answer[fieldRotationPeriod] = inSeconds(set.role.TTL)
	}
	b.counters.staticReads.Add(1)
	return &logical.Response{Data: answer}, nil
}

// servedNow returns what the named role serves now.
func (b *backend) servedNow(ctx context.Context, storage logical.Storage, name string) (*servedSet, error) {
	set, err := b.lookUp(ctx, storage, name)
	switch {
	case err != nil:
		return nil, err
	case set.role.Rotation.Current() == "":
		return nil, logical.CodedError(http.StatusServiceUnavailable, "role "+name+
			" has no credentials yet: its first rotation has not been confirmed by Auth0. Its last error is in roles/"+name)
	default:
		return set, nil
	}
}

// handedOut is servedNow for what leaves Vault.
func (b *backend) handedOut(ctx context.Context, storage logical.Storage, name string) (*servedSet, error) {
	set, err := b.servedNow(ctx, storage, name)
	if err == nil && set.role.keys() && !set.role.Exportable {
		return nil, badRequest("the private key of role %q does not leave Vault: read client assertions at %s%s, or set %s=true", name, assertionsPrefix, name, fieldExportable)
	}
	return set, err
}
