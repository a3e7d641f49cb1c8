package auth0secrets

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	pathRotateSynopsis    = "Rotate an application's client secret."
	pathRotateDescription = `
A write starts a rotation: the next secret is handed out at once and set in Auth0
at ready_at, when every lease without it has ended. Writing again meanwhile
changes nothing. With force=true it is set at once; holders of older leases fail
until they read again. A read says how far the rotation is.`
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
			logical.ReadOperation:   reads(b.rotateRead, "See how far a rotation is.", answer),
		},
		HelpSynopsis:    pathRotateSynopsis,
		HelpDescription: strings.TrimSpace(pathRotateDescription),
	}}
}

func (b *backend) rotateWrite(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name := d.Get(fieldName).(string)
	force, _ := sentBool(d, fieldForce)
	role, err := b.own(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	defer role.release()
	if role.entry == nil {
		return nil, unknownRole(name)
	}
	warnings := rotateWarnings(role.entry, force, b.settlesAt(role))
	if err := b.requestRotation(ctx, role, force); err != nil {
		return nil, err
	}
	return &logical.Response{Data: b.timeline(role.set, b.mountSettings()), Warnings: warnings}, nil
}

func (b *backend) rotateRead(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name := d.Get(fieldName).(string)
	set, err := b.look(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	if set == nil {
		return nil, unknownRole(name)
	}
	mount, err := b.loadMountSettings(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: b.timeline(set, mount)}, nil
}

// rotateWarnings say what is surprising about the rotation that is asked for.
// settlesAt is zero if the last one has settled.
func rotateWarnings(role *roleEntry, force bool, settlesAt time.Time) []string {
	var warnings []string
	if role.SecretSource == sourceAuth0 {
		warnings = append(warnings, "with "+fieldSecretSource+"="+string(sourceAuth0)+
			" the next secret cannot be handed out before it is set: holders of credentials fail until they read again")
	} else if force {
		warnings = append(warnings, "the secret is set without waiting for leases: holders of older ones fail until they read again")
	}
	if !force && !settlesAt.IsZero() {
		warnings = append(warnings, "the last rotation is still settling: the next secret is staged at "+inRFC3339(settlesAt))
	}
	return warnings
}
