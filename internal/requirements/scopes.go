// Package requirements says what the engine asks of an Auth0 tenant: which scopes it
// needs and what for, which applications can be roles, and what a usable
// connection is. The engine and the doctor go by these same rules.
package requirements

import (
	"slices"
	"strings"

	"vault-plugin-secrets-auth0/internal/auth0"
)

// Scopes of the Management API that the engine uses. What for is in Scopes.
const (
	ScopeUpdateClientKeys = auth0.ScopeUpdateClientKeys
	ScopeReadClients      = auth0.ScopeReadClients
	ScopeReadClientKeys   = auth0.ScopeReadClientKeys

	// ScopeReadClientCredentials lets client secrets be read, too, and the keys of
	// private_key_jwt.
	ScopeReadClientCredentials = auth0.ScopeReadClientCredentials
)

// DriftUnavailable says what not being able to read client secrets means.
const DriftUnavailable = "drift cannot be seen: the engine's grant lacks " + ScopeReadClientKeys +
	", so a secret that is changed outside Vault goes unnoticed until logins fail"

// Scope is a scope of the Management API that the engine can use.
type Scope struct {
	Name    string
	Enables string // what the engine needs it for
	Without string // what does not work if it is missing
	// Required: without it the engine is of no use.
	Required bool
	// ForKeys: only needed if the engine authenticates by private_key_jwt.
	ForKeys bool
}

const (
	enablesKeyRotation = "only with `private_key`: to rotate the engine's own key"
	withoutKeyRotation = "rotate-root cannot replace the engine's key"
)

// Scopes are all of them, the required one first. The table in docs/auth0.md
// says the same: see Table.
var Scopes = append([]Scope{
	{
		Name:     ScopeUpdateClientKeys,
		Enables:  "to set and rotate client secrets: required",
		Without:  "no secret can be rotated",
		Required: true,
	},
	{
		Name:    ScopeReadClients,
		Enables: "to check that an application has a client secret to rotate, and to warn of side effects",
		Without: "the engine cannot check whether an application is fit to be a role",
	},
	{
		Name: ScopeReadClientKeys,
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
		scopes[i] = Scope{Name: name, Enables: enablesKeyRotation, Without: withoutKeyRotation, ForKeys: true}
	}
	return scopes
}

// Covered says whether granted scopes let the engine do what the scope is for.
func (s Scope) Covered(granted []string) bool {
	return slices.Contains(granted, s.Name) || s.Name == ScopeReadClientKeys && auth0.CanReadSecrets(granted)
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

// ScopeWarnings say what will not work without the scopes that are missing, of
// those that are not required. byKey: the engine authenticates by
// private_key_jwt.
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
// needs for what is wanted of it.
func Wanted(readSecrets, byKey bool) []string {
	var names []string
	for _, scope := range Scopes {
		if scope.ForKeys && !byKey || scope.Name == ScopeReadClientKeys && !readSecrets {
			continue
		}
		names = append(names, scope.Name)
	}
	return names
}

// Table is the list as the rows of a Markdown table, in which scopes for the
// same purpose share a row.
func Table() string {
	var b strings.Builder
	b.WriteString("| scope | what the engine needs it for |\n|---|---|\n")
	for i := 0; i < len(Scopes); {
		names := []string{Scopes[i].Name}
		for i++; i < len(Scopes) && Scopes[i].Enables == Scopes[i-1].Enables; i++ {
			names = append(names, Scopes[i].Name)
		}
		b.WriteString("| " + joined(names) + " | " + Scopes[i-1].Enables + " |\n")
	}
	return b.String()
}

// joined names scopes of one object: `read:`, `create:` and `update:clients`.
func joined(names []string) string {
	_, object, _ := strings.Cut(names[0], ":")
	parts := make([]string, 0, len(names)-1)
	for _, name := range names[:len(names)-1] {
		parts = append(parts, "`"+strings.TrimSuffix(name, object)+"`")
	}
	last := "`" + names[len(names)-1] + "`"
	if len(parts) == 0 {
		return last
	}
	return strings.Join(parts, ", ") + " and " + last
}
