//go:build integration

// Package integration runs the built plugin in a real Vault or OpenBao, with a real
// Agent of it, against a simulated Auth0 tenant over TLS.
package integration

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	auth0secrets "vault-plugin-secrets-auth0"
	"vault-plugin-secrets-auth0/auth0login"
	"vault-plugin-secrets-auth0/internal/answers"
	"vault-plugin-secrets-auth0/internal/devstack"
	"vault-plugin-secrets-auth0/internal/devvault"
	"vault-plugin-secrets-auth0/internal/tenant"
)

// patience bounds the wait for a condition. Nothing is expected to take it.
const patience = 4 * time.Minute

// auditLog is Vault's audit log.
const auditLog = "audit.log"

// suite is a stack under test. Whatever a test does with it, when it ends no
// secret may be in a log.
type suite struct {
	*devstack.Stack
	t      *testing.T
	router answers.Router
	// seen is every secret that was in an answer of creds/ or assertions/.
	seen   map[string]bool
	seenMu sync.Mutex
	// clustered: there may be no leader for a while, for want of a CPU.
	clustered bool
	every     time.Duration // between the logins of an application
}

// remember has a secret searched for in the end.
func (s *suite) remember(secret string) {
	s.seenMu.Lock()
	defer s.seenMu.Unlock()
	s.seen[secret] = true
}

// withAllScopes has the names of the tests that are about what a scope is for.
var withAllScopes sync.Map

// needs says that a test is about what a scope is for: it has all of them in every run.
func needs(t *testing.T, scope string) {
	t.Helper()
	require.Contains(t, devstack.AllScopes, scope)
	withAllScopes.Store(t.Name(), true)
}

// scopes are those that the engine is granted: all that it can use, or those of
// INTEGRATION_SCOPES, separated by blanks, in a test that needs no other.
func scopes(t *testing.T) []string {
	test, _, _ := strings.Cut(t.Name(), "/")
	_, all := withAllScopes.Load(test)
	if given := strings.Fields(os.Getenv("INTEGRATION_SCOPES")); len(given) > 0 && !all {
		return given
	}
	return devstack.AllScopes
}

// vaults bounds how many tests have a Vault at once: each takes some 200 MB, and a core for
// a second when it starts.
var vaults = make(chan struct{}, 8)

// longTests has the names of those that wait longest. They do not wait for others as well,
// since the suite is as long as they are.
var longTests sync.Map

// takesLong says that a test waits for most of its time, and that for the longest. It comes
// before the test has a Vault.
func takesLong(t *testing.T) {
	t.Helper()
	longTests.Store(t.Name(), true)
}

// awaitTurn waits until the test may have a Vault, until it ends.
func awaitTurn(t *testing.T) {
	t.Helper()
	if _, long := longTests.Load(t.Name()); !long {
		vaults <- struct{}{}
		t.Cleanup(func() { <-vaults })
	}
}

// server is the binary of the Vault or OpenBao under test, and what it calls itself.
var server = sync.OnceValues(func() (binary, product string) {
	binary, err := devvault.Binary(context.Background())
	if err == nil {
		product, err = devvault.Product(context.Background(), binary)
	}
	if err != nil {
		panic(err)
	}
	return binary, product
})

func newSuite(t *testing.T, storage string, scopes ...string) *suite {
	t.Helper()
	return newSuiteOf(t, devstack.Options{Storage: storage, Scopes: scopes})
}

func newSuiteOf(t *testing.T, o devstack.Options) *suite {
	t.Helper()
	awaitTurn(t)
	plugin, err := devstack.PluginBinary("..")
	require.NoError(t, err)
	o.Vault, _ = server()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if o.Scopes == nil {
		o.Scopes = scopes(t)
	}
	o.WorkDir, o.Plugin = t.TempDir(), plugin
	stack, err := devstack.Start(ctx, o)
	require.NoError(t, err)
	s := &suite{Stack: stack, t: t, seen: map[string]bool{}, router: router(t), clustered: o.StartVault != nil, every: 100 * time.Millisecond}
	if !s.clustered {
		require.NoError(t, stack.Vault.EnableAudit(ctx, filepath.Join(stack.Dir, auditLog)))
	}
	t.Cleanup(func() {
		s.finish()
	})
	return s
}

// router is the plugin's own declaration of its paths and answers.
func router(t *testing.T) answers.Router {
	t.Helper()
	b, err := auth0secrets.Factory(t.Context(), &logical.BackendConfig{System: &logical.StaticSystemView{}})
	require.NoError(t, err)
	withRouter, ok := b.(answers.Router)
	require.True(t, ok)
	return withRouter
}

func configured(t *testing.T, storage string, changes map[string]any) *suite {
	t.Helper()
	s := newSuite(t, storage)
	config := s.Config()
	for field, value := range changes {
		config[field] = value
	}
	s.write("config", config)
	return s
}

// request is the one way in which the tests reach the engine. It checks each
// answer against what the path declares.
func (s *suite) request(operation logical.Operation, path string, data map[string]any) (*api.Secret, error) {
	s.t.Helper()
	logicalAPI := s.Vault.Client().Logical()
	full := devstack.Mount + "/" + path
	var answer *api.Secret
	var err error
	switch {
	case path == "metrics":
		body, err := readText(logicalAPI, full)
		if err != nil {
			return nil, err
		}
		answers.Check(s.t, s.router, operation, path, body)
		return &api.Secret{Data: body}, nil
	case operation == logical.ReadOperation:
		answer, err = logicalAPI.ReadWithContext(context.Background(), full)
	case operation == logical.ListOperation:
		answer, err = logicalAPI.ListWithContext(context.Background(), full)
	case operation == logical.DeleteOperation:
		answer, err = logicalAPI.DeleteWithContext(context.Background(), full)
	default:
		answer, err = logicalAPI.WriteWithContext(context.Background(), full, data)
	}
	if err != nil || (answer == nil && operation == logical.ReadOperation) {
		return answer, err
	}
	var body map[string]any
	if answer != nil {
		body = answer.Data
	}
	answers.Check(s.t, s.router, operation, path, body)
	if secrets, ok := body["client_secrets"].([]any); ok {
		for _, secret := range secrets {
			s.seen[secret.(string)] = true
		}
	}
	for _, field := range []string{"private_key", "client_assertion"} {
		if secret, ok := body[field].(string); ok {
			s.seen[secret] = true
		}
	}
	return answer, nil
}

// readText reads an answer without an envelope, as the plugin gave it.
func readText(client *api.Logical, path string) (map[string]any, error) {
	answer, err := client.ReadRawWithContext(context.Background(), path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	return map[string]any{
		logical.HTTPStatusCode: answer.StatusCode, logical.HTTPContentType: answer.Header.Get("Content-Type"), logical.HTTPRawBody: text,
	}, err
}

// withSecret sends an application's secret along with a new role where the engine may
// not read it.
func (s *suite) withSecret(path string, data map[string]any) map[string]any {
	clientID, isNew := data["client_id"].(string)
	if !strings.HasPrefix(path, "roles/") || !isNew || data["skip_import"] != nil || data["client_secret"] != nil || data["credential_type"] != nil ||
		slices.Contains(s.Tenant.Scopes(s.Engine.ClientID), "read:client_keys") {
		return data
	}
	data = maps.Clone(data)
	data["client_secret"] = s.Tenant.Secret(clientID)
	return data
}

func (s *suite) must(operation logical.Operation, path string, data map[string]any) *api.Secret {
	s.t.Helper()
	answer, err := s.request(operation, path, data)
	if err != nil && s.clustered {
		s.eventually("an answer", func() bool {
			answer, err = s.request(operation, path, data)
			return err == nil
		})
	}
	require.NoError(s.t, err)
	return answer
}

func (s *suite) write(path string, data map[string]any) *api.Secret {
	s.t.Helper()
	return s.must(logical.UpdateOperation, path, s.withSecret(path, data))
}

func (s *suite) read(path string) map[string]any {
	s.t.Helper()
	answer := s.must(logical.ReadOperation, path, nil)
	require.NotNil(s.t, answer, path)
	return answer.Data
}

// refused checks the status and the text with which a request fails.
func (s *suite) refused(status int, text string, operation logical.Operation, path string, data map[string]any) {
	s.t.Helper()
	_, err := s.request(operation, path, data)
	var answer *api.ResponseError
	require.ErrorAs(s.t, err, &answer)
	require.Equal(s.t, status, answer.StatusCode, "%v", answer.Errors)
	require.Contains(s.t, strings.Join(answer.Errors, "\n"), text)
}

// eventually waits for a condition. It looks less often the longer it waits: that costs
// CPU time, which other tests need.
func (s *suite) eventually(what string, condition func() bool) {
	s.t.Helper()
	for began := time.Now(); !condition(); time.Sleep(min(max(time.Since(began)/20, 50*time.Millisecond), 250*time.Millisecond)) {
		if time.Since(began) > patience {
			s.t.Fatalf("still not so after %s: %s\nvault's log ends:\n%s", patience, what, s.logEnd())
		}
	}
}

func (s *suite) phase(role string) string {
	s.t.Helper()
	return s.read("roles/" + role)["phase"].(string)
}

func (s *suite) awaitPhase(role, phase string) {
	s.t.Helper()
	s.eventually(role+" is "+phase, func() bool { return s.phase(role) == phase })
}

func (s *suite) awaitVersion(role, version string) {
	s.t.Helper()
	s.eventually(role+" is at version "+version, func() bool { return fmt.Sprint(s.read("roles/" + role)["version"]) == version })
}

// addApplication makes an application in the tenant.
func (s *suite) addApplication(change func(*tenant.Application)) tenant.Application {
	app := tenant.Application{}
	if change != nil {
		change(&app)
	}
	return s.Tenant.AddApplication(app)
}

// searched are the files in which no secret may be: the logs of Vault (with the
// plugin's in it) and of the agents, the audit log, and what raft stores.
func (s *suite) searched() []string {
	var files []string
	err := filepath.WalkDir(s.Dir, func(path string, entry os.DirEntry, err error) error {
		stored := strings.Contains(path, string(filepath.Separator)+"storage"+string(filepath.Separator))
		if err == nil && !entry.IsDir() && (strings.HasSuffix(entry.Name(), ".log") || stored) {
			files = append(files, path)
		}
		return err
	})
	require.NoError(s.t, err)
	require.NotEmpty(s.t, files)
	return files
}

func (s *suite) log() string {
	text, err := os.ReadFile(s.Vault.LogFile())
	require.NoError(s.t, err)
	return string(text)
}

func (s *suite) logEnd() string {
	lines := strings.Split(s.log(), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// errorsInLog are the lines of Vault's log at level error, but for those of its
// activity log, which starts before Vault is unsealed.
func (s *suite) errorsInLog() []string {
	var found []string
	for line := range strings.Lines(s.log()) {
		if strings.Contains(line, "[ERROR]") && !strings.Contains(line, "[ERROR] activity:") {
			found = append(found, line)
		}
	}
	return found
}

// finish stops the stack, and searches all logs, which are at trace level, for
// every secret there was: client secrets, served or not, and tokens.
func (s *suite) finish() {
	var secrets []string
	for _, secret := range append(s.Tenant.EverySecret(), slices.Collect(maps.Keys(s.seen))...) {
		for _, piece := range pieces(secret) {
			secrets = append(secrets, end(piece))
		}
	}
	files := s.searched()
	ending, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.Stop(ending)
	found := map[string]bool{}
	for _, file := range files {
		read, err := os.ReadFile(file)
		require.NoError(s.t, err)
		text := string(read)
		found["trace"] = found["trace"] || strings.Contains(text, "[TRACE]")
		found["plugin"] = found["plugin"] || strings.Contains(text, devstack.PluginName+":")
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				s.t.Errorf("a secret (its hash begins with %.6x) is in %s", sha256.Sum256([]byte(secret)), filepath.Base(file))
			}
		}
	}
	require.Equal(s.t, map[string]bool{"trace": true, "plugin": true}, found, "or there was nothing to find")
	s.t.Logf("searched %d logs and files of storage for %d secrets", len(files), len(secrets))
}

// end is what to search for of a secret: whoever writes all of it writes its end, too. Go
// finds up to 63 bytes many times as fast as more.
func end(secret string) string { return secret[max(0, len(secret)-48):] }

// pieces are what to search for of a secret: of a private key, in PEM, each line of its
// second half, which has nothing that is public.
func pieces(secret string) []string {
	if !strings.HasPrefix(secret, "-----BEGIN PRIVATE KEY") {
		return []string{secret}
	}
	lines := strings.Split(strings.TrimSpace(secret), "\n")
	return lines[len(lines)/2 : len(lines)-2]
}

// startApplication starts an agent and an application that logs in with what the
// agent renders.
func (s *suite) startApplication(role string) (stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	file, err := s.StartAgent(ctx, role)
	require.NoError(s.t, err)
	return s.startLogins(role, auth0login.File(file), devstack.LeaseEnd(file))
}

// startLogins starts an application that logs in again and again. Of what it reads,
// leaseEnd says until when the engine has promised that it is good; nil: always.
func (s *suite) startLogins(name string, source auth0login.Source, leaseEnd func() time.Time) (stop func()) {
	app := &devstack.Application{
		Source: source, Domain: s.Tenant.Domain(), Every: s.every, HTTP: s.Tenant.HTTPClient(), Prefix: name + "-",
		LeaseEnd: leaseEnd,
	}
	return app.Start(context.Background())
}
