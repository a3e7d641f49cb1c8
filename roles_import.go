package auth0secrets

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/ryanuber/go-glob"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
)

// applicationFilter selects applications.
type applicationFilter struct {
	name      string // with *; "": any
	appTypes  []string
	clientIDs []string
	// thirdParty: those of somebody else, too.
	thirdParty bool
}

func readApplicationFilter(d *framework.FieldData) (applicationFilter, error) {
	var f applicationFilter
	take(d, fieldFilterName, &f.name)
	take(d, fieldFilterAppType, &f.appTypes)
	take(d, fieldClientIDs, &f.clientIDs)
	take(d, fieldThirdParty, &f.thirdParty)
	if f.name == "" && len(f.appTypes) == 0 && len(f.clientIDs) == 0 {
		return f, badRequest("say which applications: %s (* for all), %s or %s", fieldFilterName, fieldFilterAppType, fieldClientIDs)
	}
	return f, nil
}

func (f *applicationFilter) matches(app *auth0.Application) bool {
	return (f.name == "" || glob.Glob(strings.ToLower(f.name), strings.ToLower(app.Name))) &&
		(len(f.appTypes) == 0 || slices.Contains(f.appTypes, requirements.AppType(app))) &&
		(len(f.clientIDs) == 0 || slices.Contains(f.clientIDs, app.ClientID))
}

// roleImport is a request to make roles of many applications.
type roleImport struct {
	filter   applicationFilter
	settings *framework.FieldData
	prefix   string
	dryRun   bool
}

// importReport is the result of an import, as it is answered.
type importReport struct {
	imported map[string]any // by role
	skipped  map[string]any // by client ID
}

func (r *importReport) skip(app *auth0.Application, reason string) {
	r.skipped[app.ClientID] = map[string]any{"name": app.Name, "reason": reason}
}

func (r *importReport) take(role string, app *auth0.Application, warnings []string) {
	about := map[string]any{fieldClientID: app.ClientID, "name": app.Name}
	if len(warnings) > 0 {
		about["warnings"] = warnings
	}
	r.imported[role] = about
}

// importRoles makes roles of the selected applications. A failure leaves those that
// were made.
func (b *backend) importRoles(ctx context.Context, storage logical.Storage, order *roleImport) (*importReport, []string, error) {
	conn, err := b.connect(ctx, storage)
	if err != nil {
		return nil, nil, err
	}
	if !validPrefix.MatchString(order.prefix) {
		return nil, nil, badRequest("%s %q cannot begin a role's name: use letters, digits, _, - and ., and begin with a letter or digit", fieldRolePrefix, order.prefix)
	}
	if err := b.checkImportSettings(ctx, order.settings); err != nil {
		return nil, nil, err
	}
	found, err := allApplications(ctx, conn.api)
	if err != nil {
		return nil, nil, err
	}
	names, err := storage.List(ctx, storageRoles)
	if err != nil {
		return nil, nil, err
	}
	report := &importReport{imported: map[string]any{}, skipped: map[string]any{}}
	for i := range found.Applications {
		app := &found.Applications[i]
		if !order.filter.matches(app) {
			continue
		}
		if reason := requirements.PerhapsThirdParty(app); reason != "" && !order.filter.thirdParty {
			report.skip(app, reason+": "+fieldThirdParty+"=true takes it in")
			continue
		}
		name := roleName(order.prefix, app, names)
		if err := b.importRole(ctx, storage, order, name, app, report); err != nil {
			return nil, nil, err
		}
		names = append(names, name)
	}
	var warnings []string
	if len(report.imported)+len(report.skipped) == 0 {
		warnings = append(warnings, fmt.Sprintf("none of the tenant's applications (%d) matches", len(found.Applications)))
	}
	if isCut(found) {
		warnings = append(warnings, fmt.Sprintf("the tenant has more than the %d applications that Auth0 lists: name others by %s=roles/<name>", maxListed, fieldClientID))
	}
	for _, id := range order.filter.clientIDs {
		if !slices.ContainsFunc(found.Applications, func(app auth0.Application) bool { return app.ClientID == id }) {
			warnings = append(warnings, fmt.Sprintf("application %q was not found in the tenant", id))
		}
	}
	return report, warnings, nil
}

// checkImportSettings refuses settings that no role can have, before any role is
// made.
func (b *backend) checkImportSettings(ctx context.Context, d *framework.FieldData) error {
	maxLease := b.askMaxLeaseTTL()
	entry := newRoleEntry(maxLease)
	if err := entry.change(d, maxLease, b.now()); err != nil {
		return err
	}
	return b.checkPolicy(ctx, entry)
}

// importRole makes one role, or notes why not. It returns an error only if the other
// applications would meet it, too.
func (b *backend) importRole(ctx context.Context, storage logical.Storage, order *roleImport, name string, app *auth0.Application, report *importReport) error {
	if ctx.Err() != nil {
		report.skip(app, "time ran out: send the request again")
		return nil
	}
	role, err := b.own(ctx, storage, name)
	if err != nil {
		return err
	}
	defer role.release()
	var warnings []string
	switch {
	case order.dryRun:
		var made *newRole
		if made, err = b.prepareRole(ctx, role, order.settings, app); err == nil {
			warnings = made.warnings
		}
	case role.entry != nil:
		err = badRequest("role %q was made meanwhile", name)
	default:
		warnings, err = b.createRole(ctx, role, order.settings, app)
	}
	var coded logical.HTTPCodedError
	switch err = edgeError(err); {
	case err == nil:
		report.take(name, app, warnings)
	case errors.As(err, &coded):
		report.skip(app, err.Error())
	default:
		return err
	}
	return nil
}

var validPrefix = regexp.MustCompile(`^(\w[\w.-]*)?$`)

// notInNames are the characters of applications' names that names of roles do not
// get.
var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// inName turns text into a part of a role's name.
func inName(text string) string {
	return strings.Trim(notInNames.ReplaceAllString(strings.ToLower(text), "-"), "-")
}

// roleName makes a role's name of an application's. It avoids taken names as far as
// it can.
func roleName(prefix string, app *auth0.Application, taken []string) string {
	base, id := inName(app.Name), inName(app.ClientID)
	if base == "" {
		base = id
	}
	if base == "" {
		base = "application"
	}
	name := prefix + base
	for _, suffix := range []string{strings.Trim(id[:min(6, len(id))], "-"), id} {
		if suffix != "" && slices.Contains(taken, name) {
			name = prefix + base + "-" + suffix
		}
	}
	return name
}
