package auth0secrets

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/rotation"
)

const (
	pathRolesSynopsis    = "Manage the applications whose client secrets are rotated."
	pathRolesDescription = `
A role stands for one application. Creating it checks the application in Auth0
and imports its present secret without rotating: from client_secret, or by
reading it from Auth0, which needs the scope read:client_keys. With
skip_import=true the secret is rotated at once instead.

A read shows the settings and how far a rotation is, never a secret. Deleting
the role leaves the application's secret as it is.`

	pathRolesListSynopsis = "List the roles."
)

func (b *backend) pathRoles() []*framework.Path {
	return []*framework.Path{
		{
			Pattern:      rolesPrefix + "?$",
			DisplayAttrs: listed("roles", "Role"),
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ListOperation: readsActive(b.rolesList, pathRolesListSynopsis, answersWith(fieldSchemas{
					"keys":     listField("Names of the roles."),
					"key_info": mapField("Of each role its client_id, phase and next_vault_rotation."),
				}, exampleRoleList)),
			},
			HelpSynopsis:    pathRolesListSynopsis,
			HelpDescription: strings.TrimSpace(pathRolesDescription),
		},
		b.pathRole(),
	}
}

func (b *backend) pathRole() *framework.Path {
	write := writes(b.roleWrite, "Create or change a role.", noContent(), framework.RequestExample{
		Description: "Rotate an application's secret every 30 days.",
		Data:        map[string]any{fieldClientID: exampleAppID, fieldTTL: "15m", fieldRotationPeriod: "720h"},
	})
	patch := writes(b.rolePatch, "Change a role that exists. Only what is sent changes.", noContent(), framework.RequestExample{
		Description: "Rotate on the first day of each quarter, between 3 and 5 o'clock.",
		Data:        map[string]any{fieldRotationPeriod: "0", fieldRotationSchedule: "0 3 1 1,4,7,10 *", fieldRotationWindow: "2h"},
	})
	attributes := named("role")
	attributes.Action, attributes.ItemType = "Create", "Role"
	return &framework.Path{
		Pattern:      rolesPrefix + framework.GenericNameRegex(fieldName) + "$",
		DisplayAttrs: attributes,
		Fields: merged(roleSettingFields(), fieldSchemas{
			fieldName:         nameField(),
			fieldClientID:     stringField(descRoleClientID),
			fieldClientSecret: sensitiveField(descImportSecret),
			fieldSkipImport:   boolField(descSkipImport, false),
		}),
		ExistenceCheck: b.roleExists,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.CreateOperation: write,
			logical.UpdateOperation: write,
			logical.PatchOperation:  patch,
			logical.ReadOperation:   readsActive(b.roleRead, "Read a role's settings and how far a rotation is.", answersWith(roleAnswerFields(), exampleRole)),
			logical.DeleteOperation: deletes(b.roleDelete, "Delete a role. The application keeps its present secret."),
		},
		HelpSynopsis:    pathRolesSynopsis,
		HelpDescription: strings.TrimSpace(pathRolesDescription),
	}
}

// roleSettingFields are those of a role's settings that many roles can share.
func roleSettingFields() fieldSchemas {
	return merged(planFields(descRotationPeriod, descDisableRotation), fieldSchemas{
		fieldTTL: durationField(descTTL, defaultTTL),
		fieldSecretSource: {
			Type: framework.TypeString, Description: descSecretSource,
			Default: string(rotation.Vault), AllowedValues: []any{string(rotation.Vault), string(rotation.Auth0)},
		},
		fieldPasswordPolicy: stringField(descPasswordPolicy),
	})
}

func roleAnswerFields() fieldSchemas {
	return merged(timelineFields(), planAnswerFields(descRotationPeriod, descDisableRotation), fieldSchemas{
		fieldClientID:       required(stringField(descRoleClientID)),
		fieldTTL:            required(intField(descTTL + " In seconds.")),
		fieldSecretSource:   required(stringField(descSecretSource)),
		fieldPasswordPolicy: required(stringField(descPasswordPolicy)),

		fieldDriftDetection:  required(stringField(descDriftDetection)),
		fieldDriftCheckedAt:  timeField(descDriftCheckedAt),
		fieldDriftCheckError: stringField(descDriftCheckError),
		fieldDriftDetectedAt: timeField(descDriftDetectedAt),
	})
}

func (b *backend) roleExists(ctx context.Context, req *logical.Request, d *framework.FieldData) (bool, error) {
	role, err := readRole(ctx, req.Storage, d.Get(fieldName).(string))
	return role != nil, err
}

func (b *backend) rolesList(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	mount, err := b.loadMount(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	info := map[string]any{}
	names, unreadable, err := b.eachRole(ctx, req.Storage, func(name string, set *servedSet) {
		view := set.view(mount, b.now())
		about := map[string]any{fieldClientID: set.role.ClientID, fieldPhase: string(view.Phase)}
		putTimes(about, map[string]time.Time{fieldNextVaultRotation: view.NextRotation})
		info[name] = about
	})
	if err != nil {
		return nil, err
	}
	maps.Copy(info, unreadable)
	return logical.ListResponseWithInfo(names, info), nil
}

func (b *backend) roleRead(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	set, err := b.look(ctx, req.Storage, d.Get(fieldName).(string))
	if err != nil || set == nil {
		return nil, err
	}
	mount, err := b.loadMount(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	entry, view := set.role, set.view(mount, b.now())
	data := timeline(view)
	data[fieldClientID] = entry.ClientID
	data[fieldTTL] = inSeconds(entry.TTL)
	entry.answer(data)
	data[fieldPasswordPolicy] = entry.PasswordPolicy
	data[fieldSecretSource] = string(entry.SecretSource)
	resp := &logical.Response{Data: data, Warnings: b.driftData(d.Get(fieldName).(string), view, data)}
	if longest := b.askMaxLeaseTTL(); entry.TTL > longest {
		resp.AddWarning(fieldTTL + " is above what the mount allows now: leases last " + longest.String())
	}
	return resp, nil
}

func (b *backend) roleWrite(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	return b.changeRole(ctx, req, d, true)
}

func (b *backend) rolePatch(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	return b.changeRole(ctx, req, d, false)
}

func (b *backend) changeRole(ctx context.Context, req *logical.Request, d *framework.FieldData, create bool) (*logical.Response, error) {
	settings, err := b.sentRoleSettings(d)
	if err != nil {
		return nil, err
	}
	role, err := b.own(ctx, req.Storage, d.Get(fieldName).(string))
	if err != nil {
		return nil, err
	}
	defer role.release()
	var warnings []string
	switch {
	case role.entry != nil:
		warnings, err = b.updateRole(ctx, role, settings)
	case create:
		warnings, err = b.createRole(ctx, role, settings, nil)
	default:
		err = unknownRole(role.name)
	}
	if err != nil || len(warnings) == 0 {
		return nil, err
	}
	return &logical.Response{Warnings: warnings}, nil
}

func (b *backend) roleDelete(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name := d.Get(fieldName).(string)
	role, err := b.own(ctx, req.Storage, name)
	var unreadable *unreadableError
	if errors.As(err, &unreadable) {
		return nil, b.deleteUnreadable(ctx, req.Storage, name)
	}
	if err != nil {
		return nil, err
	}
	defer role.release()
	if role.entry == nil {
		return nil, nil
	}
	unsettled := role.entry.Rotation.Unsettled()
	if err := b.deleteRole(ctx, role); err != nil {
		return nil, err
	}
	if unsettled {
		return &logical.Response{Warnings: []string{
			"an attempt to set the next secret in Auth0 had no clear answer: the application may have either. " +
				"Set a secret in Auth0 before you rely on it",
		}}, nil
	}
	return nil, nil
}

// sentRoleSettings takes in what a write of a role sent, and refuses what
// cannot be right whatever is stored.
func (b *backend) sentRoleSettings(d *framework.FieldData) (*sentRole, error) {
	s := &sentRole{}
	s.clientID, s.clientIDSent = sentString(d, fieldClientID)
	s.ttl, s.ttlSent = sentDuration(d, fieldTTL)
	s.plan = readSentPlan(d)
	s.policy, s.policySent = sentString(d, fieldPasswordPolicy)
	secret, secretSent := sentString(d, fieldClientSecret)
	s.clientSecret, s.clientSecretSent = rotation.Secret(secret), secretSent
	s.skipImport, _ = sentBool(d, fieldSkipImport)
	if source, ok := sentString(d, fieldSecretSource); ok {
		s.source = rotation.Source(source)
		if !slices.Contains([]rotation.Source{rotation.Vault, rotation.Auth0}, s.source) {
			return nil, badRequest("%s %q is not known: it is %s or %s", fieldSecretSource, source, rotation.Vault, rotation.Auth0)
		}
	}
	switch {
	case s.clientSecretSent && s.clientSecret == "":
		return nil, badRequest("%s is empty: leave it out, or send the application's present secret", fieldClientSecret)
	case s.clientSecretSent && s.skipImport:
		return nil, badRequest("%s and %s=true contradict each other: import the present secret, or replace it at once",
			fieldClientSecret, fieldSkipImport)
	}
	return s, nil
}
