package auth0secrets

import (
	"context"
	"net/http"
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
	answer := map[int][]framework.Response{http.StatusOK: {{
		Description: http.StatusText(http.StatusOK),
		Fields:      timelineFields(),
	}}}
	return []*framework.Path{{
		Pattern:      "rotate/" + framework.GenericNameRegex(fieldName) + "$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "rotation"},
		Fields: map[string]*framework.FieldSchema{
			fieldName:  nameField(),
			fieldForce: boolField(descForce, false),
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: &framework.PathOperation{
				Callback:                    handled(b.rotateWrite),
				Summary:                     "Start a rotation, or force the one under way.",
				DisplayAttrs:                &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "rotate", OperationSuffix: "role"},
				Responses:                   answer,
				ForwardPerformanceSecondary: true,
				ForwardPerformanceStandby:   true,
			},
			logical.ReadOperation: &framework.PathOperation{
				Callback:  handled(b.rotateRead),
				Summary:   "See how far a rotation is.",
				Responses: answer,
			},
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
	warnings := rotateWarnings(role.entry, force, b.now())
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
func rotateWarnings(role *roleEntry, force bool, now time.Time) []string {
	var warnings []string
	if role.SecretSource == sourceAuth0 {
		warnings = append(warnings, "with "+fieldSecretSource+"="+string(sourceAuth0)+
			" the next secret cannot be handed out before it is set: holders of credentials fail until they read again")
	} else if force {
		warnings = append(warnings, "the secret is set without waiting for leases: holders of older ones fail until they read again")
	}
	if !force && role.Rotation.settled(now).phase() == phaseSettling {
		warnings = append(warnings, "the last rotation is still settling: the next secret is staged at "+
			inRFC3339(role.Rotation.SettledAt))
	}
	return warnings
}
