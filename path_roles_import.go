package auth0secrets

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	pathRolesImportSynopsis    = "Make roles of many applications at once."
	pathRolesImportDescription = `
Makes a role of each application that the filters select, with the same settings
for all, and imports its present secret: nothing is rotated. Roles are named after
their applications ("Shop (EU)" becomes shop-eu). Applications that cannot be roles,
are roles already, or belong to third parties (unless third_party=true) are skipped,
and the answer says why. The same request can be sent again: it adds what is new.

Needs the scope read:client_keys. With dry_run=true it only says what
it would do.`

	fieldFilterName    = "filter_name"
	fieldFilterAppType = "filter_app_type"
	fieldClientIDs     = "client_ids"
	fieldThirdParty    = "third_party"
	fieldRolePrefix    = "role_prefix"
	fieldDryRun        = "dry_run"
	fieldImported      = "imported"
	fieldSkipped       = "skipped"

	descFilterName    = "Only applications whose name matches, case-insensitively; * stands for anything."
	descFilterAppType = "Only applications of these app_types, such as regular_web and non_interactive; not_set for those that have none."
	descClientIDs     = "Only these applications."
	descThirdParty    = "Third-party applications, too: those that belong to somebody else (is_first_party false)."
	descRolePrefix    = "What the names of the roles begin with."
	descDryRun        = "Only say what would be done."
	descImported      = "Of each new role: client_id and name of its application, and warnings if there are any."
	descSkipped       = "Of each selected application that did not become a role: its name and the reason."
)

func (b *backend) pathRolesImport() []*framework.Path {
	write := writes(b.rolesImport, pathRolesImportSynopsis, answersWith(fieldSchemas{
		fieldImported: required(mapField(descImported)),
		fieldSkipped:  required(mapField(descSkipped)),
		fieldDryRun:   required(boolField(descDryRun, false)),
	}, exampleImport), framework.RequestExample{
		Description: "See which web applications would become roles.",
		Data:        map[string]any{fieldFilterAppType: []string{"regular_web"}, fieldRotationPeriod: "720h", fieldDryRun: true},
	})
	return []*framework.Path{{
		Pattern:      "roles-import$",
		DisplayAttrs: namedVerb("import", "roles"),
		Fields: merged(roleSettingFields(), fieldSchemas{
			fieldFilterName:    stringField(descFilterName),
			fieldFilterAppType: {Type: framework.TypeCommaStringSlice, Description: descFilterAppType},
			fieldClientIDs:     {Type: framework.TypeCommaStringSlice, Description: descClientIDs},
			fieldThirdParty:    boolField(descThirdParty, false),
			fieldRolePrefix:    stringField(descRolePrefix),
			fieldDryRun:        boolField(descDryRun, false),
		}),
		Operations:      map[logical.Operation]framework.OperationHandler{logical.UpdateOperation: write},
		HelpSynopsis:    pathRolesImportSynopsis,
		HelpDescription: strings.TrimSpace(pathRolesImportDescription),
	}}
}

func (b *backend) rolesImport(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	filter, err := readApplicationFilter(d)
	if err != nil {
		return nil, err
	}
	order := &roleImport{filter: filter, settings: d}
	take(d, fieldRolePrefix, &order.prefix)
	take(d, fieldDryRun, &order.dryRun)
	report, warnings, err := b.importRoles(ctx, req.Storage, order)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Warnings: warnings, Data: map[string]any{
		fieldImported: report.imported, fieldSkipped: report.skipped, fieldDryRun: order.dryRun,
	}}, nil
}
