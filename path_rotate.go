package auth0secrets

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/rotation"
)

const (
	pathRotateSynopsis    = "Rotate an application's client secret or key."
	pathRotateDescription = `
A write starts a rotation: the next secret is handed out at once and set in Auth0
at ready_at, when every lease without it has ended. Writing again until
then changes nothing. With force=true it is set at once; holders of older leases fail
until they read again. A read says how far the rotation is.

Of a role with credential_type=private_key, the next key is registered in Auth0 at once,
and used from ready_at on. Auth0 accepts the one before until fallback_until, when
nobody has it any more: nothing fails but by force=true.`
)

func (b *backend) pathRotate() []*framework.Path {
	answer := answersWith(timelineFields(), exampleTimeline)
	write := writes(b.rotateWrite, "Start a rotation, or force the one under way.", answer, framework.RequestExample{
		Description: "Set the next secret at once, in an emergency.",
		Data:        map[string]any{fieldForce: true},
	})
	write.DisplayAttrs = namedVerb("rotate", "role")
	return []*framework.Path{{
		Pattern:      "rotate/" + framework.GenericNameRegex(fieldName) + "$",
		DisplayAttrs: named("rotation"),
		Fields: fieldSchemas{
			fieldName:  nameField(),
			fieldForce: boolField(descForce, false),
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: write,
			logical.ReadOperation:   readsActive(b.rotateRead, "See how far a rotation is.", answer),
		},
		HelpSynopsis:    pathRotateSynopsis,
		HelpDescription: strings.TrimSpace(pathRotateDescription),
	}}
}

func (b *backend) rotateWrite(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name := d.Get(fieldName).(string)
	force, _ := sent[bool](d, fieldForce)
	role, err := b.own(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	defer role.release()
	if role.entry == nil {
		return nil, unknownRole(name)
	}
	mount, err := b.loadMount(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	warnings := rotateWarnings(role.entry, force, role.view(mount, b.now()))
	if err := b.requestRotation(ctx, role, rotation.Ask{By: rotation.Operator, Force: force}); err != nil {
		return nil, err
	}
	return &logical.Response{Data: timeline(role.view(mount, b.now())), Warnings: warnings}, nil
}

func (b *backend) rotateRead(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	set, err := b.lookUp(ctx, req.Storage, d.Get(fieldName).(string))
	if err != nil {
		return nil, err
	}
	mount, err := b.loadMount(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: timeline(set.view(mount, b.now()))}, nil
}

// rotateWarnings warn of the less obvious effects of a request to rotate.
func rotateWarnings(role *roleEntry, force bool, before rotation.View) []string {
	var warnings []string
	happens, what, set := "staged", "secret", "set"
	switch {
	case role.keys() && force:
		warnings = append(warnings, "the next key is used as soon as Auth0 accepts it, and the present one is removed then: what holds it, or an assertion by it, fails until it reads again")
	case role.keys():
		happens, what, set = "made", "key", "use"
	case role.SecretSource == rotation.Auth0:
		happens = "set"
		warnings = append(warnings, "with "+fieldSecretSource+"="+string(rotation.Auth0)+
			" the next secret cannot be handed out before it is set: holders of credentials fail until they read again")
	case force:
		warnings = append(warnings, "the secret is set without waiting for leases: holders of older ones fail until they read again")
	}
	switch {
	case force:
	case before.Phase == rotation.Staged:
		warnings = append(warnings, "a rotation is under way since "+inRFC3339(before.StagedAt)+", and no other was begun; "+fieldForce+"=true would "+set+" the next "+what+" at once")
	case before.Phase == rotation.Propagating:
		warnings = append(warnings, "the last rotation is still propagating: the next "+what+" is "+happens+" at "+inRFC3339(before.FallbackUntil))
	}
	return warnings
}
