package doctor

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-auth0/internal/assertion"
	"vault-plugin-secrets-auth0/internal/auth0"
	"vault-plugin-secrets-auth0/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	allScopes = []string{"update:client_keys", "read:clients", "read:client_keys"} // that roles of client secrets use
	keyScopes = slices.Concat(allScopes, auth0.KeyScopes)
)

// patient is a tenant and the application that the engine is to have there.
type patient struct {
	*tenant.Tenant
	t        *testing.T
	engine   tenant.Application
	terminal bool
	secret   []string // what must never be printed, on top of what the tenant knows
}

func newPatient(t *testing.T, o tenant.Options, scopes ...string) *patient {
	t.Helper()
	tn, err := tenant.Start(o)
	require.NoError(t, err)
	t.Cleanup(tn.Close)
	return &patient{Tenant: tn, t: t, engine: tn.AddManagementApplication(scopes...)}
}

// newPatientWithKey is one whose application authenticates by private_key_jwt.
func newPatientWithKey(t *testing.T, o tenant.Options, scopes ...string) (_ *patient, privateKey string) {
	t.Helper()
	key, err := assertion.NewPrivateKey(assertion.MinKeyBits)
	require.NoError(t, err)
	public, _, err := assertion.PublicKey(key)
	require.NoError(t, err)
	tn, err := tenant.Start(o)
	require.NoError(t, err)
	t.Cleanup(tn.Close)
	return &patient{Tenant: tn, t: t, engine: tn.AddKeyApplication(public, "RS256", scopes...), secret: []string{key}}, key
}

// addKeyApplication adds one that authenticates by private_key_jwt, with so many keys
// of somebody else.
func (p *patient) addKeyApplication(app tenant.Application, keys int) {
	app.AuthenticationMethods = map[string]any{string(tenant.PrivateKeyJWT): map[string]any{}}
	added := p.AddApplication(app)
	for range keys {
		p.AddCredential(added.ClientID, tenant.PrivateKeyJWT)
	}
}

// result is what a run has printed, and its exit code.
type result struct {
	code        int
	out, errors string
}

// run runs the command with some environment, and fails the test if a secret or
// token is printed.
func (p *patient) run(environment map[string]string, stdin string, args ...string) result {
	p.t.Helper()
	var stdout, stderr bytes.Buffer
	code := Main(p.t.Context(), args, "doctor/test", Streams{
		Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr, Terminal: p.terminal,
		Getenv: func(name string) string { return environment[name] },
	})
	r := result{code, stdout.String(), stderr.String()}
	for _, secret := range append(p.EverySecret(), p.secret...) {
		for line := range strings.Lines(secret) { // a key has several
			assert.NotContains(p.t, r.out+r.errors, strings.TrimSpace(line))
		}
	}
	return r
}

// environment has the credentials, as a user would give them.
func (p *patient) environment() map[string]string {
	return map[string]string{"AUTH0_DOMAIN": p.Domain(), "AUTH0_CLIENT_ID": p.engine.ClientID, "AUTH0_CLIENT_SECRET": p.engine.ClientSecret}
}

// check examines the tenant with the right credentials, but for what args say.
func (p *patient) check(args ...string) (Report, result) {
	p.t.Helper()
	r := p.run(p.environment(), "", append([]string{"-ca_cert=@" + p.file("ca.pem", p.CACert()), "-format=json"}, args...)...)
	var report Report
	if r.code != ExitUsage {
		require.NoError(p.t, json.Unmarshal([]byte(r.out), &report), r.out+r.errors)
	}
	return report, r
}

func (p *patient) file(name, content string) string {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), name)
	require.NoError(p.t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// find gives one of the checks.
func (r Report) find(t *testing.T, name string) Check {
	t.Helper()
	for _, check := range r.Checks {
		if check.Name == name {
			return check
		}
	}
	require.Fail(t, "no check "+name)
	return Check{}
}
