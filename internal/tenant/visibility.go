package tenant

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// scopes are what a token may do, such as update:client_keys.
type scopes []string

func (s scopes) any(wanted ...string) bool {
	return slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(s, w) })
}

// readScopes are those that each let a token read applications at all.
var readScopes = []string{"read:clients", "read:client_keys", "read:client_credentials"}

// Which scopes show which fields; all others are open. What a token may not see
// is absent, not null. A token that may only write sees the open fields in the
// answer to that.
var (
	settingFields = []string{
		"global", "jwt_configuration", "token_endpoint_auth_method", "is_first_party", "grant_types", "callbacks",
	}
	settingScopes = []string{"read:clients", "read:client_keys"}
	secretFields  = []string{
		"client_secret", "client_authentication_methods", "signing_keys", "signed_request_object", "token_vault_privileged_access",
	}
	secretScopes = []string{"read:client_keys", "read:client_credentials"}
)

// sees says whether these scopes show a field.
func (s scopes) sees(name string) bool {
	switch {
	case slices.Contains(settingFields, name):
		return s.any(settingScopes...)
	case slices.Contains(secretFields, name):
		return s.any(secretScopes...)
	}
	return true
}

// object gives the application as a token with these scopes sees it. t.mu must
// be held. With all scopes:
//
//	{"client_id":"32 alphanumerics","name":"...","description":"","app_type":"regular_web",
//	 "token_endpoint_auth_method":"client_secret_post","is_first_party":true,"global":false,
//	 "jwt_configuration":{"alg":"RS256","secret_encoded":false,"lifetime_in_seconds":36000},
//	 "grant_types":["client_credentials"],"callbacks":["http://localhost:3000/callback"],
//	 "client_secret":"64 characters","signing_keys":[{"cert":"..."}]}
//
// Any of app_type, token_endpoint_auth_method, jwt_configuration and its alg may
// be absent with all scopes, too.
func (a *application) object(granted scopes) map[string]any {
	jwt := map[string]any{"alg": a.Alg, "secret_encoded": a.SecretEncoded, "lifetime_in_seconds": 36000}
	if a.Alg == "" {
		delete(jwt, "alg")
	}
	all := map[string]any{
		"client_id":                     a.ClientID,
		"name":                          a.Name,
		"description":                   a.Description,
		"app_type":                      a.AppType,
		"global":                        a.Global,
		"is_first_party":                !a.ThirdParty,
		"jwt_configuration":             jwt,
		"token_endpoint_auth_method":    a.TokenEndpointAuthMethod,
		"client_authentication_methods": a.AuthenticationMethods,
		"grant_types":                   a.GrantTypes,
		"callbacks":                     a.Callbacks,
		"client_secret":                 a.ClientSecret,
		"signing_keys":                  []map[string]any{{"cert": fmt.Sprintf("simulated certificate %d of %s", a.certs, a.ClientID)}},
	}
	for slot, object := range a.slots {
		all[string(slot)] = object
	}
	for name, unset := range map[string]bool{
		"app_type":                      a.AppType == "",
		"token_endpoint_auth_method":    a.TokenEndpointAuthMethod == "",
		"client_authentication_methods": len(a.AuthenticationMethods) == 0,
		"callbacks":                     a.Callbacks == nil,
		"client_secret":                 a.ClientSecret == "",
		"jwt_configuration":             a.withoutJWT && a.Alg == "" && !a.SecretEncoded,
	} {
		if unset {
			delete(all, name)
		}
	}
	maps.DeleteFunc(all, func(name string, _ any) bool {
		return slices.Contains(a.Absent, name) || !granted.sees(name)
	})
	return all
}

// fields is what a request wants of an object.
type fields struct {
	names   []string // none: all
	exclude bool     // all but these
}

// DropUnreadableFields says what becomes of fields that a request names and the
// token may not read: they are left out, as Auth0 documents it, or the whole
// request is refused, as was recorded. It is refused unless this is called.
func (t *Tenant) DropUnreadableFields(on bool) { t.dropsFields.Store(on) }

// readFields reads fields (comma-separated) and include_fields (true or false).
func (t *Tenant) readFields(query url.Values, granted scopes) (fields, *answer) {
	include, bad := readBool(query, "include_fields", true)
	if bad != nil {
		return fields{}, bad
	}
	names := strings.FieldsFunc(query.Get("fields"), func(r rune) bool { return r == ',' })
	unreadable := slices.DeleteFunc(slices.Clone(names), granted.sees)
	if include && len(unreadable) > 0 && !t.dropsFields.Load() {
		refusal := apiError(http.StatusForbidden, "insufficient_scope",
			"You cannot read the following fields: "+strings.Join(unreadable, ", "))
		return fields{}, &refusal
	}
	return fields{names: names, exclude: !include}, nil
}

// of takes what is wanted out of an object, which it changes.
func (f fields) of(object map[string]any) map[string]any {
	if len(f.names) > 0 {
		maps.DeleteFunc(object, func(name string, _ any) bool { return slices.Contains(f.names, name) == f.exclude })
	}
	return object
}
