package auth0

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asked are the fields that each call to the API has asked for.
func (tn *tenant) fields(t *testing.T) [][]string {
	t.Helper()
	tn.mu.Lock()
	defer tn.mu.Unlock()
	var all [][]string
	for _, call := range tn.calls {
		u, err := url.Parse(call.uri)
		require.NoError(t, err)
		assert.Equal(t, "true", u.Query().Get("include_fields"))
		all = append(all, strings.Split(u.Query().Get("fields"), ","))
	}
	return all
}

// readers read an application, by itself or in the list.
var readers = map[string]func(*testing.T, *Client) (*Application, error){
	"get": func(t *testing.T, c *Client) (*Application, error) { return c.Application(t.Context(), appID) },
	"list": func(t *testing.T, c *Client) (*Application, error) {
		page, err := c.Applications(t.Context(), 0, 1)
		if err != nil {
			return nil, err
		}
		require.Len(t, page.Applications, 1)
		return &page.Applications[0], nil
	},
}

// object answers a request with a client object, be it for one or for the list.
func object(w http.ResponseWriter, r *http.Request, text string) {
	if strings.HasSuffix(r.URL.Path, "/clients") {
		text = `{"total":1,"clients":[` + text + `]}`
	}
	reply(w, 200, text)
}

const openObject = `{"client_id":"app1234567890","name":"Shop"}`

func TestFieldsAreAskedForByScopes(t *testing.T) {
	open, settings, secrets := openFields.fields, settingFields.fields, secretFields.fields
	assert.Equal(t, []string{"client_id", "name", "app_type"}, open)
	assert.Equal(t, []string{"global", "is_first_party", "token_endpoint_auth_method", "jwt_configuration"}, settings)
	assert.Equal(t, []string{"client_authentication_methods", "client_secret"}, secrets)
	for name, tt := range map[string]struct {
		scopes        []string
		object        string
		asked, hidden []string
	}{
		"read:clients":            {[]string{ScopeReadClients, ScopeUpdateClientKeys}, openObject, slices.Concat(open, settings), secrets},
		"read:client_keys":        {[]string{ScopeReadClientKeys}, openObject, applicationFields, []string{}},
		"read:client_credentials": {[]string{ScopeReadClientCredentials}, openObject, slices.Concat(open, secrets), settings},
		"no read scope":           {[]string{ScopeUpdateClientKeys}, openObject, open, slices.Concat(settings, secrets)},
		"no scopes":               {[]string{}, openObject, open, slices.Concat(settings, secrets)},
		"unknown":                 {nil, openObject, applicationFields, slices.Concat(settings, secrets)},
		"unknown, with settings":  {nil, `{"client_id":"app1234567890","global":false}`, applicationFields, secrets},
		"unknown, with a secret":  {nil, `{"client_id":"app1234567890","client_secret":"x"}`, applicationFields, settings},
		"unknown, with null":      {nil, `{"client_id":"app1234567890","token_endpoint_auth_method":null,"client_secret":null}`, applicationFields, []string{}},
	} {
		for which, read := range readers {
			t.Run(name+" "+which, func(t *testing.T) {
				tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) { object(w, r, tt.object) })
				tn.grants(tt.scopes...)
				if tt.scopes != nil && len(tt.scopes) == 0 {
					tn.onToken(replies(200, `{"access_token":"t","scope":"","expires_in":60}`))
				}
				app, err := read(t, tn.client(t))
				require.NoError(t, err)
				assert.Equal(t, [][]string{tt.asked}, tn.fields(t))
				assert.Equal(t, tt.hidden, app.Hidden)
				for _, field := range applicationFields {
					assert.Equal(t, slices.Contains(tt.hidden, field), app.Hides(field), field)
				}
			})
		}
	}
}

// TestFieldsThatAreRefused: exactly one more request, without them.
func TestFieldsThatAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		message string
		asked   []string // by the second request
	}{
		"one":          {"You cannot read the following fields: client_secret", without(applicationFields, []string{"client_secret"})},
		"two":          {"You cannot read the following fields: client_secret,client_authentication_methods.", without(applicationFields, secretFields.fields)},
		"in quotes":    {"you CANNOT read the following fields: 'client_secret', \"jwt_configuration\"", without(applicationFields, []string{"client_secret", "jwt_configuration"})},
		"unknown ones": {"You cannot read the following fields: signing_keys, xclient_secret", openFields.fields},
		"none":         {"You cannot read the following fields", openFields.fields},
		"all":          {"You cannot read the following fields: " + strings.Join(applicationFields, ", "), openFields.fields},
	} {
		for _, code := range []string{"", "insufficient_scope", "invalid_query_string", "something_new"} {
			for which, read := range readers {
				t.Run(name+" "+which+" "+code, func(t *testing.T) {
					first := true
					tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
						if first {
							first = false
							reply(w, 403, refusal(403, code, tt.message))
							return
						}
						object(w, r, `{"client_id":"app1234567890","name":"Shop","global":false}`)
					})
					tn.grants(ScopeReadClientKeys)
					app, err := read(t, tn.client(t))
					require.NoError(t, err)
					assert.Equal(t, [][]string{applicationFields, tt.asked}, tn.fields(t))
					assert.Subset(t, app.Hidden, without(applicationFields, tt.asked))
					assert.Equal(t, "Shop", app.Name)
				})
			}
		}
	}
}

// TestALastRefusalOfFieldsIsTheError: after that of the fields that any scope shows.
func TestALastRefusalOfFieldsIsTheError(t *testing.T) {
	for which, read := range readers {
		for _, scopes := range [][]string{nil, {ScopeReadClientKeys}, {ScopeReadClients}} {
			tn := newTenant(t, replies(403, refusal(403, "", "You cannot read the following fields: client_secret")))
			tn.grants(scopes...)
			_, err := read(t, tn.client(t))
			e := asError(t, err)
			assert.Equal(t, Error{Class: Refused, Op: e.Op, Status: 403, Message: reasonFields, fields: []string{"client_secret"}}, *e)
			_, calls := tn.counts()
			assert.LessOrEqual(t, calls, 3, which)
		}
	}
}

// TestOtherRefusalsAreNotAskedAgain: the same status and code, and another message.
func TestOtherRefusalsAreNotAskedAgain(t *testing.T) {
	for which, read := range readers {
		for _, message := range []string{"Insufficient scope, expected any of: read:clients", "Please upgrade your subscription", "client_secret", ""} {
			tn := newTenant(t, replies(403, refusal(403, "insufficient_scope", message)))
			_, err := read(t, tn.client(t))
			assert.Equal(t, Refused, ClassOf(err), which)
			_, calls := tn.counts()
			assert.Equal(t, 1, calls, "%s %s", which, message)
		}
	}
}

// TestNamesAreFitToBeShown, whatever they are in Auth0.
func TestNamesAreFitToBeShown(t *testing.T) {
	for name, want := range map[string]string{
		`\u001b]0;title\u0007Shop\r\nX`:        "]0;titleShopX",
		`\u202eSh\u200bop\u2028\u0000\ud800`:   "Shop",
		strings.Repeat("a", maxText+1):         strings.Repeat("a", maxText-1) + "…",
		strings.Repeat(`\u001b`, 300) + `Shop`: "Shop",
	} {
		for which, read := range readers {
			tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
				object(w, r, fmt.Sprintf(`{"client_id":"app1234567890","name":"%s","app_type":"%s"}`, name, name))
			})
			app, err := read(t, tn.client(t))
			require.NoError(t, err)
			assert.Equal(t, want, app.Name, which)
			assert.Equal(t, want, app.AppType, which)
		}
	}
}

// TestAGroupWithARefusedFieldIsHidden, so far as the answer does not show it: the same
// scopes show all of a group, and where they are not known others may be hidden, too.
func TestAGroupWithARefusedFieldIsHidden(t *testing.T) {
	settings := settingFields.fields
	for name, tt := range map[string]struct {
		scopes  []string
		refused string
		object  string
		hidden  []string
	}{
		"the rest of the group": {nil, "client_secret", `{"client_id":"app1234567890","global":false}`, secretFields.fields},
		"other groups":          {nil, "client_secret", openObject, slices.Concat(settings, secretFields.fields)},
		"but it is shown":       {nil, "client_secret", `{"client_id":"app1234567890","global":false,"client_authentication_methods":{}}`, []string{"client_secret"}},
		"scopes that do not do": {[]string{ScopeReadClientKeys}, "client_secret", `{"client_id":"app1234567890","global":false}`, secretFields.fields},
	} {
		for which, read := range readers {
			t.Run(name+" "+which, func(t *testing.T) {
				tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
					if fields := strings.Split(r.URL.Query().Get("fields"), ","); slices.Contains(fields, tt.refused) {
						reply(w, 403, refusal(403, "", "You cannot read the following fields: "+tt.refused))
						return
					}
					object(w, r, tt.object)
				})
				tn.grants(tt.scopes...)
				app, err := read(t, tn.client(t))
				require.NoError(t, err)
				assert.ElementsMatch(t, tt.hidden, app.Hidden)
			})
		}
	}
}
