package auth0

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var inBackticks = regexp.MustCompile("`([^`]+)`")

// described is what docs/auth0.md says of each endpoint. That the requests send just
// this is TestEveryRequestIsOfAnEndpoint.
var described = map[*Endpoint]struct {
	sends   string // members of the body, or of the query
	reads   string // members of the answer
	without string // what happens without the scopes
}{
	endpointToken: {
		"`grant_type`, `client_id`, `client_secret` (or `client_assertion_type`, `client_assertion`), `audience`, `scope`, `organization`",
		"`access_token`, `token_type`, `expires_in`, `scope`", "",
	},
	endpointRevoke: {
		"`client_id`, `client_assertion_type`, `client_assertion`, `token` (one that exists nowhere)", "nothing", "",
	},
	endpointApplications: {
		"`page`, `per_page`, `include_totals`, `include_fields`, `fields`", "`total`, `clients`: see the fields below",
		"`applications` and `roles-import` are refused",
	},
	endpointApplication: {
		"`include_fields`, `fields`", "see the fields below",
		"a role is made without a check, which a warning says; it needs `client_secret` or `skip_import`",
	},
	endpointSetSecret: {"`client_secret`", "`client_id`, and `client_secret` if it is shown", withoutRotation},
	endpointRotateSecret: {
		"nothing", "`client_id`, and `client_secret` if it is shown; else the engine sets one of its own", withoutRotation,
	},
	endpointCredentials:      {"nothing", "`id`, `kid`, `name` of each", withoutKeyScope},
	endpointCreateCredential: {"`credential_type`, `name`, `pem`, `alg`, `kid`", "`id`", withoutKeyScope},
	endpointEnableKeys:       {"`client_authentication_methods`", "`client_id`", withoutKeyScope},
	endpointDeleteCredential: {"nothing", "nothing", withoutKeyScope},
}

const (
	withoutRotation = "no secret can be rotated: `config` is refused"
	withoutKeyScope = "no key can be rotated, neither the engine's own nor a role's"
)

// withoutFields is what happens where a token does not show the fields of a fieldGroup.
var withoutFields = []string{
	"a role is made without a check, which a warning says",
	"whether the application is fit to be a role, third-party, or signs ID tokens with its secret is checked in part, which a warning says",
	"a new role needs `client_secret` or `skip_import`, and cannot be one of keys; drift is not seen",
}

// names are those that a text of described has in backticks, sorted.
func names(text string) []string {
	found := []string{}
	for _, match := range inBackticks.FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return found
}

// sends are the members of a request's body and query, sorted.
func (s seen) sends(t *testing.T) []string {
	t.Helper()
	u, err := url.Parse(s.uri)
	require.NoError(t, err)
	found := slices.Collect(maps.Keys(u.Query()))
	if strings.HasPrefix(s.header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, err := url.ParseQuery(s.body)
		require.NoError(t, err)
		found = slices.AppendSeq(found, maps.Keys(form))
	} else if s.body != "" {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(s.body), &object))
		found = slices.AppendSeq(found, maps.Keys(object))
	}
	slices.Sort(found)
	return found
}

// matches says whether a request goes to an endpoint.
func (e *Endpoint) matches(s seen) bool {
	path, _, _ := strings.Cut(s.uri, "?")
	pattern := strings.NewReplacer(`\{id\}`, "[^/]+", `\{credential\}`, "[^/]+").Replace(regexp.QuoteMeta(e.Path))
	return e.Method == s.method && regexp.MustCompile("^"+pattern+"$").MatchString(path)
}

// TestEveryRequestIsOfAnEndpoint, and sends what that says; and every endpoint is used.
func TestEveryRequestIsOfAnEndpoint(t *testing.T) {
	key, next := testKeys()[0], testKeys()[1]
	p := &keyPool{}
	p.with(true, credential{ID: "cred_first", KID: kidOf(t, key)})
	tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == endpointRevoke.Path:
			reply(w, 200, "")
		case strings.HasSuffix(r.URL.Path, "/clients"):
			object(w, r, openObject)
		default:
			p.ServeHTTP(w, r)
		}
	})
	tn.grants(append([]string{ScopeReadClientKeys}, KeyScopes...)...)
	cfg := tn.config()
	byKey := cfg
	byKey.Secrets, byKey.SigningAlgorithm = []string{key}, "RS256"
	ctx := t.Context()
	for _, c := range []*Client{newClient(t, cfg), newClient(t, byKey)} {
		_, err := c.Application(ctx, appID)
		require.NoError(t, err)
		_, err = c.Applications(ctx, 0, 10)
		require.NoError(t, err)
		_, err = c.NewToken(ctx, []string{ScopeReadClients})
		require.NoError(t, err)
		_, err = c.Token(ctx, TokenRequest{ClientID: appID, Secret: "s3cret", Organization: "org_1"})
		require.NoError(t, err)
	}
	c := newClient(t, cfg)
	_, err := c.Token(ctx, TokenRequest{ClientID: appID, Assertion: "signed"})
	require.NoError(t, err)
	_, err = c.Accepts(ctx, appID, "s3cret")
	require.NoError(t, err)
	accepted, err := c.AcceptsKey(ctx, appID, key, "RS256")
	require.NoError(t, err)
	assert.True(t, accepted)
	require.NoError(t, c.EnableKey(ctx, appID, next, "RS256"))
	_, err = c.EnabledKeys(ctx, appID)
	require.NoError(t, err)
	found, err := c.RetireKey(ctx, appID, key)
	require.NoError(t, err)
	assert.True(t, found)
	tn.on(replies(200, openObject))
	require.NoError(t, c.SetSecret(ctx, appID, "s3cret"))
	_, err = c.RotateSecret(ctx, appID)
	require.NoError(t, err)

	used := map[*Endpoint][]string{} // what was sent to it
	for _, request := range slices.Concat(tn.asked, tn.calls) {
		sent := request.sends(t)
		of := slices.DeleteFunc(slices.Clone(endpoints), func(e *Endpoint) bool {
			if !e.matches(request) {
				return true
			}
			if e == endpointToken {
				return !isSubset(sent, names(described[e].sends))
			}
			return !slices.Equal(sent, names(described[e].sends))
		})
		if assert.Len(t, of, 1, "%s %s with %s", request.method, request.uri, sent) {
			used[of[0]] = append(used[of[0]], sent...)
		}
	}
	for _, e := range endpoints {
		if assert.Contains(t, used, e, "%s %s is not used", e.Method, e.Path) {
			slices.Sort(used[e])
			assert.Equal(t, names(described[e].sends), append([]string{}, slices.Compact(used[e])...), "%s %s", e.Method, e.Path)
		}
	}
}

func isSubset(some, all []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// TestEveryFieldThatIsAskedForIsRead, and is in one group.
func TestEveryFieldThatIsAskedForIsRead(t *testing.T) {
	seen := map[string]bool{}
	for _, field := range applicationFields {
		assert.False(t, seen[field], field)
		seen[field] = true
		values := map[string]string{
			"client_id": `"x"`, "name": `"x"`, "app_type": `"x"`, "client_secret": `"x"`, "token_endpoint_auth_method": `"x"`,
			"global": `true`, "is_first_party": `true`, "client_authentication_methods": `{"x":{}}`, "jwt_configuration": `{"alg":"x"}`,
		}
		app, ok := decodeApplication([]byte(fmt.Sprintf(`{%q:%s}`, field, values[field])))
		require.True(t, ok)
		assert.NotEqual(t, &Application{}, app, field)
	}
	assert.Len(t, seen, len(openFields.fields)+len(settingFields.fields)+len(secretFields.fields))
}

// table is what the client asks of Auth0, as two tables of Markdown: endpoints, and
// fields of applications.
func table(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| endpoint | what is sent | what is read | scope | without it |\n|---|---|---|---|---|\n")
	for _, e := range endpoints {
		require.Contains(t, described, e)
		require.Equal(t, e == endpointToken || e == endpointRevoke, e.Scopes == nil, "only what needs no token needs no scope")
		d, scope := described[e], "none"
		if e.Scopes != nil {
			scope = quoted(e.Scopes, " or ")
		}
		b.WriteString("| " + strings.Join([]string{"`" + e.name() + "`", d.sends, d.reads, scope, d.without}, " | ") + " |\n")
	}
	b.WriteString("\n| fields of an application | scope, one of | without it |\n|---|---|---|\n")
	for i, g := range fieldGroups {
		b.WriteString("| " + quoted(g.fields, ", ") + " | " + quoted(g.scopes, ", ") + " | " + withoutFields[i] + " |\n")
	}
	return b.String()
}

func quoted(names []string, between string) string {
	return "`" + strings.Join(names, "`"+between+"`") + "`"
}

// TestTheDocumentHasTheTable: docs/auth0.md says what the client asks of Auth0.
func TestTheDocumentHasTheTable(t *testing.T) {
	const file = "../../docs/auth0.md"
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		before, rest, _ := strings.Cut(string(text), "| endpoint | what is sent ")
		_, after, _ := strings.Cut(rest, "\n## ")
		require.NoError(t, os.WriteFile(file, []byte(before+table(t)+"\n## "+after), 0o600))
		return
	}
	assert.Contains(t, string(text), table(t), "UPDATE_GOLDEN=1 writes it anew")
}
