package auth0

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	opGet    = "get application"
	opList   = "list applications"
	opSet    = "set secret"
	opRotate = "rotate secret"
)

// Application is what the token may see of an application. A field is absent
// (nil, or "" in AppType) where it is not set, as in most applications that were
// made by API or Terraform, and where the token may not read it: Hidden tells
// the two apart. ClientID, Name and AppType are fit to be shown. An Application is
// printed and marshalled without the secret.
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

	ClientSecret *string `json:"-"`

	// Hidden are the fields that the token may not read: their absence says nothing.
	Hidden []string `json:"-"`
}

// Hides says whether a field, such as "client_secret", is one of Hidden.
func (a *Application) Hides(field string) bool { return slices.Contains(a.Hidden, field) }

// KeysInUse is how many keys the application may log in with, by private_key_jwt. 0:
// none, or it is not shown.
func (a *Application) KeysInUse() int {
	var method struct {
		Credentials []credential `json:"credentials"`
	}
	if json.Unmarshal(a.ClientAuthenticationMethods[methodPrivateKey], &method) != nil {
		return 0
	}
	return len(method.Credentials)
}

// JWTConfiguration says how ID tokens of an application are signed.
type JWTConfiguration struct {
	Alg           string `json:"alg"`            // with HS256 the client secret is the key; "": not set, so HS256
	SecretEncoded *bool  `json:"secret_encoded"` // the key is the secret base64-decoded
}

// Format implements fmt.Formatter: no verb shows the secret.
func (a Application) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(a.String())) }

// String names the application and says whether its secret is known.
func (a Application) String() string {
	secret := "unknown"
	if a.ClientSecret != nil {
		secret = "[redacted]"
	}
	return fmt.Sprintf("auth0.Application{ClientID:%q Name:%q AppType:%q ClientSecret:%s}", a.ClientID, a.Name, a.AppType, secret)
}

// Application asks Auth0 for an application, by GET /api/v2/clients/{id}.
// Errors: Refused with CodeUnknownApplication if there is none.
func (c *Client) Application(ctx context.Context, clientID string) (*Application, error) {
	body, asked, sure, err := c.read(ctx, request{op: opGet, endpoint: endpointApplication, clientID: clientID})
	if err != nil {
		return nil, err
	}
	app, err := readApplication(opGet, clientID, body)
	if err != nil {
		return nil, err
	}
	app.Hidden = hiddenFields(asked, sure, body)
	return app, nil
}

// read asks for applications, with the fields that the token's scopes cover. If Auth0
// says that the token may not read some of them, it asks again without those. fields
// are those that it has asked for; sure: by its scopes the token may read them all.
func (c *Client) read(ctx context.Context, r request) (body []byte, fields []string, sure bool, err error) {
	if err := r.check(); err != nil {
		return nil, nil, false, err
	}
	tok, err := c.tokens.get(ctx)
	if err != nil {
		return nil, nil, false, err
	}
	fields, sure = fieldsFor(tok.scopes), tok.scopes != nil
	if left := tok.readable.Load(); left != nil && time.Since(left.at) < believeRefusal { // as it has turned out
		fields, sure = left.fields, false
	}
	for attempt := 1; ; attempt++ {
		query := url.Values{"fields": {strings.Join(fields, ",")}, "include_fields": {"true"}}
		maps.Copy(query, r.query)
		asking := r
		asking.query = query
		body, err = c.do(ctx, asking)
		refused, ok := errors.AsType[*Error](err)
		if !ok || refused.fields == nil || slices.Equal(fields, openFields.fields) {
			return body, fields, sure, err
		}
		left := without(fields, refused.fields)
		if len(left) == len(fields) || attempt > 1 { // they are not named, or one by one
			left = openFields.fields
		}
		fields, sure = left, false
		tok.readable.Store(&readable{fields: fields, at: time.Now()})
	}
}

// believeRefusal is for how long the client does not ask again, with the same token,
// for fields that were refused.
const believeRefusal = 5 * time.Minute

// readable are the fields that are left after Auth0 has refused to show some.
type readable struct {
	fields []string
	at     time.Time // of the refusal
}

func without(fields, some []string) []string {
	return slices.DeleteFunc(slices.Clone(fields), func(field string) bool { return slices.Contains(some, field) })
}

// hiddenFields are those that the token may not read: those that were not asked for
// and, if not sure, groups of which the application has no field. Of a group that can be
// read every application has one.
func hiddenFields(asked []string, sure bool, object []byte) []string {
	shown := asked
	if !sure {
		var has map[string]json.RawMessage
		_ = json.Unmarshal(object, &has) // what is no object has no fields
		for _, group := range fieldGroups {
			if !slices.ContainsFunc(group.fields, func(field string) bool { return has[field] != nil }) {
				shown = without(shown, group.fields)
			}
		}
	}
	return without(applicationFields, shown)
}

// maxPerPage is how many applications Auth0 gives at a time at most.
const maxPerPage = 100

// ApplicationPage is a part of the tenant's applications.
type ApplicationPage struct {
	Applications []Application
	Total        int // of the tenant; -1: the answer did not say
}

// Applications lists applications, by GET /api/v2/clients: perPage (1 to 100) of them,
// after page*perPage others.
func (c *Client) Applications(ctx context.Context, page, perPage int) (ApplicationPage, error) {
	body, asked, sure, err := c.read(ctx, request{op: opList, endpoint: endpointApplications, query: url.Values{
		"include_totals": {"true"}, "page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(min(max(perPage, 1), maxPerPage))},
	}})
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
		app.Hidden = hiddenFields(asked, sure, object)
		found.Applications = append(found.Applications, *app)
	}
	return found, nil
}

// SetSecret sets an application's secret, by PATCH /api/v2/clients/{id} with
// {"client_secret":"..."} and nothing else. It is sent once (again only after a
// 401, with a new token). From Auth0's 2xx on the old secret is dead, but for up to
// 30 s of propagation. After an Ambiguous error the secret may be set or not: it is
// safe to send the same one again.
func (c *Client) SetSecret(ctx context.Context, clientID, secret string) error {
	// JSON cannot carry other bytes: Auth0 would be given another secret.
	if secret == "" || !utf8.ValidString(secret) {
		return notSent(opSet, "the secret is empty or not UTF-8")
	}
	app, err := c.change(ctx, request{
		op: opSet, endpoint: endpointSetSecret, clientID: clientID, body: map[string]string{"client_secret": secret},
	})
	if err == nil && app.ClientSecret != nil && *app.ClientSecret != secret {
		return unreadable(opSet, http.StatusOK, "the answer has another secret than the one that was sent")
	}
	return err
}

// RotateSecret has Auth0 make a new secret for an application, by
// POST /api/v2/clients/{id}/rotate-secret with an empty body. It is sent once
// (again only after a 401, with a new token). "" without an error means that there
// is a new secret which the token may not read. After an Ambiguous error there may
// be one that nobody knows: read it, or set one with SetSecret.
func (c *Client) RotateSecret(ctx context.Context, clientID string) (string, error) {
	app, err := c.change(ctx, request{op: opRotate, endpoint: endpointRotateSecret, clientID: clientID})
	if err != nil || app.ClientSecret == nil {
		return "", err
	}
	return *app.ClientSecret, nil
}

// change carries out a request whose answer is the application that it changes.
func (c *Client) change(ctx context.Context, r request) (*Application, error) {
	body, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	return readApplication(r.op, r.clientID, body)
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
	for _, text := range []*string{&app.ClientID, &app.Name, &app.AppType} {
		*text = plain(*text)
	}
	if object.ClientSecret != nil && *object.ClientSecret != "" {
		app.ClientSecret = object.ClientSecret
	}
	return &app, true
}
