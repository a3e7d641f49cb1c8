package auth0secrets

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
)

const (
	pathApplicationsSynopsis    = "List the tenant's applications that could be roles."
	pathApplicationsDescription = `
Asks Auth0 for its applications, and lists those whose client secret or keys can be
rotated: by client ID, with name, app_type and, where there is one, the role.
Third-party applications are said to be that.
Public applications and those that authenticate in another way are left out.
Needs the scope read:clients or read:client_keys.

Without page all are listed, up to 1000; with page, that page of Auth0's list.`

	fieldPage    = "page"
	fieldPerPage = "per_page"
	fieldTotal   = "total"

	descPage            = "Page of Auth0's list, from 0. Without it, all pages."
	descPerPage         = "Applications per page of Auth0's list, 1 to 100."
	descTotalInTenant   = "How many applications the tenant has, those that cannot be roles included."
	descApplicationKeys = "Client IDs of the applications."
	descApplicationInfo = "Of each application its name, app_type (not_set where Auth0 has none), role if it has one, credential_type=private_key if it authenticates by keys, and third_party if it is somebody else's."

	defaultPerPage = 50
	maxPerPage     = 100
	// maxListed is how many applications Auth0 lists at most.
	maxListed = 1000
)

func (b *backend) pathApplications() []*framework.Path {
	query := func(field *framework.FieldSchema) *framework.FieldSchema {
		field.Query = true
		return field
	}
	perPage := query(intField(descPerPage))
	perPage.Default = defaultPerPage
	return []*framework.Path{{
		Pattern:      "applications/?$",
		DisplayAttrs: listed("applications", "Application"),
		Fields:       fieldSchemas{fieldPage: query(intField(descPage)), fieldPerPage: perPage},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: reads(b.applicationsList, pathApplicationsSynopsis, answersWith(fieldSchemas{
				"keys":     listField(descApplicationKeys),
				"key_info": mapField(descApplicationInfo),
				fieldTotal: intField(descTotalInTenant),
			}, exampleApplications)),
		},
		HelpSynopsis:    pathApplicationsSynopsis,
		HelpDescription: strings.TrimSpace(pathApplicationsDescription),
	}}
}

func (b *backend) applicationsList(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	conn, err := b.connect(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	found, err := listApplications(ctx, conn.api, d)
	if err != nil {
		return nil, err
	}
	roles := map[string]string{} // by client ID
	_, _, err = b.eachRole(ctx, req.Storage, func(name string, set *servedSet) { roles[set.role.ClientID] = name })
	if err != nil {
		return nil, err
	}
	keys, info := make([]string, 0, len(found.Applications)), map[string]any{}
	for i := range found.Applications {
		app := &found.Applications[i]
		byKey := requirements.UnfitForKeys(app) == ""
		if app.ClientID == conn.config.ClientID || requirements.Unfit(app) != "" && !byKey {
			continue
		}
		about := map[string]any{"name": app.Name, "app_type": requirements.AppType(app)}
		if byKey {
			about[fieldCredentialType] = string(credentialKey)
		}
		if requirements.ThirdParty(app) {
			about["third_party"] = true
		}
		if role := roles[app.ClientID]; role != "" {
			about["role"] = role
		}
		keys, info[app.ClientID] = append(keys, app.ClientID), about
	}
	resp := logical.ListResponseWithInfo(keys, info)
	if found.Total >= 0 {
		resp.Data[fieldTotal] = found.Total
	}
	if isCut(found) {
		resp.AddWarning(fmt.Sprintf("the tenant has more than the %d applications that Auth0 lists", maxListed))
	}
	return resp, nil
}

// isCut reports whether a list of all applications ends before the last one.
func isCut(all auth0.ApplicationPage) bool {
	return len(all.Applications) >= maxListed && (all.Total < 0 || all.Total > maxListed)
}

// listApplications gets the requested page, or all pages.
func listApplications(ctx context.Context, api managementAPI, d *framework.FieldData) (auth0.ApplicationPage, error) {
	page, wantsPage := sent[int](d, fieldPage)
	perPage, wantsSize := sent[int](d, fieldPerPage)
	switch {
	case wantsPage && page < 0:
		return auth0.ApplicationPage{}, badRequest("%s must not be negative", fieldPage)
	case wantsSize && (perPage < 1 || perPage > maxPerPage):
		return auth0.ApplicationPage{}, badRequest("%s must be between 1 and %d", fieldPerPage, maxPerPage)
	case wantsSize && !wantsPage:
		return auth0.ApplicationPage{}, badRequest("%s is only for use with %s", fieldPerPage, fieldPage)
	case !wantsPage:
		return allApplications(ctx, api)
	case !wantsSize:
		perPage = defaultPerPage
	}
	found, err := api.Applications(ctx, page, perPage)
	return found, listError(err)
}

// allApplications gets all pages.
func allApplications(ctx context.Context, api managementAPI) (auth0.ApplicationPage, error) {
	all := auth0.ApplicationPage{Total: -1}
	for page := range maxListed / maxPerPage {
		found, err := api.Applications(ctx, page, maxPerPage)
		if err != nil {
			return auth0.ApplicationPage{}, listError(err)
		}
		all.Applications, all.Total = append(all.Applications, found.Applications...), found.Total
		if len(found.Applications) < maxPerPage {
			break
		}
	}
	return all, nil
}

func listError(err error) error {
	if auth0.HasCode(err, auth0.CodeInsufficientScope) {
		return badRequest("the engine's grant has none of the scopes that let it list applications: %s or %s", scopeReadClients, scopeReadClientKeys)
	}
	return err
}
