package tenant

import (
	"bytes"
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

// withToken makes a handler that first applies the rate limit, which counts bad
// requests, too, and then wants a Management API token.
func (t *Tenant) withToken(next func(*call, scopes) answer) func(*call) answer {
	return func(c *call) answer {
		now := t.now()
		if !t.limits.take(c.endpoint, now) {
			return apiError(http.StatusTooManyRequests, "too_many_requests", "Global limit has been reached")
		}
		scheme, value, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			value = ""
		}
		granted, refusal := t.tokens.check(value, now)
		if refusal != nil {
			return *refusal
		}
		return next(c, granted)
	}
}

// readApplication handles GET /api/v2/clients/{id}.
func (t *Tenant) readApplication(c *call, granted scopes) answer {
	if !granted.any(readScopes...) {
		return insufficientScope(readScopes...)
	}
	wanted, bad := t.readFields(c.r.URL.Query(), granted)
	if bad != nil {
		return *bad
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	app := t.apps[c.clientID]
	if app == nil {
		return noSuchClient()
	}
	return jsonAnswer(http.StatusOK, wanted.of(app.object(granted)))
}

// listApplications handles GET /api/v2/clients: an array, or with
// include_totals=true
//
//	{"start":0,"limit":50,"total":1,"clients":[...]}
func (t *Tenant) listApplications(c *call, granted scopes) answer {
	if !granted.any(readScopes...) {
		return insufficientScope(readScopes...)
	}
	query := c.r.URL.Query()
	wanted, bad := t.readFields(query, granted)
	if bad != nil {
		return *bad
	}
	page, bad := readNumber(query, "page", 0, 0, 1<<30)
	if bad != nil {
		return *bad
	}
	perPage, bad := readNumber(query, "per_page", defaultPerPage, 1, maxPerPage)
	if bad != nil {
		return *bad
	}
	totals, bad := readBool(query, "include_totals", false)
	if bad != nil {
		return *bad
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	start := page * perPage
	ids := t.order[min(start, len(t.order)):min(start+perPage, len(t.order))]
	clients := make([]map[string]any, len(ids))
	for i, id := range ids {
		clients[i] = wanted.of(t.apps[id].object(granted))
	}
	if !totals {
		return jsonAnswer(http.StatusOK, clients)
	}
	return jsonAnswer(http.StatusOK, map[string]any{"start": start, "limit": perPage, "total": len(t.order), "clients": clients})
}

// patchable are the members that PATCH knows besides client_secret, with their
// JSON types. What it is sent is accepted; that which Application has is
// changed, too.
var patchable = map[string]string{
	"name": "string", "description": "string", "app_type": "string",
	"token_endpoint_auth_method": "string", "client_authentication_methods": "object",
	"jwt_configuration": "object", "grant_types": "array", "callbacks": "array", "client_metadata": "object",
	"signed_request_object": "object", "token_vault_privileged_access": "object",
}

// updateApplication handles PATCH /api/v2/clients/{id}. Scopes come first, then
// the body, then whether there is such an application.
func (t *Tenant) updateApplication(c *call, granted scopes) answer {
	if !granted.any("update:clients", "update:client_keys", "update:client_credentials") {
		return insufficientScope("update:clients", "update:client_keys", "update:client_credentials")
	}
	var sent map[string]json.RawMessage
	if json.Unmarshal(c.body, &sent) != nil || sent == nil {
		return invalidBody("'Expected type object' on the body.")
	}
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		if wanted := scopesToPatch(name); !granted.any(wanted...) {
			return insufficientScope(wanted...)
		}
	}
	if bad := checkPatch(sent); bad != nil {
		return *bad
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	app := t.apps[c.clientID]
	_, hasSecret := sent["client_secret"]
	switch {
	case app == nil:
		return noSuchClient()
	case hasSecret && app.usesKey():
		return invalidBody("client_secret cannot be set for a client that uses private_key_jwt.")
	case hasSecret && app.AppType == keysOnly:
		return invalidBody("client_secret cannot be set for a client of this app_type.")
	}
	if bad := app.checkSlots(sent, t.slotSize); bad != nil {
		return *bad
	}
	app.apply(sent)
	if hasSecret {
		var secret string
		_ = json.Unmarshal(sent["client_secret"], &secret) // checkPatch has seen that it is one
		app.setSecret(secret, byPatch, t.now(), t.propagation)
	}
	return jsonAnswer(http.StatusOK, app.object(granted))
}

// scopesToPatch are those that each let a token change a member.
func scopesToPatch(name string) []string {
	switch name {
	case "client_secret":
		return []string{"update:client_keys"}
	case "client_authentication_methods", string(SignedRequestObject), string(TokenVault):
		return []string{"update:clients", "update:client_credentials"}
	}
	return []string{"update:clients"}
}

// checkPatch gives the refusal of a PATCH body, nil if it is good. It never
// quotes a value.
func checkPatch(sent map[string]json.RawMessage) *answer {
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		raw := sent[name]
		want, known := patchable[name]
		if name == "client_secret" {
			want, known = "string", true
		}
		var bad answer
		switch found := jsonType(raw); {
		case !known:
			bad = invalidBody(fmt.Sprintf("'Additional properties not allowed: %s'.", name))
		case found != want:
			bad = invalidBody(fmt.Sprintf("'Expected type %s but found type %s' on property %s.", want, found, name))
		case name != "client_secret":
			continue
		default:
			var secret string
			_ = json.Unmarshal(raw, &secret)
			switch n := utf8.RuneCountInString(secret); {
			case n < 1:
				bad = invalidBody("'String is too short (0 chars), minimum 1' on property client_secret (The secret used to sign tokens for the client).")
			case n > maxSecret:
				bad = invalidBody(fmt.Sprintf("'String is too long (%d chars), maximum %d' on property client_secret (The secret used to sign tokens for the client).", n, maxSecret))
			default:
				continue
			}
		}
		return &bad
	}
	_, method := sent["token_endpoint_auth_method"]
	_, methods := sent["client_authentication_methods"]
	if method && methods {
		bad := invalidBody("token_endpoint_auth_method and client_authentication_methods exclude each other.")
		return &bad
	}
	return nil
}

// apply changes the settings that a PATCH or POST has sent.
func (a *application) apply(sent map[string]json.RawMessage) {
	set := func(name string, field any) bool {
		raw, ok := sent[name]
		return ok && json.Unmarshal(raw, field) == nil
	}
	set("name", &a.Name)
	set("description", &a.Description)
	set("app_type", &a.AppType)
	if first := false; set("is_first_party", &first) {
		a.ThirdParty = !first
	}
	set("grant_types", &a.GrantTypes)
	set("callbacks", &a.Callbacks)
	if set("token_endpoint_auth_method", &a.TokenEndpointAuthMethod) {
		a.AuthenticationMethods = nil
	}
	jwt := struct {
		Alg           *string `json:"alg"`
		SecretEncoded *bool   `json:"secret_encoded"`
	}{&a.Alg, &a.SecretEncoded} // what is not sent stays
	if set("jwt_configuration", &jwt) {
		a.withoutJWT = false
	}
	for _, slot := range []Slot{SignedRequestObject, TokenVault} {
		var object map[string]any
		if set(string(slot), &object) {
			a.setSlot(slot, object)
		}
	}
	var methods map[string]any
	if set("client_authentication_methods", &methods) {
		a.AuthenticationMethods, a.TokenEndpointAuthMethod = methods, ""
	}
}

// rotateSecret handles POST /api/v2/clients/{id}/rotate-secret. The new secret
// is never base64-encoded, also where jwt_configuration.secret_encoded says so.
func (t *Tenant) rotateSecret(c *call, granted scopes) answer {
	if !granted.any("update:client_keys") {
		return insufficientScope("update:client_keys")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	app := t.apps[c.clientID]
	switch {
	case app == nil:
		return noSuchClient()
	case app.usesKey():
		return apiError(http.StatusBadRequest, "invalid_request", "The secret of a client that uses private_key_jwt cannot be rotated.")
	case app.AppType == keysOnly:
		return apiError(http.StatusBadRequest, "invalid_request", "A client of this app_type has no secret.")
	}
	app.certs++
	app.setSecret(randomText(64), byRotate, t.now(), t.propagation)
	return jsonAnswer(http.StatusOK, app.object(granted))
}

func (a *application) usesKey() bool {
	_, ok := a.AuthenticationMethods["private_key_jwt"]
	return ok
}

func noSuchClient() answer {
	return apiError(http.StatusNotFound, "inexistent_client", "The client does not exist")
}

func insufficientScope(expected ...string) answer {
	return apiError(http.StatusForbidden, "insufficient_scope",
		"Insufficient scope, expected any of: "+strings.Join(expected, ","))
}

func invalidBody(what string) answer {
	return apiError(http.StatusBadRequest, "invalid_body", "Payload validation error: "+what)
}

func invalidQuery(name, what string) *answer {
	bad := apiError(http.StatusBadRequest, "invalid_query_string",
		fmt.Sprintf("Query validation error: '%s' on property %s.", what, name))
	return &bad
}

func readNumber(query url.Values, name string, otherwise, least, most int) (int, *answer) {
	if !query.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(query.Get(name))
	if err != nil {
		return 0, invalidQuery(name, "Expected type integer but found type string")
	}
	if n < least || n > most {
		return 0, invalidQuery(name, fmt.Sprintf("Value %d is not between %d and %d", n, least, most))
	}
	return n, nil
}

func readBool(query url.Values, name string, otherwise bool) (bool, *answer) {
	switch value := query.Get(name); {
	case !query.Has(name):
		return otherwise, nil
	case slices.Contains([]string{"true", "false"}, value):
		return value == "true", nil
	}
	return false, invalidQuery(name, "Expected type boolean but found type string")
}

// jsonType names the type of a JSON value as JSON schemas do.
func jsonType(raw json.RawMessage) string {
	switch raw = bytes.TrimSpace(raw); raw[0] {
	case '"':
		return "string"
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	default:
		return "number"
	}
}
