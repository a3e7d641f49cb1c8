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

// names are those that a text of an Endpoint has in backticks, sorted.
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
	p.with(true, credential{"cred_first", kidOf(t, key)})
	tn := newTenant(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/clients") {
			object(w, r, openObject)
			return
		}
		p.ServeHTTP(w, r)
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
	}
	c := newClient(t, cfg)
	_, err := c.Accepts(ctx, appID, "s3cret")
	require.NoError(t, err)
	require.NoError(t, c.EnableKey(ctx, appID, next, "RS256"))
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
		of := slices.DeleteFunc(slices.Clone(endpoints[:]), func(e *Endpoint) bool {
			if !e.matches(request) {
				return true
			}
			if e == endpointToken {
				return !isSubset(sent, names(e.Sends))
			}
			return !slices.Equal(sent, names(e.Sends))
		})
		if assert.Len(t, of, 1, "%s %s with %s", request.method, request.uri, sent) {
			used[of[0]] = append(used[of[0]], sent...)
		}
	}
	for _, e := range endpoints {
		if assert.Contains(t, used, e, "%s %s is not used", e.Method, e.Path) {
			slices.Sort(used[e])
			assert.Equal(t, names(e.Sends), append([]string{}, slices.Compact(used[e])...), "%s %s", e.Method, e.Path)
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

// TestTheTable has all of it.
func TestTheTable(t *testing.T) {
	table := Table()
	for _, e := range endpoints {
		assert.Contains(t, table, "| `"+e.Method+" "+e.Path+"` | "+e.Sends+" | "+e.Reads+" |")
		assert.False(t, e.AnyOf != nil && e.AllOf != nil)
		assert.Equal(t, e == endpointToken, e.AnyOf == nil && e.AllOf == nil, "only a token needs no scope")
		for _, scope := range slices.Concat(e.AnyOf, e.AllOf) {
			assert.Contains(t, table, "`"+scope+"`")
		}
	}
	for _, field := range applicationFields {
		assert.Contains(t, table, "`"+field+"`")
	}
	for line := range strings.Lines(table) {
		if line != "\n" {
			assert.Contains(t, []int{4, 6}, strings.Count(line, "|"), line)
		}
	}
}

// TestTheDocumentHasTheTable: docs/auth0.md says what the client asks of Auth0.
func TestTheDocumentHasTheTable(t *testing.T) {
	const file = "../../docs/auth0.md"
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		before, rest, _ := strings.Cut(string(text), "| endpoint | what is sent ")
		_, after, _ := strings.Cut(rest, "\n## ")
		require.NoError(t, os.WriteFile(file, []byte(before+Table()+"\n## "+after), 0o600))
		return
	}
	assert.Contains(t, string(text), Table(), "UPDATE_GOLDEN=1 writes it anew")
}
