package auth0

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	opGet    = "get application"
	opList   = "list applications"
	opSet    = "set secret"
	opRotate = "rotate secret"
)

// applicationFields are those of a client object that Application has.
var applicationFields = strings.Join([]string{
	"client_id", "name", "app_type", "global", "is_first_party",
	"token_endpoint_auth_method", "client_authentication_methods",
	"jwt_configuration", "grant_types", "client_secret",
}, ",")

// Application is what the token may see of an application. Auth0 leaves out
// what the token's scopes do not cover: absent (nil, or "" in AppType) means
// unknown, never no.
//
// Printing an Application in any way, or making JSON of it, leaves out the
// secret.
type Application struct {
	ClientID string `json:"client_id"`
	Name     string `json:"name"`
	AppType  string `json:"app_type"` // native, spa, regular_web, non_interactive, or a legacy kind

	Global       *bool `json:"global"`
	IsFirstParty *bool `json:"is_first_party"`

	// How the application authenticates: by client_secret_post,
	// client_secret_basic, or none; or, if ClientAuthenticationMethods is there,
	// by the methods that are its keys: private_key_jwt, tls_client_auth,
	// self_signed_tls_client_auth.
	TokenEndpointAuthMethod     *string                    `json:"token_endpoint_auth_method"`
	ClientAuthenticationMethods map[string]json.RawMessage `json:"client_authentication_methods"`

	JWTConfiguration *JWTConfiguration `json:"jwt_configuration"`
	GrantTypes       []string          `json:"grant_types"`

	ClientSecret *string `json:"-"` // nil: the token may not read it
}

// JWTConfiguration says how ID tokens of an application are signed.
type JWTConfiguration struct {
	Alg               string `json:"alg"`                 // with HS256 the client secret is the key; "" = unknown
	SecretEncoded     *bool  `json:"secret_encoded"`      // the key is the secret base64-decoded
	LifetimeInSeconds *int64 `json:"lifetime_in_seconds"` // of ID tokens
}

// Format implements fmt.Formatter: no verb shows the secret.
func (a Application) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(a.String())) }

// String names the application and says whether its secret is known.
func (a Application) String() string {
	secret := "unknown"
	if a.ClientSecret != nil {
		secret = redacted
	}
	return fmt.Sprintf("auth0.Application{ClientID:%q Name:%q AppType:%q ClientSecret:%s}", a.ClientID, a.Name, a.AppType, secret)
}

// Application asks Auth0 for an application, by GET /api/v2/clients/{id}.
// Errors: Refused with Code "inexistent_client" if there is none.
func (c *Client) Application(ctx context.Context, clientID string) (*Application, error) {
	path, failure := clientPath(opGet, clientID)
	if failure != nil {
		return nil, failure
	}
	query := url.Values{"fields": {applicationFields}, "include_fields": {"true"}}
	body, err := c.do(ctx, request{op: opGet, method: http.MethodGet, path: path + "?" + query.Encode(), client: c.retrying})
	if err != nil {
		return nil, err
	}
	return readApplication(opGet, clientID, body)
}

// maxPerPage is how many applications Auth0 gives at a time at most.
const maxPerPage = 100

// ApplicationPage is a part of the tenant's applications.
type ApplicationPage struct {
	Applications []Application
	Total        int // of the tenant; -1: the answer did not say
}

// Applications lists applications, by GET /api/v2/clients: perPage (1 to 100)
// of them, those that come after page times as many.
func (c *Client) Applications(ctx context.Context, page, perPage int) (ApplicationPage, error) {
	query := url.Values{
		"fields": {applicationFields}, "include_fields": {"true"}, "include_totals": {"true"},
		"page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(min(max(perPage, 1), maxPerPage))},
	}
	body, err := c.do(ctx, request{op: opList, method: http.MethodGet, path: "/clients?" + query.Encode(), client: c.retrying})
	if err != nil {
		return ApplicationPage{}, err
	}
	var answer struct {
		Total   *int              `json:"total"`
		Clients []json.RawMessage `json:"clients"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Clients == nil {
		return ApplicationPage{}, unreadable(opList, http.StatusOK, "the answer is not a list of clients")
	}
	found := ApplicationPage{Total: -1}
	if answer.Total != nil {
		found.Total = *answer.Total
	}
	for _, object := range answer.Clients {
		app, ok := decodeApplication(object)
		if !ok || app.ClientID == "" {
			return ApplicationPage{}, unreadable(opList, http.StatusOK, "the answer has something other than clients in its list")
		}
		found.Applications = append(found.Applications, *app)
	}
	return found, nil
}

// SetSecret sets an application's secret, by PATCH /api/v2/clients/{id} with
// {"client_secret":"..."} and nothing else. It is sent once (again only after a
// 401, with a new token). From Auth0's 2xx on the old secret is dead, save for
// up to 30 s of propagation.
//
// After an Ambiguous error the secret may or may not be set; to send the same
// one again is safe.
func (c *Client) SetSecret(ctx context.Context, clientID, secret string) error {
	path, failure := clientPath(opSet, clientID)
	if failure != nil {
		return failure
	}
	// JSON cannot carry other bytes: Auth0 would be given another secret.
	if secret == "" || !utf8.ValidString(secret) {
		return notSent(opSet, "the secret is empty or not UTF-8")
	}
	body, err := json.Marshal(map[string]string{"client_secret": secret})
	if err != nil {
		return notSent(opSet, "the secret cannot be encoded")
	}
	body, err = c.do(ctx, request{op: opSet, method: http.MethodPatch, path: path, body: body, secret: secret, client: c.once})
	if err != nil {
		return err
	}
	app, err := readApplication(opSet, clientID, body)
	if err != nil {
		return err
	}
	if app.ClientSecret != nil && *app.ClientSecret != secret {
		return unreadable(opSet, http.StatusOK, "the answer has another secret than the one that was sent")
	}
	return nil
}

// RotateSecret has Auth0 make a new secret for an application, by
// POST /api/v2/clients/{id}/rotate-secret with an empty body. It is sent once
// (again only after a 401, with a new token).
//
// "" without an error means that there is a new secret, but the token may not
// read it. After an Ambiguous error there may be one that nobody knows: read
// it, or set one with SetSecret.
func (c *Client) RotateSecret(ctx context.Context, clientID string) (string, error) {
	path, failure := clientPath(opRotate, clientID)
	if failure != nil {
		return "", failure
	}
	body, err := c.do(ctx, request{op: opRotate, method: http.MethodPost, path: path + "/rotate-secret", client: c.once})
	if err != nil {
		return "", err
	}
	app, err := readApplication(opRotate, clientID, body)
	if err != nil || app.ClientSecret == nil {
		return "", err
	}
	return *app.ClientSecret, nil
}

// clientPath gives /clients/{id}. An empty ID would name all applications, and
// "." or ".." something else yet: PathEscape leaves them as they are.
func clientPath(op, clientID string) (string, *Error) {
	switch clientID {
	case "", ".", "..":
		return "", notSent(op, "not a client ID")
	}
	return "/clients/" + url.PathEscape(clientID), nil
}

// readApplication reads the client object in a 2xx answer, which must not be
// that of another application.
func readApplication(op, clientID string, body []byte) (*Application, error) {
	app, ok := decodeApplication(body)
	if !ok {
		return nil, unreadable(op, http.StatusOK, "the answer is not a client object")
	}
	if app.ClientID != "" && app.ClientID != clientID {
		return nil, unreadable(op, http.StatusOK, "the answer is about another client")
	}
	return app, nil
}

func decodeApplication(body []byte) (*Application, bool) {
	var object struct {
		Application
		ClientSecret *string `json:"client_secret"`
	}
	// null, too, would be read without an error.
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) || json.Unmarshal(body, &object) != nil {
		return nil, false
	}
	app := object.Application
	if object.ClientSecret != nil && *object.ClientSecret != "" {
		app.ClientSecret = object.ClientSecret
	}
	return &app, true
}
