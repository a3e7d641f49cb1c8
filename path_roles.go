package auth0secrets

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/rotation"
)

const (
	pathRolesSynopsis    = "Manage the applications whose client secrets or keys are rotated."
	pathRolesDescription = `
A role stands for one application. Creating it checks the application in Auth0
and imports its present secret without rotating: from client_secret, or by
reading it from Auth0, which needs the scope read:client_keys. With
skip_import=true the secret is rotated at once instead.

With credential_type=private_key it is for an application that authenticates by
private_key_jwt. Creating the role registers a key that the engine has made beside
those that the application has.

A read shows the settings and how far a rotation is, never a secret. Deleting
the role leaves the application's secret as it is. Of its keys those that never left
Vault are removed in Auth0.`

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
					"key_info": mapField("Of each role its client_id, credential_type, phase and next_vault_rotation."),
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
	patch := writes(b.roleWrite, "Change a role that exists. Only what is sent changes.", noContent(), framework.RequestExample{
		Description: "Rotate on the first day of each quarter, between 3 and 5 o'clock.",
		Data:        map[string]any{fieldRotationPeriod: "0", fieldRotationSchedule: "0 3 1 1,4,7,10 *", fieldRotationWindow: "2h"},
	})
	attributes := named("role")
	attributes.Action, attributes.ItemType = "Create", "Role"
	return &framework.Path{
		Pattern:      rolesPrefix + framework.GenericNameRegex(fieldName) + "$",
		DisplayAttrs: attributes,
		Fields: merged(roleSettingFields(), fieldSchemas{
			fieldName: nameField(),
			fieldCredentialType: {
				Type: framework.TypeString, Description: descCredentialType,
				Default: string(credentialTypes[0]), AllowedValues: allowedValues(credentialTypes),
			},
			fieldSigningAlgorithm: {Type: framework.TypeString, Description: descRoleSigningAlgorithm, AllowedValues: allowedValues(assertion.Algorithms)},
			fieldKeyBits:          {Type: framework.TypeInt, Description: descKeyBits, AllowedValues: allowedValues(keyBits)},
			fieldExportable:       boolField(descExportable, false),

			fieldClientID:     stringField(descRoleClientID),
			fieldClientSecret: sensitiveField(descImportSecret),
			fieldSkipImport:   boolField(descSkipImport, false),
		}),
		ExistenceCheck: exists(storageRoles),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.CreateOperation: write,
			logical.UpdateOperation: write,
			logical.PatchOperation:  patch,
			logical.ReadOperation:   readsActive(b.roleRead, "Read a role's settings and how far a rotation is.", answersWith(roleAnswerFields(), exampleRole)),
			logical.DeleteOperation: deletes(b.roleDelete, "Delete a role. The application keeps its present secret, and keys that were handed out."),
		},
		HelpSynopsis:    pathRolesSynopsis,
		HelpDescription: strings.TrimSpace(pathRolesDescription),
	}
}

// roleSettingFields are the settings that many roles can share.
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
	return merged(timelineFields(), answered(roleSettingFields()), fieldSchemas{
		fieldClientID:         required(stringField(descRoleClientID)),
		fieldCredentialType:   required(stringField(descCredentialType)),
		fieldSigningAlgorithm: stringField(descRoleSigningAlgorithm),
		fieldKeyBits:          intField(descKeyBits),
		fieldKID:              stringField(descKID),
		fieldExportable:       boolField(descExportable, false),

		fieldDriftDetection:  required(stringField(descDriftDetection)),
		fieldDriftCheckedAt:  timeField(descDriftCheckedAt),
		fieldDriftCheckError: stringField(descDriftCheckError),
		fieldDriftDetectedAt: timeField(descDriftDetectedAt),
	})
}

func (b *backend) rolesList(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	mount, err := b.loadMount(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	info := map[string]any{}
	names, unreadable, err := b.eachRole(ctx, req.Storage, func(name string, set *servedSet) {
		view := set.view(mount, b.now())
		about := map[string]any{fieldClientID: set.role.ClientID, fieldCredentialType: string(set.role.CredentialType), fieldPhase: string(view.Phase)}
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
	data := merged(timeline(view), entry.answer(), entry.keyAnswer(), map[string]any{
		fieldClientID: entry.ClientID, fieldTTL: inSeconds(entry.TTL),
		fieldPasswordPolicy: entry.PasswordPolicy, fieldSecretSource: string(entry.SecretSource),
	})
	if entry.keys() && view.Version > 0 {
		data[fieldKID] = set.kid()
	}
	resp := &logical.Response{Data: data, Warnings: b.driftData(d.Get(fieldName).(string), entry, view, data)}
	if longest := b.askMaxLeaseTTL(); entry.TTL > longest {
		resp.AddWarning(fieldTTL + " is above what the mount allows now: leases last " + longest.String())
	}
	return resp, nil
}

// roleWrite creates a role, or changes one. A patch only changes one.
func (b *backend) roleWrite(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	if err := checkImport(d); err != nil {
		return nil, err
	}
	role, err := b.own(ctx, req.Storage, d.Get(fieldName).(string))
	if err != nil {
		return nil, err
	}
	defer role.release()
	switch {
	case role.entry != nil:
		return onlyWarnings(b.updateRole(ctx, role, d))
	case req.Operation == logical.PatchOperation:
		return nil, unknownRole(role.name)
	default:
		return onlyWarnings(b.createRole(ctx, role, d, nil))
	}
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
	unsettled := role.entry.Rotation.Unsettled() && !role.entry.keys()
	if err := b.deleteRole(ctx, role); err != nil {
		return nil, err
	}
	warnings := b.removeKeys(ctx, role)
	if unsettled {
		warnings = append(warnings, "an attempt to set the next secret in Auth0 had no clear answer: the application may have either. "+
			"Set a secret in Auth0 before you rely on it")
	}
	return onlyWarnings(warnings, nil)
}
