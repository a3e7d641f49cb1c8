package auth0secrets

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	pathTokenRolesSynopsis    = "Manage what access tokens may be handed out."
	pathTokenRolesDescription = `
A token role stands for access tokens for one API, read at tokens/<name>. They
are got by the application of a role, which needs the grant type
client_credentials and a grant for the API in Auth0. So whoever reads them needs
no secret. Writing a token role gets a token, and says at once what is missing.

With shared, which is the default, all readers get the same token until min_ttl
of its life is left. The token is held in memory only. It is dropped when the
token role or the connection in config is changed, when the role is deleted, and
by a forced rotation of the role, which does not refuse those who hold a token.

Without audience the tokens are for Auth0's Management API. Without role they
are got by the engine's own application, for that API only. Auth0 puts all
scopes that an application has into such a token, whatever is asked for, unless
code of the tenant's own (an Action) takes some away. A Management API token with
more than the token role's scopes is not handed out: make an application that is
granted just these, a role of it, and name that here.`

	pathTokenRolesListSynopsis = "List the token roles."

	tokenRolesPrefix = "token-roles/"

	fieldRole         = "role"
	fieldOrganization = "organization"
	fieldMinTTL       = "min_ttl"
	fieldShared       = "shared"
	fieldMetadata     = "metadata"

	descTokenRoleName     = "Name of the token role."
	descTokenRoleScopes   = "Scopes that the tokens carry. For the Management API, such as read:users: all of them, and no others. For another API: those asked for; a token that lacks one is not handed out. Empty: all that the application is granted."
	descTokenRoleRole     = "Role by whose application the tokens are got. Empty: the engine's own application, for the Management API only."
	descTokenRoleAudience = "Identifier of the API that the tokens are for. Empty: the Management API."
	descOrganization      = "Organization, by ID or name, that the tokens are for. Only with role, and where the application's grant is for organizations. Empty: none."
	descMinTTL            = "How long a token that is handed out is good at least: at least 30s, at most half of what Auth0 gives. While Auth0 cannot be reached it may be as little as 30s."
	descShared            = "Whether readers share a token. If not, each read gets one from Auth0, which meters them."
	descMetadata          = "Names and values that each token comes with, such as the address of the API. Not for templates of OpenBao's Agent, which take a token with metadata for a deleted entry of kv."
)

func (b *backend) pathTokenRoles() []*framework.Path {
	write := writes(b.tokenRoleWrite, "Create or change a token role.", noContent(), framework.RequestExample{
		Description: "Tokens for an API, by the application of the role shop.",
		Data:        map[string]any{fieldRole: "shop", fieldAudience: "https://api.example.com/"},
	})
	patch := writes(b.tokenRoleWrite, "Change a token role that exists. Only what is sent changes.", noContent(), framework.RequestExample{
		Description: "Hand out tokens that are good for ten minutes at least.",
		Data:        map[string]any{fieldMinTTL: "10m"},
	})
	settings := fieldSchemas{
		fieldRole:         stringField(descTokenRoleRole),
		fieldAudience:     stringField(descTokenRoleAudience),
		fieldScopes:       {Type: framework.TypeCommaStringSlice, Description: descTokenRoleScopes},
		fieldOrganization: stringField(descOrganization),
		fieldMinTTL:       durationField(descMinTTL, defaultMinTTL),
		fieldShared:       boolField(descShared, true),
		fieldMetadata:     {Type: framework.TypeKVPairs, Description: descMetadata},
	}
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
			Pattern:        tokenRolesPrefix + framework.GenericNameRegex(fieldName) + "$",
			DisplayAttrs:   attributes,
			Fields:         merged(settings, fieldSchemas{fieldName: stringField(descTokenRoleName)}),
			ExistenceCheck: exists(storageTokenRoles),
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.CreateOperation: write,
				logical.UpdateOperation: write,
				logical.PatchOperation:  patch,
				logical.DeleteOperation: deletes(b.tokenRoleDelete, "Delete a token role. Tokens that were handed out stay valid."),
				logical.ReadOperation:   reads(b.tokenRoleRead, "Read a token role.", answersWith(answered(settings), exampleTokenRole)),
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
	role, err := readTokenRole(ctx, req.Storage, d.Get(fieldName).(string))
	if err != nil || role == nil {
		return nil, err
	}
	return &logical.Response{Data: map[string]any{
		fieldRole: role.Role, fieldAudience: role.Audience, fieldScopes: role.Scopes, fieldOrganization: role.Organization,
		fieldMinTTL: inSeconds(role.MinTTL), fieldShared: !role.Unshared, fieldMetadata: role.Metadata,
	}}, nil
}

// tokenRoleWrite creates a token role, or changes one. A patch only changes one.
func (b *backend) tokenRoleWrite(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name := d.Get(fieldName).(string)
	unlock, err := b.lockTokenRole(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	role, err := readTokenRole(ctx, req.Storage, name)
	switch {
	case err != nil:
		return nil, err
	case role == nil && req.Operation == logical.PatchOperation:
		return nil, unknownTokenRole(name)
	case role == nil:
		role = newTokenRole()
	}
	role.change(d)
	conn, err := b.connect(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	warnings, err := b.checkTokenRole(ctx, req.Storage, conn, role)
	if err != nil {
		return nil, err
	}
	defer b.forgetTokenRole(name) // a write that failed may have taken effect
	return onlyWarnings(warnings, writeEntry(ctx, req.Storage, storageTokenRoles+name, role))
}

func (b *backend) tokenRoleDelete(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name := d.Get(fieldName).(string)
	unlock, err := b.lockTokenRole(ctx, name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	defer b.forgetTokenRole(name) // a deletion that failed may have taken effect
	return nil, req.Storage.Delete(ctx, storageTokenRoles+name)
}

func (b *backend) lockTokenRole(ctx context.Context, name string) (unlock func(), err error) {
	return b.lock(ctx, fmt.Sprintf("token role %q", name))
}

func unknownTokenRole(name string) error {
	return badRequest("token role %q does not exist: create it at token-roles/%s", name, name)
}
