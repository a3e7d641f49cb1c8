package auth0secrets

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	pathTokenRolesSynopsis    = "Manage what Management API tokens may be handed out."
	pathTokenRolesDescription = `
A token role stands for Management API access tokens with certain scopes, read
at tokens/<name>. They are got by the engine's own application or, with role, by
the application of that role.

Auth0 puts all scopes that an application has into its tokens, whatever is asked
for, unless code of the tenant's own (an Action) takes some away. A token with
more than the role's scopes is not handed out. So that a token carries few
scopes, make an application that is granted just these, a role of it, and name
that here.`

	pathTokenRolesListSynopsis = "List the token roles."

	tokenRolesPrefix = "token-roles/"

	fieldRole = "role"

	descTokenRoleName   = "Name of the token role."
	descTokenRoleScopes = "Scopes of the Management API that the tokens carry, such as read:users. All of them, and no others."
	descTokenRoleRole   = "Role by whose application the tokens are got. Empty: the engine's own application."
)

func (b *backend) pathTokenRoles() []*framework.Path {
	write := writes(b.tokenRoleWrite, "Create or change a token role.", noContent(), framework.RequestExample{
		Description: "Tokens that can read users, by the application of the role user-reader.",
		Data:        map[string]any{fieldScopes: []string{"read:users"}, fieldRole: "user-reader"},
	})
	patch := writes(b.tokenRoleWrite, "Change a token role that exists. Only what is sent changes.", noContent(), framework.RequestExample{
		Description: "Have the tokens got by another application.",
		Data:        map[string]any{fieldRole: "user-reader"},
	})
	attributes := named("token-role")
	attributes.Action, attributes.ItemType = "Create", "Token role"
	return []*framework.Path{
		{
			Pattern:      tokenRolesPrefix + "?$",
			DisplayAttrs: listed("token-roles", "Token role"),
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ListOperation: reads(b.tokenRolesList, pathTokenRolesListSynopsis, answersWith(
					fieldSchemas{"keys": listField("Names of the token roles.")}, map[string]any{"keys": []string{"reader"}})),
			},
			HelpSynopsis:    pathTokenRolesListSynopsis,
			HelpDescription: strings.TrimSpace(pathTokenRolesDescription),
		},
		{
			Pattern:      tokenRolesPrefix + framework.GenericNameRegex(fieldName) + "$",
			DisplayAttrs: attributes,
			Fields: fieldSchemas{
				fieldName:   stringField(descTokenRoleName),
				fieldScopes: {Type: framework.TypeCommaStringSlice, Description: descTokenRoleScopes},
				fieldRole:   stringField(descTokenRoleRole),
			},
			ExistenceCheck: exists(storageTokenRoles),
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.CreateOperation: write,
				logical.UpdateOperation: write,
				logical.PatchOperation:  patch,
				logical.DeleteOperation: deletes(b.tokenRoleDelete, "Delete a token role. Tokens that were handed out stay valid."),
				logical.ReadOperation: reads(b.tokenRoleRead, "Read a token role.", answersWith(fieldSchemas{
					fieldScopes: required(listField(descTokenRoleScopes)),
					fieldRole:   required(stringField(descTokenRoleRole)),
				}, exampleTokenRole)),
			},
			HelpSynopsis:    pathTokenRolesSynopsis,
			HelpDescription: strings.TrimSpace(pathTokenRolesDescription),
		},
	}
}

func (b *backend) tokenRolesList(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	names, err := req.Storage.List(ctx, storageTokenRoles)
	if err != nil {
		return nil, err
	}
	return logical.ListResponse(names), nil
}

func (b *backend) tokenRoleRead(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	role, err := readEntry[tokenRoleEntry](ctx, req.Storage, storageTokenRoles+d.Get(fieldName).(string))
	if err != nil || role == nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{fieldScopes: role.Scopes, fieldRole: role.Role}}, nil
}

// tokenRoleWrite creates a token role, or changes one. A patch only changes one.
func (b *backend) tokenRoleWrite(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name := d.Get(fieldName).(string)
	unlock, err := b.lockTokenRole(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	role, err := readEntry[tokenRoleEntry](ctx, req.Storage, storageTokenRoles+name)
	switch {
	case err != nil:
		return nil, err
	case role == nil && req.Operation == logical.PatchOperation:
		return nil, unknownTokenRole(name)
	case role == nil:
		role = &tokenRoleEntry{}
	}
	take(d, fieldScopes, &role.Scopes)
	take(d, fieldRole, &role.Role)
	warnings, err := b.checkTokenRole(ctx, req.Storage, role)
	if err != nil {
		return nil, err
	}
	return onlyWarnings(warnings, writeEntry(ctx, req.Storage, storageTokenRoles+name, role))
}

func (b *backend) tokenRoleDelete(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name := d.Get(fieldName).(string)
	unlock, err := b.lockTokenRole(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return nil, req.Storage.Delete(ctx, storageTokenRoles+name)
}

func (b *backend) lockTokenRole(ctx context.Context, name string) (unlock func(), err error) {
	return b.lock(ctx, fmt.Sprintf("token role %q", name))
}

func unknownTokenRole(name string) error {
	return badRequest("token role %q does not exist: create it at token-roles/%s", name, name)
}
