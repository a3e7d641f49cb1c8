package tenant

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxSecret      = 256 // characters
	defaultPerPage = 50
	maxPerPage     = 100
)

// readApplication handles GET /api/v2/clients/{id}.
func (t *Tenant) readApplication(c *call, app *application) (any, error) {
	q := query{Values: c.URL.Query()}
	wanted := t.wantedFields(&q, c.granted)
	return wanted(app.object(c.granted)), q.err
}

// listApplications handles GET /api/v2/clients: an array, or with
// include_totals=true
//
//	{"start":0,"limit":50,"total":1,"clients":[...]}
func (t *Tenant) listApplications(c *call) (any, error) {
	q := query{Values: c.URL.Query()}
	wanted := t.wantedFields(&q, c.granted)
	perPage := q.number("per_page", defaultPerPage, 1, maxPerPage)
	start := min(q.number("page", 0, 0, 1<<30)*perPage, len(t.order))
	clients := make([]map[string]any, 0, perPage)
	for _, id := range t.order[start:min(start+perPage, len(t.order))] {
		clients = append(clients, wanted(t.apps[id].object(c.granted)))
	}
	if !q.bool("include_totals", "false") {
		return clients, q.err
	}
	return map[string]any{"start": start, "limit": perPage, "total": len(t.order), "clients": clients}, q.err
}

// createApplication handles POST /api/v2/clients. The application is bare: what
// is not sent stays absent, but for the grant types. The answer is the whole
// object, whatever the token may read.
func (t *Tenant) createApplication(c *call) (any, error) {
	sent, err := readMembers(c)
	if err != nil {
		return nil, err
	}
	if sent["name"] == nil {
		return nil, invalidBody("'Missing required property: name'.")
	}
	made := &application{grants: map[string]Grant{}, certs: 1}
	made.Application = Application{Shape: Bare, ClientID: randomAlphanumerics(32), GrantTypes: usualGrants(), withoutJWT: true}
	if err := made.apply(c.body, sent); err != nil {
		return nil, err
	}
	if made.usesKey() && !c.granted.any("create:client_credentials") {
		return nil, insufficientScope("create:client_credentials")
	}
	if made.usesKey() { // not by its ID, which it has not yet, but by all that it is made of
		orders, err := decode[struct {
			Methods map[Slot]struct {
				Credentials []keyOrder `json:"credentials"`
			} `json:"client_authentication_methods"`
		}](c)
		if err != nil {
			return nil, err
		}
		made.AuthenticationMethods = nil
		for _, order := range orders.Methods[PrivateKeyJWT].Credentials {
			key, err := order.credential(t.now())
			if err != nil {
				return nil, invalidBody(err.Error())
			}
			made.keys = append(made.keys, key)
			made.enable(PrivateKeyJWT, key.ID)
		}
	}
	if made.AppType != keysOnly {
		made.setSecret(cmp.Or(made.ClientSecret, randomText(64)), byAdding, t.now(), Propagation{})
	}
	t.apps[made.ClientID] = made
	t.order = append(t.order, made.ClientID)
	made.noteKeys(t.now(), Propagation{})
	return made.object(readScopes), nil
}

// createGrant handles POST /api/v2/client-grants, without organizations.
func (t *Tenant) createGrant(c *call) (any, error) {
	type grant struct {
		ID       string   `json:"id"`
		ClientID string   `json:"client_id"`
		Audience string   `json:"audience"`
		Scope    []string `json:"scope"`
	}
	sent, err := decode[grant](c)
	if err != nil {
		return nil, err
	}
	app := t.apps[sent.ClientID]
	_, exists := t.apis[sent.Audience]
	switch {
	case app == nil:
		return nil, errNoSuchClient
	case !exists:
		return nil, apiError(http.StatusBadRequest, "invalid_body", "There is no API with this audience")
	}
	if _, granted := app.grants[sent.Audience]; granted {
		return nil, apiError(http.StatusConflict, "grant_conflict", "A resource with the same identifier already exists.")
	}
	app.grants[sent.Audience] = Grant{Scopes: sent.Scope}
	sent.ID = "cgr_" + randomAlphanumerics(16)
	return sent, nil
}

// deleteApplication handles DELETE /api/v2/clients/{id}.
func (t *Tenant) deleteApplication(c *call) (any, error) {
	t.remove(c.clientID)
	return nil, nil
}

// updateApplication handles PATCH /api/v2/clients/{id}. Scopes come first, then
// the body.
func (t *Tenant) updateApplication(c *call, app *application) (any, error) {
	sent, err := readMembers(c, scopesToPatch)
	if err != nil {
		return nil, err
	}
	secret, hasSecret := sent["client_secret"].(string)
	switch n := utf8.RuneCountInString(secret); {
	case !hasSecret:
	case n < 1:
		return nil, invalidBody("'String is too short (0 chars), minimum 1' on property client_secret (The secret used to sign tokens for the client).")
	case n > maxSecret:
		return nil, invalidBody(fmt.Sprintf("'String is too long (%d chars), maximum %d' on property client_secret (The secret used to sign tokens for the client).", n, maxSecret))
	case app.usesKey():
		return nil, invalidBody("client_secret cannot be set for a client that uses private_key_jwt.")
	case app.AppType == keysOnly:
		return nil, invalidBody("client_secret cannot be set for a client of this app_type.")
	}
	if err := app.checkSlots(c.body, sent, t.slotSize()); err != nil {
		return nil, err
	}
	if err := app.apply(c.body, sent); err != nil {
		return nil, err
	}
	if hasSecret {
		app.setSecret(secret, byPatch, t.now(), t.propagation)
	}
	return app.object(c.granted), nil
}

// rotateSecret handles POST /api/v2/clients/{id}/rotate-secret. The new secret
// is never base64-encoded, also where jwt_configuration.secret_encoded says so.
func (t *Tenant) rotateSecret(c *call, app *application) (any, error) {
	switch {
	case app.usesKey():
		return nil, apiError(http.StatusBadRequest, "invalid_request", "The secret of a client that uses private_key_jwt cannot be rotated.")
	case app.AppType == keysOnly:
		return nil, apiError(http.StatusBadRequest, "invalid_request", "A client of this app_type has no secret.")
	}
	app.certs++
	app.setSecret(randomText(64), byRotate, t.now(), t.propagation)
	return app.object(c.granted), nil
}

// members are those that POST and PATCH know, with their JSON types. What it is
// sent is accepted; that which Application has is changed, too.
var members = map[string]string{
	"name": "string", "description": "string", "app_type": "string", "client_secret": "string",
	"token_endpoint_auth_method": "string", "client_authentication_methods": "object",
	"jwt_configuration": "object", "grant_types": "array", "callbacks": "array", "client_metadata": "object",
	"oidc_conformant": "boolean", "is_first_party": "boolean",
	string(SignedRequestObject): "object", string(TokenVault): "object",
}

// scopesToPatch are those that each let a token change a member.
func scopesToPatch(name string) []string {
	switch name {
	case "client_secret":
		return []string{updateKeys}
	case "client_authentication_methods", string(SignedRequestObject), string(TokenVault):
		return []string{"update:clients", "update:client_credentials"}
	}
	return []string{"update:clients"}
}

// readMembers reads a body of members, each with the scopes that it needs. A
// refusal never quotes a value.
func readMembers(c *call, needed ...func(name string) []string) (map[string]any, error) {
	sent, err := decode[map[string]any](c)
	if err != nil || sent == nil {
		return nil, invalidBody("'Expected type object' on the body.")
	}
	names := slices.Sorted(maps.Keys(sent))
	for _, name := range names {
		for _, scopesFor := range needed {
			if wanted := scopesFor(name); !c.granted.any(wanted...) {
				return nil, insufficientScope(wanted...)
			}
		}
	}
	for _, name := range names {
		want, known := members[name]
		if !known {
			return nil, invalidBody(fmt.Sprintf("'Additional properties not allowed: %s'.", name))
		}
		if found := jsonType(sent[name]); found != want {
			return nil, invalidBody(fmt.Sprintf("'Expected type %s but found type %s' on property %s.", want, found, name))
		}
	}
	if sent["token_endpoint_auth_method"] != nil && sent["client_authentication_methods"] != nil {
		return nil, invalidBody("token_endpoint_auth_method and client_authentication_methods exclude each other.")
	}
	return sent, nil
}

// jsonType names the type of a JSON value as JSON schemas do.
func jsonType(value any) string {
	switch value.(type) {
	case string:
		return "string"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case bool:
		return "boolean"
	case nil:
		return "null"
	default:
		return "number"
	}
}

// form is an application in JSON. With all fields, but for those of slots:
//
//	{"client_id":"32 alphanumerics","name":"...","description":"","app_type":"regular_web",
//	 "token_endpoint_auth_method":"client_secret_post","is_first_party":true,"global":false,
//	 "jwt_configuration":{"alg":"RS256","secret_encoded":false,"lifetime_in_seconds":36000},
//	 "grant_types":["client_credentials"],"callbacks":["http://localhost:3000/callback"],
//	 "client_secret":"64 characters","signing_keys":[{"cert":"..."}]}
//
// Any of app_type, token_endpoint_auth_method, jwt_configuration and its alg may
// be absent with all scopes, too.
type form struct {
	*Application
	FirstParty  bool                `json:"is_first_party"`
	JWT         *jwtConfiguration   `json:"jwt_configuration,omitempty"`
	SigningKeys []map[string]string `json:"signing_keys"`
}

type jwtConfiguration struct {
	Alg           string `json:"alg,omitempty"`
	SecretEncoded bool   `json:"secret_encoded"`
	Lifetime      int    `json:"lifetime_in_seconds"`
}

func (a *application) form() form {
	f := form{
		Application: &a.Application, FirstParty: !a.ThirdParty,
		SigningKeys: []map[string]string{{"cert": fmt.Sprintf("simulated certificate %d of %s", a.certs, a.ClientID)}},
	}
	if !a.withoutJWT || a.Alg != "" || a.SecretEncoded {
		f.JWT = &jwtConfiguration{Alg: a.Alg, SecretEncoded: a.SecretEncoded, Lifetime: 36000}
	}
	return f
}

// object gives the application as a token with these scopes sees it.
func (a *application) object(granted scopes) map[string]any {
	object := map[string]any{}
	_ = json.Unmarshal(jsonAnswer(http.StatusOK, a.form()).body, &object) // it is an object
	maps.DeleteFunc(object, func(name string, _ any) bool { return !granted.sees(name) })
	return object
}

// apply changes the settings that a PATCH or POST has sent. What is not sent
// stays.
func (a *application) apply(body []byte, sent map[string]any) error {
	changed := application{Application: a.clone()}
	if sent["client_authentication_methods"] != nil || sent["token_endpoint_auth_method"] != nil {
		changed.AuthenticationMethods, changed.TokenEndpointAuthMethod = nil, ""
	}
	for slot, used := range map[Slot]*map[string]any{SignedRequestObject: &changed.SignedRequestObject, TokenVault: &changed.TokenVault} {
		if sent[string(slot)] != nil {
			*used = nil // or what is sent would be added
		}
	}
	if sent["jwt_configuration"] != nil {
		changed.withoutJWT = false
	}
	f := changed.form()
	if json.Unmarshal(body, &f) != nil {
		return invalidBody("a member of a member has the wrong type.")
	}
	a.Application = *f.Application
	a.ThirdParty = !f.FirstParty
	if f.JWT != nil {
		a.Alg, a.SecretEncoded = f.JWT.Alg, f.JWT.SecretEncoded
	}
	return nil
}

const (
	updateKeys      = "update:client_keys"
	readCredentials = "read:client_credentials"
)

var (
	// readScopes each let a token read applications at all, updateScopes change them.
	readScopes   = []string{"read:clients", "read:client_keys", readCredentials}
	updateScopes = []string{"update:clients", updateKeys, "update:client_credentials"}
)

// Which scopes show which fields; all others are open. What a token may not see
// is absent, not null. A token that may only write sees the open fields in the
// answer to that.
var (
	settingFields = []string{
		"global", "jwt_configuration", "token_endpoint_auth_method", "is_first_party", "grant_types", "callbacks",
	}
	secretFields = []string{
		"client_secret", "client_authentication_methods", "signing_keys", string(SignedRequestObject), string(TokenVault),
	}
)

// sees says whether these scopes show a field.
func (s scopes) sees(name string) bool {
	switch {
	case slices.Contains(settingFields, name):
		return s.any("read:clients", "read:client_keys")
	case slices.Contains(secretFields, name):
		return s.any("read:client_keys", readCredentials)
	}
	return true
}

// DropUnreadableFields says what becomes of fields that a request names and the
// token may not read: they are left out, as Auth0 documents it, or the whole
// request is refused, as was recorded. It is refused unless this is called.
func (t *Tenant) DropUnreadableFields(on bool) { t.set(&t.dropsFields, on) }

// wantedFields reads fields (comma-separated) and include_fields (true or false). What
// it gives leaves of an object what is wanted.
func (t *Tenant) wantedFields(q *query, granted scopes) func(object map[string]any) map[string]any {
	include := q.bool("include_fields", "true")
	names := strings.FieldsFunc(q.Get("fields"), func(r rune) bool { return r == ',' })
	unreadable := slices.DeleteFunc(slices.Clone(names), granted.sees)
	if include && len(unreadable) > 0 && !t.dropsFields {
		q.err = apiError(http.StatusForbidden, "insufficient_scope",
			"You cannot read the following fields: "+strings.Join(unreadable, ", "))
	}
	return func(object map[string]any) map[string]any {
		if len(names) > 0 {
			maps.DeleteFunc(object, func(name string, _ any) bool { return slices.Contains(names, name) != include })
		}
		return object
	}
}

// query reads a query string. err is what was wrong with it.
type query struct {
	url.Values
	err error
}

func (q *query) number(name string, otherwise, least, most int) int {
	n, err := strconv.Atoi(cmp.Or(q.Get(name), strconv.Itoa(otherwise)))
	if err != nil || n < least || n > most {
		q.invalid(name)
		return least
	}
	return n
}

func (q *query) bool(name, otherwise string) bool {
	value := cmp.Or(q.Get(name), otherwise)
	if value != "true" && value != "false" {
		q.invalid(name)
	}
	return value == "true"
}

func (q *query) invalid(name string) {
	q.err = apiError(http.StatusBadRequest, "invalid_query_string", fmt.Sprintf("Query validation error on property %s.", name))
}
