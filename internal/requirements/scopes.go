// Package requirements says what the engine asks of an Auth0 tenant: which scopes it
// needs and what for, which applications can be roles, and what a usable
// connection is. The engine and the doctor go by these rules:
//
//	if err := connection.Check(); err != nil { ... }
//	if reason := requirements.Unfit(app); reason != "" { ... }
//	warnings := requirements.ScopeWarnings(granted, byKey)
package requirements

import (
	"slices"
	"strings"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// DriftUnavailable says what not being able to read client secrets means.
const DriftUnavailable = "drift cannot be seen: the engine's grant lacks " + auth0.ScopeReadClientKeys +
	", so a secret that is changed outside Vault goes unnoticed until logins fail"

// Scope is a scope of the Management API that the engine can use.
type Scope struct {
	Name     string
	Enables  string // what the engine needs it for
	Without  string // what does not work if it is missing
	Required bool   // without it the engine is of no use
	ForKeys  bool   // only needed to rotate keys: the engine's own, or those of roles
}

const withoutKeyRotation = "rotate-root cannot replace the engine's key, and no role can have credential_type=private_key"

// Scopes are all of them, the required one first. The table in docs/auth0.md says the
// same.
var Scopes = append([]Scope{
	{
		Name:     auth0.ScopeUpdateClientKeys,
		Enables:  "to set and rotate client secrets: required",
		Without:  "no secret can be rotated",
		Required: true,
	},
	{
		Name:    auth0.ScopeReadClients,
		Enables: "to check that an application has a client secret to rotate, and to warn of side effects",
		Without: "the engine cannot check whether an application is fit to be a role",
	},
	{
		Name: auth0.ScopeReadClientKeys,
		Enables: "to import present secrets by itself, to notice secrets that were changed outside Vault, " +
			"and to read back a secret that Auth0 made if its answer was lost",
		Without: "the engine cannot read an application's present secret: creating a role needs client_secret" +
			" or skip_import, and after an unclear answer to a rotation with secret_source=auth0" +
			" it has to rotate again; " + DriftUnavailable,
	},
}, keyScopes()...)

func keyScopes() []Scope {
	scopes := make([]Scope, len(auth0.KeyScopes))
	for i, name := range auth0.KeyScopes {
		scopes[i] = Scope{
			Name: name, Without: withoutKeyRotation, ForKeys: true,
			Enables: "only for keys: to rotate the engine's own (`private_key`), and those of roles with `credential_type=private_key`",
		}
	}
	return scopes
}

// Covered says whether granted scopes let the engine do what the scope is for.
func (s Scope) Covered(granted []string) bool {
	return slices.Contains(granted, s.Name) || s.Name == auth0.ScopeReadClientKeys && auth0.CanReadSecrets(granted)
}

// Missing are those that are wanted and not granted.
func Missing(wanted, granted []string) []string {
	var missing []string
	for _, scope := range wanted {
		if !slices.Contains(granted, scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}

// ScopeWarnings say what will not work without the scopes that are missing, but for
// the required one. byKey: the engine authenticates by private_key_jwt. Nobody else is
// warned of scopes for keys: a role that needs them is refused without them.
func ScopeWarnings(granted []string, byKey bool) []string {
	var warnings []string
	for _, scope := range Scopes {
		if !scope.Required && !scope.ForKeys && !scope.Covered(granted) {
			warnings = append(warnings, "scope "+scope.Name+" was not granted: "+scope.Without)
		}
	}
	if missing := Missing(auth0.KeyScopes, granted); byKey && len(missing) > 0 {
		warnings = append(warnings, "scopes "+strings.Join(missing, ", ")+" were not granted: "+withoutKeyRotation)
	}
	return warnings
}

// Wanted names the scopes to grant to the engine's application: no more than it
// needs for what is wanted of it. keys: it rotates keys, its own or those of roles.
func Wanted(readSecrets, keys bool) []string {
	var names []string
	for _, scope := range Scopes {
		if scope.ForKeys && !keys || scope.Name == auth0.ScopeReadClientKeys && !readSecrets {
			continue
		}
		names = append(names, scope.Name)
	}
	return names
}
