package conformance

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

const docClient = "https://auth0.com/docs/api/management/v2/clients/get-clients-by-id"

var applicationAssumptions = []Assumption{
	{
		Name:     "application-bare",
		Assumed:  "What was not set when an application was made by API is absent: `app_type`, `token_endpoint_auth_method`, `jwt_configuration.alg`.",
		Evidence: Recorded, Source: "recorded traffic of Auth0's Terraform provider: TestAccClientGrant",
		Scopes: []string{readClients}, check: checkApplicationBare,
	},
	{
		Name:     "application-fields",
		Assumed:  "`fields=client_id,name` gives these, and no secret.",
		Evidence: Recorded, Source: "recorded traffic of Auth0's Terraform provider (signing_keys come along)",
		Scopes: []string{readClients, createGrants}, check: checkApplicationFields,
	},
	{
		Name:     "application-without-keys",
		Assumed:  "A token with read:clients alone is given the settings of an application, and no `client_secret`.",
		Evidence: Documented, Source: docClient,
		Scopes: []string{createGrants}, check: checkApplicationWithoutKeys,
	},
	{
		Name:     "application-forbidden-field",
		Assumed:  "Naming a field that the token may not read is answered with 403, or the field is left out.",
		Evidence: Recorded, Source: "https://github.com/auth0/terraform-provider-auth0/issues/774 has the 403",
		Scopes: []string{createGrants}, check: checkApplicationForbiddenField,
	},
	{
		Name:     "application-deleted",
		Assumed:  "DELETE of an application is 204. GET and PATCH then are 404 inexistent_client.",
		Evidence: Recorded, Source: "recorded traffic of Auth0's Terraform provider: TestAccDataSourceClientNonexistentID (GET)",
		Scopes: []string{readClients, updateKeys}, check: checkApplicationDeleted,
	},
	{
		Name:     "error-bad-token",
		Assumed:  "A bad token is refused with 401 in the usual form, with `attributes` and without `errorCode`.",
		Evidence: Recorded, Source: "https://github.com/auth0/go-auth0/issues/22 (status and message)",
		Scopes: []string{createGrants}, check: checkBadToken,
	},
	{
		Name:     "error-missing-scope",
		Assumed:  "A token that lacks the scope is refused with 403 insufficient_scope, which says which would do.",
		Evidence: Documented, Source: "https://auth0.com/docs/api/management/v2/clients/patch-clients-by-id",
		Scopes: []string{createGrants}, check: checkMissingScope,
	},
	{
		Name:     "error-invalid-body",
		Assumed:  "A body of the wrong form is refused with 400 invalid_body.",
		Evidence: Recorded, Source: "recorded traffic of Auth0's Terraform provider",
		Scopes: []string{updateKeys, createGrants}, check: checkInvalidBody,
	},
}

func checkApplicationBare(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.make(ctx, "bare", nil)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = r.remove(ctx, app.ClientID) }()
	got, err := r.api(ctx, http.MethodGet, "clients/"+app.ClientID, nil)
	if err != nil {
		return "", false, err
	}
	if got.status != http.StatusOK {
		return "", false, unexpected("it could not be read", got)
	}
	jwt, _ := got.object["jwt_configuration"].(map[string]any)
	alg, hasAlg := jwt["alg"]
	var there []string
	for _, name := range got.members("app_type", "token_endpoint_auth_method") {
		there = append(there, fmt.Sprintf("%s %v", name, got.object[name]))
	}
	if hasAlg {
		there = append(there, fmt.Sprintf("jwt_configuration.alg %v", alg))
	}
	if len(there) == 0 {
		return "all three are absent", true, nil
	}
	return "present: " + strings.Join(there, ", "), false, nil
}

func checkApplicationFields(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.theApp(ctx)
	if err != nil {
		return "", false, err
	}
	got, err := r.api(ctx, http.MethodGet, "clients/"+app.ClientID+"?fields=client_id,name&include_fields=true", nil)
	seen := fmt.Sprintf("%d with %s", got.status, strings.Join(slices.Sorted(maps.Keys(got.object)), ", "))
	return seen, got.status == http.StatusOK && got.text("client_id") == app.ClientID && got.has("name") && !got.has("client_secret"), err
}

// reader gives a token with read:clients and nothing else, and whose it is.
func (r *Run) reader(ctx context.Context) (token string, app Application, err error) {
	if app, err = r.theApp(ctx); err != nil {
		return "", app, err
	}
	token, err = r.read.get(func() (string, error) { return r.await(ctx, app) })
	return token, app, err
}

func checkApplicationWithoutKeys(ctx context.Context, r *Run) (string, bool, error) {
	token, app, err := r.reader(ctx)
	if err != nil {
		return "", false, err
	}
	got, err := r.apiAs(ctx, token, http.MethodGet, "clients/"+app.ClientID, nil)
	seen := fmt.Sprintf("%d with %s; absent: %s", got.status, strings.Join(got.members(shownToReaders...), ", "), strings.Join(
		slices.DeleteFunc(slices.Clone(shownToReaders), got.has), ", "))
	return seen, got.status == http.StatusOK && !got.has("client_secret") &&
		len(got.members("app_type", "token_endpoint_auth_method", "grant_types", "is_first_party")) == 4, err
}

// shownToReaders are the members that the engine looks at.
var shownToReaders = []string{
	"client_id", "name", "app_type", "global", "is_first_party", "token_endpoint_auth_method", "jwt_configuration",
	"grant_types", "client_authentication_methods", "client_secret",
}

func checkApplicationForbiddenField(ctx context.Context, r *Run) (string, bool, error) {
	token, app, err := r.reader(ctx)
	if err != nil {
		return "", false, err
	}
	got, err := r.apiAs(ctx, token, http.MethodGet, "clients/"+app.ClientID+"?fields=client_id,client_secret&include_fields=true", nil)
	if got.status == http.StatusOK {
		return fmt.Sprintf("200 with %s", strings.Join(slices.Sorted(maps.Keys(got.object)), ", ")), !got.has("client_secret"), err
	}
	return got.String(), got.isError(http.StatusForbidden), err
}

func checkApplicationDeleted(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.make(ctx, "deleted", nil)
	if err != nil {
		return "", false, err
	}
	deleted, err := r.api(ctx, http.MethodDelete, "clients/"+app.ClientID, nil)
	if err != nil {
		return "", false, err
	}
	if deleted.status == http.StatusNoContent {
		delete(r.made, app.ClientID)
	}
	read, err := r.api(ctx, http.MethodGet, "clients/"+app.ClientID, nil)
	if err != nil {
		return "", false, err
	}
	set, err := r.api(ctx, http.MethodPatch, "clients/"+app.ClientID, map[string]any{"client_secret": r.newSecret()})
	isGone := func(a answer) bool {
		return a.isError(http.StatusNotFound) && a.text("errorCode") == "inexistent_client"
	}
	return fmt.Sprintf("DELETE: %d. GET: %s. PATCH: %s", deleted.status, read, set),
		deleted.status == http.StatusNoContent && isGone(read) && isGone(set), err
}

func checkBadToken(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.theApp(ctx)
	if err != nil {
		return "", false, err
	}
	got, err := r.apiAs(ctx, "not-a-token", http.MethodGet, "clients/"+app.ClientID, nil)
	seen := fmt.Sprintf("%s; with %s", got, strings.Join(slices.Sorted(maps.Keys(got.object)), ", "))
	return seen, got.isError(http.StatusUnauthorized) && got.has("attributes") && !got.has("errorCode"), err
}

func checkMissingScope(ctx context.Context, r *Run) (string, bool, error) {
	token, app, err := r.reader(ctx)
	if err != nil {
		return "", false, err
	}
	got, err := r.apiAs(ctx, token, http.MethodPatch, "clients/"+app.ClientID, map[string]any{"client_secret": r.newSecret()})
	return got.String(), got.isError(http.StatusForbidden) && got.text("errorCode") == "insufficient_scope" && strings.Contains(got.text("message"), updateKeys), err
}

func checkInvalidBody(ctx context.Context, r *Run) (string, bool, error) {
	app, err := r.theApp(ctx)
	if err != nil {
		return "", false, err
	}
	got, err := r.api(ctx, http.MethodPatch, "clients/"+app.ClientID, map[string]any{"client_secret": 5})
	return got.String(), got.isError(http.StatusBadRequest) && got.text("errorCode") == "invalid_body", err
}
