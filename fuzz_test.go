package auth0secrets

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/errutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/requirements"
	"vault-plugin-secrets-auth0/internal/rotation"
)

var (
	fuzzOperations = []logical.Operation{
		logical.CreateOperation, logical.UpdateOperation, logical.PatchOperation, logical.ReadOperation, logical.ListOperation, logical.DeleteOperation,
	}
	fuzzPaths = []string{
		"config", "roles/app", "roles/", "creds/app", "static-creds/app", "rotate/app", "rotate", "rotate-all", "rotate-role/app", "rotate-root", "status",
		"roles-import", "applications/", "token-roles/app", "token-roles/", "tokens/app",
	}
)

// FuzzRequests: whatever is sent to a path, nothing panics, an error has a form
// that reaches the caller with a status of its own and quotes no secret, and
// what there was is still served.
func FuzzRequests(f *testing.F) {
	for i, path := range fuzzPaths {
		f.Add(uint8(1), path, `{"client_id":"x","ttl":"5m","force":true}`)
		f.Add(uint8(i), path, `{"domain":"é","rotation_schedule":"TZ=","rotation_period":-1,"ttl":1e300,"scopes":[{}],"page":"0x","ca_cert":null}`)
	}
	f.Add(uint8(1), "roles/x%2fy", `{"client_id":"../..","skip_import":true,"name":"other"}`)
	f.Add(uint8(1), "config", `{"client_secret":{"a":"b"},"private_key":["-----BEGIN PRIVATE KEY-----"]}`)
	f.Fuzz(func(t *testing.T, operation uint8, path, body string) {
		var data map[string]any
		if len(path) > 200 || json.Unmarshal([]byte(body), &data) != nil {
			t.Skip()
		}
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID})
		op := fuzzOperations[int(operation)%len(fuzzOperations)]
		_, err := env.request(op, path, data)
		var coded logical.HTTPCodedError
		var user errutil.UserError
		fits := err == nil || errors.As(err, &coded) || errors.As(err, &user) ||
			errors.Is(err, logical.ErrUnsupportedPath) || errors.Is(err, logical.ErrUnsupportedOperation)
		assert.True(t, fits, "%s %s: %T %v", op, path, err, err)
		if op == logical.DeleteOperation && path == "roles/app" {
			return
		}
		assert.Contains(t, env.read("creds/app")[fieldClientSecrets], env.auth0.secret(testAppID))
	})
}

// FuzzStoredEntries: whatever is found in storage, the engine starts, answers
// and stops, and other roles are not affected.
func FuzzStoredEntries(f *testing.F) {
	for _, fixture := range storedFixtures(f) {
		f.Add(fixture.key, fixture.value)
	}
	f.Add("role/x", `{"format":1,"rotation":{"current":null,"next":{"version":-5}},"rotation_schedule":"* * * * *"}`)
	f.Add("config", `{"format":1,"request_timeout":-1,"rotation":{}}`)
	f.Add("rotate-all", `{"number":99999999999,"started_at":"0001-01-01T00:00:00Z"}`)
	f.Fuzz(func(t *testing.T, key, value string) {
		if len(key) > 100 || strings.Contains(key, "..") || strings.HasPrefix(key, "/") || strings.HasSuffix(key, "/") || key == "" || key == "role/app" {
			t.Skip()
		}
		env := configuredEnv(t)
		env.write("roles/app", map[string]any{fieldClientID: testAppID})
		env.stop()
		require.NoError(t, env.storage.Put(t.Context(), &logical.StorageEntry{Key: key, Value: []byte(value)}))
		env.start()
		for _, path := range []string{"config", "roles/x", "creds/x", "rotate-all", "status", "token-roles/x", "rotate/x"} {
			_, _ = env.request(logical.ReadOperation, path, nil)
		}
		_, _ = env.request(logical.ListOperation, "roles/", nil)
		_, _ = env.request(logical.UpdateOperation, "rotate/x", nil)
		assert.Contains(t, env.read("creds/app")[fieldClientSecrets], testAppSecret)
	})
}

// FuzzRoleNames: whatever an application is called, its role has a name that the
// paths know.
func FuzzRoleNames(f *testing.F) {
	valid := regexp.MustCompile("^" + framework.GenericNameRegex("name") + "$")
	f.Add("", "Shop (EU)", testAppID)
	f.Add("auth0-", "---", "x")
	f.Add("p.", "日本", "A_-")
	f.Fuzz(func(t *testing.T, prefix, name, clientID string) {
		if !validPrefix.MatchString(prefix) || requirements.CheckClientID(clientID) != nil {
			t.Skip()
		}
		app := &auth0.Application{ClientID: clientID, Name: name}
		first := roleName(prefix, app, nil)
		assert.Regexp(t, valid, first)
		second := roleName(prefix, app, []string{first})
		assert.Regexp(t, valid, second)
		assert.Regexp(t, valid, roleName(prefix, app, []string{first, second}))
	})
}

type storedFixture struct{ key, value string }

// storedFixtures are entries as earlier versions have stored them. They are
// added to, and never changed: testdata/stored/<format>/<key with + for />.json.
func storedFixtures(t testing.TB) []storedFixture {
	t.Helper()
	files, err := filepath.Glob("testdata/stored/*/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var fixtures []storedFixture
	for _, file := range files {
		value, err := os.ReadFile(file)
		require.NoError(t, err)
		key := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".json"), "+", "/")
		fixtures = append(fixtures, storedFixture{key, string(value)})
	}
	return fixtures
}

// TestStoredEntriesOfEarlierVersions decode, and mean what they meant.
func TestStoredEntriesOfEarlierVersions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		env := newEnv(t)
		env.stop()
		for _, fixture := range storedFixtures(t) {
			require.NoError(t, env.storage.Put(t.Context(), &logical.StorageEntry{Key: fixture.key, Value: []byte(fixture.value)}))
		}
		for _, id := range []string{"client-steady", "client-staged", "client-settling", "client-drifted", "client-asked", "client-sent"} {
			env.auth0.add(id, "stored-current-of-"+id)
		}
		env.failing("set", limited("set secret"))
		env.start()
		synctest.Wait()
		assert.Equal(t, testDomain, env.read("config")[fieldDomain])
		assert.Equal(t, "720h", fmt.Sprint(env.read("roles/steady")[fieldRotationPeriod].(int64)/3600)+"h")
		for role, secrets := range map[string]int{"steady": 1, "staged": 2, "settling": 2, "drifted": 2, "asked": 1, "sent": 4} {
			creds := env.read("creds/" + role)
			assert.Equal(t, "stored-current-of-client-"+role, creds[fieldClientSecret], role)
			assert.Len(t, creds[fieldClientSecrets], secrets, role)
		}
		assert.Equal(t, string(rotation.Staged), env.read("roles/staged")[fieldPhase])
		assert.NotEmpty(t, env.read("roles/drifted")[fieldDriftDetectedAt])
		assert.Equal(t, []string{"read:users"}, env.read("token-roles/reader")[fieldScopes])
		assert.NotEmpty(t, env.read("rotate-all")[fieldFinishedAt])
		assert.Equal(t, 1, env.auth0.count("set"), "what was sent when the process ended is settled, whatever its window")
	})
}
